//! What makes a file unreadable as a whole.

pub use crate::annotations::text;

/// A rule that the bytes of a file break.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file of annotations, or its text, cannot be read.
    #[error("{fault}; {}", fault.remedy())]
    Annotations {
        /// What is wrong.
        #[from]
        fault: crate::annotations::Fault,
    },
    /// A list of names has an empty line between others.
    #[error("line {0} has no name; every line names one class")]
    EmptyName(usize),
    /// A list of names has one twice.
    #[error("`{0}` is named twice; every class needs a name of its own")]
    NameTwice(String),
    /// A `data.yaml` is written in a way that is not read.
    #[error("line {line}: {problem}")]
    Yaml {
        /// The line, from 1.
        line: usize,
        /// What is wrong, with the remedy.
        problem: &'static str,
    },
}
