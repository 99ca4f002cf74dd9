//! Convolutions and their gradients.
//!
//! Weights are *packed* once, as inference does, or *stored* where they change between runs, as training does. `taps`
//! says which pixels a pixel is made of, `panel` which result channels are summed up together, `epilogue` what is done
//! with sums before they are stored.

#[cfg(test)]
mod case;
pub(crate) mod chosen;
pub(crate) mod deformable;
pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod epilogue;
pub(crate) mod panel;
pub(crate) mod taps;
pub(crate) mod winograd;
