//! COCO's annotations as drafts, and written, one entry on each line.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::json;

use super::defect::{Defects, Reason};
use super::draft::{Draft, DraftBox, Found};
use super::fault::{Fault, text};
use super::set::{Category, DataSet};
use crate::annotations::coco::{AnnotationRecord, Record, read};
use crate::annotations::{self, Flaw, Id, needed};
use crate::boxes::{Bounds, Shape};
use crate::pictures::PictureSize;

/// Reads the bytes of an annotation file. `origin` names it for messages.
///
/// # Errors
/// The bytes are no such JSON, without `categories`, or an image or category has no id or name; a fault in an
/// annotation is a defect.
pub fn parse(
    bytes: &[u8],
    origin: &str,
    defects: &mut Defects,
) -> Result<(Vec<Category>, Vec<Draft>), Fault> {
    let mut document = Document::default();
    let lists = read(text(bytes)?.as_bytes(), |record| document.take(record))?;
    if !lists.categories {
        return Err(annotations::Fault::NotAnnotations.into());
    }
    let (categories, classes) = categories(document.categories, origin, defects);
    let (mut drafts, images) = drafts(document.images, origin, defects);
    for (index, entry) in document.boxes.into_iter().enumerate() {
        let number = index + 1;
        let place = || format!("{origin}, annotation {number}");
        if entry.has_outline {
            defects.add(Reason::BeyondBoxes, place, "");
        }
        match entry.found(&images, &classes) {
            Ok((image, content)) => {
                if let Some(draft) = drafts.get_mut(image) {
                    draft.boxes.push(DraftBox { place: ("annotation", number), content });
                }
            }
            Err((reason, detail)) => defects.add(reason, place, detail),
        }
    }
    Ok((categories, drafts))
}

/// What a file says, before ids are looked up: categories and images may come after the annotations of them.
#[derive(Default)]
struct Document {
    images: Vec<ImageEntry>,
    categories: Vec<(Id, String)>,
    boxes: Vec<BoxEntry>,
}

struct ImageEntry {
    id: Id,
    file_name: String,
    stated: Option<PictureSize>,
}

/// An annotation, with what a box needs, and the flaws of that.
struct BoxEntry {
    image: Result<Id, Flaw>,
    category: Result<Id, Flaw>,
    bbox: Result<[f64; 4], Flaw>,
    is_crowd: bool,
    is_difficult: bool,
    area: Option<f64>,
    has_outline: bool,
}

impl Document {
    fn take(&mut self, record: Record) -> Result<(), Flaw> {
        match record {
            Record::Image(image) => {
                let (width, height) = (image.width.ok().flatten(), image.height.ok().flatten());
                let size = |(width, height)| PictureSize { width: width as u32, height: height as u32 };
                self.images.push(ImageEntry {
                    id: needed(image.id, "id")?,
                    file_name: needed(image.file_name, "file_name")?,
                    stated: width.zip(height).map(size),
                });
            }
            Record::Category(category) => {
                self.categories.push((needed(category.id, "id")?, needed(category.name, "name")?));
            }
            Record::Annotation(annotation) => self.boxes.push(BoxEntry::new(annotation)),
        }
        Ok(())
    }
}

/// Categories in the order of their ids, and the index that each id has.
fn categories(
    mut entries: Vec<(Id, String)>,
    origin: &str,
    defects: &mut Defects,
) -> (Vec<Category>, HashMap<Id, usize>) {
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    let (mut categories, mut classes) = (Vec::new(), HashMap::new());
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for (id, name) in entries {
        let name = name.trim().to_owned();
        let index = *by_name.entry(name.clone()).or_insert(categories.len());
        let is_new = index == categories.len();
        if classes.contains_key(&id) || !is_new {
            let place = || format!("{origin}, category {id}");
            defects.add(Reason::DuplicateCategory, place, name.clone());
        }
        if is_new && classes.contains_key(&id) {
            by_name.remove(&name);
            continue;
        }
        if is_new {
            categories.push(Category { name, id: number(&id) });
        }
        classes.entry(id).or_insert(index);
    }
    (categories, classes)
}

/// The id, where it is a number that formats can hold.
fn number(id: &Id) -> Option<u64> {
    match id {
        Id::Number(number) => u64::try_from(*number).ok(),
        Id::Text(_) => None,
    }
}

/// Images in the order of the file, and the index that each id has.
fn drafts(entries: Vec<ImageEntry>, origin: &str, defects: &mut Defects) -> (Vec<Draft>, HashMap<Id, usize>) {
    let (mut drafts, mut images) = (Vec::with_capacity(entries.len()), HashMap::new());
    for ImageEntry { id, file_name, stated } in entries {
        let number = number(&id);
        match images.entry(id) {
            Entry::Occupied(first) => {
                let place = || format!("{origin}, image {}", first.key());
                defects.add(Reason::DuplicateId, place, file_name);
            }
            Entry::Vacant(free) => {
                free.insert(drafts.len());
                drafts.push(Draft { file: file_name, stated, id: number, boxes: Vec::new() });
            }
        }
    }
    (drafts, images)
}

/// A box or why it is none.
type Content = Result<Found, (Reason, String)>;

fn malformed(flaw: Flaw) -> (Reason, String) {
    (Reason::Malformed, flaw.to_string())
}

impl BoxEntry {
    /// What is not needed for a box, and flawed, is as good as absent.
    fn new(annotation: Result<AnnotationRecord, Flaw>) -> BoxEntry {
        let flawed = |flaw: Flaw| BoxEntry {
            image: Err(flaw),
            category: Err(flaw),
            bbox: Err(flaw),
            is_crowd: false,
            is_difficult: false,
            area: None,
            has_outline: false,
        };
        annotation.map_or_else(flawed, |one| BoxEntry {
            image: needed(one.image, "image_id"),
            category: needed(one.category, "category_id"),
            bbox: needed(one.bbox, "bbox"),
            is_crowd: one.is_crowd.ok().flatten().unwrap_or(false),
            is_difficult: one.is_difficult.ok().flatten().unwrap_or(false),
            area: one.area.ok().flatten(),
            has_outline: one.has_outline,
        })
    }

    /// The index of the image, and what is in it.
    fn found(
        self,
        images: &HashMap<Id, usize>,
        classes: &HashMap<Id, usize>,
    ) -> Result<(usize, Content), (Reason, String)> {
        let id = self.image.map_err(malformed)?;
        let unknown = || (Reason::UnknownImage, format!("image id {id}"));
        let image = *images.get(&id).ok_or_else(unknown)?;
        let content = self.category.map_err(malformed).and_then(|id| {
            let unknown = || (Reason::UnknownClass, format!("category id {id}"));
            Ok(Found {
                category: *classes.get(&id).ok_or_else(unknown)?,
                shape: Shape::Sides(self.bbox.map_err(malformed)?),
                is_crowd: self.is_crowd,
                is_difficult: self.is_difficult,
                area: self.area,
            })
        });
        Ok((image, content))
    }
}

/// The data set as COCO annotations, an entry on each line. Ids are the data set's own where every image (or every
/// category) has one of its own, else they count from 1. `difficult` becomes `ignore`.
pub fn write(set: &DataSet) -> String {
    let image_ids = ids(set.images().iter().map(|image| image.id));
    let category_ids = ids(set.categories().iter().map(|category| category.id));
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for (image, image_id) in set.images().iter().zip(&image_ids) {
        let PictureSize { width, height } = image.size;
        let file = &image.file;
        images.push(json!({ "id": image_id, "file_name": file, "width": width, "height": height }));
        for object in &image.objects {
            let Bounds { x, y, width, height } = object.bounds;
            annotations.push(json!({
                "id": annotations.len() + 1,
                "image_id": image_id,
                "category_id": category_ids.get(object.category),
                "bbox": [x, y, width, height],
                "area": object.area(),
                "iscrowd": u8::from(object.is_crowd),
                "ignore": u8::from(object.is_difficult),
            }));
        }
    }
    let categories = set.categories().iter().zip(&category_ids);
    let categories: Vec<_> =
        categories.map(|(category, id)| json!({ "id": id, "name": category.name })).collect();
    let lists = [("images", images), ("annotations", annotations), ("categories", categories)];
    let lists: Vec<String> = lists.iter().map(|(name, entries)| list(name, entries)).collect();
    format!("{{{}}}\n", lists.join(",\n"))
}

fn list(name: &str, entries: &[serde_json::Value]) -> String {
    let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
    format!("\"{name}\":[{}]", entries.join(",\n"))
}

fn ids(given: impl ExactSizeIterator<Item = Option<u64>>) -> Vec<u64> {
    let count = given.len();
    let ids: Option<Vec<u64>> = given.collect();
    let is_unique = |ids: &Vec<u64>| ids.iter().collect::<std::collections::HashSet<_>>().len() == count;
    ids.filter(is_unique).unwrap_or_else(|| (1..=count as u64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::draft::assemble;

    fn read(text: &str) -> (DataSet, Defects) {
        let mut defects = Defects::default();
        let (categories, drafts) = parse(text.as_bytes(), "a.json", &mut defects).unwrap();
        let drafts = drafts.into_iter().map(|draft| ("a.json".to_owned(), draft)).collect();
        (assemble(categories, drafts, |_| None, &mut defects), defects)
    }

    #[test]
    fn entries_become_a_data_set() {
        let (set, defects) = read(
            r#"{"info": {}, "images": [
                {"id": 9, "file_name": "b.jpg", "width": 20, "height": 10, "licence": 3},
                {"id": "x", "file_name": "a.jpg", "width": 20.0, "height": 10}],
              "annotations": [
                {"id": 0, "image_id": 9, "category_id": 7, "bbox": [1, 2, 3.5, 4], "area": 9.25, "iscrowd": 1},
                {"image_id": "x", "category_id": 3, "bbox": [0, 0, 2, 2], "area": 4, "ignore": 1}],
              "categories": [{"id": 7, "name": " dog "}, {"id": 3, "name": "cat"}]}"#,
        );
        assert_eq!(defects, Defects::default());
        assert_eq!((set.category_name(0), set.category_name(1)), ("cat", "dog"));
        let [a, b] = set.images() else { panic!() };
        assert_eq!((a.file.as_str(), a.id, a.objects[0].is_difficult), ("a.jpg", None, true));
        assert_eq!((a.objects[0].category, a.objects[0].area), (0, None));
        assert_eq!((b.id, b.objects[0].is_crowd, b.objects[0].area), (Some(9), true, Some(9.25)));
    }

    #[test]
    fn faults_of_entries_are_defects() {
        let (set, defects) = read(
            r#"{"images": [
                {"id": 1, "file_name": "a.jpg", "width": 20, "height": 10},
                {"id": 1, "file_name": "b.jpg", "width": 20, "height": 10},
                {"id": 2, "file_name": "a.jpg", "width": 20, "height": 10},
                {"id": 3, "file_name": "../c.jpg", "width": 20, "height": 10},
                {"id": 4, "file_name": "d.jpg"},
                {"id": 5, "file_name": "e.jpg", "width": 1e99, "height": null}],
              "annotations": [
                {"image_id": 1, "category_id": 3, "bbox": [0, 0, 2, 2]},
                {"image_id": 2, "category_id": 3, "bbox": [0, 0, 3, 3], "segmentation": [[1, 2]]},
                {"image_id": 1, "category_id": 9, "bbox": [0, 0, 2, 2], "segmentation": []},
                {"image_id": 8, "category_id": 3, "bbox": [0, 0, 2, 2]},
                {"image_id": 1, "category_id": 3, "bbox": [0, 0, 2]},
                {"image_id": 1, "category_id": 3, "bbox": ["0", 0, 2, 3]},
                {"image_id": 1, "category_id": 3},
                {"image_id": 1, "bbox": [0, 0, 2, 2]},
                {"image_id": 1, "category_id": 3, "bbox": [0, 0, 0, 2]},
                {"image_id": 1, "category_id": 3, "bbox": [3, 3, -2, 2]},
                {"image_id": 1, "category_id": 3, "bbox": [15, 3, 20, 2]},
                {"image_id": 1, "category_id": 3, "bbox": [NaN, 3, 20, Infinity]},
                7,
                {}],
              "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "cat"}, {"id": 3, "name": "dog"}]}"#,
        );
        let found: Vec<(&str, u64)> =
            defects.iter().map(|(reason, count, _)| (reason.name(), count)).collect();
        let expected = [
            ("not-finite", 1),
            ("zero-size", 1),
            ("negative-size", 1),
            ("beyond-border", 1),
            ("unknown-class", 1),
            ("malformed", 6),
            ("unknown-image", 1),
            ("unsafe-name", 1),
            ("no-size", 2),
            ("duplicate-id", 1),
            ("duplicate-name", 1),
            ("duplicate-category", 2),
            ("beyond-boxes", 1),
        ];
        assert_eq!(found, expected);
        assert_eq!((set.images().len(), set.images()[0].objects.len(), set.categories().len()), (1, 2, 1));
    }

    #[test]
    fn what_is_no_coco_file_is_an_error() {
        let parse = |bytes: &[u8]| parse(bytes, "a.json", &mut Defects::default()).map(|_| ());
        assert!(parse("\u{feff}{\"categories\": []}\r\n".as_bytes()).is_ok());
        for bytes in
            [&b""[..], b"[]", b"{}", b"{\"categories\": [], \"images\": [{\"id\": 1}]}", b"\xff\xfe{"]
        {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
        let nested = format!("{{\"categories\": [], \"info\": {}", "[".repeat(1_000_000));
        assert!(parse(nested.as_bytes()).is_err());
        let nested = format!("{{\"categories\": [], \"annotations\": [{{\"bbox\": {}", "[".repeat(1_000_000));
        assert!(parse(nested.as_bytes()).is_err());
    }
}
