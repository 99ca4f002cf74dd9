//! The development kit's files: `Annotations/*.xml`, `ImageSets/Main/SET.txt`, `results/comp4_det_SET_CLASS.txt`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::{Class, Detection, Object, Scene};
use crate::annotations::voc::{self, listed, parse};
use crate::annotations::{Id, finite};
use crate::eval::{Error, read_file};

/// What the kit's annotations say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DevkitTruth {
    /// The names of the images, in the order of the set.
    pub images: Vec<String>,
    /// The objects; an image is its index in `images`. A class for each name that occurs, in alphabetical order.
    pub scene: Scene,
    /// The annotation files that were read.
    pub files: Vec<PathBuf>,
}

/// Reads a folder of annotations, an XML file for each image: those that the file `image_set` names, one on each line,
/// or all of them.
///
/// # Errors
/// A file that cannot be read or is not of its form.
pub fn read_ground_truth(annotations: &Path, image_set: Option<&Path>) -> Result<DevkitTruth, Error> {
    let images = images(annotations, image_set)?;
    let mut files = Vec::with_capacity(images.len());
    let mut classes: BTreeMap<String, Vec<Object>> = BTreeMap::new();
    for (image, name) in (0..).zip(&images) {
        let file = annotations.join(format!("{name}.xml"));
        let parsed = parse(&text(&file)?);
        let annotation = parsed.map_err(|fault| Error::Content { file: file.clone(), fault })?;
        for (index, object) in annotation.objects.into_iter().enumerate() {
            let wrong = |problem| Error::Object { file: file.clone(), index, problem };
            let found = found(&object, image).map_err(wrong)?;
            classes.entry(object.name).or_default().push(found);
        }
        files.push(file);
    }
    let class = |(name, objects)| Class { name, objects, detections: Vec::new() };
    let scene = Scene { classes: classes.into_iter().map(class).collect() };
    Ok(DevkitTruth { images, scene, files })
}

/// The object, if it has all that is asked of one.
fn found(object: &voc::Object, image: u32) -> Result<Object, String> {
    if object.name.is_empty() {
        return Err("has no name".to_owned());
    }
    let wrong = |problem: String| format!("(`{}`): {problem}", files::printable(&object.name));
    let corners = object.corners().map_err(|corner| wrong(format!("no number <{corner}>")))?;
    for (corner, name) in corners.into_iter().zip(voc::CORNERS) {
        finite(corner, name).map_err(|flaw| wrong(flaw.to_string()))?;
    }
    Ok(Object { image, corners, is_difficult: object.is_difficult })
}

/// Adds the detections in `results`, a folder of result files, one for each class, or one such file; returns the files
/// that were read, in their order. `image_set` tells where a class begins in the name of a file.
///
/// # Errors
/// A file that cannot be read or is not of its form, detections in images that are not in the set.
pub fn add_results(
    truth: &mut DevkitTruth,
    results: &Path,
    image_set: Option<&Path>,
) -> Result<Vec<PathBuf>, Error> {
    let DevkitTruth { images, scene, .. } = truth;
    let images: HashMap<&str, u32> = images.iter().map(String::as_str).zip(0..).collect();
    let files = result_files(results)?;
    for file in &files {
        scene.add_class(class_name(file, image_set), detections(file, &images)?);
    }
    scene.classes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

/// The text of a file. What is not UTF-8 is replaced: it stands in names of people, which do not count.
fn text(file: &Path) -> Result<String, Error> {
    let bytes = read_file(file)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// The images that a set names, or every annotation's name.
fn images(annotations: &Path, image_set: Option<&Path>) -> Result<Vec<String>, Error> {
    let Some(set) = image_set else {
        let files = in_folder(annotations, "xml", "annotations (.xml)")?;
        return Ok(files.iter().map(|file| stem(file)).collect());
    };
    let (text, mut seen) = (text(set)?, HashSet::new());
    let is_image = |name: &str| annotations.join(format!("{name}.xml")).is_file();
    let names = text.lines().map(|line| listed(line, is_image)).filter(|name| !name.is_empty());
    Ok(names.filter(|name| seen.insert(*name)).map(str::to_owned).collect())
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn in_folder(folder: &Path, extension: &str, what: &'static str) -> Result<Vec<PathBuf>, Error> {
    let io = |problem| Error::Io { file: folder.to_owned(), problem };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::NothingInFolder { folder: folder.to_owned(), what });
    }
    files.sort();
    Ok(files)
}

fn result_files(results: &Path) -> Result<Vec<PathBuf>, Error> {
    match results.is_dir() {
        true => in_folder(results, "txt", "results (comp4_det_SET_CLASS.txt)"),
        false => Ok(vec![results.to_owned()]),
    }
}

/// `dog` of `comp4_det_test_dog.txt`; of a file named otherwise its whole name.
fn class_name(file: &Path, image_set: Option<&Path>) -> String {
    let name = stem(file);
    let Some((_, rest)) = name.split_once("_det_") else { return name };
    let of_set = image_set.and_then(|set| rest.strip_prefix(&stem(set))?.strip_prefix('_'));
    let of_any = rest.split_once('_').map(|(_, class)| class);
    of_set.or(of_any).unwrap_or(rest).to_owned()
}

fn detections(file: &Path, images: &HashMap<&str, u32>) -> Result<Vec<Detection>, Error> {
    let mut unknown: BTreeMap<Id, usize> = BTreeMap::new();
    let mut detections = Vec::new();
    for (index, line) in text(file)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |problem: String| Error::ResultLine { file: file.to_owned(), line: index + 1, problem };
        let (image, [score, corners @ ..]) = parsed(line).map_err(wrong)?;
        match images.get(image) {
            Some(&image) => detections.push(Detection { image, corners, score }),
            None => *unknown.entry(Id::Text(image.into())).or_default() += 1,
        }
    }
    if !unknown.is_empty() {
        let detections = unknown.values().sum();
        let images = unknown.into_iter().collect();
        return Err(Error::UnknownImages { file: file.to_owned(), images, detections });
    }
    Ok(detections)
}

/// The image; score and corners.
fn parsed(line: &str) -> Result<(&str, [f64; 5]), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [image, numbers @ ..] = words.as_slice() else { return Err("it is empty".to_owned()) };
    let number = |word: &&str| {
        let number = word.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| format!("`{word}` is not a finite number"))
    };
    let numbers: Vec<f64> = numbers.iter().map(number).collect::<Result<_, _>>()?;
    let numbers = <[f64; 5]>::try_from(numbers);
    Ok((image, numbers.map_err(|numbers| format!("{} numbers after the image, not 5", numbers.len()))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_named_by_files() {
        let set = Some(Path::new("ImageSets/Main/val_2.txt"));
        assert_eq!(class_name(Path::new("r/comp4_det_val_2_potted_plant.txt"), set), "potted_plant");
        assert_eq!(class_name(Path::new("r/comp3_det_test_dog.txt"), None), "dog");
        assert_eq!(class_name(Path::new("dog.txt"), None), "dog");
    }

    #[test]
    fn lines_have_an_image_and_five_numbers() {
        assert_eq!(parsed("000004 0.5 1 2 3 4").unwrap(), ("000004", [0.5, 1.0, 2.0, 3.0, 4.0]));
        for wrong in ["", "a 1 2 3 4", "a nan 1 2 3 4", "a b 1 2 3 4", "a 1 2 3 4 5 6"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
