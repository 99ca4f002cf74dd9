//! What can be wrong with a table.

use std::path::Path;

use files::Failure;

use super::expression::ExpressionError;
use super::pattern::PatternError;

/// A table that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("mapping table {origin}: {fault}\n  {}", fault.remedy())]
pub struct TableError {
    /// The file, or the name of a shipped table.
    pub origin: String,
    /// The rule that it breaks.
    pub fault: TableFault,
}

impl Failure for TableError {
    fn class(&self) -> &'static str {
        "mapping-table"
    }

    fn file(&self) -> Option<&Path> {
        Some(Path::new(&self.origin))
    }
}

/// The rule that a table breaks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableFault {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Not the TOML of a table.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// More than any table needs.
    #[error("more than {limit} {what}")]
    TooLarge {
        /// Bytes, rules.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A list is empty that may not be.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// Family or dialect is no plain word.
    #[error("`{0}` is no name: use lower-case letters, digits and dashes")]
    Name(String),
    /// A pattern is malformed, or the sides of a rule differ.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A size cannot be read.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// An element type that does not exist.
    #[error("`{0}` is no element type")]
    Dtype(String),
    /// A default's value is none of those that exist.
    #[error("the default value `{0}` is neither zeros, ones, model nor a list of numbers")]
    Filling(String),
    /// An operation without inverse.
    #[error("rule `{rule}`: `{operation}` has no inverse")]
    NoInverse {
        /// The rule.
        rule: String,
        /// The operation.
        operation: String,
    },
    /// The operations give more or fewer tensors than the rule names.
    #[error("rule `{rule}`: the operations do not turn {foreign} tensors into {canonical}")]
    Counts {
        /// The rule.
        rule: String,
        /// Foreign patterns.
        foreign: usize,
        /// Canonical patterns.
        canonical: usize,
    },
    /// A pattern can be read in several ways.
    #[error("`{pattern}` can take a name apart in several ways")]
    Ambiguous {
        /// The pattern.
        pattern: String,
    },
    /// Two patterns take the same name, and neither is a special case of the other.
    #[error("`{first}` and `{second}` both take `{name}`")]
    Overlap {
        /// One pattern.
        first: String,
        /// The other.
        second: String,
        /// A name that both take.
        name: String,
    },
    /// A rule whose names earlier lines take.
    #[error("rule `{rule}` is never used: `{name}`, for instance, is taken before it, or does not lead back")]
    Unreachable {
        /// The rule.
        rule: String,
        /// A name that it should take.
        name: String,
    },
}

impl TableFault {
    /// What the author of the table can do.
    fn remedy(&self) -> &'static str {
        match self {
            TableFault::Io(_) => "check the path; port mapping list names the tables that are built in",
            TableFault::Toml(_) | TableFault::Filling(_) | TableFault::Dtype(_) => {
                "docs/mapping.md describes every key of a table"
            }
            TableFault::Name(_) | TableFault::Empty(_) => "docs/mapping.md describes every key of a table",
            TableFault::TooLarge { .. } => "say it in fewer rules: a placeholder stands for many names",
            TableFault::Pattern(_) | TableFault::Expression(_) => "correct the line",
            TableFault::NoInverse { .. } => "list every axis or place once, and split into two parts or more",
            TableFault::Counts { .. } => "give a split or concat one size for each name",
            TableFault::Ambiguous { .. } => "put something between the placeholders, and use {name..} once",
            TableFault::Overlap { .. } => {
                "make one of them a special case of the other and put it first, or tell them apart with \
                 {name:one|other}"
            }
            TableFault::Unreachable { .. } => "put the special case before the general one",
        }
    }
}
