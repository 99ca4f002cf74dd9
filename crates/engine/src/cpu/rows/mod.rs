//! Row-major numbers: along an axis, with axes in another order, as matrices.

pub(crate) mod axis;
pub(crate) mod product;
pub(crate) mod transpose;
