//! Convolutions in which every result channel sees every input channel of its group, as products of pixels and weights: a
//! tile of a few pixels by a few registers of result channels is summed up in registers.
//!
//! Weights are `packed` once (`forward`, by `tiles`, by `thin` ones where pictures have three channels), or `stored` with
//! each step, and have a `gradient`.

mod forward;
pub(crate) mod gradient;
pub(crate) mod packed;
pub(crate) mod stored;
#[cfg(test)]
mod tests;
mod thin;
mod tiles;
