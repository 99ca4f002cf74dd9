//! What is to be measured, and how.

use serde::{Deserialize, Serialize};

/// What is done with a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Its deploy form runs.
    Inference,
    /// A step: forward with the statistics of the batch, backward from fixed gradients at the outputs, SGD.
    Training,
}

/// How to measure.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// What is timed.
    pub mode: Mode,
    /// `[N, 3, H, W]`.
    pub input: [usize; 4],
    /// The module at whose results the network ends, if not all of it is timed.
    pub until: Option<&'a str>,
    /// Timed runs.
    pub rounds: usize,
    /// Whether every step is timed as well, in as many runs more.
    pub profile: bool,
}
