//! What lowering knows so far: where each value lies, and the steps.

use std::collections::{HashMap, HashSet};

use super::joins::{Joined, joined};
use super::step::{Step, Target, Work, Write};
use super::weights::Source;
use crate::RuntimeError;
use crate::cpu::convolution::chosen::ScratchSize;
use crate::cpu::grid::Grid;
use crate::cpu::norm::normalisation::Normalisation;
use crate::cpu::place::{Form, Part, Place};
use network::graph::{Conv, Graph, Node, Op, Value};

/// A lowering in progress.
///
/// Each value that is written has a buffer of its own, or a part of that of a concatenation; [`super::memory`] lets them
/// share memory afterwards.
pub(crate) struct Lower<'a> {
    pub(super) graph: &'a Graph,
    pub(super) source: Source<'a>,
    /// Functions that the parts of joined values have applied.
    pub(super) applied: HashSet<Value>,
    pub(super) steps: Vec<Step>,
    pub(super) norms: Vec<Normalisation>,
    /// What convolutions need to work in.
    pub(super) scratch: ScratchSize,
    /// The concatenation that a value is the first to be part of.
    joined: HashMap<Value, Joined>,
    concatenations: HashMap<Value, usize>,
    places: HashMap<Value, Place>,
    /// Where values lie row-major beside their place.
    row_major: HashMap<Value, Part>,
    buffers: Vec<Buffer>,
    /// Whether a gradient is needed, for every node.
    needs: Vec<bool>,
}

/// A buffer before it shares memory with others.
#[derive(Debug, Clone, Copy)]
struct Buffer {
    /// Floats.
    size: usize,
    /// Whether the gradient of something in it is needed.
    is_differentiable: bool,
}

impl<'a> Lower<'a> {
    /// Nothing is lowered yet.
    pub(super) fn new(graph: &'a Graph, source: Source<'a>, applied: HashSet<Value>) -> Lower<'a> {
        let mut needs: Vec<bool> = Vec::with_capacity(graph.nodes().len());
        for (_, node) in graph.values() {
            let trains = node.parameters.iter().any(|id| source.trains(id.index()));
            let input = |input: &Value| needs.get(input.index()).copied().unwrap_or(false);
            needs.push(trains || node.inputs.iter().any(input));
        }
        Lower {
            graph,
            source,
            applied,
            steps: Vec::new(),
            norms: Vec::new(),
            scratch: ScratchSize::default(),
            joined: joined(graph),
            concatenations: HashMap::new(),
            places: HashMap::new(),
            row_major: HashMap::new(),
            buffers: Vec::new(),
            needs,
        }
    }

    /// A fault at the module of a value.
    pub(super) fn internal(&self, value: Value, what: &str) -> RuntimeError {
        RuntimeError::internal(self.graph.node(value).map_or("", |node| self.graph.path(node)), what)
    }

    /// The only input of a node.
    pub(super) fn one(&self, node: &Node) -> Result<Value, RuntimeError> {
        let missing = || RuntimeError::internal(self.graph.path(node), "an operator has no input");
        node.inputs.first().copied().ok_or_else(missing)
    }

    /// Both inputs of a node.
    pub(super) fn two(&self, node: &Node) -> Result<[Value; 2], RuntimeError> {
        let wrong = |_| RuntimeError::internal(self.graph.path(node), "an operator has not two inputs");
        node.inputs.as_slice().try_into().map_err(wrong)
    }

    /// The shape of a value.
    pub(super) fn shape(&self, x: Value) -> &'a [usize] {
        self.graph.node(x).map(|node| node.shape.as_slice()).unwrap_or_default()
    }

    /// Whether a gradient of a value is needed.
    pub(super) fn needs_gradient(&self, value: Value) -> bool {
        self.needs.get(value.index()).copied().unwrap_or(false)
    }

    /// Where a value lies.
    pub(super) fn place(&self, value: Value) -> Result<Place, RuntimeError> {
        let missing = || self.internal(value, "a value is used before it is computed");
        self.places.get(&value).cloned().ok_or_else(missing)
    }

    /// From now on a value lies there.
    pub(super) fn settle(&mut self, value: Value, place: Place) {
        self.places.insert(value, place);
    }

    /// Where a copy of a value lies row-major.
    pub(super) fn row_major_copy(&self, value: Value) -> Option<Part> {
        self.row_major.get(&value).copied()
    }

    /// A copy of a value lies there, row-major.
    pub(super) fn settle_row_major(&mut self, value: Value, copy: Part) {
        self.row_major.insert(value, copy);
    }

    /// Where a value `[N, C, H, W]` lies, the channels of a pixel together.
    pub(super) fn map(&mut self, value: Value) -> Result<Place, RuntimeError> {
        let place = self.place(value)?;
        if place.form == Form::Map {
            return Ok(place);
        }
        let from = self.row_major(value)?;
        let map = Place::packed(self.buffer(from.elements()), self.shape(value));
        self.push(value, Write::Rows(super::rows::Rows::Pack), vec![from], map.span());
        self.settle(value, map.clone());
        Ok(map)
    }

    /// Where a value `[N, C, H, W]` lies with its channels in order.
    pub(super) fn ordered(&mut self, value: Value) -> Result<Part, RuntimeError> {
        let place = self.map(value)?;
        if let Some(part) = place.in_order() {
            return Ok(part);
        }
        let to = place.packed_in(self.buffer(place.elements()));
        self.push(value, super::elements::copied(&place.positions), vec![place.span()], to);
        self.settle(value, Place::of(to, Form::Map));
        Ok(to)
    }

    /// A place for a map: in its concatenation, unless the step reads from there.
    pub(super) fn target(&mut self, value: Value, reads: &[usize]) -> Result<Place, RuntimeError> {
        if let Some(place) = self.place_in_concatenation(value)
            && !reads.contains(&place.buffer)
        {
            return Ok(place);
        }
        let shape = self.shape(value);
        match shape.len() {
            4 => Ok(Place::packed(self.buffer(shape.iter().product()), shape)),
            _ => Err(self.internal(value, "is no map")),
        }
    }

    /// A place for a row-major result.
    pub(super) fn row_major_target(&mut self, value: Value) -> Place {
        let shape = self.shape(value);
        Place::row_major(self.buffer(shape.iter().product()), shape)
    }

    /// The concatenation that a value may be written into.
    pub(super) fn joined(&self, value: Value) -> Option<Joined> {
        self.joined.get(&value).copied()
    }

    /// The buffer of a concatenation, parts of which may have been written.
    pub(super) fn concatenation(&mut self, value: Value, size: usize) -> usize {
        if let Some(buffer) = self.concatenations.get(&value) {
            return *buffer;
        }
        let buffer = self.buffer(size);
        self.concatenations.insert(value, buffer);
        buffer
    }

    /// The input, with a border as wide as the padding of the convolutions that see it.
    pub(super) fn input(&mut self, value: Value, node: &Node) -> Result<(), RuntimeError> {
        let [images, channels, height, width] = *node.shape.as_slice() else {
            return Err(self.internal(value, "the input is no map"));
        };
        let users = self.graph.values().filter(|(_, user)| user.inputs.contains(&value));
        let padding = users.filter_map(|(_, user)| match &user.op {
            Op::Conv(Conv { padding, groups: 1, .. }) => padding.iter().max().copied(),
            _ => None,
        });
        let grid = Grid::bordered(images, [height, width], channels, padding.max().unwrap_or(0));
        let place = Place::of(Part::whole(self.buffer(grid.end()), grid), Form::Map);
        self.settle(value, place);
        Ok(())
    }

    /// A new buffer.
    pub(super) fn buffer(&mut self, size: usize) -> usize {
        self.buffers.push(Buffer { size, is_differentiable: false });
        self.buffers.len() - 1
    }

    /// Floats of a buffer.
    pub(super) fn size(&self, buffer: usize) -> usize {
        self.buffers.get(buffer).map_or(0, |buffer| buffer.size)
    }

    /// Floats of all buffers.
    pub(super) fn sizes(&self) -> Vec<usize> {
        self.buffers.iter().map(|buffer| buffer.size).collect()
    }

    /// Whether the gradient of something in a buffer is needed.
    pub(super) fn is_differentiable(&self, buffer: usize) -> bool {
        self.buffers.get(buffer).is_some_and(|buffer| buffer.is_differentiable)
    }

    /// A step that writes a value.
    pub(super) fn push(&mut self, value: Value, write: Write, reads: Vec<Part>, to: Part) {
        let needs = self.needs_gradient(value);
        if let Some(buffer) = self.buffers.get_mut(to.buffer) {
            buffer.is_differentiable |= needs;
        }
        self.push_target(value, write, reads, Target { part: to, add: false });
    }

    /// A step that writes a value or adds to it.
    pub(super) fn push_target(&mut self, value: Value, write: Write, reads: Vec<Part>, to: Target) {
        self.push_step(Step { value, reads, work: Work::Write(write, to) });
    }

    pub(super) fn push_step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Adds a normalisation; the result is its number.
    pub(super) fn add_norm(&mut self, norm: Normalisation) -> usize {
        self.norms.push(norm);
        self.norms.len() - 1
    }

    /// Room that steps need to work in.
    pub(super) fn reserve(&mut self, scratch: ScratchSize) {
        self.scratch = self.scratch.union(scratch);
    }
}
