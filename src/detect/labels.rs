//! Names of classes, and the category ids that results for evaluation carry.

use std::path::Path;

use super::Error;
use super::annotations::{Annotations, read_text};
use vision::annotations::Id;

/// COCO's 80 classes: id among the 91 categories of the paper, name.
const COCO: &str = include_str!("names/coco.txt");
/// The 20 classes of Pascal VOC in their alphabetical order.
const VOC: &str = include_str!("names/voc.txt");

/// A name and a category id for each class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
    ids: Vec<Id>,
}

impl Labels {
    /// What is usual for a number of classes: [`Labels::published`], else `class 0`, `class 1`, ...
    pub fn usual(classes: usize) -> Labels {
        let numbered = || Labels::named((0..classes).map(|class| format!("class {class}")).collect());
        Labels::published(classes).unwrap_or_else(numbered)
    }

    /// The names of the data set that networks of so many classes are usually trained on: COCO's for 80, Pascal VOC's
    /// for 20.
    pub fn published(classes: usize) -> Option<Labels> {
        match classes {
            80 => Some(Labels::listed(COCO)),
            20 => Some(Labels::listed(VOC)),
            _ => None,
        }
    }

    /// These names in the order of the classes, with category ids from 1.
    pub fn named(names: Vec<String>) -> Labels {
        let ids = (1..=names.len() as i64).map(Id::Number).collect();
        Labels { names, ids }
    }

    /// The names a user asks for: separated by commas, or the path of a file with a name on each line, or of COCO
    /// annotations (`.json`).
    ///
    /// # Errors
    /// The file cannot be read, or there is not one name for each class.
    pub fn given(names: &str, classes: usize) -> Result<Labels, Error> {
        let file = Path::new(names);
        if is_json(file) {
            return Labels::of_annotations(&Annotations::read(file)?, classes);
        }
        let names = if file.is_file() { split(&read_text(file)?, '\n') } else { split(names, ',') };
        Labels::named(names).for_classes(classes)
    }

    /// The categories of annotations in the order of their ids.
    ///
    /// # Errors
    /// There is not one category for each class.
    pub fn of_annotations(annotations: &Annotations, classes: usize) -> Result<Labels, Error> {
        let (ids, names) = annotations.categories().unzip();
        Labels { names, ids }.for_classes(classes)
    }

    fn for_classes(self, classes: usize) -> Result<Labels, Error> {
        match self.names.len() {
            count if count == classes => Ok(self),
            names => Err(Error::NameCount { names, classes }),
        }
    }

    fn listed(list: &str) -> Labels {
        let entries = list.lines().filter_map(|line| line.split_once(' '));
        let (ids, names) =
            entries.filter_map(|(id, name)| Some((Id::Number(id.parse().ok()?), name.to_owned()))).unzip();
        Labels { names, ids }
    }

    /// The name of a class.
    pub fn name(&self, class: usize) -> &str {
        self.names.get(class).map_or("?", String::as_str)
    }

    /// The category id of a class in results for evaluation.
    pub fn category_id(&self, class: usize) -> Id {
        self.ids.get(class).cloned().unwrap_or(Id::Number(class as i64 + 1))
    }

    /// The names in the order of the classes.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// Whether a file of names is one of annotations.
fn is_json(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "json")
}

fn split(names: &str, separator: char) -> Vec<String> {
    let names = names.split(separator).map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_follow_the_number_of_classes() {
        let coco = Labels::usual(80);
        assert_eq!((coco.names().len(), coco.name(0), coco.category_id(0)), (80, "person", Id::Number(1)));
        assert_eq!((coco.name(79), coco.category_id(79)), ("toothbrush", Id::Number(90)));
        assert_eq!((Labels::usual(20).names().len(), Labels::usual(20).name(19)), (20, "tvmonitor"));
        assert_eq!((Labels::usual(6).name(3), Labels::usual(6).category_id(3)), ("class 3", Id::Number(4)));
        assert_eq!(Labels::usual(6).name(6), "?");
    }

    #[test]
    fn given_names_are_a_list_or_a_file() {
        assert_eq!(Labels::given("red, white blood,", 2).unwrap().name(1), "white blood");
        let error = Labels::given("a,b,c", 2).unwrap_err();
        assert!(error.to_string().contains("3 class names for 2 classes"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("names.txt");
        std::fs::write(&file, "circle\r\nbig square\n\n").unwrap();
        assert_eq!(Labels::given(file.to_str().unwrap(), 2).unwrap().names(), ["circle", "big square"]);
    }

    #[test]
    fn categories_count_in_the_order_of_their_ids() {
        let text = r#"{"categories": [{"id": 7, "name": "b"}, {"id": 3, "name": "a"}], "images": []}"#;
        let annotations = Annotations::parse(text, Path::new("a.json")).unwrap();
        let labels = Labels::of_annotations(&annotations, 2).unwrap();
        assert_eq!((labels.name(0), labels.category_id(0)), ("a", Id::Number(3)));
        assert_eq!(labels.category_id(1), Id::Number(7));
        assert!(Labels::of_annotations(&annotations, 3).is_err());
    }
}
