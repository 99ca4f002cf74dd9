//! Deformable convolution: as `conv`, with columns that are sampled instead of copied.
//!
//! A place is where one tap reads for one position of the result; all channels of an offset group share it. The
//! result is made in blocks of positions, so that memory does not grow with the picture.

use std::ops::Range;

use rayon::prelude::*;

use super::geometry::Geometry;
use super::matrix::{Matrix, multiply};
use crate::reference::kernel::{Gradients, Kernel, View};
use network::element::Element;
use network::graph::DeformConv;

/// Numbers that the columns of one block may have: 16 MiB in f32.
const BLOCK: usize = 1 << 22;

/// What a place counts as beside them, which matters where few channels share many places.
const NUMBERS_OF_PLACE: usize = 16;

/// A corner outside the picture.
const OUTSIDE: usize = usize::MAX;

/// Where a tap reads: between four positions of a plane.
#[derive(Debug, Clone, Copy)]
struct Place<T> {
    /// Positions in the plane: above left, above right, below left, below right.
    corners: [usize; 4],
    /// How far it lies below the upper corners and right of the left ones, 0..1.
    between: [T; 2],
    /// Factor of what is read.
    mask: T,
}

impl<T: Element> Place<T> {
    fn new([y, x]: [T; 2], [height, width]: [usize; 2], mask: T) -> Place<T> {
        let size = |length: usize| T::of(length as f64);
        let is_outside = |at: T, length: usize| at <= -T::one() || at >= size(length);
        // A place that is no number stays inside: what is read there is none either.
        if is_outside(y, height) || is_outside(x, width) {
            return Place { corners: [OUTSIDE; 4], between: [T::zero(); 2], mask };
        }
        let (top, left) = (y.floor(), x.floor());
        let corner = |down: isize, right: isize| {
            let [row, column] = [top.wide() as isize + down, left.wide() as isize + right];
            let within = |at: isize, length: usize| usize::try_from(at).ok().filter(|at| *at < length);
            within(row, height)
                .zip(within(column, width))
                .map_or(OUTSIDE, |(row, column)| row * width + column)
        };
        let corners = [corner(0, 0), corner(0, 1), corner(1, 0), corner(1, 1)];
        Place { corners, between: [y - top, x - left], mask }
    }

    /// Shares of the corners.
    fn weights(&self) -> [T; 4] {
        let [down, right] = self.between;
        let (up, left) = (T::one() - down, T::one() - right);
        [up * left, up * right, down * left, down * right]
    }

    /// The numbers at the corners; zero outside.
    fn values(&self, plane: &[T]) -> [T; 4] {
        self.corners.map(|corner| plane.get(corner).copied().unwrap_or(T::zero()))
    }

    /// What is read, before the mask.
    fn read(&self, plane: &[T]) -> T {
        let products =
            self.values(plane).into_iter().zip(self.weights()).map(|(value, weight)| value * weight);
        products.sum()
    }

    /// Derivatives of what is read, before the mask: along y and x.
    fn slopes(&self, plane: &[T]) -> [T; 2] {
        let [down, right] = self.between;
        let (up, left) = (T::one() - down, T::one() - right);
        let [a, b, c, d] = self.values(plane);
        [left * (c - a) + right * (d - b), up * (b - a) + down * (d - c)]
    }
}

/// One run of the operator.
struct Deformation<'a, T> {
    geometry: Geometry,
    conv: DeformConv,
    x: &'a [T],
    /// Offsets and, where samples are weighted, factors: `[N, maps, H', W']`.
    maps: &'a [T],
    /// Number of maps of an image.
    map_count: usize,
    kernel: &'a [T],
    /// Numbers that the columns of one block may have.
    block: usize,
}

impl<'a, T: Element> Deformation<'a, T> {
    fn new(conv: DeformConv, [x, maps, kernel]: [View<'a, T>; 3]) -> Self {
        let geometry = Geometry::new(conv.conv, x);
        let [_, map_count, ..] = maps.planes();
        let (x, maps, kernel) = (x.data, maps.data, kernel.data);
        Deformation { geometry, conv, x, maps, map_count, kernel, block: BLOCK }
    }

    fn positions(&self) -> usize {
        self.geometry.output_area()
    }

    /// Blocks of positions of the result.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        let numbers = self.geometry.rows().max(NUMBERS_OF_PLACE * self.conv.masks());
        let (positions, length) = (self.positions(), (self.block / numbers.max(1)).max(1));
        (0..positions).step_by(length).map(move |start| start..(start + length).min(positions))
    }

    /// Every block of every image: the image, the positions, the places.
    fn parts(&self) -> impl Iterator<Item = (usize, Range<usize>, Vec<Place<T>>)> {
        let images = 0..self.geometry.images;
        images.flat_map(move |image| {
            self.blocks().map(move |block| (image, block.clone(), self.places(image, block)))
        })
    }

    /// The places of a block: for each offset group and tap, one for each position.
    fn places(&self, image: usize, block: Range<usize>) -> Vec<Place<T>> {
        let (taps, positions) = (self.conv.taps(), self.positions());
        let maps = &self.maps[image * self.map_count * positions..];
        let map = |index: usize, at: usize| maps[index * positions + at];
        let mut places = vec![Place::new([T::zero(); 2], [0; 2], T::one()); self.conv.masks() * block.len()];
        places.par_chunks_mut(block.len().max(1)).enumerate().for_each(|(index, row)| {
            for (place, at) in row.iter_mut().zip(block.clone()) {
                let [y, x] = self.geometry.start(index % taps, at);
                let moved = |start: isize, axis| T::of(start as f64) + map(2 * index + axis, at);
                let mask = match self.map_count > self.conv.offsets() {
                    true => map(self.conv.offsets() + index, at),
                    false => T::one(),
                };
                *place = Place::new([moved(y, 0), moved(x, 1)], self.geometry.input, mask);
            }
        });
        places
    }

    /// Channels of one group.
    fn group_channels(&self) -> usize {
        self.geometry.channels / self.conv.conv.groups
    }

    /// The plane of a channel of an image.
    fn plane(&self, image: usize, channel: usize) -> &'a [T] {
        let area = self.geometry.input_area();
        let start = (image * self.geometry.channels + channel) * area;
        &self.x[start..start + area]
    }

    /// The places of a channel at a tap.
    fn row<'p>(&self, places: &'p [Place<T>], channel: usize, tap: usize) -> &'p [Place<T>] {
        let length = places.len() / self.conv.masks().max(1);
        let group = channel / (self.geometry.channels / self.conv.offset_groups).max(1);
        let start = (group * self.conv.taps() + tap) * length;
        &places[start..start + length]
    }

    /// The columns `[channel * tap, position]` of a group in a block.
    fn sample(&self, image: usize, group: usize, places: &[Place<T>], columns: &mut [T]) {
        let (taps, length) = (self.conv.taps(), places.len() / self.conv.masks().max(1));
        let first = group * self.group_channels();
        columns.par_chunks_mut(length.max(1)).enumerate().for_each(|(row, values)| {
            let channel = first + row / taps;
            let plane = self.plane(image, channel);
            let places = self.row(places, channel, row % taps);
            values.iter_mut().zip(places).for_each(|(value, place)| *value = place.mask * place.read(plane));
        });
    }

    /// Where the planes of a group begin in the result.
    fn result_planes(&self, image: usize, group: usize) -> impl Iterator<Item = usize> + use<T> {
        let (out, positions) = (self.geometry.out_in_group(), self.positions());
        let first = image * self.conv.conv.out + group * out;
        (first..first + out).map(move |row| row * positions)
    }

    fn group_kernel(&self, group: usize) -> &'a [T] {
        let size = self.geometry.out_in_group() * self.geometry.rows();
        &self.kernel[group * size..(group + 1) * size]
    }

    fn forward(&self) -> Vec<T> {
        let (rows, out) = (self.geometry.rows(), self.geometry.out_in_group());
        let mut result = vec![T::zero(); self.geometry.images * self.conv.conv.out * self.positions()];
        for (image, block, places) in self.parts() {
            let mut columns = vec![T::zero(); rows * block.len()];
            let mut product = vec![T::zero(); out * block.len()];
            for group in 0..self.conv.conv.groups {
                self.sample(image, group, &places, &mut columns);
                let kernel = Matrix::new(self.group_kernel(group), out, rows);
                multiply(&mut product, kernel, Matrix::new(&columns, rows, block.len()), false);
                for (start, values) in self.result_planes(image, group).zip(product.chunks(block.len())) {
                    let target = &mut result[start + block.start..start + block.end];
                    target.iter_mut().zip(values).for_each(|(target, value)| *target = *value);
                }
            }
        }
        result
    }

    fn backward(&self, gradient: &[T], [x_wanted, maps_wanted, kernel_wanted]: [bool; 3]) -> Gradients<T, 3> {
        let (rows, out) = (self.geometry.rows(), self.geometry.out_in_group());
        let zeros = |wanted: bool, length: usize| wanted.then(|| vec![T::zero(); length]);
        let mut x = zeros(x_wanted, self.x.len());
        let mut maps = zeros(maps_wanted, self.maps.len());
        let mut kernel = zeros(kernel_wanted, self.kernel.len());
        for (image, block, places) in self.parts() {
            let mut columns = vec![T::zero(); rows * block.len()];
            for group in 0..self.conv.conv.groups {
                let gradient = self.gradient_of(gradient, image, group, &block);
                let gradient = Matrix::new(&gradient, out, block.len());
                if let Some(kernel) = &mut kernel {
                    self.sample(image, group, &places, &mut columns);
                    let target = &mut kernel[group * out * rows..];
                    multiply(target, gradient, Matrix::new(&columns, rows, block.len()).transposed(), true);
                }
                if x.is_none() && maps.is_none() {
                    continue;
                }
                let kernel = Matrix::new(self.group_kernel(group), out, rows).transposed();
                multiply(&mut columns, kernel, gradient, false);
                if let Some(x) = &mut x {
                    self.spread(image, group, &places, &columns, x);
                }
                if let Some(maps) = &mut maps {
                    self.move_maps(image, group, &places, &columns, &block, maps);
                }
            }
        }
        [x, maps, kernel]
    }

    /// The gradient of the result of a group in a block, `[out, position]`.
    fn gradient_of(&self, gradient: &[T], image: usize, group: usize, block: &Range<usize>) -> Vec<T> {
        let rows = self.result_planes(image, group);
        let values = rows.flat_map(|start| &gradient[start + block.start..start + block.end]);
        values.copied().collect()
    }

    /// Adds the gradient of the columns to the corners that were read.
    fn spread(&self, image: usize, group: usize, places: &[Place<T>], columns: &[T], x: &mut [T]) {
        let (taps, area, channels) = (self.conv.taps(), self.geometry.input_area(), self.group_channels());
        let first = group * channels;
        let start = (image * self.geometry.channels + first) * area;
        let planes = &mut x[start..start + channels * area];
        let unfolded = columns.par_chunks((columns.len() / channels.max(1)).max(1));
        planes.par_chunks_mut(area).zip(unfolded).enumerate().for_each(|(index, (plane, rows))| {
            for (tap, row) in rows.chunks((rows.len() / taps).max(1)).enumerate() {
                for (gradient, place) in row.iter().zip(self.row(places, first + index, tap)) {
                    for (corner, weight) in place.corners.into_iter().zip(place.weights()) {
                        if let Some(slot) = plane.get_mut(corner) {
                            *slot += *gradient * place.mask * weight;
                        }
                    }
                }
            }
        });
    }

    /// Adds what the channels of a group say about offsets and factors.
    fn move_maps(
        &self,
        image: usize,
        group: usize,
        places: &[Place<T>],
        columns: &[T],
        block: &Range<usize>,
        maps: &mut [T],
    ) {
        let positions = self.positions();
        let maps = &mut maps[image * self.map_count * positions..];
        let rows = (0..self.conv.masks()).into_par_iter();
        let slopes: Vec<Vec<[T; 3]>> =
            rows.map(|row| self.slopes(image, group, row, places, columns)).collect();
        for (row, slopes) in slopes.into_iter().enumerate() {
            let targets = [2 * row, 2 * row + 1, self.conv.offsets() + row];
            for (part, map) in targets.into_iter().enumerate().filter(|(_, map)| *map < self.map_count) {
                let start = map * positions + block.start;
                let target = &mut maps[start..start + block.len()];
                for (target, slope) in target.iter_mut().zip(&slopes) {
                    *target += slope[part];
                }
            }
        }
    }

    /// Gradients of (down, right, factor) of one offset group and tap at every position of a block, summed over the
    /// channels that the group of the convolution and the offset group share.
    fn slopes(
        &self,
        image: usize,
        group: usize,
        row: usize,
        places: &[Place<T>],
        columns: &[T],
    ) -> Vec<[T; 3]> {
        let (taps, length) = (self.conv.taps(), places.len() / self.conv.masks().max(1));
        let sharing = self.geometry.channels / self.conv.offset_groups;
        let (first, offset_group) = (group * self.group_channels(), row / taps);
        let channels = (offset_group * sharing).max(first)
            ..((offset_group + 1) * sharing).min(first + self.group_channels());
        let mut sums = vec![[T::zero(); 3]; length];
        for channel in channels {
            let plane = self.plane(image, channel);
            let start = ((channel - first) * taps + row % taps) * length;
            let gradients = &columns[start..start + length];
            let places = self.row(places, channel, row % taps);
            for (sum, (gradient, place)) in sums.iter_mut().zip(gradients.iter().zip(places)) {
                let [down, right] = place.slopes(plane).map(|slope| slope * place.mask * *gradient);
                let [a, b, c] = *sum;
                *sum = [a + down, b + right, c + place.read(plane) * *gradient];
            }
        }
        sums
    }
}

impl Kernel<3> for DeformConv {
    const NAME: &'static str = "deformable convolution";

    fn forward<T: Element>(&self, inputs: [View<'_, T>; 3]) -> (Vec<T>, Vec<usize>) {
        let deformation = Deformation::new(*self, inputs);
        let Geometry { images, output: [height, width], .. } = deformation.geometry;
        (deformation.forward(), vec![images, self.conv.out, height, width])
    }

    fn backward<T: Element>(
        &self,
        inputs: [View<'_, T>; 3],
        _: View<'_, T>,
        gradient: View<'_, T>,
        wanted: [bool; 3],
    ) -> Gradients<T, 3> {
        Deformation::new(*self, inputs).backward(gradient.data, wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::graph::Conv;

    fn ramp(count: usize, period: usize) -> Vec<f64> {
        (0..count).map(|i| (i * i % period) as f64 / period as f64 - 0.5).collect()
    }

    const CONV: Conv = Conv { groups: 2, ..Conv::same(6, 3).stride(2) };
    const DEFORM: DeformConv = DeformConv { conv: CONV, offset_groups: 2 };
    const X: [usize; 4] = [2, 4, 9, 7];
    const KERNEL: [usize; 4] = [6, 2, 3, 3];

    #[test]
    fn without_offsets_it_is_a_convolution() {
        let (x, kernel) = (ramp(2 * 4 * 63, 101), ramp(6 * 18, 37));
        let views = [View { data: &x, shape: &X }, View { data: &kernel, shape: &KERNEL }];
        let (expected, shape) = Kernel::<2>::forward(&CONV, views);
        let maps = [vec![0.0; 36 * 20], vec![1.0; 18 * 20]].concat().repeat(2);
        let maps = View { data: &maps, shape: &[2, 54, 5, 4] };
        let (result, deformed) = DEFORM.forward([views[0], maps, views[1]]);
        assert_eq!(deformed, shape);
        let largest = result.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(largest < 1e-14, "{largest}");
    }

    /// One row 1, 2, 4 read by a 1x1 kernel that is moved; PyTorch's rules at the border.
    #[test]
    fn outside_is_zero_and_fades_in() {
        let conv = DeformConv { conv: Conv::pointwise(1), offset_groups: 1 };
        let read = |down: f64, right: f64| {
            let maps = [[down; 3], [right; 3]].concat();
            let x = View { data: &[1.0, 2.0, 4.0], shape: &[1, 1, 1, 3] };
            let maps = View { data: &maps, shape: &[1, 2, 1, 3] };
            conv.forward([x, maps, View { data: &[1.0], shape: &[1; 4] }]).0
        };
        assert_eq!(read(0.0, 0.5), [1.5, 3.0, 2.0]);
        assert_eq!(read(0.25, -1.5), [0.0, 0.375, 1.125]);
        assert_eq!(read(-1.0, 0.0), [0.0; 3]);
        assert_eq!(read(1e30, f64::INFINITY), [0.0; 3]);
        assert!(read(f64::NAN, 0.0).iter().all(|value| value.is_nan()));
    }

    #[test]
    fn blocks_change_nothing() {
        let (x, maps, kernel) = (ramp(2 * 4 * 63, 101), ramp(2 * 54 * 20, 89), ramp(6 * 18, 37));
        let views = [
            View { data: &x[..], shape: &X },
            View { data: &maps[..], shape: &[2, 54, 5, 4] },
            View { data: &kernel[..], shape: &KERNEL },
        ];
        let whole = Deformation::new(DEFORM, views);
        let blocks = Deformation { block: 3 * 18 * NUMBERS_OF_PLACE, ..Deformation::new(DEFORM, views) };
        assert_eq!((whole.blocks().count(), blocks.blocks().count()), (1, 7));
        assert_eq!(whole.forward(), blocks.forward());
        let gradient = ramp(2 * 6 * 20, 53);
        let [whole, blocks] = [whole, blocks].map(|run| run.backward(&gradient, [true; 3]));
        for (whole, blocks) in whole.into_iter().flatten().zip(blocks.into_iter().flatten()) {
            let largest = whole.iter().zip(&blocks).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(largest < 1e-13, "{largest}");
        }
    }
}
