//! Reading ground truth from annotation files in COCO's form.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::{Category, Error, GroundTruth, Id, Image, Object, Rules, Warning};
use crate::annotations::coco::{AnnotationRecord, Lists, Record, read};
use crate::annotations::{Fault, Flaw, needed};

/// Reads the `text` of the annotation file `file` (for messages only): the ground truth, and what is odd about it.
///
/// What pycocotools overwrites with `iscrowd`, `ignore`, counts only as VOC's `difficult`.
///
/// # Errors
/// No such file, or a record without one of the fields that it needs or with numbers that are not finite.
pub fn read_annotations(
    text: &[u8],
    file: &Path,
    rules: Rules,
) -> Result<(GroundTruth, Vec<Warning>), Error> {
    let content = |fault| Error::Content { file: file.to_owned(), fault };
    let mut reading = Reading { rules, ..Reading::default() };
    let lists = read(text, |record| reading.take(record)).map_err(content)?;
    if lists != (Lists { images: true, categories: true, annotations: true }) {
        return Err(content(Fault::NotAnnotations));
    }
    reading.resolved()
}

/// What has been read; categories may come after the annotations that name them.
#[derive(Default)]
struct Reading {
    rules: Rules,
    images: Vec<Image>,
    categories: Vec<Category>,
    annotations: Vec<Annotation>,
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
    /// A name that is missing or no text is none: detections are told apart by ids.
    fn take(&mut self, record: Record) -> Result<(), Flaw> {
        match record {
            Record::Image(image) => self
                .images
                .push(Image { id: needed(image.id, "id")?, file_name: image.file_name.unwrap_or_default() }),
            Record::Category(category) => self.categories.push(Category {
                id: needed(category.id, "id")?,
                name: category.name.ok().flatten().unwrap_or_default(),
            }),
            Record::Annotation(annotation) => {
                self.annotations.push(Annotation::new(annotation?, self.rules)?);
            }
        }
        Ok(())
    }

    /// Finds the image and the category of every annotation.
    fn resolved(self) -> Result<(GroundTruth, Vec<Warning>), Error> {
        let mut truth = GroundTruth::new(self.images, self.categories);
        let mut oddities = Oddities::default();
        for annotation in self.annotations {
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
    fn new(record: AnnotationRecord, rules: Rules) -> Result<Annotation, Flaw> {
        let area = record.area?.map(|area| rules.number(area, "area")).transpose()?;
        Ok(Annotation {
            id: record.id?,
            image: needed(record.image, "image_id")?,
            category: needed(record.category, "category_id")?,
            bbox: rules.sides(needed(record.bbox, "bbox")?)?,
            area,
            is_crowd: record.is_crowd?,
            is_difficult: record.is_difficult?.unwrap_or(false),
        })
    }

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
