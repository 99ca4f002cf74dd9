//! Gold-YOLO's neck: information of all levels is gathered, fused and given back to each level, first for the
//! larger maps, then for the smaller ones (arXiv 2309.11331).

use super::blocks::{SYNCHRONISED, conv_act, norm};
use super::{GoldYolo, LastLevel};
use crate::graph::{Activation, Conv, ResizeMode, Scope, Value};

/// Blocks in the fusion of the larger maps (`fuse_block_num`).
const FUSION_BLOCKS: usize = 3;
/// Channels of a query and of a key in each head of the attention.
pub(super) const KEY: usize = 8;
/// Channels of a value in each head of the attention.
pub(super) const VALUE: usize = 16;

impl GoldYolo {
    /// The levels at strides 8, 16 and 32 from the backbone's at 4, 8, 16 and 32.
    pub(super) fn neck(&self, net: &mut Scope<'_>, [c2, c3, c4, c5]: [Value; 4]) -> [Value; 3] {
        let [p4, p3, n4, n5] = self.neck;
        let larger = self.gather_low(net, [c2, c3, c4, c5]);
        let [for_p4, for_p3] = split(net, larger, [p4, p3]);

        let half_c5 = conv_act(net, "reduce_layer_c5", c5, Conv::pointwise(p4), Activation::Relu);
        let fused = adjacent(net, "LAF_p4", [c3, c4, half_c5], p4);
        let injected = inject(net, "Inject_p4", fused, for_p4, p4);
        let level4 = self.stage(net, "Rep_p4", injected, p4, self.neck_blocks);

        let half_p4 = conv_act(net, "reduce_layer_p4", level4, Conv::pointwise(p3), Activation::Relu);
        let fused = adjacent(net, "LAF_p3", [c2, c3, half_p4], p3);
        let injected = inject(net, "Inject_p3", fused, for_p3, p3);
        let level3 = self.stage(net, "Rep_p3", injected, p3, self.neck_blocks);

        let smaller = self.gather_high(net, [level3, level4, c5]);
        let [for_n4, for_n5] = split(net, smaller, [n4, n5]);

        let fused = net.module("LAF_n4", |net| pool_and_concat(net, level3, half_p4));
        let injected = inject(net, "Inject_n4", fused, for_n4, n4);
        let out4 = self.stage(net, "Rep_n4", injected, n4, self.neck_blocks);

        let before = match self.last_level {
            LastLevel::FromOutput => out4,
            LastLevel::FromFeatures => level4,
        };
        let fused = net.module("LAF_n5", |net| pool_and_concat(net, before, half_c5));
        let injected = inject(net, "Inject_n5", fused, for_n5, n5);
        let out5 = self.stage(net, "Rep_n5", injected, n5, self.neck_blocks);
        [level3, out4, out5]
    }

    /// Gathers all levels at the size of stride 16 and fuses them by convolution.
    fn gather_low(&self, net: &mut Scope<'_>, [c2, c3, c4, c5]: [Value; 4]) -> Value {
        let gathered = net.module("low_FAM", |net| {
            let size = net.size(c4);
            let [c2, c3] = [c2, c3].map(|x| net.adaptive_average_pool(x, size));
            let c5 = net.resize(c5, ResizeMode::Bilinear, size);
            net.concat(&[c2, c3, c4, c5])
        });
        net.module("low_IFM", |net| {
            let [p4, p3, ..] = self.neck;
            let mut x = conv_act(net, "0", gathered, Conv::pointwise(self.fusion), Activation::Silu);
            for block in 1..=FUSION_BLOCKS {
                x = self.block(net, &block.to_string(), x, self.fusion, 1);
            }
            let last = (FUSION_BLOCKS + 1).to_string();
            conv_act(net, &last, x, Conv::pointwise(p4 + p3), Activation::Silu)
        })
    }

    /// Gathers three levels at half the size of stride 32 and fuses them by attention.
    fn gather_high(&self, net: &mut Scope<'_>, levels: [Value; 3]) -> Value {
        let [_, _, c5] = levels;
        let gathered = net.module("high_FAM", |net| {
            let size = net.size(c5).map(|side| side.div_ceil(2));
            let pooled = levels.map(|x| net.adaptive_average_pool(x, size));
            net.concat(&pooled)
        });
        let fused = net.module("high_IFM", |net| {
            (0..self.attention_blocks).fold(gathered, |x, block| {
                let name = format!("transformer_blocks.{block}");
                net.module(&name, |net| self.transformer_block(net, x))
            })
        });
        let [_, _, n4, n5] = self.neck;
        net.conv("conv_1x1_n", fused, Conv::pointwise(n4 + n5).biased())
    }

    /// Attention and two layers, each beside a shortcut. Upstream drops either branch at random in training
    /// (`drop_path`), which is not part of the graph.
    fn transformer_block(&self, net: &mut Scope<'_>, x: Value) -> Value {
        let attention = net.module("attn", |net| attention(net, x, self.heads));
        let attention = net.module("drop_path", |_| attention);
        let x = net.add(x, attention);
        let mlp = net.module("mlp", |net| mlp(net, x));
        let mlp = net.module("drop_path", |_| mlp);
        net.add(x, mlp)
    }
}

/// `[N, a + b, H, W]` as `[N, a, H, W]` and `[N, b, H, W]`.
fn split(net: &mut Scope<'_>, x: Value, [first, second]: [usize; 2]) -> [Value; 2] {
    [net.slice(x, 1, 0, first), net.slice(x, 1, first, second)]
}

/// 1x1 convolution and batch norm of the attention.
fn conv_norm(net: &mut Scope<'_>, name: &str, x: Value, channels: usize) -> Value {
    net.module(name, |net| {
        let x = net.conv("c", x, Conv::pointwise(channels));
        norm(net, "bn", x, SYNCHRONISED)
    })
}

/// Attention over all positions. Upstream does not divide by the root of the key's length.
fn attention(net: &mut Scope<'_>, x: Value, heads: usize) -> Value {
    let shape = net.shape(x).to_vec();
    let (images, channels) = (shape.first().copied().unwrap_or(0), net.channels(x));
    let [height, width] = net.size(x);
    let positions = height * width;
    let mut projected = |name: &str, length: usize| {
        let x = conv_norm(net, name, x, heads * length);
        net.reshape(x, &[images, heads, length, positions])
    };
    let [query, key, value] = [projected("to_q", KEY), projected("to_k", KEY), projected("to_v", VALUE)];
    let query = net.transpose(query, &[0, 1, 3, 2]);
    let scores = net.matmul(query, key);
    let shares = net.softmax(scores, 3);
    let value = net.transpose(value, &[0, 1, 3, 2]);
    let mixed = net.matmul(shares, value);
    let mixed = net.transpose(mixed, &[0, 1, 3, 2]);
    let mixed = net.reshape(mixed, &[images, heads * VALUE, height, width]);
    net.name("proj.input.0", mixed);
    net.module("proj", |net| {
        let x = net.act("0", mixed, Activation::Relu6);
        conv_norm(net, "1", x, channels)
    })
}

/// 1x1 convolution, depthwise 3x3 convolution, 1x1 convolution. Upstream's dropout has probability 0.
fn mlp(net: &mut Scope<'_>, x: Value) -> Value {
    let channels = net.channels(x);
    let x = conv_norm(net, "fc1", x, channels);
    let x = net.conv("dwconv", x, Conv::depthwise(channels, 3).biased());
    let x = net.act("act", x, Activation::Relu6);
    let x = net.module("drop", |_| x);
    let x = conv_norm(net, "fc2", x, channels);
    net.module("drop", |_| x)
}

/// A level with its neighbours, brought to its size: a finer one pooled, a coarser one enlarged.
fn adjacent(net: &mut Scope<'_>, name: &str, [finer, level, coarser]: [Value; 3], channels: usize) -> Value {
    let conv = Conv::pointwise(channels);
    net.module(name, |net| {
        let size = net.size(level);
        let finer = net.adaptive_average_pool(finer, size);
        let level = conv_act(net, "cv1", level, conv, Activation::Relu);
        let coarser = net.resize(coarser, ResizeMode::Bilinear, size);
        let all = net.concat(&[finer, level, coarser]);
        conv_act(net, "cv_fuse", all, conv, Activation::Relu)
    })
}

/// A finer level pooled to the size of another, and that one.
fn pool_and_concat(net: &mut Scope<'_>, finer: Value, level: Value) -> Value {
    let size = net.size(level);
    let finer = net.adaptive_average_pool(finer, size);
    net.concat(&[finer, level])
}

/// Module `name`: a level weighted by the gathered information, plus that information.
fn inject(net: &mut Scope<'_>, name: &str, level: Value, gathered: Value, channels: usize) -> Value {
    let embedded = |net: &mut Scope<'_>, name: &str, x: Value| {
        net.module(name, |net| {
            let x = net.conv("conv", x, Conv::pointwise(channels));
            norm(net, "bn", x, SYNCHRONISED)
        })
    };
    net.module(name, |net| {
        net.order(&["local_embedding", "global_embedding", "global_act"]);
        let size = net.size(level);
        let local = embedded(net, "local_embedding", level);
        let weight = embedded(net, "global_act", gathered);
        let weight = net.act("act", weight, Activation::HardSigmoid);
        let weight = net.resize(weight, ResizeMode::Bilinear, size);
        let global = embedded(net, "global_embedding", gathered);
        let global = net.resize(global, ResizeMode::Bilinear, size);
        let weighted = net.multiply(local, weight);
        net.add(weighted, global)
    })
}
