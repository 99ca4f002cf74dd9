//! What makes a file of annotations or results unreadable.

use super::{Flaw, json};

/// A rule that the bytes of a file break.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The text is not UTF-8.
    #[error("byte {0} is not UTF-8")]
    NotUtf8(usize),
    /// The text is not JSON.
    #[error(transparent)]
    Json(#[from] json::Fault),
    /// The JSON is not COCO's annotations.
    #[error("annotations must be an object with `images`, `annotations` and `categories`")]
    NotAnnotations,
    /// What must be a list of COCO's annotations is none.
    #[error("`{0}` is not a list")]
    NotAList(&'static str),
    /// A list of COCO's annotations comes twice.
    #[error("there are two lists `{0}`")]
    ListTwice(&'static str),
    /// The JSON is not COCO's results.
    #[error("results must be an array of records with image_id, category_id, bbox and score")]
    NotResults,
    /// A record of a list cannot be used.
    #[error("{list} {index} (the first is 0): {flaw}")]
    Record {
        /// Singular name of what is in the list.
        list: &'static str,
        /// Position in the list, from 0.
        index: usize,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The XML is malformed.
    #[error("byte {at}: {problem}")]
    Xml {
        /// Where, in bytes.
        at: u64,
        /// What the reader says.
        problem: String,
    },
    /// The XML refers to an entity that XML itself does not have.
    #[error("entity `&{0};` is not expanded; only XML's own five and character numbers are")]
    Entity(String),
    /// The XML is nested deeper than any annotation.
    #[error("more than {0} elements inside one another")]
    Depth(usize),
    /// The XML is about something else.
    #[error("the file has no <annotation>")]
    Root,
}

impl Fault {
    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Fault::NotUtf8(_) => "save the file in that encoding",
            Fault::Json(_) => "the file is damaged or no JSON; write it again",
            Fault::NotAnnotations | Fault::NotAList(_) => "give COCO's annotation file",
            Fault::ListTwice(_) => "put them together",
            Fault::NotResults => "if this is a data set with `annotations`, write that list alone",
            Fault::Record { .. } => "correct or remove the record",
            Fault::Xml { .. } => "the file is damaged or no XML; write it again",
            Fault::Entity(_) => "write the text itself",
            Fault::Depth(_) | Fault::Root => "give a file of Pascal VOC's form",
        }
    }
}

/// The text of a file: UTF-8, without the mark that some editors begin it with.
///
/// # Errors
/// The bytes are not UTF-8.
pub fn text(bytes: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| Fault::NotUtf8(error.valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
