//! The integration tests of the crate, in one program. Those that measure memory are the target `memory`.

mod objects;
mod onnx;
mod oracles;
mod reference;
mod round_trips;
#[path = "../support/mod.rs"]
mod support;
