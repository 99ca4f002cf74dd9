//! Sums and orders along an axis of row-major numbers.

use pulp::{Simd, WithSimd};

use super::Grid;
use super::elementwise::exp;
use super::instructions::Instructions;
use super::team::Team;

/// The axis of a row-major value: positions before it, along it, behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) before: usize,
    pub(crate) size: usize,
    pub(crate) behind: usize,
}

impl Axis {
    pub(crate) fn new(shape: &[usize], axis: usize) -> Axis {
        let product = |sizes: &[usize]| sizes.iter().product();
        let (before, from) = shape.split_at(axis.min(shape.len()));
        let (size, behind) = from.split_first().unwrap_or((&1, &[]));
        Axis { before: product(before), size: *size, behind: product(behind) }
    }
}

/// What is computed of the numbers along an axis.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Along {
    /// exp(x) / sum(exp(x)).
    Softmax,
    /// So many of the largest, in descending order; NaN before every number.
    TopK(usize),
    /// The mean.
    Mean,
}

impl Along {
    /// Size of the axis in the result.
    pub(crate) fn size(self, axis: Axis) -> usize {
        match self {
            Along::Softmax => axis.size,
            Along::TopK(count) => count,
            Along::Mean => 1,
        }
    }

    /// Writes the result for `x`, `[before, size, behind]`.
    pub(crate) fn run(self, team: &Team, x: &[f32], axis: Axis, (result, to): (&mut [f32], Grid)) {
        let instructions = Instructions::get();
        let block = axis.size * axis.behind;
        to.split_rows(team, result, 16 * block, |_, first, result| {
            let x = x.get(first * block..).unwrap_or_default();
            instructions.run(Task { along: self, x, axis, result });
        });
    }
}

/// Columns that are worked on at once.
const COLUMNS: usize = 32;

/// Some blocks `[size, behind]`.
struct Task<'a, 'r> {
    along: Along,
    x: &'a [f32],
    axis: Axis,
    result: &'r mut [f32],
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Task { along, x, axis: Axis { size, behind, .. }, result } = self;
        let blocks = x.chunks((size * behind).max(1));
        let results = result.chunks_mut((along.size(self.axis) * behind).max(1));
        for (x, result) in blocks.zip(results) {
            if let (1, Along::Softmax) = (behind, along) {
                softmax_of_line(x, result);
                continue;
            }
            for first in (0..behind).step_by(COLUMNS) {
                let columns = Columns { first, count: COLUMNS.min(behind - first), behind };
                match along {
                    Along::Softmax => columns.softmax(x, result),
                    Along::TopK(count) => columns.largest(x, result, count),
                    Along::Mean => columns.mean(x, result, size),
                }
            }
        }
    }
}

/// Softmax of numbers that follow each other.
#[inline(always)]
fn softmax_of_line(x: &[f32], result: &mut [f32]) {
    let largest =
        x.iter().fold(f32::NEG_INFINITY, |largest, value| if *value > largest { *value } else { largest });
    for (slot, value) in result.iter_mut().zip(x) {
        *slot = exp(*value - largest);
    }
    let sum: f32 = result.iter().sum();
    result.iter_mut().for_each(|slot| *slot /= sum);
}

/// Some columns of a block.
#[derive(Clone, Copy)]
struct Columns {
    first: usize,
    count: usize,
    behind: usize,
}

impl Columns {
    /// The columns in every row.
    #[inline(always)]
    fn rows(self, block: &[f32]) -> impl Iterator<Item = &[f32]> {
        let Columns { first, count, behind } = self;
        block.chunks(behind).map(move |row| row.get(first..first + count).unwrap_or_default())
    }

    #[inline(always)]
    fn rows_mut(self, block: &mut [f32]) -> impl Iterator<Item = &mut [f32]> {
        let Columns { first, count, behind } = self;
        block.chunks_mut(behind).map(move |row| row.get_mut(first..first + count).unwrap_or_default())
    }

    #[inline(always)]
    fn softmax(self, x: &[f32], result: &mut [f32]) {
        let mut largest = [f32::NEG_INFINITY; COLUMNS];
        for row in self.rows(x) {
            for (largest, value) in largest.iter_mut().zip(row) {
                *largest = if *value > *largest { *value } else { *largest };
            }
        }
        let mut sums = [0.0; COLUMNS];
        for (row, result) in self.rows(x).zip(self.rows_mut(result)) {
            for (((slot, value), largest), sum) in result.iter_mut().zip(row).zip(&largest).zip(&mut sums) {
                *slot = exp(*value - *largest);
                *sum += *slot;
            }
        }
        for result in self.rows_mut(result) {
            result.iter_mut().zip(&sums).for_each(|(slot, sum)| *slot /= sum);
        }
    }

    /// Every value goes down the ranks until it meets one that is not larger, which goes on in its place.
    #[inline(always)]
    fn largest(self, x: &[f32], result: &mut [f32], count: usize) {
        self.rows_mut(result).for_each(|rank| rank.fill(f32::NEG_INFINITY));
        for row in self.rows(x) {
            let mut values = [0.0; COLUMNS];
            values.iter_mut().zip(row).for_each(|(slot, value)| *slot = *value);
            for rank in self.rows_mut(result).take(count) {
                for (kept, value) in rank.iter_mut().zip(&mut values) {
                    let is_larger = *value > *kept || (value.is_nan() && !kept.is_nan());
                    (*kept, *value) = if is_larger { (*value, *kept) } else { (*kept, *value) };
                }
            }
        }
    }

    #[inline(always)]
    fn mean(self, x: &[f32], result: &mut [f32], size: usize) {
        for sums in self.rows_mut(result) {
            sums.fill(0.0);
            for row in self.rows(x) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            sums.iter_mut().for_each(|sum| *sum /= size as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::kernel::{Kernel, View};
    use crate::runtime::kernels::softmax::Softmax;
    use crate::runtime::kernels::top_k::TopK;

    fn along(along: Along, x: &[f32], shape: &[usize], axis: usize) -> Vec<f32> {
        let axis = Axis::new(shape, axis);
        let grid = Grid::packed(1, [axis.before, 1], along.size(axis) * axis.behind);
        let mut result = vec![0.0; grid.end()];
        Team::gather(|team| along.run(team, x, axis, (&mut result, grid)));
        result
    }

    #[test]
    fn softmax_and_largest_values_equal_the_references() {
        let shape = if cfg!(miri) { [2, 3, 2, 5] } else { [3, 5, 7, 11] };
        let x: Vec<f32> =
            (0..shape.iter().product()).map(|i: usize| (i * i % 211) as f32 / 20.0 - 5.0).collect();
        let view = || [View { data: &x[..], shape: &shape }];
        for axis in 0..4 {
            let (expected, _) = Softmax { axis }.forward(view());
            let found = along(Along::Softmax, &x, &shape, axis);
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6));
            let (expected, _) = TopK { axis, count: 2 }.forward(view());
            assert_eq!(along(Along::TopK(2), &x, &shape, axis), expected);
        }
    }

    #[test]
    fn means_are_taken_and_nan_comes_first() {
        let x = [1.0, 8.0, f32::NAN, 2.0, 3.0, 8.0];
        assert_eq!(along(Along::Mean, &x[3..], &[1, 3], 1), [13.0 / 3.0]);
        assert_eq!(along(Along::Mean, &x[..2], &[2, 1], 1), [1.0, 8.0]);
        let top = along(Along::TopK(2), &x, &[3, 2], 0);
        assert!(top[0].is_nan());
        assert_eq!(top[1..], [8.0, 3.0, 8.0]);
    }
}
