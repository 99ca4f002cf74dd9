//! Back through what works on row-major numbers.

use super::Backward;
use crate::RuntimeError;
use crate::kernels::channels_last::axis::{Along, Axis};
use crate::kernels::channels_last::gradients::Function;
use crate::kernels::channels_last::order::Order;
use crate::training::compile::matrices;
use crate::training::place::{Place, Storage};
use crate::training::step::{Kernel, Target};
use network::graph::{Node, Op, Value};

impl Backward<'_, '_> {
    /// The gradient of a value row-major.
    fn plain(&mut self, value: Value, gradient: Place) -> Place {
        match gradient.storage {
            Storage::RowMajor => gradient,
            Storage::ChannelsLast => self.compiler.unpacked(value, gradient),
        }
    }

    /// Adds a share to the gradient of `to`, which the kernel computes row-major in rows as it wants them.
    fn contribute_plain(
        &mut self,
        value: Value,
        to: Value,
        kernel: Kernel,
        operands: Vec<Place>,
        rows: [usize; 3],
    ) -> Result<(), RuntimeError> {
        if !self.needs(to) {
            return Ok(());
        }
        let share = self.compiler.row_major(to);
        self.compiler.push(value, kernel, operands, Some(Target { place: share.seen_as(rows), add: false }));
        let own = self.compiler.place(to)?;
        match own.storage {
            Storage::ChannelsLast => self.contribute(value, to, Kernel::Pack, vec![share]),
            Storage::RowMajor => {
                let share = Place { grid: own.grid, ..share };
                self.contribute(value, to, Kernel::Each(Function::First), vec![share])
            }
        }
    }

    pub(super) fn reshape(&mut self, value: Value, x: Value, gradient: Place) -> Result<(), RuntimeError> {
        let gradient = self.plain(value, gradient);
        let own = self.compiler.place(x)?;
        match own.storage {
            Storage::ChannelsLast => self.contribute(value, x, Kernel::Pack, vec![gradient]),
            Storage::RowMajor => {
                let gradient = gradient.seen_as(own.rows());
                self.contribute(value, x, Kernel::Each(Function::First), vec![gradient])
            }
        }
    }

    pub(super) fn transpose(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        gradient: Place,
    ) -> Result<(), RuntimeError> {
        let Op::Transpose { order } = &node.op else { return Ok(()) };
        let mut back = vec![0; order.len()];
        for (axis, from) in order.iter().enumerate() {
            if let Some(slot) = back.get_mut(*from) {
                *slot = axis;
            }
        }
        let kernel = Kernel::Order(Order::new(&node.shape, &back));
        let rows = Place::row_major(0, self.compiler.shape(x)).rows();
        let operands = vec![self.plain(value, gradient)];
        self.contribute_plain(value, x, kernel, operands, rows)
    }

    pub(super) fn along(
        &mut self,
        value: Value,
        x: Value,
        (along, axis): (Along, Axis),
        gradient: Place,
    ) -> Result<(), RuntimeError> {
        let known = match along {
            Along::Softmax => self.compiler.plain(value)?,
            Along::TopK(_) => self.compiler.plain(x)?,
            Along::Mean => gradient,
        };
        let operands = vec![known, self.plain(value, gradient)];
        let rows = [1, axis.before, axis.size * axis.behind];
        self.contribute_plain(value, x, Kernel::AlongInput { along, axis }, operands, rows)
    }

    /// Of C = A B: dA = dC Bt, dB = At dC.
    pub(super) fn matrix_product(
        &mut self,
        value: Value,
        node: &Node,
        gradient: Place,
    ) -> Result<(), RuntimeError> {
        let [left, right] = *node.inputs.as_slice() else { return Ok(()) };
        let gradient = self.plain(value, gradient);
        let [_, rows, columns] = matrices(&node.shape);
        if self.needs(left) {
            let operands = vec![gradient, self.turned(value, right)?];
            let shape = matrices(self.compiler.shape(left));
            self.contribute_plain(value, left, Kernel::Product { inner: columns }, operands, shape)?;
        }
        if self.needs(right) {
            let operands = vec![self.turned(value, left)?, gradient];
            let shape = matrices(self.compiler.shape(right));
            self.contribute_plain(value, right, Kernel::Product { inner: rows }, operands, shape)?;
        }
        Ok(())
    }

    /// The matrices of `x` with rows and columns in each other's places.
    fn turned(&mut self, value: Value, x: Value) -> Result<Place, RuntimeError> {
        let from = self.compiler.plain(x)?;
        let [count, rows, columns] = matrices(self.compiler.shape(x));
        let order = Order::new(&[count, rows, columns], &[0, 2, 1]);
        let turned = self.compiler.row_major(x);
        let target = Target { place: turned.seen_as([1, count * columns, rows]), add: false };
        self.compiler.push(value, Kernel::Order(order), vec![from], Some(target));
        Ok(turned)
    }

    pub(super) fn plain_concatenation(
        &mut self,
        value: Value,
        node: &Node,
        axis: usize,
        gradient: Place,
    ) -> Result<(), RuntimeError> {
        let gradient = self.plain(value, gradient);
        let whole = Axis::new(&node.shape, axis);
        let mut start = 0;
        for input in &node.inputs {
            let length = Axis::new(self.compiler.shape(*input), axis).size * whole.behind;
            let part = gradient.seen_as([1, whole.before, whole.size * whole.behind]).part(start, length);
            let rows = [1, whole.before, length];
            self.contribute_plain(value, *input, Kernel::Each(Function::First), vec![part], rows)?;
            start += length;
        }
        Ok(())
    }
}
