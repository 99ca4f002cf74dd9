//! 3x3 convolutions at stride 1 by Winograd's F(2x2, 3x3) and F(4x4, 3x3) (arXiv 1509.09308): four pixels of the result
//! are computed of sixteen of the input with 16 products for each pair of channels instead of 36, sixteen of 36 with 36
//! instead of 144.
//!
//! A block of tiles (`patch`) is transformed (`transform`), multiplied as 16 or 36 matrices by the transformed kernel, and
//! transformed back: by weights that are `packed` once, or `stored` and transformed (`weights`) with each step. Their
//! `gradient` multiplies transformed `operands`.

pub(crate) mod gradient;
mod operands;
pub(crate) mod packed;
mod patch;
pub(crate) mod stored;
#[cfg(test)]
mod tests;
pub(crate) mod tiling;
mod transform;
pub(crate) mod weights;
