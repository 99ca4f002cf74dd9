//! Reading ground truth from annotation files in COCO's form.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::error::Flaw;
use super::json::{Fault, Kind, Reader};
use super::record::{Stop, bbox, fields, flag, id, number, optional};
use super::{Category, Error, GroundTruth, Id, Image, Object, Rules, Warning};

const A_DATA_SET: &str = "annotations must be an object with `images`, `annotations` and `categories`\n  give COCO's annotation file";

/// Reads the `text` of the annotation file `file` (for messages only): the ground truth, and what is odd about it.
///
/// Polygons, keypoints and unknown fields are passed over. `ignore`, which pycocotools overwrites, counts only as
/// VOC's `difficult`.
///
/// # Errors
/// No such file, or a record without one of the fields that it needs or with numbers that are not finite.
pub fn read_annotations(
    text: &[u8],
    file: &Path,
    rules: Rules,
) -> Result<(GroundTruth, Vec<Warning>), Error> {
    let mut reading = Reading { rules, ..Reading::default() };
    let mut reader = Reader::new(text);
    let json = |fault| Error::Json { file: file.to_owned(), fault };
    let expected = || Error::Document { file: file.to_owned(), expected: A_DATA_SET };
    if reader.peek().map_err(json)? != Kind::Object {
        return Err(expected());
    }
    let outcome = reader.object(|reader, key| reading.section(reader, key));
    let end = |()| reader.end().map_err(Halt::Fault);
    outcome.and_then(end).map_err(|halt| match halt {
        Halt::Fault(fault) => json(fault),
        Halt::Flaw(list, index, flaw) => Error::Record { file: file.to_owned(), list, index, flaw },
    })?;
    if !reading.has_lists() {
        return Err(expected());
    }
    reading.resolved()
}

/// Why reading stops, and at which record of which list.
enum Halt {
    Fault(Fault),
    Flaw(&'static str, usize, Flaw),
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Halt {
        Halt::Fault(fault)
    }
}

/// What has been read; categories may come after the annotations that name them.
#[derive(Default)]
struct Reading {
    rules: Rules,
    images: Option<Vec<Image>>,
    categories: Option<Vec<Category>>,
    annotations: Option<Vec<Annotation>>,
}

struct Annotation {
    id: Option<Id>,
    image: Id,
    category: Id,
    bbox: [f64; 4],
    area: Option<f64>,
    is_crowd: Option<bool>,
    is_difficult: bool,
}

impl Reading {
    fn has_lists(&self) -> bool {
        self.images.is_some() && self.categories.is_some() && self.annotations.is_some()
    }

    fn section(&mut self, reader: &mut Reader<'_>, key: &str) -> Result<(), Halt> {
        let rules = self.rules;
        match key {
            "images" => self.images = Some(list(reader, "image", image)?),
            "categories" => self.categories = Some(list(reader, "category", category)?),
            "annotations" => {
                self.annotations = Some(list(reader, "annotation", |reader| annotation(reader, rules))?);
            }
            _ => reader.skip()?,
        }
        Ok(())
    }

    /// Finds the image and the category of every annotation.
    fn resolved(self) -> Result<(GroundTruth, Vec<Warning>), Error> {
        let mut truth =
            GroundTruth::new(self.images.unwrap_or_default(), self.categories.unwrap_or_default());
        let mut oddities = Oddities::default();
        for annotation in self.annotations.unwrap_or_default() {
            oddities.look_at(&annotation);
            let image = truth.image_index(&annotation.image);
            let category = truth.category_index(&annotation.category);
            match (image, category) {
                (None, _) => *oddities.unlisted_images.entry(annotation.image).or_default() += 1,
                (_, None) => *oddities.unlisted_categories.entry(annotation.category).or_default() += 1,
                (Some(image), Some(category)) => truth.objects.push(annotation.object(image, category)),
            }
        }
        oddities.check(self.rules)?;
        let warnings = oddities.warnings();
        Ok((truth, warnings))
    }
}

impl Annotation {
    fn object(self, image: u32, category: u32) -> Object {
        let [_, _, width, height] = self.bbox;
        Object {
            id: self.id,
            image,
            category,
            bbox: self.bbox,
            area: self.area.unwrap_or(width * height),
            is_crowd: self.is_crowd.unwrap_or(false),
            is_difficult: self.is_difficult,
        }
    }
}

/// What is odd about annotations, counted.
#[derive(Default)]
struct Oddities {
    ids: HashSet<Id>,
    repeated_ids: usize,
    missing_area: usize,
    missing_crowd: usize,
    negative: usize,
    unlisted_images: BTreeMap<Id, usize>,
    unlisted_categories: BTreeMap<Id, usize>,
}

impl Oddities {
    fn look_at(&mut self, annotation: &Annotation) {
        let [_, _, width, height] = annotation.bbox;
        self.missing_area += usize::from(annotation.area.is_none());
        self.missing_crowd += usize::from(annotation.is_crowd.is_none());
        self.negative += usize::from(width < 0.0 || height < 0.0);
        if let Some(id) = &annotation.id {
            self.repeated_ids += usize::from(!self.ids.insert(id.clone()));
        }
    }

    fn check(&self, rules: Rules) -> Result<(), Error> {
        match rules {
            Rules::Pycocotools if self.missing_area > 0 => {
                Err(Error::PycocotoolsStops { what: "annotations without `area`" })
            }
            Rules::Pycocotools if self.missing_crowd > 0 => {
                Err(Error::PycocotoolsStops { what: "annotations without `iscrowd`" })
            }
            _ => Ok(()),
        }
    }

    fn warnings(self) -> Vec<Warning> {
        let has_zero = self.ids.contains(&Id::Number(0));
        let candidates = [
            (has_zero, Warning::AnnotationIdZero),
            (self.repeated_ids > 0, Warning::RepeatedAnnotationIds(self.repeated_ids)),
            (self.missing_area > 0, Warning::MissingArea(self.missing_area)),
            (self.missing_crowd > 0, Warning::MissingCrowdFlag(self.missing_crowd)),
            (!self.unlisted_images.is_empty(), Warning::UnlistedImages(self.unlisted_images)),
            (!self.unlisted_categories.is_empty(), Warning::UnlistedCategories(self.unlisted_categories)),
            (self.negative > 0, Warning::NegativeObjects(self.negative)),
        ];
        candidates.into_iter().filter(|(applies, _)| *applies).map(|(_, warning)| warning).collect()
    }
}

fn list<'a, T>(
    reader: &mut Reader<'a>,
    name: &'static str,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Stop>,
) -> Result<Vec<T>, Halt> {
    let mut items = Vec::new();
    reader.array(|reader| {
        let item = read(reader).map_err(|stop| match stop {
            Stop::Fault(fault) => Halt::Fault(fault),
            Stop::Flaw(flaw) => Halt::Flaw(name, items.len(), flaw),
        })?;
        items.push(item);
        Ok::<(), Halt>(())
    })?;
    Ok(items)
}

fn image(reader: &mut Reader<'_>) -> Result<Image, Stop> {
    let (mut image, mut file_name) = (None, None);
    fields(reader, |reader, key| {
        match (key, reader.peek()?) {
            ("id", _) => image = Some(id(reader, "id")?),
            ("file_name", Kind::String) => file_name = Some(reader.string()?.into_owned()),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(Image { id: image.ok_or(Flaw::Missing("id"))?, file_name })
}

fn category(reader: &mut Reader<'_>) -> Result<Category, Stop> {
    let (mut category, mut name) = (None, String::new());
    fields(reader, |reader, key| {
        match (key, reader.peek()?) {
            ("id", _) => category = Some(id(reader, "id")?),
            ("name", Kind::String) => name = reader.string()?.into_owned(),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(Category { id: category.ok_or(Flaw::Missing("id"))?, name })
}

fn annotation(reader: &mut Reader<'_>, rules: Rules) -> Result<Annotation, Stop> {
    let (mut own, mut image, mut category, mut sides) = (None, None, None, None);
    let (mut area, mut is_crowd, mut difficult, mut ignore) = (None, None, None, None);
    fields(reader, |reader, key| {
        match key {
            "id" => own = optional(reader, |reader| id(reader, "id"))?,
            "image_id" => image = Some(id(reader, "image_id")?),
            "category_id" => category = Some(id(reader, "category_id")?),
            "bbox" => sides = Some(bbox(reader, rules)?),
            "area" => area = optional(reader, |reader| number(reader, "area", rules))?,
            "iscrowd" => is_crowd = optional(reader, |reader| flag(reader, "iscrowd"))?,
            "difficult" => difficult = optional(reader, |reader| flag(reader, "difficult"))?,
            "ignore" => ignore = optional(reader, |reader| flag(reader, "ignore"))?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(Annotation {
        id: own,
        image: image.ok_or(Flaw::Missing("image_id"))?,
        category: category.ok_or(Flaw::Missing("category_id"))?,
        bbox: sides.ok_or(Flaw::Missing("bbox"))?,
        area,
        is_crowd,
        is_difficult: difficult.or(ignore).unwrap_or(false),
    })
}
