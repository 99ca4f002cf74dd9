//! From a graph to the steps forward, with a record of what the steps back will need.

use std::collections::HashMap;
use std::sync::Arc;

mod joined;
mod layers;
mod plain;

use self::joined::concatenated;
pub(super) use self::joined::within;
pub(super) use self::plain::matrices;
use crate::RuntimeError;
use crate::kernels::channels_last::Grid;
use crate::kernels::channels_last::axis::{Along, Axis};
use crate::kernels::channels_last::channelwise::Channelwise;
use crate::kernels::channels_last::gradients::Function;
use crate::kernels::channels_last::normalise::Normalisation;
use crate::resample::Resample;
use crate::training::Training;
use crate::training::convolution::{Convolution, ScratchSize};
use crate::training::learned::{Layout, Learned};
use crate::training::place::{Place, Storage};
use crate::training::step::{Kernel, Step, Target};
use network::graph::{Graph, Node, Op, Role, Value, Weights};

/// How a value was computed.
#[derive(Debug, Clone)]
pub(super) enum Done {
    /// The value of another node is this one, or part of it: it has no numbers of its own.
    View {
        of: Value,
        first: usize,
    },
    Dense(Arc<Convolution>),
    Channelwise(Arc<Channelwise>),
    /// A normalisation of `x`, and its number; `node` has the parameters.
    Normalised {
        x: Value,
        node: Value,
        norm: usize,
    },
    /// Computed by the node that takes it.
    Joined,
    Activation,
    Add,
    /// By values of the same size, or by one with a single channel.
    Multiply,
    /// Channels after one another, or points.
    Concatenation {
        axis: usize,
    },
    /// Of row-major values.
    PlainConcatenation {
        axis: usize,
    },
    Shuffle {
        groups: usize,
    },
    Reshape,
    Transpose,
    Along {
        along: Along,
        axis: Axis,
    },
    MatrixProduct,
    Scale,
    MaxPool,
    /// What makes the gradient of the input.
    Resample(Arc<Resample>),
    Reference,
    Input,
}

/// A compilation.
pub(super) struct Compiler<'a> {
    pub(super) graph: &'a Graph,
    pub(super) weights: &'a Weights,
    pub(super) training: &'a Training<'a>,
    pub(super) users: HashMap<Value, Vec<Value>>,
    /// The concatenation of channels that a value is the first to be part of, and the channels before it.
    concatenated: HashMap<Value, (Value, usize)>,
    concatenations: HashMap<Value, usize>,
    pub(super) places: HashMap<Value, Place>,
    /// Where values lie row-major beside their place.
    plain_copies: HashMap<Value, Place>,
    pub(super) done: HashMap<Value, Done>,
    /// Whether a gradient is needed, for every node.
    pub(super) needs: Vec<bool>,
    pub(super) norms: Vec<Normalisation>,
    layouts: HashMap<usize, Layout>,
    /// Floats of every value or gradient.
    pub(super) sizes: Vec<usize>,
    pub(super) steps: Vec<Step>,
    /// What convolutions need to work in.
    pub(super) scratch: ScratchSize,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(graph: &'a Graph, weights: &'a Weights, training: &'a Training<'a>) -> Compiler<'a> {
        let mut users: HashMap<Value, Vec<Value>> = HashMap::new();
        for (value, node) in graph.values() {
            node.inputs.iter().for_each(|input| users.entry(*input).or_default().push(value));
        }
        Compiler {
            graph,
            weights,
            training,
            users,
            concatenated: concatenated(graph),
            concatenations: HashMap::new(),
            places: HashMap::new(),
            plain_copies: HashMap::new(),
            done: HashMap::new(),
            needs: Vec::new(),
            norms: Vec::new(),
            layouts: HashMap::new(),
            sizes: Vec::new(),
            steps: Vec::new(),
            scratch: ScratchSize::default(),
        }
    }

    /// Steps for all nodes, in order.
    pub(super) fn forward(&mut self) -> Result<(), RuntimeError> {
        for (value, node) in self.graph.values() {
            let trains = node.parameters.iter().any(|id| self.trains(id.index()));
            let is_needed = |input: &Value| self.needs.get(input.index()).copied().unwrap_or(false);
            let needs = trains || node.inputs.iter().any(is_needed);
            self.needs.push(needs);
            let done = self.visit(value, node)?;
            self.done.insert(value, done);
        }
        Ok(())
    }

    /// Whether a parameter is trained.
    pub(super) fn trains(&self, parameter: usize) -> bool {
        let parameter = self.graph.parameters().get(parameter);
        parameter.is_some_and(|own| own.role.is_trainable() && (self.training.trains)(own))
    }

    fn visit(&mut self, value: Value, node: &Node) -> Result<Done, RuntimeError> {
        let [first, second] = [node.inputs.first().copied(), node.inputs.get(1).copied()];
        match (&node.op, first, second) {
            (Op::Input, ..) => Ok(self.input(value, node)),
            (Op::Conv(conv), Some(x), _) => self.convolution(value, node, conv, x),
            (Op::BatchNorm { .. } | Op::GroupNorm { .. }, Some(x), _) => self.norm(value, x),
            (Op::Activation(activation), Some(x), _) => self.activation(value, node, x, *activation),
            (Op::Scale, Some(x), _) => {
                let from = self.place(x)?;
                let factor = node.parameters.first().map_or(0, |id| id.index());
                self.alongside(value, vec![from], Kernel::Scale(factor));
                Ok(Done::Scale)
            }
            (Op::Add, Some(left), Some(right)) => {
                self.pairwise(value, node, [left, right], Function::Sum, Done::Add)
            }
            (Op::Multiply, Some(left), Some(right)) => self.product(value, node, [left, right]),
            (Op::Concat { axis }, ..) => self.concatenation(value, node, *axis),
            (Op::Slice { axis: 1, start, length }, Some(x), _) if node.shape.len() == 4 => {
                let place = self.place(x)?.part(*start, *length);
                self.places.insert(value, place);
                Ok(Done::View { of: x, first: *start })
            }
            (Op::ChannelShuffle { groups }, Some(x), _) => {
                let from = self.place(x)?;
                let each = (from.channels / groups).max(1);
                let order = (0..from.channels).map(|channel| channel % groups * each + channel / groups);
                let order: Vec<usize> = order.collect();
                self.write(value, node, vec![from], Kernel::Deal(order));
                Ok(Done::Shuffle { groups: *groups })
            }
            (Op::Reshape { .. } | Op::Transpose { .. }, Some(x), _) => self.reordered(value, node, x),
            (Op::Softmax { axis }, Some(x), _) => self.along(value, node, x, (Along::Softmax, *axis)),
            (Op::TopK { axis, count }, Some(x), _) => {
                self.along(value, node, x, (Along::TopK(*count), *axis))
            }
            (Op::Mean { axis }, Some(x), _) => self.along(value, node, x, (Along::Mean, *axis)),
            (Op::MatMul, Some(left), Some(right)) => self.matrix_product(value, node, [left, right]),
            (Op::MaxPool(pool), Some(x), _) => {
                let from = self.place(x)?;
                self.write(value, node, vec![from], Kernel::MaxPool(*pool));
                Ok(Done::MaxPool)
            }
            (Op::AveragePool(_) | Op::AdaptiveAveragePool { .. } | Op::Resize { .. }, Some(x), _) => {
                self.resample(value, node, x)
            }
            _ => self.reference(value, node),
        }
    }

    /// The input, with a border as wide as the padding of the convolutions that see it.
    fn input(&mut self, value: Value, node: &Node) -> Done {
        let mut place = Place::packed(0, &node.shape);
        if let [images, channels, height, width] = *node.shape.as_slice() {
            let users = self.users.get(&value).into_iter().flatten();
            let padding = users.filter_map(|user| match self.graph.node(*user).map(|node| &node.op) {
                Some(Op::Conv(conv)) if conv.groups == 1 => conv.padding.into_iter().max(),
                _ => None,
            });
            place.grid = Grid::bordered(images, [height, width], channels, padding.max().unwrap_or(0));
        }
        place.buffer = self.buffer(place.grid.end());
        self.places.insert(value, place);
        Done::Input
    }

    /// A new buffer.
    pub(super) fn buffer(&mut self, size: usize) -> usize {
        self.sizes.push(size);
        self.sizes.len() - 1
    }

    pub(super) fn place(&self, value: Value) -> Result<Place, RuntimeError> {
        let missing = || {
            let module = self.graph.node(value).map_or("", |node| self.graph.path(node));
            RuntimeError::internal(module, "a value is used before it is computed")
        };
        self.places.get(&value).copied().ok_or_else(missing)
    }

    pub(super) fn push(
        &mut self,
        value: Value,
        kernel: Kernel,
        operands: Vec<Place>,
        target: Option<Target>,
    ) {
        self.steps.push(Step { value, kernel, operands, targets: vec![target] });
    }

    /// A place for the result of a node: in its concatenation, unless operands lie there.
    fn target(&mut self, value: Value, node: &Node, operands: &[Place]) -> Place {
        if let Some((concatenation, offset)) = self.concatenated.get(&value).copied()
            && let Some(whole) = self.graph.node(concatenation)
        {
            let buffer = match self.concatenations.get(&concatenation) {
                Some(buffer) => *buffer,
                None => {
                    let buffer = self.buffer(whole.shape.iter().product());
                    self.concatenations.insert(concatenation, buffer);
                    buffer
                }
            };
            if operands.iter().all(|place| place.buffer != buffer) {
                let channels = node.shape.get(1).copied().unwrap_or(0);
                return Place::packed(buffer, &whole.shape).part(offset, channels);
            }
        }
        let mut place = Place::packed(0, &node.shape);
        place.buffer = self.buffer(place.grid.end());
        place
    }

    fn write(&mut self, value: Value, node: &Node, operands: Vec<Place>, kernel: Kernel) {
        let place = self.target(value, node, &operands);
        self.places.insert(value, place);
        self.push(value, kernel, operands, Some(Target { place, add: false }));
    }

    /// A result with its pixels where those of the operands are.
    fn alongside(&mut self, value: Value, operands: Vec<Place>, kernel: Kernel) {
        let Some(node) = self.graph.node(value) else { return };
        match operands.first() {
            Some(first) if node.shape.len() != 4 => {
                let buffer = self.buffer(first.elements());
                let Grid { images, height, width, .. } = first.grid;
                let grid = Grid::packed(images, [height, width], first.channels);
                let place = Place { buffer, grid, channel: 0, ..*first };
                self.places.insert(value, place);
                self.push(value, kernel, operands, Some(Target { place, add: false }));
            }
            _ => self.write(value, node, operands, kernel),
        }
    }

    /// The layout of a parameter, chosen by the first that asks.
    fn layout(&mut self, parameter: usize, layout: impl FnOnce() -> Layout) -> &Layout {
        self.layouts.entry(parameter).or_insert_with(layout)
    }

    fn pairwise(
        &mut self,
        value: Value,
        node: &Node,
        [left, right]: [Value; 2],
        function: Function,
        done: Done,
    ) -> Result<Done, RuntimeError> {
        let places = [self.place(left)?, self.place(right)?];
        let [one, other] = places;
        if !one.is_parallel(&other) || one.storage != other.storage {
            return self.reference(value, node);
        }
        self.alongside(value, places.to_vec(), Kernel::Each(function));
        Ok(done)
    }

    fn product(&mut self, value: Value, node: &Node, operands: [Value; 2]) -> Result<Done, RuntimeError> {
        let [left, right] = [self.place(operands[0])?, self.place(operands[1])?];
        let is_by_pixel =
            right.channels == 1 && left.is_parallel(&Place { channels: left.channels, ..right });
        if is_by_pixel && [left, right].iter().all(|place| place.storage == Storage::ChannelsLast) {
            self.write(value, node, vec![left, right], Kernel::Each(Function::ProductByPixel));
            return Ok(Done::Multiply);
        }
        self.pairwise(value, node, operands, Function::Product, Done::Multiply)
    }

    fn resample(&mut self, value: Value, node: &Node, x: Value) -> Result<Done, RuntimeError> {
        let from = self.place(x)?;
        let (op, size) = (node.op.clone(), [from.grid.height, from.grid.width]);
        let make = move || match &op {
            Op::AveragePool(pool) => Resample::average(pool, size),
            Op::AdaptiveAveragePool { size: to } => Resample::adaptive_average(size, *to),
            Op::Resize { mode, size: to } => Resample::resize(*mode, size, *to),
            _ => Resample::adaptive_average(size, size),
        };
        self.write(value, node, vec![from], Kernel::Resample(make()));
        Ok(Done::Resample(make().transposed(size).into()))
    }

    fn reference(&mut self, value: Value, node: &Node) -> Result<Done, RuntimeError> {
        for id in &node.parameters {
            self.layout(id.index(), || Layout::Plain);
        }
        let operands = node.inputs.iter().map(|input| self.place(*input)).collect::<Result<Vec<_>, _>>()?;
        let mut place = Place::packed(0, &node.shape);
        place.buffer = self.buffer(place.grid.end());
        self.places.insert(value, place);
        self.push(value, Kernel::Reference, operands, Some(Target { place, add: false }));
        Ok(Done::Reference)
    }

    /// The parameters; those in `reached` have gradients.
    pub(super) fn learned(&self, reached: impl Fn(usize) -> bool) -> Result<Vec<Learned>, RuntimeError> {
        let of = |(index, parameter): (usize, &network::graph::Parameter)| {
            let layout = self.layouts.get(&index).cloned().unwrap_or(Layout::Plain);
            let empty = network::graph::Array { shape: Vec::new(), data: Vec::new() };
            let array = match (&parameter.role, self.weights.get(&parameter.name)) {
                (Role::BatchCount, None) => &empty,
                (Role::BatchCount, Some(array)) => array,
                _ => self.weights.of(parameter)?,
            };
            Ok(Learned::new(parameter, array, layout, reached(index)))
        };
        self.graph.parameters().iter().enumerate().map(of).collect()
    }
}
