//! Max pooling.

use rayon::prelude::*;

use crate::reference::kernel::{Gradients, Kernel, View};
use crate::resample::window;
use network::element::Element;
use network::graph::Pool;

/// The largest value of each window; padding is never the largest.
pub(crate) struct MaxPool(pub(crate) Pool);

impl MaxPool {
    /// Rows and columns of the result; none of a window that does not fit.
    fn sizes(&self, height: usize, width: usize) -> [usize; 2] {
        self.0.output_size([height, width]).unwrap_or_default()
    }

    /// Calls `found` with each window's number and the position of its largest value: the first of equals, or the
    /// last NaN, as in PyTorch.
    fn largest<T: Element>(
        &self,
        plane: &[T],
        [height, width]: [usize; 2],
        mut found: impl FnMut(usize, usize, T),
    ) {
        let [rows, columns] = self.sizes(height, width);
        let [kh, kw] = self.0.kernel;
        let [sh, sw] = self.0.stride;
        let [ph, pw] = self.0.padding;
        for row in 0..rows {
            let ys = window(row, sh, ph, kh, height);
            for column in 0..columns {
                let xs = window(column, sw, pw, kw, width);
                let mut best = (ys.start * width + xs.start, T::neg_infinity());
                for y in ys.clone() {
                    let start = y * width;
                    let values = &plane[start + xs.start..start + xs.end];
                    for (x, value) in xs.clone().zip(values) {
                        if *value > best.1 || value.is_nan() {
                            best = (start + x, *value);
                        }
                    }
                }
                found(row * columns + column, best.0, best.1);
            }
        }
    }
}

impl Kernel<1> for MaxPool {
    const NAME: &'static str = "max pool";

    fn forward<T: Element>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        let [n, channels, height, width] = x.planes();
        let [rows, columns] = self.sizes(height, width);
        let mut result = vec![T::zero(); n * channels * rows * columns];
        let planes = result.par_chunks_mut(rows * columns).zip(x.data.par_chunks(height * width));
        planes.for_each(|(result, plane)| {
            self.largest(plane, [height, width], |window, _, value| result[window] = value);
        });
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
        let [rows, columns] = self.sizes(height, width);
        let mut input = vec![T::zero(); x.data.len()];
        let planes = input.par_chunks_mut(height * width).zip(x.data.par_chunks(height * width));
        planes.zip(gradient.data.par_chunks(rows * columns)).for_each(|((input, plane), gradient)| {
            self.largest(plane, [height, width], |window, position, _| input[position] += gradient[window]);
        });
        [Some(input)]
    }
}
