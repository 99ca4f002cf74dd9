//! COCO's JSON: reading, and writing one entry on each line.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::bounds::{Bounds, PictureSize, Shape};
use super::defect::{Defects, Reason};
use super::draft::{Draft, DraftBox, Found};
use super::fault::{Fault, text};
use super::set::{Category, DataSet};

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    images: Vec<ImageEntry>,
    #[serde(default)]
    annotations: Vec<BoxEntry>,
    categories: Vec<CategoryEntry>,
}

#[derive(Deserialize)]
struct ImageEntry {
    id: Id,
    file_name: String,
    #[serde(default)]
    width: Lenient<f64>,
    #[serde(default)]
    height: Lenient<f64>,
}

#[derive(Deserialize)]
struct CategoryEntry {
    id: Id,
    name: String,
}

#[derive(Deserialize)]
struct BoxEntry {
    #[serde(default)]
    image_id: Lenient<Id>,
    #[serde(default)]
    category_id: Lenient<Id>,
    #[serde(default)]
    bbox: Lenient<[f64; 4]>,
    #[serde(default)]
    area: Lenient<f64>,
    #[serde(default)]
    iscrowd: Flag,
    // Two names of VOC's `difficult` in use.
    #[serde(default)]
    ignore: Flag,
    #[serde(default)]
    difficult: Flag,
    #[serde(default)]
    segmentation: Presence,
    #[serde(default)]
    keypoints: Presence,
}

/// An id: a number, or text as some tools write it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(untagged)]
enum Id {
    Number(i64),
    Text(String),
}

impl Id {
    fn number(&self) -> Option<u64> {
        match self {
            Id::Number(number) => u64::try_from(*number).ok(),
            Id::Text(_) => None,
        }
    }

    fn shown(&self) -> String {
        match self {
            Id::Number(number) => number.to_string(),
            Id::Text(text) => format!("\"{text}\""),
        }
    }
}

/// A value that may be something else, which is then an entry's defect and not the file's.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Lenient<T> {
    Right(T),
    Wrong(IgnoredAny),
    #[default]
    Absent,
}

impl<T> Lenient<T> {
    fn right(self, name: &str) -> Result<T, (Reason, String)> {
        match self {
            Lenient::Right(value) => Ok(value),
            Lenient::Wrong(_) => Err((Reason::Malformed, format!("`{name}` is not what it should be"))),
            Lenient::Absent => Err((Reason::Malformed, format!("no `{name}`"))),
        }
    }
}

/// 0 and 1, or false and true.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Number(f64),
    Other(IgnoredAny),
    #[default]
    Absent,
}

impl Flag {
    fn is_set(&self) -> bool {
        match self {
            Flag::Bool(value) => *value,
            Flag::Number(value) => *value != 0.0,
            Flag::Other(_) | Flag::Absent => false,
        }
    }
}

/// Whether a list or an object has anything in it.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Presence {
    List(Vec<IgnoredAny>),
    Object(HashMap<String, IgnoredAny>),
    Other(IgnoredAny),
    #[default]
    Absent,
}

impl Presence {
    fn is_something(&self) -> bool {
        match self {
            Presence::List(list) => !list.is_empty(),
            Presence::Object(object) => !object.is_empty(),
            Presence::Other(_) | Presence::Absent => false,
        }
    }
}

/// Reads the bytes of an annotation file. `origin` names it for messages.
///
/// # Errors
/// The bytes are no such JSON; a fault in one entry is a defect.
pub fn parse(
    bytes: &[u8],
    origin: &str,
    defects: &mut Defects,
) -> Result<(Vec<Category>, Vec<Draft>), Fault> {
    let document: Document = serde_json::from_str(text(bytes)?)?;
    let (categories, classes) = categories(document.categories, origin, defects);
    let (mut drafts, images) = drafts(document.images, origin, defects);
    for (index, entry) in document.annotations.into_iter().enumerate() {
        let number = index + 1;
        let place = || format!("{origin}, annotation {number}");
        if entry.segmentation.is_something() || entry.keypoints.is_something() {
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

/// Categories in the order of their ids, and the index that each id has.
fn categories(
    mut entries: Vec<CategoryEntry>,
    origin: &str,
    defects: &mut Defects,
) -> (Vec<Category>, HashMap<Id, usize>) {
    entries.sort_by(|one, other| one.id.cmp(&other.id));
    let (mut categories, mut classes) = (Vec::new(), HashMap::new());
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for CategoryEntry { id, name } in entries {
        let name = name.trim().to_owned();
        let index = *by_name.entry(name.clone()).or_insert(categories.len());
        let is_new = index == categories.len();
        if classes.contains_key(&id) || !is_new {
            let place = || format!("{origin}, category {}", id.shown());
            defects.add(Reason::DuplicateCategory, place, name.clone());
        }
        if is_new && classes.contains_key(&id) {
            by_name.remove(&name);
            continue;
        }
        if is_new {
            categories.push(Category { name, id: id.number() });
        }
        classes.entry(id).or_insert(index);
    }
    (categories, classes)
}

/// Images in the order of the file, and the index that each id has.
fn drafts(entries: Vec<ImageEntry>, origin: &str, defects: &mut Defects) -> (Vec<Draft>, HashMap<Id, usize>) {
    let (mut drafts, mut images) = (Vec::with_capacity(entries.len()), HashMap::new());
    for ImageEntry { id, file_name, width, height } in entries {
        let stated = match (width, height) {
            (Lenient::Right(width), Lenient::Right(height)) => {
                Some(PictureSize { width: width as u32, height: height as u32 })
            }
            _ => None,
        };
        let number = id.number();
        match images.entry(id) {
            Entry::Occupied(first) => {
                let place = || format!("{origin}, image {}", first.key().shown());
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

impl BoxEntry {
    /// The index of the image, and what is in it.
    fn found(
        self,
        images: &HashMap<Id, usize>,
        classes: &HashMap<Id, usize>,
    ) -> Result<(usize, Content), (Reason, String)> {
        let id = self.image_id.right("image_id")?;
        let unknown = || (Reason::UnknownImage, format!("image id {}", id.shown()));
        let image = *images.get(&id).ok_or_else(unknown)?;
        let content = self.category_id.right("category_id").and_then(|id| {
            let unknown = || (Reason::UnknownClass, format!("category id {}", id.shown()));
            Ok(Found {
                category: *classes.get(&id).ok_or_else(unknown)?,
                shape: Shape::Sides(self.bbox.right("bbox")?),
                is_crowd: self.iscrowd.is_set(),
                is_difficult: self.ignore.is_set() || self.difficult.is_set(),
                area: self.area.right("area").ok(),
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
                {}],
              "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "cat"}, {"id": 3, "name": "dog"}]}"#,
        );
        let found: Vec<(&str, u64)> =
            defects.iter().map(|(reason, count, _)| (reason.name(), count)).collect();
        let expected = [
            ("zero-size", 1),
            ("negative-size", 1),
            ("beyond-border", 1),
            ("unknown-class", 1),
            ("malformed", 5),
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
