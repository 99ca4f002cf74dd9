//! Max pooling and its gradient.

use pulp::{Simd, WithSimd};

use super::window::{Channels, Picture, Window, each_window};
use crate::cpu::grid::{Grid, Source};
use crate::cpu::instructions::Instructions;
use crate::cpu::registers::{load, store};
use crate::cpu::team::{Parts, Team};
use crate::resample::window;
use network::graph::Pool;

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

#[derive(Clone, Copy)]
struct Largest<'a>(&'a Pool);

impl Window for Largest<'_> {
    #[inline(always)]
    fn value<S: Simd, const REGISTERS: usize>(
        self,
        simd: S,
        [row, column]: [usize; 2],
        source: Picture<'_>,
    ) -> [S::f32s; REGISTERS] {
        let Pool { kernel, stride, padding, .. } = self.0;
        let mut largest = [simd.splat_f32s(f32::NEG_INFINITY); REGISTERS];
        for y in window(row, stride[0], padding[0], kernel[0], source.from.height) {
            for x in window(column, stride[1], padding[1], kernel[1], source.from.width) {
                let values: [S::f32s; REGISTERS] = source.load(simd, [y, x]);
                for (largest, value) in largest.iter_mut().zip(values) {
                    let larger = simd.select_f32s(simd.less_than_f32s(*largest, value), value, *largest);
                    *largest = simd.select_f32s(simd.equal_f32s(value, value), larger, value);
                }
            }
        }
        largest
    }
}

/// Adds the gradient of each window's largest value to its place: the first of equals, as in PyTorch.
pub(crate) fn max_pool_gradient(
    team: &Team,
    pool: &Pool,
    operands: [Source<'_>; 2],
    (result, to, channel): (&mut [f32], Grid, usize),
    channels: usize,
) {
    let parts = Parts::new(to.start, to.images, [to.image, to.height * to.row], to.height * to.row);
    team.each_part(result, parts, |image, result| {
        Instructions::get().run(Scatter { pool, operands, image, to, channel, channels, result });
    });
}

/// An image.
struct Scatter<'a, 'r> {
    pool: &'a Pool,
    operands: [Source<'a>; 2],
    image: usize,
    to: Grid,
    channel: usize,
    channels: usize,
    result: &'r mut [f32],
}

impl WithSimd for Scatter<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Scatter {
            pool,
            operands: [(x, from, first), (g, windows, start)],
            image,
            to,
            channel,
            channels,
            result,
        } = self;
        let Pool { kernel, stride, padding, .. } = *pool;
        for row in 0..windows.height {
            let ys = window(row, stride[0], padding[0], kernel[0], from.height);
            for column in 0..windows.width {
                let xs = window(column, stride[1], padding[1], kernel[1], from.width);
                let mut block = 0;
                while block < channels {
                    let length = S::F32_LANES.min(channels - block);
                    let at = windows.at(image, row, column) + start + block;
                    let [gradient] = load::<S, 1>(simd, &g[at..at + length]);
                    let mut best = simd.splat_f32s(f32::NEG_INFINITY);
                    let mut place = simd.splat_f32s(0.0);
                    let mut index = 0.0;
                    for y in ys.clone() {
                        for x_at in xs.clone() {
                            let at = from.at(image, y, x_at) + first + block;
                            let [value] = load::<S, 1>(simd, &x[at..at + length]);
                            // Not a number counts as the largest, the last of several.
                            let is_number = simd.equal_f32s(value, value);
                            let here = simd.splat_f32s(index);
                            let larger = simd.less_than_f32s(best, value);
                            let found = simd.select_f32s(larger, here, place);
                            place = simd.select_f32s(is_number, found, here);
                            let largest = simd.select_f32s(larger, value, best);
                            best = simd.select_f32s(is_number, largest, value);
                            index += 1.0;
                        }
                    }
                    index = 0.0;
                    for y in ys.clone() {
                        for x_at in xs.clone() {
                            let at = y * to.row + x_at * to.record + channel + block;
                            let slot = &mut result[at..at + length];
                            let [there] = load::<S, 1>(simd, slot);
                            let is_here = simd.equal_f32s(place, simd.splat_f32s(index));
                            let share = simd.select_f32s(is_here, gradient, simd.splat_f32s(0.0));
                            store(simd, &[simd.add_f32s(there, share)], None, slot);
                            index += 1.0;
                        }
                    }
                    block += length;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::value::Value;
    use crate::cpu::windows::window::result;
    use crate::reference::kernel::{Kernel, View};
    use crate::reference::operators::pool::MaxPool;

    const CHANNELS: usize = if cfg!(miri) { 5 } else { 19 };

    #[test]
    fn largest_values_equal_the_reference() {
        let pools = [
            Pool::new(3, 2, 1),
            Pool::new(5, 1, 2),
            Pool { ceil: true, ..Pool::new(2, 2, 0) },
            Pool { kernel: [3, 2], stride: [1, 3], ..Pool::new(2, 2, 1) },
        ];
        let x = Value::among_others([2, CHANNELS, 7, 10], 1);
        for pool in pools {
            let (expected, shape) = MaxPool(pool).forward([x.view()]);
            result(&x, &shape, |team, x, to, channels| max_pool(team, &pool, x, to, channels))
                .assert_holds(&expected);
        }
    }

    #[test]
    fn what_is_no_number_counts_as_the_largest() {
        let pool = Pool::new(3, 2, 1);
        let rare = |number: f64| if number > 0.9 { f64::NAN } else { number };
        let x = Value::among_others([1, 5, 6, 7], 1).map(rare);
        let (expected, shape) = MaxPool(pool).forward([x.view()]);
        let found = result(&x, &shape, |team, x, to, channels| max_pool(team, &pool, x, to, channels));
        let is_none = |index: usize| {
            let at = found.grid.nth(0, index % 12) + found.channel + index / 12;
            found.floats[at].is_nan()
        };
        assert_eq!(shape, [1, 5, 3, 4]);
        assert!(expected.iter().any(|number| number.is_nan()));
        assert!((0..60).all(|index| is_none(index) == expected[index].is_nan()));
    }

    /// Windows that overlap and stick out; numbers of which many are equal, and some that are none.
    #[test]
    fn gradients_of_max_pooling_equal_the_reference() {
        let pools = [
            Pool::new(3, 2, 1),
            Pool::new(5, 1, 2),
            Pool { ceil: true, ..Pool::new(2, 2, 0) },
            Pool { kernel: [3, 2], stride: [1, 3], ..Pool::new(2, 2, 1) },
        ];
        let functions: [fn(f64) -> f64; 3] =
            [|x| x, |x| (2.0 * x).round(), |x| if x > 0.8 { f64::NAN } else { (2.0 * x).round() }];
        let shape = if cfg!(miri) { [1, 5, 5, 6] } else { [2, 19, 7, 10] };
        for pool in pools {
            for function in functions.into_iter().skip(if cfg!(miri) { 2 } else { 0 }) {
                let x = Value::among_others(shape, 1).map(function);
                let (data, shape) = MaxPool(pool).forward([x.view()]);
                let gradient = Value::among_others(shape[..].try_into().unwrap(), 2);
                let view = View { data: &data[..], shape: &shape };
                let [expected] = MaxPool(pool).backward([x.view()], view, gradient.view(), [true]);
                let mut result = Value::among_others(x.shape, 3);
                let before = result.clone();
                let operands = [x.source(), gradient.source()];
                Team::gather(|team| max_pool_gradient(team, &pool, operands, result.target(), x.shape[1]));
                result.assert_holds(&before.plus(&expected.unwrap()));
            }
        }
    }
}
