//! What does not keep a data set from being evaluated, but must not go unsaid.

use std::collections::BTreeMap;

use super::Id;
use super::error::counted;

/// Something odd about annotations or results, with what was done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// An annotation has the id 0.
    #[error("an annotation has the id 0: it counts here, pycocotools takes it for never found")]
    AnnotationIdZero,
    /// Annotations share their ids.
    #[error("{0} annotations have the id of another: all count here, pycocotools confuses them")]
    RepeatedAnnotationIds(usize),
    /// Annotations have no area.
    #[error("{0} annotations have no `area`: width times height instead")]
    MissingArea(usize),
    /// Annotations do not say whether they are crowds.
    #[error("{0} annotations have no `iscrowd`: taken for 0")]
    MissingCrowdFlag(usize),
    /// Annotations of images that the file does not list.
    #[error("annotations of images that are not listed do not count: {}", listed(.0))]
    UnlistedImages(BTreeMap<Id, usize>),
    /// Annotations of categories that the file does not list.
    #[error("annotations of categories that are not listed do not count: {}", listed(.0))]
    UnlistedCategories(BTreeMap<Id, usize>),
    /// Annotations with a negative width or height.
    #[error("{0} annotations have negative sizes")]
    NegativeObjects(usize),
    /// Detections with a negative width or height.
    #[error("{0} detections have negative sizes")]
    NegativeDetections(usize),
    /// Detections of categories that the annotations do not have.
    #[error("detections of categories that the annotations lack do not count: {}", listed(.0))]
    UnknownCategories(BTreeMap<Id, usize>),
    /// The results' category ids count from 0, the annotations' do not.
    #[error(
        "the results' category ids look like class numbers from 0: COCO's category ids are expected, and these numbers \
         are probably wrong"
    )]
    LooksLikeLabels,
    /// There is nothing to find.
    #[error("there is nothing to find: no number can be measured")]
    NoObjects,
    /// Nothing was found.
    #[error("there are no detections")]
    NoDetections,
    /// A limit of detections other than 100.
    #[error("AP is measured with {0} detections; pycocotools gives -1 for any limit but 100")]
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

fn listed(ids: &BTreeMap<Id, usize>) -> String {
    let ids: Vec<(Id, usize)> = ids.iter().map(|(id, count)| (id.clone(), *count)).collect();
    counted(&ids)
}
