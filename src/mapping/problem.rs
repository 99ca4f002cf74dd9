//! What keeps weights from being mapped: every fault of a file, not only the first.

use std::path::Path;

use converters::Dtype;
use files::{Failure, printable};

use super::array::OperationError;
use super::nearest::Near;

/// Weights that cannot be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// The file has no such weights.
    #[error("{}", no_weights(table, wanted.as_deref(), present))]
    NoWeights {
        /// The table.
        table: String,
        /// The name given with `--weights`.
        wanted: Option<String>,
        /// The names of the weights that are there.
        present: Vec<String>,
    },
    /// Tensors or parameters that cannot be explained.
    #[error("{0}")]
    Unexplained(Unexplained),
    /// A tensor's data cannot be read, or do not fit their new form.
    #[error("{0}")]
    Data(#[from] OperationError),
}

impl Failure for MappingError {
    fn class(&self) -> &'static str {
        match self {
            MappingError::Data(OperationError::Data(error)) => error.class().name(),
            MappingError::NoWeights { .. } | MappingError::Unexplained(_) | MappingError::Data(_) => {
                "unknown-network"
            }
        }
    }

    fn file(&self) -> Option<&Path> {
        match self {
            MappingError::Data(OperationError::Data(error)) => Some(error.file()),
            MappingError::NoWeights { .. } | MappingError::Unexplained(_) | MappingError::Data(_) => None,
        }
    }
}

impl MappingError {
    /// Everything that cannot be explained, where that is the reason.
    pub fn problems(&self) -> &[Problem] {
        match self {
            MappingError::Unexplained(all) => &all.problems,
            _ => &[],
        }
    }
}

fn no_weights(table: &str, wanted: Option<&str>, present: &[String]) -> String {
    let what = wanted.map_or("weights".to_owned(), |name| format!("weights `{}`", printable(name)));
    let remedy = match present {
        [] => "port inspect lists the names; port mapping list names the tables".to_owned(),
        names => format!("the file has --weights {}", names.join(", --weights ")),
    };
    format!("by the table {table} the file holds no {what}\n  {remedy}")
}

/// All that is wrong between a file and a network.
#[derive(Debug)]
pub struct Unexplained {
    /// The table.
    pub table: String,
    /// What the flat names of the weights begin with.
    pub beginning: String,
    /// Every fault.
    pub problems: Vec<Problem>,
}

/// So many are written out in a message; the rest are counted.
const SHOWN: usize = 12;

impl std::fmt::Display for Unexplained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (count, table) = (self.problems.len(), &self.table);
        match count {
            1 => write!(f, "one tensor or parameter does not fit (table {table}")?,
            _ => write!(f, "{count} tensors or parameters do not fit (table {table}")?,
        }
        if !self.beginning.is_empty() {
            write!(f, ", weights at `{}`", printable(&self.beginning))?;
        }
        write!(f, ")")?;
        for problem in self.problems.iter().take(SHOWN) {
            write!(f, "\n  {}", printable(&problem.to_string()))?;
        }
        if count > SHOWN {
            write!(f, "\n  ... and {} more; --json lists all", count - SHOWN)?;
        }
        write!(
            f,
            "\n  names of another dialect need a mapping table (docs/mapping.md); port convert also has --rename"
        )
    }
}

/// A tensor or a parameter without counterpart.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No rule takes a tensor.
    #[error("tensor `{foreign}` {shape:?} is unexplained{}", nearest(near))]
    Unexplained {
        /// Its name in the file.
        foreign: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Parameters that nothing fills, or others with such names.
        near: Vec<Near>,
    },
    /// A rule takes it, but the network has no such parameter.
    #[error(
        "tensor `{foreign}` {shape:?} would be `{canonical}`, which the network does not have{}",
        nearest(near)
    )]
    Unexpected {
        /// Its name in the file.
        foreign: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The canonical name that the table gives it.
        canonical: String,
        /// Parameters that nothing fills, or others with such names.
        near: Vec<Near>,
    },
    /// A rule takes it, but reading backwards that name belongs to another.
    #[error("tensor `{foreign}` {shape:?} would be `{canonical}`, which the table keeps for another name")]
    Shadowed {
        /// Its name in the file.
        foreign: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The canonical name.
        canonical: String,
    },
    /// Nothing fills a parameter.
    #[error("parameter `{canonical}` {shape:?} is filled by no tensor{}", nearest(near))]
    Missing {
        /// Its canonical name.
        canonical: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Unexplained tensors with such names.
        near: Vec<Near>,
    },
    /// A tensor has another shape than its parameter.
    #[error("tensor `{foreign}` has shape {found:?}, its parameter `{canonical}` has {expected:?}{}", hint(*is_transposed))]
    Shape {
        /// The tensor.
        foreign: String,
        /// The parameter.
        canonical: String,
        /// The tensor's shape, in canonical form.
        found: Vec<usize>,
        /// The parameter's shape.
        expected: Vec<usize>,
        /// Whether one is the other with axes in another order.
        is_transposed: bool,
    },
    /// A tensor of integers where a floating-point one is needed.
    #[error(
        "tensor `{foreign}` holds {found}, its parameter `{canonical}` needs floating-point numbers ({expected})"
    )]
    Type {
        /// The tensor.
        foreign: String,
        /// The parameter.
        canonical: String,
        /// The tensor's type.
        found: Dtype,
        /// The parameter's usual type.
        expected: Dtype,
    },
    /// Two tensors have one name.
    #[error("two tensors have the name `{foreign}`")]
    Duplicate {
        /// The name.
        foreign: String,
    },
    /// Some but not all tensors that a rule joins are there.
    #[error("`{}` needs `{missing}` beside `{present}`", canonical.join("`, `"))]
    Incomplete {
        /// What the rule gives.
        canonical: Vec<String>,
        /// A tensor that is there.
        present: String,
        /// One that is not.
        missing: String,
    },
    /// The rule's operation does not fit the tensor.
    #[error("tensor `{foreign}` {shape:?} cannot become `{}`: {error}", canonical.join("`, `"))]
    Operation {
        /// The tensor.
        foreign: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What the rule gives.
        canonical: Vec<String>,
        /// Why not.
        error: OperationError,
    },
    /// A default needs a constant that the network does not state, or has another number of values.
    #[error("parameter `{canonical}` {shape:?} is absent, and its default of {value} does not fit")]
    Default {
        /// The parameter.
        canonical: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What the default says.
        value: String,
    },
}

impl Problem {
    /// A word for scripts.
    pub fn kind(&self) -> &'static str {
        match self {
            Problem::Unexplained { .. } => "unexplained",
            Problem::Unexpected { .. } => "unexpected",
            Problem::Shadowed { .. } => "shadowed",
            Problem::Missing { .. } => "missing",
            Problem::Shape { .. } => "shape",
            Problem::Duplicate { .. } => "duplicate",
            Problem::Type { .. } => "type",
            Problem::Incomplete { .. } => "incomplete",
            Problem::Operation { .. } => "operation",
            Problem::Default { .. } => "default",
        }
    }

    /// The tensor or parameter at fault.
    pub fn name(&self) -> &str {
        match self {
            Problem::Unexplained { foreign, .. }
            | Problem::Unexpected { foreign, .. }
            | Problem::Shadowed { foreign, .. }
            | Problem::Shape { foreign, .. }
            | Problem::Type { foreign, .. }
            | Problem::Duplicate { foreign }
            | Problem::Operation { foreign, .. } => foreign,
            Problem::Missing { canonical, .. } | Problem::Default { canonical, .. } => canonical,
            Problem::Incomplete { present, .. } => present,
        }
    }

    /// Names that may have been meant.
    pub fn near(&self) -> &[Near] {
        match self {
            Problem::Unexplained { near, .. }
            | Problem::Unexpected { near, .. }
            | Problem::Missing { near, .. } => near,
            _ => &[],
        }
    }
}

fn nearest(near: &[Near]) -> String {
    if near.is_empty() {
        return String::new();
    }
    let names: Vec<String> = near.iter().map(Near::to_string).collect();
    format!("; nearest: {}", names.join(", "))
}

fn hint(is_transposed: bool) -> &'static str {
    if is_transposed { "; one is the other transposed" } else { "" }
}
