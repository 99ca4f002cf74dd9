//! Bytes on the disk, whatever they mean.
//!
//! | job | where |
//! | --- | --- |
//! | a file as memory | [`map`] |
//! | a file that appears whole or not at all | [`write_whole`]; [`Output`], which many threads fill |
//! | a folder that does | [`fill_whole`] |
//! | whether two paths are one file | [`is_same`], [`is_among`], [`place`] |
//! | what a file holds, in one line | [`sha256`], [`Sha256`] |
//! | names from files, shown without harm to a terminal | [`printable()`] |
//! | what can go wrong | [`Error`]: the file, the [`Fault`] and a remedy |
//! | what every error says to scripts | [`Failure`]: class, file, whether the usage is at fault |
//!
//! This crate uses nothing of ours and knows no format.

mod error;
mod failure;
mod folder;
mod hash;
mod mapped;
mod output;
mod printable;
mod same;

pub use error::{Error, Fault, Result};
pub use failure::Failure;
pub use folder::fill_whole;
pub use hash::{Sha256, sha256};
pub use mapped::map;
pub use output::{Output, write_whole};
pub use printable::printable;
pub use same::{is_among, is_same, place};
