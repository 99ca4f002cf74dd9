//! Forward.

use super::chunks::{Chunks, image};
use super::normalisation::{Normalisation, Together};
use super::passes::{Apply, Rows};
use super::sums::{Moments, joined};
use crate::cpu::grid::{Grid, Source};
use crate::cpu::instructions::Instructions;
use crate::cpu::team::{Parts, Team};

impl Normalisation {
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
                let exact = f64::from(*weight) * factors.scale[channel];
                let mean = factors.mean[channel];
                factors.factor[channel] = exact as f32;
                factors.shift[channel] = (f64::from(*bias) - f64::from(mean) * exact) as f32;
            }
        }
        let (result, to, channel) = target;
        let norm = &*self;
        to.split_rows(team, result, 8 * norm.channels, |image, first_row, result| {
            let rows = Rows { norm, source, to, channel, image, first_row };
            Instructions::get().run(Apply { rows, result });
        });
    }

    /// Takes mean and variance as they are given.
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

    /// Takes mean and variance from the input.
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
            let (set_chunks, each) = match together {
                Together::Groups(groups) => (image(chunks, set), channels / groups.max(1)),
                _ => (0..chunks.count(), 1),
            };
            for first in (0..channels).step_by(each.max(1)) {
                let (mean, variance) =
                    joined(sums, channels, set_chunks.clone(), first..first + each, chunks);
                for channel in first..first + each {
                    factors.mean[channel] = mean as f32;
                    factors.variance[channel] = variance;
                    factors.scale[channel] = 1.0 / (variance + epsilon).sqrt();
                }
            }
        }
    }
}
