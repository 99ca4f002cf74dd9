//! What a program is told about a failure, whichever room it comes from.

use std::path::Path;

/// An error that says what scripts may rely on, beside its message for people.
pub trait Failure: std::error::Error {
    /// The kind of failure, as JSON output names it.
    fn class(&self) -> &'static str;

    /// The file at fault, where there is one.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// Whether the user asked for something that cannot be, whatever the files hold.
    fn is_usage(&self) -> bool {
        false
    }
}
