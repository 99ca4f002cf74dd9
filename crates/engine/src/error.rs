//! Why a graph could not be run.

use network::graph::GraphError;

/// Why a graph could not be run. Every message names what it is about first.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Weights that do not fit the graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// An operator that failed.
    #[error("{}: {message}", named(module))]
    Operator {
        /// Path of the module.
        module: String,
        /// What is wrong.
        message: String,
    },
    /// An input of another shape than the graph was written for, or too few of them.
    #[error("the network was built for an input {expected:?} and was given {found:?}")]
    Input {
        /// The shape in the graph.
        expected: Vec<usize>,
        /// The shape that was given.
        found: Vec<usize>,
    },
    /// An output that the network does not have.
    #[error("{name}: the network has no output of this name; it has {}", listed(outputs))]
    NoOutput {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        outputs: Vec<String>,
    },
    /// A saved store that cannot be gone on from.
    #[error("{what}: the file is not what was saved of this network")]
    Saved {
        /// What is wrong.
        what: String,
    },
    /// Something that an engine does not do.
    #[error("{what}")]
    Unsupported {
        /// What it does not do, and what does.
        what: String,
    },
    /// A mistake in this program or in the graph that it was given, and not in weights or input.
    #[error("{}: {what}", named(module))]
    Internal {
        /// Path of the module that the node belongs to.
        module: String,
        /// What is wrong.
        what: String,
    },
}

impl RuntimeError {
    /// A mistake of our own at the node whose module has this path.
    pub(crate) fn internal(module: impl Into<String>, what: impl Into<String>) -> RuntimeError {
        RuntimeError::Internal { module: module.into(), what: what.into() }
    }
}

/// The network itself has an empty path.
fn named(module: &str) -> &str {
    if module.is_empty() { "the network" } else { module }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_what_they_are_about_first() {
        let message = RuntimeError::internal("neck.conv", "a value is used before it is computed");
        assert_eq!(message.to_string(), "neck.conv: a value is used before it is computed");
        let message = RuntimeError::internal("", "there is no input");
        assert_eq!(message.to_string(), "the network: there is no input");
        let outputs = vec!["preds".to_owned(), "aux_preds".to_owned()];
        let message = RuntimeError::NoOutput { name: "boxes".to_owned(), outputs };
        let expected = "boxes: the network has no output of this name; it has preds, aux_preds";
        assert_eq!(message.to_string(), expected);
    }
}
