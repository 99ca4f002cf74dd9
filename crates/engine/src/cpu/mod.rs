//! Kernels of plans on the CPU: f32, the channels of a pixel after one another (NHWC).
//!
//! In this order the pixels of a row are the rows of a matrix product as they lie in memory, for kernels of any size
//! and stride: nothing is unfolded, and a result can be written between others, which makes concatenation free.
//! Each kernel is held against the generic one of its operator, in f64. By kind, forward beside gradient:
//!
//! - `convolution`: dense, depthwise, in Winograd's form, deformable;
//! - `norm`: group norm of inference, and normalisation with its gradients;
//! - `elements`: functions, sums and products of elements, copies between layouts;
//! - `windows`: max pooling, and weighted sums of rows and columns (average pooling, resizing);
//! - `rows`: what has no pixels or mixes them at will (attention, distributions), row-major.
//!
//! All of them stand on the same ground: where pixels lie (`grid`), threads (`team`, which deals rows out by `split`,
//! calls helpers from a `crew` and works with them by a `handover`) and their memory (`workspaces`, `aligned`), the
//! instruction set (`instructions`, `peak`), and floats in registers (`registers`, `activation`, `exponential`).
//!
//! Where a constant was measured it says on what: *the machine* is that of docs/performance.md, two cores of an AMD Zen
//! 5 with AVX-512, 48 KiB of first and 1 MiB of second cache each. Where it says *a choice*, nobody has compared
//! others.

// A wrong index here is a bug of this crate, and must stop the program: a number made up instead goes on unseen.
#![allow(clippy::indexing_slicing)]

pub(crate) mod activation;
pub(crate) mod aligned;
pub(crate) mod convolution;
mod crew;
pub(crate) mod descent;
pub(crate) mod elements;
mod exponential;
pub(crate) mod grid;
mod handover;
pub(crate) mod instructions;
pub(crate) mod norm;
pub(crate) mod peak;
pub(crate) mod place;
mod registers;
pub(crate) mod rows;
mod shared;
mod split;
pub(crate) mod team;
#[cfg(test)]
mod value;
pub(crate) mod windows;
pub(crate) mod workspaces;
