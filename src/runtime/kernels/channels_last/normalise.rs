//! Normalisation with statistics of the batch or of groups of channels of each image, with a function after it, and
//! its gradients.
//!
//! Both directions take two passes. The first sums up chunks of pixels, whose size depends on the shape only, so that
//! no sum depends on the number of threads; the chunks are put together in f64. The second applies factors that are
//! the same for a channel of the batch, or of an image.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::Grid;
use super::instructions::Instructions;
use super::products::Source;
use super::registers::{load, store};
use super::slope::descend;
use super::team::{Parts, Team};
use crate::graph::Activation;

/// Floats of a chunk, about.
const CHUNK: usize = 8192;

/// What is normalised together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Together {
    /// A channel of all images.
    Batch,
    /// Nothing: mean and variance are given.
    Given,
    /// So many groups of channels of each image.
    Groups(usize),
}

/// A normalisation in progress: what the second pass and the gradient need.
#[derive(Debug)]
pub(crate) struct Normalisation {
    pub(crate) together: Together,
    pub(crate) epsilon: f64,
    pub(crate) activation: Option<Activation>,
    channels: usize,
    images: usize,
    /// For every set of channels (one, or one per image) mean, factor, shift and the two terms of the gradient.
    factors: Vec<Factors>,
    /// Sums of chunks: two for every channel.
    sums: Vec<f32>,
}

#[derive(Debug, Clone, Default)]
struct Factors {
    mean: Vec<f32>,
    /// 1 / sqrt(variance + epsilon).
    scale: Vec<f64>,
    variance: Vec<f64>,
    factor: Vec<f32>,
    shift: Vec<f32>,
    slope: Vec<f32>,
    offset: Vec<f32>,
}

impl Factors {
    fn new(channels: usize) -> Factors {
        let zeros = || vec![0.0; channels];
        let wide = || vec![0.0; channels];
        Factors {
            mean: zeros(),
            scale: wide(),
            variance: wide(),
            factor: zeros(),
            shift: zeros(),
            slope: zeros(),
            offset: zeros(),
        }
    }
}

/// Chunks of an image's pixels.
#[derive(Debug, Clone, Copy)]
struct Chunks {
    images: usize,
    pixels: usize,
    in_chunk: usize,
}

impl Chunks {
    fn new(images: usize, pixels: usize, channels: usize) -> Chunks {
        Chunks { images, pixels, in_chunk: (CHUNK / channels.max(1)).clamp(1, pixels.max(1)) }
    }

    fn per_image(&self) -> usize {
        self.pixels.div_ceil(self.in_chunk)
    }

    fn count(&self) -> usize {
        self.images * self.per_image()
    }

    fn range(&self, chunk: usize) -> (usize, Range<usize>) {
        let start = chunk % self.per_image() * self.in_chunk;
        (chunk / self.per_image(), start..(start + self.in_chunk).min(self.pixels))
    }
}

impl Normalisation {
    pub(crate) fn new(
        together: Together,
        epsilon: f64,
        activation: Option<Activation>,
        [images, channels, height, width]: [usize; 4],
    ) -> Normalisation {
        let sets = if matches!(together, Together::Groups(_)) { images } else { 1 };
        let chunks = Chunks::new(images, height * width, channels);
        let sums = vec![0.0; 2 * channels * chunks.count()];
        let factors = vec![Factors::new(channels); sets];
        Normalisation { together, epsilon, activation, channels, images, factors, sums }
    }

    /// Writes activation(normalised * weight + bias). Mean and variance are read where they are given.
    pub(crate) fn forward(
        &mut self,
        team: &Team,
        source: Source<'_>,
        [weight, bias]: [&[f32]; 2],
        given: Option<[&[f32]; 2]>,
        target: (&mut [f32], Grid, usize),
    ) {
        match given {
            Some([mean, variance]) => self.take(mean, variance),
            None => self.measure(team, source),
        }
        for factors in &mut self.factors {
            for (channel, (weight, bias)) in weight.iter().zip(bias).enumerate() {
                let of = |values: &[f64]| values.get(channel).copied().unwrap_or_default();
                let exact = f64::from(*weight) * of(&factors.scale);
                let mean = factors.mean.get(channel).copied().unwrap_or_default();
                put(&mut factors.factor, channel, exact);
                put(&mut factors.shift, channel, f64::from(*bias) - f64::from(mean) * exact);
            }
        }
        let (result, to, channel) = target;
        let own = &*self;
        to.split_rows(team, result, 8 * own.channels, |image, first_row, result| {
            let rows = Rows { own, source, to, channel, image, first_row };
            Instructions::get().run(Apply { rows, result });
        });
    }

    fn take(&mut self, mean: &[f32], variance: &[f32]) {
        let epsilon = self.epsilon;
        for factors in &mut self.factors {
            factors.mean.copy_from_slice(mean);
            let values = factors.variance.iter_mut().zip(&mut factors.scale).zip(variance);
            for ((slot, scale), variance) in values {
                *slot = f64::from(*variance);
                *scale = 1.0 / (*slot + epsilon).sqrt();
            }
        }
    }

    /// Mean and variance.
    fn measure(&mut self, team: &Team, source: Source<'_>) {
        let chunks = Chunks::new(self.images, source.1.pixels(), self.channels);
        let channels = self.channels;
        let parts = Parts::new(0, 1, [self.sums.len(); 2], 2 * channels);
        team.each_part(&mut self.sums, parts, |chunk, sums| {
            Instructions::get().run(Moments { source, chunk: chunks.range(chunk), channels, sums });
        });
        let sums = &self.sums;
        let (epsilon, together) = (self.epsilon, self.together);
        for (set, factors) in self.factors.iter_mut().enumerate() {
            let (own, each) = match together {
                Together::Groups(groups) => (image(chunks, set), channels / groups.max(1)),
                _ => (0..chunks.count(), 1),
            };
            for first in (0..channels).step_by(each.max(1)) {
                let (mean, variance) = joined(sums, channels, own.clone(), first..first + each, chunks);
                for channel in first..first + each {
                    put(&mut factors.mean, channel, mean);
                    put_wide(&mut factors.variance, channel, variance);
                    put_wide(&mut factors.scale, channel, 1.0 / (variance + epsilon).sqrt());
                }
            }
        }
    }

    /// Mean and variance of the batch for every channel.
    pub(crate) fn moments(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let batch = self.factors.iter().take(1);
        batch.flat_map(|f| f.mean.iter().map(|mean| f64::from(*mean)).zip(f.variance.iter().copied()))
    }

    /// First pass of the gradient: those of weight and bias, written or added to what is there, and the factors that
    /// [`Normalisation::input_gradient`] takes.
    pub(crate) fn sums(
        &mut self,
        team: &Team,
        [source, gradient]: [Source<'_>; 2],
        weight: &[f32],
        targets: [Option<&mut [f32]>; 2],
        adds: [bool; 2],
    ) {
        let chunks = Chunks::new(self.images, source.1.pixels(), self.channels);
        let channels = self.channels;
        let parts = Parts::new(0, 1, [self.sums.len(); 2], 2 * channels);
        let mut sums = std::mem::take(&mut self.sums);
        let own = &*self;
        team.each_part(&mut sums, parts, |chunk, sums| {
            let chunk = chunks.range(chunk);
            Instructions::get().run(GradientSums { own, source, gradient, chunk, sums });
        });
        self.sums = sums;
        self.parameter_gradients(chunks, targets, adds);
        self.terms(chunks, weight);
    }

    fn parameter_gradients(&self, chunks: Chunks, targets: [Option<&mut [f32]>; 2], adds: [bool; 2]) {
        let [mut weights, mut biases] = targets;
        for channel in 0..self.channels {
            let (mut product, mut sum) = (0.0, 0.0);
            for index in 0..self.images {
                let [of_image, with_x] = total(&self.sums, self.channels, image(chunks, index), channel);
                let scale = self.factors(index).and_then(|set| set.scale.get(channel)).copied();
                sum += of_image;
                product += with_x * scale.unwrap_or_default();
            }
            let both = [(&mut weights, product, adds[0]), (&mut biases, sum, adds[1])];
            for (target, value, add) in both {
                if let Some(slot) = target.as_mut().and_then(|target| target.get_mut(channel)) {
                    *slot = value as f32 + if add { *slot } else { 0.0 };
                }
            }
        }
    }

    /// The terms of the input's gradient, factor * g + slope * (x - mean) + offset.
    fn terms(&mut self, chunks: Chunks, weight: &[f32]) {
        let (channels, together, sums) = (self.channels, self.together, &self.sums);
        if together == Together::Given {
            return;
        }
        for (set, factors) in self.factors.iter_mut().enumerate() {
            let (own, each) = match together {
                Together::Groups(groups) => (image(chunks, set), channels / groups.max(1)),
                _ => (0..chunks.count(), 1),
            };
            let count = (own.len() / chunks.per_image().max(1) * chunks.pixels * each).max(1) as f64;
            for first in (0..channels).step_by(each.max(1)) {
                let mut means = [0.0; 2];
                for channel in first..first + each {
                    let weight = f64::from(weight.get(channel).copied().unwrap_or_default());
                    let [sum, with_x] = total(sums, channels, own.clone(), channel);
                    means = [means[0] + sum * weight / count, means[1] + with_x * weight / count];
                }
                for channel in first..first + each {
                    let scale = factors.scale.get(channel).copied().unwrap_or_default();
                    put(&mut factors.slope, channel, -means[1] * scale.powi(3));
                    put(&mut factors.offset, channel, -means[0] * scale);
                }
            }
        }
    }

    /// Second pass of the gradient: that of the input, written or added to what is there.
    pub(crate) fn input_gradient(
        &self,
        team: &Team,
        [source, gradient]: [Source<'_>; 2],
        (result, to, channel): (&mut [f32], Grid, usize),
        add: bool,
    ) {
        to.split_rows(team, result, 12 * self.channels, |image, first_row, result| {
            let rows = Rows { own: self, source, to, channel, image, first_row };
            Instructions::get().run(Descend { rows, gradient, add, result });
        });
    }

    fn factors(&self, image: usize) -> Option<&Factors> {
        self.factors.get(image).or_else(|| self.factors.first())
    }
}

fn put(values: &mut [f32], at: usize, value: f64) {
    if let Some(slot) = values.get_mut(at) {
        *slot = value as f32;
    }
}

fn put_wide(values: &mut [f64], at: usize, value: f64) {
    if let Some(slot) = values.get_mut(at) {
        *slot = value;
    }
}

/// Chunks of an image.
fn image(chunks: Chunks, image: usize) -> Range<usize> {
    image * chunks.per_image()..(image + 1) * chunks.per_image()
}

/// Both sums of a channel over chunks.
fn total(sums: &[f32], channels: usize, chunks: Range<usize>, channel: usize) -> [f64; 2] {
    let of = |at: usize| f64::from(sums.get(at).copied().unwrap_or_default());
    let pair = |chunk: usize| [of(2 * chunk * channels + channel), of((2 * chunk + 1) * channels + channel)];
    chunks.map(pair).fold([0.0; 2], |sums, pair| [sums[0] + pair[0], sums[1] + pair[1]])
}

/// Mean and variance of some channels over some chunks, from those of each.
fn joined(
    sums: &[f32],
    channels: usize,
    own: Range<usize>,
    group: Range<usize>,
    chunks: Chunks,
) -> (f64, f64) {
    let each = |own: Range<usize>| {
        let group = group.clone();
        own.flat_map(move |chunk| {
            let count = chunks.range(chunk).1.len() as f64;
            let of = |at: usize| f64::from(sums.get(at).copied().unwrap_or_default());
            let start = 2 * chunk * channels;
            group.clone().map(move |channel| [count, of(start + channel), of(start + channels + channel)])
        })
    };
    let (count, sum) =
        each(own.clone()).fold((0.0, 0.0), |(n, sum), [count, mean, _]| (n + count, sum + count * mean));
    let mean = sum / count;
    let squares =
        each(own).fold(0.0, |sum, [count, own, squares]| sum + squares + count * (own - mean).powi(2));
    (mean, squares / count)
}

/// Registers of channels that are summed up at once.
const REGISTERS: usize = 4;

struct Moments<'a, 'r> {
    source: Source<'a>,
    chunk: (usize, Range<usize>),
    channels: usize,
    sums: &'r mut [f32],
}

impl WithSimd for Moments<'_, '_> {
    type Output = ();

    /// The mean of every channel, then sums of squared distances from it.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Moments { source: (x, from, first), chunk: (image, pixels), channels, sums } = self;
        let (means, squares) = sums.split_at_mut(channels.min(sums.len()));
        let count = simd.splat_f32s(1.0 / pixels.len().max(1) as f32);
        let width = REGISTERS * S::F32_LANES;
        for (block, (means, squares)) in means.chunks_mut(width).zip(squares.chunks_mut(width)).enumerate() {
            let channel = first + block * width;
            let mut sum = [simd.splat_f32s(0.0); REGISTERS];
            for pixel in pixels.clone() {
                let at = from.nth(image, pixel) + channel;
                let values = load::<S, REGISTERS>(simd, x.get(at..at + means.len()).unwrap_or_default());
                for (sum, value) in sum.iter_mut().zip(values) {
                    *sum = simd.add_f32s(*sum, value);
                }
            }
            let mut mean = sum;
            for mean in &mut mean {
                *mean = simd.mul_f32s(*mean, count);
            }
            store(simd, &mean, None, means);
            let mut sum = [simd.splat_f32s(0.0); REGISTERS];
            for pixel in pixels.clone() {
                let at = from.nth(image, pixel) + channel;
                let values = load::<S, REGISTERS>(simd, x.get(at..at + means.len()).unwrap_or_default());
                for ((sum, value), mean) in sum.iter_mut().zip(values).zip(mean) {
                    let distance = simd.sub_f32s(value, mean);
                    *sum = simd.mul_add_e_f32s(distance, distance, *sum);
                }
            }
            store(simd, &sum, None, squares);
        }
    }
}

struct GradientSums<'a, 'r> {
    own: &'a Normalisation,
    source: Source<'a>,
    gradient: Source<'a>,
    chunk: (usize, Range<usize>),
    sums: &'r mut [f32],
}

impl WithSimd for GradientSums<'_, '_> {
    type Output = ();

    /// The gradient of every channel before the function, then its products with the distance from the mean.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let GradientSums { own, source: (x, from, first), gradient: (g, to, start), chunk, sums } = self;
        let (image, pixels) = chunk;
        let Some(factors) = own.factors(image) else { return };
        let (plain, products) = sums.split_at_mut(own.channels.min(sums.len()));
        let width = REGISTERS * S::F32_LANES;
        for (block, (plain, products)) in plain.chunks_mut(width).zip(products.chunks_mut(width)).enumerate()
        {
            let (channel, length) = (block * width, plain.len());
            let of = |values: &[f32]| load::<S, REGISTERS>(simd, part(values, channel, length));
            let (mean, factor, shift) = (of(&factors.mean), of(&factors.factor), of(&factors.shift));
            let mut sum = [simd.splat_f32s(0.0); REGISTERS];
            let mut product = sum;
            for pixel in pixels.clone() {
                let values =
                    load::<S, REGISTERS>(simd, part(x, from.nth(image, pixel) + first + channel, length));
                let gradients =
                    load::<S, REGISTERS>(simd, part(g, to.nth(image, pixel) + start + channel, length));
                for at in 0..REGISTERS {
                    let [Some(x), Some(g), Some(mean)] = [values.get(at), gradients.get(at), mean.get(at)]
                    else {
                        continue;
                    };
                    let (Some(factor), Some(shift)) = (factor.get(at), shift.get(at)) else { continue };
                    let (Some(sum), Some(product)) = (sum.get_mut(at), product.get_mut(at)) else { continue };
                    let g = descend(simd, own.activation, simd.mul_add_e_f32s(*x, *factor, *shift), *g);
                    *sum = simd.add_f32s(*sum, g);
                    *product = simd.mul_add_e_f32s(g, simd.sub_f32s(*x, *mean), *product);
                }
            }
            store(simd, &sum, None, plain);
            store(simd, &product, None, products);
        }
    }
}

#[inline(always)]
fn part(values: &[f32], start: usize, length: usize) -> &[f32] {
    values.get(start..start + length).unwrap_or_default()
}

/// Some rows of a result.
#[derive(Clone, Copy)]
struct Rows<'a> {
    own: &'a Normalisation,
    source: Source<'a>,
    to: Grid,
    channel: usize,
    image: usize,
    first_row: usize,
}

struct Apply<'a, 'r> {
    rows: Rows<'a>,
    result: &'r mut [f32],
}

impl WithSimd for Apply<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Apply { rows: Rows { own, source: (x, from, first), to, channel, image, first_row }, result } =
            self;
        let Some(factors) = own.factors(image) else { return };
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let target = record.get_mut(channel..channel + own.channels).unwrap_or_default();
                let pixel = part(x, from.at(image, first_row + row, column) + first, own.channels);
                for (block, target) in target.chunks_mut(S::F32_LANES).enumerate() {
                    let (at, length) = (block * S::F32_LANES, target.len());
                    let of = |values: &[f32]| load::<S, 1>(simd, part(values, at, length));
                    let ([x], [factor], [shift]) = (of(pixel), of(&factors.factor), of(&factors.shift));
                    store(simd, &[simd.mul_add_e_f32s(x, factor, shift)], own.activation, target);
                }
            }
        }
    }
}

struct Descend<'a, 'r> {
    rows: Rows<'a>,
    gradient: Source<'a>,
    add: bool,
    result: &'r mut [f32],
}

impl WithSimd for Descend<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Descend { rows, gradient: (g, grid, start), add, result } = self;
        let Rows { own, source: (x, from, first), to, channel, image, first_row } = rows;
        let Some(factors) = own.factors(image) else { return };
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let target = record.get_mut(channel..channel + own.channels).unwrap_or_default();
                let pixel = part(x, from.at(image, first_row + row, column) + first, own.channels);
                let gradient = part(g, grid.at(image, first_row + row, column) + start, own.channels);
                for (block, target) in target.chunks_mut(S::F32_LANES).enumerate() {
                    let (at, length) = (block * S::F32_LANES, target.len());
                    let of = |values: &[f32]| load::<S, 1>(simd, part(values, at, length));
                    let ([x], [g], [mean]) = (of(pixel), of(gradient), of(&factors.mean));
                    let ([factor], [shift]) = (of(&factors.factor), of(&factors.shift));
                    let ([slope], [offset]) = (of(&factors.slope), of(&factors.offset));
                    let g = descend(simd, own.activation, simd.mul_add_e_f32s(x, factor, shift), g);
                    let sum = simd.mul_add_e_f32s(slope, simd.sub_f32s(x, mean), offset);
                    let mut sum = simd.mul_add_e_f32s(factor, g, sum);
                    if add {
                        let [there] = load::<S, 1>(simd, target);
                        sum = simd.add_f32s(sum, there);
                    }
                    store(simd, &[sum], None, target);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_pixel_once() {
        let chunks = Chunks::new(2, 100, 1000);
        let all: Vec<(usize, usize)> = (0..chunks.count())
            .flat_map(|chunk| {
                let (image, pixels) = chunks.range(chunk);
                pixels.map(move |pixel| (image, pixel))
            })
            .collect();
        assert_eq!(all, (0..200).map(|at| (at / 100, at % 100)).collect::<Vec<_>>());
    }
}
