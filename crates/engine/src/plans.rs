//! A network on the CPU for any input shape: a plan for each, one store, one memory.

use std::fmt;

use crate::engine::{Engine, Writer};
use crate::lower::{Memory, Packed, PackedWeights, Program, Source, StoredWeights, Supply, lower};
use crate::store::{Factors, Rule, Store};
use crate::{RuntimeError, Training};
use network::graph::{Array, Graph, Weights};

/// Plans that are kept: a bound on what steps take where a detector meets pictures of many shapes. A choice, not
/// measured; beyond it the plan goes that has not run for the longest time.
const MAX_PLANS: usize = 16;

/// A network for the input shapes that were needed lately. Its plans share weights, and the memory of values, as only
/// one of them runs at a time.
pub(crate) struct Plans {
    writer: Writer,
    weights: Held,
    store: Store,
    /// The one that ran last comes last.
    programs: Vec<([usize; 4], Program)>,
    memory: Memory,
}

/// Where weights come from when a plan is made.
enum Held {
    /// They are packed, for good.
    Packed { weights: Weights, packed: Packed },
    /// They are in the store.
    Stored(Training),
}

impl Plans {
    /// A network that is trained, or, without `training`, only run, ready for inputs of one shape.
    ///
    /// # Errors
    /// A shape that the network cannot take, weights that do not fit.
    pub(crate) fn new(
        writer: Writer,
        shape: [usize; 4],
        weights: Weights,
        training: Option<Training>,
    ) -> Result<Plans, RuntimeError> {
        let graph = writer(shape)?;
        let (weights, store) = match training {
            None => (Held::Packed { weights, packed: Packed::default() }, Store::empty()),
            Some(training) => {
                let store = Store::new(&graph, &weights, &*training.group)?;
                (Held::Stored(training), store)
            }
        };
        let mut plans = Plans { writer, weights, store, programs: Vec::new(), memory: Memory::default() };
        plans.add(shape, &graph)?;
        Ok(plans)
    }

    /// Makes a plan, the last from now on.
    fn add(&mut self, shape: [usize; 4], graph: &Graph) -> Result<(), RuntimeError> {
        let source = match &mut self.weights {
            Held::Packed { weights, packed } => {
                Source::Packed(PackedWeights { supply: Supply::Lasting(weights), packed })
            }
            Held::Stored(training) => {
                self.store.layout().check(graph)?;
                Source::Stored(StoredWeights {
                    layout: self.store.layout(),
                    statistics: &*training.statistics,
                })
            }
        };
        let program = lower(graph, source)?;
        if self.programs.len() >= MAX_PLANS {
            self.programs.remove(0);
        }
        self.memory.fit(&program);
        self.programs.push((shape, program));
        Ok(())
    }

    /// Makes the plan for a shape the last.
    fn choose(&mut self, shape: [usize; 4]) -> Result<(), RuntimeError> {
        let Some(at) = self.programs.iter().position(|(own, _)| *own == shape) else {
            let graph = (self.writer)(shape)?;
            return self.add(shape, &graph);
        };
        if at + 1 < self.programs.len() {
            let chosen = self.programs.remove(at);
            self.memory.fit(&chosen.1);
            self.programs.push(chosen);
        }
        Ok(())
    }

    fn last(&self) -> Result<&Program, RuntimeError> {
        self.programs.last().map(|(_, program)| program).ok_or_else(no_plan)
    }
}

fn no_plan() -> RuntimeError {
    RuntimeError::internal("", "there is no plan")
}

impl Engine for Plans {
    fn forward(&mut self, shape: [usize; 4], input: &[f32]) -> Result<(), RuntimeError> {
        self.choose(shape)?;
        let (_, program) = self.programs.last_mut().ok_or_else(no_plan)?;
        program.forward(&mut self.memory, &mut self.store, input, None)
    }

    fn output(&self, name: &str, numbers: &mut Vec<f32>) -> Result<(), RuntimeError> {
        self.last()?.output(&self.memory, name, numbers)
    }

    fn backward(&mut self, gradients: &[(&str, &[f32])]) -> Result<(), RuntimeError> {
        let (_, program) = self.programs.last_mut().ok_or_else(no_plan)?;
        program.backward(&mut self.memory, &mut self.store, gradients, None)
    }

    fn gradient(&self, name: &str) -> Result<Option<Array>, RuntimeError> {
        self.store.gradient(name)
    }

    fn apply(&mut self, rule: &Rule, factors: &[Factors]) -> Result<(), RuntimeError> {
        self.store.apply(rule, factors)
    }

    fn weights(&self) -> Result<Weights, RuntimeError> {
        self.store.weights()
    }
}

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes: Vec<[usize; 4]> = self.programs.iter().map(|(shape, _)| *shape).collect();
        f.debug_struct("Plans").field("shapes", &shapes).finish_non_exhaustive()
    }
}
