//! The formats.

/// How a data set is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// COCO's JSON: one file for all.
    Coco,
    /// Pascal VOC's XML: `Annotations`, `ImageSets/Main`, `JPEGImages`.
    Voc,
    /// YOLO's text: `labels` beside `images`, class names in `classes.txt` or `data.yaml`.
    Yolo,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 3] = [Format::Coco, Format::Voc, Format::Yolo];

    /// The name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Coco => "coco",
            Format::Voc => "voc",
            Format::Yolo => "yolo",
        }
    }
}
