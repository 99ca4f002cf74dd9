//! Normalisation: `group` norm of inference, and normalisation with statistics of the batch or of groups of channels of
//! each image (`normalisation`: the data; `forward` and `gradient`), with a function after it.
//!
//! Both directions of the latter take two passes. The first (`sums`) sums up `chunks` of pixels, whose size depends on the
//! shape only, so that no sum depends on the number of threads; the chunks are put together in f64. The second (`passes`)
//! applies factors that are the same for a channel of the batch, or of an image.

mod chunks;
mod forward;
mod gradient;
pub(crate) mod group;
pub(crate) mod normalisation;
mod passes;
mod sums;
#[cfg(test)]
mod tests;
