//! Data sets: the same images read three ways are one data set.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::{data_set, repository};
use proptest::prelude::*;
use vision::data::{Bounds, Category, DataSet, Format, Image, Loaded, Object, PictureSize, Pictures, Reason};
use vision::data::{Request, Statistics, load, store};

fn read(path: &Path, split: Option<&str>) -> Loaded {
    load(&Request { path: path.to_owned(), split: split.map(str::to_owned), ..Request::default() }).unwrap()
}

/// Writes a data set in a format, with links to its pictures, and reads it again.
fn again(set: &DataSet, pictures: &Path, format: Format) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let parts = [("val".to_owned(), set.clone())];
    let pictures = Some(pictures);
    store(&parts, format, (pictures, Pictures::Referenced), Path::new("input"), &output).unwrap();
    let path = if format == Format::Coco { output.join("val.json") } else { output };
    load(&Request {
        path,
        images: pictures.filter(|_| format == Format::Coco).map(PathBuf::from),
        ..Request::default()
    })
    .unwrap()
}

/// A data set that comes in two forms is one data set in them, and stays one in all three.
fn is_one(first: &Loaded, second: &Loaded) {
    assert_eq!(first.set.essence(), second.set.essence());
    for loaded in [first, second] {
        for format in Format::ALL {
            let again = again(&loaded.set, loaded.pictures.as_ref().unwrap(), format);
            assert_eq!(again.set.essence(), first.set.essence(), "{} to {format:?}", loaded.format.name());
            assert_eq!(again.defects.total(), loaded.defects.total(), "{format:?}");
        }
    }
}

/// Images and boxes as counted by the script that collected the data (`defects.json`).
#[test]
fn bccd_is_one_data_set() {
    let Some(folder) = data_set("bccd") else { return };
    for (split, images, objects, thin) in
        [("train", 205, 2805, 1), ("val", 87, 1138, 1), ("test", 72, 945, 0)]
    {
        let voc = read(&folder, Some(split));
        let coco = read(&folder.join(format!("{split}.json")), None);
        assert_eq!((voc.format, coco.format), (Format::Voc, Format::Coco));
        assert_eq!((voc.set.images().len(), voc.set.object_count()), (images, objects));
        for loaded in [&voc, &coco] {
            assert_eq!(
                (loaded.defects.count(Reason::OnePixel), loaded.defects.total()),
                (thin, thin),
                "{split}"
            );
        }
        is_one(&voc, &coco);
    }
    let all = Statistics::of(&read(&folder, None).set);
    let classes: Vec<(&str, u64)> =
        all.classes.iter().map(|class| (class.name.as_str(), class.objects.total())).collect();
    assert_eq!(classes, [("Platelets", 361), ("RBC", 4155), ("WBC", 372)]);
}

#[test]
fn coco8_is_one_data_set() {
    let Some(folder) = data_set("coco8") else { return };
    for (split, objects) in [("train", 13), ("val", 17)] {
        let yolo = read(&folder, Some(split));
        let coco = read(&folder.join(format!("{split}.json")), None);
        assert_eq!((yolo.format, coco.format), (Format::Yolo, Format::Coco));
        assert_eq!((yolo.set.object_count(), yolo.defects.total(), coco.defects.total()), (objects, 0, 0));
        let names = |loaded: &Loaded| -> Vec<String> {
            loaded.set.categories().iter().map(|category| category.name.clone()).collect()
        };
        assert_eq!((names(&yolo).len(), names(&yolo)), (80, names(&coco)));
        is_one(&yolo, &coco);
    }
    assert_eq!(read(&folder, None).set.object_count(), 30);
}

#[test]
fn the_sample_is_one_data_set() {
    let file = repository().join("samples/shapes/annotations.json");
    let loaded = read(&file, None);
    assert_eq!((loaded.set.images().len(), loaded.set.object_count(), loaded.defects.total()), (24, 102, 0));
    assert_eq!(loaded.defects.count(Reason::NoObjects), 2);
    is_one(&loaded, &loaded);
}

/// A bitmap's header, which says the size; nobody looks at the pixels.
fn bitmap(PictureSize { width, height }: PictureSize) -> Vec<u8> {
    let mut bytes = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bytes.extend([width.to_le_bytes(), height.to_le_bytes()].concat());
    bytes.extend([1, 0, 24, 0]);
    bytes.resize(54, 0);
    bytes
}

const FILES: [&str; 7] =
    ["a.jpg", "b 1.jpg", "größe.png", "雪/c.jpg", "雪/d.x.jpg", "classes.jpg", "it's & <e>.webp"];
const NAMES: [&str; 6] = ["person", "traffic light", "größe", "'# \"a\": b", "<x> & y", "9"];

/// A box of whole thousandths of a pixel, as all three formats can say it.
fn bounds(size: PictureSize) -> impl Strategy<Value = Bounds> {
    let side = |length: u32| {
        let length = length * 1000;
        (0..length).prop_flat_map(move |start| (Just(start), 1..=length - start))
    };
    let pixels = |value: u32| f64::from(value) / 1000.0;
    (side(size.width), side(size.height)).prop_map(move |((x, width), (y, height))| Bounds {
        x: pixels(x),
        y: pixels(y),
        width: pixels(width),
        height: pixels(height),
    })
}

fn image(file: &'static str, id: usize, classes: usize) -> impl Strategy<Value = Image> {
    let size = (4..5000_u32, 4..5000_u32).prop_map(|(width, height)| PictureSize { width, height });
    size.prop_flat_map(move |size| {
        let object = (0..classes, bounds(size), any::<bool>(), any::<bool>());
        let object = object.prop_map(|(category, bounds, is_crowd, is_difficult)| Object {
            is_crowd,
            is_difficult,
            ..Object::new(category, bounds)
        });
        let objects = proptest::collection::vec(object, 0..4);
        objects.prop_map(move |objects| Image { file: file.to_owned(), size, id: Some(id as u64), objects })
    })
}

fn sets() -> impl Strategy<Value = DataSet> {
    let files = proptest::sample::subsequence(FILES.to_vec(), 0..=FILES.len());
    (files, 1..=NAMES.len()).prop_flat_map(|(files, classes)| {
        let images: Vec<_> =
            files.into_iter().enumerate().map(|(id, file)| image(file, id, classes)).collect();
        images.prop_map(move |images| {
            let names = NAMES.iter().take(classes).enumerate();
            let category = |(index, name): (usize, &&str)| Category {
                name: (*name).to_owned(),
                id: Some(3 * index as u64),
            };
            DataSet::new(names.map(category).collect(), images)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_format_keeps_what_it_can_say(set in sets()) {
        let pictures = tempfile::tempdir().unwrap();
        for image in set.images() {
            let file = pictures.path().join(&image.file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, bitmap(image.size)).unwrap();
        }
        for format in Format::ALL {
            let again = again(&set, pictures.path(), format);
            prop_assert_eq!(again.defects.count(Reason::MissingImage) + again.defects.count(Reason::OtherSize), 0);
            let names = |set: &DataSet| set.categories().iter().map(|one| one.name.clone()).collect::<Vec<_>>();
            prop_assert_eq!(names(&again.set), names(&set));
            match format {
                Format::Coco => prop_assert_eq!(&again.set, &set),
                _ => prop_assert_eq!(again.set.essence(), set.essence()),
            }
            let difficult = |set: &DataSet| Statistics::of(set).difficult;
            prop_assert!(format == Format::Yolo || difficult(&again.set) == difficult(&set));
        }
    }

    #[test]
    fn parts_are_disjoint_and_complete(set in sets(), seed: u64) {
        let parts = vision::data::split(&set, &"3:1".parse().unwrap(), seed);
        let files = |set: &DataSet| set.images().iter().map(|one| one.file.clone()).collect::<BTreeSet<_>>();
        prop_assert!(files(&parts[0]).is_disjoint(&files(&parts[1])));
        prop_assert_eq!(&files(&parts[0]) | &files(&parts[1]), files(&set));
        let objects = parts.iter().map(DataSet::object_count).sum::<usize>();
        prop_assert_eq!(objects, set.object_count());
    }
}
