//! Functions of elements, sums, copies between layouts.

use pulp::{Simd, WithSimd};

use super::instructions::Instructions;
use super::team::Team;
use super::{Grid, Run};
use network::graph::Activation;

/// Replaces every value by its function.
#[inline(always)]
pub(crate) fn activate(activation: Option<Activation>, values: &mut [f32]) {
    #[inline(always)]
    fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
        values.iter_mut().for_each(|value| *value = function(*value));
    }
    match activation {
        None => {}
        Some(Activation::Relu) => each(values, |x| if x < 0.0 { 0.0 } else { x }),
        Some(Activation::Relu6) => each(values, relu6),
        Some(Activation::LeakyRelu(slope)) => {
            let slope = slope as f32;
            each(values, |x| if x > 0.0 { x } else { x * slope });
        }
        Some(Activation::Sigmoid) => each(values, sigmoid),
        Some(Activation::Silu) => each(values, |x| x * sigmoid(x)),
        Some(Activation::HardSigmoid) => each(values, |x| relu6(x + 3.0) / 6.0),
    }
}

#[inline(always)]
fn relu6(x: f32) -> f32 {
    let x = if x < 0.0 { 0.0 } else { x };
    if x > 6.0 { 6.0 } else { x }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Beyond these exp(x) is infinite or zero in any case.
pub(super) const LIMIT: f32 = 104.0;
/// Adding 1.5 * 2^23 leaves a rounded integer in the lowest bits.
pub(super) const ROUNDING: f32 = 12_582_912.0;
/// ln(2) in two parts, the first with few digits, so that n times it is exact.
pub(super) const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Factors of exp(r), those of the highest powers first.
pub(super) const SERIES: [f32; 8] =
    [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

/// exp(x) in plain arithmetic, which compilers turn into vector instructions: 2^n times a polynomial of degree 7 for
/// what is left, |r| <= ln(2) / 2. Within 2 units in the last place; NaN stays NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = if x > LIMIT { LIMIT } else { x };
    let x = if x < -LIMIT { -LIMIT } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDING;
    let n = shifted - ROUNDING;
    let r = (x - n * LN_2[0]) - n * LN_2[1];
    let value = SERIES.into_iter().fold(0.0, |sum, factor| sum * r + factor);
    // 2^n in two factors, as n goes beyond the range of exponents.
    let n = shifted.to_bits().wrapping_sub(ROUNDING.to_bits()) as i32;
    let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    value * power(n >> 1) * power(n - (n >> 1))
}

/// Copies channels of `from`, some runs after one another, to `channel` of the records of `to`, and applies a
/// function.
pub(crate) fn copy(
    team: &Team,
    x: &[f32],
    (from, runs): (Grid, &[Run]),
    result: &mut [f32],
    (to, channel): (Grid, usize),
    activation: Option<Activation>,
) {
    let instructions = Instructions::get();
    let channels: usize = runs.iter().map(|run| run.length).sum();
    // Points lie in a single row, of which otherwise one thread would get all.
    let (from, to) = if from.is_dense() && to.is_dense() { (from.flat(), to.flat()) } else { (from, to) };
    to.split_rows(team, result, 4 * channels, |image, first_row, result| {
        let part = Copied { x, from, runs, to, channel, image, first_row, activation };
        instructions.run(CopyTask { part, result });
    });
}

/// Some rows of a copy.
#[derive(Clone, Copy)]
struct Copied<'a> {
    x: &'a [f32],
    from: Grid,
    runs: &'a [Run],
    to: Grid,
    channel: usize,
    image: usize,
    first_row: usize,
    activation: Option<Activation>,
}

struct CopyTask<'a, 'r> {
    part: Copied<'a>,
    result: &'r mut [f32],
}

impl WithSimd for CopyTask<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let CopyTask { part, result } = self;
        let Copied { from, to, image, first_row, .. } = part;
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate() {
                part.pixel(from.at(image, first_row + row, column), record);
            }
        }
    }
}

impl Copied<'_> {
    #[inline(always)]
    fn pixel(&self, at: usize, record: &mut [f32]) {
        let mut target = record.get_mut(self.channel..).unwrap_or_default();
        for run in self.runs {
            let source = self.x.get(at + run.start..at + run.start + run.length).unwrap_or_default();
            let (own, rest) = target.split_at_mut(source.len().min(target.len()));
            own.copy_from_slice(source.get(..own.len()).unwrap_or_default());
            activate(self.activation, own);
            target = rest;
        }
    }
}

/// A value and where its channels are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) grid: Grid,
    /// Position of the first channel in a record; the others follow.
    pub(crate) channel: usize,
}

/// result = activation(function(left, right)), channel by channel.
pub(crate) fn combine(
    team: &Team,
    left: Operand<'_>,
    right: Operand<'_>,
    result: &mut [f32],
    (to, channel, channels): (Grid, usize, usize),
    function: impl Fn(f32, f32) -> f32 + Sync + Send,
    activation: Option<Activation>,
) {
    to.split_rows(team, result, 4 * channels, |image, first_row, result| {
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate() {
                let of =
                    |operand: &Operand<'_>| operand.grid.at(image, first_row + row, column) + operand.channel;
                let target = record.get_mut(channel..channel + channels).unwrap_or_default();
                let left = left.data.get(of(&left)..).unwrap_or_default();
                let right = right.data.get(of(&right)..).unwrap_or_default();
                for ((target, left), right) in target.iter_mut().zip(left).zip(right) {
                    *target = function(*left, *right);
                }
                activate(activation, target);
            }
        }
    });
}

/// Every channel of `left` times the only one of `right`.
pub(crate) fn weigh(
    team: &Team,
    left: Operand<'_>,
    right: Operand<'_>,
    result: &mut [f32],
    (to, channel, channels): (Grid, usize, usize),
) {
    to.split_rows(team, result, 4 * channels, |image, first_row, result| {
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate() {
                let of =
                    |operand: &Operand<'_>| operand.grid.at(image, first_row + row, column) + operand.channel;
                let target = record.get_mut(channel..channel + channels).unwrap_or_default();
                let factor = right.data.get(of(&right)).copied().unwrap_or_default();
                let left = left.data.get(of(&left)..).unwrap_or_default();
                target.iter_mut().zip(left).for_each(|(target, value)| *target = value * factor);
            }
        }
    });
}

/// Copies two runs of channels of `from` in turn to `channel` of the records of `to`: a channel of the first run, one
/// of the second, and so on.
pub(crate) fn interleave(
    team: &Team,
    x: &[f32],
    (from, [first, second]): (Grid, [Run; 2]),
    result: &mut [f32],
    (to, channel): (Grid, usize),
) {
    let channels = first.length + second.length;
    to.split_rows(team, result, 4 * channels, |image, first_row, result| {
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate() {
                let at = from.at(image, first_row + row, column);
                let source =
                    |run: Run| x.get(at + run.start..at + run.start + run.length).unwrap_or_default();
                let target = record.get_mut(channel..channel + channels).unwrap_or_default();
                let (pairs, rest) = target.as_chunks_mut::<2>();
                for ((pair, first), second) in pairs.iter_mut().zip(source(first)).zip(source(second)) {
                    *pair = [*first, *second];
                }
                rest.iter_mut().zip(source(first).last()).for_each(|(slot, last)| *slot = *last);
            }
        }
    });
}

/// Channels one after another (NCHW) into pixels; channel `i` goes to `positions[i]`.
pub(crate) fn from_planes(team: &Team, planes: &[f32], result: &mut [f32], to: Grid, positions: &[usize]) {
    let (area, channels) = (to.pixels(), positions.len());
    to.split_rows(team, result, 8 * channels, |image, first_row, result| {
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            let source = |channel: usize| {
                let at = (image * channels + channel) * area + (first_row + row) * to.width;
                planes.get(at..at + to.width).unwrap_or_default()
            };
            if (positions, to.record) == (&[0, 1, 2], 3) {
                let colours = source(0).iter().zip(source(1)).zip(source(2));
                let pixels = records.as_chunks_mut::<3>().0.iter_mut();
                pixels.zip(colours).for_each(|(pixel, ((red, green), blue))| *pixel = [*red, *green, *blue]);
                continue;
            }
            for (channel, position) in positions.iter().enumerate() {
                let slots = records.iter_mut().skip(*position).step_by(to.record.max(1));
                slots.zip(source(channel)).for_each(|(slot, value)| *slot = *value);
            }
        }
    });
}

/// Pixels into channels one after another (NCHW).
pub(crate) fn to_planes(
    x: &[f32],
    from: Grid,
    positions: impl ExactSizeIterator<Item = usize> + Clone,
    planes: &mut [f32],
) {
    for (image, planes) in planes.chunks_mut((from.pixels() * positions.len()).max(1)).enumerate() {
        image_to_planes(x, from.image(image), positions.clone(), planes);
    }
}

/// The same on all threads, into `[N, C, 1, H * W]`.
pub(crate) fn unpack(
    team: &Team,
    x: &[f32],
    from: Grid,
    positions: impl Iterator<Item = usize> + Clone + Sync,
    (result, to): (&mut [f32], Grid),
) {
    to.split_rows(team, result, 2 * to.record, |image, first, planes| {
        let positions = positions.clone().skip(first);
        image_to_planes(x, from.image(image), positions, planes);
    });
}

/// Channels of an image, row by row, so that what is read stays in the cache.
fn image_to_planes(
    x: &[f32],
    from: Grid,
    positions: impl Iterator<Item = usize> + Clone,
    planes: &mut [f32],
) {
    for y in 0..from.height {
        for (plane, position) in planes.chunks_mut(from.pixels().max(1)).zip(positions.clone()) {
            let row = plane.get_mut(y * from.width..(y + 1) * from.width).unwrap_or_default();
            let source = x.get(from.at(0, y, 0) + position..).unwrap_or_default();
            row.iter_mut()
                .zip(source.iter().step_by(from.record.max(1)))
                .for_each(|(slot, value)| *slot = *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::channels_last::value::{Value, assert_near};
    use crate::reference::kernel::Kernel;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let mut worst = 0.0_f64;
        for step in (-87_000..88_000).step_by(if cfg!(miri) { 997 } else { 1 }) {
            let x = step as f32 / 1000.0;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            worst = worst.max((ours - exact).abs() / exact);
        }
        assert!(worst < 2.0 * f64::from(f32::EPSILON), "{worst}");
        assert!(exp(f32::NAN).is_nan());
        assert_eq!((exp(-1000.0), exp(1000.0), exp(0.0)), (0.0, f32::INFINITY, 1.0));
    }

    #[test]
    fn planes_become_pixels_and_planes_again() {
        let planes: Vec<f32> = (0..2 * 3 * 2 * 4).map(|i| i as f32).collect();
        let grid = Grid::bordered(2, [2, 4], 5, 1);
        let mut pixels = vec![0.0; grid.end()];
        Team::gather(|team| from_planes(team, &planes, &mut pixels, grid, &[1, 4, 0]));
        assert_eq!(pixels[grid.at(1, 1, 2) + 4], planes[(3 + 1) * 8 + 6]);
        let mut back = vec![0.0; planes.len()];
        to_planes(&pixels, grid, [1, 4, 0].into_iter(), &mut back);
        assert_eq!(back, planes);
    }

    const ACTIVATIONS: [Activation; 6] = [
        Activation::Relu,
        Activation::Relu6,
        Activation::LeakyRelu(0.125),
        Activation::Sigmoid,
        Activation::Silu,
        Activation::HardSigmoid,
    ];

    #[test]
    fn functions_equal_the_references() {
        let x = Value::packed([1, 100, 1, 1], 1).map(|x| 8.0 * x);
        for activation in ACTIVATIONS {
            let mut found = x.floats.clone();
            activate(Some(activation), &mut found);
            assert_near(&found, &activation.forward([x.view()]).0);
            let mut none = [f32::NAN];
            activate(Some(activation), &mut none);
            assert!(none[0].is_nan(), "{activation:?}");
        }
    }

    /// Two runs of channels after one another, with a function.
    #[test]
    fn channels_are_copied() {
        let x = Value::packed([2, 23, 3, 5], 1);
        let runs = [Run { start: 2, length: 5 }, Run { start: 9, length: 12 }];
        let mut result = Value::among_others([2, 17, 3, 5], 2);
        let (floats, to, channel) = result.target();
        let activation = Some(Activation::Relu);
        Team::gather(|team| copy(team, &x.floats, (x.grid, &runs), floats, (to, channel), activation));
        let chosen = [2..7, 9..21];
        result.assert_holds(
            &channels(&x, chosen.into_iter().flatten()).into_iter().map(|x| x.max(0.0)).collect::<Vec<_>>(),
        );
    }

    /// Planes of some channels.
    fn channels(x: &Value, chosen: impl Iterator<Item = usize> + Clone) -> Vec<f64> {
        let area = x.grid.pixels();
        let of = |image: usize| chosen.clone().map(move |channel| image * x.shape[1] + channel);
        let planes = (0..x.shape[0]).flat_map(of);
        planes.flat_map(|plane| x.planes[plane * area..][..area].to_vec()).collect()
    }

    #[test]
    fn channels_of_two_runs_take_turns() {
        for [first, second] in [[4, 4], [5, 4]] {
            let x = Value::packed([2, 10, 3, 5], 1);
            let runs = [Run { start: 0, length: first }, Run { start: 5, length: second }];
            let mut result = Value::among_others([2, first + second, 3, 5], 2);
            let (floats, to, channel) = result.target();
            Team::gather(|team| interleave(team, &x.floats, (x.grid, runs), floats, (to, channel)));
            let order = (0..first + second).map(|at| if at % 2 == 0 { at / 2 } else { 5 + at / 2 });
            result.assert_holds(&channels(&x, order));
        }
    }

    #[test]
    fn values_are_combined_and_weighed() {
        let shape = [2, 19, 3, 5];
        let [left, right] = [Value::among_others(shape, 1), Value::packed(shape, 2)];
        let weights = Value::among_others([2, 1, 3, 5], 3);
        let of = |own: &Value| own.planes.clone();
        let mut sum = Value::among_others(shape, 4);
        let mut weighed = Value::among_others(shape, 5);
        Team::gather(|team| {
            let operands = [&left, &right, &weights].map(|own| {
                let (data, grid, channel) = own.source();
                Operand { data, grid, channel }
            });
            let [one, other, factors] = operands;
            let (floats, to, channel) = sum.target();
            let activation = Some(Activation::Relu6);
            combine(team, one, other, floats, (to, channel, 19), |a, b| a - b, activation);
            let (floats, to, channel) = weighed.target();
            weigh(team, one, factors, floats, (to, channel, 19));
        });
        let differences = of(&left).into_iter().zip(of(&right)).map(|(a, b)| (a - b).clamp(0.0, 6.0));
        sum.assert_holds(&differences.collect::<Vec<_>>());
        let factor = |at: usize| weights.planes[at / (19 * 15) * 15 + at % 15];
        let products = of(&left).into_iter().enumerate().map(|(at, x)| x * factor(at));
        weighed.assert_holds(&products.collect::<Vec<_>>());
    }

    #[test]
    fn pixels_become_planes_on_all_threads() {
        let x = Value::among_others([2, 19, 3, 5], 1);
        let positions: Vec<usize> = (0..19).map(|channel| x.channel + channel).collect();
        let to = Grid::packed(2, [19, 1], 15);
        let mut planes = vec![0.0; to.end()];
        Team::gather(|team| unpack(team, &x.floats, x.grid, positions.iter().copied(), (&mut planes, to)));
        assert_near(&planes, &x.planes);
    }
}
