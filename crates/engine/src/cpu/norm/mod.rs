//! Normalisation: `group` norm of inference, and `normalisation` by batch or groups with its `gradient`.

mod gradient;
pub(crate) mod group;
pub(crate) mod normalisation;
mod passes;
mod sums;
