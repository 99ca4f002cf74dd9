//! The arithmetic, on row-major slices: one file per operator, forward and backward.
//!
//! Work is split over planes (a channel of an image) so that the numbers do not depend on the number of threads.

pub(super) mod activation;
pub(super) mod conv;
pub(super) mod deform_conv;
pub(super) mod depthwise;
pub(super) mod matmul;
pub(super) mod matrix;
pub(super) mod norm;
pub(super) mod pool;
pub(super) mod resample;
pub(super) mod softmax;
pub(super) mod top_k;

#[cfg(test)]
pub(super) mod finite_differences;
