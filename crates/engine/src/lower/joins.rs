//! What only says where channels are: slices, and concatenations, into which most parts are written at once.

use std::collections::HashMap;

use super::Lower;
use super::elements::copied;
use crate::RuntimeError;
use crate::cpu::grid::Grid;
use crate::cpu::place::{Form, Part, Place};
use network::graph::{Graph, Node, Op, Value};

/// A place in a concatenation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joined {
    concatenation: Value,
    /// Channels, or points, before it.
    offset: usize,
}

/// The place in a concatenation where each value may be written at once; the first of several. Maps that are
/// flattened into points count as those.
pub(super) fn joined(graph: &Graph) -> HashMap<Value, Joined> {
    let mut found = HashMap::new();
    for (concatenation, node) in graph.values() {
        let axis = match (&node.op, node.shape.len()) {
            (Op::Concat { axis: 1 }, 4) => 1,
            (Op::Concat { axis: 2 }, 3) => 2,
            _ => continue,
        };
        let mut offset = 0;
        for (input, part) in node.inputs.iter().filter_map(|input| Some((*input, graph.node(*input)?))) {
            let map = if axis == 2 { flattened(graph, part) } else { None };
            found.entry(map.unwrap_or(input)).or_insert(Joined { concatenation, offset });
            offset += part.shape.get(axis).copied().unwrap_or(0);
        }
    }
    found
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

impl Lower<'_> {
    /// Where a map may be written into a concatenation.
    pub(super) fn place_in_concatenation(&mut self, value: Value) -> Option<Place> {
        let Joined { concatenation, offset } = self.joined(value)?;
        let [images, channels, height, width] = *self.shape(value) else { return None };
        let whole = self.shape(concatenation).to_vec();
        let (grid, first) = match *whole {
            [_, all, _, _] => (Grid::packed(images, [height, width], all), offset),
            [_, _, points] => {
                let grid = Grid::packed(images, [height, width], channels);
                (Grid { start: offset * channels, image: points * channels, ..grid }, 0)
            }
            _ => return None,
        };
        let buffer = self.concatenation(concatenation, whole.iter().product());
        Some(Place { buffer, form: Form::Map, grid, positions: (first..first + channels).collect() })
    }

    /// Parts that were written into their place stay there, others are copied.
    pub(super) fn join(&mut self, value: Value, node: &Node, axis: usize) -> Result<(), RuntimeError> {
        let form = match (axis, node.shape.len()) {
            (1, 4) => Form::Map,
            (1 | 2, 3) => Form::ChannelsFirst,
            _ => return self.join_row_major(value, node, axis),
        };
        let mut parts = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            parts.push(if form == Form::Map { self.map(*input)? } else { self.place(*input)? });
        }
        if parts.iter().any(|part| part.form != form) {
            return self.join_row_major(value, node, axis);
        }
        let buffer = self.concatenation(value, node.shape.iter().product());
        let mut place = whole(buffer, form, &node.shape);
        let (mut offset, mut positions) = (0, Vec::new());
        for part in &parts {
            let to = slot(&place, axis, part, offset);
            positions.extend(self.joined_at(value, axis, part, to));
            offset += if axis == 1 { part.positions.len() } else { part.grid.pixels() };
        }
        if axis == 1 {
            place.positions = positions;
        }
        self.settle(value, place);
        Ok(())
    }

    /// The positions of a part's channels in a concatenation, to which it is copied if it does not lie there.
    fn joined_at(&mut self, value: Value, axis: usize, part: &Place, to: Part) -> Vec<usize> {
        if part.buffer == to.buffer && part.grid == to.grid && lies_at(axis, part, &to) {
            return part.positions.clone();
        }
        let mut from = part.span();
        let mut positions = part.positions.clone();
        if from.buffer == to.buffer {
            // A step does not write what it reads: by way of a third place.
            let between = part.packed_in(self.buffer(part.elements()));
            self.push(value, copied(&positions), vec![from], between);
            (from, positions) = (between, (0..between.channels).collect());
        }
        self.push(value, copied(&positions), vec![from], to);
        (to.channel..to.channel + to.channels).collect()
    }

    /// Some of the channels of a map stay where they are; some positions of another axis are copied.
    pub(super) fn slice(&mut self, value: Value, node: &Node) -> Result<(), RuntimeError> {
        let Op::Slice { axis, start, length } = node.op else {
            return Err(self.internal(value, "is no slice"));
        };
        if axis != 1 || node.shape.len() != 4 {
            return self.slice_row_major(value, node, (axis, start, length));
        }
        let place = self.map(self.one(node)?)?;
        let positions = place.positions.iter().skip(start).take(length).copied().collect();
        self.settle(value, Place { positions, ..place });
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
    Place::of(Part::whole(buffer, Grid::packed(images, size, channels)), form)
}

/// Where a part of a concatenation goes: channels, or a level of points.
fn slot(whole: &Place, axis: usize, part: &Place, offset: usize) -> Part {
    let all = whole.span();
    if axis == 1 {
        return all.part(offset, part.positions.len());
    }
    let Grid { height, width, .. } = part.grid;
    let record = whole.grid.record;
    let grid = Grid { start: offset * record, height, width, row: width * record, ..whole.grid };
    Part { grid, ..all }
}

/// Whether the channels of a part are those of its place in a concatenation, in any order. Levels of points must have
/// theirs in order, as all levels share one.
fn lies_at(axis: usize, part: &Place, to: &Part) -> bool {
    let end = to.channel + part.positions.len();
    match axis {
        1 => part.positions.iter().all(|position| (to.channel..end).contains(position)),
        _ => part.in_order().is_some_and(|part| part.channel == 0),
    }
}
