//! A network on the CPU for any input shape: a plan for each, one store, one memory.

use std::collections::BTreeMap;

use crate::engine::{Engine, Writer};
use crate::lower::{Memory, Packed, PackedWeights, Program, Source, StoredWeights, Supply, lower};
use crate::plan::Training;
use crate::store::{Factors, Rule, Store};
use crate::{NormStatistics, RuntimeError};
use network::graph::{Array, Graph, Weights};

/// Plans that are kept. A detector that takes pictures as they come meets a few shapes again and again; a choice that
/// bounds what steps take, not measured. Beyond it the plan that ran least lately goes.
const MAX_PLANS: usize = 16;

/// A network for the input shapes that were needed lately. Its plans share weights, and the memory of values, as only
/// one of them runs at a time.
pub(crate) struct CpuEngine {
    writer: Writer,
    weights: Held,
    store: Store,
    /// The one that ran last comes last.
    programs: Vec<([usize; 4], Program)>,
    memory: Memory,
}

/// Where weights are.
enum Held {
    /// In packed form, and as they were given.
    Packed { weights: Weights, packed: Packed },
    /// In the store.
    Stored(Training<'static>),
    /// Given, but in no store yet, which wants a graph.
    Waiting { weights: Weights, training: Training<'static> },
}
