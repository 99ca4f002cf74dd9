//! Normalisation with statistics of the batch or of groups of channels of each image, with a function after it, and
//! its gradients.
//!
//! Both directions take two passes. The first sums up chunks of pixels, whose size depends on the shape only, so that
//! no sum depends on the number of threads; the chunks are put together in f64. The second applies factors that are
//! the same for a channel of the batch, or of an image.

mod gradients;
mod passes;
mod sums;

use self::passes::{Apply, Rows};
use self::sums::{Chunks, Moments, image, joined};
use super::Grid;
use super::instructions::Instructions;
use super::products::Source;
use super::team::{Parts, Team};
use network::graph::Activation;

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

#[inline(always)]
fn part(values: &[f32], start: usize, length: usize) -> &[f32] {
    values.get(start..start + length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::channels_last::value::{Value, assert_near, random, wide};
    use crate::reference::kernel::{Kernel, View};
    use crate::reference::operators::norm::{self, BatchNorm, ChannelAffine, GroupNorm, batch_moments};

    const EPSILON: f64 = 1e-3;

    /// A normalisation with its operands.
    struct Case {
        together: Together,
        activation: Option<Activation>,
        x: Value,
        /// Of the result.
        gradient: Value,
        weight: Vec<f32>,
        bias: Vec<f32>,
        /// Mean and variance where they are given.
        given: [Vec<f32>; 2],
    }

    impl Case {
        fn new(together: Together, activation: Option<Activation>, shape: [usize; 4]) -> Case {
            let [_, channels, _, _] = shape;
            // Far from zero, where a variance is easily lost.
            let x = Value::among_others(shape, 1).map(|number| number * 3.0 + 5.0);
            let given = [random(channels, 5), random(channels, 6).into_iter().map(|v| v + 1.5).collect()];
            let (weight, bias) = (random(channels, 3), random(channels, 4));
            Case { together, activation, x, gradient: Value::among_others(shape, 2), weight, bias, given }
        }

        fn moments(&self) -> Vec<norm::Moments> {
            let [mean, variance] = [&self.given[0], &self.given[1]].map(|own| wide(own));
            let pairs = mean.into_iter().zip(variance);
            match self.together {
                Together::Given => pairs.map(|(mean, variance)| norm::Moments { mean, variance }).collect(),
                _ => batch_moments(self.x.view()),
            }
        }

        /// Of the reference, without the function.
        fn result(&self) -> Vec<f64> {
            let (weight, bias) = (wide(&self.weight), wide(&self.bias));
            let shape = [weight.len()];
            let views =
                [self.x.view(), View { data: &weight, shape: &shape }, View { data: &bias, shape: &shape }];
            match self.together {
                Together::Groups(groups) => GroupNorm { groups, epsilon: EPSILON }.forward(views).0,
                _ => BatchNorm { moments: self.moments(), epsilon: EPSILON }.forward(views).0,
            }
        }

        fn activated(&self) -> Vec<f64> {
            let (data, shape) = (self.result(), &self.x.shape[..]);
            match self.activation {
                Some(activation) => activation.forward([View { data: &data, shape }]).0,
                None => data,
            }
        }

        /// Gradients of input, weight and bias.
        fn gradients(&self) -> [Vec<f64>; 3] {
            let (result, shape) = (self.result(), &self.x.shape[..]);
            let result = View { data: &result[..], shape };
            let descended =
                self.activation.map(|own| own.backward([result], result, self.gradient.view(), [true]));
            let descended = match descended {
                Some([gradient]) => gradient.unwrap(),
                None => self.gradient.planes.clone(),
            };
            let gradient = View { data: &descended[..], shape };
            let (weight, bias) = (wide(&self.weight), wide(&self.bias));
            let of = [weight.len()];
            let views =
                |weight| [self.x.view(), View { data: weight, shape: &of }, View { data: &bias, shape: &of }];
            let gradients = match self.together {
                Together::Groups(groups) => GroupNorm { groups, epsilon: EPSILON }.backward(
                    views(&weight),
                    result,
                    gradient,
                    [true; 3],
                ),
                Together::Batch => BatchNorm { moments: self.moments(), epsilon: EPSILON }.backward(
                    views(&weight),
                    result,
                    gradient,
                    [true; 3],
                ),
                Together::Given => {
                    let scales: Vec<f64> =
                        self.moments().iter().map(|own| 1.0 / (own.variance + EPSILON).sqrt()).collect();
                    let factors: Vec<f64> = weight.iter().zip(&scales).map(|(a, b)| a * b).collect();
                    let [x, factor, shift] = ChannelAffine
                        .backward(views(&factors), result, gradient, [true; 3])
                        .map(Option::unwrap);
                    let both = self.moments().into_iter().zip(&scales).zip(factor.iter().zip(&shift));
                    let weight =
                        both.map(|((own, scale), (factor, shift))| scale * (factor - own.mean * shift));
                    [Some(x), Some(weight.collect()), Some(shift)]
                }
            };
            gradients.map(Option::unwrap)
        }

        /// After the way forward, which is compared.
        fn forward(&self, team: &Team) -> Normalisation {
            let mut own = Normalisation::new(self.together, EPSILON, self.activation, self.x.shape);
            let mut result = Value::among_others(self.x.shape, 7);
            let given = [&self.given[0][..], &self.given[1]];
            let given = (self.together == Together::Given).then_some(given);
            own.forward(team, self.x.source(), [&self.weight, &self.bias], given, result.target());
            result.assert_holds(&self.activated());
            own
        }
    }

    /// One chunk and several, channels that fill no register, groups that end within one.
    fn cases() -> Vec<Case> {
        let shapes: &[([usize; 4], usize)] = match cfg!(miri) {
            true => &[([2, 6, 3, 2], 3)],
            false => &[([2, 20, 21, 23], 4), ([3, 6, 5, 7], 3), ([1, 70, 4, 3], 7), ([2, 3, 1, 5], 1)],
        };
        let kinds = shapes.iter().flat_map(|(shape, groups)| {
            let all = [Together::Batch, Together::Given, Together::Groups(*groups)];
            all.map(|together| (together, *shape))
        });
        let activations = [None, Some(Activation::LeakyRelu(0.25)), Some(Activation::Silu)];
        kinds
            .flat_map(|(together, shape)| {
                activations.map(|activation| Case::new(together, activation, shape))
            })
            .collect()
    }

    #[test]
    fn normalisations_equal_the_references() {
        Team::gather(|team| {
            for case in cases() {
                let own = case.forward(team);
                if case.together == Together::Batch {
                    let (means, variances): (Vec<f64>, Vec<f64>) = own.moments().unzip();
                    let narrow = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<_>>();
                    let expected = case.moments();
                    assert_near(&narrow(means), &expected.iter().map(|own| own.mean).collect::<Vec<_>>());
                    let expected: Vec<f64> = expected.iter().map(|own| own.variance).collect();
                    assert_near(&narrow(variances), &expected);
                }
            }
        });
    }

    #[test]
    fn gradients_of_normalisations_equal_the_references() {
        Team::gather(|team| {
            for case in cases() {
                let mut own = case.forward(team);
                let [x, weight, bias] = case.gradients();
                let sources = [case.x.source(), case.gradient.source()];
                for (add, times) in [(false, 1.0), (true, 2.0)] {
                    let mut found = [weight.len(), bias.len()].map(|count| vec![f32::NAN; count]);
                    for add in [false, add] {
                        let [weights, biases] = &mut found;
                        let targets = [Some(&mut weights[..]), Some(&mut biases[..])];
                        own.sums(team, sources, &case.weight, targets, [add; 2]);
                    }
                    for (found, expected) in found.iter().zip([&weight, &bias]) {
                        assert_near(found, &expected.iter().map(|sum| times * sum).collect::<Vec<_>>());
                    }
                    let mut result = Value::among_others(case.x.shape, 8);
                    let before = result.clone();
                    own.input_gradient(team, sources, result.target(), add);
                    result.assert_holds(&if add { before.plus(&x) } else { x.clone() });
                }
            }
        });
    }
}
