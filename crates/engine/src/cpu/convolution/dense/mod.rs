//! Convolutions in which every result channel sees every input channel.

pub(crate) mod gradient;
pub(crate) mod packed;
pub(crate) mod stored;
#[cfg(test)]
pub(crate) mod tests;
mod thin;
mod tiles;
