//! Windows over the picture: largest values, and weighted sums of rows and columns.

use pulp::{Simd, WithSimd};

use super::Grid;
use super::instructions::Instructions;
use super::registers::{load, store};
use super::team::Team;
use crate::graph::Pool;
use crate::runtime::kernels::pool::window;
use crate::runtime::kernels::resample::Resample;

/// Where the channels of an operand and of the result begin in their records, and how many there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Channels {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) count: usize,
}

/// The largest value of each window, NaN if there is one.
pub(crate) fn max_pool(
    team: &Team,
    pool: &Pool,
    (x, from): (&[f32], Grid),
    (result, to): (&mut [f32], Grid),
    channels: Channels,
) {
    let operations = pool.kernel.iter().product();
    each_window(team, Largest(pool), operations, (x, from), (result, to), channels);
}

/// Weighted sums of the pixels that `resample` names.
pub(crate) fn resample(
    team: &Team,
    resample: &Resample,
    (x, from): (&[f32], Grid),
    (result, to): (&mut [f32], Grid),
    channels: Channels,
) {
    each_window(team, Weighted(resample), 4, (x, from), (result, to), channels);
}

/// What is made of the pixels of a window.
trait Window: Copy + Sync {
    /// Of a register of channels of the window for a pixel of the result, row and column.
    fn value<S: Simd>(self, simd: S, pixel: [usize; 2], source: Source<'_>) -> S::f32s;
}

#[derive(Clone, Copy)]
struct Largest<'a>(&'a Pool);

impl Window for Largest<'_> {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, [row, column]: [usize; 2], source: Source<'_>) -> S::f32s {
        let Pool { kernel, stride, padding, .. } = self.0;
        let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
        for y in window(row, stride[0], padding[0], kernel[0], source.from.height) {
            for x in window(column, stride[1], padding[1], kernel[1], source.from.width) {
                let value = source.load(simd, [y, x]);
                let larger = simd.select_f32s(simd.less_than_f32s(largest, value), value, largest);
                largest = simd.select_f32s(simd.equal_f32s(value, value), larger, value);
            }
        }
        largest
    }
}

#[derive(Clone, Copy)]
struct Weighted<'a>(&'a Resample);

impl Window for Weighted<'_> {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, [row, column]: [usize; 2], source: Source<'_>) -> S::f32s {
        let [rows, columns] = self.0.taps(row, column);
        let mut sum = simd.splat_f32s(0.0);
        for (y, down) in rows {
            for (x, across) in columns {
                let weight = simd.splat_f32s((down * across) as f32);
                sum = simd.mul_add_e_f32s(weight, source.load(simd, [*y, *x]), sum);
            }
        }
        sum
    }
}

/// A register of channels of every pixel of an image.
#[derive(Clone, Copy)]
struct Source<'a> {
    x: &'a [f32],
    from: Grid,
    image: usize,
    channel: usize,
    /// Channels in the register.
    count: usize,
}

impl Source<'_> {
    #[inline(always)]
    fn load<S: Simd>(self, simd: S, [y, x]: [usize; 2]) -> S::f32s {
        let at = self.from.at(self.image, y, x) + self.channel;
        let [register] = load::<S, 1>(simd, self.x.get(at..at + self.count).unwrap_or_default());
        register
    }
}

fn each_window(
    team: &Team,
    window: impl Window + Send,
    operations: usize,
    (x, from): (&[f32], Grid),
    (result, to): (&mut [f32], Grid),
    channels: Channels,
) {
    let instructions = Instructions::get();
    to.split_rows(team, result, 2 * operations * channels.count, |image, first_row, result| {
        instructions.run(Task { window, x, from, image, first_row, result, to, channels });
    });
}

/// Some rows of the result.
struct Task<'a, 'r, W> {
    window: W,
    x: &'a [f32],
    from: Grid,
    image: usize,
    first_row: usize,
    result: &'r mut [f32],
    to: Grid,
    channels: Channels,
}

impl<W: Window> WithSimd for Task<'_, '_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Task { window, x, from, image, first_row, result, to, channels } = self;
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let target = record.get_mut(channels.to..channels.to + channels.count).unwrap_or_default();
                for (at, target) in target.chunks_mut(S::F32_LANES).enumerate() {
                    let channel = channels.from + at * S::F32_LANES;
                    let source = Source { x, from, image, channel, count: target.len() };
                    let value = window.value(simd, [first_row + row, column], source);
                    store(simd, &[value], None, target);
                }
            }
        }
    }
}
