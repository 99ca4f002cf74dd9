//! What can be wrong with annotations and results.

use std::io;
use std::path::{Path, PathBuf};

use files::{Failure, printable};

use crate::annotations::{Fault, Id};

/// A failure to evaluate: a variant per rule broken, the message with file and remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {problem}", shown(file))]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// The file is larger than what is read.
    #[error("{}: more than {} GiB\n  evaluate it in parts, by images", shown(file), limit >> 30)]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The largest size in bytes.
        limit: u64,
    },
    /// The content is not what it should be.
    #[error("{}: {}\n  {}", shown(file), printable(&fault.to_string()), fault.remedy())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        fault: Fault,
    },
    /// Detections in images that the annotations do not have.
    #[error(
        "{}: {detections} detections are in {} images that the annotations do not have: {}\n  \
         evaluate them with the annotations of the images that were detected in",
        shown(file), images.len(), counted(images)
    )]
    UnknownImages {
        /// The results.
        file: PathBuf,
        /// The images, each with its number of detections.
        images: Vec<(Id, usize)>,
        /// Detections in all of them.
        detections: usize,
    },
    /// No detection is of a category of the annotations.
    #[error(
        "{}: none of the {detections} detections is of a category of the annotations; they are of {}\n  \
         results carry category ids, not the detector's class numbers: translate them",
        shown(file),
        counted(categories)
    )]
    NoKnownCategory {
        /// The results.
        file: PathBuf,
        /// Their categories, each with its number of detections.
        categories: Vec<(Id, usize)>,
        /// Detections in all.
        detections: usize,
    },
    /// A selection of something that is not there.
    #[error("the annotations have no {what} {id}\n  select among those that they have")]
    Selection {
        /// `image` or `category`.
        what: &'static str,
        /// Its id.
        id: Id,
    },
    /// Three different limits are needed.
    #[error("give three different numbers of detections, as 1,10,100")]
    Limits,
    /// Where pycocotools raises an exception, its numbers cannot be had.
    #[error("pycocotools stops at {what}\n  leave out --strict-pycocotools")]
    PycocotoolsStops {
        /// What it stops at.
        what: &'static str,
    },
    /// An object of a VOC annotation cannot be used.
    #[error("{}: object {index} (the first is 0) {problem}\n  correct or remove it", shown(file))]
    Object {
        /// The file.
        file: PathBuf,
        /// Position in the file, from 0.
        index: usize,
        /// What is wrong.
        problem: String,
    },
    /// A line of a devkit's result file cannot be used.
    #[error("{}: line {line}: {problem}\n  expected: image score xmin ymin xmax ymax", shown(file))]
    ResultLine {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A folder without what is looked for.
    #[error("{}: no {what} in this folder\n  give the folder that has them", shown(folder))]
    NothingInFolder {
        /// The folder.
        folder: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
}

impl Failure for Error {
    fn class(&self) -> &'static str {
        match self {
            Error::Io { .. } => "io",
            Error::TooLarge { .. } => "limit",
            Error::Content { .. } | Error::Object { .. } | Error::ResultLine { .. } => "corrupt",
            Error::UnknownImages { .. } => "unknown-image",
            Error::NoKnownCategory { .. } => "unknown-category",
            Error::NothingInFolder { .. } => "missing",
            Error::PycocotoolsStops { .. } => "pycocotools",
            Error::Selection { .. } | Error::Limits => "usage",
        }
    }

    fn is_usage(&self) -> bool {
        matches!(self, Error::Selection { .. } | Error::Limits)
    }

    fn file(&self) -> Option<&Path> {
        match self {
            Error::Io { file, .. }
            | Error::TooLarge { file, .. }
            | Error::Content { file, .. }
            | Error::Object { file, .. }
            | Error::UnknownImages { file, .. }
            | Error::NoKnownCategory { file, .. }
            | Error::ResultLine { file, .. }
            | Error::NothingInFolder { folder: file, .. } => Some(file),
            Error::Selection { .. } | Error::Limits | Error::PycocotoolsStops { .. } => None,
        }
    }
}

/// Ids with their counts, the first few of them: `7 (3), 9 (1), ...`.
pub(super) fn counted<'a>(ids: impl IntoIterator<Item = &'a (Id, usize)>) -> String {
    const SHOWN: usize = 8;
    let mut ids = ids.into_iter();
    let shown: Vec<String> = ids.by_ref().take(SHOWN).map(|(id, count)| format!("{id} ({count})")).collect();
    let more = if ids.next().is_some() { ", ..." } else { "" };
    shown.join(", ") + more
}

fn shown(file: &Path) -> String {
    printable(&file.to_string_lossy())
}
