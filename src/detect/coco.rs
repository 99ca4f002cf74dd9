//! COCO's files: the ids in annotations, and results for evaluation.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Detection, Error, Labels};
use crate::annotations::coco::{Record, read};
use crate::annotations::results::ResultEntry;
use crate::annotations::{Fault, Flaw, Id, needed};

/// The largest file of names or annotations read; COCO's own for 118,287 pictures has 449 MiB.
const MAX_ANNOTATION_BYTES: u64 = 1 << 30;

/// The pictures and categories of an annotation file; its boxes are not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// By the last part of the file name: the whole name and the id of each picture that ends so.
    images: HashMap<String, Vec<(String, Id)>>,
    categories: BTreeMap<Id, String>,
}

impl Annotations {
    /// Reads an annotation file.
    ///
    /// # Errors
    /// The file cannot be read or is no annotation file.
    pub fn read(file: &Path) -> Result<Annotations, Error> {
        Annotations::parse(&read_text(file)?, file)
    }

    /// Parses the text of the annotation file `file` (for messages only).
    ///
    /// # Errors
    /// The text is not of that form, an image or category has no id or name, or two categories have one id.
    pub fn parse(text: &str, file: &Path) -> Result<Annotations, Error> {
        let wrong = |fault| Error::Annotations { file: file.to_owned(), fault };
        let mut annotations = Annotations::default();
        let lists = read(text.as_bytes(), |record| annotations.take(record)).map_err(wrong)?;
        if lists.categories { Ok(annotations) } else { Err(wrong(Fault::NotAnnotations)) }
    }

    fn take(&mut self, record: Record) -> Result<(), Flaw> {
        match record {
            Record::Image(image) => {
                let (id, file) = (needed(image.id, "id")?, needed(image.file_name, "file_name")?);
                self.images.entry(base_name(&file).to_owned()).or_default().push((file, id));
            }
            Record::Category(category) => {
                let (id, name) = (needed(category.id, "id")?, needed(category.name, "name")?);
                if self.categories.insert(id, name).is_some() {
                    return Err(Flaw::IdTwice);
                }
            }
            Record::Annotation(_) => {}
        }
        Ok(())
    }

    /// The id of the picture of this file name: the one with most folders before it in common.
    fn image_id(&self, file: &Path) -> Result<Id, Error> {
        let path = file.to_string_lossy();
        let none = Vec::new();
        let named = self.images.get(base_name(&path)).unwrap_or(&none);
        let most = named.iter().map(|(name, _)| common_end(name, &path)).max();
        let mut best = named.iter().filter(|(name, _)| Some(common_end(name, &path)) == most);
        match (best.next(), best.next()) {
            (Some((_, id)), None) => Ok(id.clone()),
            (Some(_), Some(_)) => Err(Error::Ambiguous { file: file.to_owned() }),
            (None, _) => Err(Error::NotAnnotated { file: file.to_owned() }),
        }
    }

    /// Ids and names of the categories in the order of their ids, which is that of the classes.
    pub fn categories(&self) -> impl Iterator<Item = (Id, String)> + '_ {
        self.categories.iter().map(|(id, name)| (id.clone(), name.clone()))
    }
}

/// The parts of a path of either kind, the last first.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.rsplit(['/', '\\'])
}

fn base_name(path: &str) -> &str {
    parts(path).next().unwrap_or(path)
}

/// How many parts at their ends two paths have in common.
fn common_end(one: &str, other: &str) -> usize {
    parts(one).zip(parts(other)).take_while(|(one, other)| one == other).count()
}

/// Reads a file of names or annotations.
pub(super) fn read_text(file: &Path) -> Result<String, Error> {
    let io = |problem| Error::Io { file: file.to_owned(), problem };
    let mut text = String::new();
    File::open(file).map_err(io)?.take(MAX_ANNOTATION_BYTES).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

/// The ids of pictures in results: those of the annotations where there are some; else the numbers that the files
/// are named by (COCO's `000000000036.jpg` is 36), if all are and none twice; else 1, 2, 3, ...
///
/// # Errors
/// The annotations lack a picture, or have two of its name.
pub fn image_ids(files: &[PathBuf], annotations: Option<&Annotations>) -> Result<Vec<Id>, Error> {
    if let Some(annotations) = annotations {
        return files.iter().map(|file| annotations.image_id(file)).collect();
    }
    let number =
        |file: &PathBuf| file.file_stem()?.to_str()?.parse::<i64>().ok().filter(|number| *number >= 0);
    let numbers: Option<Vec<i64>> = files.iter().map(number).collect();
    let is_unique = |numbers: &Vec<i64>| numbers.iter().collect::<HashSet<_>>().len() == numbers.len();
    let ids = numbers.filter(is_unique).unwrap_or_else(|| (1..=files.len() as i64).collect());
    Ok(ids.into_iter().map(Id::Number).collect())
}

/// A detection in the picture of this id as COCO's evaluation takes it.
pub fn result_entry(image_id: Id, detection: &Detection, labels: &Labels) -> ResultEntry {
    ResultEntry {
        image_id,
        category_id: labels.category_id(detection.class),
        bbox: detection.bbox().map(decimal),
        score: decimal(detection.score),
    }
}

/// The f64 that is written with the fewest digits that tell an f32.
pub fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_give_ids_by_file_name() {
        let text =
            r#"{"info": 1, "images": [{"id": 9, "file_name": "val/a.jpg", "width": 3}], "categories": []}"#;
        let annotations = Annotations::parse(text, Path::new("val.json")).unwrap();
        let ids = |file: &str| image_ids(&[PathBuf::from(file)], Some(&annotations));
        assert_eq!(ids("some/where/a.jpg").unwrap(), [Id::Number(9)]);
        assert!(ids("b.jpg").unwrap_err().to_string().starts_with("b.jpg: "));
        let error = Annotations::parse(r#"{"images": []}"#, Path::new("val.json")).unwrap_err();
        assert!(error.to_string().starts_with("val.json: annotations must be an object with"), "{error}");
    }

    #[test]
    fn folders_tell_pictures_of_one_name_apart() {
        let text = r#"{"images": [{"id": 1, "file_name": "a/9.jpg"}, {"id": 2, "file_name": "b/9.jpg"}],
                       "categories": []}"#;
        let annotations = Annotations::parse(text, Path::new("val.json")).unwrap();
        let ids = |files: &[&str]| {
            image_ids(&files.iter().map(PathBuf::from).collect::<Vec<_>>(), Some(&annotations))
        };
        assert_eq!(ids(&["x/b/9.jpg", "x/a/9.jpg"]).unwrap(), [2, 1].map(Id::Number));
        assert!(ids(&["9.jpg"]).unwrap_err().to_string().contains("several pictures"));
        let twice = r#"{"categories": [{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]}"#;
        let error = Annotations::parse(twice, Path::new("val.json")).unwrap_err();
        assert!(
            error.to_string().contains("category 1 (the first is 0): another one has its `id`"),
            "{error}"
        );
    }

    #[test]
    fn numbers_in_names_are_ids_if_all_are_different() {
        let ids =
            |files: &[&str]| image_ids(&files.iter().map(PathBuf::from).collect::<Vec<_>>(), None).unwrap();
        assert_eq!(ids(&["x/000000000036.jpg", "x/4.png"]), [36, 4].map(Id::Number));
        assert_eq!(ids(&["x/000000000036.jpg", "x/dog.jpg"]), [1, 2].map(Id::Number));
        assert_eq!(ids(&["x/7.jpg", "y/007.jpg"]), [1, 2].map(Id::Number));
    }

    #[test]
    fn results_have_widths_and_category_ids() {
        let detection = Detection { corners: [1.0, 2.0, 11.0, 7.5], score: 0.5, class: 79 };
        let entry = result_entry(Id::Number(36), &detection, &Labels::usual(80));
        let json = serde_json::to_string(&entry).unwrap();
        assert_eq!(json, r#"{"image_id":36,"category_id":90,"bbox":[1.0,2.0,10.0,5.5],"score":0.5}"#);
    }
}
