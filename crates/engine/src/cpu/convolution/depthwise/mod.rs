//! Convolutions of every channel with its own kernel.

pub(crate) mod packed;
pub(crate) mod stored;
#[cfg(test)]
mod tests;
