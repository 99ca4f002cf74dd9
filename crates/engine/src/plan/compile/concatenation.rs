//! Concatenations, into which most parts are written at once.

use std::collections::HashMap;

use super::{Compiler, copy};
use crate::RuntimeError;
use crate::kernels::channels_last::Grid;
use crate::plan::place::{Form, Place};
use crate::plan::step::Part;
use network::graph::{Graph, Node, Op, Value};

/// A place in a concatenation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    concatenation: Value,
    /// Channels, or points, before it.
    offset: usize,
}

/// The place in a concatenation where each value may be written at once; the first of several. Maps that are
/// flattened into points count as those.
pub(super) fn targets(graph: &Graph) -> HashMap<Value, Target> {
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
            let map = if axis == 2 { flattened(graph, part) } else { None };
            targets.entry(map.unwrap_or(*input)).or_insert(Target { concatenation, offset });
            offset += part.shape.get(axis).copied().unwrap_or(0);
        }
    }
    targets
}

/// The map whose points a node makes of it.
fn flattened(graph: &Graph, node: &Node) -> Option<Value> {
    let map = node.inputs.first().copied()?;
    let is_flattening =
        matches!(node.op, Op::Reshape { .. }) && flattens(&graph.node(map)?.shape, &node.shape);
    is_flattening.then_some(map)
}

/// Whether another shape makes points of the pixels of a map.
pub(super) fn flattens(from: &[usize], to: &[usize]) -> bool {
    match (from, to) {
        ([n, c, h, w], [images, channels, points]) => [*n, *c, h * w] == [*images, *channels, *points],
        _ => false,
    }
}

impl Compiler<'_, '_> {
    pub(super) fn part_of_concatenation(&mut self, value: Value, shape: &[usize]) -> Option<Place> {
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

    /// Parts that were written into their place stay there, others are copied.
    pub(super) fn concat(&mut self, value: Value, node: &Node, axis: usize) -> Result<(), RuntimeError> {
        let form = match (axis, node.shape.len()) {
            (1, 4) => Form::Map,
            (1 | 2, 3) => Form::ChannelsFirst,
            _ => return self.concat_plain(value, node, axis),
        };
        let mut parts = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            parts.push(if form == Form::Map { self.map(*input)? } else { self.place(*input)? });
        }
        if parts.iter().any(|part| part.form != form) {
            return self.concat_plain(value, node, axis);
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
}

/// All of a concatenation.
fn whole(buffer: usize, form: Form, shape: &[usize]) -> Place {
    let (images, channels, size) = match *shape {
        [images, channels, points] => (images, channels, [1, points]),
        [images, channels, height, width] => (images, channels, [height, width]),
        _ => (0, 0, [0; 2]),
    };
    Place { buffer, form, grid: Grid::packed(images, size, channels), positions: (0..channels).collect() }
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
