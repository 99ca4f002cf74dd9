//! What can be wrong with a checkpoint file.
//!
//! Every failure is an [`Error`]: the file, the [`Problem`] (one variant per rule broken) and a remedy.

use std::fmt;
use std::path::{Path, PathBuf};

/// Shorthand for results of this crate's public functions.
pub type Result<T> = std::result::Result<T, Error>;

/// The kind of a failure, stable across versions: what scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The path cannot be read or written as a file.
    Io,
    /// The content is something else: text, HTML, a Git LFS pointer, an archive without a checkpoint.
    NotACheckpoint,
    /// The file or a record ends before what it announced.
    Truncated,
    /// Contradictory or malformed structure, or a wrong checksum.
    Corrupt,
    /// A record, shard or external file that is referred to does not exist.
    Missing,
    /// A tensor reaches outside its storage, record or external file.
    OutOfRange,
    /// The file names a callable that is not on the allow-list, or a path that leaves its directory.
    Forbidden,
    /// Well formed, but beyond a resource limit.
    Limit,
    /// Recognised and named, but not read or not writable.
    Unsupported,
    /// Two different tensors would get one name.
    AmbiguousName,
    /// Read completely, holds no tensor.
    NoTensors,
}

impl ErrorClass {
    /// The name used in JSON output.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorClass::Io => "io",
            ErrorClass::NotACheckpoint => "not-a-checkpoint",
            ErrorClass::Truncated => "truncated",
            ErrorClass::Corrupt => "corrupt",
            ErrorClass::Missing => "missing",
            ErrorClass::OutOfRange => "out-of-range",
            ErrorClass::Forbidden => "forbidden",
            ErrorClass::Limit => "limit",
            ErrorClass::Unsupported => "unsupported",
            ErrorClass::AmbiguousName => "ambiguous-name",
            ErrorClass::NoTensors => "no-tensors",
        }
    }
}

/// A failure to read or write a checkpoint.
#[derive(Debug)]
pub struct Error {
    file: PathBuf,
    problem: Box<Problem>,
}

impl Error {
    /// Says that `problem` was met in `file`.
    pub fn new(file: impl Into<PathBuf>, problem: Problem) -> Self {
        Error { file: file.into(), problem: Box::new(problem) }
    }

    /// The file at fault.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The rule that was broken.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The kind of failure.
    pub fn class(&self) -> ErrorClass {
        self.problem.class()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = format!("{}: {}", self.file.display(), self.problem);
        write!(f, "{}\n  {}", files::printable(&told), self.problem.remedy())
    }
}

// The message tells the whole story; there is no source below it.
impl std::error::Error for Error {}

impl files::Failure for Error {
    fn class(&self) -> &'static str {
        self.problem.class().name()
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.file)
    }
}

impl From<files::Error> for Error {
    fn from(error: files::Error) -> Self {
        let (file, fault) = error.into_parts();
        Error::new(file, Problem::File(fault))
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Problem::File(error.into())
    }
}

/// Attaches the file name to a problem met inside it.
pub(crate) trait InFile<T> {
    fn in_file(self, path: &Path) -> Result<T>;
}

impl<T> InFile<T> for std::result::Result<T, Problem> {
    fn in_file(self, path: &Path) -> Result<T> {
        self.map_err(|problem| Error::new(path, problem))
    }
}

/// The rule that a file breaks. `place` and `what` name the record, offset or tensor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The path cannot be read or written as a file, whatever it holds.
    #[error("{0}")]
    File(files::Fault),
    /// The path is a directory with a `data.pkl`, as an unzipped `.pth` has.
    #[error("is a directory (an unpacked .pth archive)")]
    UnpackedArchive,
    /// The content is recognised as something that is no checkpoint.
    #[error("not a checkpoint: {found}")]
    NotACheckpoint {
        /// What the content is.
        found: String,
        /// What the user can do.
        remedy: &'static str,
    },
    /// An archive without the record that makes it a checkpoint.
    #[error("not a checkpoint: the zip archive has no data.pkl and no .npy record; it holds {contents}")]
    NoPickleRecord {
        /// The entries, or the likeliest of them.
        contents: String,
    },
    /// Something ends before its announced length.
    #[error("{place} is truncated: {needs} bytes are announced but {has} are there")]
    Truncated {
        /// Record, tensor or offset.
        place: String,
        /// Bytes announced.
        needs: u64,
        /// Bytes present.
        has: u64,
    },
    /// The end of the file is missing altogether.
    #[error("truncated: {what}")]
    EndMissing {
        /// What should have been found.
        what: &'static str,
    },
    /// A structural rule of the format does not hold.
    #[error("{place} is corrupt: {rule}")]
    Malformed {
        /// Record, tensor or offset.
        place: String,
        /// The rule that does not hold.
        rule: &'static str,
    },
    /// Two statements of the file exclude each other.
    #[error("{place} is corrupt: it says {says}, but {but}")]
    Contradiction {
        /// Record, tensor or offset.
        place: String,
        /// The first statement.
        says: String,
        /// The second.
        but: String,
    },
    /// A stored checksum differs from that of the data.
    #[error("{place}: {algorithm} checksum mismatch: {stored} is stored, the data give {computed}")]
    Checksum {
        /// Record or file.
        place: String,
        /// CRC-32 or SHA-1.
        algorithm: &'static str,
        /// Hexadecimal.
        stored: String,
        /// Hexadecimal.
        computed: String,
    },
    /// A record or file that is referred to does not exist.
    #[error("{what} is missing, wanted by {wanted_by}")]
    Missing {
        /// The record, shard or file.
        what: String,
        /// Who refers to it.
        wanted_by: String,
    },
    /// A tensor reaches outside its bytes.
    #[error("{place} reaches outside its bytes: {reach}")]
    OutOfRange {
        /// The tensor or record.
        place: String,
        /// How far, and how far it may.
        reach: String,
    },
    /// A pickle names a function or class that no checkpoint needs.
    #[error("names the callable `{name}` at byte {offset} of {place}; it was not called")]
    ForbiddenGlobal {
        /// `module.name`.
        name: String,
        /// Byte offset in the pickle.
        offset: u64,
        /// The pickle.
        place: String,
    },
    /// A pickle does something that only an attack needs.
    #[error("{place} uses {what}, which no checkpoint needs")]
    ForbiddenOperation {
        /// Pickle and offset.
        place: String,
        /// The operation.
        what: String,
    },
    /// A path inside the file leads outside its directory.
    #[error("{place} refers to `{path}`, outside the directory of the file")]
    ForbiddenPath {
        /// Who refers to it.
        place: String,
        /// The path as written.
        path: String,
    },
    /// Well formed but beyond a limit of [`crate::limits`].
    #[error("{place}: {what} exceeds the limit of {limit}")]
    Limit {
        /// Record, tensor or file.
        place: String,
        /// What is too much.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// Recognised, but not read.
    #[error("{place}: {what} is not supported")]
    Unsupported {
        /// Record, tensor or file.
        place: String,
        /// The feature, dtype or version.
        what: String,
        /// What the user can do.
        remedy: &'static str,
    },
    /// The target format has no such element type.
    #[error("tensor `{tensor}` is {dtype}, which {format} cannot hold")]
    DtypeNotWritable {
        /// Tensor name.
        tensor: String,
        /// Its element type.
        dtype: crate::Dtype,
        /// The target format.
        format: &'static str,
    },
    /// The target format cannot write a tensor's name.
    #[error("tensor `{tensor}` cannot be written as {format}: {why}")]
    NameNotWritable {
        /// The name, or its beginning.
        tensor: String,
        /// The target format.
        format: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two tensors would get one name.
    #[error("two different tensors would get the name `{name}`: {first} and {second}")]
    AmbiguousName {
        /// The name both would get.
        name: String,
        /// Path of the first.
        first: String,
        /// Path of the second.
        second: String,
    },
    /// A new name does not fit where the tensor stands.
    #[error("tensor `{tensor}` cannot be renamed to `{name}`: {why}")]
    CannotRename {
        /// Its name.
        tensor: String,
        /// The name it was to get.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// A tensor has no such other form.
    #[error("tensor `{tensor}` of shape {shape:?} cannot be {change}: {why}")]
    CannotReform {
        /// Its name.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What was wanted: "transposed by [1, 0]".
        change: String,
        /// Why not.
        why: &'static str,
    },
    /// A path given with `--root` leads nowhere.
    #[error("there is nothing at `{root}`; the file has {present}")]
    NoSuchRoot {
        /// The path as given.
        root: String,
        /// What is there instead.
        present: String,
    },
    /// Nothing in the file is a tensor.
    #[error("read completely, but holds no tensor")]
    NoTensors,
}

const DAMAGED: &str = "the file is damaged: compare its size and checksum with the source and fetch it again";
const INCOMPLETE: &str =
    "probably an interrupted download: compare its size with the source and fetch it again";
const UNTRUSTED: &str = "do not open it with torch.load or pickle; get the weights from a source you trust, or have \
                         its author save model.state_dict() alone";
const TOO_BIG: &str =
    "docs/security.md lists the limits and why they are there; save what you need of the file alone";

impl Problem {
    /// The kind of failure.
    pub fn class(&self) -> ErrorClass {
        match self {
            Problem::File(_) | Problem::UnpackedArchive => ErrorClass::Io,
            Problem::NotACheckpoint { .. } | Problem::NoPickleRecord { .. } => ErrorClass::NotACheckpoint,
            Problem::Truncated { .. } | Problem::EndMissing { .. } => ErrorClass::Truncated,
            Problem::Malformed { .. } | Problem::Contradiction { .. } | Problem::Checksum { .. } => {
                ErrorClass::Corrupt
            }
            Problem::Missing { .. } | Problem::NoSuchRoot { .. } => ErrorClass::Missing,
            Problem::OutOfRange { .. } => ErrorClass::OutOfRange,
            Problem::ForbiddenGlobal { .. }
            | Problem::ForbiddenOperation { .. }
            | Problem::ForbiddenPath { .. } => ErrorClass::Forbidden,
            Problem::Limit { .. } => ErrorClass::Limit,
            Problem::Unsupported { .. }
            | Problem::DtypeNotWritable { .. }
            | Problem::NameNotWritable { .. }
            | Problem::CannotRename { .. }
            | Problem::CannotReform { .. } => ErrorClass::Unsupported,
            Problem::AmbiguousName { .. } => ErrorClass::AmbiguousName,
            Problem::NoTensors => ErrorClass::NoTensors,
        }
    }

    /// What the user can do about it, one sentence.
    pub fn remedy(&self) -> &'static str {
        match self {
            Problem::File(fault) => fault.remedy(),
            Problem::UnpackedArchive => {
                "zip it again without compression (zip -0 -r model.pth FOLDER) and open the archive"
            }
            Problem::NotACheckpoint { remedy, .. } | Problem::Unsupported { remedy, .. } => remedy,
            Problem::NoPickleRecord { .. } => "extract the archive and open the checkpoint inside",
            Problem::Truncated { .. } | Problem::EndMissing { .. } => INCOMPLETE,
            Problem::Malformed { .. } | Problem::Contradiction { .. } | Problem::Checksum { .. } => DAMAGED,
            Problem::Missing { .. } => "put the missing part beside the others, or fetch the whole set again",
            Problem::OutOfRange { .. } => DAMAGED,
            Problem::ForbiddenGlobal { .. } | Problem::ForbiddenOperation { .. } => UNTRUSTED,
            Problem::ForbiddenPath { .. } => {
                "get the model and the files beside it from a source you trust, all in one directory"
            }
            Problem::Limit { .. } => TOO_BIG,
            Problem::DtypeNotWritable { .. } => {
                "choose another target format, or cast floating-point tensors with --dtype f32"
            }
            Problem::AmbiguousName { .. } => {
                "choose one part of the file with --root, or rename with --rename"
            }
            Problem::NameNotWritable { .. } => "rename it with --rename 'FROM => TO'",
            Problem::CannotRename { .. } => "take its dictionary alone with --root, and rename in that",
            Problem::CannotReform { .. } => "compare its shape with what the mapping table says of it",
            Problem::NoSuchRoot { .. } => "name one of these, with dots between the levels",
            Problem::NoTensors => "check that this is the file meant; port inspect shows what it holds",
        }
    }

    pub(crate) fn malformed(place: impl Into<String>, rule: &'static str) -> Problem {
        Problem::Malformed { place: place.into(), rule }
    }

    pub(crate) fn unsupported(
        place: impl Into<String>,
        what: impl Into<String>,
        remedy: &'static str,
    ) -> Problem {
        Problem::Unsupported { place: place.into(), what: what.into(), remedy }
    }
}
