//! From pictures to detections.
//!
//! A picture ([`vision::pictures`]) is fitted into the network's input ([`preprocess()`]), the network's output
//! decoded into boxes and scores ([`decode()`]), and the detections selected ([`select`]) and placed on the picture.
//! A [`Detector`] does all of this; [`Labels`] names classes, [`draw()`] shows detections,
//! [`coco`] writes them for evaluation.

mod annotations;
pub mod coco;
mod decode;
mod detector;
mod draw;
mod error;
mod labels;
mod nms;
mod placement;
mod preprocess;

pub use annotations::Annotations;
pub use decode::{Decoded, decode, priors};
pub use detector::{Detector, Timings};
pub use draw::draw;
pub use error::Error;
pub use labels::Labels;
pub use nms::{Detection, detections, select};
pub use placement::Placement;
pub use preprocess::{normalise, preprocess, resample};
