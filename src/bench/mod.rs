//! How fast a network runs on this machine.
//!
//! - [`measure`] times a network's plan, or its training step, and gives a [`Measurement`];
//! - [`Measurement::doubts`] says what in it cannot be;
//! - [`Profile`] is the time of operators and modules.

mod measurement;
mod memory;
mod profile;
mod quantiles;
mod settings;
mod work;

pub use measurement::{Measurement, measure};
pub use memory::peak_memory;
pub use profile::{Profile, Share};
pub use quantiles::Quantiles;
pub use settings::{Mode, Settings};
