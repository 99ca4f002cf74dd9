//! Why a checkpoint is no known network.

use files::{Failure, printable};

use crate::mapping::{MappingError, Problem};

/// A checkpoint that cannot be explained as a known network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentifyError {
    /// The user named a network that does not exist.
    #[error(
        "there is no network `{name}`\n  known are {known}; --model auto finds out which one a file holds"
    )]
    NoSuchModel {
        /// The name given.
        name: String,
        /// The networks that exist.
        known: String,
    },
    /// The user's table is for a family that does not exist.
    #[error("mapping table {table} is for the family `{family}`, which is not known\n  known are {known}")]
    NoSuchFamily {
        /// The table.
        table: String,
        /// Its family.
        family: String,
        /// The families that exist.
        known: String,
    },
    /// Nothing in the file looks like a known network.
    #[error("{}", unknown(*tensors, example, nearest.as_deref()))]
    Unknown {
        /// Number of tensors in the file.
        tensors: usize,
        /// One of their names.
        example: String,
        /// The table that explains most names, and how many, if any.
        nearest: Option<String>,
    },
    /// The weights were not found, or not all of them can be explained.
    #[error("{}{error}", taken_for(network.as_deref()))]
    Mapping {
        /// What the file was taken for: network and classes.
        network: Option<String>,
        /// What is in the way.
        error: MappingError,
    },
}

fn unknown(tensors: usize, example: &str, nearest: Option<&str>) -> String {
    let nearest = nearest.map_or(String::new(), |nearest| format!("; nearest is {nearest}"));
    let example = printable(example);
    format!(
        "none of the {tensors} tensors' names and shapes (`{example}`, for instance) tell a known network{nearest}\n  \
         port mapping list names the tables; give one of your own with --mapping, or convert without --model"
    )
}

fn taken_for(network: Option<&str>) -> String {
    network.map_or(String::new(), |network| format!("taken for {network}: "))
}

impl Failure for IdentifyError {
    fn class(&self) -> &'static str {
        match self {
            IdentifyError::NoSuchModel { .. } | IdentifyError::NoSuchFamily { .. } => "usage",
            IdentifyError::Unknown { .. } | IdentifyError::Mapping { .. } => "unknown-network",
        }
    }

    fn is_usage(&self) -> bool {
        self.class() == "usage"
    }
}

impl IdentifyError {
    /// Everything that is in the way, tensor by tensor.
    pub fn problems(&self) -> &[Problem] {
        match self {
            IdentifyError::Mapping { error, .. } => error.problems(),
            _ => &[],
        }
    }
}
