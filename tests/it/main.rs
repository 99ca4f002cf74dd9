//! The library as a whole, with the networks' originals where their data lie beside the repository.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod activations;
mod adding_a_network;
mod adding_an_operator;
mod detect;
mod detect_mmdet;
mod mapping;
mod networks;
#[path = "../support/mod.rs"]
mod support;
#[path = "../toy/toy.rs"]
mod toy;
mod verify;

// Where the toy's crate has its own networks, `crate::graph` and `crate::models` are these.
use network::{graph, models};
