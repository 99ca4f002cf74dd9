//! How a command ends.

use serde_json::Value as Json;

pub(crate) const DONE: u8 = 0;
pub(crate) const ANSWER_IS_NO: u8 = 1;
pub(crate) const BAD_USAGE: u8 = 2;
pub(crate) const BAD_INPUT: u8 = 3;

/// What a command has to say, in both forms.
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) json: Json,
    /// The answer, for a command that was asked something; true for one that was told to do something.
    pub(crate) answer: bool,
}

/// Arguments that cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);
