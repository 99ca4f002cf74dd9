//! What works on row-major numbers: other shapes and orders of axes, sums along an axis, matrix products.

use super::Lower;
use super::backward::Backward;
use super::elements::copied;
use super::step::{Reads, Step, Target, Tools, Write, Writes};
use crate::RuntimeError;
use crate::cpu::elements::planes::{pack, unpack};
use crate::cpu::grid::Run;
use crate::cpu::place::{Form, Part, Place};
use crate::cpu::rows::axis::{Along, Axis};
use crate::cpu::rows::product::product;
use crate::cpu::rows::transpose::Transpose;
use network::graph::{Node, Op, Value};

/// Kernels that work on row-major numbers.
#[derive(Debug)]
pub(crate) enum Rows {
    /// Channels laid out one after another.
    Unpack { positions: Vec<usize> },
    /// Channels of row-major numbers.
    Pack,
    /// Axes in another order, that of a value of this shape.
    Transpose { kernel: Transpose, shape: Vec<usize>, order: Vec<usize> },
    /// Sums, the largest, or shares along an axis.
    Along { along: Along, axis: Axis },
    /// Of what is known and the gradient of the result.
    AlongGradient { along: Along, axis: Axis },
    /// Matrix products.
    Product { inner: usize },
}

impl Rows {
    /// Its name, for tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Rows::Unpack { .. } | Rows::Pack | Rows::Transpose { .. } => "transpose",
            Rows::Along { along, .. } | Rows::AlongGradient { along, .. } => match along {
                Along::Softmax => "softmax",
                Along::TopK(_) => "top k",
                Along::Mean => "mean",
            },
            Rows::Product { .. } => "matrix product",
        }
    }

    /// Whether it can add to what is there.
    pub(crate) fn adds(&self) -> bool {
        matches!(self, Rows::Pack)
    }

    pub(crate) fn run(
        &self,
        tools: &mut Tools<'_>,
        reads: Reads<'_>,
        to: Writes<'_>,
    ) -> Result<(), RuntimeError> {
        let (team, first) = (tools.team, reads.source(0)?);
        let (channels, add) = (to.channels, to.add);
        let (result, grid, channel) = to.target();
        match self {
            Rows::Unpack { positions } => {
                unpack(team, first.0, first.1, positions.iter().copied(), (result, grid));
            }
            Rows::Pack => pack(team, first.0, (result, grid, channel), channels, add),
            Rows::Transpose { kernel, .. } => kernel.run(team, first.0, (result, grid)),
            Rows::Along { along, axis } => along.run(team, first.0, *axis, (result, grid)),
            Rows::AlongGradient { along, axis } => {
                let known_and_gradient = reads.two()?.map(|(floats, ..)| floats);
                along.gradient(team, known_and_gradient, *axis, (result, grid));
            }
            Rows::Product { inner } => {
                let [(left, ..), (right, ..)] = reads.two()?;
                product(team, left, right, *inner, (result, grid));
            }
        }
        Ok(())
    }

    /// Gives the gradient of the result on to what was read.
    pub(super) fn backward(
        &self,
        backward: &mut Backward<'_, '_>,
        step: &Step,
        gradient: Part,
    ) -> Result<(), RuntimeError> {
        // What is computed row-major is read without gaps.
        let gradient = match self {
            Rows::Pack => gradient,
            _ => backward.packed(step.value, gradient),
        };
        match (self, step.reads.as_slice()) {
            (Rows::Unpack { .. }, [x]) => {
                backward.contribute(step.value, *x, Write::Rows(Rows::Pack), vec![gradient])
            }
            (Rows::Pack, [x]) => {
                let positions = (gradient.channel..gradient.channel + gradient.channels).collect();
                let x = x.seen_as([gradient.grid.images, gradient.channels, gradient.grid.pixels()]);
                backward.contribute(step.value, x, Write::Rows(Rows::Unpack { positions }), vec![gradient])
            }
            (Rows::Transpose { shape, order, .. }, [x]) => {
                let back = Rows::transpose(permuted(shape, order), inverse(order));
                backward.contribute(step.value, *x, Write::Rows(back), vec![gradient])
            }
            (Rows::Along { along, axis }, [x]) => {
                let known = match along {
                    Along::Softmax => step.target(),
                    Along::TopK(_) => Some(*x),
                    Along::Mean => Some(gradient),
                };
                let known = known.ok_or_else(|| backward.without_gradient(step))?;
                let rows = x.seen_as([1, axis.before, axis.size * axis.behind]);
                let write = Rows::AlongGradient { along: *along, axis: *axis };
                backward.contribute(step.value, rows, Write::Rows(write), vec![known, gradient])
            }
            (Rows::Product { inner }, [left, right]) => {
                products_backward(backward, step, *inner, [*left, *right], gradient)
            }
            _ => Err(backward.without_gradient(step)),
        }
    }

    /// A value of this shape with its axes in another order.
    fn transpose(shape: Vec<usize>, order: Vec<usize>) -> Rows {
        Rows::Transpose { kernel: Transpose::new(&shape, &order), shape, order }
    }
}

/// Of C = A B: dA = dC Bt, dB = At dC.
fn products_backward(
    backward: &mut Backward<'_, '_>,
    step: &Step,
    inner: usize,
    [left, right]: [Part; 2],
    gradient: Part,
) -> Result<(), RuntimeError> {
    let [matrices, rows, columns] = [gradient.grid.images, gradient.grid.pixels(), gradient.channels];
    let product = |inner| Write::Rows(Rows::Product { inner });
    if backward.wants(left) {
        let turned = turned(backward, step.value, right, [matrices, inner, columns])?;
        let left = left.seen_as([matrices, rows, inner]);
        backward.contribute(step.value, left, product(columns), vec![gradient, turned])?;
    }
    if backward.wants(right) {
        let turned = turned(backward, step.value, left, [matrices, rows, inner])?;
        let right = right.seen_as([matrices, inner, columns]);
        backward.contribute(step.value, right, product(rows), vec![turned, gradient])?;
    }
    Ok(())
}

/// Matrices with rows and columns in each other's places.
fn turned(
    backward: &mut Backward<'_, '_>,
    value: Value,
    from: Part,
    [count, rows, columns]: [usize; 3],
) -> Result<Part, RuntimeError> {
    let buffer = backward.buffer(count * rows * columns);
    let to = Part { buffer, ..from }.seen_as([1, count * columns, rows]);
    let kernel = Rows::transpose(vec![count, rows, columns], vec![0, 2, 1]);
    backward.push(value, Write::Rows(kernel), vec![from], Target { part: to, add: false });
    Ok(to)
}

/// Number of matrices, their rows and columns.
fn matrices(shape: &[usize]) -> [usize; 3] {
    let [rows, columns] = [1, 0].map(|back| shape.iter().rev().nth(back).copied().unwrap_or(1));
    [shape.iter().rev().skip(2).product(), rows, columns]
}

fn permuted(shape: &[usize], order: &[usize]) -> Vec<usize> {
    order.iter().filter_map(|axis| shape.get(*axis).copied()).collect()
}

fn inverse(order: &[usize]) -> Vec<usize> {
    let mut pairs: Vec<(usize, usize)> = order.iter().copied().zip(0..).collect();
    pairs.sort_unstable();
    pairs.into_iter().map(|(_, at)| at).collect()
}

impl Lower<'_> {
    /// Where the numbers of a value lie row-major; they are copied there the first time that this is asked.
    pub(super) fn row_major(&mut self, x: Value) -> Result<Part, RuntimeError> {
        let from = self.place(x)?;
        let whole = Place::row_major(from.buffer, self.shape(x)).span();
        let lies_so = match (from.form, from.in_order()) {
            (Form::PointsFirst, Some(part)) => part.is_packed(),
            (form, _) => form == Form::RowMajor,
        };
        if lies_so {
            return Ok(whole);
        }
        if let Some(copy) = self.row_major_copy(x) {
            return Ok(copy);
        }
        let copy = Part { buffer: self.buffer(from.elements()), ..whole };
        self.unpack(x, &from, copy);
        self.settle_row_major(x, copy);
        Ok(copy)
    }

    /// A step that lays a value out row-major.
    fn unpack(&mut self, value: Value, from: &Place, copy: Part) {
        let (span, channels) = (from.span(), from.positions.len());
        let (write, to) = match from.form {
            Form::PointsFirst => (copied(&from.positions), from.packed_in(copy.buffer)),
            _ => {
                let rows = [span.grid.images, channels, span.grid.pixels()];
                (Write::Rows(Rows::Unpack { positions: from.positions.clone() }), copy.seen_as(rows))
            }
        };
        self.push(value, write, vec![span], to);
    }

    /// Numbers that lie row-major stay there, pixels become points, everything else is laid out row-major.
    pub(super) fn reshape(&mut self, value: Value, node: &Node) -> Result<(), RuntimeError> {
        let x = self.one(node)?;
        let from = self.place(x)?;
        let place = match from.form {
            Form::Map if super::joins::flattens(self.shape(x), &node.shape) && from.grid.is_dense() => {
                from.as_points()
            }
            _ => Place::row_major(self.row_major(x)?.buffer, &node.shape),
        };
        self.settle(value, place);
        Ok(())
    }

    /// Points before channels or after them: they lie where they lay. Other orders are copied.
    pub(super) fn transpose(
        &mut self,
        value: Value,
        node: &Node,
        order: &[usize],
    ) -> Result<(), RuntimeError> {
        let x = self.one(node)?;
        let from = self.place(x)?;
        let turned = match from.form {
            Form::ChannelsFirst => Some(Form::PointsFirst),
            Form::PointsFirst => Some(Form::ChannelsFirst),
            Form::Map | Form::RowMajor => None,
        };
        if let (Some(form), [0, 2, 1]) = (turned, order) {
            self.settle(value, Place { form, ..from });
            return Ok(());
        }
        let kernel = Rows::transpose(self.shape(x).to_vec(), order.to_vec());
        let rows = Place::row_major(0, &node.shape).span();
        let from = self.row_major(x)?;
        self.row_major_step(value, kernel, vec![from], [1, rows.grid.pixels(), rows.channels])
    }

    /// Softmax, the largest values or the mean along an axis.
    pub(super) fn along(&mut self, value: Value, node: &Node) -> Result<(), RuntimeError> {
        let (along, axis) = match &node.op {
            Op::Softmax { axis } => (Along::Softmax, *axis),
            Op::TopK { axis, count } => (Along::TopK(*count), *axis),
            Op::Mean { axis } => (Along::Mean, *axis),
            _ => return Err(self.internal(value, "does not work along an axis")),
        };
        let x = self.one(node)?;
        let axis = Axis::new(self.shape(x), axis);
        let from = self.row_major(x)?;
        let rows = [1, axis.before, along.size(axis) * axis.behind];
        self.row_major_step(value, Rows::Along { along, axis }, vec![from], rows)
    }

    pub(super) fn matrix_product(&mut self, value: Value, node: &Node) -> Result<(), RuntimeError> {
        let [left, right] = self.two(node)?;
        let inner = self.shape(left).last().copied().unwrap_or(0);
        let operands = vec![self.row_major(left)?, self.row_major(right)?];
        self.row_major_step(value, Rows::Product { inner }, operands, matrices(&node.shape))
    }

    /// A step whose result is computed row-major, in rows as the kernel wants them.
    fn row_major_step(
        &mut self,
        value: Value,
        kernel: Rows,
        reads: Vec<Part>,
        rows: [usize; 3],
    ) -> Result<(), RuntimeError> {
        let to = self.row_major_target(value);
        self.push(value, Write::Rows(kernel), reads, to.span().seen_as(rows));
        self.settle(value, to);
        Ok(())
    }

    /// Some positions of an axis of a row-major value.
    pub(super) fn slice_row_major(
        &mut self,
        value: Value,
        node: &Node,
        (axis, start, length): (usize, usize, usize),
    ) -> Result<(), RuntimeError> {
        let x = self.one(node)?;
        let axis = Axis::new(self.shape(x), axis);
        let whole = self.row_major(x)?.seen_as([1, axis.before, axis.size * axis.behind]);
        let from = whole.part(start * axis.behind, length * axis.behind);
        let to = self.row_major_target(value);
        self.push(value, run_of(from), vec![from], to.span().seen_as([1, axis.before, from.channels]));
        self.settle(value, to);
        Ok(())
    }

    /// Row-major values one after another along an axis.
    pub(super) fn join_row_major(
        &mut self,
        value: Value,
        node: &Node,
        axis: usize,
    ) -> Result<(), RuntimeError> {
        let whole = Axis::new(&node.shape, axis);
        let to = self.row_major_target(value);
        let rows = to.span().seen_as([1, whole.before, whole.size * whole.behind]);
        let mut channel = 0;
        for input in &node.inputs {
            let length = Axis::new(self.shape(*input), axis).size * whole.behind;
            let from = self.row_major(*input)?.seen_as([1, whole.before, length]);
            self.push(value, run_of(from), vec![from], rows.part(channel, length));
            channel += length;
        }
        self.settle(value, to);
        Ok(())
    }
}

/// A copy of a part as it lies.
fn run_of(from: Part) -> Write {
    let runs = vec![Run { start: from.channel, length: from.channels }];
    Write::Elements(super::elements::Elements::Copy { runs, activation: None })
}
