//! Plans of one network for several input shapes.

use std::collections::BTreeMap;

use super::compile::compile;
use super::packed::Packed;
use super::supply::Supply;
use super::{Memory, Plan};
use crate::RuntimeError;
use network::graph::{Graph, Weights};

/// Plans that are kept.
const MAX_PLANS: usize = 16;

/// Plans for the input shapes that were needed lately. They share packed weights, and the memory of values, as only
/// one of them runs at a time.
#[derive(Debug)]
pub struct Plans {
    weights: Weights,
    packed: Packed,
    plans: BTreeMap<Vec<usize>, Plan>,
    /// The one that has the memory.
    latest: Vec<usize>,
}

impl Plans {
    /// No plan yet, for a network with these weights.
    pub fn new(weights: Weights) -> Plans {
        Plans { weights, packed: Packed::default(), plans: BTreeMap::new(), latest: Vec::new() }
    }

    /// The plan for an input shape. `graph` writes the network for it, always the same but for sizes.
    ///
    /// # Errors
    /// A graph that cannot be written, weights that do not fit it.
    pub fn of_shape(
        &mut self,
        shape: &[usize],
        graph: impl FnOnce() -> Result<Graph, RuntimeError>,
    ) -> Result<&mut Plan, RuntimeError> {
        let latest = std::mem::replace(&mut self.latest, shape.to_vec());
        let memory = match self.plans.get_mut(&latest) {
            Some(plan) if latest != shape => std::mem::take(&mut plan.buffers),
            _ => Memory::new(),
        };
        let is_kept = self.plans.contains_key(shape);
        if !is_kept {
            if self.plans.len() >= MAX_PLANS {
                self.plans.clear();
            }
            let plan = compile(&graph()?, &mut Supply::Lasting(&self.weights), &mut self.packed)?;
            self.plans.insert(shape.to_vec(), plan);
        }
        let missing = || RuntimeError::internal("", "a plan was compiled and is not there");
        let plan = self.plans.get_mut(shape).ok_or_else(missing)?;
        if !is_kept || latest != shape {
            plan.take_memory(memory);
        }
        Ok(plan)
    }
}
