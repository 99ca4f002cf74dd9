//! What the parsers find, before sizes are known and boxes are judged; and the judging.

use std::collections::BTreeMap;

use super::defect::{Defects, Reason};
use super::set::{Category, DataSet, Image, Object};
use super::{judge, name};
use crate::boxes::Shape;
use crate::pictures::PictureSize;

/// An image as its file tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Path in the folder of pictures, as written.
    pub file: String,
    /// The size, where the file states one.
    pub stated: Option<PictureSize>,
    /// The id, where it has one.
    pub id: Option<u64>,
    /// Its boxes.
    pub boxes: Vec<DraftBox>,
}

/// A box as its file tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct DraftBox {
    /// What kind of entry it is, `line`, and the how many-th, from 1.
    pub place: (&'static str, usize),
    /// The box, or why it is none.
    pub content: Result<Found, (Reason, String)>,
}

/// A box that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The index of its category.
    pub category: usize,
    /// Where it is.
    pub shape: Shape,
    /// As of [`Object`].
    pub is_crowd: bool,
    /// As of [`Object`].
    pub is_difficult: bool,
    /// The area in square pixels, where the file states one.
    pub area: Option<f64>,
}

/// What the picture's own file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// There is no such file.
    Missing,
    /// It cannot be read, for this reason.
    Unreadable(String),
    /// The picture's size when upright, and whether EXIF turns it.
    Seen {
        /// The size.
        size: PictureSize,
        /// Whether it lies otherwise in its file.
        is_turned: bool,
    },
}

/// Areas that differ by less from the box's are the box's: COCO files round them.
const AREA_ROUNDING: f64 = 0.001;

/// Settles sizes and judges boxes. `origin` names a draft's file for messages; `look` tells of the picture of a name,
/// `None` when pictures are not looked at.
pub fn assemble(
    categories: Vec<Category>,
    drafts: Vec<(String, Draft)>,
    look: impl Fn(&str) -> Option<Look>,
    defects: &mut Defects,
) -> DataSet {
    let mut images: BTreeMap<String, Image> = BTreeMap::new();
    for (origin, draft) in drafts {
        let Some(file) = name::inside(&draft.file) else {
            defects.add(Reason::UnsafeName, || origin, draft.file);
            continue;
        };
        let Some(size) = settle(&file, draft.stated, look(&file), defects) else { continue };
        let objects = judge(&origin, draft.boxes, size, defects);
        match images.get_mut(&file) {
            Some(image) => {
                defects.add(Reason::DuplicateName, || origin, file);
                image.objects.extend(objects);
            }
            None => drop(images.insert(file.clone(), Image { file, size, id: draft.id, objects })),
        }
    }
    for image in images.values().filter(|image| image.objects.is_empty()) {
        defects.add(Reason::NoObjects, || image.file.clone(), "");
    }
    DataSet::new(categories, images.into_values().collect())
}

/// The size that counts: the picture's own, upright, else the stated one.
fn settle(
    file: &str,
    stated: Option<PictureSize>,
    look: Option<Look>,
    defects: &mut Defects,
) -> Option<PictureSize> {
    let place = || file.to_owned();
    let mut known = stated.filter(|size| size.width > 0 && size.height > 0);
    match look {
        Some(Look::Missing) => defects.add(Reason::MissingImage, place, ""),
        Some(Look::Unreadable(problem)) => defects.add(Reason::UnreadableImage, place, problem),
        Some(Look::Seen { size, is_turned }) => {
            known = Some(size);
            if is_turned {
                defects.add(Reason::Turned, place, format!("{size} upright"));
            }
            if let Some(stated) = stated.filter(|stated| *stated != size) {
                defects.add(Reason::OtherSize, place, format!("{size}, stated {stated}"));
            }
        }
        None => {}
    }
    if known.is_none() {
        defects.add(Reason::NoSize, place, "");
    }
    known
}

fn judge(origin: &str, boxes: Vec<DraftBox>, size: PictureSize, defects: &mut Defects) -> Vec<Object> {
    let mut objects = Vec::with_capacity(boxes.len());
    for DraftBox { place: (kind, number), content } in boxes {
        let place = || format!("{origin}, {kind} {number}");
        let found = match content {
            Ok(found) => found,
            Err((reason, detail)) => {
                defects.add(reason, place, detail);
                continue;
            }
        };
        let bounds = found.shape.bounds(size);
        let detail = || format!("{bounds} in {size}");
        if let Some(fault) = judge::fault(found.shape, size) {
            defects.add(fault, place, detail());
            continue;
        }
        if let Some(oddity) = judge::oddity(bounds, size) {
            defects.add(oddity, place, detail());
        }
        if found.shape.is_fractional() {
            defects.add(Reason::Fractional, place, detail());
        }
        objects.push(found.object(size));
    }
    objects
}

impl Found {
    fn object(self, size: PictureSize) -> Object {
        let bounds = self.shape.bounds(size);
        let differs = |area: &f64| area.is_finite() && (area - bounds.area()).abs() > AREA_ROUNDING;
        Object {
            category: self.category,
            bounds,
            is_crowd: self.is_crowd,
            is_difficult: self.is_difficult,
            area: self.area.filter(differs),
        }
    }
}
