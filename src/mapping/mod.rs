//! Names of one code base in the words of another.

pub mod pattern;

pub use pattern::{Rename, RenameError};
