//! Sums of chunks of pixels, and what they come to together.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::chunks::Chunks;
use super::normalisation::{Normalisation, part};
use crate::cpu::activation::activation_gradient;
use crate::cpu::grid::Source;
use crate::cpu::registers::{load, store};

/// Both sums of a channel over chunks.
pub(super) fn total(sums: &[f32], channels: usize, chunks: Range<usize>, channel: usize) -> [f64; 2] {
    let of = |at: usize| f64::from(sums[at]);
    let pair = |chunk: usize| [of(2 * chunk * channels + channel), of((2 * chunk + 1) * channels + channel)];
    chunks.map(pair).fold([0.0; 2], |sums, pair| [sums[0] + pair[0], sums[1] + pair[1]])
}

/// Mean and variance of some channels over some chunks, from those of each.
pub(super) fn joined(
    sums: &[f32],
    channels: usize,
    set: Range<usize>,
    group: Range<usize>,
    chunks: Chunks,
) -> (f64, f64) {
    let each = |set: Range<usize>| {
        let group = group.clone();
        set.flat_map(move |chunk| {
            let count = chunks.range(chunk).1.len() as f64;
            let of = |at: usize| f64::from(sums[at]);
            let start = 2 * chunk * channels;
            group.clone().map(move |channel| [count, of(start + channel), of(start + channels + channel)])
        })
    };
    let (count, sum) =
        each(set.clone()).fold((0.0, 0.0), |(n, sum), [count, mean, _]| (n + count, sum + count * mean));
    let mean = sum / count;
    let squares =
        each(set).fold(0.0, |sum, [count, chunk, squares]| sum + squares + count * (chunk - mean).powi(2));
    (mean, squares / count)
}

/// Registers of channels that are summed up at once: several, as an addition takes longer than the next needs to
/// start. A choice.
const REGISTERS: usize = 4;

pub(super) struct Moments<'a, 'r> {
    pub(super) source: Source<'a>,
    pub(super) chunk: (usize, Range<usize>),
    pub(super) channels: usize,
    pub(super) sums: &'r mut [f32],
}

impl WithSimd for Moments<'_, '_> {
    type Output = ();

    /// The mean of every channel, then sums of squared distances from it.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Moments { source: (x, from, first), chunk: (image, pixels), channels, sums } = self;
        let (means, squares) = sums.split_at_mut(channels);
        let count = simd.splat_f32s(1.0 / pixels.len().max(1) as f32);
        let width = REGISTERS * S::F32_LANES;
        for (block, (means, squares)) in means.chunks_mut(width).zip(squares.chunks_mut(width)).enumerate() {
            let channel = first + block * width;
            let mut sum = [simd.splat_f32s(0.0); REGISTERS];
            for pixel in pixels.clone() {
                let at = from.nth(image, pixel) + channel;
                let values = load::<S, REGISTERS>(simd, &x[at..at + means.len()]);
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
                let values = load::<S, REGISTERS>(simd, &x[at..at + means.len()]);
                for ((sum, value), mean) in sum.iter_mut().zip(values).zip(mean) {
                    let distance = simd.sub_f32s(value, mean);
                    *sum = simd.mul_add_e_f32s(distance, distance, *sum);
                }
            }
            store(simd, &sum, None, squares);
        }
    }
}

pub(super) struct GradientSums<'a, 'r> {
    pub(super) norm: &'a Normalisation,
    pub(super) source: Source<'a>,
    pub(super) gradient: Source<'a>,
    pub(super) chunk: (usize, Range<usize>),
    pub(super) sums: &'r mut [f32],
}

impl WithSimd for GradientSums<'_, '_> {
    type Output = ();

    /// The gradient of every channel before the function, then its products with the distance from the mean.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let GradientSums { norm, source: (x, from, first), gradient: (g, to, start), chunk, sums } = self;
        let (image, pixels) = chunk;
        let factors = norm.factors(image);
        let (plain, products) = sums.split_at_mut(norm.channels);
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
                for (at, (sum, product)) in sum.iter_mut().zip(&mut product).enumerate() {
                    let normal = simd.mul_add_e_f32s(values[at], factor[at], shift[at]);
                    let g = activation_gradient(simd, norm.activation, normal, gradients[at]);
                    *sum = simd.add_f32s(*sum, g);
                    *product = simd.mul_add_e_f32s(g, simd.sub_f32s(values[at], mean[at]), *product);
                }
            }
            store(simd, &sum, None, plain);
            store(simd, &product, None, products);
        }
    }
}
