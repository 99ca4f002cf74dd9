//! What can be wrong with pictures.

use std::io;
use std::path::{Path, PathBuf};

use files::{Failure, printable};

use super::limits::{MAX_FILE_BYTES, MAX_PIXELS, MAX_SIDE, MIN_SIDE};

/// A picture that cannot be read: a variant per rule broken, the message with file and remedy.
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
}

impl Failure for Error {
    fn class(&self) -> &'static str {
        match self {
            Error::Io { .. } => "io",
            Error::Empty { .. } => "truncated",
            Error::NotAnImage { .. } => "not-an-image",
            Error::Corrupt { .. } => "corrupt",
            Error::TooLarge { .. } | Error::FileTooLarge { .. } | Error::TooSmall { .. } => "limit",
        }
    }

    fn file(&self) -> Option<&Path> {
        match self {
            Error::Io { file, .. }
            | Error::Empty { file }
            | Error::NotAnImage { file }
            | Error::Corrupt { file, .. }
            | Error::TooLarge { file, .. }
            | Error::FileTooLarge { file, .. }
            | Error::TooSmall { file, .. } => Some(file),
        }
    }
}

fn shown(file: &Path) -> String {
    printable(&file.to_string_lossy())
}
