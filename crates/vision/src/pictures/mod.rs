//! Pictures: reading, sizes, drawing.
//!
//! [`read_image`] turns files of strangers into 8-bit RGB, upright, within [`MAX_PIXELS`] and [`MAX_SIDE`];
//! [`read_picture_head`] asks only for the size. [`resize()`] samples as OpenCV does, [`draw()`] marks boxes.

mod draw;
mod error;
mod jpeg;
mod limits;
mod read;
mod resize;
mod size;

pub use draw::{Mark, draw};
pub use error::Error;
pub use limits::{MAX_PIXELS, MAX_SIDE, MIN_SIDE};
pub use read::{EXTENSIONS, PictureHead, decode_image, read_image, read_picture_head};
pub use resize::resize;
pub use size::PictureSize;
