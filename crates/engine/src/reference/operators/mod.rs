//! The arithmetic of the operators, on row-major slices: one file for each, forward and backward.
//!
//! Work is split over planes (a channel of an image) so that the numbers do not depend on the number of threads.

// A wrong index is our own mistake and must stop: a zero in its place would be a wrong result.
#![allow(clippy::indexing_slicing)]

mod activation;
mod conv;
mod deform_conv;
mod depthwise;
mod geometry;
pub(crate) mod matmul;
mod matrix;
pub(crate) mod norm;
pub(crate) mod pool;
mod resample;
pub(crate) mod softmax;
pub(crate) mod top_k;

#[cfg(test)]
pub(crate) mod finite_differences;
