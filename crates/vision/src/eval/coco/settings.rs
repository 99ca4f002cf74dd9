//! What is evaluated, and how.

use serde::{Deserialize, Serialize};

use crate::eval::{Id, Rules};

/// pycocotools' parameters, and whose rules hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The best detections of an image and category that count: three limits, ascending.
    pub max_detections: [usize; 3],
    /// Only these images; all without.
    pub image_ids: Option<Vec<Id>>,
    /// Only these categories; all without.
    pub category_ids: Option<Vec<Id>>,
    /// Only the first images, by id.
    pub limit: Option<usize>,
    /// All categories are one: does it find objects, whatever they are?
    pub class_agnostic: bool,
    /// Whose rules hold where data are odd.
    pub rules: Rules,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_detections: [1, 10, 100],
            image_ids: None,
            category_ids: None,
            limit: None,
            class_agnostic: false,
            rules: Rules::Sound,
        }
    }
}

impl Settings {
    /// The largest limit of detections.
    pub fn largest_limit(&self) -> usize {
        let [_, _, largest] = self.max_detections;
        largest
    }
}
