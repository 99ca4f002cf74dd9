//! The networks: one file each, a function that writes the graph from a configuration.
//!
//! - [`Model`] is a network of any family, written in a [`Form`];
//! - [`FAMILIES`] lists what is known, with presets and how a checkpoint's shapes tell the configuration;
//! - [`nanodet_plus`] is NanoDet-Plus, on the backbone ShuffleNetV2.
//! - [`DetectorFacts`] is what belongs to a detector beside its network.

mod detector;
mod evidence;
mod family;
pub mod nanodet_plus;
mod shufflenet;

pub use detector::{ChannelOrder, DetectorFacts, Head, Preprocessing, Resize, Selection, Size};
pub use evidence::Shapes;
pub use family::{FAMILIES, Family, Form, Model, Preset, preset};
