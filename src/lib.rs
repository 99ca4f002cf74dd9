//! `port` moves detector weights between frameworks and proves that nothing was lost on the way.
//!
//! The rooms of this library, each knowing only those before it:
//!
//! - [`mapping`] has the tables that relate names and forms of tensors of other code bases to the canonical ones;
//! - [`identify`] finds out which known network a file holds, and reads its weights under canonical names;
//! - [`detect`] turns pictures into detections with such a network;
//! - [`verify`] compares a network with its original and says why they differ;
//! - [`mod@bench`] measures how fast it runs.
//!
//! They stand on crates that know nothing of each other but what is said here: [`files`] (bytes on the disk),
//! [`converters`] (checkpoint files in and out; on `files`), [`network`] (graphs and the detectors that are known),
//! [`engine`] (runs a graph; on `network`) and [`vision`] (pictures, boxes, data sets, metrics; on `files`). The
//! command is a crate above this one. `docs/architecture.md` has the plan.
//!
//! The sample network, asked what it sees in a sample picture:
//!
//! ```
//! use std::path::Path;
//!
//! use port::detect::{Detector, Labels};
//! use port::identify::{Request, load};
//! use vision::pictures::read_image;
//!
//! let loaded = load(Path::new("samples/nanodet-plus-shapes.pth"), Request::default())?;
//! let facts = loaded.model.facts(loaded.model.usual_size());
//! let mut detector = Detector::new(&loaded.model, &loaded.weights, facts)?;
//! let labels = Labels::given("samples/shapes/annotations.json", loaded.model.classes())?;
//! let seen = detector.detect(&read_image(Path::new("samples/shapes/000001.jpg"))?)?;
//! for one in seen.iter().filter(|one| one.score > 0.35) {
//!     println!("{} {:.2} at {:?}", labels.name(one.class), one.score, one.corners);
//! }
//! # assert!(seen.iter().any(|one| one.score > 0.35));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod bench;
pub mod detect;
pub mod identify;
pub mod mapping;
pub mod verify;
