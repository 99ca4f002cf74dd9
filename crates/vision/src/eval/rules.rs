//! Whose rules hold where pycocotools errs.

use serde::{Deserialize, Serialize};

use crate::annotations::{Flaw, finite};

/// How odd data are treated; with good data both give the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rules {
    /// Every annotation counts whatever its id, and numbers that are not finite are errors.
    #[default]
    Sound,
    /// As pycocotools 2.0.11 does: an annotation with the id 0 is never found, annotations that share an id are
    /// confused, NaN scores come last, AP is -1 without a limit of 100 detections.
    Pycocotools,
}

impl Rules {
    /// A number of a record: finite, unless pycocotools' rules hold, which know no such condition.
    pub(super) fn number(self, number: f64, name: &'static str) -> Result<f64, Flaw> {
        match self {
            Rules::Sound => finite(number, name),
            Rules::Pycocotools => Ok(number),
        }
    }

    /// The numbers of a box, by the same rule.
    pub(super) fn sides(self, sides: [f64; 4]) -> Result<[f64; 4], Flaw> {
        sides.into_iter().try_for_each(|side| self.number(side, "bbox").map(drop))?;
        Ok(sides)
    }
}
