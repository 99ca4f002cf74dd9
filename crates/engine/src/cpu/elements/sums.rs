//! Sums of products, and of channels.

use pulp::{Simd, WithSimd};

use super::pixel::channels_of;
use crate::cpu::grid::{Grid, Source};
use crate::cpu::instructions::Instructions;
use crate::cpu::registers::{load, store};
use crate::cpu::team::{Parts, Team};

/// Writes into a channel the sums of the products of two operands' channels, pixel by pixel, or adds them.
pub(crate) fn pixel_dots(
    team: &Team,
    [left, right]: [Source<'_>; 2],
    channels: usize,
    (result, to, channel): (&mut [f32], Grid, usize),
    add: bool,
) {
    to.split_rows(team, result, 2 * channels, |image, first_row, result| {
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let pixel = (image, [first_row + row, column]);
                let pairs =
                    channels_of(left, pixel, channels).iter().zip(channels_of(right, pixel, channels));
                let sum: f32 = pairs.map(|(a, b)| a * b).sum();
                let slot = &mut record[channel];
                *slot = if add { *slot + sum } else { sum };
            }
        }
    });
}

/// Writes the sum of every channel over all pixels, or adds it to what is there.
pub(crate) fn channel_sums(team: &Team, source: Source<'_>, sums: &mut [f32], add: bool) {
    /// Of a task: a cache line, so that no two threads write to the same.
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
                        let [value] = load::<S, 1>(simd, &x[at..at + sums.len()]);
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
    let mut sum = 0.0;
    for image in 0..grid.images {
        for pixel in 0..grid.pixels() {
            let [a, b] = [left, right].map(|(floats, grid, first)| {
                let at = grid.nth(image, pixel) + first;
                &floats[at..at + channels]
            });
            sum += a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::value::{Value, assert_near};

    const SHAPE: [usize; 4] = [2, if cfg!(miri) { 5 } else { 19 }, 3, 5];

    #[test]
    fn channels_and_products_are_summed_up() {
        let [left, right] = [Value::among_others(SHAPE, 1).map(|x| 7.0 * x), Value::packed(SHAPE, 2)];
        let planes = || left.planes.chunks(15).map(|plane| plane.iter().sum::<f64>());
        let expected: Vec<f64> =
            planes().zip(planes().skip(SHAPE[1])).map(|(first, second)| first + second).collect();
        let mut sums = vec![f32::NAN; SHAPE[1]];
        for (add, factor) in [(false, 1.0), (true, 2.0)] {
            Team::gather(|team| channel_sums(team, left.source(), &mut sums, add));
            assert_near(&sums, &expected.iter().map(|sum| factor * sum).collect::<Vec<_>>());
        }
        let product: f64 = left.planes.iter().zip(&right.planes).map(|(a, b)| a * b).sum();
        let found = dot([left.source(), right.source()], SHAPE[1]);
        assert!((found - product).abs() < 1e-12 * product.abs(), "{found} instead of {product}");
    }
}
