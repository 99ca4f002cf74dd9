//! Taking ground truth and detections apart: by category, in it by image, in it by score.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Settings;
use crate::eval::{Category, Detection, Detections, Error, GroundTruth, Id, Object, Rules};

/// What is evaluated together: the objects and detections of a category, or of all.
pub(super) struct Group<'a> {
    /// The category; none when classes do not matter.
    pub(super) category: Option<&'a Category>,
    /// Objects by image.
    pub(super) objects: Vec<Cow<'a, Object>>,
    /// Detections by image, the best of each image first; those of equal score in the order of the file.
    pub(super) detections: Vec<Ranked<'a>>,
}

/// A detection with its place among all: ascending places are descending scores.
#[derive(Clone, Copy)]
pub(super) struct Ranked<'a> {
    pub(super) detection: &'a Detection,
    pub(super) place: u64,
    order: u32,
}

/// Which images and categories count.
struct Selection {
    images: Vec<bool>,
    categories: Vec<bool>,
}

impl Selection {
    fn new(truth: &GroundTruth, settings: &Settings) -> Result<Selection, Error> {
        let images = |id: &Id| truth.image_index(id);
        let categories = |id: &Id| truth.category_index(id);
        let mut selection = Selection {
            images: chosen("image", truth.images().len(), settings.image_ids.as_deref(), images)?,
            categories: chosen(
                "category",
                truth.categories().len(),
                settings.category_ids.as_deref(),
                categories,
            )?,
        };
        let mut rest = settings.limit.unwrap_or(usize::MAX);
        for is_chosen in selection.images.iter_mut().filter(|is_chosen| **is_chosen) {
            *is_chosen = rest > 0;
            rest = rest.saturating_sub(1);
        }
        Ok(selection)
    }

    fn has(&self, image: u32, category: u32) -> bool {
        let is_chosen = |flags: &[bool], index: u32| flags.get(index as usize).copied().unwrap_or(false);
        is_chosen(&self.images, image) && is_chosen(&self.categories, category)
    }
}

/// Indices of the images that the settings choose, ascending.
///
/// # Errors
/// An id that the ground truth does not have.
pub fn chosen_images(truth: &GroundTruth, settings: &Settings) -> Result<Vec<u32>, Error> {
    let Selection { images, .. } = Selection::new(truth, settings)?;
    Ok((0..).zip(images).filter(|(_, is_chosen)| *is_chosen).map(|(index, _)| index).collect())
}

fn chosen(
    what: &'static str,
    count: usize,
    ids: Option<&[Id]>,
    index: impl Fn(&Id) -> Option<u32>,
) -> Result<Vec<bool>, Error> {
    let mut flags = vec![ids.is_none(); count];
    for id in ids.unwrap_or_default() {
        let unknown = || Error::Selection { what, id: id.clone() };
        let place = index(id).and_then(|index| flags.get_mut(index as usize)).ok_or_else(unknown)?;
        *place = true;
    }
    Ok(flags)
}

/// A group for each chosen category in the order of ids, or one for all.
pub(super) fn groups<'a>(
    truth: &'a GroundTruth,
    detections: &'a Detections,
    settings: &Settings,
) -> Result<Vec<Group<'a>>, Error> {
    let selection = Selection::new(truth, settings)?;
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut group_of = vec![None; truth.categories().len()];
    let chosen = group_of.iter_mut().zip(truth.categories()).zip(&selection.categories);
    for ((group, category), _) in chosen.filter(|(_, is_chosen)| **is_chosen) {
        if groups.is_empty() || !settings.class_agnostic {
            let category = (!settings.class_agnostic).then_some(category);
            groups.push(Group { category, objects: Vec::new(), detections: Vec::new() });
        }
        *group = groups.len().checked_sub(1);
    }
    let place = |category: u32| group_of.get(category as usize).copied().flatten();
    for object in objects(truth, &selection, settings.rules) {
        if let Some(group) = place(object.category).and_then(|group| groups.get_mut(group)) {
            group.objects.push(object);
        }
    }
    let chosen = (0..).zip(&detections.entries).filter(|(_, one)| selection.has(one.image, one.category));
    for (order, detection) in chosen {
        if let Some(group) = place(detection.category).and_then(|group| groups.get_mut(group)) {
            group.detections.push(Ranked { detection, place: descending(detection.score), order });
        }
    }
    Ok(groups)
}

impl Group<'_> {
    /// Brings objects and detections into order.
    pub(super) fn sort(&mut self) {
        self.objects.sort_by_key(|object| (object.image, object.category));
        let key = |one: &Ranked<'_>| (one.detection.image, one.place, one.detection.category, one.order);
        self.detections.sort_unstable_by_key(key);
    }
}

/// The chosen objects. By pycocotools' rules an annotation is looked up by its id once it is chosen, so that of several
/// with one id the last stands in for all; they come image by image.
fn objects<'a>(truth: &'a GroundTruth, selection: &Selection, rules: Rules) -> Vec<Cow<'a, Object>> {
    let chosen = truth.objects.iter().filter(|object| selection.has(object.image, object.category));
    if rules == Rules::Sound {
        return chosen.map(Cow::Borrowed).collect();
    }
    let mut chosen: Vec<&Object> = chosen.collect();
    chosen.sort_by_key(|object| object.image);
    let by_id: HashMap<&Option<Id>, &'a Object> =
        truth.objects.iter().map(|object| (&object.id, object)).collect();
    let stands_in = |object: &'a Object| match object.id {
        Some(_) => by_id.get(&object.id).copied().unwrap_or(object),
        None => object,
    };
    let objects = chosen.into_iter().map(stands_in);
    objects.filter(|object| selection.has(object.image, object.category)).map(Cow::Borrowed).collect()
}

/// A number that ascends as scores descend; NaN comes last, as in numpy.
fn descending(score: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    if score.is_nan() {
        return u64::MAX;
    }
    // -0 and 0 are equal.
    let bits = (score + 0.0).to_bits();
    if bits & SIGN == 0 { !(bits | SIGN) } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_ascend_as_scores_descend() {
        let scores = [f64::INFINITY, 1.0, 0.5, 1e-300, 0.0, -1e-300, -2.0, f64::NEG_INFINITY, f64::NAN];
        assert!(scores.map(descending).is_sorted_by(|a, b| a < b));
        assert_eq!(descending(0.0), descending(-0.0));
    }
}
