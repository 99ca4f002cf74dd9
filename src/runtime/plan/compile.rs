//! From a graph to steps.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::DType;

use super::buffers::Buffers;
use super::packed::Packed;
use super::place::{Form, Place};
use super::step::{Kernel, Part, Reference, Step};
use super::{Output, Plan};
use crate::graph::{Activation, Conv, Graph, GraphError, Node, Op, Value, Weights};
use crate::runtime::RuntimeError;
use crate::runtime::kernels::channels_last::dense::{Dense, Layout};
use crate::runtime::kernels::channels_last::depthwise::Depthwise;
use crate::runtime::kernels::channels_last::instructions::Instructions;
use crate::runtime::kernels::channels_last::norm::Groups;
use crate::runtime::kernels::channels_last::{Grid, Run, runs};
use crate::runtime::kernels::resample::Resample;
use crate::runtime::parameters::Parameters;

/// Compiles a graph for its input shape; the plan has no memory yet.
pub(super) fn compile(graph: &Graph, weights: &Weights, packed: &mut Packed) -> Result<Plan, RuntimeError> {
    let mut compiler = Compiler {
        graph,
        weights,
        packed,
        instructions: Instructions::get(),
        uses: graph.uses(),
        users: users(graph),
        targets: targets(graph),
        places: HashMap::new(),
        waiting: HashMap::new(),
        concatenations: HashMap::new(),
        buffers: Buffers::default(),
        steps: Vec::new(),
    };
    for (value, node) in graph.values() {
        compiler.visit(value, node)?;
    }
    compiler.finish()
}

/// The nodes that take each value.
fn users(graph: &Graph) -> HashMap<Value, Vec<Value>> {
    let mut users: HashMap<Value, Vec<Value>> = HashMap::new();
    for (value, node) in graph.values() {
        node.inputs.iter().for_each(|input| users.entry(*input).or_default().push(value));
    }
    users
}

/// A place in a concatenation.
#[derive(Debug, Clone, Copy)]
struct Target {
    concatenation: Value,
    /// Channels, or points, before it.
    offset: usize,
}

/// The place in a concatenation where each value may be written at once; the first of several. Values that are
/// reshaped into points count as those.
fn targets(graph: &Graph) -> HashMap<Value, Target> {
    let mut targets = HashMap::new();
    for (concatenation, node) in graph.values() {
        let axis = match (&node.op, node.shape.len()) {
            (Op::Concat { axis: 1 }, 4) => 1,
            (Op::Concat { axis: 2 }, 3) => 2,
            _ => continue,
        };
        let mut offset = 0;
        for input in &node.inputs {
            let Some(part) = graph.node(*input) else { continue };
            let target = Target { concatenation, offset };
            match (&part.op, part.inputs.first()) {
                (Op::Reshape { .. }, Some(map)) if axis == 2 => targets.entry(*map).or_insert(target),
                _ => targets.entry(*input).or_insert(target),
            };
            offset += part.shape.get(axis).copied().unwrap_or(0);
        }
    }
    targets
}

/// A convolution whose result may still take an addition or a function along.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    convolution: Value,
    residual: Option<Value>,
    activation: Option<Activation>,
}

struct Compiler<'a> {
    graph: &'a Graph,
    weights: &'a Weights,
    packed: &'a mut Packed,
    instructions: Instructions,
    /// How often each value is still to be used.
    uses: Vec<usize>,
    users: HashMap<Value, Vec<Value>>,
    targets: HashMap<Value, Target>,
    places: HashMap<Value, Place>,
    waiting: HashMap<Value, Waiting>,
    /// Buffers of concatenations, of which some parts may have been written.
    concatenations: HashMap<Value, usize>,
    buffers: Buffers,
    steps: Vec<Step>,
}

impl Compiler<'_> {
    fn visit(&mut self, value: Value, node: &Node) -> Result<(), RuntimeError> {
        let [first, second] = [node.inputs.first().copied(), node.inputs.get(1).copied()];
        match (&node.op, first, second) {
            (Op::Input, ..) => self.input(value, node),
            (Op::Conv(conv), Some(x), _) if has_kernel(conv, self.graph.node(x)) => {
                let waiting = Waiting { convolution: value, residual: None, activation: None };
                self.wait_or_write(value, waiting)?;
            }
            (Op::Activation(activation), Some(x), _) => match self.waiting.remove(&x) {
                Some(waiting) => {
                    self.write(value, Waiting { activation: Some(*activation), ..waiting })?;
                }
                None => self.activation(value, x, *activation)?,
            },
            (Op::BatchNorm { epsilon, .. }, Some(x), _) if node.shape.len() == 4 => {
                self.batch_norm(value, node, x, *epsilon)?;
            }
            (Op::Scale, Some(x), _) if node.shape.len() == 4 => self.scale(value, node, x)?,
            (Op::GroupNorm { groups, epsilon }, Some(x), _) if node.shape.len() == 4 => {
                self.group_norm(value, node, x, (*groups, *epsilon))?;
            }
            (Op::Add, Some(left), Some(right)) => self.add(value, left, right)?,
            (Op::Multiply, Some(left), Some(right)) => self.multiply(value, left, right)?,
            (Op::Concat { axis }, ..) => self.concat(value, node, *axis)?,
            (Op::Slice { axis: 1, start, length }, Some(x), _) if node.shape.len() == 4 => {
                self.view(value, x, |place| {
                    let positions = place.positions.iter().skip(*start).take(*length);
                    Some(Place { positions: positions.copied().collect(), ..place.clone() })
                })?;
            }
            (Op::ChannelShuffle { groups }, Some(x), _) => {
                self.view(value, x, |place| {
                    let each = place.positions.len() / groups;
                    let of = |channel: usize| place.positions.get(channel % groups * each + channel / groups);
                    let positions = (0..place.positions.len()).filter_map(of).copied().collect();
                    Some(Place { positions, ..place.clone() })
                })?;
            }
            (Op::Reshape { shape }, Some(x), _) => self.reshape(value, node, x, shape)?,
            (Op::Transpose { order }, Some(x), _) => self.transpose(value, node, x, order)?,
            (Op::MaxPool(pool), Some(x), _) => {
                self.windows(value, node, x, |from, runs| Kernel::MaxPool { pool: *pool, from, runs })?;
            }
            (Op::AveragePool(pool), Some(x), _) => {
                let resample = Resample::average(pool, self.size(x));
                self.windows(value, node, x, |from, runs| Kernel::Resample { resample, from, runs })?;
            }
            (Op::AdaptiveAveragePool { size }, Some(x), _) => {
                let resample = Resample::adaptive_average(self.size(x), *size);
                self.windows(value, node, x, |from, runs| Kernel::Resample { resample, from, runs })?;
            }
            (Op::Resize { mode, size }, Some(x), _) => {
                let resample = Resample::resize(*mode, self.size(x), *size);
                self.windows(value, node, x, |from, runs| Kernel::Resample { resample, from, runs })?;
            }
            _ => self.reference(value, node)?,
        }
        Ok(())
    }

    fn size(&self, x: Value) -> [usize; 2] {
        match self.graph.node(x).map(|node| node.shape.as_slice()) {
            Some([_, _, height, width]) => [*height, *width],
            _ => [0; 2],
        }
    }

    /// The input, with a border as wide as the padding of the convolutions that see it.
    fn input(&mut self, value: Value, node: &Node) {
        let [images, channels, height, width] = *node.shape.as_slice() else { return };
        let users = self.users.get(&value).into_iter().flatten();
        let padding = users.filter_map(|user| match self.graph.node(*user).map(|node| &node.op) {
            Some(Op::Conv(conv)) => conv.padding.into_iter().max(),
            _ => None,
        });
        let grid = Grid::bordered(images, [height, width], channels, padding.max().unwrap_or(0));
        let buffer = self.buffers.take(grid.end());
        // Held for good: the border is never written again.
        self.buffers.hold(buffer);
        self.places
            .insert(value, Place { buffer, form: Form::Map, grid, positions: (0..channels).collect() });
    }

    /// Whether exactly one node takes a value, and which operator that is.
    fn only_user(&self, value: Value) -> Option<&Op> {
        match self.users.get(&value).map(Vec::as_slice) {
            Some([user]) if self.uses.get(value.index()) == Some(&1) => {
                self.graph.node(*user).map(|node| &node.op)
            }
            _ => None,
        }
    }

    /// Keeps a convolution back while its only user may go into it.
    fn wait_or_write(&mut self, value: Value, waiting: Waiting) -> Result<(), RuntimeError> {
        match (self.only_user(value), waiting.residual) {
            (Some(Op::Activation(_)), _) | (Some(Op::Add), None) => {
                self.waiting.insert(value, waiting);
                Ok(())
            }
            _ => self.write(value, waiting),
        }
    }

    /// Where a value lies; it is computed now if it was kept back.
    fn place(&mut self, value: Value) -> Result<Place, RuntimeError> {
        if let Some(waiting) = self.waiting.remove(&value) {
            self.write(value, waiting)?;
        }
        self.places.get(&value).cloned().ok_or_else(|| self.out_of_order(value))
    }

    fn out_of_order(&self, value: Value) -> RuntimeError {
        let node = self.graph.node(value);
        RuntimeError::Order { module: node.map_or_else(String::new, |node| self.graph.path(node).to_owned()) }
    }

    /// Where a value lies, its channels in order.
    fn ordered(&mut self, value: Value) -> Result<(Place, usize), RuntimeError> {
        let place = self.place(value)?;
        if let Some(first) = place.first_in_order() {
            return Ok((place, first));
        }
        let Grid { images, height, width, .. } = place.grid;
        let grid = Grid::packed(images, [height, width], place.positions.len());
        let buffer = self.buffers.take(grid.end());
        let from = Part { buffer: place.buffer, grid: place.grid, channel: 0 };
        self.push(value, copy(from, &place.positions), Part { buffer, grid, channel: 0 });
        self.buffers.release(place.buffer);
        let copied = Place { buffer, grid, positions: (0..place.positions.len()).collect(), ..place };
        self.places.insert(value, copied.clone());
        Ok((copied, 0))
    }

    fn push(&mut self, value: Value, kernel: Kernel, to: Part) {
        self.steps.push(Step { value, kernel, to });
    }

    /// A value was used once.
    fn used(&mut self, value: Value) {
        let Some(uses) = self.uses.get_mut(value.index()) else { return };
        *uses = uses.saturating_sub(1);
        if *uses == 0
            && let Some(place) = self.places.get(&value)
        {
            self.buffers.release(place.buffer);
        }
    }

    /// A place for the result of a node, `[N, C, H, W]`: in its concatenation, unless the step reads from there.
    fn target(&mut self, value: Value, reads: &[usize]) -> Place {
        let shape = self.graph.node(value).map(|node| node.shape.clone()).unwrap_or_default();
        if let Some(place) = self.part_of_concatenation(value, &shape)
            && !reads.contains(&place.buffer)
        {
            self.buffers.hold(place.buffer);
            return place;
        }
        let mut place = Place::packed(0, &shape);
        place.buffer = self.buffers.take(place.grid.end());
        place
    }

    fn part_of_concatenation(&mut self, value: Value, shape: &[usize]) -> Option<Place> {
        let Target { concatenation, offset } = *self.targets.get(&value)?;
        let [images, channels, height, width] = *shape else { return None };
        let whole = self.graph.node(concatenation)?.shape.clone();
        let (grid, first) = match *whole {
            [_, all, ..] if whole.len() == 4 => (Grid::packed(images, [height, width], all), offset),
            [_, _, points] => {
                let grid = Grid::packed(images, [height, width], channels);
                (Grid { start: offset * channels, image: points * channels, ..grid }, 0)
            }
            _ => return None,
        };
        let size = whole.iter().product();
        let buffer = match self.concatenations.get(&concatenation) {
            Some(buffer) => *buffer,
            None => {
                let buffer = self.buffers.take(size);
                self.concatenations.insert(concatenation, buffer);
                buffer
            }
        };
        Some(Place { buffer, form: Form::Map, grid, positions: (first..first + channels).collect() })
    }

    /// Writes a convolution with what it takes along.
    fn write(&mut self, value: Value, waiting: Waiting) -> Result<(), RuntimeError> {
        let Waiting { convolution, residual, activation } = waiting;
        let node = self.graph.node(convolution).ok_or_else(|| self.out_of_order(convolution))?;
        let (Op::Conv(conv), Some(x)) = (&node.op, node.inputs.first().copied()) else {
            return Err(self.out_of_order(convolution));
        };
        // First, as it may move the value that is also the convolution's input.
        let other = residual.map(|residual| self.ordered(residual)).transpose()?;
        let from = self.place(x)?;
        let reads: Vec<usize> = [Some(&from), other.as_ref().map(|(place, _)| place)]
            .into_iter()
            .flatten()
            .map(|place| place.buffer)
            .collect();
        let mut place = self.target(value, &reads);
        let first = place.positions.first().copied().unwrap_or(0);
        let to = Part { buffer: place.buffer, grid: place.grid, channel: first };
        let residual_part =
            other.map(|(place, channel)| Part { buffer: place.buffer, grid: place.grid, channel });
        let [kernel, bias] = self.kernel_and_bias(node, conv)?;
        if is_depthwise(conv, from.positions.len()) {
            let (kernel, ranks) = depthwise(conv, &kernel, &bias, &from, activation, self.instructions);
            place.positions = ranks.iter().map(|rank| first + rank).collect();
            self.push(value, kernel, to);
        } else {
            let groups = self.groups(node, conv, [&kernel, &bias], &from);
            let from = Part { buffer: from.buffer, grid: from.grid, channel: 0 };
            let out = conv.out / conv.groups;
            for (group, dense) in groups.into_iter().enumerate() {
                let part = |part: Part| Part { channel: part.channel + group * out, ..part };
                let residual = residual_part.map(part);
                self.push(value, Kernel::Dense { dense, from, residual, activation }, part(to));
            }
        }
        self.places.insert(value, place);
        self.used(x);
        if let Some(residual) = residual {
            self.used(residual);
        }
        Ok(())
    }

    fn kernel_and_bias(&self, node: &Node, conv: &Conv) -> Result<[Vec<f32>; 2], GraphError> {
        let [kernel, mut bias] = self.numbers(node)?;
        bias.resize(conv.out, 0.0);
        Ok([kernel, bias])
    }

    /// Packed weights for each group of channels.
    fn groups(
        &mut self,
        node: &Node,
        conv: &Conv,
        [kernel, bias]: [&[f32]; 2],
        from: &Place,
    ) -> Vec<Arc<Dense>> {
        let (out, channels) = (conv.out / conv.groups, from.positions.len() / conv.groups);
        let floats = kernel.len() / conv.groups;
        let own = Conv { out, groups: 1, ..*conv };
        let padding = conv.padding.into_iter().max().unwrap_or(0);
        let is_bordered = padding > 0 && from.grid.border >= padding;
        let instructions = self.instructions;
        let group = |group: usize| {
            let part = |all: &'_ [f32], each: usize| {
                all.iter().skip(group * each).take(each).copied().collect::<Vec<_>>()
            };
            let positions = from.positions.iter().skip(group * channels).take(channels).copied().collect();
            let layout = Layout { positions, record: from.grid.record, is_bordered };
            self.packed.dense(node, group, layout, |layout| {
                Dense::new(own, &part(kernel, floats), &part(bias, out), layout, instructions)
            })
        };
        (0..conv.groups).map(group).collect()
    }

    /// A batch norm that was not folded, with its running statistics.
    fn batch_norm(&mut self, value: Value, node: &Node, x: Value, epsilon: f64) -> Result<(), RuntimeError> {
        let [weight, bias, mean, variance] = self.numbers(node)?;
        let scale =
            |(weight, variance): (&f32, &f32)| f64::from(*weight) / (f64::from(*variance) + epsilon).sqrt();
        let factors: Vec<f64> = weight.iter().zip(&variance).map(scale).collect();
        let shift =
            |((bias, mean), factor): ((&f32, &f32), &f64)| f64::from(*bias) - f64::from(*mean) * factor;
        let shifts = bias.iter().zip(&mean).zip(&factors).map(shift).map(|shift| shift as f32).collect();
        let factors = factors.into_iter().map(|factor| factor as f32).collect();
        self.affine(value, x, [factors, shifts])
    }

    fn scale(&mut self, value: Value, node: &Node, x: Value) -> Result<(), RuntimeError> {
        let [factor] = self.numbers(node)?;
        let channels = node.shape.get(1).copied().unwrap_or(0);
        let factor = factor.first().copied().unwrap_or(1.0);
        self.affine(value, x, [vec![factor; channels], vec![0.0; channels]])
    }

    /// A factor and a shift for every channel: a depthwise convolution with a kernel of one tap.
    fn affine(
        &mut self,
        value: Value,
        x: Value,
        [factors, shifts]: [Vec<f32>; 2],
    ) -> Result<(), RuntimeError> {
        let conv = Conv::depthwise(factors.len(), 1).biased();
        let from = self.place(x)?;
        let mut place = self.target(value, &[from.buffer]);
        let first = place.positions.first().copied().unwrap_or(0);
        let to = Part { buffer: place.buffer, grid: place.grid, channel: first };
        let (kernel, ranks) = depthwise(&conv, &factors, &shifts, &from, None, self.instructions);
        self.push(value, kernel, to);
        place.positions = ranks.iter().map(|rank| first + rank).collect();
        self.places.insert(value, place);
        self.used(x);
        Ok(())
    }

    fn group_norm(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        (groups, epsilon): (usize, f64),
    ) -> Result<(), RuntimeError> {
        let [weight, bias] = self.numbers(node)?;
        let (place, channel) = self.ordered(x)?;
        let (Grid { images, height, width, .. }, channels) = (place.grid, place.positions.len());
        let mut scratch = |height| {
            let grid = Grid::packed(images, [height, 1], 2 * channels);
            Part { buffer: self.buffers.take(grid.end()), grid, channel: 0 }
        };
        let (moments, factors) = (scratch(height), scratch(1));
        let from = Part { buffer: place.buffer, grid: place.grid, channel };
        let target = self.target(value, &[from.buffer, factors.buffer]);
        let first = target.positions.first().copied().unwrap_or(0);
        let to = Part { buffer: target.buffer, grid: target.grid, channel: first };
        let groups = Box::new(Groups { groups, epsilon, weight, bias });
        self.push(value, Kernel::RowMoments { from, channels }, moments);
        self.push(value, Kernel::Factors { moments, groups, width }, factors);
        self.push(value, Kernel::Normalise { from, factors, channels, activation: None }, to);
        self.buffers.release(moments.buffer);
        self.buffers.release(factors.buffer);
        self.places.insert(value, target);
        self.used(x);
        Ok(())
    }

    /// Numbers of the first parameters of a node.
    fn numbers<const COUNT: usize>(&self, node: &Node) -> Result<[Vec<f32>; COUNT], GraphError> {
        let mut all = std::array::from_fn(|_| Vec::new());
        let parameters = node.parameters.iter().filter_map(|id| self.graph.parameter(*id));
        for (slot, parameter) in all.iter_mut().zip(parameters) {
            slot.clone_from(&self.weights.of(parameter)?.data);
        }
        Ok(all)
    }

    /// Applies a function in the step that has just computed its input, if nobody else wants that.
    fn joined(&mut self, value: Value, x: Value, activation: Activation) -> Result<bool, RuntimeError> {
        let last =
            self.steps.last_mut().filter(|step| step.value == x && self.uses.get(x.index()) == Some(&1));
        let Some(slot @ None) = last.and_then(|step| step.kernel.activation()) else { return Ok(false) };
        *slot = Some(activation);
        self.view(value, x, |place| Some(place.clone()))
    }

    fn activation(&mut self, value: Value, x: Value, activation: Activation) -> Result<(), RuntimeError> {
        if self.joined(value, x, activation)? {
            return Ok(());
        }
        let from = self.place(x)?;
        if !matches!(from.form, Form::Map | Form::ChannelsFirst) {
            return match self.graph.node(value) {
                Some(node) => self.reference(value, node),
                None => Ok(()),
            };
        }
        self.sorted(value, x, &from, |from, runs| Kernel::Copy { from, runs, activation: Some(activation) });
        Ok(())
    }

    /// A step that works channel by channel and leaves them as they lie.
    fn sorted(
        &mut self,
        value: Value,
        x: Value,
        from: &Place,
        kernel: impl FnOnce(Part, Vec<Run>) -> Kernel,
    ) {
        let (runs, ranks) = from.sorted();
        let mut place = match (from.form, self.graph.node(value)) {
            (Form::ChannelsFirst, Some(node)) => {
                let buffer = self.buffers.take(node.shape.iter().product());
                whole(buffer, Form::ChannelsFirst, &node.shape)
            }
            _ => self.target(value, &[from.buffer]),
        };
        let first = place.positions.first().copied().unwrap_or(0);
        let to = Part { buffer: place.buffer, grid: place.grid, channel: first };
        let part = Part { buffer: from.buffer, grid: from.grid, channel: 0 };
        self.push(value, kernel(part, runs), to);
        place.positions = ranks.into_iter().map(|rank| first + rank).collect();
        self.places.insert(value, place);
        self.used(x);
    }

    fn windows(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        kernel: impl FnOnce(Part, Vec<Run>) -> Kernel,
    ) -> Result<(), RuntimeError> {
        let from = self.place(x)?;
        if from.form != Form::Map {
            return self.reference(value, node);
        }
        self.sorted(value, x, &from, kernel);
        Ok(())
    }

    fn add(&mut self, value: Value, left: Value, right: Value) -> Result<(), RuntimeError> {
        for (convolution, residual) in [(left, right), (right, left)] {
            let is_free = |waiting: &&Waiting| waiting.residual.is_none();
            let found = self.waiting.get(&convolution).filter(is_free).copied();
            let is_dense = found.is_some_and(|waiting| self.is_dense_convolution(waiting.convolution));
            if let (Some(waiting), true, true) = (found, is_dense, convolution != residual) {
                self.waiting.remove(&convolution);
                self.ordered(residual)?;
                return self.wait_or_write(value, Waiting { residual: Some(residual), ..waiting });
            }
        }
        self.pairwise(value, left, right, |left, right, channels| Kernel::Add {
            left,
            right,
            channels,
            activation: None,
        })
    }

    fn is_dense_convolution(&self, value: Value) -> bool {
        let Some(node) = self.graph.node(value) else { return false };
        let channels = node.inputs.first().and_then(|x| self.graph.node(*x)?.shape.get(1).copied());
        matches!(&node.op, Op::Conv(conv) if !is_depthwise(conv, channels.unwrap_or(0)))
    }

    fn multiply(&mut self, value: Value, left: Value, right: Value) -> Result<(), RuntimeError> {
        self.pairwise(value, left, right, |left, right, channels| Kernel::Multiply { left, right, channels })
    }

    fn pairwise(
        &mut self,
        value: Value,
        left: Value,
        right: Value,
        kernel: impl FnOnce(Part, Part, usize) -> Kernel,
    ) -> Result<(), RuntimeError> {
        let shapes = [value, left, right].map(|value| self.graph.node(value).map(|node| &node.shape));
        let [Some(shape), one, other] = shapes else { return Ok(()) };
        if shape.len() != 4 || one != Some(shape) || other != Some(shape) {
            return match self.graph.node(value) {
                Some(node) => self.reference(value, node),
                None => Ok(()),
            };
        }
        let (first, second) = (self.ordered(left)?, self.ordered(right)?);
        let place = self.target(value, &[first.0.buffer, second.0.buffer]);
        let [one, other] =
            [first, second].map(|(place, channel)| Part { buffer: place.buffer, grid: place.grid, channel });
        let channel = place.positions.first().copied().unwrap_or(0);
        let to = Part { buffer: place.buffer, grid: place.grid, channel };
        self.push(value, kernel(one, other, place.positions.len()), to);
        self.places.insert(value, place);
        self.used(left);
        self.used(right);
        Ok(())
    }

    /// A value that lies where another does.
    fn view(
        &mut self,
        value: Value,
        x: Value,
        view: impl FnOnce(&Place) -> Option<Place>,
    ) -> Result<bool, RuntimeError> {
        let place = self.place(x)?;
        let Some(view) = view(&place) else { return Ok(false) };
        self.buffers.hold(view.buffer);
        self.places.insert(value, view);
        self.used(x);
        Ok(true)
    }

    fn reshape(&mut self, value: Value, node: &Node, x: Value, shape: &[usize]) -> Result<(), RuntimeError> {
        let from = self.graph.node(x).map(|node| node.shape.clone()).unwrap_or_default();
        let is_flattening = match (from.as_slice(), shape) {
            ([n, c, h, w], [images, channels, points]) => [*n, *c, h * w] == [*images, *channels, *points],
            _ => false,
        };
        let flattened = is_flattening
            && self.view(value, x, |place| {
                (place.form == Form::Map && place.grid.is_dense()).then(|| place.as_points())
            })?;
        if flattened { Ok(()) } else { self.reference(value, node) }
    }

    fn transpose(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        order: &[usize],
    ) -> Result<(), RuntimeError> {
        let turned = order == [0, 2, 1]
            && self.view(value, x, |place| {
                let form = match place.form {
                    Form::ChannelsFirst => Form::PointsFirst,
                    Form::PointsFirst => Form::ChannelsFirst,
                    _ => return None,
                };
                Some(Place { form, ..place.clone() })
            })?;
        if turned { Ok(()) } else { self.reference(value, node) }
    }

    /// Parts that were written into their place stay there, others are copied.
    fn concat(&mut self, value: Value, node: &Node, axis: usize) -> Result<(), RuntimeError> {
        let parts = node.inputs.iter().map(|input| self.place(*input)).collect::<Result<Vec<_>, _>>()?;
        let form = if node.shape.len() == 4 { Form::Map } else { Form::ChannelsFirst };
        let fits = matches!((axis, node.shape.len()), (1, 4) | (1 | 2, 3));
        if !fits || parts.iter().any(|part| part.form != form) {
            return self.reference(value, node);
        }
        let all: usize = node.shape.iter().product();
        let buffer = match self.concatenations.get(&value) {
            Some(buffer) => *buffer,
            None => self.buffers.take(all),
        };
        let mut place = whole(buffer, form, &node.shape);
        let (mut offset, mut positions) = (0, Vec::new());
        for part in &parts {
            let (to, count) = match axis {
                1 => (Part { buffer, grid: place.grid, channel: offset }, part.positions.len()),
                _ => (points(&place, part, offset), part.grid.width),
            };
            let is_there = part.buffer == buffer && part.grid == to.grid && lies_at(axis, part, &to);
            if is_there {
                positions.extend(&part.positions);
            } else {
                let from = Part { buffer: part.buffer, grid: part.grid, channel: 0 };
                self.push(value, copy(from, &part.positions), to);
                positions.extend(to.channel..to.channel + part.positions.len());
            }
            offset += count;
        }
        if axis == 1 {
            place.positions = positions;
        }
        self.places.insert(value, place);
        node.inputs.iter().for_each(|input| self.used(*input));
        Ok(())
    }

    /// By the reference executor.
    fn reference(&mut self, value: Value, node: &Node) -> Result<(), RuntimeError> {
        let inputs = node.inputs.iter().map(|input| self.place(*input)).collect::<Result<Vec<_>, _>>()?;
        let mut place = Place::packed(0, &node.shape);
        place.buffer = self.buffers.take(place.grid.end());
        let to = Part { buffer: place.buffer, grid: place.grid, channel: 0 };
        self.push(value, Kernel::Reference { value, inputs, place: place.clone() }, to);
        self.places.insert(value, place);
        node.inputs.iter().for_each(|input| self.used(*input));
        Ok(())
    }

    fn finish(mut self) -> Result<Plan, RuntimeError> {
        let mut outputs = Vec::new();
        for (name, value) in self.graph.outputs() {
            let place = self.place(*value)?;
            let shape = self.graph.node(*value).map(|node| node.shape.clone()).unwrap_or_default();
            outputs.push(Output { name: name.clone(), shape, place });
        }
        let input = self.graph.inputs().first().copied();
        let input = input.and_then(|input| {
            Some((self.places.get(&input)?.clone(), self.graph.node(input)?.shape.clone()))
        });
        let (input, input_shape) = input.ok_or_else(|| RuntimeError::Order { module: String::new() })?;
        let parameters = Parameters::of_nodes(self.graph, self.weights, DType::F32, |value| {
            self.steps
                .iter()
                .any(|step| matches!(&step.kernel, Kernel::Reference { value: own, .. } if *own == value))
        })?;
        let reference = Reference { graph: self.graph.clone(), parameters };
        Ok(Plan {
            steps: self.steps,
            sizes: self.buffers.sizes(),
            buffers: Vec::new(),
            input,
            input_shape,
            outputs,
            reference,
        })
    }
}

/// All of a concatenation.
fn whole(buffer: usize, form: Form, shape: &[usize]) -> Place {
    match *shape {
        [images, channels, points] => {
            let grid = Grid::packed(images, [1, points], channels);
            Place { buffer, form, grid, positions: (0..channels).collect() }
        }
        _ => Place { form, ..Place::packed(buffer, shape) },
    }
}

/// Where a level of points goes.
fn points(whole: &Place, part: &Place, offset: usize) -> Part {
    let grid = Grid {
        start: offset * whole.grid.record,
        width: part.grid.width,
        row: part.grid.width * whole.grid.record,
        ..whole.grid
    };
    Part { buffer: whole.buffer, grid, channel: 0 }
}

/// Whether the channels of a part are those of its place in a concatenation, in any order. Levels of points must have
/// theirs in order, as all levels share one.
fn lies_at(axis: usize, part: &Place, to: &Part) -> bool {
    let end = to.channel + part.positions.len();
    match axis {
        1 => part.positions.iter().all(|position| (to.channel..end).contains(position)),
        _ => part.first_in_order() == Some(0),
    }
}

/// A copy of the channels at some positions, in their order.
fn copy(from: Part, positions: &[usize]) -> Kernel {
    let every_other =
        |first: usize| runs(&positions.iter().skip(first).step_by(2).copied().collect::<Vec<_>>());
    match (runs(positions), every_other(0).as_slice(), every_other(1).as_slice()) {
        (runs, [first], [second]) if runs.len() > 1 => Kernel::Interleave { from, runs: [*first, *second] },
        (runs, ..) => Kernel::Copy { from, runs, activation: None },
    }
}

fn is_depthwise(conv: &Conv, channels: usize) -> bool {
    conv.groups > 1 && conv.groups == channels && conv.out == channels
}

/// Whether there is a kernel for a convolution: a depthwise one with several results for a channel has none.
fn has_kernel(conv: &Conv, input: Option<&Node>) -> bool {
    let channels = input.and_then(|input| input.shape.get(1).copied()).unwrap_or(0);
    is_depthwise(conv, channels) || conv.groups < channels || conv.groups == 1
}

fn depthwise(
    conv: &Conv,
    kernel: &[f32],
    bias: &[f32],
    from: &Place,
    activation: Option<Activation>,
    instructions: Instructions,
) -> (Kernel, Vec<usize>) {
    let (runs, ranks) = from.sorted();
    let mut order = vec![0; ranks.len()];
    for (channel, rank) in ranks.iter().enumerate() {
        if let Some(slot) = order.get_mut(*rank) {
            *slot = channel;
        }
    }
    let depthwise = Box::new(Depthwise::new(*conv, kernel, bias, &order, instructions));
    let from = Part { buffer: from.buffer, grid: from.grid, channel: 0 };
    (Kernel::Depthwise { depthwise, from, runs, activation }, ranks)
}
