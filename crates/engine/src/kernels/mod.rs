//! The fast kernels.

pub(super) mod channels_last;
