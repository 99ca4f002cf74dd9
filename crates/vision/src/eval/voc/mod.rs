//! Pascal VOC's metric, with the rules of its development kit.
//!
//! A [`Scene`] is what is evaluated; it comes from COCO's structures ([`Scene::of_coco`]) or from the kit's own files
//! ([`read_ground_truth`], [`add_results`]). [`evaluate`] gives the average precision of every class in both ways of VOC's history.

mod devkit;
mod metric;
mod scene;

pub use devkit::{DevkitTruth, add_results, read_ground_truth};
pub use metric::{ClassResult, Settings, evaluate, mean_average_precision};
pub use scene::{Class, Detection, Object, Scene};
