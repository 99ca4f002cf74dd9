//! Reading a data set from its files: a file for each format finds them and parses what is in them, `run` looks at
//! the pictures and puts all together.

mod bytes;
mod coco;
mod request;
mod run;
mod voc;
mod yolo;

pub use request::{Loaded, Request};
pub use run::load;
