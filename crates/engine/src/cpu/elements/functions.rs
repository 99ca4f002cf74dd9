//! Functions of the elements of one operand or two, written or added to what is there.

use pulp::{Simd, WithSimd};

use super::pixel::channels_of;
use crate::cpu::activation::activation_gradient;
use crate::cpu::grid::{Grid, Source};
use crate::cpu::instructions::Instructions;
use crate::cpu::registers::{load, store};
use crate::cpu::team::Team;
use network::graph::Activation;

/// What is made of an element of one operand, or of two.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Function {
    First,
    Product,
    /// The first times the only channel of the second.
    ProductByPixel,
    /// The first times a number.
    Scaled(f32),
    /// The second, a gradient, times the derivative at the first.
    ActivationGradient(Activation),
}

/// Writes a function of channels, or adds it to what is there.
pub(crate) fn apply(
    team: &Team,
    function: Function,
    operands: [Source<'_>; 2],
    (result, to, channel): (&mut [f32], Grid, usize),
    channels: usize,
    add: bool,
) {
    to.split_rows(team, result, 4 * channels, |image, first_row, result| {
        let rows = Rows { image, first_row, to, channel, channels, add };
        Instructions::get().run(Apply { function, operands, rows, result });
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

struct Apply<'a, 'r> {
    function: Function,
    operands: [Source<'a>; 2],
    rows: Rows,
    result: &'r mut [f32],
}

impl WithSimd for Apply<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Apply { function, operands: [left, right], rows, result } = self;
        let Rows { image, first_row, to, channel, channels, add } = rows;
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let target = &mut record[channel..channel + channels];
                let pixel = (image, [first_row + row, column]);
                let left = channels_of(left, pixel, channels);
                let right = match function {
                    Function::Product | Function::ActivationGradient(_) => {
                        channels_of(right, pixel, channels)
                    }
                    Function::ProductByPixel => channels_of(right, pixel, 1),
                    Function::First | Function::Scaled(_) => &[],
                };
                for (block, target) in target.chunks_mut(S::F32_LANES).enumerate() {
                    let range = block * S::F32_LANES..block * S::F32_LANES + target.len();
                    let [a] = load::<S, 1>(simd, &left[range.clone()]);
                    // A single channel stands for all.
                    let [b] = match *right {
                        [] => [simd.splat_f32s(0.0)],
                        [factor] => [simd.splat_f32s(factor)],
                        _ => load::<S, 1>(simd, &right[range]),
                    };
                    let mut value = match function {
                        Function::First => a,
                        Function::Product | Function::ProductByPixel => simd.mul_f32s(a, b),
                        Function::Scaled(factor) => simd.mul_f32s(a, simd.splat_f32s(factor)),
                        Function::ActivationGradient(activation) => {
                            activation_gradient(simd, Some(activation), a, b)
                        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::elements::sums::pixel_dots;
    use crate::cpu::value::Value;
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
            Team::gather(|team| apply(team, function, sources, result.target(), SHAPE[1], add));
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
            let [expected] = activation.backward([left.view()], left.view(), right.view(), [true]);
            check(Function::ActivationGradient(activation), &expected.unwrap());
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
            let function = Function::ActivationGradient(activation);
            Team::gather(|team| apply(team, function, sources, result.target(), 20, false));
            let [expected] = activation.backward([x.view()], x.view(), gradient.view(), [true]);
            result.assert_holds(&expected.unwrap());
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
                apply(team, Function::ProductByPixel, sources, result.target(), SHAPE[1], add);
                pixel_dots(team, sources, SHAPE[1], pixels.target(), add);
            });
            result.assert_holds(&if add { before[0].plus(&expected) } else { expected.clone() });
            pixels.assert_holds(&if add { before[1].plus(&sums) } else { sums.clone() });
        }
    }
}
