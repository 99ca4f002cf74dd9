//! What kernels of convolutions are tested with: the generic convolution in f64, forward and both gradients.

use crate::cpu::convolution::dense::stored::Products;
use crate::cpu::value::{Value, random, wide};
use crate::reference::kernel::{Kernel, View};
use network::graph::Conv;

/// A convolution with its operands.
pub(super) struct Case {
    pub(super) conv: Conv,
    pub(super) x: Value,
    pub(super) kernel: Vec<f32>,
    pub(super) bias: Vec<f32>,
    /// Of the result.
    pub(super) gradient: Value,
}

impl Case {
    /// Several images of `channels` and this height and width.
    pub(super) fn new(channels: usize, size: [usize; 2], conv: Conv) -> Case {
        const IMAGES: usize = 2;
        let [height, width] = size;
        let [rows, columns] = output_size(size, &conv);
        let weights = conv.out * channels / conv.groups * conv.kernel.iter().product::<usize>();
        Case {
            conv,
            x: Value::among_others([IMAGES, channels, height, width], 1),
            kernel: random(weights, 2),
            bias: random(conv.out, 3),
            gradient: Value::among_others([IMAGES, conv.out, rows, columns], 4),
        }
    }

    pub(super) fn channels(&self) -> usize {
        self.x.shape[1]
    }

    pub(super) fn taps(&self) -> usize {
        self.conv.kernel.iter().product()
    }

    /// Calls `reference` with the operands in f64.
    pub(super) fn with_views<R>(&self, reference: impl FnOnce([View<'_, f64>; 3]) -> R) -> R {
        let (kernel, bias) = (wide(&self.kernel), wide(&self.bias));
        let [height, width] = self.conv.kernel;
        let shape = [self.conv.out, self.channels() / self.conv.groups, height, width];
        let kernel = View { data: &kernel[..], shape: &shape };
        reference([self.x.view(), kernel, View { data: &bias[..], shape: &[self.conv.out] }])
    }

    pub(super) fn result(&self) -> Vec<f64> {
        self.with_views(|views| Kernel::<3>::forward(&self.conv, views).0)
    }

    /// Gradients of the input and of the kernel.
    pub(super) fn gradients(&self) -> [Vec<f64>; 2] {
        let gradient = self.gradient.view();
        let [x, kernel, _] =
            self.with_views(|views| Kernel::<3>::backward(&self.conv, views, gradient, gradient, [true; 3]));
        [x.unwrap(), kernel.unwrap()]
    }

    /// Somewhere for the result, with numbers in it.
    pub(super) fn target(&self) -> Value {
        Value::among_others(self.gradient.shape, 5)
    }
}

pub(super) fn output_size(size: [usize; 2], conv: &Conv) -> [usize; 2] {
    [0, 1].map(|axis| {
        let reach = conv.dilation[axis] * (conv.kernel[axis] - 1) + 1;
        (size[axis] + 2 * conv.padding[axis] - reach) / conv.stride[axis] + 1
    })
}

/// Cases of so many channels and such sizes: all, or under Miri those that take seconds there.
pub(super) fn chosen<const COUNT: usize>(
    cases: [(usize, [usize; 2], Conv); COUNT],
) -> impl Iterator<Item = Case> {
    let is_small = |(channels, size, conv): &(usize, [usize; 2], Conv)| {
        let numbers = [output_size(*size, conv), conv.kernel].as_flattened().iter().product::<usize>();
        numbers * conv.out * channels / conv.groups < 500
    };
    let all = cases.into_iter().filter(move |case| !cfg!(miri) || is_small(case));
    all.map(|(channels, size, conv)| Case::new(channels, size, conv))
}

/// Weights in the order of some products.
pub(super) fn packed(case: &Case, products: &Products) -> Vec<f32> {
    let mut weights = vec![0.0; products.size()];
    each_weight(case, |index, tap, channel, out| {
        weights[products.position(tap, channel, out)] = case.kernel[index];
    });
    weights
}

/// Calls `found` with the index of every weight, its tap, its channel and that of the result.
pub(super) fn each_weight(case: &Case, mut found: impl FnMut(usize, usize, usize, usize)) {
    let (taps, channels) = (case.taps(), case.channels());
    for index in 0..case.kernel.len() {
        found(index, index % taps, index / taps % channels, index / taps / channels);
    }
}
