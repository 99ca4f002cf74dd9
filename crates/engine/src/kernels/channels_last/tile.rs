//! Winograd's transforms of tiles for 3x3 kernels (arXiv 1509.09308): along one dimension, those of the other follow by
//! doing the same again.
//!
//! A tile is evaluated at as many points as it has pixels on a side of the input, infinity among them. Which points
//! these are decides how much rounding grows.

use pulp::Simd;

use super::aligned::Aligned;
use super::dense::Panel;

/// Pixels of the result on a side of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Tiling {
    /// F(2x2, 3x3).
    Two,
    /// F(4x4, 3x3).
    Four,
}

impl Tiling {
    /// The one that takes less time for a result of this size and a kernel of so many weights.
    pub(crate) fn of([height, width]: [usize; 2], weights: usize) -> Tiling {
        /// Fewer large tiles than these for every so many weights gain little: they wait for the transformed weights,
        /// which are 2.25 times as many and take as much more memory.
        const FEWEST: usize = 64;
        const WEIGHTS: usize = 9 * 256 * 256;
        /// What a product costs with large tiles, with small ones 10: transforms and edges are more of the time.
        const COST: usize = 12;
        let tiles = |side: usize| height.div_ceil(side) * width.div_ceil(side);
        let pays = COST * tiles(4) * Tiling::Four.points() < 10 * tiles(2) * Tiling::Two.points();
        if pays && tiles(4) >= FEWEST * weights.div_ceil(WEIGHTS) { Tiling::Four } else { Tiling::Two }
    }

    /// Numbers of a transformed tile.
    pub(super) fn points(self) -> usize {
        match self {
            Tiling::Two => 16,
            Tiling::Four => 36,
        }
    }

    pub(super) fn side(self) -> usize {
        match self {
            Tiling::Two => 2,
            Tiling::Four => 4,
        }
    }

    /// The factors of the taps of a line of the kernel in each of the numbers that it is transformed to; the rest zeros.
    pub(super) fn factors(self) -> [[f64; 3]; 6] {
        fn of<T: Tile<SIDE, OUT>, const SIDE: usize, const OUT: usize>() -> [[f64; 3]; 6] {
            let [a, b, c] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].map(T::kernel);
            let mut factors = [[0.0; 3]; 6];
            let lines = a.into_iter().zip(b).zip(c).map(|((a, b), c)| [a, b, c]);
            factors.iter_mut().zip(lines).for_each(|(slot, line)| *slot = line);
            factors
        }
        match self {
            Tiling::Two => of::<Two, 4, 2>(),
            Tiling::Four => of::<Four, 6, 4>(),
        }
    }

    /// Pixels of the input on a side of a tile.
    pub(super) fn input_side(self) -> usize {
        self.side() + 2
    }

    /// The transformed and packed weights of a kernel `[out, channels, 3, 3]`.
    pub(super) fn pack(self, kernel: &[f32], channels: usize, panels: &[Panel], lanes: usize) -> Aligned {
        match self {
            Tiling::Two => pack(transformed_kernel::<Two, 4, 2>, kernel, channels, panels, lanes),
            Tiling::Four => pack(transformed_kernel::<Four, 6, 4>, kernel, channels, panels, lanes),
        }
    }
}

/// A tile that makes `OUT` pixels on a side of `SIDE` pixels of the input.
pub(super) trait Tile<const SIDE: usize, const OUT: usize>: Copy {
    /// Of a row or column of a kernel.
    fn kernel(taps: [f64; 3]) -> [f64; SIDE];

    /// Of a row or column of the input.
    fn input<S: Simd>(simd: S, pixels: [S::f32s; SIDE]) -> [S::f32s; SIDE];

    /// Of a row or column of products, to pixels of the result.
    fn result<S: Simd>(simd: S, products: [S::f32s; SIDE]) -> [S::f32s; OUT];

    /// The other way round, of pixels' gradients to those of products.
    fn products<S: Simd>(simd: S, gradients: [S::f32s; OUT]) -> [S::f32s; SIDE];
}

/// F(2x2, 3x3) with the points 0, 1, -1: sums and differences, and halves in the kernel's, so that errors stay near those
/// of plain sums.
#[derive(Clone, Copy)]
pub(super) struct Two;

impl Tile<4, 2> for Two {
    fn kernel([a, b, c]: [f64; 3]) -> [f64; 4] {
        [a, (a + b + c) / 2.0, (a - b + c) / 2.0, c]
    }

    #[inline(always)]
    fn input<S: Simd>(simd: S, [p, q, r, s]: [S::f32s; 4]) -> [S::f32s; 4] {
        [simd.sub_f32s(p, r), simd.add_f32s(q, r), simd.sub_f32s(r, q), simd.sub_f32s(q, s)]
    }

    #[inline(always)]
    fn result<S: Simd>(simd: S, [p, q, r, s]: [S::f32s; 4]) -> [S::f32s; 2] {
        let [sum, difference] = [simd.add_f32s(q, r), simd.sub_f32s(q, r)];
        [simd.add_f32s(p, sum), simd.sub_f32s(difference, s)]
    }

    #[inline(always)]
    fn products<S: Simd>(simd: S, [p, q]: [S::f32s; 2]) -> [S::f32s; 4] {
        [p, simd.add_f32s(p, q), simd.sub_f32s(p, q), simd.neg_f32s(q)]
    }
}

/// F(4x4, 3x3) with the points 0, 3/4, -3/4, 3/2, -3/2: all factors are exact, and with kernels of noise errors are twice
/// those of plain sums, where the usual points 0, 1, -1, 2, -2 make four to five times of them.
#[derive(Clone, Copy)]
pub(super) struct Four;

/// The points, their squares and cubes.
const NEAR: [f64; 3] = [3.0 / 4.0, 9.0 / 16.0, 27.0 / 64.0];
const FAR: [f64; 3] = [3.0 / 2.0, 9.0 / 4.0, 27.0 / 8.0];

impl Tile<6, 4> for Four {
    fn kernel([a, b, c]: [f64; 3]) -> [f64; 6] {
        let ([near, near_2, _], [far, far_2, _]) = (NEAR, FAR);
        // The polynomial at a point, divided by the product of the point's distances from the others.
        let at = |[point, square]: [f64; 2], divisor: f64| (a + point * b + square * c) / divisor;
        let (of_near, of_far) = (2.0 * near_2 * (near_2 - far_2), 2.0 * far_2 * (far_2 - near_2));
        [
            a / (near_2 * far_2),
            at([near, near_2], of_near),
            at([-near, near_2], of_near),
            at([far, far_2], of_far),
            at([-far, far_2], of_far),
            c,
        ]
    }

    #[inline(always)]
    fn input<S: Simd>(simd: S, [p, q, r, s, t, u]: [S::f32s; 6]) -> [S::f32s; 6] {
        let ([near, near_2, _], [far, far_2, _]) = (NEAR, FAR);
        let (product, sum) = (near_2 * far_2, near_2 + far_2);
        let (near_even, near_odd) = (plus(simd, t, -far_2, r), plus(simd, s, -far_2, q));
        let (far_even, far_odd) = (plus(simd, t, -near_2, r), plus(simd, s, -near_2, q));
        [
            plus(simd, plus(simd, t, -sum, r), product, p),
            plus(simd, near_even, near, near_odd),
            plus(simd, near_even, -near, near_odd),
            plus(simd, far_even, far, far_odd),
            plus(simd, far_even, -far, far_odd),
            plus(simd, plus(simd, u, -sum, s), product, q),
        ]
    }

    #[inline(always)]
    fn result<S: Simd>(simd: S, [p, q, r, s, t, u]: [S::f32s; 6]) -> [S::f32s; 4] {
        let ([near, near_2, near_3], [far, far_2, far_3]) = (NEAR, FAR);
        let (near_even, near_odd) = (simd.add_f32s(q, r), simd.sub_f32s(q, r));
        let (far_even, far_odd) = (simd.add_f32s(s, t), simd.sub_f32s(s, t));
        [
            simd.add_f32s(p, simd.add_f32s(near_even, far_even)),
            plus(simd, times(simd, near, near_odd), far, far_odd),
            plus(simd, times(simd, near_2, near_even), far_2, far_even),
            plus(simd, plus(simd, u, near_3, near_odd), far_3, far_odd),
        ]
    }

    #[inline(always)]
    fn products<S: Simd>(simd: S, [p, q, r, s]: [S::f32s; 4]) -> [S::f32s; 6] {
        let ([near, near_2, near_3], [far, far_2, far_3]) = (NEAR, FAR);
        let (near_even, near_odd) = (plus(simd, p, near_2, r), plus(simd, times(simd, near, q), near_3, s));
        let (far_even, far_odd) = (plus(simd, p, far_2, r), plus(simd, times(simd, far, q), far_3, s));
        [
            p,
            simd.add_f32s(near_even, near_odd),
            simd.sub_f32s(near_even, near_odd),
            simd.add_f32s(far_even, far_odd),
            simd.sub_f32s(far_even, far_odd),
            s,
        ]
    }
}

/// x + factor * y.
#[inline(always)]
fn plus<S: Simd>(simd: S, x: S::f32s, factor: f64, y: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(factor as f32), y, x)
}

/// factor * x.
#[inline(always)]
fn times<S: Simd>(simd: S, factor: f64, x: S::f32s) -> S::f32s {
    simd.mul_f32s(simd.splat_f32s(factor as f32), x)
}

/// For every panel and point the weights of the panel's result channels, for one input channel after another.
fn pack<const SIDE: usize>(
    transformed: impl Fn(&[f32]) -> [[f32; SIDE]; SIDE],
    kernel: &[f32],
    channels: usize,
    panels: &[Panel],
    lanes: usize,
) -> Aligned {
    let width: usize = panels.iter().map(|panel| panel.registers * lanes).sum();
    let mut weights = Aligned::zeros(SIDE * SIDE * channels * width);
    let mut rest = weights.floats_mut();
    for panel in panels {
        let width = panel.registers * lanes;
        let (own, behind) = rest.split_at_mut((SIDE * SIDE * channels * width).min(rest.len()));
        rest = behind;
        let kernels = kernel.chunks(9 * channels.max(1)).skip(panel.start).take(panel.channels);
        for (out, kernels) in kernels.enumerate() {
            for (channel, kernel) in kernels.chunks(9).enumerate() {
                let slots = own.iter_mut().skip(channel * width + out).step_by(channels * width);
                let points = transformed(kernel);
                slots.zip(points.as_flattened()).for_each(|(slot, point)| *slot = *point);
            }
        }
    }
    weights
}

/// The transformed kernel `[3, 3]`, row by row.
fn transformed_kernel<T: Tile<SIDE, OUT>, const SIDE: usize, const OUT: usize>(
    kernel: &[f32],
) -> [[f32; SIDE]; SIDE] {
    let number = |y: usize, x: usize| kernel.get(3 * y + x).copied().map_or(0.0, f64::from);
    let [first, second, third] = [0, 1, 2].map(|y| T::kernel([number(y, 0), number(y, 1), number(y, 2)]));
    let mut result = [[0.0; SIDE]; SIDE];
    for (x, ((a, b), c)) in first.into_iter().zip(second).zip(third).enumerate() {
        for (row, value) in result.iter_mut().zip(T::kernel([a, b, c])) {
            if let Some(slot) = row.get_mut(x) {
                *slot = value as f32;
            }
        }
    }
    result
}

/// Rows as columns.
#[inline(always)]
pub(super) fn transposed<T: Copy, const ROWS: usize, const COLUMNS: usize>(
    zero: T,
    rows: &[[T; COLUMNS]; ROWS],
) -> [[T; ROWS]; COLUMNS] {
    let mut columns = [[zero; ROWS]; COLUMNS];
    for (y, row) in rows.iter().enumerate() {
        for (column, value) in columns.iter_mut().zip(row) {
            if let Some(slot) = column.get_mut(y) {
                *slot = *value;
            }
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tiles_are_for_large_maps() {
        let of = |size, channels: usize| Tiling::of(size, 9 * channels * channels);
        assert_eq!(of([40, 40], 256), Tiling::Four);
        assert_eq!(of([40, 40], 512), Tiling::Two);
        assert_eq!(of([20, 20], 64), Tiling::Two);
        // Whose large tiles would be half empty.
        assert_eq!(of([2, 400], 64), Tiling::Two);
    }
}
