//! From a graph to the steps of a plan.
//!
//! 1. Nodes that are computed together become groups ([`fuse`](network::graph::rewrite::fuse)).
//! 2. Each group gets its steps and its value a place: a file for each kind of operator ([`convolution`], [`norm`],
//!    [`elements`], [`windows`], [`rows`], [`joins`]), in which what is computed, how it is lowered and how its steps are
//!    walked back stand together. What has no kernel goes to the [`mod@reference`].
//! 3. Where gradients are wanted, the list of steps is the tape: [`backward`] walks it from its end.
//! 4. Values share [`memory`] by liveness, over both ways.
//!
//! Weights are packed for good ([`packed`]), layer by layer, or stay in the store and change there: that is all in which
//! inference and training differ.

mod backward;
mod convolution;
mod elements;
mod joins;
mod memory;
mod norm;
mod packed;
mod places;
mod program;
mod reference;
mod rows;
mod step;
mod supply;
mod weights;
mod windows;
mod written;

pub(crate) use self::packed::Packed;
use self::places::Lower;
pub(crate) use self::program::{Memory, Program, lower};
pub(crate) use self::supply::Supply;
pub(crate) use self::weights::{PackedWeights, Source, StoredWeights};
