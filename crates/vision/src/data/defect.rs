//! What can be wrong inside a data set that is read all the same, counted by reason.

use std::collections::BTreeMap;

/// A rule that an entry breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A coordinate is not a number, or infinite.
    NotFinite,
    /// A box without width or height.
    ZeroSize,
    /// A box of negative width or height.
    NegativeSize,
    /// The last pixel lies before the first.
    SwappedCorners,
    /// A box that reaches more than a pixel over the picture's border.
    BeyondBorder,
    /// A class that the list of classes does not have.
    UnknownClass,
    /// A box that lacks something or is written in no form that is known.
    Malformed,
    /// A box of an image that is not listed.
    UnknownImage,
    /// A file name that is empty, absolute or leads out of the folder.
    UnsafeName,
    /// An image whose size neither the annotations nor a picture tell.
    NoSize,
    /// The same image id once more.
    DuplicateId,
    /// A listed image that has no annotation file.
    NotAnnotated,
    /// An annotation file that cannot be read at all.
    Unreadable,
    /// A label file whose picture is not there.
    LabelWithoutImage,
    /// An image whose picture is not there.
    MissingImage,
    /// An image whose picture cannot be read.
    UnreadableImage,
    /// The picture has another size than the annotations state.
    OtherSize,
    /// EXIF turns the picture.
    Turned,
    /// The same file name once more.
    DuplicateName,
    /// The annotations name another file than the one they belong to.
    OtherName,
    /// The same category name or id once more.
    DuplicateCategory,
    /// A box of one pixel or less across or down.
    OnePixel,
    /// A box that reaches up to a pixel over the border.
    GrazesBorder,
    /// Pixels counted in fractions.
    Fractional,
    /// An image without objects.
    NoObjects,
    /// Outlines or key points beside a box.
    BeyondBoxes,
}

/// What a defect does to the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The box is dropped, its image stays.
    BoxDropped,
    /// The image is left out.
    ImageLeftOut,
    /// The file is ignored.
    FileIgnored,
    /// Everything is kept.
    Kept,
    /// Everything is kept, and nothing is wrong: worth knowing, not held against the data.
    Remark,
}

impl Effect {
    /// As tables show it.
    pub const fn shown(self) -> &'static str {
        match self {
            Effect::BoxDropped => "box dropped",
            Effect::ImageLeftOut => "image left out",
            Effect::FileIgnored => "file ignored",
            Effect::Kept => "kept",
            Effect::Remark => "kept, no defect",
        }
    }
}

impl Reason {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::NotFinite => "not-finite",
            Reason::ZeroSize => "zero-size",
            Reason::NegativeSize => "negative-size",
            Reason::SwappedCorners => "swapped-corners",
            Reason::BeyondBorder => "beyond-border",
            Reason::UnknownClass => "unknown-class",
            Reason::Malformed => "malformed",
            Reason::UnknownImage => "unknown-image",
            Reason::UnsafeName => "unsafe-name",
            Reason::NoSize => "no-size",
            Reason::DuplicateId => "duplicate-id",
            Reason::NotAnnotated => "not-annotated",
            Reason::Unreadable => "unreadable",
            Reason::LabelWithoutImage => "label-without-image",
            Reason::MissingImage => "missing-image",
            Reason::UnreadableImage => "unreadable-image",
            Reason::OtherSize => "other-size",
            Reason::Turned => "turned",
            Reason::DuplicateName => "duplicate-name",
            Reason::OtherName => "other-name",
            Reason::DuplicateCategory => "duplicate-category",
            Reason::OnePixel => "one-pixel",
            Reason::GrazesBorder => "grazes-border",
            Reason::Fractional => "fractional",
            Reason::NoObjects => "no-objects",
            Reason::BeyondBoxes => "beyond-boxes",
        }
    }

    /// The rule in words.
    pub const fn words(self) -> &'static str {
        match self {
            Reason::NotFinite => "coordinates that are not finite numbers",
            Reason::ZeroSize => "boxes without width or height",
            Reason::NegativeSize => "boxes of negative width or height",
            Reason::SwappedCorners => "boxes whose corners are swapped",
            Reason::BeyondBorder => "boxes beyond the picture's border",
            Reason::UnknownClass => "boxes of unknown classes",
            Reason::Malformed => "boxes that cannot be read",
            Reason::UnknownImage => "boxes of images that are not listed",
            Reason::UnsafeName => "file names that lead out of the folder",
            Reason::NoSize => "images of unknown size",
            Reason::DuplicateId => "image ids given twice",
            Reason::NotAnnotated => "listed images without annotation file",
            Reason::Unreadable => "annotation files that cannot be read",
            Reason::LabelWithoutImage => "label files without picture",
            Reason::MissingImage => "pictures that are not there",
            Reason::UnreadableImage => "pictures that cannot be read",
            Reason::OtherSize => "pictures of another size than stated",
            Reason::Turned => "pictures that EXIF turns",
            Reason::DuplicateName => "file names given twice",
            Reason::OtherName => "annotations that name another file",
            Reason::DuplicateCategory => "categories given twice",
            Reason::OnePixel => "boxes one pixel thin",
            Reason::GrazesBorder => "boxes up to a pixel beyond the border",
            Reason::Fractional => "boxes in fractions of pixels",
            Reason::NoObjects => "images without objects",
            Reason::BeyondBoxes => "outlines or key points, which are not kept",
        }
    }

    /// What such a defect does to the data set.
    pub const fn effect(self) -> Effect {
        match self {
            Reason::NotFinite
            | Reason::ZeroSize
            | Reason::NegativeSize
            | Reason::SwappedCorners
            | Reason::BeyondBorder
            | Reason::UnknownClass
            | Reason::Malformed
            | Reason::UnknownImage => Effect::BoxDropped,
            Reason::UnsafeName | Reason::NoSize | Reason::DuplicateId | Reason::NotAnnotated => {
                Effect::ImageLeftOut
            }
            Reason::Unreadable | Reason::LabelWithoutImage => Effect::FileIgnored,
            Reason::MissingImage
            | Reason::UnreadableImage
            | Reason::OtherSize
            | Reason::Turned
            | Reason::DuplicateName
            | Reason::OtherName
            | Reason::DuplicateCategory
            | Reason::OnePixel => Effect::Kept,
            Reason::GrazesBorder | Reason::Fractional | Reason::NoObjects | Reason::BeyondBoxes => {
                Effect::Remark
            }
        }
    }
}

/// An entry that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    /// File, and line or number of the entry in it.
    pub place: String,
    /// What is written there.
    pub detail: String,
}

/// Examples kept of each reason.
pub const EXAMPLES: usize = 5;

/// Defects by reason: how many, and the first few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defects {
    found: BTreeMap<Reason, (u64, Vec<Defect>)>,
}

impl Defects {
    /// Counts a defect.
    pub fn add(&mut self, reason: Reason, place: impl FnOnce() -> String, detail: impl Into<String>) {
        let (count, examples) = self.found.entry(reason).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(Defect { place: place(), detail: detail.into() });
        }
    }

    /// The number of defects of a reason.
    pub fn count(&self, reason: Reason) -> u64 {
        self.found.get(&reason).map_or(0, |(count, _)| *count)
    }

    /// The number of defects, remarks aside.
    pub fn total(&self) -> u64 {
        let defects = self.found.iter().filter(|(reason, _)| reason.effect() != Effect::Remark);
        defects.map(|(_, (count, _))| count).sum()
    }

    /// Every reason there is, with the number of its defects and the first [`EXAMPLES`].
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64, &[Defect])> {
        self.found.iter().map(|(&reason, (count, examples))| (reason, *count, examples.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defects_are_counted_and_the_first_kept() {
        let mut defects = Defects::default();
        for number in 0..9 {
            defects.add(Reason::ZeroSize, || format!("a.txt, line {number}"), "0 0");
        }
        defects.add(Reason::NoObjects, || "b.jpg".to_owned(), "");
        assert_eq!((defects.count(Reason::ZeroSize), defects.total()), (9, 9));
        let (reason, count, examples) = defects.iter().next().unwrap();
        assert_eq!((reason, count, examples.len()), (Reason::ZeroSize, 9, EXAMPLES));
        assert_eq!(examples[1].place, "a.txt, line 1");
    }
}
