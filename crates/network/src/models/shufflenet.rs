//! ShuffleNetV2 (arXiv 1807.11164) without its last convolution, as a backbone.

use crate::graph::{Activation, Conv, Pool, Scope, Value};

/// Batch norm of every layer, PyTorch's defaults.
pub(super) const EPSILON: f64 = 1e-5;
/// Share of the new batch in running statistics, PyTorch's default.
pub(super) const MOMENTUM: f64 = 0.1;

/// Number of blocks in stages 2, 3 and 4 (arXiv 1807.11164, table 5).
pub(super) const REPEATS: [usize; 3] = [4, 8, 4];

/// Widths of a ShuffleNetV2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShuffleNet {
    /// Channels of the stem.
    pub stem: usize,
    /// Channels of stages 2, 3 and 4.
    pub stages: [usize; 3],
}

impl ShuffleNet {
    /// The widths of the paper with their factors (arXiv 1807.11164, table 5).
    pub const WIDTHS: [(&'static str, ShuffleNet); 4] = [
        ("0.5x", ShuffleNet { stem: 24, stages: [48, 96, 192] }),
        ("1.0x", ShuffleNet { stem: 24, stages: [116, 232, 464] }),
        ("1.5x", ShuffleNet { stem: 24, stages: [176, 352, 704] }),
        ("2.0x", ShuffleNet { stem: 24, stages: [244, 488, 976] }),
    ];

    /// Writes the backbone and returns the results of stages 2, 3 and 4, at strides 8, 16 and 32.
    pub(super) fn write(&self, net: &mut Scope<'_>, x: Value, activation: Activation) -> Vec<Value> {
        let x = net.module("conv1", |net| {
            let x = net.conv("0", x, Conv::same(self.stem, 3).stride(2));
            let x = net.batch_norm("1", x, EPSILON, MOMENTUM);
            net.act("2", x, activation)
        });
        let mut x = net.max_pool("maxpool", x, Pool::new(3, 2, 1));
        let mut stages = Vec::new();
        for ((name, channels), repeat) in ["stage2", "stage3", "stage4"].iter().zip(self.stages).zip(REPEATS)
        {
            x = net.module(name, |net| {
                let first = net.module("0", |net| downsampling_block(net, x, channels, activation));
                (1..repeat).fold(first, |x, block| {
                    net.module(&block.to_string(), |net| block_of_halves(net, x, activation))
                })
            });
            stages.push(x);
        }
        stages
    }
}

/// Half the channels pass, the other half goes through three convolutions; then the halves are shuffled.
fn block_of_halves(net: &mut Scope<'_>, x: Value, activation: Activation) -> Value {
    let half = net.channels(x) / 2;
    let passing = net.slice(x, 1, 0, half);
    let other = net.slice(x, 1, half, half);
    let other = net.module("branch2", |net| three_convolutions(net, other, half, 1, activation));
    let both = net.concat(&[passing, other]);
    net.channel_shuffle(both, 2)
}

/// Both branches see all channels and halve height and width.
fn downsampling_block(net: &mut Scope<'_>, x: Value, channels: usize, activation: Activation) -> Value {
    let half = channels / 2;
    let left = net.module("branch1", |net| {
        let x = net.conv("0", x, Conv::depthwise(net.channels(x), 3).stride(2));
        let x = net.batch_norm("1", x, EPSILON, MOMENTUM);
        let x = net.conv("2", x, Conv::pointwise(half));
        let x = net.batch_norm("3", x, EPSILON, MOMENTUM);
        net.act("4", x, activation)
    });
    let right = net.module("branch2", |net| three_convolutions(net, x, half, 2, activation));
    let both = net.concat(&[left, right]);
    net.channel_shuffle(both, 2)
}

/// 1x1, depthwise 3x3 without activation, 1x1.
fn three_convolutions(
    net: &mut Scope<'_>,
    x: Value,
    channels: usize,
    stride: usize,
    activation: Activation,
) -> Value {
    let x = net.conv("0", x, Conv::pointwise(channels));
    let x = net.batch_norm("1", x, EPSILON, MOMENTUM);
    let x = net.act("2", x, activation);
    let x = net.conv("3", x, Conv::depthwise(channels, 3).stride(stride));
    let x = net.batch_norm("4", x, EPSILON, MOMENTUM);
    let x = net.conv("5", x, Conv::pointwise(channels));
    let x = net.batch_norm("6", x, EPSILON, MOMENTUM);
    net.act("7", x, activation)
}
