//! What works on row-major numbers: other shapes and orders of axes, sums along an axis, matrix products.

use super::{Compiler, Done};
use crate::RuntimeError;
use crate::kernels::channels_last::axis::{Along, Axis};
use crate::kernels::channels_last::gradients::Function;
use crate::kernels::channels_last::order::Order;
use crate::training::place::{Place, Storage};
use crate::training::step::{Kernel, Target};
use network::graph::{Node, Op, Value};

impl Compiler<'_> {
    /// Where the numbers of a value lie row-major; they are copied there the first time that this is asked.
    pub(in crate::training) fn plain(&mut self, value: Value) -> Result<Place, RuntimeError> {
        let place = self.place(value)?;
        if place.storage == Storage::RowMajor {
            return Ok(place);
        }
        if let Some(place) = self.plain_copies.get(&value) {
            return Ok(*place);
        }
        let copy = self.unpacked(value, place);
        self.plain_copies.insert(value, copy);
        Ok(copy)
    }

    /// A step that writes what lies at `place`, a value or the gradient of one, row-major.
    pub(in crate::training) fn unpacked(&mut self, value: Value, place: Place) -> Place {
        let copy = self.row_major(value);
        let seen = [place.grid.images, place.channels, place.grid.pixels()];
        self.push(value, Kernel::Unpack, vec![place], Some(Target { place: copy.seen_as(seen), add: false }));
        copy
    }

    /// Room for the numbers of a value, or for its gradient.
    pub(in crate::training) fn row_major(&mut self, value: Value) -> Place {
        let size = self.shape(value).iter().product();
        Place::row_major(self.buffer(size), self.shape(value))
    }

    /// Whether all that take a value want it row-major.
    fn is_plain(&self, value: Value, node: &Node) -> bool {
        let is_output = self.graph.outputs().iter().any(|(_, output)| *output == value);
        let takes_plain = |user: &Value| {
            let op = self.graph.node(*user).map(|node| &node.op);
            let along = matches!(op, Some(Op::Softmax { .. } | Op::TopK { .. } | Op::Mean { .. }));
            along || matches!(op, Some(Op::Reshape { .. } | Op::Transpose { .. } | Op::MatMul))
        };
        let all_do = || self.users.get(&value).is_some_and(|users| users.iter().all(takes_plain));
        node.shape.len() != 4 || (!is_output && all_do())
    }

    /// Steps for a node whose result is computed row-major, in rows as the kernel wants them: each a kernel, its
    /// operands, and the channels of those rows that it writes.
    fn plain_result(
        &mut self,
        value: Value,
        node: &Node,
        rows: [usize; 3],
        kernels: Vec<(Kernel, Vec<Place>, [usize; 2])>,
    ) {
        let result = self.row_major(value);
        for (kernel, operands, [start, length]) in kernels {
            let place = result.seen_as(rows).part(start, length);
            self.push(value, kernel, operands, Some(Target { place, add: false }));
        }
        if self.is_plain(value, node) {
            self.places.insert(value, result);
        } else {
            self.plain_copies.insert(value, result);
            self.write(value, node, vec![result], Kernel::Pack);
        }
    }

    pub(super) fn reshape(&mut self, value: Value, node: &Node, x: Value) -> Result<Done, RuntimeError> {
        let from = self.plain(x)?;
        if self.is_plain(value, node) {
            let rows = from.rows();
            let copy = (Kernel::Each(Function::First), vec![from.seen_as(rows)], [0, from.channels]);
            self.plain_result(value, node, rows, vec![copy]);
        } else {
            self.write(value, node, vec![from], Kernel::Pack);
        }
        Ok(Done::Reshape)
    }

    pub(super) fn transpose(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        order: &[usize],
    ) -> Result<Done, RuntimeError> {
        let kernel = Kernel::Order(Order::new(self.shape(x), order));
        let rows = Place::row_major(0, &node.shape).rows();
        let step = (kernel, vec![self.plain(x)?], [0, rows[2]]);
        self.plain_result(value, node, rows, vec![step]);
        Ok(Done::Transpose)
    }

    pub(super) fn along(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        (along, axis): (Along, usize),
    ) -> Result<Done, RuntimeError> {
        let axis = Axis::new(self.shape(x), axis);
        let floats = along.size(axis) * axis.behind;
        let step = (Kernel::Along { along, axis }, vec![self.plain(x)?], [0, floats]);
        self.plain_result(value, node, [1, axis.before, floats], vec![step]);
        Ok(Done::Along { along, axis })
    }

    pub(super) fn matrix_product(
        &mut self,
        value: Value,
        node: &Node,
        operands: [Value; 2],
    ) -> Result<Done, RuntimeError> {
        let [left, right] = operands;
        let inner = self.shape(left).last().copied().unwrap_or(0);
        let [matrices, rows, columns] = matrices(&node.shape);
        let step = (Kernel::Product { inner }, vec![self.plain(left)?, self.plain(right)?], [0, columns]);
        self.plain_result(value, node, [matrices, rows, columns], vec![step]);
        Ok(Done::MatrixProduct)
    }

    pub(super) fn plain_concatenation(
        &mut self,
        value: Value,
        node: &Node,
        axis: usize,
    ) -> Result<Done, RuntimeError> {
        let whole = Axis::new(&node.shape, axis);
        let (mut steps, mut start) = (Vec::new(), 0);
        for input in &node.inputs {
            let length = Axis::new(self.shape(*input), axis).size * whole.behind;
            let part = self.plain(*input)?.seen_as([1, whole.before, length]);
            steps.push((Kernel::Each(Function::First), vec![part], [start, length]));
            start += length;
        }
        self.plain_result(value, node, [1, whole.before, start], steps);
        Ok(Done::PlainConcatenation { axis })
    }

    pub(in crate::training) fn shape(&self, value: Value) -> &[usize] {
        self.graph.node(value).map(|node| node.shape.as_slice()).unwrap_or_default()
    }
}

/// Number of matrices, their rows and columns.
pub(in crate::training) fn matrices(shape: &[usize]) -> [usize; 3] {
    let [rows, columns] = [1, 0].map(|back| shape.iter().rev().nth(back).copied().unwrap_or(1));
    [shape.iter().rev().skip(2).product(), rows, columns]
}
