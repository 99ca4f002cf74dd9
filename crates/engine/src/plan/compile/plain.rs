//! What works on row-major numbers: other shapes and orders of axes, sums along an axis, matrix products.

use super::concatenation::flattens;
use super::{Compiler, copy};
use crate::RuntimeError;
use crate::kernels::channels_last::axis::{Along, Axis};
use crate::kernels::channels_last::order::Order;
use crate::kernels::channels_last::{Grid, Run};
use crate::plan::place::{Form, Place};
use crate::plan::step::{Kernel, Part};
use network::graph::{Node, Value};

impl Compiler<'_, '_> {
    /// Where the numbers of a value lie row-major, for the current node alone if they did not yet.
    pub(super) fn plain(&mut self, x: Value) -> Result<Part, RuntimeError> {
        let from = self.place(x)?;
        let grid = Place::plain(0, self.shape(x)).grid;
        if from.form == Form::Plain {
            return Ok(Part { buffer: from.buffer, grid, channel: 0 });
        }
        let buffer = self.temporary(from.elements());
        self.unpack(x, &from, buffer);
        Ok(Part { buffer, grid, channel: 0 })
    }

    fn unpack(&mut self, x: Value, from: &Place, buffer: usize) {
        let Grid { images, height, width, .. } = from.grid;
        let part = Part { buffer: from.buffer, grid: from.grid, channel: 0 };
        let (kernel, grid) = match from.form {
            Form::PointsFirst => {
                let grid = Grid::packed(images, [height, width], from.positions.len());
                (copy(part, &from.positions), grid)
            }
            _ => {
                let grid = Grid::packed(images, [from.positions.len(), 1], height * width);
                (Kernel::Unpack { from: part, positions: from.positions.clone() }, grid)
            }
        };
        self.push(x, kernel, Part { buffer, grid, channel: 0 });
    }

    /// A step that makes a row-major value of one or two others, which lie so as well.
    fn step(&mut self, value: Value, node: &Node, kernel: Kernel, grid: Grid) {
        let place = self.plain_target(value);
        self.push(value, kernel, Part { buffer: place.buffer, grid, channel: 0 });
        self.places.insert(value, place);
        node.inputs.iter().for_each(|input| self.used(*input));
    }

    /// Numbers that lie row-major stay there, pixels become points, everything else is laid out row-major.
    pub(super) fn reshape(&mut self, value: Value, x: Value, shape: &[usize]) -> Result<(), RuntimeError> {
        let is_flattening = flattens(self.shape(x), shape);
        let is_view = self.view(value, x, |place| match place.form {
            Form::Plain => Some(Place::plain(place.buffer, shape)),
            Form::Map if is_flattening && place.grid.is_dense() => Some(place.as_points()),
            _ => None,
        })?;
        if !is_view {
            let from = self.place(x)?;
            let place = self.plain_target(value);
            self.unpack(value, &from, place.buffer);
            self.places.insert(value, place);
            self.used(x);
        }
        Ok(())
    }

    pub(super) fn transpose(
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
        if !turned {
            let from = self.plain(x)?;
            let order = Order::new(self.shape(x), order);
            let grid = Place::plain(0, &node.shape).grid;
            self.step(value, node, Kernel::Transpose { from: from.buffer, order }, grid);
        }
        Ok(())
    }

    pub(super) fn softmax(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        axis: usize,
    ) -> Result<(), RuntimeError> {
        self.along(value, node, x, axis, Along::Softmax)
    }

    pub(super) fn top_k(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        (axis, count): (usize, usize),
    ) -> Result<(), RuntimeError> {
        self.along(value, node, x, axis, Along::TopK(count))
    }

    pub(super) fn mean(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        axis: usize,
    ) -> Result<(), RuntimeError> {
        self.along(value, node, x, axis, Along::Mean)
    }

    fn along(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        axis: usize,
        along: Along,
    ) -> Result<(), RuntimeError> {
        let from = self.plain(x)?.buffer;
        let axis = Axis::new(self.shape(x), axis);
        let grid = Grid::packed(1, [axis.before, 1], along.size(axis) * axis.behind);
        self.step(value, node, Kernel::Along { along, from, axis }, grid);
        Ok(())
    }

    pub(super) fn matrix_product(
        &mut self,
        value: Value,
        node: &Node,
        left: Value,
        right: Value,
    ) -> Result<(), RuntimeError> {
        let inner = self.shape(left).last().copied().unwrap_or(0);
        let [left, right] = [self.plain(left)?.buffer, self.plain(right)?.buffer];
        let [rows, columns] = [1, 0].map(|back| node.shape.iter().rev().nth(back).copied().unwrap_or(1));
        let matrices = node.shape.iter().rev().skip(2).product();
        let grid = Grid::packed(matrices, [rows, 1], columns);
        self.step(value, node, Kernel::Product { left, right, inner }, grid);
        Ok(())
    }

    /// Some positions of an axis.
    pub(super) fn slice_plain(
        &mut self,
        value: Value,
        x: Value,
        (axis, start, length): (usize, usize, usize),
    ) -> Result<(), RuntimeError> {
        let from = self.plain(x)?;
        let axis = Axis::new(self.shape(x), axis);
        let place = self.plain_target(value);
        let runs = vec![Run { start: start * axis.behind, length: length * axis.behind }];
        let from = Part { grid: Grid::packed(1, [axis.before, 1], axis.size * axis.behind), ..from };
        let grid = Grid::packed(1, [axis.before, 1], length * axis.behind);
        let to = Part { buffer: place.buffer, grid, channel: 0 };
        self.push(value, Kernel::Copy { from, runs, activation: None }, to);
        self.places.insert(value, place);
        self.used(x);
        Ok(())
    }

    /// Row-major values one after another along an axis.
    pub(super) fn concat_plain(
        &mut self,
        value: Value,
        node: &Node,
        axis: usize,
    ) -> Result<(), RuntimeError> {
        let whole = Axis::new(&node.shape, axis);
        let place = self.plain_target(value);
        let grid = Grid::packed(1, [whole.before, 1], whole.size * whole.behind);
        let mut channel = 0;
        for input in &node.inputs {
            let from = self.plain(*input)?;
            let length = Axis::new(self.shape(*input), axis).size * whole.behind;
            let from = Part { grid: Grid::packed(1, [whole.before, 1], length), ..from };
            let runs = vec![Run { start: 0, length }];
            let to = Part { buffer: place.buffer, grid, channel };
            self.push(value, Kernel::Copy { from, runs, activation: None }, to);
            channel += length;
        }
        self.places.insert(value, place);
        node.inputs.iter().for_each(|input| self.used(*input));
        Ok(())
    }
}
