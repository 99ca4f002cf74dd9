//! Runs a network, forward and back.

mod cpu;
mod error;
mod lower;
mod plan;
mod reference;
mod resample;
mod statistics;
mod store;

pub use cpu::instructions::instructions;
pub use cpu::peak::peak_flops;
pub use error::RuntimeError;
pub use plan::{Plan, Training};
pub use reference::*;
pub use statistics::NormStatistics;
pub use store::{Factors, Group, Rule, Store};
