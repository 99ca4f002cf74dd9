//! Feature pyramid (arXiv 1612.03144) with further levels made by convolutions (arXiv 1708.02002).

use crate::graph::{Activation, Conv, ResizeMode, Scope, Value};
use crate::models::evidence::{Shapes, vote};

/// Stages of the backbone that detectors use: all but the first (`start_level=1`).
const LATERALS: usize = 3;

/// A feature pyramid on the last stages of a backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fpn {
    /// Channels of every level.
    pub channels: usize,
    /// Number of levels, those of the backbone first.
    pub levels: usize,
    /// What the first level beyond the backbone's is made of.
    pub extra: ExtraLevels,
    /// Whether there is a ReLU between levels beyond the backbone's.
    pub relu_between: bool,
    /// How a level is brought to the size of the one below.
    pub top_down: ResizeMode,
}

/// What the first level beyond the backbone's is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtraLevels {
    /// The backbone's last stage (`add_extra_convs='on_input'`).
    OnInput,
    /// The pyramid's level before (`add_extra_convs='on_output'`).
    OnOutput,
}

impl Fpn {
    /// Writes the pyramid on `features`, each half the size of the one before, and returns its levels.
    pub(super) fn write(&self, net: &mut Scope<'_>, features: &[Value]) -> Vec<Value> {
        let laterals = features.iter().enumerate().map(|(level, x)| {
            let conv = Conv::pointwise(self.channels).biased();
            net.module(&format!("lateral_convs.{level}"), |net| net.conv("conv", *x, conv))
        });
        let laterals: Vec<Value> = laterals.collect();
        let mut above: Option<Value> = None;
        let summed = laterals.iter().rev().map(|lateral| {
            let sum = above.map_or(*lateral, |above| {
                let larger = net.resize(above, self.top_down, net.size(*lateral));
                net.add(*lateral, larger)
            });
            above = Some(sum);
            sum
        });
        let mut summed: Vec<Value> = summed.collect();
        summed.reverse();
        let mut levels: Vec<Value> =
            summed.iter().enumerate().map(|(level, x)| self.convolution(net, level, *x, 1)).collect();
        for level in levels.len()..self.levels {
            let is_first = level == features.len();
            let source = if is_first && self.extra == ExtraLevels::OnInput { features } else { &levels };
            let Some(mut x) = source.last().copied() else { break };
            if self.relu_between && !is_first {
                x = net.act("relu", x, Activation::Relu);
            }
            levels.push(self.convolution(net, level, x, 2));
        }
        levels
    }

    /// The pyramid that shapes tell, on a backbone whose last stage has `deepest` channels, below a head that seems to
    /// be for `used` levels. Where `deepest` is what the pyramid has, what the first further level is made of cannot
    /// be seen; it is then taken for the output.
    pub(super) fn recognise(
        shapes: &Shapes,
        prefix: &str,
        deepest: usize,
        used: Option<usize>,
    ) -> Option<Fpn> {
        let of = ["conv.weight", "conv.bias"];
        let made = of.map(|of| shapes.count(&format!("{prefix}fpn_convs.{{}}.{of}")));
        let levels = vote(made.into_iter().chain([used]))?;
        let convolutions = (0..levels).map(|level| format!("{prefix}fpn_convs.{level}"));
        let laterals = (0..LATERALS).map(|level| format!("{prefix}lateral_convs.{level}"));
        let sizes = laterals
            .chain(convolutions)
            .flat_map(|layer| of.map(|of| shapes.size(&format!("{layer}.{of}"), 0)));
        let channels = vote(sizes)?;
        let first_extra = shapes.size(&format!("{prefix}fpn_convs.{LATERALS}.conv.weight"), 1);
        let is_on_input = first_extra == Some(deepest) && deepest != channels;
        let extra = if is_on_input { ExtraLevels::OnInput } else { ExtraLevels::OnOutput };
        Some(Fpn { channels, levels, extra, relu_between: false, top_down: ResizeMode::Nearest })
    }

    fn convolution(&self, net: &mut Scope<'_>, level: usize, x: Value, stride: usize) -> Value {
        let conv = Conv::same(self.channels, 3).stride(stride).biased();
        net.module(&format!("fpn_convs.{level}"), |net| net.conv("conv", x, conv))
    }
}
