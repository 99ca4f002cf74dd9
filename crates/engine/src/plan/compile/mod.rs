//! From a graph to steps.

mod concatenation;
mod convolution;
mod early;
mod elements;
mod norm;
mod plain;

use std::collections::HashMap;

use self::concatenation::{Target, targets};
use self::convolution::{Waiting, has_kernel};
use self::early::Early;
use super::buffers::Buffers;
use super::packed::Packed;
use super::place::{Form, Place};
use super::step::{Kernel, Part, Reference, Step};
use super::supply::Supply;
use super::{Output, Plan};
use crate::RuntimeError;
use crate::kernels::channels_last::instructions::Instructions;
use crate::kernels::channels_last::workspaces::Workspaces;
use crate::kernels::channels_last::{Grid, runs};
use crate::resample::Resample;
use network::graph::{Array, Conv, Graph, GraphError, Node, Op, Value};

/// Compiles a graph for its input shape; the plan has no memory yet.
pub(super) fn compile(
    graph: &Graph,
    supply: &mut Supply<'_>,
    packed: &mut Packed,
) -> Result<Plan, RuntimeError> {
    let mut compiler = Compiler {
        graph,
        supply,
        packed,
        instructions: Instructions::get(),
        uses: graph.uses(),
        users: users(graph),
        targets: targets(graph),
        early: Early::of(graph),
        places: HashMap::new(),
        waiting: HashMap::new(),
        concatenations: HashMap::new(),
        buffers: Buffers::default(),
        temporaries: Vec::new(),
        steps: Vec::new(),
    };
    for (value, node) in graph.values() {
        compiler.visit(value, node)?;
        compiler.release_temporaries();
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

struct Compiler<'a, 's> {
    graph: &'a Graph,
    supply: &'a mut Supply<'s>,
    packed: &'a mut Packed,
    instructions: Instructions,
    /// How often each value is still to be used.
    uses: Vec<usize>,
    users: HashMap<Value, Vec<Value>>,
    targets: HashMap<Value, Target>,
    early: Early,
    places: HashMap<Value, Place>,
    waiting: HashMap<Value, Waiting>,
    /// Buffers of concatenations, of which some parts may have been written.
    concatenations: HashMap<Value, usize>,
    buffers: Buffers,
    /// Buffers that are free once the steps of the current node are written.
    temporaries: Vec<usize>,
    steps: Vec<Step>,
}

impl Compiler<'_, '_> {
    fn visit(&mut self, value: Value, node: &Node) -> Result<(), RuntimeError> {
        let [first, second] = [node.inputs.first().copied(), node.inputs.get(1).copied()];
        let is_map = node.shape.len() == 4;
        match (&node.op, first, second) {
            (Op::Input, ..) => self.input(value, node),
            (Op::Conv(conv), Some(x), _) if has_kernel(conv, self.graph.node(x)) => {
                let waiting = Waiting::new(value);
                match self.early.functions.get(&value) {
                    Some(activation) => self.write(value, waiting.activated(*activation))?,
                    None => self.wait_or_write(value, waiting)?,
                }
            }
            (Op::DeformConv(_), ..) => self.wait_or_write(value, Waiting::new(value))?,
            (Op::Activation(_), Some(x), _) if self.early.done.contains(&value) => {
                self.view(value, x, |place| Some(place.clone()))?;
            }
            (Op::Activation(activation), Some(x), _) => match self.waiting.remove(&x) {
                Some(waiting) => self.write(value, waiting.activated(*activation))?,
                None => self.activation(value, x, *activation)?,
            },
            (Op::BatchNorm { epsilon, .. }, Some(x), _) if is_map => {
                self.batch_norm(value, node, x, *epsilon)?;
            }
            (Op::Scale, Some(x), _) if is_map => self.scale(value, node, x)?,
            (Op::GroupNorm { groups, epsilon }, Some(x), _) if is_map => {
                self.group_norm(value, node, x, (*groups, *epsilon))?;
            }
            (Op::Add, Some(left), Some(right)) => self.add(value, node, left, right)?,
            (Op::Multiply, Some(left), Some(right)) => self.multiply(value, node, left, right)?,
            (Op::Concat { axis }, ..) => self.concat(value, node, *axis)?,
            (Op::Slice { axis, start, length }, Some(x), _) => {
                self.slice(value, node, x, (*axis, *start, *length))?;
            }
            (Op::ChannelShuffle { groups }, Some(x), _) => self.shuffle(value, x, *groups)?,
            (Op::Reshape { shape }, Some(x), _) => self.reshape(value, x, shape)?,
            (Op::Transpose { order }, Some(x), _) => self.transpose(value, node, x, order)?,
            (Op::Softmax { axis }, Some(x), _) => self.softmax(value, node, x, *axis)?,
            (Op::TopK { axis, count }, Some(x), _) => self.top_k(value, node, x, (*axis, *count))?,
            (Op::Mean { axis }, Some(x), _) => self.mean(value, node, x, *axis)?,
            (Op::MatMul, Some(left), Some(right)) => self.matrix_product(value, node, left, right)?,
            (Op::MaxPool(pool), Some(x), _) => {
                self.windows(value, x, |from, runs| Kernel::MaxPool { pool: *pool, from, runs })?;
            }
            (Op::AveragePool(pool), Some(x), _) => {
                self.resample(value, x, Resample::average(pool, self.size(x)))?;
            }
            (Op::AdaptiveAveragePool { size }, Some(x), _) => {
                self.resample(value, x, Resample::adaptive_average(self.size(x), *size))?;
            }
            (Op::Resize { mode, size }, Some(x), _) => {
                self.resample(value, x, Resample::resize(*mode, self.size(x), *size))?;
            }
            _ => self.reference(value, node)?,
        }
        Ok(())
    }

    fn size(&self, x: Value) -> [usize; 2] {
        match self.shape(x) {
            [_, _, height, width] => [*height, *width],
            _ => [0; 2],
        }
    }

    fn shape(&self, x: Value) -> &[usize] {
        self.graph.node(x).map(|node| node.shape.as_slice()).unwrap_or_default()
    }

    /// The input, with a border as wide as the padding of the convolutions that see it.
    fn input(&mut self, value: Value, node: &Node) {
        let [images, channels, height, width] = *node.shape.as_slice() else { return };
        let users = self.users.get(&value).into_iter().flatten();
        let padding = users.filter_map(|user| match self.graph.node(*user).map(|node| &node.op) {
            Some(Op::Conv(Conv { padding, .. })) => padding.iter().max().copied(),
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

    /// Where a value lies; it is computed now if it was kept back.
    fn place(&mut self, value: Value) -> Result<Place, RuntimeError> {
        if let Some(waiting) = self.waiting.remove(&value) {
            self.write(value, waiting)?;
        }
        self.places.get(&value).cloned().ok_or_else(|| self.out_of_order(value))
    }

    /// Where a value `[N, C, H, W]` lies, the channels of a pixel together.
    fn map(&mut self, value: Value) -> Result<Place, RuntimeError> {
        let place = self.place(value)?;
        if place.form == Form::Map {
            return Ok(place);
        }
        let mut map = Place::map(0, self.shape(value)).ok_or_else(|| self.out_of_order(value))?;
        map.buffer = self.buffers.take(map.grid.end());
        let to = Part { buffer: map.buffer, grid: map.grid, channel: 0 };
        self.push(value, Kernel::Pack { from: place.buffer, positions: map.positions.clone() }, to);
        self.buffers.release(place.buffer);
        self.places.insert(value, map.clone());
        Ok(map)
    }

    fn out_of_order(&self, value: Value) -> RuntimeError {
        let node = self.graph.node(value);
        let module = node.map_or("", |node| self.graph.path(node));
        RuntimeError::internal(module, "a value is used before it is computed")
    }

    /// Where a value `[N, C, H, W]` lies, its channels in order, and the first of them.
    fn ordered(&mut self, value: Value) -> Result<Part, RuntimeError> {
        let place = self.map(value)?;
        let from = Part { buffer: place.buffer, grid: place.grid, channel: 0 };
        if let Some(channel) = place.first_in_order() {
            return Ok(Part { channel, ..from });
        }
        let Grid { images, height, width, .. } = place.grid;
        let grid = Grid::packed(images, [height, width], place.positions.len());
        let buffer = self.buffers.take(grid.end());
        let to = Part { buffer, grid, channel: 0 };
        self.push(value, copy(from, &place.positions), to);
        self.buffers.release(place.buffer);
        let positions = (0..place.positions.len()).collect();
        self.places.insert(value, Place { buffer, grid, positions, ..place });
        Ok(to)
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

    /// A buffer for the steps of the current node alone.
    fn temporary(&mut self, size: usize) -> usize {
        let buffer = self.buffers.take(size);
        self.temporaries.push(buffer);
        buffer
    }

    fn release_temporaries(&mut self) {
        self.temporaries.drain(..).for_each(|buffer| self.buffers.release(buffer));
    }

    /// A place for the result of a node, `[N, C, H, W]`: in its concatenation, unless the step reads from there.
    fn target(&mut self, value: Value, reads: &[usize]) -> Result<Place, RuntimeError> {
        let shape = self.shape(value).to_vec();
        if let Some(place) = self.part_of_concatenation(value, &shape)
            && !reads.contains(&place.buffer)
        {
            self.buffers.hold(place.buffer);
            return Ok(place);
        }
        let mut place = Place::map(0, &shape).ok_or_else(|| self.out_of_order(value))?;
        place.buffer = self.buffers.take(place.grid.end());
        Ok(place)
    }

    /// A place for a row-major result.
    fn plain_target(&mut self, value: Value) -> Place {
        let mut place = Place::plain(0, self.shape(value));
        place.buffer = self.buffers.take(place.grid.end());
        place
    }

    /// Numbers of the first parameters of a node, which asks for them once.
    fn numbers<const COUNT: usize>(&mut self, node: &Node) -> Result<[Vec<f32>; COUNT], GraphError> {
        let mut all = std::array::from_fn(|_| Vec::new());
        let parameters = node.parameters.iter().filter_map(|id| self.graph.parameter(*id));
        for (slot, parameter) in all.iter_mut().zip(parameters) {
            *slot = self.supply.take(parameter)?;
        }
        Ok(all)
    }

    /// A value that lies where another does, if `view` finds it there.
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

    /// By the reference executor.
    fn reference(&mut self, value: Value, node: &Node) -> Result<(), RuntimeError> {
        let inputs = node.inputs.iter().map(|input| self.place(*input)).collect::<Result<Vec<_>, _>>()?;
        let place = self.plain_target(value);
        let to = Part { buffer: place.buffer, grid: place.grid, channel: 0 };
        self.push(value, Kernel::Reference { value, inputs }, to);
        self.places.insert(value, place);
        node.inputs.iter().for_each(|input| self.used(*input));
        Ok(())
    }

    /// The parameters of the nodes that the reference executor runs.
    fn reference_parameters(&self) -> Result<HashMap<Value, Vec<Array>>, GraphError> {
        let mut parameters = HashMap::new();
        for step in &self.steps {
            let Kernel::Reference { value, .. } = step.kernel else { continue };
            let ids = self.graph.node(value).into_iter().flat_map(|node| &node.parameters);
            let own = ids.filter_map(|id| self.graph.parameter(*id));
            let arrays = own.map(|parameter| self.supply.weights().of(parameter).cloned());
            parameters.insert(value, arrays.collect::<Result<_, _>>()?);
        }
        Ok(parameters)
    }

    fn finish(mut self) -> Result<Plan, RuntimeError> {
        let mut outputs = Vec::new();
        for (name, value) in self.graph.outputs() {
            let place = self.place(*value)?;
            outputs.push(Output { name: name.clone(), shape: self.shape(*value).to_vec(), place });
        }
        let input = self.graph.inputs().first().copied();
        let input = input.and_then(|input| Some((self.places.get(&input)?.clone(), self.shape(input))));
        let (input, input_shape) = input.ok_or_else(|| RuntimeError::internal("", "there is no input"))?;
        let parameters = self.reference_parameters()?;
        Ok(Plan {
            input_shape: input_shape.to_vec(),
            steps: self.steps,
            sizes: self.buffers.sizes(),
            buffers: Vec::new(),
            workspaces: Workspaces::default(),
            input,
            outputs,
            reference: Reference { graph: self.graph.clone(), parameters },
        })
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
