//! A weighted sum of a rectangle of the input for each position of the result, on row-major planes.

use rayon::prelude::*;

use crate::reference::kernel::{Gradients, Kernel, View};
use crate::resample::Resample;
use network::element::Element;

impl Resample {
    fn plane<T: Element>(&self, plane: &[T], width: usize, result: &mut [T]) {
        let mut sums = vec![T::zero(); width];
        for (row, result) in self.rows.iter().zip(result.chunks_mut(self.columns.len())) {
            sums.fill(T::zero());
            for (y, weight) in row {
                let values = &plane[y * width..(y + 1) * width];
                let weight = T::of(*weight);
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * *value);
            }
            for (column, result) in self.columns.iter().zip(result) {
                let values = column.iter().map(|(x, weight)| T::of(*weight) * sums[*x]);
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
                    sums[*x] += T::of(*weight) * *gradient;
                }
            }
            for (y, weight) in row {
                let values = &mut input[y * width..(y + 1) * width];
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
    use network::graph::{Pool, ResizeMode};

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
