//! Parameters in the order in which kernels want them, with gradients and momentum.

use std::sync::Arc;

use super::Sgd;
use super::convolution::Convolution;
use crate::kernels::channels_last::aligned::Aligned;
use crate::kernels::channels_last::channelwise::Channelwise;
use crate::kernels::channels_last::team::{Parts, Team};
use network::graph::{Array, Parameter};

/// Order of a parameter's numbers.
#[derive(Debug, Clone)]
pub(super) enum Layout {
    /// As in its array.
    Plain,
    /// Panels of a dense convolution.
    Dense(Arc<Convolution>),
    /// Blocks of channels.
    Channelwise(Arc<Channelwise>),
}

/// A parameter of a plan.
#[derive(Debug)]
pub(super) struct Learned {
    pub(super) parameter: Parameter,
    pub(super) layout: Layout,
    pub(super) value: Aligned,
    /// Empty where there is none.
    pub(super) gradient: Aligned,
    pub(super) has_gradient: bool,
    momentum: Aligned,
}

impl Learned {
    pub(super) fn new(parameter: &Parameter, array: &Array, layout: Layout, has_gradient: bool) -> Learned {
        let size = layout.size(parameter);
        let mut learned = Learned {
            parameter: parameter.clone(),
            value: Aligned::zeros(size),
            gradient: Aligned::zeros(if has_gradient { size } else { 0 }),
            has_gradient,
            momentum: Aligned::default(),
            layout,
        };
        let layout = &learned.layout;
        let slots = learned.value.floats_mut();
        for (index, number) in array.data.iter().enumerate() {
            if let Some(slot) = slots.get_mut(layout.position(parameter, index)) {
                *slot = *number;
            }
        }
        learned
    }

    /// The numbers in the parameter's own order.
    pub(super) fn numbers(&self) -> Vec<f32> {
        self.in_order(self.value.floats())
    }

    /// The gradient in the parameter's own order.
    pub(super) fn gradient_numbers(&self) -> Vec<f32> {
        self.in_order(self.gradient.floats())
    }

    /// Writes a gradient in the parameter's own order, or adds it to what is there.
    pub(super) fn put_gradient(&mut self, numbers: &[f32], add: bool) {
        let Learned { gradient, layout, parameter, .. } = self;
        let slots = gradient.floats_mut();
        for (index, number) in numbers.iter().enumerate() {
            if let Some(slot) = slots.get_mut(layout.position(parameter, index)) {
                *slot = number + if add { *slot } else { 0.0 };
            }
        }
    }

    fn in_order(&self, floats: &[f32]) -> Vec<f32> {
        let of = |index| floats.get(self.layout.position(&self.parameter, index)).copied();
        (0..self.parameter.elements()).map(|index| of(index).unwrap_or_default()).collect()
    }

    /// A step of gradient descent, as by `torch.optim.SGD`.
    pub(super) fn step(&mut self, team: &Team, sgd: &Sgd) {
        const PIECE: usize = 1 << 14;
        if !self.has_gradient {
            return;
        }
        let size = self.value.floats().len();
        let parts = || Parts::new(0, 1, [size; 2], PIECE);
        let is_first = self.momentum.floats().is_empty();
        if sgd.momentum != 0.0 {
            if is_first {
                self.momentum = Aligned::zeros(size);
            }
            let (gradient, value) = (self.gradient.floats(), self.value.floats());
            let keep = if is_first { 0.0 } else { sgd.momentum };
            let take = if is_first { 1.0 } else { 1.0 - sgd.dampening };
            team.each_part(self.momentum.floats_mut(), parts(), |part, velocities| {
                let start = part * PIECE;
                let gradients = gradient.get(start..).unwrap_or_default();
                let pairs = gradients.iter().zip(value.get(start..).unwrap_or_default());
                for (velocity, (gradient, value)) in velocities.iter_mut().zip(pairs) {
                    *velocity = keep * *velocity + take * (gradient + sgd.weight_decay * value);
                }
            });
        }
        let (gradient, momentum) = (self.gradient.floats(), self.momentum.floats());
        team.each_part(self.value.floats_mut(), parts(), |part, values| {
            let start = part * PIECE;
            let gradients = gradient.get(start..).unwrap_or_default();
            let velocities = momentum.get(start..).unwrap_or_default();
            sgd.descend(values, gradients, velocities);
        });
    }
}

impl Layout {
    fn size(&self, parameter: &Parameter) -> usize {
        match self {
            Layout::Plain => parameter.elements(),
            Layout::Dense(own) => own.products.size(),
            Layout::Channelwise(own) => own.size(),
        }
    }

    /// Where the number at `index` of the array lies. Kernels are `[out, in, height, width]`.
    fn position(&self, parameter: &Parameter, index: usize) -> usize {
        let taps: usize = parameter.shape.iter().skip(2).product::<usize>().max(1);
        let inputs = parameter.shape.get(1).copied().unwrap_or(1).max(1);
        let (tap, channel, out) = (index % taps, index / taps % inputs, index / taps / inputs);
        match self {
            Layout::Plain => index,
            Layout::Dense(own) => own.products.position(tap, channel, out),
            Layout::Channelwise(own) => own.position(tap, out),
        }
    }
}
