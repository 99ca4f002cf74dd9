//! Reading detections from result files in COCO's form.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Detection, Detections, Error, GroundTruth, Id, Rules};
use crate::annotations::results::{ResultRecord, read};
use crate::annotations::{Flaw, needed};

/// Reads the `text` of the result file `file` (for messages only): a list of detections in the ground truth's images.
///
/// # Errors
/// No such list, a record without one of its fields or with numbers that are not finite, images that the ground truth
/// does not have, or none of its categories.
pub fn read_results(
    text: &[u8],
    file: &Path,
    truth: &GroundTruth,
    rules: Rules,
) -> Result<Detections, Error> {
    let mut reading =
        Reading { truth, rules, found: Detections::default(), unknown: BTreeMap::new(), last: None };
    let content = |fault| Error::Content { file: file.to_owned(), fault };
    read(text, |record| reading.take(record)).map_err(content)?;
    reading.checked(file)
}

struct Reading<'t> {
    truth: &'t GroundTruth,
    rules: Rules,
    found: Detections,
    /// Images that the ground truth does not have.
    unknown: BTreeMap<Id, usize>,
    /// The image of the last record: most often that of the next too.
    last: Option<(Id, Option<u32>)>,
}

impl Reading<'_> {
    fn take(&mut self, record: ResultRecord) -> Result<(), Flaw> {
        let image = needed(record.image, "image_id")?;
        let category = needed(record.category, "category_id")?;
        let bbox = self.rules.sides(needed(record.bbox, "bbox")?)?;
        let score = self.rules.number(needed(record.score, "score")?, "score")?;
        self.keep(image, category, bbox, score);
        Ok(())
    }

    fn keep(&mut self, image: Id, category: Id, bbox: [f64; 4], score: f64) {
        let [_, _, width, height] = bbox;
        self.found.negative_sizes += usize::from(width < 0.0 || height < 0.0);
        let Some(image) = self.image_index(image) else { return };
        match self.truth.category_index(&category) {
            Some(category) => self.found.entries.push(Detection { image, category, bbox, score }),
            None => *self.found.unknown_categories.entry(category).or_default() += 1,
        }
    }

    fn image_index(&mut self, image: Id) -> Option<u32> {
        let index = match &self.last {
            Some((last, index)) if *last == image => *index,
            _ => {
                let index = self.truth.image_index(&image);
                self.last = Some((image.clone(), index));
                index
            }
        };
        if index.is_none() {
            *self.unknown.entry(image).or_default() += 1;
        }
        index
    }

    fn checked(self, file: &Path) -> Result<Detections, Error> {
        let file = file.to_owned();
        if !self.unknown.is_empty() {
            let detections = self.unknown.values().sum();
            return Err(Error::UnknownImages {
                file,
                images: self.unknown.into_iter().collect(),
                detections,
            });
        }
        let found = self.found;
        if found.entries.is_empty() && !found.unknown_categories.is_empty() && self.rules == Rules::Sound {
            let detections = found.total();
            let categories = found.unknown_categories.into_iter().collect();
            return Err(Error::NoKnownCategory { file, categories, detections });
        }
        if found.total() == 0 && self.rules == Rules::Pycocotools {
            return Err(Error::PycocotoolsStops { what: "results without detections" });
        }
        Ok(found)
    }
}
