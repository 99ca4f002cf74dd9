//! Convolutions in which each result channel sees a single input channel: plain loops, tap by tap, in which the
//! innermost runs along a row.

use rayon::prelude::*;

use super::geometry::Geometry;
use network::element::Element;

impl Geometry {
    /// Result channels of one input channel.
    fn multiplier(&self) -> usize {
        self.conv.out / self.channels
    }

    fn taps(&self) -> usize {
        self.conv.kernel.iter().product()
    }

    /// Calls `row` for every tap and every result row that meets the input, with the tap's index, where the
    /// rows of the result and of the input begin, and how many positions they share.
    fn rows_of_taps(&self, mut row: impl FnMut(usize, usize, usize, usize)) {
        let [kernel_height, kernel_width] = self.conv.kernel;
        let ([_, width], [_, out_width]) = (self.input, self.output);
        for ky in 0..kernel_height {
            for kx in 0..kernel_width {
                let [rows, columns] = self.reach([ky, kx]);
                for y in rows.first..rows.end {
                    if columns.first < columns.end {
                        let result = y * out_width + columns.first;
                        let input = rows.input(y) * width + columns.input(columns.first);
                        row(ky * kernel_width + kx, result, input, columns.end - columns.first);
                    }
                }
            }
        }
    }
}

pub(super) fn forward<T: Element>(geometry: &Geometry, x: &[T], kernel: &[T], result: &mut [T]) {
    let out = geometry.conv.out;
    let [_, stride] = geometry.conv.stride;
    result.par_chunks_mut(geometry.output_area()).enumerate().for_each(|(index, plane)| {
        let (image, channel) = (index / out, index % out);
        let source = image * geometry.channels + channel / geometry.multiplier();
        let source = &x[source * geometry.input_area()..];
        let kernel = &kernel[channel * geometry.taps()..];
        geometry.rows_of_taps(|tap, at, input, length| {
            let weight = kernel[tap];
            let (target, source) = (&mut plane[at..at + length], &source[input..]);
            match stride {
                1 => target.iter_mut().zip(source).for_each(|(t, value)| *t += weight * *value),
                _ => {
                    target.iter_mut().zip(source.iter().step_by(stride)).for_each(|(t, v)| *t += weight * *v)
                }
            }
        });
    });
}

pub(super) fn input_gradient<T: Element>(geometry: &Geometry, kernel: &[T], gradient: &[T], input: &mut [T]) {
    let (out, multiplier) = (geometry.conv.out, geometry.multiplier());
    let [_, stride] = geometry.conv.stride;
    input.par_chunks_mut(geometry.input_area()).enumerate().for_each(|(index, plane)| {
        let (image, channel) = (index / geometry.channels, index % geometry.channels);
        for result in channel * multiplier..(channel + 1) * multiplier {
            let gradient = &gradient[(image * out + result) * geometry.output_area()..];
            let kernel = &kernel[result * geometry.taps()..];
            geometry.rows_of_taps(|tap, at, input, length| {
                let weight = kernel[tap];
                let source = &gradient[at..at + length];
                let target = plane[input..].iter_mut().step_by(stride);
                target.zip(source).for_each(|(target, value)| *target += weight * *value);
            });
        }
    });
}

pub(super) fn kernel_gradient<T: Element>(geometry: &Geometry, x: &[T], gradient: &[T], kernel: &mut [T]) {
    let out = geometry.conv.out;
    let [_, stride] = geometry.conv.stride;
    kernel.par_chunks_mut(geometry.taps()).enumerate().for_each(|(channel, kernel)| {
        for image in 0..geometry.images {
            let source = image * geometry.channels + channel / geometry.multiplier();
            let source = &x[source * geometry.input_area()..];
            let gradient = &gradient[(image * out + channel) * geometry.output_area()..];
            geometry.rows_of_taps(|tap, at, input, length| {
                let pairs = gradient[at..at + length].iter().zip(source[input..].iter().step_by(stride));
                kernel[tap] += pairs.map(|(gradient, value)| *gradient * *value).sum();
            });
        }
    });
}
