//! Steps of training that work element by element or channel by channel, written or added to what is there.

use pulp::{Simd, WithSimd};

use super::Grid;
use super::instructions::Instructions;
use super::products::Source;
use super::registers::{activated, load, store};
use super::slope::descend;
use super::team::{Parts, Team};
use crate::graph::Activation;

/// What is made of an element of one operand, or of two.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Function {
    First,
    Sum,
    Product,
    /// The first times a number.
    Scaled(f32),
    Activated(Activation),
    /// The second, a gradient, times the derivative at the first.
    Descended(Activation),
}

/// Writes a function of channels, or adds it to what is there.
pub(crate) fn each(
    team: &Team,
    function: Function,
    operands: [Source<'_>; 2],
    (result, to, channel): (&mut [f32], Grid, usize),
    channels: usize,
    add: bool,
) {
    to.split_rows(team, result, 4 * channels, |image, first_row, result| {
        let rows = Rows { image, first_row, to, channel, channels, add };
        Instructions::get().run(Each { function, operands, rows, result });
    });
}

/// Some rows of a result.
#[derive(Clone, Copy)]
struct Rows {
    image: usize,
    first_row: usize,
    to: Grid,
    channel: usize,
    channels: usize,
    add: bool,
}

struct Each<'a, 'r> {
    function: Function,
    operands: [Source<'a>; 2],
    rows: Rows,
    result: &'r mut [f32],
}

impl WithSimd for Each<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Each { function, operands: [left, right], rows, result } = self;
        let Rows { image, first_row, to, channel, channels, add } = rows;
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let target = record.get_mut(channel..channel + channels).unwrap_or_default();
                let [left, right] = [left, right].map(|(floats, grid, first)| {
                    let at = grid.at(image, first_row + row, column) + first;
                    floats.get(at..at + channels).unwrap_or_default()
                });
                for (block, target) in target.chunks_mut(S::F32_LANES).enumerate() {
                    let range = block * S::F32_LANES..block * S::F32_LANES + target.len();
                    let [a] = load::<S, 1>(simd, left.get(range.clone()).unwrap_or_default());
                    let [b] = load::<S, 1>(simd, right.get(range).unwrap_or_default());
                    let mut value = match function {
                        Function::First => a,
                        Function::Sum => simd.add_f32s(a, b),
                        Function::Product => simd.mul_f32s(a, b),
                        Function::Scaled(factor) => simd.mul_f32s(a, simd.splat_f32s(factor)),
                        Function::Activated(activation) => activated(simd, Some(activation), a),
                        Function::Descended(activation) => descend(simd, Some(activation), a, b),
                    };
                    if add {
                        let [there] = load::<S, 1>(simd, target);
                        value = simd.add_f32s(value, there);
                    }
                    store(simd, &[value], None, target);
                }
            }
        }
    }
}

/// Writes channels in another order, or adds them to what is there: channel c is that at `order[c]`.
pub(crate) fn deal(
    team: &Team,
    order: &[usize],
    (x, from, first): Source<'_>,
    (result, to, channel): (&mut [f32], Grid, usize),
    add: bool,
) {
    to.split_rows(team, result, 8 * order.len(), |image, first_row, result| {
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let at = from.at(image, first_row + row, column) + first;
                let source = x.get(at..at + order.len()).unwrap_or_default();
                let target = record.get_mut(channel..channel + order.len()).unwrap_or_default();
                for (slot, position) in target.iter_mut().zip(order) {
                    let value = source.get(*position).copied().unwrap_or_default();
                    *slot = if add { *slot + value } else { value };
                }
            }
        }
    });
}

/// Writes the sum of every channel over all pixels, or adds it to what is there.
pub(crate) fn channel_sums(team: &Team, source: Source<'_>, sums: &mut [f32], add: bool) {
    const CHANNELS: usize = 16;
    let parts = Parts::new(0, 1, [sums.len(); 2], CHANNELS);
    team.each_part(sums, parts, |part, sums| {
        Instructions::get().run(ChannelSums { source, start: part * CHANNELS, sums, add });
    });
}

struct ChannelSums<'a, 'r> {
    source: Source<'a>,
    start: usize,
    sums: &'r mut [f32],
    add: bool,
}

impl WithSimd for ChannelSums<'_, '_> {
    type Output = ();

    /// Rows are summed up on their own, for the sake of precision.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ChannelSums { source: (x, from, first), start, sums, add } = self;
        let channel = first + start;
        for (block, sums) in sums.chunks_mut(S::F32_LANES).enumerate() {
            let mut total = simd.splat_f32s(0.0);
            for image in 0..from.images {
                for row in 0..from.height {
                    let mut sum = simd.splat_f32s(0.0);
                    for column in 0..from.width {
                        let at = from.at(image, row, column) + channel + block * S::F32_LANES;
                        let [value] = load::<S, 1>(simd, x.get(at..at + sums.len()).unwrap_or_default());
                        sum = simd.add_f32s(sum, value);
                    }
                    total = simd.add_f32s(total, sum);
                }
            }
            if add {
                let [there] = load::<S, 1>(simd, sums);
                total = simd.add_f32s(total, there);
            }
            store(simd, &[total], None, sums);
        }
    }
}

/// Sum of the products of two operands of `channels`.
pub(crate) fn dot([left, right]: [Source<'_>; 2], channels: usize) -> f64 {
    let (_, grid, _) = left;
    let record = |(floats, grid, first): Source<'_>, image: usize, pixel: usize| {
        let at = grid.nth(image, pixel) + first;
        at..(at + channels).min(floats.len())
    };
    let mut sum = 0.0;
    for image in 0..grid.images {
        for pixel in 0..grid.pixels() {
            let [a, b] = [left, right].map(|own| own.0.get(record(own, image, pixel)).unwrap_or_default());
            sum += a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        }
    }
    sum
}
