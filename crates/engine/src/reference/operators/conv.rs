//! Convolution by matrix products, one per image and group of channels.
//!
//! The input is unfolded into a matrix of `[channel * tap, position]`; a 1x1 kernel at stride 1 is a product with
//! the input itself. Convolutions with one input channel per group are in `depthwise`.

use rayon::prelude::*;

use super::depthwise;
use super::geometry::{Geometry, Reach};
use super::matrix::{Matrix, multiply};
use crate::reference::kernel::{Gradients, Kernel, View};
use network::element::Element;
use network::graph::Conv;

impl Geometry {
    /// Unfolds one group of an image into `[channel * tap, position]`.
    fn unfold<T: Element>(&self, group: &[T], columns: &mut [T]) {
        let taps = self.conv.kernel.iter().product::<usize>();
        let [_, width] = self.input;
        let [_, out_width] = self.output;
        columns.par_chunks_mut(self.output_area()).enumerate().for_each(|(row, values)| {
            values.fill(T::zero());
            let plane = &group[row / taps * self.input_area()..];
            let [rows, columns] = self.reach(self.tap(row % taps));
            for y in rows.first..rows.end {
                let source = &plane[rows.input(y) * width..];
                let target = &mut values[y * out_width..(y + 1) * out_width];
                copy_row(target, source, columns);
            }
        });
    }

    /// Adds the unfolded gradient back onto one group of an image's input.
    fn fold<T: Element>(&self, columns: &[T], group: &mut [T]) {
        let taps = self.conv.kernel.iter().product::<usize>();
        let [_, width] = self.input;
        let [_, out_width] = self.output;
        let channels = group.par_chunks_mut(self.input_area());
        channels.zip(columns.par_chunks(taps * self.output_area())).for_each(|(plane, unfolded)| {
            for (index, values) in unfolded.chunks(self.output_area()).enumerate() {
                let [rows, columns] = self.reach(self.tap(index));
                for y in rows.first..rows.end {
                    let target = &mut plane[rows.input(y) * width..];
                    let source = &values[y * out_width..(y + 1) * out_width];
                    add_row(target, source, columns);
                }
            }
        });
    }
}

/// target\[x\] = source[input(x)] within reach.
fn copy_row<T: Element>(target: &mut [T], source: &[T], reach: Reach) {
    if reach.is_empty() {
        return;
    }
    let (target, source) = (&mut target[reach.first..reach.end], &source[reach.input(reach.first)..]);
    match reach.stride {
        1 => target.iter_mut().zip(source).for_each(|(target, value)| *target = *value),
        stride => target.iter_mut().zip(source.iter().step_by(stride)).for_each(|(t, value)| *t = *value),
    }
}

/// target[input(x)] += source\[x\] within reach.
fn add_row<T: Element>(target: &mut [T], source: &[T], reach: Reach) {
    if reach.is_empty() {
        return;
    }
    let (source, target) = (&source[reach.first..reach.end], &mut target[reach.input(reach.first)..]);
    target.iter_mut().step_by(reach.stride).zip(source).for_each(|(target, value)| *target += *value);
}

/// The result without bias.
fn forward<T: Element>(geometry: &Geometry, x: &[T], kernel: &[T]) -> Vec<T> {
    let Geometry { conv, images, .. } = *geometry;
    let mut result = vec![T::zero(); images * conv.out * geometry.output_area()];
    if geometry.is_depthwise() {
        depthwise::forward(geometry, x, kernel, &mut result);
        return result;
    }
    let (rows, positions, out) = (geometry.rows(), geometry.output_area(), geometry.out_in_group());
    let [input_size, result_size, kernel_size] = geometry.group_sizes();
    let mut columns = scratch(geometry);
    let groups = x.chunks(input_size).zip(result.chunks_mut(result_size));
    for ((group, result), kernel) in groups.zip(kernel.chunks(kernel_size).cycle()) {
        let columns = unfolded(geometry, group, &mut columns);
        multiply(result, Matrix::new(kernel, out, rows), Matrix::new(columns, rows, positions), false);
    }
    result
}

fn scratch<T: Element>(geometry: &Geometry) -> Vec<T> {
    let needed = if geometry.is_plain_product() { 0 } else { geometry.rows() * geometry.output_area() };
    vec![T::zero(); needed]
}

fn unfolded<'a, T: Element>(geometry: &Geometry, group: &'a [T], columns: &'a mut [T]) -> &'a [T] {
    if geometry.is_plain_product() {
        return group;
    }
    geometry.unfold(group, columns);
    columns
}

/// Gradient of the input.
fn input_gradient<T: Element>(geometry: &Geometry, kernel: &[T], gradient: &[T]) -> Vec<T> {
    let mut input = vec![T::zero(); geometry.images * geometry.channels * geometry.input_area()];
    if geometry.is_depthwise() {
        depthwise::input_gradient(geometry, kernel, gradient, &mut input);
        return input;
    }
    let (rows, positions, out) = (geometry.rows(), geometry.output_area(), geometry.out_in_group());
    let [input_size, result_size, kernel_size] = geometry.group_sizes();
    let mut columns = scratch(geometry);
    let groups = input.chunks_mut(input_size).zip(gradient.chunks(result_size));
    for ((input, gradient), kernel) in groups.zip(kernel.chunks(kernel_size).cycle()) {
        let kernel = Matrix::new(kernel, out, rows).transposed();
        let gradient = Matrix::new(gradient, out, positions);
        if geometry.is_plain_product() {
            multiply(input, kernel, gradient, false);
        } else {
            multiply(&mut columns, kernel, gradient, false);
            geometry.fold(&columns, input);
        }
    }
    input
}

/// Gradient of the kernel.
fn kernel_gradient<T: Element>(geometry: &Geometry, x: &[T], gradient: &[T]) -> Vec<T> {
    let Geometry { conv, .. } = *geometry;
    let mut kernel = vec![T::zero(); conv.out * geometry.rows()];
    if geometry.is_depthwise() {
        depthwise::kernel_gradient(geometry, x, gradient, &mut kernel);
        return kernel;
    }
    let (rows, positions, out) = (geometry.rows(), geometry.output_area(), geometry.out_in_group());
    let [input_size, result_size, kernel_size] = geometry.group_sizes();
    let mut columns = scratch(geometry);
    let images = x.chunks(input_size * conv.groups).zip(gradient.chunks(result_size * conv.groups));
    for (x, gradient) in images {
        let groups = x.chunks(input_size).zip(gradient.chunks(result_size));
        for ((x, gradient), kernel) in groups.zip(kernel.chunks_mut(kernel_size)) {
            let columns = Matrix::new(unfolded(geometry, x, &mut columns), rows, positions);
            multiply(kernel, Matrix::new(gradient, out, positions), columns.transposed(), true);
        }
    }
    kernel
}

/// Sum of the gradient over images and positions, per channel.
fn bias_gradient<T: Element>(geometry: &Geometry, gradient: &[T]) -> Vec<T> {
    let out = geometry.conv.out;
    let sum = |plane: &[T]| plane.iter().map(|value| value.wide()).sum::<f64>();
    let planes = |c: usize| gradient.chunks(geometry.output_area()).skip(c).step_by(out);
    (0..out).map(|c| T::of(planes(c).map(sum).sum())).collect()
}

impl Kernel<2> for Conv {
    const NAME: &'static str = "convolution";

    fn forward<T: Element>(&self, [x, kernel]: [View<'_, T>; 2]) -> (Vec<T>, Vec<usize>) {
        let geometry = Geometry::new(*self, x);
        let [height, width] = geometry.output;
        (forward(&geometry, x.data, kernel.data), vec![geometry.images, self.out, height, width])
    }

    fn backward<T: Element>(
        &self,
        [x, kernel]: [View<'_, T>; 2],
        _: View<'_, T>,
        gradient: View<'_, T>,
        [x_wanted, kernel_wanted]: [bool; 2],
    ) -> Gradients<T, 2> {
        let geometry = Geometry::new(*self, x);
        [
            x_wanted.then(|| input_gradient(&geometry, kernel.data, gradient.data)),
            kernel_wanted.then(|| kernel_gradient(&geometry, x.data, gradient.data)),
        ]
    }
}

impl Kernel<3> for Conv {
    const NAME: &'static str = "convolution with bias";

    fn forward<T: Element>(&self, [x, kernel, bias]: [View<'_, T>; 3]) -> (Vec<T>, Vec<usize>) {
        let (mut result, shape) = Kernel::<2>::forward(self, [x, kernel]);
        let area = shape.iter().skip(2).product();
        result.par_chunks_mut(area).enumerate().for_each(|(plane, values)| {
            let bias = bias.data[plane % self.out];
            values.iter_mut().for_each(|value| *value += bias);
        });
        (result, shape)
    }

    fn backward<T: Element>(
        &self,
        [x, kernel, _]: [View<'_, T>; 3],
        result: View<'_, T>,
        gradient: View<'_, T>,
        [x_wanted, kernel_wanted, bias_wanted]: [bool; 3],
    ) -> Gradients<T, 3> {
        let [input, weights] =
            Kernel::<2>::backward(self, [x, kernel], result, gradient, [x_wanted, kernel_wanted]);
        let geometry = Geometry::new(*self, x);
        [input, weights, bias_wanted.then(|| bias_gradient(&geometry, gradient.data))]
    }
}
