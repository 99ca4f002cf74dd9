//! Windows over the picture: largest values, and weighted sums of rows and columns.

use pulp::{Simd, WithSimd};

use super::Grid;
use super::instructions::Instructions;
use super::registers::{load, store};
use super::team::Team;
use crate::resample::Resample;
use crate::resample::window;
use network::graph::Pool;

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
    /// Of some registers of channels of the window for a pixel of the result, row and column.
    fn value<S: Simd, const REGISTERS: usize>(
        self,
        simd: S,
        pixel: [usize; 2],
        source: Source<'_>,
    ) -> [S::f32s; REGISTERS];
}

#[derive(Clone, Copy)]
struct Largest<'a>(&'a Pool);

impl Window for Largest<'_> {
    #[inline(always)]
    fn value<S: Simd, const REGISTERS: usize>(
        self,
        simd: S,
        [row, column]: [usize; 2],
        source: Source<'_>,
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

#[derive(Clone, Copy)]
struct Weighted<'a>(&'a Resample);

impl Window for Weighted<'_> {
    #[inline(always)]
    fn value<S: Simd, const REGISTERS: usize>(
        self,
        simd: S,
        [row, column]: [usize; 2],
        source: Source<'_>,
    ) -> [S::f32s; REGISTERS] {
        let [rows, columns] = self.0.taps(row, column);
        let mut sums = [simd.splat_f32s(0.0); REGISTERS];
        for (y, down) in rows {
            for (x, across) in columns {
                let weight = simd.splat_f32s((down * across) as f32);
                let values: [S::f32s; REGISTERS] = source.load(simd, [*y, *x]);
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = simd.mul_add_e_f32s(weight, value, *sum);
                }
            }
        }
        sums
    }
}

/// Some channels of every pixel of an image.
#[derive(Clone, Copy)]
struct Source<'a> {
    x: &'a [f32],
    from: Grid,
    image: usize,
    channel: usize,
    count: usize,
}

impl Source<'_> {
    #[inline(always)]
    fn load<S: Simd, const REGISTERS: usize>(self, simd: S, [y, x]: [usize; 2]) -> [S::f32s; REGISTERS] {
        let at = self.from.at(self.image, y, x) + self.channel;
        load(simd, self.x.get(at..at + self.count).unwrap_or_default())
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

/// Registers of channels that are worked on at once.
const WIDEST: usize = 4;

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
                let pixel = [first_row + row, column];
                for (at, target) in target.chunks_mut(WIDEST * S::F32_LANES).enumerate() {
                    let channel = channels.from + at * WIDEST * S::F32_LANES;
                    let source = Source { x, from, image, channel, count: target.len() };
                    match target.len().div_ceil(S::F32_LANES) {
                        1 => store(simd, &window.value::<S, 1>(simd, pixel, source), None, target),
                        2 => store(simd, &window.value::<S, 2>(simd, pixel, source), None, target),
                        _ => store(simd, &window.value::<S, WIDEST>(simd, pixel, source), None, target),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::channels_last::value::Value;
    use crate::reference::kernel::{Kernel, View};
    use crate::reference::operators::pool::MaxPool;
    use network::graph::ResizeMode;

    const CHANNELS: usize = if cfg!(miri) { 5 } else { 19 };

    /// Runs a kernel on a picture, whose result has this shape.
    fn result(
        x: &Value,
        shape: &[usize],
        run: impl Fn(&Team, (&[f32], Grid), (&mut [f32], Grid), Channels) + Sync,
    ) -> Value {
        let mut result = Value::among_others(shape.try_into().unwrap(), 2);
        let (floats, grid, from) = x.source();
        let (target, to, channel) = result.target();
        let channels = Channels { from, to: channel, count: x.shape[1] };
        Team::gather(|team| run(team, (floats, grid), (target, to), channels));
        result
    }

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

    #[test]
    fn weighted_sums_equal_the_reference() {
        let (x, size) = (Value::among_others([2, CHANNELS, 7, 10], 1), [7, 10]);
        let uncounted = Pool { ceil: true, count_padding: false, ..Pool::new(3, 2, 1) };
        let averages = [Pool::new(3, 2, 1), uncounted].map(|pool| Resample::average(&pool, size));
        let modes = [ResizeMode::Nearest, ResizeMode::Bilinear, ResizeMode::BilinearAlignCorners];
        let sizes = [[14, 20], [5, 3], [1, 1]];
        let resized = modes.into_iter().flat_map(|mode| sizes.map(|to| Resample::resize(mode, size, to)));
        let adaptive = sizes.map(|to| Resample::adaptive_average(size, to));
        let step = if cfg!(miri) { 4 } else { 1 };
        for own in averages.into_iter().chain(adaptive).chain(resized).step_by(step) {
            let (expected, shape) = own.forward([x.view()]);
            result(&x, &shape, |team, x, to, channels| resample(team, &own, x, to, channels))
                .assert_holds(&expected);
            // The gradient of the input, by the transposed weights.
            let gradient = Value::among_others(shape[..].try_into().unwrap(), 3);
            let result_view = View { data: &expected[..], shape: &shape };
            let [input] = own.backward([x.view()], result_view, gradient.view(), [true]);
            let turned = own.transposed(size);
            result(&gradient, &x.shape, |team, x, to, channels| resample(team, &turned, x, to, channels))
                .assert_holds(&input.unwrap());
        }
    }
}
