//! What Gold-YOLO's parts are built of, most of it YOLOv6's (arXiv 2301.05586).

use super::{Block, GoldYolo, Stage};
use crate::graph::{Activation, Conv, Pool, Scope, Value};

/// What a batch norm adds to the variance, and the share of a new batch in its running statistics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    epsilon: f64,
    momentum: f64,
}

/// Upstream sets these on every `BatchNorm2d` once the network is built.
pub(super) const NORM: Norm = Norm { epsilon: 1e-3, momentum: 0.03 };
/// PyTorch's defaults, which the layers built through mmcv keep: they are `SyncBatchNorm`s, no `BatchNorm2d`s.
pub(super) const SYNCHRONISED: Norm = Norm { epsilon: 1e-5, momentum: 0.1 };

/// Window of the pooling in a pyramid; it keeps the size.
const PYRAMID_POOL: Pool = Pool::new(5, 1, 2);

/// Batch norm as a module of its own.
pub(super) fn norm(net: &mut Scope<'_>, name: &str, x: Value, norm: Norm) -> Value {
    net.batch_norm(name, x, norm.epsilon, norm.momentum)
}

/// Module `name`: convolution `conv`, batch norm `bn`, activation `act`.
pub(super) fn conv_act(net: &mut Scope<'_>, name: &str, x: Value, conv: Conv, act: Activation) -> Value {
    net.module(name, |net| {
        let x = net.conv("conv", x, conv);
        let x = norm(net, "bn", x, NORM);
        net.act("act", x, act)
    })
}

/// RepVGG block in training form (arXiv 2101.03697): three branches summed before the activation.
fn rep_vgg(net: &mut Scope<'_>, x: Value, conv: Conv) -> Value {
    let keeps_shape = net.channels(x) == conv.out && conv.stride == [1; 2];
    let identity = keeps_shape.then(|| norm(net, "rbr_identity", x, NORM));
    let mut branch = |name: &str, conv: Conv| {
        net.module(name, |net| {
            let x = net.conv("conv", x, conv);
            norm(net, "bn", x, NORM)
        })
    };
    let dense = branch("rbr_dense", conv);
    let point = branch("rbr_1x1", Conv { kernel: [1; 2], padding: [0; 2], ..conv });
    let sum = net.add(dense, point);
    let sum = identity.map_or(sum, |identity| net.add(sum, identity));
    net.act("nonlinearity", sum, Activation::Relu)
}

impl GoldYolo {
    /// The activation of the blocks and of what belongs to them.
    pub(super) fn activation(&self) -> Activation {
        match self.block {
            Block::RepVgg => Activation::Relu,
            Block::ConvSilu => Activation::Silu,
        }
    }

    /// Module `name`: the basic 3x3 block.
    pub(super) fn block(
        &self,
        net: &mut Scope<'_>,
        name: &str,
        x: Value,
        out: usize,
        stride: usize,
    ) -> Value {
        let conv = Conv::same(out, 3).stride(stride);
        net.module(name, |net| match self.block {
            Block::RepVgg => rep_vgg(net, x, conv),
            Block::ConvSilu => conv_act(net, "block", x, conv.biased(), Activation::Silu),
        })
    }

    /// Module `name`: blocks in a row, or beside a shortcut.
    pub(super) fn stage(
        &self,
        net: &mut Scope<'_>,
        name: &str,
        x: Value,
        out: usize,
        blocks: usize,
    ) -> Value {
        net.module(name, |net| match self.stage {
            Stage::Plain => {
                let block = |net: &mut Scope<'_>, name: &str, x| self.block(net, name, x, out, 1);
                in_a_row(net, x, blocks, block)
            }
            Stage::Split(expansion) => self.split_stage(net, x, out, blocks, expansion.of_channels(out)),
        })
    }

    /// `BepC3`: one half of the channels goes through the blocks, the other passes by.
    fn split_stage(&self, net: &mut Scope<'_>, x: Value, out: usize, blocks: usize, half: usize) -> Value {
        net.order(&["cv1", "cv2", "cv3", "m"]);
        let (hidden, act) = (Conv::pointwise(half), self.activation());
        let inner = conv_act(net, "cv1", x, hidden, act);
        let inner = net.module("m", |net| {
            let block = |net: &mut Scope<'_>, name: &str, x| self.bottleneck(net, name, x);
            in_a_row(net, inner, blocks, block)
        });
        let passing = conv_act(net, "cv2", x, hidden, act);
        let both = net.concat(&[inner, passing]);
        conv_act(net, "cv3", both, Conv::pointwise(out), act)
    }

    /// `BottleRep`: two blocks and a shortcut with a learnable weight.
    fn bottleneck(&self, net: &mut Scope<'_>, name: &str, x: Value) -> Value {
        net.module(name, |net| {
            let shortcut = net.scale_by("alpha", x);
            let channels = net.channels(x);
            let inner = self.block(net, "conv1", x, channels, 1);
            let inner = self.block(net, "conv2", inner, channels, 1);
            net.add(inner, shortcut)
        })
    }

    /// Spatial pyramid pooling, by three small poolings in a row.
    pub(super) fn pyramid_pooling(&self, net: &mut Scope<'_>, x: Value) -> Value {
        let (channels, act) = (net.channels(x), self.activation());
        let hidden = Conv::pointwise(channels / 2);
        if self.stage != Stage::Plain {
            let x = conv_act(net, "cv1", x, hidden, act);
            let pooled = pooled_thrice(net, x);
            return conv_act(net, "cv2", pooled, Conv::pointwise(channels), act);
        }
        // The form with a second path (CSPSPPF).
        let hidden_3x3 = Conv::same(channels / 2, 3);
        net.order(&["cv1", "cv2", "cv3", "cv4"]);
        let deep = conv_act(net, "cv1", x, hidden, act);
        let deep = conv_act(net, "cv3", deep, hidden_3x3, act);
        let deep = conv_act(net, "cv4", deep, hidden, act);
        let passing = conv_act(net, "cv2", x, hidden, act);
        let pooled = pooled_thrice(net, deep);
        let deep = conv_act(net, "cv5", pooled, hidden, act);
        let deep = conv_act(net, "cv6", deep, hidden_3x3, act);
        let both = net.concat(&[passing, deep]);
        conv_act(net, "cv7", both, Conv::pointwise(channels), act)
    }
}

/// `RepBlock`: `conv1`, then `block.0`, `block.1`, ...
fn in_a_row(
    net: &mut Scope<'_>,
    x: Value,
    blocks: usize,
    block: impl Fn(&mut Scope<'_>, &str, Value) -> Value,
) -> Value {
    let x = block(net, "conv1", x);
    if blocks < 2 {
        return x;
    }
    net.module("block", |net| (1..blocks).fold(x, |x, index| block(net, &(index - 1).to_string(), x)))
}

/// A value, its maxima over windows of 5, of 9 and of 13, as channels after one another.
fn pooled_thrice(net: &mut Scope<'_>, x: Value) -> Value {
    let once = net.max_pool("m", x, PYRAMID_POOL);
    let twice = net.max_pool("m", once, PYRAMID_POOL);
    let thrice = net.max_pool("m", twice, PYRAMID_POOL);
    net.concat(&[x, once, twice, thrice])
}
