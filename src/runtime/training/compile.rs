//! From a graph to the steps forward, with a record of what the steps back will need.

use std::collections::HashMap;
use std::sync::Arc;

use super::Training;
use super::convolution::{Convolution, ScratchSize};
use super::learned::{Layout, Learned};
use super::place::{Place, Storage};
use super::step::{Kernel, Step, Target};
use crate::graph::{Activation, Conv, Graph, Node, Op, Role, Value, Weights};
use crate::runtime::kernels::channels_last::Grid;
use crate::runtime::kernels::channels_last::channelwise::Channelwise;
use crate::runtime::kernels::channels_last::gradients::Function;
use crate::runtime::kernels::channels_last::normalise::{Normalisation, Together};
use crate::runtime::kernels::channels_last::taps;
use crate::runtime::kernels::resample::Resample;
use crate::runtime::{NormStatistics, RuntimeError};

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
    Multiply,
    /// Channels after one another, or points.
    Concatenation {
        axis: usize,
    },
    Shuffle {
        groups: usize,
    },
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
            (Op::Multiply, Some(left), Some(right)) => {
                self.pairwise(value, node, [left, right], Function::Product, Done::Multiply)
            }
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
        let order = || {
            let node = self.graph.node(value);
            RuntimeError::Order {
                module: node.map_or_else(String::new, |node| self.graph.path(node).to_owned()),
            }
        };
        self.places.get(&value).copied().ok_or_else(order)
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

    fn convolution(
        &mut self,
        value: Value,
        node: &Node,
        conv: &Conv,
        x: Value,
    ) -> Result<Done, RuntimeError> {
        let from = self.place(x)?;
        let Some(weight) = node.parameters.first().map(|id| id.index()) else {
            return self.reference(value, node);
        };
        let bias = node.parameters.get(1).map(|id| id.index());
        let reach = |axis: fn([usize; 2]) -> usize| {
            axis(conv.dilation) * (axis(conv.kernel) - 1) >= axis(conv.padding)
        };
        let fits = reach(|[height, _]| height) && reach(|[_, width]| width);
        let is_depthwise = conv.groups > 1 && conv.groups == from.channels && conv.out == conv.groups;
        if fits && is_depthwise && Channelwise::serves(conv.kernel) && from.grid.border == 0 {
            let own = Arc::new(Channelwise::new(taps::forward(conv), conv.kernel, from.channels));
            if let Layout::Channelwise(_) = self.layout(weight, || Layout::Channelwise(own.clone())) {
                self.write(value, node, vec![from], Kernel::Channelwise { own: own.clone(), weight, bias });
                return Ok(Done::Channelwise(own));
            }
        } else if fits && conv.groups == 1 {
            let padding = conv.padding.into_iter().max().unwrap_or(0);
            let is_bordered = padding > 0 && from.grid.border >= padding && from.grid.record == from.channels;
            if is_bordered || from.grid.border == 0 || padding == 0 {
                let own = Arc::new(Convolution::forward(conv, from.channels, is_bordered));
                if let Layout::Dense(_) = self.layout(weight, || Layout::Dense(own.clone())) {
                    self.scratch = self.scratch.union(own.scratch());
                    let kernel = Kernel::Dense { own: own.clone(), weight, bias };
                    self.write(value, node, vec![from], kernel);
                    return Ok(Done::Dense(own));
                }
            }
        }
        self.reference(value, node)
    }

    /// The layout of a parameter, chosen by the first that asks.
    fn layout(&mut self, parameter: usize, layout: impl FnOnce() -> Layout) -> &Layout {
        self.layouts.entry(parameter).or_insert_with(layout)
    }

    /// Whether a value has no user but a function of every element.
    fn is_joined(&self, value: Value) -> bool {
        let is_output = self.graph.outputs().iter().any(|(_, output)| *output == value);
        let user = match self.users.get(&value).map(Vec::as_slice) {
            Some([user]) => self.graph.node(*user),
            _ => None,
        };
        !is_output && user.is_some_and(|user| matches!(user.op, Op::Activation(_)))
    }

    fn norm(&mut self, value: Value, x: Value) -> Result<Done, RuntimeError> {
        match self.is_joined(value) {
            true => Ok(Done::Joined),
            false => self.normalised(value, x, value, None),
        }
    }

    fn normalised(
        &mut self,
        value: Value,
        x: Value,
        owner: Value,
        activation: Option<Activation>,
    ) -> Result<Done, RuntimeError> {
        let from = self.place(x)?;
        let (Some(node), Some(own)) = (self.graph.node(value), self.graph.node(owner)) else {
            return Err(RuntimeError::Order { module: String::new() });
        };
        let shape = <[usize; 4]>::try_from(node.shape.as_slice()).unwrap_or_default();
        let ids: Vec<usize> = own.parameters.iter().map(|id| id.index()).collect();
        let is_running = (self.training.statistics)(self.graph.path(own)) == NormStatistics::Running;
        let (together, epsilon, statistics, momentum) = match (own.op.clone(), ids.as_slice()) {
            (Op::GroupNorm { groups, epsilon }, _) => (Together::Groups(groups), epsilon, None, None),
            (Op::BatchNorm { epsilon, .. }, [_, _, mean, variance]) if is_running => {
                (Together::Given, epsilon, Some([*mean, *variance]), None)
            }
            (Op::BatchNorm { epsilon, momentum }, [_, _, mean, variance]) => {
                (Together::Batch, epsilon, Some([*mean, *variance]), Some(momentum))
            }
            _ => return self.reference(value, node),
        };
        let [Some(weight), Some(bias)] = [ids.first(), ids.get(1)] else {
            return self.reference(value, node);
        };
        let norm = self.norms.len();
        self.norms.push(Normalisation::new(together, epsilon, activation, shape));
        let kernel = Kernel::Normalise { norm, parameters: [*weight, *bias], statistics, momentum };
        self.write(value, node, vec![from], kernel);
        Ok(Done::Normalised { x, node: owner, norm })
    }

    fn activation(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        activation: Activation,
    ) -> Result<Done, RuntimeError> {
        if let (Some(Done::Joined), Some(norm)) = (self.done.get(&x), self.graph.node(x))
            && let Some(input) = norm.inputs.first().copied()
        {
            return self.normalised(value, input, x, Some(activation));
        }
        let from = self.place(x)?;
        if from.grid.border > 0 {
            return self.reference(value, node);
        }
        self.alongside(value, vec![from], Kernel::Each(Function::Activated(activation)));
        Ok(Done::Activation)
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

    /// Maps as points, points before channels: the numbers stay where they are.
    fn reordered(&mut self, value: Value, node: &Node, x: Value) -> Result<Done, RuntimeError> {
        let from = self.place(x)?;
        let shape = self.graph.node(x).map(|node| node.shape.clone()).unwrap_or_default();
        let is_channels_last = from.storage == Storage::ChannelsLast && from.grid.border == 0;
        let storage = match (&node.op, shape.as_slice()) {
            (Op::Reshape { shape: to }, [n, c, h, w]) if *to == [*n, *c, h * w] => Storage::ChannelsLast,
            (Op::Transpose { order }, [_, _, _]) if *order == [0, 2, 1] && from.is_packed() => {
                Storage::RowMajor
            }
            _ => return self.reference(value, node),
        };
        if !is_channels_last {
            return self.reference(value, node);
        }
        self.places.insert(value, Place { storage, ..from });
        Ok(Done::View { of: x, first: 0 })
    }

    fn concatenation(&mut self, value: Value, node: &Node, axis: usize) -> Result<Done, RuntimeError> {
        let parts = node.inputs.iter().map(|input| self.place(*input)).collect::<Result<Vec<_>, _>>()?;
        let fits = parts.iter().all(|part| part.storage == Storage::ChannelsLast);
        let whole = match (axis, node.shape.as_slice()) {
            (1, [_, _, _, _]) if fits => Place::packed(0, &node.shape),
            (1 | 2, [images, channels, points]) if fits => Place::points(0, [*images, *channels, *points]),
            _ => return self.reference(value, node),
        };
        let buffer = match self.concatenations.get(&value) {
            Some(buffer) => *buffer,
            None => self.buffer(whole.elements()),
        };
        let whole = Place { buffer, ..whole };
        for (part, place) in parts.iter().zip(within(&whole, axis, &parts)) {
            if *part != place {
                self.copy(value, *part, place);
            }
        }
        self.places.insert(value, whole);
        Ok(Done::Concatenation { axis })
    }

    /// Copies a value; by way of a third place where both lie in one buffer.
    fn copy(&mut self, value: Value, mut from: Place, place: Place) {
        if from.buffer == place.buffer {
            let Grid { images, height, width, .. } = from.grid;
            let grid = Grid::packed(images, [height, width], from.channels);
            let between = Place { buffer: self.buffer(grid.end()), grid, channel: 0, ..from };
            self.copy(value, from, between);
            from = between;
        }
        self.push(value, Kernel::Each(Function::First), vec![from], Some(Target { place, add: false }));
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
        let of = |(index, parameter): (usize, &crate::graph::Parameter)| {
            let layout = self.layouts.get(&index).cloned().unwrap_or(Layout::Plain);
            let empty = crate::graph::Array { shape: Vec::new(), data: Vec::new() };
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

/// The places of the parts of a concatenation.
pub(super) fn within(whole: &Place, axis: usize, parts: &[Place]) -> Vec<Place> {
    let mut offset = 0;
    let place = |part: &Place| {
        let start = offset;
        match axis {
            1 => {
                offset += part.channels;
                whole.part(start, part.channels)
            }
            _ => {
                offset += part.grid.pixels();
                whole.level(part, start)
            }
        }
    };
    parts.iter().map(place).collect()
}

fn concatenated(graph: &Graph) -> HashMap<Value, (Value, usize)> {
    let mut found = HashMap::new();
    for (value, node) in graph.values() {
        if !matches!(node.op, Op::Concat { axis: 1 }) || node.shape.len() != 4 {
            continue;
        }
        let mut offset = 0;
        for input in &node.inputs {
            found.entry(*input).or_insert((value, offset));
            offset += graph.node(*input).and_then(|part| part.shape.get(1).copied()).unwrap_or(0);
        }
    }
    found
}
