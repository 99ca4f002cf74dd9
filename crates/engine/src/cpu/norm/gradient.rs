//! The way back.

use super::chunks::{Chunks, image};
use super::normalisation::{Normalisation, Together};
use super::passes::{ApplyGradient, Rows};
use super::sums::{GradientSums, total};
use crate::cpu::grid::{Grid, Source};
use crate::cpu::instructions::Instructions;
use crate::cpu::team::{Parts, Team};

impl Normalisation {
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
        let norm = &*self;
        team.each_part(&mut sums, parts, |chunk, sums| {
            let chunk = chunks.range(chunk);
            Instructions::get().run(GradientSums { norm, source, gradient, chunk, sums });
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
                sum += of_image;
                product += with_x * self.factors(index).scale[channel];
            }
            let both = [(&mut weights, product, adds[0]), (&mut biases, sum, adds[1])];
            for (target, value, add) in both {
                if let Some(target) = target {
                    let slot = &mut target[channel];
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
            let (set_chunks, each) = match together {
                Together::Groups(groups) => (image(chunks, set), channels / groups.max(1)),
                _ => (0..chunks.count(), 1),
            };
            let count = (set_chunks.len() / chunks.per_image().max(1) * chunks.pixels * each).max(1) as f64;
            for first in (0..channels).step_by(each.max(1)) {
                let mut means = [0.0; 2];
                for channel in first..first + each {
                    let weight = f64::from(weight[channel]);
                    let [sum, with_x] = total(sums, channels, set_chunks.clone(), channel);
                    means = [means[0] + sum * weight / count, means[1] + with_x * weight / count];
                }
                for channel in first..first + each {
                    let scale = factors.scale[channel];
                    factors.slope[channel] = (-means[1] * scale.powi(3)) as f32;
                    factors.offset[channel] = (-means[0] * scale) as f32;
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
            let rows = Rows { norm: self, source, to, channel, image, first_row };
            Instructions::get().run(ApplyGradient { rows, gradient, add, result });
        });
    }
}
