//! Data sets of COCO, Pascal VOC and YOLO, read into one form.
//!
//! Parsers turn bytes into drafts ([`coco`], [`voc`], [`yolo`], with [`yaml`] and [`names`] for lists of classes):
//! pure functions that know no files. [`load()`] finds the files and the pictures, whose heads say how large they are.
//! [`draft::assemble`] then settles every image's size, judges every box ([`Shape`], [`Bounds`]) and counts what is
//! wrong ([`Defects`]). The result is a [`DataSet`], which can be counted ([`Statistics`]), parted ([`split()`]) and
//! written in any of the formats ([`store()`]).

pub mod coco;
mod defect;
pub mod draft;
mod error;
mod fault;
mod format;
mod judge;
mod load;
mod name;
pub mod names;
mod pictures;
mod set;
mod split;
mod statistics;
mod store;
pub mod voc;
pub mod yaml;
pub mod yolo;

pub use crate::boxes::{Bounds, Shape};
pub use crate::pictures::PictureSize;
pub use defect::{Defect, Defects, EXAMPLES, Effect, Reason};
pub use error::Error;
pub use fault::Fault;
pub use format::Format;
pub use judge::BORDER_TOLERANCE;
pub use load::{Loaded, Request, load};
pub use set::{Category, DataSet, Image, Object};
pub use split::{Ratio, RatioError, split};
pub use statistics::{ClassCounts, LARGE, SMALL, SizeCounts, Statistics};
pub use store::{Losses, Pictures, Stored, losses, store};
