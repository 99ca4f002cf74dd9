//! A graph compiled for one input shape, f32, on the CPU.
//!
//! Inside, the channels of a pixel follow each other. Operators take what follows them along, results are written into
//! their place in a concatenation where nothing is in the way, and values and gradients share buffers by liveness:
//! nothing is allocated once a plan has run. Numbers do not depend on the number of threads: tasks are parts of results,
//! and no sum is split.

use std::time::Duration;

use crate::lower::{Memory, Packed, PackedWeights, Program, Source, StoredWeights, Supply, lower};
use crate::store::{Factors, Rule, Store};
use crate::{RuntimeError, Training};
use network::graph::{Array, Graph, Weights};

/// A graph that is ready to run, or to be trained.
#[derive(Debug)]
pub struct Plan {
    program: Program,
    memory: Memory,
    store: Store,
}

impl Plan {
    /// A plan that runs a graph. Each of its weights is let go of once it is packed. Batch norms should have been folded.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn new(graph: &Graph, weights: Weights) -> Result<Plan, RuntimeError> {
        let mut packed = Packed::default();
        let supply = Supply::last(graph, weights);
        let program = lower(graph, Source::Packed(PackedWeights { supply, packed: &mut packed }))?;
        Ok(Plan::of(program, Store::empty()))
    }

    /// A plan that trains a graph. What no trained parameter comes before has no gradient computed. Batch norms must not
    /// have been folded.
    ///
    /// # Errors
    /// Weights that do not fit, an operator without a way back.
    pub fn training(graph: &Graph, weights: &Weights, training: &Training) -> Result<Plan, RuntimeError> {
        let store = Store::new(graph, weights, &*training.group)?;
        let stored = StoredWeights { layout: store.layout(), statistics: &*training.statistics };
        let program = lower(graph, Source::Stored(stored))?;
        Ok(Plan::of(program, store))
    }

    fn of(program: Program, store: Store) -> Plan {
        let mut memory = Memory::default();
        memory.fit(&program);
        Plan { program, memory, store }
    }

    /// Shape of the input, `[N, C, H, W]`.
    pub fn input_shape(&self) -> &[usize] {
        self.program.input_shape()
    }

    /// Computes the outputs for an input, row-major; a plan that trains also moves running statistics.
    ///
    /// # Errors
    /// An input of another size, or an operator that fails.
    pub fn forward(&mut self, input: &[f32]) -> Result<(), RuntimeError> {
        let Plan { program, memory, store } = self;
        program.forward(memory, store, input, None)
    }

    /// Computes the gradients of all parameters from those of outputs, row-major, of the pass before. Outputs that are
    /// not named have a gradient of zero.
    ///
    /// # Errors
    /// A plan that only runs, a gradient of an unknown output or of another size than it, or an operator that fails.
    pub fn backward(&mut self, gradients: &[(&str, &[f32])]) -> Result<(), RuntimeError> {
        let Plan { program, memory, store } = self;
        program.backward(memory, store, gradients, None)
    }

    /// Runs forward, and backward if it trains, and shows what each step took: its kernel, the path of its module, and
    /// the time.
    ///
    /// # Errors
    /// As [`Plan::forward`] and [`Plan::backward`].
    pub fn profile(
        &mut self,
        input: &[f32],
        gradients: &[(&str, &[f32])],
        mut observer: impl FnMut(&'static str, &str, Duration) + Send,
    ) -> Result<(), RuntimeError> {
        let Plan { program, memory, store } = self;
        program.forward(memory, store, input, Some(&mut observer))?;
        match program.trains() {
            true => program.backward(memory, store, gradients, Some(&mut observer)),
            false => Ok(()),
        }
    }

    /// Writes the numbers of an output of the last pass, row-major, into `numbers`.
    ///
    /// # Errors
    /// An output that the network does not have.
    pub fn output(&self, name: &str, numbers: &mut Vec<f32>) -> Result<(), RuntimeError> {
        self.program.output(&self.memory, name, numbers)
    }

    /// The gradient of a parameter, in the parameter's own order; `None` if it has none.
    ///
    /// # Errors
    /// None but a mistake of this program.
    pub fn gradient(&self, name: &str) -> Result<Option<Array>, RuntimeError> {
        self.store.gradient(name)
    }

    /// Changes the parameters by their gradients, each group with its factors.
    ///
    /// # Errors
    /// A group without factors.
    pub fn apply(&mut self, rule: &Rule, factors: &[Factors]) -> Result<(), RuntimeError> {
        self.store.apply(rule, factors)
    }

    /// What is trained; of a plan that only runs it is empty.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What is trained, to be restored.
    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// The parameters as they are now; none if they were packed.
    ///
    /// # Errors
    /// None but a mistake of this program.
    pub fn weights(&self) -> Result<Weights, RuntimeError> {
        self.store.weights()
    }

    /// Operators that go to the reference.
    pub fn without_kernel(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.program.without_kernel()
    }
}
