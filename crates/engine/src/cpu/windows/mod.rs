//! Windows over the picture: their largest values, and weighted sums of rows and columns.

pub(crate) mod max_pool;
pub(crate) mod resample;
pub(crate) mod window;
