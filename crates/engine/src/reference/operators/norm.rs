//! Normalisation: by given factors, over a batch, over groups of channels.

use rayon::prelude::*;

use crate::reference::kernel::{Gradients, Kernel, View};
use network::element::Element;

/// y = x * factor + shift, a factor and a shift per channel: a batch norm with running statistics.
pub(crate) struct ChannelAffine;

impl Kernel<3> for ChannelAffine {
    const NAME: &'static str = "channel affine";

    fn forward<T: Element>(&self, [x, factor, shift]: [View<'_, T>; 3]) -> (Vec<T>, Vec<usize>) {
        let mut result = x.data.to_vec();
        each_plane(x, &mut result, |c, values| {
            let (factor, shift) = (factor.data[c], shift.data[c]);
            values.iter_mut().for_each(|value| *value = *value * factor + shift);
        });
        (result, x.shape.to_vec())
    }

    fn backward<T: Element>(
        &self,
        [x, factor, _]: [View<'_, T>; 3],
        _: View<'_, T>,
        gradient: View<'_, T>,
        _: [bool; 3],
    ) -> Gradients<T, 3> {
        let mut input = gradient.data.to_vec();
        each_plane(x, &mut input, |c, values| {
            let factor = factor.data[c];
            values.iter_mut().for_each(|value| *value *= factor);
        });
        let sums = per_channel(x, |c| {
            let both = channel(x, c).zip(channel(gradient, c));
            both.fold([0.0; 2], |[product, sum], (x, g)| {
                [product + dot(x, g), sum + g.iter().map(|g| g.wide()).sum::<f64>()]
            })
        });
        let column = |of: fn(&[f64; 2]) -> f64| sums.iter().map(|sums| T::of(of(sums))).collect();
        [Some(input), Some(column(|[product, _]| *product)), Some(column(|[_, sum]| *sum))]
    }
}

/// Mean and variance of values that are normalised together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moments {
    pub(crate) mean: f64,
    /// Mean squared distance from the mean.
    pub(crate) variance: f64,
}

impl Moments {
    fn of<'a, T: Element>(chunks: impl Iterator<Item = &'a [T]> + Clone) -> Moments {
        let count = chunks.clone().map(<[T]>::len).sum::<usize>().max(1) as f64;
        let sum = |of: &dyn Fn(f64) -> f64| {
            chunks.clone().flatten().map(|value| of(value.wide())).sum::<f64>() / count
        };
        let mean = sum(&|value| value);
        Moments { mean, variance: sum(&|value| (value - mean) * (value - mean)) }
    }

    /// (x - mean) / sqrt(variance + epsilon)
    fn normal(&self, value: f64, epsilon: f64) -> f64 {
        (value - self.mean) / (self.variance + epsilon).sqrt()
    }
}

/// Mean and variance of each channel over a batch.
pub(crate) fn batch_moments<T: Element>(x: View<'_, T>) -> Vec<Moments> {
    per_channel(x, |c| Moments::of(channel(x, c)))
}

/// A batch norm with the statistics of the batch itself, through which gradients flow.
pub(crate) struct BatchNorm {
    pub(crate) moments: Vec<Moments>,
    pub(crate) epsilon: f64,
}

impl Kernel<3> for BatchNorm {
    const NAME: &'static str = "batch norm";

    fn forward<T: Element>(&self, [x, weight, bias]: [View<'_, T>; 3]) -> (Vec<T>, Vec<usize>) {
        let mut result = x.data.to_vec();
        each_plane(x, &mut result, |c, values| {
            normalise(values, &self.moments[c], self.epsilon, weight.data[c], bias.data[c]);
        });
        (result, x.shape.to_vec())
    }

    fn backward<T: Element>(
        &self,
        [x, weight, _]: [View<'_, T>; 3],
        _: View<'_, T>,
        gradient: View<'_, T>,
        _: [bool; 3],
    ) -> Gradients<T, 3> {
        let [n, channels, height, width] = x.planes();
        let count = (n * height * width) as f64;
        let moment = |c: usize| self.moments[c];
        // Sum of the gradient, and of gradient times normalised value.
        let sums = per_channel(x, |c| {
            let both = channel(x, c).zip(channel(gradient, c));
            both.fold([0.0; 2], |sums, (x, g)| add(sums, gradient_sums(x, g, &moment(c), self.epsilon)))
        });
        let mut input = gradient.data.to_vec();
        let planes = input.par_chunks_mut(height * width).zip(x.data.par_chunks(height * width));
        planes.enumerate().for_each(|(plane, (values, x))| {
            let c = plane % channels;
            let means = sums[c].map(|sum| sum / count);
            let factor = weight.data[c].wide() / (moment(c).variance + self.epsilon).sqrt();
            for (g, x) in values.iter_mut().zip(x) {
                let normal = moment(c).normal(x.wide(), self.epsilon);
                *g = T::of((g.wide() - means[0] - normal * means[1]) * factor);
            }
        });
        let weight = sums.iter().map(|[_, product]| T::of(*product)).collect();
        let bias = sums.iter().map(|[sum, _]| T::of(*sum)).collect();
        [Some(input), Some(weight), Some(bias)]
    }
}

/// Normalisation of each image over groups of channels.
pub(crate) struct GroupNorm {
    pub(crate) groups: usize,
    pub(crate) epsilon: f64,
}

impl Kernel<3> for GroupNorm {
    const NAME: &'static str = "group norm";

    fn forward<T: Element>(&self, [x, weight, bias]: [View<'_, T>; 3]) -> (Vec<T>, Vec<usize>) {
        let [_, channels, height, width] = x.planes();
        let (area, in_group) = (height * width, channels / self.groups);
        let mut result = x.data.to_vec();
        result.par_chunks_mut(in_group * area).enumerate().for_each(|(group, values)| {
            let moments = Moments::of(std::iter::once(&*values));
            for (index, plane) in values.chunks_mut(area).enumerate() {
                let c = group % self.groups * in_group + index;
                normalise(plane, &moments, self.epsilon, weight.data[c], bias.data[c]);
            }
        });
        (result, x.shape.to_vec())
    }

    fn backward<T: Element>(
        &self,
        [x, weight, _]: [View<'_, T>; 3],
        _: View<'_, T>,
        gradient: View<'_, T>,
        _: [bool; 3],
    ) -> Gradients<T, 3> {
        let [n, channels, height, width] = x.planes();
        let (area, in_group) = (height * width, channels / self.groups);
        let mut input = gradient.data.to_vec();
        // For every image and channel the sums that the parameters' gradients are made of.
        let mut sums = vec![[0.0; 2]; n * channels];
        let groups = input.par_chunks_mut(in_group * area).zip(x.data.par_chunks(in_group * area));
        groups.zip(sums.par_chunks_mut(in_group)).enumerate().for_each(|(group, ((values, x), sums))| {
            let first = group % self.groups * in_group;
            let weights = &weight.data[first..first + in_group];
            group_gradient(values, x, weights, sums, self.epsilon);
        });
        let total = |c: usize| (0..n).map(|i| sums[i * channels + c]).fold([0.0; 2], add);
        let weight = (0..channels).map(|c| T::of(total(c)[1])).collect();
        let bias = (0..channels).map(|c| T::of(total(c)[0])).collect();
        [Some(input), Some(weight), Some(bias)]
    }
}

/// Turns the gradient of one group's result into that of its input, and notes the sums per channel.
fn group_gradient<T: Element>(values: &mut [T], x: &[T], weights: &[T], sums: &mut [[f64; 2]], epsilon: f64) {
    let area = (values.len() / weights.len().max(1)).max(1);
    let moments = Moments::of(std::iter::once(x));
    let mut means = [0.0; 2];
    for (((g, x), sums), weight) in values.chunks(area).zip(x.chunks(area)).zip(sums).zip(weights) {
        *sums = gradient_sums(x, g, &moments, epsilon);
        means = add(means, sums.map(|sum| sum * weight.wide() / values.len() as f64));
    }
    let scale = (moments.variance + epsilon).sqrt();
    for ((values, x), weight) in values.chunks_mut(area).zip(x.chunks(area)).zip(weights) {
        for (g, x) in values.iter_mut().zip(x) {
            let normal = moments.normal(x.wide(), epsilon);
            *g = T::of((g.wide() * weight.wide() - means[0] - normal * means[1]) / scale);
        }
    }
}

fn normalise<T: Element>(values: &mut [T], moments: &Moments, epsilon: f64, weight: T, bias: T) {
    let factor = weight.wide() / (moments.variance + epsilon).sqrt();
    let shift = bias.wide() - moments.mean * factor;
    values.iter_mut().for_each(|value| *value = T::of(value.wide() * factor + shift));
}

/// Sum of the gradient, and of gradient times normalised value.
fn gradient_sums<T: Element>(x: &[T], gradient: &[T], moments: &Moments, epsilon: f64) -> [f64; 2] {
    let pairs = x.iter().zip(gradient);
    pairs.fold([0.0; 2], |sums, (x, g)| add(sums, [g.wide(), g.wide() * moments.normal(x.wide(), epsilon)]))
}

fn add(left: [f64; 2], right: [f64; 2]) -> [f64; 2] {
    [left[0] + right[0], left[1] + right[1]]
}

fn dot<T: Element>(left: &[T], right: &[T]) -> f64 {
    left.iter().zip(right).map(|(l, r)| l.wide() * r.wide()).sum()
}

/// Calls `change` with the channel and the numbers of every plane of `values`, which has the shape of `x`.
fn each_plane<T: Element>(x: View<'_, T>, values: &mut [T], change: impl Fn(usize, &mut [T]) + Send + Sync) {
    let [_, channels, height, width] = x.planes();
    let planes = values.par_chunks_mut(height * width).enumerate();
    planes.for_each(|(plane, values)| change(plane % channels, values));
}

/// The planes of one channel, image by image.
fn channel<'a, T: Element>(x: View<'a, T>, c: usize) -> impl Iterator<Item = &'a [T]> + Clone {
    let [_, channels, height, width] = x.planes();
    x.data.chunks((height * width).max(1)).skip(c).step_by(channels.max(1))
}

fn per_channel<T: Element, R: Send>(x: View<'_, T>, of: impl Fn(usize) -> R + Send + Sync) -> Vec<R> {
    let [_, channels, ..] = x.planes();
    (0..channels).into_par_iter().map(of).collect()
}
