//! Convolutions and their gradients.
//!
//! Weights are *packed* once, as inference does, or *stored* where they change between runs, as training does.
//! `taps` says which pixels a pixel is made of.

pub(crate) mod deformable;
pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod taps;
pub(crate) mod winograd;
