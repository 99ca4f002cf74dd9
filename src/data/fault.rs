//! What makes a file unreadable as a whole.

/// A rule that the bytes of an annotation file break.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The text is not UTF-8.
    #[error("byte {0} is not UTF-8; save the file in that encoding")]
    NotUtf8(usize),
    /// The JSON is malformed or no COCO annotations.
    #[error("{0}; expected COCO annotations with `images`, `annotations` and `categories`")]
    Json(#[from] serde_json::Error),
    /// The XML is malformed.
    #[error("byte {at}: {problem}; the file is damaged or no XML")]
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
    #[error("more than {0} elements inside one another; this is no annotation")]
    Depth(usize),
    /// The XML is about something else.
    #[error("the file has no <annotation>; expected Pascal VOC's form")]
    Root,
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

/// The text of a file: UTF-8, without the mark that some editors begin it with.
///
/// # Errors
/// The bytes are not UTF-8.
pub fn text(bytes: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| Fault::NotUtf8(error.valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
