//! A graph that is lowered: its steps forward and back, for one input shape.

use std::time::{Duration, Instant};

use super::backward::{Found, backward};
use super::convolution::takes;
use super::memory::{Sharing, share};
use super::places::Lower;
use super::step::{Step, Tools};
use super::weights::Source;
use crate::RuntimeError;
use crate::cpu::aligned::Aligned;
use crate::cpu::convolution::chosen::{Scratch, ScratchSize};
use crate::cpu::elements::planes::from_planes;
use crate::cpu::norm::normalisation::Normalisation;
use crate::cpu::place::Place;
use crate::cpu::team::Team;
use crate::store::Store;
use network::graph::rewrite::{Group, Groups, Takes, fuse};
use network::graph::{Graph, Node, Op, Value};

/// The steps of a graph.
#[derive(Debug)]
pub(crate) struct Program {
    graph: Graph,
    forward: Vec<Step>,
    backward: Vec<Step>,
    norms: Vec<Normalisation>,
    input: Place,
    input_shape: Vec<usize>,
    outputs: Vec<Output>,
    /// Whether its weights are in a store, so that it can go back.
    trains: bool,
    /// Parameters that have gradients.
    reached: Vec<usize>,
    /// Floats of each buffer, the largest first.
    sizes: Vec<usize>,
    scratch: ScratchSize,
}

/// An output by its name.
#[derive(Debug)]
struct Output {
    name: String,
    shape: Vec<usize>,
    place: Place,
    /// Where its gradient is put; nothing if no parameter depends on it.
    gradient: Option<Place>,
}

/// What programs work in, one after another.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    buffers: Vec<Aligned>,
    scratch: Scratch,
}

impl Memory {
    /// Makes sure that there is as much as a program needs, and that the border around its input is zero: it is read and
    /// never written.
    pub(crate) fn fit(&mut self, program: &Program) {
        let count = program.sizes.len().max(self.buffers.len());
        self.buffers.resize_with(count, Aligned::default);
        for (buffer, size) in self.buffers.iter_mut().zip(&program.sizes) {
            if buffer.floats().len() < *size {
                // The old one goes before the new one comes.
                *buffer = Aligned::default();
                *buffer = Aligned::zeros(*size);
            }
        }
        self.buffers
            .iter_mut()
            .skip(program.input.buffer)
            .take(1)
            .for_each(|buffer| buffer.floats_mut().fill(0.0));
        self.scratch.grow(program.scratch);
    }

    fn buffer(&mut self, place: &Place) -> Result<&mut [f32], RuntimeError> {
        let missing = || RuntimeError::internal("", "a plan runs without its memory");
        Ok(self.buffers.get_mut(place.buffer).ok_or_else(missing)?.floats_mut())
    }
}

/// Called with each step: its kernel, the path of the module that its result belongs to, and the time that it took.
pub(crate) type Observer<'a> = dyn FnMut(&'static str, &str, Duration) + Send + 'a;

/// Lowers a graph for its input shape. Gradients are made where the weights are in a store.
///
/// # Errors
/// Weights that do not fit, an operator that cannot be lowered.
pub(crate) fn lower(graph: &Graph, source: Source<'_>) -> Result<Program, RuntimeError> {
    let is_packed = matches!(source, Source::Packed(_));
    let Groups { groups, applied } = fuse(graph, |node| taken_along(graph, node, is_packed));
    let mut lower = Lower::new(graph, source, applied);
    for group in &groups {
        visit(&mut lower, group)?;
    }
    let named = graph.outputs().iter().map(|(_, value)| Ok((*value, lower.place(*value)?)));
    let named: Vec<(Value, Place)> = named.collect::<Result<_, RuntimeError>>()?;
    let forward = std::mem::take(&mut lower.steps);
    let found = backward(&mut lower, &forward, &named)?;
    finish(lower, forward, named, found)
}

/// What is computed together with an operator.
fn taken_along(graph: &Graph, node: &Node, is_packed: bool) -> Takes {
    let is_map = node.shape.len() == 4;
    let activation = match &node.op {
        Op::BatchNorm { .. } | Op::GroupNorm { .. } => is_map,
        Op::Scale => is_map && is_packed,
        Op::Add => is_packed,
        _ if is_packed => return takes(graph, node),
        _ => false,
    };
    Takes { activation, ..Takes::default() }
}

fn visit(lower: &mut Lower<'_>, group: &Group) -> Result<(), RuntimeError> {
    let graph = lower.graph;
    let missing = || RuntimeError::internal("", "a group names a node that is not there");
    let (value, node) = (group.result, graph.node(group.root).ok_or_else(missing)?);
    match &node.op {
        Op::Input => lower.input(value, node),
        Op::Conv(_) | Op::DeformConv(_) => lower.convolution(group, node),
        Op::BatchNorm { .. } | Op::GroupNorm { .. } | Op::Scale => lower.norm(group, node),
        Op::Activation(function) => lower.activation(value, lower.one(node)?, *function),
        Op::Add => lower.add(group, node),
        Op::Multiply => lower.multiply(value, node),
        Op::Concat { axis } => lower.join(value, node, *axis),
        Op::Slice { .. } => lower.slice(value, node),
        Op::ChannelShuffle { groups } => lower.channel_shuffle(value, node, *groups),
        Op::Reshape { .. } => lower.reshape(value, node),
        Op::Transpose { order } => lower.transpose(value, node, order),
        Op::Softmax { .. } | Op::TopK { .. } | Op::Mean { .. } => lower.along(value, node),
        Op::MatMul => lower.matrix_product(value, node),
        Op::MaxPool(_) | Op::AveragePool(_) | Op::AdaptiveAveragePool { .. } | Op::Resize { .. } => {
            lower.windows(value, node)
        }
    }
}

fn finish(
    mut lower: Lower<'_>,
    mut forward: Vec<Step>,
    named: Vec<(Value, Place)>,
    found: Found,
) -> Result<Program, RuntimeError> {
    let graph = lower.graph;
    let nothing = || RuntimeError::internal("", "there is no input");
    let input_value = graph.inputs().first().copied().ok_or_else(nothing)?;
    let mut input = lower.place(input_value)?;
    let places = named.into_iter().zip(found.seeds);
    let mut outputs: Vec<Output> = graph
        .outputs()
        .iter()
        .zip(places)
        .map(|((name, value), ((_, place), gradient))| Output {
            name: name.clone(),
            shape: lower.shape(*value).to_vec(),
            place,
            gradient,
        })
        .collect();
    let mut backward = std::mem::take(&mut lower.steps);
    let sizes = lower.sizes();
    let kept = kept(&input, &outputs, [forward.len(), backward.len()]);
    let Sharing { sizes, numbers } = share(&sizes, forward.iter().chain(&backward), &kept)?;
    let renumber = |buffer: &mut usize| *buffer = numbers.get(*buffer).copied().unwrap_or(*buffer);
    forward.iter_mut().chain(&mut backward).for_each(|step| step.renumber(|part| renumber(&mut part.buffer)));
    renumber(&mut input.buffer);
    for Output { place, gradient, .. } in &mut outputs {
        renumber(&mut place.buffer);
        gradient.iter_mut().for_each(|place| renumber(&mut place.buffer));
    }
    Ok(Program {
        graph: graph.clone(),
        forward,
        backward,
        norms: std::mem::take(&mut lower.norms),
        input,
        input_shape: lower.shape(input_value).to_vec(),
        outputs,
        trains: !lower.is_packed(),
        reached: found.reached.into_iter().collect(),
        sizes,
        scratch: lower.scratch,
    })
}

/// Steps at which values are used from outside. The border of the input is never written again, so nothing else may lie
/// there; gradients of outputs come between the two ways.
fn kept(input: &Place, outputs: &[Output], [forward, backward]: [usize; 2]) -> Vec<(usize, usize)> {
    let end = forward + backward;
    let mut kept = vec![(input.buffer, 0), (input.buffer, end)];
    for Output { place, gradient, .. } in outputs {
        kept.push((place.buffer, end));
        kept.extend(gradient.as_ref().map(|place| (place.buffer, forward.saturating_sub(1))));
    }
    kept
}

impl Program {
    /// Whether it can go back.
    pub(crate) fn trains(&self) -> bool {
        self.trains
    }

    /// Shape of the input, `[N, C, H, W]`.
    pub(crate) fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// Computes the outputs for an input, row-major; with a store that is trained also moves running statistics.
    ///
    /// # Errors
    /// An input of another size, or an operator that fails.
    pub(crate) fn forward(
        &mut self,
        memory: &mut Memory,
        store: &mut Store,
        input: &[f32],
        observer: Option<&mut Observer<'_>>,
    ) -> Result<(), RuntimeError> {
        if input.len() != self.input_shape.iter().product::<usize>() {
            return Err(RuntimeError::Input { expected: self.input_shape.clone(), found: vec![input.len()] });
        }
        let Program { graph, forward, norms, input: place, .. } = self;
        Team::gather(|team| {
            memory.scratch.reserve(team);
            from_planes(team, input, memory.buffer(place)?, place.grid, &place.positions);
            let Memory { buffers, scratch } = memory;
            run(forward, Tools { team, graph, scratch, norms, store }, buffers, observer)
        })?;
        store.pass();
        Ok(())
    }

    /// Computes the gradients of all parameters from those of outputs, row-major, of the pass before. Outputs that are
    /// not named have a gradient of zero.
    ///
    /// # Errors
    /// A gradient of an unknown output or of another size, or an operator that fails.
    pub(crate) fn backward(
        &mut self,
        memory: &mut Memory,
        store: &mut Store,
        gradients: &[(&str, &[f32])],
        observer: Option<&mut Observer<'_>>,
    ) -> Result<(), RuntimeError> {
        if !self.trains {
            let what =
                "a network that was made to be run has no gradients: make it with what is trained".to_owned();
            return Err(RuntimeError::Unsupported { what });
        }
        gradients.iter().try_for_each(|(name, _)| self.named(name).map(|_| ()))?;
        for Output { name, shape, gradient, .. } in &self.outputs {
            let elements: usize = shape.iter().product();
            let given = gradients.iter().find(|(own, _)| own == name).map(|(_, numbers)| *numbers);
            if let Some(found) = given.filter(|given| given.len() != elements) {
                return Err(RuntimeError::Input { expected: shape.clone(), found: vec![found.len()] });
            }
            let Some(place) = gradient else { continue };
            let buffer = memory.buffer(place)?;
            match given {
                Some(numbers) => place.write(numbers, buffer),
                None => place.clear(buffer),
            }
        }
        let Program { graph, backward, norms, reached, .. } = self;
        Team::gather(|team| {
            memory.scratch.reserve(team);
            let Memory { buffers, scratch } = memory;
            run(backward, Tools { team, graph, scratch, norms, store }, buffers, observer)
        })?;
        store.reach(reached.iter().copied());
        Ok(())
    }

    /// Writes the numbers of an output of the last pass, row-major, into `numbers`.
    ///
    /// # Errors
    /// An output that the network does not have.
    pub(crate) fn output(
        &self,
        memory: &Memory,
        name: &str,
        numbers: &mut Vec<f32>,
    ) -> Result<(), RuntimeError> {
        let Output { shape, place, .. } = self.named(name)?;
        let missing = || RuntimeError::internal("", "a plan is read without its memory");
        let buffer = memory.buffers.get(place.buffer).ok_or_else(missing)?;
        numbers.resize(shape.iter().product(), 0.0);
        place.read(buffer.floats(), numbers);
        Ok(())
    }

    fn named(&self, name: &str) -> Result<&Output, RuntimeError> {
        let unknown = || RuntimeError::NoOutput {
            name: name.to_owned(),
            outputs: self.outputs.iter().map(|output| output.name.clone()).collect(),
        };
        self.outputs.iter().find(|output| output.name == name).ok_or_else(unknown)
    }

    /// Operators that go to the reference.
    pub(crate) fn without_kernel(&self) -> impl Iterator<Item = &'static str> + '_ {
        let steps = self.forward.iter().filter(|step| step.is_reference());
        steps.filter_map(|step| self.graph.node(step.value).map(|node| node.op.name()))
    }
}

fn run(
    steps: &[Step],
    mut tools: Tools<'_>,
    buffers: &mut [Aligned],
    mut observer: Option<&mut Observer<'_>>,
) -> Result<(), RuntimeError> {
    for step in steps {
        let start = Instant::now();
        step.run(&mut tools, buffers)?;
        if let Some(observer) = &mut observer {
            let module = tools.graph.node(step.value).map_or("", |node| tools.graph.path(node));
            observer(step.name(), module, start.elapsed());
        }
    }
    Ok(())
}
