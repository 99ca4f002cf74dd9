//! Normalisation over groups of channels in three steps: moments of every row, a factor and a shift for every channel
//! of an image, their application. No sum depends on how rows are dealt out to threads.

use pulp::{Simd, WithSimd};

use crate::cpu::grid::Grid;
use crate::cpu::instructions::Instructions;
use crate::cpu::registers::{load, store};
use crate::cpu::team::Team;
use network::graph::Activation;

/// Channels of a value: numbers, pixels, position of the first in a record.
pub(crate) type Source<'a> = (&'a [f32], Grid, usize);

/// Writes for every row of every image the mean of each of `channels` channels, then the sums of squared distances
/// from it: `[N, H, 1, 2 * C]`.
pub(crate) fn row_moments(
    team: &Team,
    source: Source<'_>,
    channels: usize,
    (result, to): (&mut [f32], Grid),
) {
    let instructions = Instructions::get();
    let operations = 4 * source.1.width * channels;
    to.split_rows(team, result, operations, |image, first_row, result| {
        instructions.run(RowMoments { source, image, first_row, channels, result });
    });
}

struct RowMoments<'a, 'r> {
    source: Source<'a>,
    image: usize,
    first_row: usize,
    channels: usize,
    result: &'r mut [f32],
}

impl WithSimd for RowMoments<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let RowMoments { source: (x, from, channel), image, first_row, channels, result } = self;
        for (row, moments) in result.chunks_mut((2 * channels).max(1)).enumerate() {
            let (means, squares) = moments.split_at_mut(channels);
            means.fill(0.0);
            squares.fill(0.0);
            for column in 0..from.width {
                let at = from.at(image, first_row + row, column) + channel;
                let pixel = &x[at..at + channels];
                means.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
            }
            means.iter_mut().for_each(|sum| *sum /= from.width as f32);
            for column in 0..from.width {
                let at = from.at(image, first_row + row, column) + channel;
                let pixel = &x[at..at + channels];
                for ((sum, mean), value) in squares.iter_mut().zip(&*means).zip(pixel) {
                    *sum += (value - mean) * (value - mean);
                }
            }
        }
    }
}

/// A group norm with its parameters.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) groups: usize,
    pub(crate) epsilon: f64,
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

impl Groups {
    /// Writes for every image a factor for each channel, then a shift for each, `[N, 1, 1, 2 * C]`, from the moments
    /// of rows of `width` pixels.
    pub(crate) fn factors(
        &self,
        team: &Team,
        (moments, from): (&[f32], Grid),
        width: usize,
        (result, to): (&mut [f32], Grid),
    ) {
        to.split_rows(team, result, usize::MAX / 2, |image, _, result| {
            let at = from.at(image, 0, 0);
            let moments = &moments[at..at + from.height * from.row];
            self.factors_of_image(moments, width, result);
        });
    }

    fn factors_of_image(&self, moments: &[f32], width: usize, result: &mut [f32]) {
        let channels = self.weight.len();
        let each = (channels / self.groups.max(1)).max(1);
        let (factors, shifts) = result.split_at_mut(channels);
        let parameters = self.weight.chunks(each).zip(self.bias.chunks(each));
        let targets = factors.chunks_mut(each).zip(shifts.chunks_mut(each));
        for (group, ((weights, biases), (factors, shifts))) in parameters.zip(targets).enumerate() {
            let (mean, variance) = group_moments(moments, [channels, group * each, each], width);
            let scale = 1.0 / (variance + self.epsilon).sqrt();
            for ((factor, shift), (weight, bias)) in
                factors.iter_mut().zip(shifts).zip(weights.iter().zip(biases))
            {
                let exact = f64::from(*weight) * scale;
                (*factor, *shift) = (exact as f32, (f64::from(*bias) - mean * exact) as f32);
            }
        }
    }
}

/// Mean and variance of the channels from `start` on, `each` of them, from the moments of rows.
fn group_moments(moments: &[f32], [channels, start, each]: [usize; 3], width: usize) -> (f64, f64) {
    let rows = moments.chunks((2 * channels).max(1));
    let count = (rows.len() * each).max(1) as f64;
    let of = |first: usize| {
        rows.clone().flat_map(move |row| &row[first..first + each]).map(|value| f64::from(*value))
    };
    let mean = of(start).sum::<f64>() / count;
    let between: f64 = of(start).map(|row| (row - mean).powi(2)).sum();
    let variance = of(channels + start).sum::<f64>() / (count * width.max(1) as f64) + between / count;
    (mean, variance)
}

/// Multiplies every channel of an image by its factor, adds its shift, and applies a function.
pub(crate) fn normalise(
    team: &Team,
    source: Source<'_>,
    (factors, grid): (&[f32], Grid),
    channels: usize,
    (result, to, channel): (&mut [f32], Grid, usize),
    activation: Option<Activation>,
) {
    let instructions = Instructions::get();
    to.split_rows(team, result, 4 * channels, |image, first_row, result| {
        let at = grid.at(image, 0, 0);
        let (factors, shifts) = factors[at..at + 2 * channels].split_at(channels);
        let rows = Rows { source, factors, shifts, image, first_row, to, channel, activation };
        instructions.run(Normalise { rows, result });
    });
}

/// Some rows of the result.
#[derive(Clone, Copy)]
struct Rows<'a> {
    source: Source<'a>,
    factors: &'a [f32],
    shifts: &'a [f32],
    image: usize,
    first_row: usize,
    to: Grid,
    channel: usize,
    activation: Option<Activation>,
}

struct Normalise<'a, 'r> {
    rows: Rows<'a>,
    result: &'r mut [f32],
}

impl WithSimd for Normalise<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Normalise { rows, result } = self;
        let (x, from, first) = rows.source;
        let channels = rows.factors.len();
        for (row, records) in result.chunks_mut(rows.to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(rows.to.record.max(1)).enumerate().take(rows.to.width)
            {
                let at = from.at(rows.image, rows.first_row + row, column) + first;
                let pixel = &x[at..at + channels];
                let target = &mut record[rows.channel..rows.channel + channels];
                rows.pixel(simd, pixel, target);
            }
        }
    }
}

impl Rows<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, simd: S, pixel: &[f32], target: &mut [f32]) {
        for (at, target) in target.chunks_mut(S::F32_LANES).enumerate() {
            let range = at * S::F32_LANES..at * S::F32_LANES + target.len();
            let [value, factor, shift] = [
                load::<S, 1>(simd, &pixel[range.clone()]),
                load::<S, 1>(simd, &self.factors[range.clone()]),
                load::<S, 1>(simd, &self.shifts[range]),
            ];
            for ((value, factor), shift) in value.into_iter().zip(factor).zip(shift) {
                store(simd, &[simd.mul_add_e_f32s(value, factor, shift)], self.activation, target);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::value::{Value, random, wide};
    use crate::reference::kernel::{Kernel, View};
    use crate::reference::operators::norm::GroupNorm;

    /// Groups that end within a register, means far from zero.
    #[test]
    fn group_norms_equal_the_reference() {
        let cases = [([2, 6, 3, 5], 3), ([3, 16, 1, 1], 2), ([1, 70, 7, 4], 7)];
        for (shape, groups) in cases.into_iter().take(if cfg!(miri) { 2 } else { 3 }) {
            let [images, channels, height, width] = shape;
            let x = Value::among_others(shape, 1).map(|number| number * 2.0 - 6.0);
            let (weight, bias) = (random(channels, 2), random(channels, 3));
            let (wide_weight, wide_bias) = (wide(&weight), wide(&bias));
            let of = [channels];
            let view = |data| View { data, shape: &of };
            let reference = GroupNorm { groups, epsilon: 1e-4 };
            let (normal, _) = reference.forward([x.view(), view(&wide_weight), view(&wide_bias)]);
            let norm = Groups { groups, epsilon: 1e-4, weight, bias };
            let moments_grid = Grid::packed(images, [height, 1], 2 * channels);
            let factors_grid = Grid::packed(images, [1, 1], 2 * channels);
            let (mut moments, mut factors) = (vec![0.0; moments_grid.end()], vec![0.0; factors_grid.end()]);
            for activation in [None, Some(Activation::Relu)] {
                let mut result = Value::among_others(shape, 4);
                Team::gather(|team| {
                    row_moments(team, x.source(), channels, (&mut moments, moments_grid));
                    norm.factors(team, (&moments, moments_grid), width, (&mut factors, factors_grid));
                    let factors = (&factors[..], factors_grid);
                    normalise(team, x.source(), factors, channels, result.target(), activation);
                });
                let rectified = normal.iter().map(|number| number.max(0.0)).collect();
                result.assert_holds(&if activation.is_some() { rectified } else { normal.clone() });
            }
        }
    }
}
