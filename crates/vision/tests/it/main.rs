//! Data sets and metrics on whole files, with those of the originals where their data lie beside the repository.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod data;
mod data_hostile;
mod eval;
#[path = "../../../../tests/support/repository.rs"]
mod support;
