//! From pictures to detections.
//!
//! A picture is read ([`read_image`]), fitted into the network's input ([`preprocess`]), the network's output
//! decoded into boxes and scores ([`decode`]), and the detections selected ([`select`]) and placed on the picture.
//! A [`Detector`] does all of this; [`Labels`] names classes, [`draw`] shows detections, [`coco`] writes them for evaluation.

pub mod coco;
mod decode;
mod detector;
mod draw;
mod error;
mod image;
mod jpeg;
mod labels;
mod nms;
mod placement;
mod preprocess;
mod resize;

pub use decode::{Decoded, decode, priors};
pub use detector::{Detector, Timings};
pub use draw::draw;
pub use error::Error;
pub use image::{EXTENSIONS, MAX_PIXELS, MAX_SIDE, MIN_SIDE, PictureHead};
pub use image::{decode_image, read_image, read_picture_head};
pub use labels::Labels;
pub use nms::{Detection, detections, select};
pub use placement::Placement;
pub use preprocess::{normalise, preprocess, resample};
pub use resize::resize;
