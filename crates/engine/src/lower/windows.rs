//! What works window by window: pooling and resizing.

use super::Lower;
use super::backward::Backward;
use super::step::{Reads, Step, Tools, Write, Writes};
use crate::RuntimeError;
use crate::cpu::grid::{Run, in_turn};
use crate::cpu::place::Part;
use crate::cpu::windows::max_pool::{max_pool, max_pool_gradient};
use crate::cpu::windows::resample::resample;
use crate::cpu::windows::window::Channels;
use crate::resample::Resample;
use network::graph::{Node, Op, Pool, Value};

/// Kernels that work window by window.
#[derive(Debug)]
pub(crate) enum Windows {
    MaxPool {
        pool: Pool,
        runs: Vec<Run>,
    },
    /// Of the input and the gradient of the result: adds to the gradient of the input.
    MaxPoolGradient {
        pool: Pool,
    },
    /// Weighted sums over rows and columns.
    Resample {
        weights: Box<Resample>,
        runs: Vec<Run>,
    },
}

impl Windows {
    /// Its name, for tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Windows::MaxPool { .. } | Windows::MaxPoolGradient { .. } => "max pool",
            Windows::Resample { .. } => "resample",
        }
    }

    /// Whether it can add to what is there.
    pub(crate) fn adds(&self) -> bool {
        matches!(self, Windows::MaxPoolGradient { .. })
    }

    pub(crate) fn run(
        &self,
        tools: &mut Tools<'_>,
        reads: Reads<'_>,
        to: Writes<'_>,
    ) -> Result<(), RuntimeError> {
        let (team, first, channels) = (tools.team, reads.source(0)?, to.channels);
        let (result, grid, channel) = to.target();
        let each = |(run, offset): (Run, usize)| Channels {
            from: run.start,
            to: channel + offset,
            count: run.length,
        };
        match self {
            Windows::MaxPool { pool, runs } => {
                for channels in in_turn(runs).map(each) {
                    max_pool(team, pool, (first.0, first.1), (result, grid), channels);
                }
            }
            Windows::Resample { weights, runs } => {
                for channels in in_turn(runs).map(each) {
                    resample(team, weights, (first.0, first.1), (result, grid), channels);
                }
            }
            Windows::MaxPoolGradient { pool } => {
                max_pool_gradient(team, pool, reads.two()?, (result, grid, channel), channels);
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
        let [x] = *step.reads.as_slice() else { return Err(backward.without_gradient(step)) };
        match self {
            Windows::MaxPool { pool, .. } => {
                let write = Write::Windows(Windows::MaxPoolGradient { pool: *pool });
                backward.contribute(step.value, x, write, vec![x, gradient])
            }
            Windows::Resample { weights, .. } => {
                let weights = Box::new(weights.transposed([x.grid.height, x.grid.width]));
                let runs = vec![Run { start: gradient.channel, length: gradient.channels }];
                let write = Write::Windows(Windows::Resample { weights, runs });
                backward.contribute(step.value, x, write, vec![gradient])
            }
            Windows::MaxPoolGradient { .. } => Err(backward.without_gradient(step)),
        }
    }
}

impl Lower<'_> {
    /// Pooling or resizing of a map.
    pub(super) fn windows(&mut self, value: Value, node: &Node) -> Result<(), RuntimeError> {
        let from = self.map(self.one(node)?)?;
        let size = [from.grid.height, from.grid.width];
        let weights = match &node.op {
            Op::MaxPool(pool) => {
                let pool = *pool;
                return self.by_channel(value, &from, |runs| Write::Windows(Windows::MaxPool { pool, runs }));
            }
            Op::AveragePool(pool) => Resample::average(pool, size),
            Op::AdaptiveAveragePool { size: to } => Resample::adaptive_average(size, *to),
            Op::Resize { mode, size: to } => Resample::resize(*mode, size, *to),
            _ => return Err(self.internal(value, "has no windows")),
        };
        let weights = Box::new(weights);
        self.by_channel(value, &from, |runs| Write::Windows(Windows::Resample { weights, runs }))
    }
}
