//! What can be wrong with pictures, names and annotations.

use std::io;
use std::path::{Path, PathBuf};

use files::printable;

use super::image::{MAX_FILE_BYTES, MAX_PIXELS, MAX_SIDE, MIN_SIDE};
use crate::annotations::Fault;
use crate::models::Size;
use crate::runtime::RuntimeError;

/// A failure to detect: a variant per rule broken, the message with file and remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error("{}: {problem}", shown(file))]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// The picture's file has no bytes.
    #[error(
        "{}: the file is empty\n  it is probably an interrupted copy or download; fetch it again",
        shown(file)
    )]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// The content begins like no picture that is read.
    #[error(
        "{}: not a picture that can be read\n  JPEG, PNG, BMP and WebP are; convert others first",
        shown(file)
    )]
    NotAnImage {
        /// The file.
        file: PathBuf,
    },
    /// The picture is damaged, or uses something its decoder does not know.
    #[error(
        "{}: cannot be decoded: {}\n  the file is damaged; fetch it again or leave it out",
        shown(file),
        printable(problem)
    )]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What the decoder says.
        problem: String,
    },
    /// The picture is larger than what is decoded.
    #[error(
        "{}: {width}x{height} pixels; at most {MAX_SIDE} on a side and {} million in all are decoded\n  \
         scale the picture down or cut it into tiles",
        shown(file),
        MAX_PIXELS / 1_000_000
    )]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// The picture's file is larger than what is read.
    #[error(
        "{}: {size} bytes; at most {} MiB of a picture are read\n  store it compressed or scale it down",
        shown(file),
        MAX_FILE_BYTES >> 20
    )]
    FileTooLarge {
        /// The file.
        file: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// The picture is too small to show anything.
    #[error(
        "{}: {width}x{height} pixels; nothing can be detected with less than {MIN_SIDE} on a side\n  \
         it is probably a placeholder; leave it out",
        shown(file)
    )]
    TooSmall {
        /// The file.
        file: PathBuf,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// A size of input that the network's levels do not divide.
    #[error(
        "an input of {size} pixels does not suit the network\n  give sides that are multiples of {divisor}"
    )]
    InputSize {
        /// The size.
        size: Size,
        /// What sides must be multiples of.
        divisor: usize,
    },
    /// The network could not be built or run.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The network's output has not the values that its head's facts announce.
    #[error("the output has {found} values, its head's facts ask for {points} points of {row}")]
    Output {
        /// Values in the output.
        found: usize,
        /// Points of the head.
        points: usize,
        /// Values of a point.
        row: usize,
    },
    /// The number of names is not the number of classes.
    #[error(
        "{names} class names for {classes} classes\n  give one name for each class, in the order of the class ids"
    )]
    NameCount {
        /// Names given.
        names: usize,
        /// Classes of the detector.
        classes: usize,
    },
    /// Annotations were given that do not have this picture.
    #[error(
        "{}: the annotations have no picture of that name\n  give those that belong to the pictures",
        shown(file)
    )]
    NotAnnotated {
        /// The picture.
        file: PathBuf,
    },
    /// Annotations were given that have several pictures of this name.
    #[error(
        "{}: the annotations have several pictures of that name\n  give the picture with the folders that tell \
         them apart",
        shown(file)
    )]
    Ambiguous {
        /// The picture.
        file: PathBuf,
    },
    /// The network's output holds infinities or no numbers.
    #[error(
        "the network's output is not finite: its weights are damaged\n  port verify WEIGHTS names the first \
         module that gives such values"
    )]
    NotFinite,
    /// A file of annotations is not what it should be.
    #[error("{}: {}\n  {}", shown(file), printable(&fault.to_string()), fault.remedy())]
    Annotations {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        fault: Fault,
    },
}

impl Error {
    /// The kind of failure, as JSON output names it.
    pub fn class(&self) -> &'static str {
        match self {
            Error::Io { .. } => "io",
            Error::Empty { .. } => "truncated",
            Error::NotAnImage { .. } => "not-an-image",
            Error::Corrupt { .. } | Error::Annotations { .. } => "corrupt",
            Error::TooLarge { .. } | Error::FileTooLarge { .. } | Error::TooSmall { .. } => "limit",
            Error::Output { .. } => "out-of-range",
            Error::NameCount { .. } | Error::InputSize { .. } => "usage",
            Error::NotAnnotated { .. } | Error::Ambiguous { .. } => "missing",
            Error::NotFinite => "not-finite",
            Error::Runtime(_) => "network",
        }
    }

    /// Whether the user asked for something that cannot be, whatever the files.
    pub fn is_usage(&self) -> bool {
        matches!(self, Error::NameCount { .. } | Error::InputSize { .. })
    }

    /// The file, where there is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Error::Io { file, .. }
            | Error::Empty { file }
            | Error::NotAnImage { file }
            | Error::Corrupt { file, .. }
            | Error::TooLarge { file, .. }
            | Error::FileTooLarge { file, .. }
            | Error::TooSmall { file, .. }
            | Error::NotAnnotated { file }
            | Error::Ambiguous { file }
            | Error::Annotations { file, .. } => Some(file),
            Error::NotFinite
            | Error::InputSize { .. }
            | Error::Runtime(_)
            | Error::Output { .. }
            | Error::NameCount { .. } => None,
        }
    }
}

fn shown(file: &Path) -> String {
    printable(&file.to_string_lossy())
}
