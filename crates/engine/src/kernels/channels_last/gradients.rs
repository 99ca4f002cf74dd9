//! Steps of training that work element by element or channel by channel, written or added to what is there.

use pulp::{Simd, WithSimd};

use super::Grid;
use super::instructions::Instructions;
use super::products::Source;
use super::registers::{activated, load, store};
use super::slope::descend;
use super::team::{Parts, Team};
use network::graph::Activation;

/// What is made of an element of one operand, or of two.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Function {
    First,
    Sum,
    Product,
    /// The first times the only channel of the second.
    ProductByPixel,
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
                let pixel = (image, [first_row + row, column]);
                let left = channels_of(left, pixel, channels);
                let right = match function {
                    Function::ProductByPixel => channels_of(right, pixel, 1),
                    _ => channels_of(right, pixel, channels),
                };
                for (block, target) in target.chunks_mut(S::F32_LANES).enumerate() {
                    let range = block * S::F32_LANES..block * S::F32_LANES + target.len();
                    let [a] = load::<S, 1>(simd, left.get(range.clone()).unwrap_or_default());
                    let [b] = load::<S, 1>(simd, right.get(range).unwrap_or_default());
                    let mut value = match function {
                        Function::First => a,
                        Function::Sum => simd.add_f32s(a, b),
                        Function::Product => simd.mul_f32s(a, b),
                        Function::ProductByPixel => {
                            simd.mul_f32s(a, simd.splat_f32s(right.first().copied().unwrap_or_default()))
                        }
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

/// The channels of a pixel.
#[inline(always)]
fn channels_of<'a>(
    (floats, grid, first): Source<'a>,
    (image, [y, x]): (usize, [usize; 2]),
    channels: usize,
) -> &'a [f32] {
    let at = grid.at(image, y, x) + first;
    floats.get(at..at + channels).unwrap_or_default()
}

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
                if let Some(slot) = record.get_mut(channel) {
                    *slot = if add { *slot + sum } else { sum };
                }
            }
        }
    });
}

/// Writes planes `[N, C, H, W]` as channels of pixels, or adds them to what is there.
pub(crate) fn pack(
    team: &Team,
    planes: &[f32],
    (result, to, channel): (&mut [f32], Grid, usize),
    channels: usize,
    add: bool,
) {
    to.split_rows(team, result, 8 * channels, |image, first_row, result| {
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for index in 0..channels {
                let start = (image * channels + index) * to.pixels() + (first_row + row) * to.width;
                let source = planes.get(start..start + to.width).unwrap_or_default();
                let slots = records.iter_mut().skip(channel + index).step_by(to.record.max(1));
                slots.zip(source).for_each(|(slot, value)| *slot = if add { *slot + value } else { *value });
            }
        }
    });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::channels_last::value::{Value, assert_near};
    use crate::reference::kernel::Kernel;

    const SHAPE: [usize; 4] = [2, if cfg!(miri) { 5 } else { 19 }, 3, 5];

    /// Spread over the kinks of all functions.
    fn operands() -> [Value; 2] {
        [Value::among_others(SHAPE, 1).map(|x| 7.0 * x), Value::packed(SHAPE, 2)]
    }

    /// Asserts that a function of both operands is written, and added to what is there.
    #[track_caller]
    fn check(function: Function, expected: &[f64]) {
        let [left, right] = operands();
        for add in [false, true] {
            let mut result = Value::among_others(SHAPE, 3);
            let before = result.clone();
            let sources = [left.source(), right.source()];
            Team::gather(|team| each(team, function, sources, result.target(), SHAPE[1], add));
            result.assert_holds(&if add { before.plus(expected) } else { expected.to_vec() });
        }
    }

    #[test]
    fn functions_of_elements_equal_the_references() {
        let [left, right] = operands();
        let both = |function: fn(f64, f64) -> f64| {
            let pairs = left.planes.iter().zip(&right.planes);
            pairs.map(|(a, b)| function(*a, *b)).collect::<Vec<f64>>()
        };
        check(Function::First, &left.planes);
        check(Function::Sum, &both(|a, b| a + b));
        check(Function::Product, &both(|a, b| a * b));
        check(Function::Scaled(0.75), &both(|a, _| 0.75 * a));
        let activations = [
            Activation::Relu,
            Activation::Relu6,
            Activation::LeakyRelu(0.125),
            Activation::Sigmoid,
            Activation::Silu,
            Activation::HardSigmoid,
        ];
        for activation in activations {
            check(Function::Activated(activation), &activation.forward([left.view()]).0);
            let [expected] = activation.backward([left.view()], left.view(), right.view(), [true]);
            check(Function::Descended(activation), &expected.unwrap());
        }
    }

    /// At kinks derivatives are PyTorch's.
    #[test]
    fn derivatives_at_kinks_equal_the_references() {
        for activation in
            [Activation::Relu, Activation::Relu6, Activation::LeakyRelu(0.5), Activation::HardSigmoid]
        {
            let x = Value::packed([1, 20, 1, 1], 1).map(|x| (x * 3.0).round() * 3.0);
            let gradient = Value::packed(x.shape, 2);
            let mut result = Value::packed(x.shape, 3);
            let sources = [x.source(), gradient.source()];
            let function = Function::Descended(activation);
            Team::gather(|team| each(team, function, sources, result.target(), 20, false));
            let [expected] = activation.backward([x.view()], x.view(), gradient.view(), [true]);
            result.assert_holds(&expected.unwrap());
        }
    }

    #[test]
    fn channels_are_dealt_out() {
        let [x, _] = operands();
        let order: Vec<usize> = (0..SHAPE[1]).map(|channel| channel * 7 % SHAPE[1]).collect();
        let expected: Vec<f64> = (0..2 * SHAPE[1])
            .flat_map(|plane| {
                let from = plane / SHAPE[1] * SHAPE[1] + order[plane % SHAPE[1]];
                x.planes[from * 15..][..15].to_vec()
            })
            .collect();
        for add in [false, true] {
            let mut result = Value::among_others(SHAPE, 3);
            let before = result.clone();
            Team::gather(|team| deal(team, &order, x.source(), result.target(), add));
            result.assert_holds(&if add { before.plus(&expected) } else { expected.clone() });
        }
    }

    /// One channel of the second operand with all of the first.
    #[test]
    fn products_with_one_channel_and_their_sums() {
        let [left, right] = operands();
        let pixel = |at: usize| at / (15 * SHAPE[1]) * 15 * SHAPE[1] + at % 15;
        let product = |at: usize| left.planes[at] * right.planes[pixel(at)];
        let expected: Vec<f64> = (0..left.planes.len()).map(product).collect();
        let sum = |at: usize| {
            let of = |channel: usize| (at / 15 * SHAPE[1] + channel) * 15 + at % 15;
            (0..SHAPE[1]).map(|channel| left.planes[of(channel)] * right.planes[of(channel)]).sum::<f64>()
        };
        let sums: Vec<f64> = (0..30).map(sum).collect();
        for add in [false, true] {
            let mut result = Value::among_others(SHAPE, 3);
            let mut pixels = Value::among_others([SHAPE[0], 1, SHAPE[2], SHAPE[3]], 4);
            let before = [result.clone(), pixels.clone()];
            let sources = [left.source(), right.source()];
            Team::gather(|team| {
                each(team, Function::ProductByPixel, sources, result.target(), SHAPE[1], add);
                pixel_dots(team, sources, SHAPE[1], pixels.target(), add);
            });
            result.assert_holds(&if add { before[0].plus(&expected) } else { expected.clone() });
            pixels.assert_holds(&if add { before[1].plus(&sums) } else { sums.clone() });
        }
    }

    #[test]
    fn planes_become_channels() {
        let given = Value::packed(SHAPE, 1);
        let planes: Vec<f32> = given.planes.iter().map(|number| *number as f32).collect();
        for add in [false, true] {
            let mut result = Value::among_others(SHAPE, 3);
            let before = result.clone();
            Team::gather(|team| pack(team, &planes, result.target(), SHAPE[1], add));
            result.assert_holds(&if add { before.plus(&given.planes) } else { given.planes.clone() });
        }
    }

    #[test]
    fn channels_and_products_are_summed_up() {
        let [left, right] = operands();
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
