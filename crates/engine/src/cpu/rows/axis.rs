//! Sums and orders along an axis of row-major numbers, and their gradients.

use pulp::{Simd, WithSimd};

use crate::cpu::exponential::exp;
use crate::cpu::grid::Grid;
use crate::cpu::instructions::Instructions;
use crate::cpu::team::Team;

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
        let (before, from) = shape.split_at(axis);
        Axis { before: product(before), size: from[0], behind: product(&from[1..]) }
    }
}

/// What is computed of the numbers along an axis.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Along {
    /// exp(x) / sum(exp(x)).
    Softmax,
    /// So many of the largest, in descending order; NaN before every number.
    TopK(usize),
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
            let x = &x[first * block..];
            instructions.run(Task { along: self, x, axis, result });
        });
    }

    /// Writes the gradient of the input, `[before, size, behind]`, from that of the result. Of a softmax the result is
    /// known, of the largest values the input, of a mean nothing needs to be.
    pub(crate) fn gradient(
        self,
        team: &Team,
        [known, gradient]: [&[f32]; 2],
        axis: Axis,
        (result, to): (&mut [f32], Grid),
    ) {
        let instructions = Instructions::get();
        let [block, result_block] = [axis.size, self.size(axis)].map(|size| size * axis.behind);
        to.split_rows(team, result, 16 * block, |_, first, result| {
            let known = if let Along::Mean = self { known } else { &known[first * block..] };
            let gradient = &gradient[first * result_block..];
            instructions.run(GradientTask { along: self, known, gradient, axis, result });
        });
    }
}

/// Columns that are worked on at once: registers of the widest instruction set, two of them. A choice, with which
/// softmax of Gold-YOLO-n at 640x640 takes 0.11 ms on one thread of the machine, number by number 0.71.
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

/// The gradients of some blocks `[size, behind]`.
struct GradientTask<'a, 'r> {
    along: Along,
    known: &'a [f32],
    gradient: &'a [f32],
    axis: Axis,
    result: &'r mut [f32],
}

impl WithSimd for GradientTask<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let GradientTask { along, known, gradient, axis: Axis { size, behind, .. }, result } = self;
        let block = (size * behind).max(1);
        let gradients = gradient.chunks((along.size(self.axis) * behind).max(1));
        for (at, (result, gradient)) in result.chunks_mut(block).zip(gradients).enumerate() {
            let known = || &known[at * block..(at + 1) * block];
            for first in (0..behind).step_by(COLUMNS) {
                let columns = Columns { first, count: COLUMNS.min(behind - first), behind };
                match along {
                    Along::Softmax => columns.softmax_gradient(known(), gradient, result),
                    Along::TopK(count) => columns.largest_gradient(known(), gradient, result, count),
                    Along::Mean => columns.mean_gradient(gradient, result, size),
                }
            }
        }
    }
}

/// Softmax of numbers that follow each other.
#[inline(always)]
fn softmax_of_line(x: &[f32], result: &mut [f32]) {
    let mut largest = [f32::NEG_INFINITY; COLUMNS];
    for part in x.chunks(COLUMNS) {
        for (largest, value) in largest.iter_mut().zip(part) {
            *largest = if *value > *largest { *value } else { *largest };
        }
    }
    let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0; COLUMNS];
    for (result, part) in result.chunks_mut(COLUMNS).zip(x.chunks(COLUMNS)) {
        for ((slot, value), sum) in result.iter_mut().zip(part).zip(&mut sums) {
            *slot = exp(*value - largest);
            *sum += *slot;
        }
    }
    let factor = 1.0 / sums.iter().sum::<f32>();
    result.iter_mut().for_each(|slot| *slot *= factor);
}

/// NaN is larger than every number.
#[inline(always)]
fn is_larger(one: f32, other: f32) -> bool {
    one > other || (one.is_nan() && !other.is_nan())
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
        block.chunks(behind).map(move |row| &row[first..first + count])
    }

    #[inline(always)]
    fn rows_mut(self, block: &mut [f32]) -> impl Iterator<Item = &mut [f32]> {
        let Columns { first, count, behind } = self;
        block.chunks_mut(behind).map(move |row| &mut row[first..first + count])
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
                    let goes_up = is_larger(*value, *kept);
                    (*kept, *value) = if goes_up { (*value, *kept) } else { (*kept, *value) };
                }
            }
        }
    }

    /// y (dy - sum(y dy)).
    #[inline(always)]
    fn softmax_gradient(self, y: &[f32], gradient: &[f32], result: &mut [f32]) {
        let mut sums = [0.0; COLUMNS];
        for (row, gradient) in self.rows(y).zip(self.rows(gradient)) {
            for ((sum, value), gradient) in sums.iter_mut().zip(row).zip(gradient) {
                *sum += value * gradient;
            }
        }
        for ((slots, row), gradient) in self.rows_mut(result).zip(self.rows(y)).zip(self.rows(gradient)) {
            for (((slot, value), gradient), sum) in slots.iter_mut().zip(row).zip(gradient).zip(&sums) {
                *slot = value * (gradient - sum);
            }
        }
    }

    /// Every value gets the gradient of its rank. The first of equals comes first.
    #[inline(always)]
    fn largest_gradient(self, x: &[f32], gradient: &[f32], result: &mut [f32], count: usize) {
        for (at, (slots, values)) in self.rows_mut(result).zip(self.rows(x)).enumerate() {
            let mut ranks = [0_usize; COLUMNS];
            for (other_at, other) in self.rows(x).enumerate() {
                for ((rank, value), other) in ranks.iter_mut().zip(values).zip(other) {
                    let is_before = match other_at < at {
                        true => !is_larger(*value, *other),
                        false => is_larger(*other, *value),
                    };
                    *rank += usize::from(is_before);
                }
            }
            for (column, (slot, rank)) in slots.iter_mut().zip(ranks).enumerate() {
                let at = rank * self.behind + self.first + column;
                *slot = if rank < count { gradient[at] } else { 0.0 };
            }
        }
    }

    #[inline(always)]
    fn mean_gradient(self, gradient: &[f32], result: &mut [f32], size: usize) {
        for slots in self.rows_mut(result) {
            for gradient in self.rows(gradient) {
                slots.iter_mut().zip(gradient).for_each(|(slot, value)| *slot = value / size as f32);
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
    use crate::reference::kernel::{Kernel, View};
    use crate::reference::operators::softmax::Softmax;
    use crate::reference::operators::top_k::TopK;

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

    /// Against the references' derivatives, with equals among the numbers.
    #[test]
    fn gradients_equal_the_references() {
        let shape = [3, 5, 7, 11];
        let x: Vec<f32> = (0..1155).map(|i| (i * i % 61) as f32 / 20.0 - 1.5).collect();
        let seed = |count: usize| (0..count).map(|i| (i * 7 % 19) as f32 - 9.0).collect::<Vec<f32>>();
        let found = |kind: Along, known: &[f32], gradient: &[f32], axis: usize| {
            let axis = Axis::new(&shape, axis);
            let grid = Grid::packed(1, [axis.before, 1], axis.size * axis.behind);
            let mut result = vec![f32::NAN; grid.end()];
            Team::gather(|team| kind.gradient(team, [known, gradient], axis, (&mut result, grid)));
            result
        };
        fn view<'a>(data: &'a [f32], shape: &'a [usize; 4]) -> View<'a, f32> {
            View { data, shape }
        }
        for axis in 0..4 {
            let result = along(Along::Softmax, &x, &shape, axis);
            let gradient = seed(1155);
            let [expected] = Softmax { axis }.backward(
                [view(&x, &shape)],
                view(&result, &shape),
                view(&gradient, &shape),
                [true],
            );
            let softmax = found(Along::Softmax, &result, &gradient, axis);
            assert!(softmax.iter().zip(expected.unwrap()).all(|(a, b)| (a - b).abs() < 1e-5));

            let mut shorter = shape;
            shorter[axis] = 2;
            let gradient = seed(shorter.iter().product());
            let given = View { data: &gradient[..], shape: &shorter };
            let [expected] = TopK { axis, count: 2 }.backward([view(&x, &shape)], given, given, [true]);
            assert_eq!(found(Along::TopK(2), &x, &gradient, axis), expected.unwrap());

            let gradient = seed(1155 / shape[axis]);
            let mean = found(Along::Mean, &[], &gradient, axis);
            assert_eq!(mean.len(), 1155);
            let sums = along(Along::Mean, &mean, &shape, axis);
            assert!(sums.iter().zip(&gradient).all(|(a, b)| (a * shape[axis] as f32 - b).abs() < 1e-5));
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
