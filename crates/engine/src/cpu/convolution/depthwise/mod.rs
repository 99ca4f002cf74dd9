//! Convolutions of every channel with its own kernel: weights are `packed` once, or `stored` with each step and have a
//! `gradient`.

mod gradient;
pub(crate) mod packed;
pub(crate) mod stored;
#[cfg(test)]
mod tests;
