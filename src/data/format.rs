//! The formats, and telling which one a data set has.

use std::path::Path;

use super::Error;

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

    /// The format of the data set at `path`: by the extension of a file, by what is in a folder.
    ///
    /// # Errors
    /// There is no data set.
    pub fn of(path: &Path) -> Result<Format, Error> {
        std::fs::metadata(path).map_err(|problem| Error::Io { file: path.to_owned(), problem })?;
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("json") if path.is_file() => Ok(Format::Coco),
            Some("yaml" | "yml") if path.is_file() => Ok(Format::Yolo),
            _ if path.join("Annotations").is_dir() => Ok(Format::Voc),
            _ if path.join("labels").is_dir() || path.join("data.yaml").is_file() => Ok(Format::Yolo),
            _ => Err(Error::NotADataSet { path: path.to_owned() }),
        }
    }
}
