//! Winograd's transforms of tiles for 3x3 kernels (arXiv 1509.09308): along one dimension, those of the other follow by
//! doing the same again.
//!
//! A tile is evaluated at as many points as it has pixels on a side of the input, infinity among them. Which points
//! these are decides how much rounding grows.

use pulp::Simd;

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

/// Rows as columns.
#[inline(always)]
pub(super) fn transposed<T: Copy, const ROWS: usize, const COLUMNS: usize>(
    zero: T,
    rows: &[[T; COLUMNS]; ROWS],
) -> [[T; ROWS]; COLUMNS] {
    let mut columns = [[zero; ROWS]; COLUMNS];
    for (y, row) in rows.iter().enumerate() {
        for (column, value) in columns.iter_mut().zip(row) {
            column[y] = *value;
        }
    }
    columns
}
