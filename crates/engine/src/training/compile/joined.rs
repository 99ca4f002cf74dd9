//! Values that are made of others without arithmetic: views, and concatenations.

use std::collections::HashMap;

use super::{Compiler, Done};
use crate::RuntimeError;
use crate::kernels::channels_last::Grid;
use crate::kernels::channels_last::gradients::Function;
use crate::training::place::{Place, Storage};
use crate::training::step::{Kernel, Target};
use network::graph::{Graph, Node, Op, Value};

impl Compiler<'_> {
    /// Maps as points, points before channels: the numbers stay where they are. Others are laid out row-major.
    pub(super) fn reordered(&mut self, value: Value, node: &Node, x: Value) -> Result<Done, RuntimeError> {
        let from = self.place(x)?;
        let is_channels_last = from.storage == Storage::ChannelsLast && from.grid.border == 0;
        let storage = match (&node.op, self.shape(x)) {
            (Op::Reshape { shape }, [n, c, h, w]) if is_channels_last && *shape == [*n, *c, h * w] => {
                Storage::ChannelsLast
            }
            (Op::Transpose { order }, [_, _, _])
                if is_channels_last && from.is_packed() && *order == [0, 2, 1] =>
            {
                Storage::RowMajor
            }
            (Op::Transpose { order }, _) => return self.transpose(value, node, x, order),
            _ => return self.reshape(value, node, x),
        };
        self.places.insert(value, Place { storage, ..from });
        Ok(Done::View { of: x, first: 0 })
    }

    pub(super) fn concatenation(
        &mut self,
        value: Value,
        node: &Node,
        axis: usize,
    ) -> Result<Done, RuntimeError> {
        let parts = node.inputs.iter().map(|input| self.place(*input)).collect::<Result<Vec<_>, _>>()?;
        let fits = parts.iter().all(|part| part.storage == Storage::ChannelsLast);
        let whole = match (axis, node.shape.as_slice()) {
            (1, [_, _, _, _]) if fits => Place::packed(0, &node.shape),
            (1 | 2, [images, channels, points]) if fits => Place::points(0, [*images, *channels, *points]),
            _ => return self.plain_concatenation(value, node, axis),
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
}

/// The places of the parts of a concatenation.
pub(in crate::training) fn within(whole: &Place, axis: usize, parts: &[Place]) -> Vec<Place> {
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

/// For every part of a concatenation of channels the first such, and the channels before it.
pub(super) fn concatenated(graph: &Graph) -> HashMap<Value, (Value, usize)> {
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
