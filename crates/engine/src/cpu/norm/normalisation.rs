//! The data of a normalisation in progress.

use super::chunks::Chunks;
use network::graph::Activation;

/// What has one mean and one variance.
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
    pub(super) channels: usize,
    pub(super) images: usize,
    /// For every set of channels (one, or one per image) mean, factor, shift and the two terms of the gradient.
    pub(super) factors: Vec<Factors>,
    /// Sums of chunks: two for every channel.
    pub(super) sums: Vec<f32>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Factors {
    pub(super) mean: Vec<f32>,
    /// 1 / sqrt(variance + epsilon).
    pub(super) scale: Vec<f64>,
    pub(super) variance: Vec<f64>,
    pub(super) factor: Vec<f32>,
    pub(super) shift: Vec<f32>,
    pub(super) slope: Vec<f32>,
    pub(super) offset: Vec<f32>,
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

    /// Mean and variance of the batch for every channel.
    pub(crate) fn moments(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let batch = self.factors.iter().take(1);
        batch.flat_map(|f| f.mean.iter().map(|mean| f64::from(*mean)).zip(f.variance.iter().copied()))
    }

    /// Those of an image, or of the batch.
    pub(super) fn factors(&self, image: usize) -> &Factors {
        &self.factors[image.min(self.factors.len() - 1)]
    }
}

#[inline(always)]
pub(super) fn part(values: &[f32], start: usize, length: usize) -> &[f32] {
    &values[start..start + length]
}
