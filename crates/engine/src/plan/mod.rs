//! The inference plan: a graph compiled for one input shape, f32, on the CPU.
//!
//! Inside, the channels of a pixel follow each other. Convolutions take their activation and residual along, results
//! are written into their place in a concatenation where nothing is in the way, slices and shuffles of channels only
//! say where channels are, weights are packed once, and buffers are shared by values that do not live at the same
//! time. What has no kernel yet goes to the reference executor, node by node. Numbers do not depend on the number of
//! threads: no sum is split.

mod buffers;
mod compile;
mod packed;
mod place;
mod plans;
mod step;
mod supply;

use std::time::{Duration, Instant};

use self::packed::Packed;
use self::place::Place;
pub use self::plans::Plans;
use self::step::{Reference, Step, Tools};
use self::supply::Supply;
use super::RuntimeError;
use super::kernels::channels_last::aligned::Aligned;
use super::kernels::channels_last::elementwise::from_planes;
use super::kernels::channels_last::team::Team;
use super::kernels::channels_last::workspaces::Workspaces;
use network::graph::{Graph, Weights};

/// A graph that is ready to run.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    /// Floats that each buffer needs.
    sizes: Vec<usize>,
    buffers: Memory,
    workspaces: Workspaces,
    input: Place,
    input_shape: Vec<usize>,
    outputs: Vec<Output>,
    reference: Reference,
}

/// Buffers, in which values lie one after another.
type Memory = Vec<Aligned>;

#[derive(Debug)]
struct Output {
    name: String,
    shape: Vec<usize>,
    place: Place,
}

impl Plan {
    /// A plan for a graph and its weights, each of which is let go of once it is packed. Batch norms should have been
    /// folded.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn new(graph: &Graph, weights: Weights) -> Result<Plan, RuntimeError> {
        let mut supply = Supply::last(graph, weights);
        let mut plan = compile::compile(graph, &mut supply, &mut Packed::default())?;
        drop(supply);
        plan.take_memory(Memory::new());
        Ok(plan)
    }

    /// Takes over what another plan has worked in, and more where that is not enough.
    fn take_memory(&mut self, memory: Memory) {
        self.buffers = memory;
        let count = self.sizes.len().max(self.buffers.len());
        self.buffers.resize_with(count, Aligned::default);
        for (buffer, size) in self.buffers.iter_mut().zip(&self.sizes) {
            if buffer.floats().len() < *size {
                *buffer = Aligned::default();
                *buffer = Aligned::zeros(*size);
            }
        }
        // The border around the input is read and never written.
        if let Some(buffer) = self.buffers.get_mut(self.input.buffer) {
            buffer.floats_mut().fill(0.0);
        }
    }

    /// Shape of the input, `[N, C, H, W]`.
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// Computes the outputs for an input, row-major.
    ///
    /// # Errors
    /// An input of another size, or an operator that fails.
    pub fn run(&mut self, input: &[f32]) -> Result<(), RuntimeError> {
        self.each_step(input, |step, tools, buffers| step.run(tools, buffers))
    }

    /// Runs the plan and shows what each step took: its operator, the path of the module that its result belongs to,
    /// and the time.
    ///
    /// # Errors
    /// As [`Plan::run`].
    pub fn profile(
        &mut self,
        input: &[f32],
        mut observer: impl FnMut(&'static str, &str, Duration) + Send,
    ) -> Result<(), RuntimeError> {
        self.each_step(input, |step, tools, buffers| {
            let start = Instant::now();
            step.run(tools, buffers)?;
            let (time, graph) = (start.elapsed(), &tools.reference.graph);
            let module = graph.node(step.value).map_or("", |node| graph.path(node));
            observer(step.kernel.name(), module, time);
            Ok(())
        })
    }

    fn each_step(
        &mut self,
        input: &[f32],
        mut run: impl FnMut(&Step, Tools<'_>, &mut [Aligned]) -> Result<(), RuntimeError> + Send,
    ) -> Result<(), RuntimeError> {
        if input.len() != self.input_shape.iter().product::<usize>() {
            return Err(RuntimeError::Input { expected: self.input_shape.clone(), found: vec![input.len()] });
        }
        let Plan { steps, buffers, workspaces, input: place, reference, .. } = self;
        let workspace = steps.iter().map(|step| step.kernel.workspace()).max().unwrap_or(0);
        Team::gather(|team| {
            workspaces.reserve(team.threads(), workspace);
            let tools = Tools { team, workspaces, reference };
            if let Some(buffer) = buffers.get_mut(place.buffer) {
                from_planes(team, input, buffer.floats_mut(), place.grid, &place.positions);
            }
            steps.iter().try_for_each(|step| run(step, tools, buffers))
        })
    }

    /// Shape of an output of the last run.
    pub fn output_shape(&self, name: &str) -> Option<&[usize]> {
        self.outputs.iter().find(|output| output.name == name).map(|output| output.shape.as_slice())
    }

    /// Writes the numbers of an output of the last run, row-major, into `numbers`; `None` if there is no such output.
    pub fn output(&self, name: &str, numbers: &mut Vec<f32>) -> Option<()> {
        let output = self.outputs.iter().find(|output| output.name == name)?;
        numbers.resize(output.shape.iter().product(), 0.0);
        output.place.read(self.buffers.get(output.place.buffer)?.floats(), numbers);
        Some(())
    }

    /// Operators that go to the reference executor.
    pub fn without_kernel(&self) -> impl Iterator<Item = &'static str> + '_ {
        let of = |step: &Step| match &step.kernel {
            step::Kernel::Reference { value, .. } => {
                self.reference.graph.node(*value).map(|node| node.op.name())
            }
            _ => None,
        };
        self.steps.iter().filter_map(of)
    }
}
