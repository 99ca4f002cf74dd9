//! What works element by element: functions, sums and products, channels in another order.

use super::backward::Backward;
use super::step::{Reads, Step, Sum, SumTarget, Tools, Write, Writes};
use super::{Lower, reference};
use crate::RuntimeError;
use crate::cpu::elements::channels::{copy, interleave, shuffle};
use crate::cpu::elements::combine::{Operand, combine, weigh};
use crate::cpu::elements::functions::{Function, apply};
use crate::cpu::elements::sums::{dot, pixel_dots};
use crate::cpu::grid::{Run, Source, runs};
use crate::cpu::place::{Form, Part, Place};
use network::graph::rewrite::Group;
use network::graph::{Activation, Node, Value};

/// Kernels that work element by element.
#[derive(Debug)]
pub(crate) enum Elements {
    /// Channels that lie in some runs, as they are or with a function applied.
    Copy { runs: Vec<Run>, activation: Option<Activation> },
    /// Two runs of channels in turn.
    Interleave { runs: [Run; 2] },
    /// The sum of two values.
    Add { activation: Option<Activation> },
    /// The product of two values.
    Multiply,
    /// The product with a value of one channel.
    MultiplyByPixel,
    /// The product with a parameter of one number.
    Scale { factor: usize },
    /// Channels in another order.
    ChannelShuffle { order: Vec<usize> },
    /// A function of one or two operands, which can be added to what is there: what gradients are made of.
    Each(Function),
    /// For each pixel the sum over channels of the products of two operands.
    PixelDots,
}

/// The gradient of a factor: the sum of all products of input and gradient of the result.
#[derive(Debug)]
pub(crate) struct FactorSum(SumTarget);

impl Elements {
    /// Its name, for tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Elements::Copy { .. } | Elements::Interleave { .. } => "copy",
            Elements::Add { .. } => "add",
            Elements::Multiply | Elements::MultiplyByPixel => "multiply",
            Elements::Scale { .. } => "scale",
            Elements::ChannelShuffle { .. } => "channel shuffle",
            Elements::Each(_) | Elements::PixelDots => "elements",
        }
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
            Elements::Copy { runs, activation } => {
                copy(team, first.0, (first.1, runs), result, (grid, channel), *activation);
            }
            Elements::Interleave { runs } => {
                interleave(team, first.0, (first.1, *runs), result, (grid, channel));
            }
            Elements::Add { activation } => {
                let [left, right] = reads.two()?.map(operand);
                combine(team, left, right, result, (grid, channel, channels), |a, b| a + b, *activation);
            }
            Elements::Multiply => {
                let [left, right] = reads.two()?.map(operand);
                combine(team, left, right, result, (grid, channel, channels), |a, b| a * b, None);
            }
            Elements::MultiplyByPixel => {
                let [left, right] = reads.two()?.map(operand);
                weigh(team, left, right, result, (grid, channel, channels));
            }
            Elements::Scale { factor } => {
                let factor = Function::Scaled(tools.store.number(*factor)?);
                apply(team, factor, [first; 2], (result, grid, channel), channels, add);
            }
            Elements::ChannelShuffle { order } => {
                shuffle(team, order, first, (result, grid, channel), add);
            }
            Elements::Each(function) => {
                let second = reads.optional(1)?.unwrap_or(first);
                apply(team, *function, [first, second], (result, grid, channel), channels, add);
            }
            Elements::PixelDots => {
                let summed = reads.part(0)?.channels;
                pixel_dots(team, reads.two()?, summed, (result, grid, channel), add);
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
        let each = |function| Write::Elements(Elements::Each(function));
        match (self, step.reads.as_slice()) {
            (Elements::Copy { activation: None, .. }, [_]) => backward.pass_on(step, 0, gradient),
            (Elements::Copy { activation: Some(activation), .. }, [x]) => {
                let function = Function::ActivationGradient(*activation);
                backward.contribute(step.value, *x, each(function), vec![*x, gradient])
            }
            (Elements::Add { activation: None }, [_, _]) => {
                backward.pass_on(step, 0, gradient)?;
                backward.pass_on(step, 1, gradient)
            }
            (Elements::Multiply, [left, right]) => {
                backward.contribute(step.value, *left, each(Function::Product), vec![gradient, *right])?;
                backward.contribute(step.value, *right, each(Function::Product), vec![gradient, *left])
            }
            (Elements::MultiplyByPixel, [left, right]) => {
                let by_pixel = each(Function::ProductByPixel);
                backward.contribute(step.value, *left, by_pixel, vec![gradient, *right])?;
                let dots = Write::Elements(Elements::PixelDots);
                backward.contribute(step.value, *right, dots, vec![gradient, *left])
            }
            (Elements::Scale { factor }, [x]) => {
                if let Some(target) = backward.sum(*factor) {
                    backward.push_sum(step.value, Sum::Factor(FactorSum(target)), vec![*x, gradient]);
                }
                let scale = Write::Elements(Elements::Scale { factor: *factor });
                backward.contribute(step.value, *x, scale, vec![gradient])
            }
            (Elements::ChannelShuffle { order }, [x]) => {
                let shuffle = Elements::ChannelShuffle { order: inverse(order) };
                backward.contribute(step.value, *x, Write::Elements(shuffle), vec![gradient])
            }
            _ => Err(backward.without_gradient(step)),
        }
    }
}

impl FactorSum {
    pub(crate) fn run(&self, tools: &mut Tools<'_>, reads: Reads<'_>) -> Result<(), RuntimeError> {
        let FactorSum(SumTarget { parameter, add }) = self;
        let product = dot(reads.two()?, reads.part(0)?.channels) as f32;
        for slot in tools.store.gradient_mut(*parameter)?.iter_mut().take(1) {
            *slot = product + if *add { *slot } else { 0.0 };
        }
        Ok(())
    }
}

impl Lower<'_> {
    /// A function of every element; a view where the parts of the value have applied it.
    pub(super) fn activation(
        &mut self,
        value: Value,
        x: Value,
        function: Activation,
    ) -> Result<(), RuntimeError> {
        let from = self.place(x)?;
        if self.applied.contains(&value) {
            self.settle(value, from);
            return Ok(());
        }
        self.by_channel(value, &from, |runs| {
            Write::Elements(Elements::Copy { runs, activation: Some(function) })
        })
    }

    /// A step that works channel by channel and leaves them as they lie.
    pub(super) fn by_channel(
        &mut self,
        value: Value,
        from: &Place,
        write: impl FnOnce(Vec<Run>) -> Write,
    ) -> Result<(), RuntimeError> {
        let (runs, ranks) = from.sorted();
        let mut to = match from.form {
            Form::Map => self.target(value, &[from.buffer])?,
            form => Place::of(from.packed_in(self.buffer(from.elements())), form),
        };
        self.push(value, write(runs), vec![from.span()], to.span());
        let first = to.span().channel;
        to.positions = ranks.into_iter().map(|rank| first + rank).collect();
        self.settle(value, to);
        Ok(())
    }

    /// The sum of two values.
    pub(super) fn add(&mut self, group: &Group, node: &Node) -> Result<(), RuntimeError> {
        let write = Write::Elements(Elements::Add { activation: group.activation });
        self.pairwise(group.result, node, write)
    }

    /// The product of two values, or of one with the only channel of another.
    pub(super) fn multiply(&mut self, value: Value, node: &Node) -> Result<(), RuntimeError> {
        let [left, right] = self.two(node)?;
        match (self.shape(left), self.shape(right)) {
            (left, right) if left == right => self.pairwise(value, node, Write::Elements(Elements::Multiply)),
            ([n, _, h, w], [images, 1, height, width]) if [n, h, w] == [images, height, width] => {
                self.pairwise(value, node, Write::Elements(Elements::MultiplyByPixel))
            }
            _ => reference::by_reference(self, value, node),
        }
    }

    /// A step of two values: of their channels where both lie alike or are maps, otherwise of their numbers as they
    /// lie row-major.
    fn pairwise(&mut self, value: Value, node: &Node, write: Write) -> Result<(), RuntimeError> {
        let [left, right] = self.two(node)?;
        let (one, other) = (self.place(left)?, self.place(right)?);
        let alike = |part: Part| (part.grid.images, part.grid.height, part.grid.width, part.channels);
        let (reads, to) = match (one.in_order(), other.in_order()) {
            _ if node.shape.len() == 4 => {
                let reads = [self.ordered(left)?, self.ordered(right)?];
                (reads, self.target(value, &reads.map(|part| part.buffer))?)
            }
            (Some(a), Some(b)) if one.form == other.form && alike(a) == alike(b) => {
                ([a, b], Place::of(a.packed_in(self.buffer(a.elements())), one.form))
            }
            _ => ([self.row_major(left)?, self.row_major(right)?], self.row_major_target(value)),
        };
        self.push(value, write, reads.to_vec(), to.span());
        self.settle(value, to);
        Ok(())
    }

    /// A learnable factor, kept in the store.
    pub(super) fn stored_scale(&mut self, value: Value, node: &Node) -> Result<(), RuntimeError> {
        let from = self.place(self.one(node)?)?;
        let factor = self.parameter(node, 0)?;
        self.by_channel(value, &from, |_| Write::Elements(Elements::Scale { factor }))
    }

    /// Channels dealt out in turn: packed weights find them where they are, others want them in order.
    pub(super) fn channel_shuffle(
        &mut self,
        value: Value,
        node: &Node,
        groups: usize,
    ) -> Result<(), RuntimeError> {
        let x = self.one(node)?;
        let from = self.map(x)?;
        let each = from.positions.len() / groups.max(1);
        let order = (0..from.positions.len()).map(|channel| channel % groups * each + channel / groups);
        if !self.is_packed() {
            let (order, from) = (order.collect(), self.ordered(x)?);
            let to = self.target(value, &[from.buffer])?;
            self.push(value, Write::Elements(Elements::ChannelShuffle { order }), vec![from], to.span());
            self.settle(value, to);
            return Ok(());
        }
        let positions = order.filter_map(|channel| from.positions.get(channel)).copied().collect();
        self.settle(value, Place { positions, ..from });
        Ok(())
    }
}

/// A copy of the channels at some positions, in their order.
pub(super) fn copied(positions: &[usize]) -> Write {
    let every_other =
        |first: usize| runs(&positions.iter().skip(first).step_by(2).copied().collect::<Vec<_>>());
    Write::Elements(match (runs(positions), every_other(0).as_slice(), every_other(1).as_slice()) {
        (runs, [first], [second]) if runs.len() > 1 => Elements::Interleave { runs: [*first, *second] },
        (runs, ..) => Elements::Copy { runs, activation: None },
    })
}

fn inverse(order: &[usize]) -> Vec<usize> {
    let mut pairs: Vec<(usize, usize)> = order.iter().copied().zip(0..).collect();
    pairs.sort_unstable();
    pairs.into_iter().map(|(_, at)| at).collect()
}

fn operand((data, grid, channel): Source<'_>) -> Operand<'_> {
    Operand { data, grid, channel }
}
