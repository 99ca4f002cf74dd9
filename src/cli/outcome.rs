//! How a command ends.

use serde_json::Value as Json;

/// What a command has to say, in both forms.
pub(super) struct Report {
    pub(super) text: String,
    pub(super) json: Json,
    /// The answer, for a command that was asked something; true for one that was told to do something.
    pub(super) answer: bool,
}

/// Arguments that cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);
