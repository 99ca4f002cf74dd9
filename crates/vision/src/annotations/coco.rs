//! COCO's annotation files.

use super::field::{Field, Flaw, flag, id, is_filled, number, optional, plain, record, sides, string};
use super::json::{self, Kind, Reader};
use super::{Fault, Id};

/// An entry of one of the lists.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Of `images`.
    Image(ImageRecord),
    /// Of `categories`.
    Category(CategoryRecord),
    /// Of `annotations`.
    Annotation(Result<AnnotationRecord, Flaw>),
}

/// An image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRecord {
    /// Its id.
    pub id: Field<Id>,
    /// Its file.
    pub file_name: Field<String>,
    /// Pixels across.
    pub width: Field<f64>,
    /// Pixels down.
    pub height: Field<f64>,
}

/// A category.
#[derive(Debug, Clone, PartialEq)]
pub struct CategoryRecord {
    /// Its id.
    pub id: Field<Id>,
    /// Its name.
    pub name: Field<String>,
}

/// An annotated object.
#[derive(Debug, Clone, PartialEq)]
pub struct AnnotationRecord {
    /// Its own id.
    pub id: Field<Id>,
    /// The id of its image.
    pub image: Field<Id>,
    /// The id of its category.
    pub category: Field<Id>,
    /// Left, top, width, height in pixels, finite or not.
    pub bbox: Field<[f64; 4]>,
    /// Square pixels, finite or not; COCO's are those of the outline.
    pub area: Field<f64>,
    /// `iscrowd`: a group that one box is around.
    pub is_crowd: Field<bool>,
    /// `difficult` as in VOC, or `ignore`, as many tools call it: either will do.
    pub is_difficult: Field<bool>,
    /// Whether there is more than a box: `segmentation` or `keypoints`.
    pub has_outline: bool,
}

/// Which lists a file has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lists {
    /// `images`
    pub images: bool,
    /// `categories`
    pub categories: bool,
    /// `annotations`
    pub annotations: bool,
}

/// Reads the text of an annotation file and shows `take` each record, in the order of the file. Fields of other names
/// are passed over.
///
/// # Errors
/// The text is no such JSON, an image or category is no object, or `take` refuses a record.
pub fn read(text: &[u8], take: impl FnMut(Record) -> Result<(), Flaw>) -> Result<Lists, Fault> {
    let mut reader = Reader::new(text);
    if reader.peek()? != Kind::Object {
        return Err(Fault::NotAnnotations);
    }
    let mut reading = Reading { lists: Lists::default(), take };
    reader.object(|reader, key| reading.section(reader, key))?;
    reader.end()?;
    Ok(reading.lists)
}

struct Reading<F> {
    lists: Lists,
    take: F,
}

impl<F: FnMut(Record) -> Result<(), Flaw>> Reading<F> {
    fn section(&mut self, reader: &mut Reader<'_>, key: &str) -> Result<(), Fault> {
        let Lists { images, categories, annotations } = &mut self.lists;
        let take = &mut self.take;
        match key {
            "images" => {
                once(reader, images, "images")?;
                list(reader, "image", |reader| Ok(image(reader)?.map(Record::Image)), take)
            }
            "categories" => {
                once(reader, categories, "categories")?;
                list(reader, "category", |reader| Ok(category(reader)?.map(Record::Category)), take)
            }
            "annotations" => {
                once(reader, annotations, "annotations")?;
                list(reader, "annotation", |reader| Ok(Ok(Record::Annotation(annotation(reader)?))), take)
            }
            _ => Ok(reader.skip()?),
        }
    }
}

/// Notes that a list is there, and checks that it is one.
fn once(reader: &mut Reader<'_>, is_there: &mut bool, name: &'static str) -> Result<(), Fault> {
    if std::mem::replace(is_there, true) {
        return Err(Fault::ListTwice(name));
    }
    match reader.peek()? {
        Kind::Array => Ok(()),
        _ => Err(Fault::NotAList(name)),
    }
}

/// Reads a list whose entries are called `name`, and hands them on.
pub(super) fn list<'a, T>(
    reader: &mut Reader<'a>,
    name: &'static str,
    read: impl Fn(&mut Reader<'a>) -> Result<Result<T, Flaw>, json::Fault>,
    take: &mut impl FnMut(T) -> Result<(), Flaw>,
) -> Result<(), Fault> {
    let mut index = 0;
    reader.array(|reader| {
        let flawed = |flaw| Fault::Record { list: name, index, flaw };
        read(reader)?.and_then(&mut *take).map_err(flawed)?;
        index += 1;
        Ok(())
    })
}

fn image(reader: &mut Reader<'_>) -> Result<Result<ImageRecord, Flaw>, json::Fault> {
    let mut image = ImageRecord { id: Ok(None), file_name: Ok(None), width: Ok(None), height: Ok(None) };
    let read = record(reader, |reader, key| {
        match key {
            "id" => image.id = plain(id(reader, "id"))?,
            "file_name" => image.file_name = plain(string(reader, "file_name"))?,
            "width" => image.width = optional(reader, |reader| number(reader, "width"))?,
            "height" => image.height = optional(reader, |reader| number(reader, "height"))?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(read.map(|()| image))
}

fn category(reader: &mut Reader<'_>) -> Result<Result<CategoryRecord, Flaw>, json::Fault> {
    let mut category = CategoryRecord { id: Ok(None), name: Ok(None) };
    let read = record(reader, |reader, key| {
        match key {
            "id" => category.id = plain(id(reader, "id"))?,
            "name" => category.name = plain(string(reader, "name"))?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(read.map(|()| category))
}

impl AnnotationRecord {
    const EMPTY: AnnotationRecord = AnnotationRecord {
        id: Ok(None),
        image: Ok(None),
        category: Ok(None),
        bbox: Ok(None),
        area: Ok(None),
        is_crowd: Ok(None),
        is_difficult: Ok(None),
        has_outline: false,
    };
}

fn annotation(reader: &mut Reader<'_>) -> Result<Result<AnnotationRecord, Flaw>, json::Fault> {
    let (mut one, mut ignore) = (AnnotationRecord::EMPTY, Ok(None));
    let read = record(reader, |reader, key| {
        match key {
            "id" => one.id = optional(reader, |reader| id(reader, "id"))?,
            "image_id" => one.image = plain(id(reader, "image_id"))?,
            "category_id" => one.category = plain(id(reader, "category_id"))?,
            "bbox" => one.bbox = plain(sides(reader))?,
            "area" => one.area = optional(reader, |reader| number(reader, "area"))?,
            "iscrowd" => one.is_crowd = optional(reader, |reader| flag(reader, "iscrowd"))?,
            "difficult" => one.is_difficult = optional(reader, |reader| flag(reader, "difficult"))?,
            "ignore" => ignore = optional(reader, |reader| flag(reader, "ignore"))?,
            "segmentation" | "keypoints" => one.has_outline |= is_filled(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    one.is_difficult = either(one.is_difficult, ignore);
    Ok(read.map(|()| one))
}

/// Set if one of the two is.
fn either(one: Field<bool>, other: Field<bool>) -> Field<bool> {
    Ok(match (one?, other?) {
        (Some(one), Some(other)) => Some(one || other),
        (one, other) => one.or(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Result<(Vec<Record>, Lists), Fault> {
        let mut records = Vec::new();
        let lists = read(text.as_bytes(), |record| {
            records.push(record);
            Ok(())
        })?;
        Ok((records, lists))
    }

    #[test]
    fn records_come_as_they_are_written() {
        let text = r#"{"info": [{}], "annotations": [
            {"id": null, "image_id": "x", "category_id": 7.0, "bbox": [1, 2, 3, NaN], "area": null, "iscrowd": true,
             "difficult": 0, "ignore": 1, "segmentation": [], "keypoints": [1]}, 3, {"image_id": null, "bbox": [1, "2"]}],
          "categories": [{"id": 7, "name": "dog", "name": "cat"}]}"#;
        let (records, lists) = records(text).unwrap();
        assert_eq!(lists, Lists { images: false, categories: true, annotations: true });
        let [
            Record::Annotation(Ok(first)),
            Record::Annotation(Err(second)),
            Record::Annotation(Ok(third)),
            last,
        ] = records.as_slice()
        else {
            panic!("{records:?}")
        };
        assert_eq!((&first.id, &first.image), (&Ok(None), &Ok(Some(Id::Text("x".into())))));
        assert_eq!((&first.category, &first.area), (&Ok(Some(Id::Number(7))), &Ok(None)));
        assert!(first.bbox.as_ref().unwrap().unwrap()[3].is_nan());
        assert_eq!((&first.is_crowd, &first.is_difficult), (&Ok(Some(true)), &Ok(Some(true))));
        assert!(first.has_outline && !third.has_outline);
        assert_eq!(second, &Flaw::NotAnObject);
        assert_eq!(third.image, Err(Flaw::NotAnId("image_id")));
        assert_eq!((&third.bbox, &third.category), (&Err(Flaw::NotANumber("bbox")), &Ok(None)));
        let cat = CategoryRecord { id: Ok(Some(Id::Number(7))), name: Ok(Some("cat".to_owned())) };
        assert_eq!(last, &Record::Category(cat));
    }

    #[test]
    fn what_stops_reading_is_said() {
        let fault = |text: &str| records(text).unwrap_err();
        assert_eq!(fault("[]"), Fault::NotAnnotations);
        assert_eq!(fault(r#"{"images": [], "images": []}"#), Fault::ListTwice("images"));
        let flawed = Fault::Record { list: "image", index: 1, flaw: Flaw::NotAnObject };
        assert_eq!(fault(r#"{"images": [{}, 3]}"#), flawed);
        assert_eq!(fault(r#"{"images": {}}"#), Fault::NotAList("images"));
        for text in ["", "{", r#"{"images": [}"#, "{} {}"] {
            assert!(matches!(fault(text), Fault::Json(_)), "{text}");
        }
        let deep = format!(r#"{{"annotations": [{{"bbox": {}"#, "[".repeat(1_000_000));
        assert!(matches!(fault(&deep), Fault::Json(_)));
    }

    #[test]
    fn refused_records_are_named() {
        let refusal = |_| Err(Flaw::Missing("x"));
        let flaw = Flaw::Missing("x");
        let expected = Fault::Record { list: "category", index: 0, flaw };
        assert_eq!(read(br#"{"categories": [{}]}"#, refusal), Err(expected));
    }
}
