//! The networks: one file each, a function that writes the graph from a configuration.
//!
//! - [`Network`] is what a configuration gives; [`Model`] is one of any family, written in a [`Form`];
//! - [`FAMILIES`] lists what is known, with presets and how a checkpoint's shapes tell the configuration;
//! - [`gfocal_v2`] is GFocalV2 and GFL, on a [`ResNet`] and an [`Fpn`];
//! - [`gold_yolo`] is Gold-YOLO, with its backbones of RepVGG and other blocks;
//! - [`nanodet_plus`] is NanoDet-Plus, on the backbone ShuffleNetV2;
//! - [`DetectorFacts`] is what belongs to a detector beside its network.

mod catalogue;
mod detector;
mod evidence;
mod fpn;
pub mod gfocal_v2;
pub mod gold_yolo;
pub mod nanodet_plus;
mod network;
pub mod points;
mod resnet;
mod shufflenet;

pub use catalogue::{FAMILIES, family, preset};
pub use detector::{
    ChannelOrder, ClassShift, DetectorFacts, Frame, Head, Preprocessing, Resize, Scores, Selection, Sides,
    Size,
};
pub use evidence::{Shapes, vote};
pub use fpn::{ExtraLevels, Fpn};
pub use network::{Family, Form, Model, Network, Preset};
pub use resnet::{Block, Deformable, ResNet};
