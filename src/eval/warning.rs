//! What does not keep a data set from being evaluated, but must not go unsaid.

use std::collections::BTreeMap;
use std::fmt;

use super::Id;
use super::error::counted;

/// Something odd about annotations or results, with what was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// An annotation has the id 0.
    AnnotationIdZero,
    /// Annotations share their ids.
    RepeatedAnnotationIds(usize),
    /// Annotations have no area.
    MissingArea(usize),
    /// Annotations do not say whether they are crowds.
    MissingCrowdFlag(usize),
    /// Annotations of images that the file does not list.
    UnlistedImages(BTreeMap<Id, usize>),
    /// Annotations of categories that the file does not list.
    UnlistedCategories(BTreeMap<Id, usize>),
    /// Annotations with a negative width or height.
    NegativeObjects(usize),
    /// Detections with a negative width or height.
    NegativeDetections(usize),
    /// Detections of categories that the annotations do not have.
    UnknownCategories(BTreeMap<Id, usize>),
    /// The results' category ids count from 0, the annotations' do not.
    LooksLikeLabels,
    /// There is nothing to find.
    NoObjects,
    /// Nothing was found.
    NoDetections,
    /// A limit of detections other than 100.
    OtherLimit(usize),
}

impl Warning {
    /// The kind of warning, as JSON output names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Warning::AnnotationIdZero => "annotation-id-zero",
            Warning::RepeatedAnnotationIds(_) => "repeated-annotation-ids",
            Warning::MissingArea(_) => "missing-area",
            Warning::MissingCrowdFlag(_) => "missing-iscrowd",
            Warning::UnlistedImages(_) => "unlisted-images",
            Warning::UnlistedCategories(_) => "unlisted-categories",
            Warning::NegativeObjects(_) => "negative-objects",
            Warning::NegativeDetections(_) => "negative-detections",
            Warning::UnknownCategories(_) => "unknown-categories",
            Warning::LooksLikeLabels => "looks-like-labels",
            Warning::NoObjects => "no-objects",
            Warning::NoDetections => "no-detections",
            Warning::OtherLimit(_) => "other-limit",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::AnnotationIdZero => {
                f.write_str("an annotation has the id 0: it counts here, pycocotools takes it for never found")
            }
            Warning::RepeatedAnnotationIds(count) => write!(
                f,
                "{count} annotations have the id of another: all count here, pycocotools confuses them"
            ),
            Warning::MissingArea(count) => {
                write!(f, "{count} annotations have no `area`: width times height instead")
            }
            Warning::MissingCrowdFlag(count) => {
                write!(f, "{count} annotations have no `iscrowd`: taken for 0")
            }
            Warning::UnlistedImages(ids) => {
                write!(f, "annotations of images that are not listed do not count: {}", listed(ids))
            }
            Warning::UnlistedCategories(ids) => {
                write!(f, "annotations of categories that are not listed do not count: {}", listed(ids))
            }
            Warning::NegativeObjects(count) => write!(f, "{count} annotations have negative sizes"),
            Warning::NegativeDetections(count) => write!(f, "{count} detections have negative sizes"),
            Warning::UnknownCategories(ids) => {
                write!(f, "detections of categories that the annotations lack do not count: {}", listed(ids))
            }
            Warning::LooksLikeLabels => f.write_str(
                "the results' category ids look like class numbers from 0: COCO's category ids are expected, and \
                 these numbers are probably wrong",
            ),
            Warning::NoObjects => f.write_str("there is nothing to find: no number can be measured"),
            Warning::NoDetections => f.write_str("there are no detections"),
            Warning::OtherLimit(limit) => {
                write!(f, "AP is measured with {limit} detections; pycocotools gives -1 for any limit but 100")
            }
        }
    }
}

fn listed(ids: &BTreeMap<Id, usize>) -> String {
    let ids: Vec<(Id, usize)> = ids.iter().map(|(id, count)| (id.clone(), *count)).collect();
    counted(&ids)
}
