//! Comparing a network with its original: weights, input, layers, outputs, boxes, and why they differ.
//!
//! - [`Recording`] is what the original computed: its input and the values of its modules;
//! - [`Network`] is the network to be verified, in f32 and in f64;
//! - [`compare_layers`] holds the two against each other, layer by layer, with a tolerance that comes from the
//!   rounding to be expected;
//! - [`compare_weights`] holds two sets of weights against each other;
//! - [`diagnose`] tries what usually goes wrong at the first layer that diverges;
//! - [`Difference`] is the measure of all of them.

mod decoded;
mod diagnosis;
mod difference;
mod error;
mod input;
mod layers;
mod local;
mod network;
mod recording;
mod weights;

pub use diagnosis::{Cause, diagnose};
pub use difference::Difference;
pub use error::VerifyError;
pub use input::{InputCause, compare_input};
pub use layers::{Layer, Tolerance, Verdict, compare_layers};
pub use network::Network;
pub use recording::Recording;
pub use weights::{WeightDifference, compare_weights};
