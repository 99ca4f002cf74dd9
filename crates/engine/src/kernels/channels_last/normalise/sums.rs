//! Sums of chunks of pixels, and what they come to together.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{Normalisation, part};
use crate::kernels::channels_last::products::Source;
use crate::kernels::channels_last::registers::{load, store};
use crate::kernels::channels_last::slope::descend;

/// Floats of a chunk, about.
const CHUNK: usize = 8192;

/// Chunks of an image's pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    images: usize,
    pub(super) pixels: usize,
    in_chunk: usize,
}

impl Chunks {
    pub(super) fn new(images: usize, pixels: usize, channels: usize) -> Chunks {
        Chunks { images, pixels, in_chunk: (CHUNK / channels.max(1)).clamp(1, pixels.max(1)) }
    }

    pub(super) fn per_image(&self) -> usize {
        self.pixels.div_ceil(self.in_chunk)
    }

    pub(super) fn count(&self) -> usize {
        self.images * self.per_image()
    }

    pub(super) fn range(&self, chunk: usize) -> (usize, Range<usize>) {
        let start = chunk % self.per_image() * self.in_chunk;
        (chunk / self.per_image(), start..(start + self.in_chunk).min(self.pixels))
    }
}

/// Chunks of an image.
pub(super) fn image(chunks: Chunks, image: usize) -> Range<usize> {
    image * chunks.per_image()..(image + 1) * chunks.per_image()
}

/// Both sums of a channel over chunks.
pub(super) fn total(sums: &[f32], channels: usize, chunks: Range<usize>, channel: usize) -> [f64; 2] {
    let of = |at: usize| f64::from(sums.get(at).copied().unwrap_or_default());
    let pair = |chunk: usize| [of(2 * chunk * channels + channel), of((2 * chunk + 1) * channels + channel)];
    chunks.map(pair).fold([0.0; 2], |sums, pair| [sums[0] + pair[0], sums[1] + pair[1]])
}

/// Mean and variance of some channels over some chunks, from those of each.
pub(super) fn joined(
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

pub(super) struct GradientSums<'a, 'r> {
    pub(super) own: &'a Normalisation,
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
