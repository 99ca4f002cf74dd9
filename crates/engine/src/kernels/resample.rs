//! Everything that makes each position of the result a weighted sum of a rectangle of the input, with weights
//! that are products of one per row and one per column: average pooling of all kinds, resizing.

use rayon::prelude::*;

use super::pool::window;
use crate::element::Element;
use crate::kernel::{Gradients, Kernel, View};
use network::graph::{Pool, ResizeMode};

/// Positions along an axis of the input with their weights, for every position of the result.
type Taps = Vec<Vec<(usize, f64)>>;

/// A weighted sum over rows and columns.
#[derive(Debug, Clone)]
pub(crate) struct Resample {
    rows: Taps,
    columns: Taps,
}

impl Resample {
    /// Average pooling of a picture of `size`, height and width.
    pub(crate) fn average(pool: &Pool, size: [usize; 2]) -> Resample {
        let result = pool.output_size(size).unwrap_or_default();
        let taps = |axis: fn([usize; 2]) -> usize| {
            let (kernel, stride, padding) = (axis(pool.kernel), axis(pool.stride), axis(pool.padding));
            let size = axis(size);
            let windows = (0..axis(result)).map(|index| {
                let covered = window(index, stride, padding, kernel, size);
                // A window may stick out of the padding in ceil mode; what sticks out is never counted.
                let padded = (index * stride + kernel).min(size + 2 * padding) - index * stride;
                let count = if pool.count_padding { padded } else { covered.len() };
                let weight = 1.0 / count.max(1) as f64;
                covered.map(|position| (position, weight)).collect()
            });
            windows.collect()
        };
        Resample { rows: taps(|[height, _]| height), columns: taps(|[_, width]| width) }
    }

    /// Average over windows [floor(i * in / out), ceil((i + 1) * in / out)).
    pub(crate) fn adaptive_average(from: [usize; 2], to: [usize; 2]) -> Resample {
        Resample::along_both(from, to, |from, to| {
            let windows = (0..to).map(|index| {
                let covered = index * from / to..((index + 1) * from).div_ceil(to);
                let weight = 1.0 / covered.len() as f64;
                covered.map(|position| (position, weight)).collect()
            });
            windows.collect()
        })
    }

    /// Another height and width.
    pub(crate) fn resize(mode: ResizeMode, from: [usize; 2], to: [usize; 2]) -> Resample {
        Resample::along_both(from, to, |from, to| {
            let ratio = from as f64 / to as f64;
            let between = move |position: f64| {
                let position = position.clamp(0.0, (from - 1) as f64);
                let (low, part) = (position.floor() as usize, position.fract());
                vec![(low, 1.0 - part), ((low + 1).min(from - 1), part)]
            };
            let taps = (0..to).map(|index| match mode {
                ResizeMode::Nearest => vec![(index * from / to, 1.0)],
                ResizeMode::Bilinear => between((index as f64 + 0.5) * ratio - 0.5),
                ResizeMode::BilinearAlignCorners => {
                    between(index as f64 * (from - 1) as f64 / (to - 1).max(1) as f64)
                }
            });
            taps.collect()
        })
    }

    fn along_both(from: [usize; 2], to: [usize; 2], taps: impl Fn(usize, usize) -> Taps) -> Resample {
        let ([height, width], [rows, columns]) = (from, to);
        Resample { rows: taps(height, rows), columns: taps(width, columns) }
    }

    /// The rows and columns of the input that a position of the result is made of, with their weights.
    pub(crate) fn taps(&self, row: usize, column: usize) -> [&[(usize, f64)]; 2] {
        let rows = self.rows.get(row).map_or(&[][..], Vec::as_slice);
        [rows, self.columns.get(column).map_or(&[][..], Vec::as_slice)]
    }

    /// What makes the gradient of the input, a picture of `size`, from that of the result.
    pub(crate) fn transposed(&self, [height, width]: [usize; 2]) -> Resample {
        let turned = |taps: &Taps, size: usize| {
            let mut turned = vec![Vec::new(); size];
            for (index, taps) in taps.iter().enumerate() {
                for (position, weight) in taps {
                    if let Some(own) = turned.get_mut(*position) {
                        own.push((index, *weight));
                    }
                }
            }
            turned
        };
        Resample { rows: turned(&self.rows, height), columns: turned(&self.columns, width) }
    }

    fn plane<T: Element>(&self, plane: &[T], width: usize, result: &mut [T]) {
        let mut sums = vec![T::zero(); width];
        for (row, result) in self.rows.iter().zip(result.chunks_mut(self.columns.len())) {
            sums.fill(T::zero());
            for (y, weight) in row {
                let values = plane.get(y * width..(y + 1) * width).unwrap_or_default();
                let weight = T::of(*weight);
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * *value);
            }
            for (column, result) in self.columns.iter().zip(result) {
                let values = column.iter().filter_map(|(x, weight)| Some(T::of(*weight) * *sums.get(*x)?));
                *result = values.sum();
            }
        }
    }

    fn plane_gradient<T: Element>(&self, gradient: &[T], width: usize, input: &mut [T]) {
        let mut sums = vec![T::zero(); width];
        for (row, gradient) in self.rows.iter().zip(gradient.chunks(self.columns.len())) {
            sums.fill(T::zero());
            for (column, gradient) in self.columns.iter().zip(gradient) {
                for (x, weight) in column {
                    if let Some(sum) = sums.get_mut(*x) {
                        *sum += T::of(*weight) * *gradient;
                    }
                }
            }
            for (y, weight) in row {
                let values = input.get_mut(y * width..(y + 1) * width).unwrap_or_default();
                let weight = T::of(*weight);
                values.iter_mut().zip(&sums).for_each(|(value, sum)| *value += weight * *sum);
            }
        }
    }
}

impl Kernel<1> for Resample {
    const NAME: &'static str = "resample";

    fn forward<T: Element>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        let [n, channels, height, width] = x.planes();
        let (rows, columns) = (self.rows.len(), self.columns.len());
        let mut result = vec![T::zero(); n * channels * rows * columns];
        let planes = result.par_chunks_mut(rows * columns).zip(x.data.par_chunks(height * width));
        planes.for_each(|(result, plane)| self.plane(plane, width, result));
        (result, vec![n, channels, rows, columns])
    }

    fn backward<T: Element>(
        &self,
        [x]: [View<'_, T>; 1],
        _: View<'_, T>,
        gradient: View<'_, T>,
        _: [bool; 1],
    ) -> Gradients<T, 1> {
        let [_, _, height, width] = x.planes();
        let mut input = vec![T::zero(); x.data.len()];
        let area = self.rows.len() * self.columns.len();
        let planes = input.par_chunks_mut(height * width).zip(gradient.data.par_chunks(area));
        planes.for_each(|(input, gradient)| self.plane_gradient(gradient, width, input));
        [Some(input)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(kernel: &Resample, data: &[f64], height: usize) -> Vec<f64> {
        kernel.forward([View { data, shape: &[1, 1, height, data.len() / height] }]).0
    }

    /// Values from torch 2.15.
    #[test]
    fn pictures_are_resampled_as_by_pytorch() {
        let x = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        let resize = |mode, to| run(&Resample::resize(mode, [2, 3], to), &x, 2);
        assert_eq!(resize(ResizeMode::Nearest, [3, 2]), [1.0, 2.0, 1.0, 2.0, 8.0, 16.0]);
        assert_eq!(resize(ResizeMode::Bilinear, [1, 6])[..3], [4.5, 5.625, 7.875]);
        assert_eq!(resize(ResizeMode::BilinearAlignCorners, [2, 2]), [1.0, 4.0, 8.0, 32.0]);
        let adaptive = run(&Resample::adaptive_average([2, 3], [1, 2]), &x, 2);
        assert_eq!(adaptive, [6.75, 13.5]);
        // avg_pool2d(2, stride 2, padding 1): padding counts.
        let pool = Pool::new(2, 2, 1);
        assert_eq!(run(&Resample::average(&pool, [2, 3]), &x, 2), [0.25, 1.5, 2.0, 12.0]);
        let uncounted = Pool { count_padding: false, ..pool };
        assert_eq!(run(&Resample::average(&uncounted, [2, 3]), &x, 2), [1.0, 3.0, 8.0, 24.0]);
        // avg_pool2d(2, stride 2, ceil_mode=True): what sticks out does not count.
        let ceil = Pool { ceil: true, ..Pool::new(2, 2, 0) };
        assert_eq!(run(&Resample::average(&ceil, [2, 3]), &x, 2), [6.75, 18.0]);
    }
}
