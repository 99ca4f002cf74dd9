//! Readers and writers against independent ones, and against each other.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod objects;
mod onnx;
mod oracles;
mod reference;
mod round_trips;
#[path = "../support/mod.rs"]
mod support;
