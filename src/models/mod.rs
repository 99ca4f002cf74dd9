//! The networks: one file each, a function that writes the graph from a configuration.
//!
//! - [`Network`] is what a configuration gives; [`Model`] is one of any family, written in a [`Form`];
//! - [`FAMILIES`] lists what is known, with presets and how a checkpoint's shapes tell the configuration;
//! - [`nanodet_plus`] is NanoDet-Plus, on the backbone ShuffleNetV2.
//! - [`DetectorFacts`] is what belongs to a detector beside its network.

mod detector;
mod evidence;
mod family;
pub mod nanodet_plus;
mod network;
mod shufflenet;

pub use detector::{
    ChannelOrder, ClassShift, DetectorFacts, Frame, Head, Preprocessing, Resize, Scores, Selection, Sides,
    Size,
};
pub use evidence::{Shapes, vote};
pub use family::{Family, Form, Preset, family, preset};
pub use network::{Model, Network};

/// All families.
pub const FAMILIES: &[&Family] = &[&nanodet_plus::FAMILY];
