//! Weighted sums of rows and columns: average pooling, resizing, and by transposed weights their gradients.

use pulp::Simd;

use super::window::{Channels, Picture, Window, each_window};
use crate::cpu::grid::Grid;
use crate::cpu::team::Team;
use crate::resample::Resample;

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

#[derive(Clone, Copy)]
struct Weighted<'a>(&'a Resample);

impl Window for Weighted<'_> {
    #[inline(always)]
    fn value<S: Simd, const REGISTERS: usize>(
        self,
        simd: S,
        [row, column]: [usize; 2],
        source: Picture<'_>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::value::Value;
    use crate::cpu::windows::window::result;
    use crate::reference::kernel::{Kernel, View};
    use network::graph::{Pool, ResizeMode};

    const CHANNELS: usize = if cfg!(miri) { 5 } else { 19 };

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
