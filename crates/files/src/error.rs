//! What keeps a file from being read or written.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::printable::printable;

/// Shorthand for results of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A file, and what is wrong with it.
#[derive(Debug)]
pub struct Error {
    file: PathBuf,
    fault: Fault,
}

/// What can be wrong with a file, whatever it holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The operating system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The path is a directory.
    #[error("is a directory")]
    Directory,
    /// The path is a pipe, socket or device.
    #[error("is not a regular file")]
    NotRegularFile,
}

impl Error {
    /// Says that `fault` was met in `file`.
    pub fn new(file: impl Into<PathBuf>, fault: impl Into<Fault>) -> Self {
        Error { file: file.into(), fault: fault.into() }
    }

    /// The file at fault.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What is wrong with it.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    /// Both, for an error that says more.
    pub fn into_parts(self) -> (PathBuf, Fault) {
        (self.file, self.fault)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = format!("{}: {}", self.file.display(), self.fault);
        write!(f, "{}\n  {}", printable(&told), self.fault.remedy())
    }
}

// The message tells the whole story; there is no source below it.
impl std::error::Error for Error {}

impl Failure for Error {
    fn class(&self) -> &'static str {
        "io"
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.file)
    }
}

impl Fault {
    /// What the user can do about it, one sentence.
    pub fn remedy(&self) -> &'static str {
        match self {
            Fault::Io(_) => "check the path and its permissions, and the space left on the disk",
            Fault::Directory => "name a file inside it",
            Fault::NotRegularFile => "use an ordinary file",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_file_fault_and_remedy() {
        let told = Error::new("a\u{1b}b", Fault::Directory).to_string();
        assert_eq!(told, "a\\u{1b}b: is a directory\n  name a file inside it");
    }
}
