//! What keeps a data set from being read or written at all.

use std::io;
use std::path::{Path, PathBuf};

use files::{Failure, printable};

use super::fault::Fault;
use super::format::Format;

/// A failure to read or write a data set: a variant per rule broken, the message with file and remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("{}: {problem}", shown(file))]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// An annotation file larger than what is read.
    #[error("{}: more than {} MiB; this is no annotation file", shown(file), limit >> 20)]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A file's content is not what it should be.
    #[error("{}: {}", shown(file), printable(&fault.to_string()))]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        fault: Fault,
    },
    /// Nothing at this place is a data set.
    #[error(
        "{}: no data set\n  expected COCO annotations (.json), a folder with Annotations (VOC), or one with labels or \
         a data.yaml (YOLO)",
        shown(path)
    )]
    NotADataSet {
        /// Where.
        path: PathBuf,
    },
    /// A split that the data set does not have.
    #[error("{}: there is no split `{split}`\n  {remedy}", shown(path))]
    NoSplit {
        /// The data set.
        path: PathBuf,
        /// The split asked for.
        split: String,
        /// What there is instead.
        remedy: String,
    },
    /// A YOLO data set that does not name its classes.
    #[error("{}: no names of classes\n  add a classes.txt or data.yaml, or give --names", shown(path))]
    NoNames {
        /// The data set.
        path: PathBuf,
    },
    /// Names given for a data set that names its categories itself.
    #[error("{}: COCO annotations name their categories themselves\n  leave --names away", shown(path))]
    HasNames {
        /// The data set.
        path: PathBuf,
    },
    /// A `data.yaml` that points to a list of pictures.
    #[error("{}: lists of pictures are not read\n  give the folder of the pictures instead", shown(file))]
    PictureList {
        /// The list.
        file: PathBuf,
    },
    /// Folders inside one another too deeply, or too many files.
    #[error("{}: too many files or folders in folders for a data set", shown(folder))]
    TooMany {
        /// The outermost folder.
        folder: PathBuf,
    },
    /// Two images would get one label file.
    #[error("`{}` and another image would share a {} file\n  rename one of them", printable(image), .format.name())]
    Collision {
        /// The second image.
        image: String,
        /// The format to write.
        format: Format,
    },
    /// A category whose name the format cannot hold.
    #[error("category `{}` cannot be written as {}\n  rename it: one line, not empty", printable(name), .format.name())]
    CategoryName {
        /// The name.
        name: String,
        /// The format to write.
        format: Format,
    },
    /// The output is there already.
    #[error(
        "{}: is there already; a data set is not written over another\n  choose a new folder",
        shown(path)
    )]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The output would replace what is read.
    #[error("{}: is the input\n  choose another name for the output", shown(path))]
    IsInput {
        /// The output.
        path: PathBuf,
    },
    /// Pictures are to be copied beside a single file.
    #[error(
        "{}: pictures are copied into a folder with the annotations\n  name a folder as the output",
        shown(path)
    )]
    NotAFolder {
        /// The output.
        path: PathBuf,
    },
    /// Pictures are to be copied, and it is not known where they are.
    #[error("the folder of the pictures is not known\n  give it with --images")]
    NoPictures,
    /// A file could not be written whole.
    #[error(transparent)]
    Write(#[from] files::Error),
}

impl Failure for Error {
    fn class(&self) -> &'static str {
        match self {
            Error::Io { .. } | Error::Write(_) => "io",
            Error::TooLarge { .. } | Error::TooMany { .. } => "limit",
            Error::Content { .. } => "corrupt",
            Error::NotADataSet { .. } => "not-a-data-set",
            Error::NoSplit { .. } | Error::NoNames { .. } | Error::PictureList { .. } => "missing",
            Error::Collision { .. } | Error::CategoryName { .. } => "unsupported",
            Error::HasNames { .. }
            | Error::Exists { .. }
            | Error::IsInput { .. }
            | Error::NotAFolder { .. }
            | Error::NoPictures => "usage",
        }
    }

    fn is_usage(&self) -> bool {
        self.class() == "usage"
    }

    fn file(&self) -> Option<&Path> {
        match self {
            Error::Io { file, .. }
            | Error::TooLarge { file, .. }
            | Error::Content { file, .. }
            | Error::NotADataSet { path: file }
            | Error::NoSplit { path: file, .. }
            | Error::NoNames { path: file }
            | Error::HasNames { path: file }
            | Error::PictureList { file }
            | Error::TooMany { folder: file }
            | Error::Exists { path: file }
            | Error::NotAFolder { path: file }
            | Error::IsInput { path: file } => Some(file),
            Error::Write(error) => Some(error.file()),
            Error::Collision { .. } | Error::CategoryName { .. } | Error::NoPictures => None,
        }
    }
}

fn shown(file: &Path) -> String {
    printable(&file.to_string_lossy())
}
