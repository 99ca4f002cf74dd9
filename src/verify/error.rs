//! What can keep a network and a recording from being compared.

use std::path::{Path, PathBuf};

use files::{Failure, printable};

use engine::RuntimeError;
use network::graph::GraphError;

/// Why two sides cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file that cannot be read.
    #[error(transparent)]
    File(#[from] converters::Error),
    /// A network that cannot be written.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A network that cannot be run.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A report beside a recording that does not say which elements were recorded.
    #[error(
        "{}: {what}\n  it stands beside a recording and would say which elements are in that; mend it, or take it away \
         where the recording is whole",
        printable(&.file.to_string_lossy())
    )]
    Report {
        /// The report.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A recording without the input that its values belong to.
    #[error("{}: there is no tensor `input`\n  give a file that has it with --input", printable(&.0.to_string_lossy()))]
    NoInput(PathBuf),
    /// An input that is no batch of pictures.
    #[error("{}: `input` has shape {shape:?}; [N, 3, H, W] is needed", printable(&.file.to_string_lossy()))]
    InputShape {
        /// The file.
        file: PathBuf,
        /// The shape.
        shape: Vec<usize>,
    },
    /// An input that would take too much memory.
    #[error(
        "an input of {found:?} is too large: at most {limit} elements can be verified\n  take a smaller batch or picture"
    )]
    TooLarge {
        /// The shape.
        found: Vec<usize>,
        /// The most elements.
        limit: usize,
    },
    /// A recording that holds nothing but its input.
    #[error("{}: there is nothing beside `input`\n  record the values of modules too", printable(&.0.to_string_lossy()))]
    Empty(PathBuf),
    /// Nothing in the recording is a module or output of the network.
    #[error(
        "{}: none of its {} values is that of a module of the network, for instance `{example}`",
        printable(&.file.to_string_lossy()),
        .values
    )]
    NothingInCommon {
        /// The file.
        file: PathBuf,
        /// Number of values.
        values: usize,
        /// One of the names.
        example: String,
    },
}

impl Failure for VerifyError {
    fn class(&self) -> &'static str {
        "verify"
    }

    fn file(&self) -> Option<&Path> {
        match self {
            VerifyError::File(error) => Some(error.file()),
            VerifyError::NoInput(file) | VerifyError::Empty(file) => Some(file),
            VerifyError::Report { file, .. }
            | VerifyError::InputShape { file, .. }
            | VerifyError::NothingInCommon { file, .. } => Some(file),
            VerifyError::Graph(_) | VerifyError::Runtime(_) | VerifyError::TooLarge { .. } => None,
        }
    }
}
