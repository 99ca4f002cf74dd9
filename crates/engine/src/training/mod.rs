//! The training plan: a graph compiled for one input shape, forward, backward and the step of the optimiser, f32, on
//! the CPU.
//!
//! As in the inference plan the channels of a pixel follow each other. Both ways are compiled at once, so that it is
//! known which values the way back needs and for how long: values and gradients share buffers by liveness. Weights
//! are kept in the order in which convolutions want them and change in place. What has no kernel goes to the
//! reference executor, forward and backward, node by node. Numbers do not depend on the number of threads: tasks
//! are parts of results, and no sum is split by them.
//!
//! - `compile` makes the steps forward, `backward` those back, `memory` gives them buffers;
//! - `step` runs them; `reference` those without a kernel;
//! - `learned` holds parameters, their gradients and momentum.

mod backward;
mod compile;
mod convolution;
mod learned;
mod memory;
mod place;
mod reference;
mod step;

use std::time::{Duration, Instant};

use self::backward::Backward;
use self::compile::Compiler;
use self::convolution::Scratch;
use self::place::Place;
use self::reference::Reference;
use self::step::{Kernel, State, Step};
use super::kernels::channels_last::elementwise::from_planes;
use super::kernels::channels_last::team::Team;
use super::{NormStatistics, RuntimeError};
use network::graph::{Array, Graph, Parameter, Role, Weights};

/// What is trained.
pub struct Training<'a> {
    /// Whether a parameter is trained; buffers never are.
    pub trains: &'a dyn Fn(&Parameter) -> bool,
    /// Where the batch norm of a module, by its path, takes its statistics from.
    pub statistics: &'a dyn Fn(&str) -> NormStatistics,
}

impl Training<'_> {
    /// Every parameter, with the statistics of the batch.
    pub const ALL: Training<'static> = Training { trains: &|_| true, statistics: &|_| NormStatistics::Batch };
}

/// Stochastic gradient descent as `torch.optim.SGD` does it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// Factor of a step.
    pub learning_rate: f32,
    /// Share of the velocity that stays; 0 for none.
    pub momentum: f32,
    /// Share of the gradient that does not go into the velocity.
    pub dampening: f32,
    /// Factor of the weights that is added to gradients.
    pub weight_decay: f32,
    /// Nesterov's momentum: the step looks ahead along the velocity.
    pub nesterov: bool,
}

impl Sgd {
    /// Changes weights by one step; `velocities` are empty where there is no momentum.
    fn descend(&self, weights: &mut [f32], gradients: &[f32], velocities: &[f32]) {
        if self.momentum == 0.0 {
            for (weight, gradient) in weights.iter_mut().zip(gradients) {
                *weight -= self.learning_rate * (gradient + self.weight_decay * *weight);
            }
            return;
        }
        for ((weight, gradient), velocity) in weights.iter_mut().zip(gradients).zip(velocities) {
            let gradient = gradient + self.weight_decay * *weight;
            let step = if self.nesterov { gradient + self.momentum * velocity } else { *velocity };
            *weight -= self.learning_rate * step;
        }
    }
}

/// A graph that is ready to be trained.
#[derive(Debug)]
pub struct TrainingPlan {
    forward: Vec<Step>,
    backward: Vec<Step>,
    state: State,
    input: Place,
    input_shape: Vec<usize>,
    outputs: Vec<Output>,
    /// Passes forward, which batch norms count.
    passes: u32,
}

#[derive(Debug)]
struct Output {
    name: String,
    shape: Vec<usize>,
    place: Place,
    /// Where its gradient is put; nothing if no parameter depends on it.
    gradient: Option<Place>,
}

impl TrainingPlan {
    /// A plan that trains all of a graph. Batch norms must not have been folded.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn new(graph: &Graph, weights: &Weights) -> Result<TrainingPlan, RuntimeError> {
        TrainingPlan::of(graph, weights, &Training::ALL)
    }

    /// A plan that trains what `training` says. What no trained parameter comes before has no gradient computed.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn of(
        graph: &Graph,
        weights: &Weights,
        training: &Training<'_>,
    ) -> Result<TrainingPlan, RuntimeError> {
        let mut compiler = Compiler::new(graph, weights, training);
        compiler.forward()?;
        let mut forward = std::mem::take(&mut compiler.steps);
        let mut way_back = Backward::new(&mut compiler);
        let seeds = way_back.compile()?;
        let reached = way_back.reached;
        let mut backward = std::mem::take(&mut compiler.steps);
        let Some(input_value) = graph.inputs().first().copied() else {
            return Err(RuntimeError::internal("", "there is no input"));
        };
        let mut input = compiler.place(input_value)?;
        let mut outputs = Vec::new();
        for ((name, value), gradient) in graph.outputs().iter().zip(seeds) {
            let shape = graph.node(*value).map(|node| node.shape.clone()).unwrap_or_default();
            outputs.push(Output { name: name.clone(), shape, place: compiler.place(*value)?, gradient });
        }
        // The border of the input is never written again, so nothing else may lie there.
        let (start, end) = (0, forward.len() + backward.len());
        let mut kept = vec![(input.buffer, start), (input.buffer, end)];
        for output in &outputs {
            kept.push((output.place.buffer, end));
            kept.extend(output.gradient.map(|place| (place.buffer, forward.len().saturating_sub(1))));
        }
        let mut steps: Vec<&mut Step> = forward.iter_mut().chain(&mut backward).collect();
        let (buffers, numbers) = memory::share(&compiler.sizes, &mut steps, &kept);
        let renumber = |place: &mut Place| place.buffer = numbers.get(place.buffer).copied().unwrap_or(0);
        renumber(&mut input);
        for output in &mut outputs {
            renumber(&mut output.place);
            output.gradient.iter_mut().for_each(renumber);
        }
        let state = State {
            buffers,
            learned: compiler.learned(|parameter| reached.contains(&parameter))?,
            reference: Reference::new(graph),
            scratch: Scratch::new(compiler.scratch),
            norms: compiler.norms,
        };
        let input_shape = graph.node(input_value).map(|node| node.shape.clone()).unwrap_or_default();
        Ok(TrainingPlan { forward, backward, state, input, input_shape, outputs, passes: 0 })
    }

    /// Computes the outputs for an input, row-major, and moves running statistics.
    ///
    /// # Errors
    /// An input of another size, or an operator that fails.
    pub fn forward(&mut self, input: &[f32]) -> Result<(), RuntimeError> {
        self.forward_observed(input, |_, _, _| ())
    }

    fn forward_observed(
        &mut self,
        input: &[f32],
        observer: impl FnMut(&'static str, &str, Duration) + Send,
    ) -> Result<(), RuntimeError> {
        if input.len() != self.input_shape.iter().product::<usize>() {
            return Err(RuntimeError::Input { expected: self.input_shape.clone(), found: vec![input.len()] });
        }
        let TrainingPlan { forward, state, input: place, .. } = self;
        Team::gather(|team| {
            state.scratch.reserve(team);
            let positions: [usize; 16] = std::array::from_fn(|channel| channel);
            if let (Some(buffer), Some(positions)) =
                (state.buffers.get_mut(place.buffer), positions.get(..place.channels))
            {
                from_planes(team, input, buffer.floats_mut(), place.grid, positions);
            }
            each_step(forward, team, state, observer)
        })?;
        self.passes += 1;
        Ok(())
    }

    /// Computes the gradients of all parameters from those of outputs, row-major, of the pass before. Outputs that
    /// are not named have a gradient of zero.
    ///
    /// # Errors
    /// A gradient of another size than its output, or an operator that fails.
    pub fn backward(&mut self, gradients: &[(&str, &[f32])]) -> Result<(), RuntimeError> {
        self.backward_observed(gradients, |_, _, _| ())
    }

    fn backward_observed(
        &mut self,
        gradients: &[(&str, &[f32])],
        observer: impl FnMut(&'static str, &str, Duration) + Send,
    ) -> Result<(), RuntimeError> {
        for Output { name, shape, gradient, .. } in &self.outputs {
            let given = gradients.iter().find(|(own, _)| own == name).map(|(_, numbers)| *numbers);
            if let Some(found) = given.filter(|given| given.len() != shape.iter().product::<usize>()) {
                return Err(RuntimeError::Input { expected: shape.clone(), found: vec![found.len()] });
            }
            let Some(place) = gradient else { continue };
            let Some(buffer) = self.state.buffers.get_mut(place.buffer) else { continue };
            match given {
                Some(numbers) => place.write(numbers, buffer.floats_mut(), false),
                None => buffer.floats_mut().iter_mut().take(place.grid.end()).for_each(|slot| *slot = 0.0),
            }
        }
        let TrainingPlan { backward, state, .. } = self;
        Team::gather(|team| {
            state.scratch.reserve(team);
            each_step(backward, team, state, observer)
        })
    }

    /// Runs forward and backward and shows what each step took: its kernel, the path of its module, and the time.
    ///
    /// # Errors
    /// As [`TrainingPlan::forward`] and [`TrainingPlan::backward`].
    pub fn profile(
        &mut self,
        input: &[f32],
        gradients: &[(&str, &[f32])],
        mut observer: impl FnMut(&'static str, &str, Duration) + Send,
    ) -> Result<(), RuntimeError> {
        self.forward_observed(input, &mut observer)?;
        self.backward_observed(gradients, &mut observer)
    }

    /// Changes the parameters by their gradients.
    pub fn step(&mut self, sgd: &Sgd) {
        let learned = &mut self.state.learned;
        Team::gather(|team| learned.iter_mut().for_each(|own| own.step(team, sgd)));
    }

    /// Writes the numbers of an output of the last pass, row-major, into `numbers`; `None` if there is no such output.
    pub fn output(&self, name: &str, numbers: &mut Vec<f32>) -> Option<()> {
        let output = self.outputs.iter().find(|output| output.name == name)?;
        numbers.resize(output.shape.iter().product(), 0.0);
        output.place.read(self.state.buffers.get(output.place.buffer)?.floats(), numbers);
        Some(())
    }

    /// The gradient of a parameter, in the parameter's own order; `None` if it has none.
    pub fn gradient(&self, name: &str) -> Option<Array> {
        let own = self.state.learned.iter().find(|own| own.parameter.name == name && own.has_gradient)?;
        Some(Array { shape: own.parameter.shape.clone(), data: own.gradient_numbers() })
    }

    /// The parameters as they are now.
    pub fn weights(&self) -> Weights {
        let of = |own: &learned::Learned| {
            let mut data = own.numbers();
            if own.parameter.role == Role::BatchCount {
                data.iter_mut().for_each(|count| *count += self.passes as f32);
            }
            (own.parameter.name.clone(), Array { shape: own.parameter.shape.clone(), data })
        };
        self.state.learned.iter().map(of).collect()
    }

    /// Floats of the buffers that values and gradients share.
    pub fn shared_floats(&self) -> usize {
        self.state.buffers.iter().map(|buffer| buffer.floats().len()).sum()
    }

    /// Operators that go to the reference executor.
    pub fn without_kernel(&self) -> impl Iterator<Item = &'static str> + '_ {
        let steps = self.forward.iter().filter(|step| matches!(step.kernel, Kernel::Reference));
        steps.filter_map(|step| self.state.reference.graph().node(step.value).map(|node| node.op.name()))
    }
}

fn each_step(
    steps: &[Step],
    team: &Team,
    state: &mut State,
    mut observer: impl FnMut(&'static str, &str, Duration),
) -> Result<(), RuntimeError> {
    for step in steps {
        let start = Instant::now();
        step.run(team, state)?;
        let time = start.elapsed();
        let graph = state.reference.graph();
        observer(step.kernel.name(), graph.node(step.value).map_or("", |node| graph.path(node)), time);
    }
    Ok(())
}
