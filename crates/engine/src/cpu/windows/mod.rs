//! Windows over the picture.

pub(crate) mod max_pool;
pub(crate) mod resample;
