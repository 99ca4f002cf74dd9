//! What can be wrong with names, annotations and networks; pictures have errors of their own.

use std::io;
use std::path::{Path, PathBuf};

use files::{Failure, printable};

use engine::RuntimeError;
use network::models::Size;
use vision::annotations::Fault;

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

impl Failure for Error {
    fn class(&self) -> &'static str {
        match self {
            Error::Io { .. } => "io",
            Error::Annotations { .. } => "corrupt",
            Error::Output { .. } => "out-of-range",
            Error::NameCount { .. } | Error::InputSize { .. } => "usage",
            Error::NotAnnotated { .. } | Error::Ambiguous { .. } => "missing",
            Error::NotFinite => "not-finite",
            Error::Runtime(_) => "network",
        }
    }

    fn is_usage(&self) -> bool {
        matches!(self, Error::NameCount { .. } | Error::InputSize { .. })
    }

    fn file(&self) -> Option<&Path> {
        match self {
            Error::Io { file, .. }
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
