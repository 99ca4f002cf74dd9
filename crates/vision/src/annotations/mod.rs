//! Annotation files as they say it: COCO's JSON, for ground truth and for results, and Pascal VOC's XML.
//!
//! Readers hand out one record after another and judge nothing but the text: a field has its value, is absent, or
//! breaks a rule ([`Flaw`]), and whoever asks decides what that means. Evaluation stops at a flaw, data sets count it
//! as a defect, a detector's labels need only some of the records.

pub mod coco;
mod fault;
mod field;
mod id;
pub mod json;
pub mod results;
pub mod voc;

pub use fault::{Fault, text};
pub use field::{Field, Flaw, finite, needed};
pub use id::Id;
