//! The ResNet family (arXiv 1512.03385) as a backbone: ResNeXt's groups (arXiv 1611.05431), Res2Net's scales
//! (arXiv 1904.01169), the v1d stem and shortcut (arXiv 1812.01187), deformable stages (arXiv 1703.06211).
//!
//! Names and order are those of mmdetection 2; torchvision's are the same where it has the network.

mod recognition;

use crate::graph::{Activation, Conv, DeformConv, Pool, Scope, Value};

/// Batch norm of every layer, PyTorch's default.
const EPSILON: f64 = 1e-5;
/// Share of the new batch in running statistics, PyTorch's default.
const MOMENTUM: f64 = 0.1;

/// A ResNet without its classifier. Every stage after the first halves height and width and doubles the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResNet {
    /// Whether it is of variant d: three 3x3 convolutions as the stem, and shortcuts that average before their
    /// convolution instead of skipping positions.
    pub deep: bool,
    /// Channels of the stem.
    pub stem: usize,
    /// What the blocks are made of.
    pub block: Block,
    /// Channels of the first stage's result, before a bottleneck's expansion.
    pub channels: usize,
    /// Number of blocks in each stage.
    pub depths: [usize; 4],
    /// Which stages have deformable 3x3 convolutions; basic blocks have none (as in mmdetection).
    pub deformable: [Option<Deformable>; 4],
}

/// What a block computes beside its shortcut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 in groups, 1x1 to four times the channels.
    Bottleneck {
        /// Groups of the 3x3 convolution.
        groups: usize,
        /// Channels of a group in the first stage.
        width: usize,
    },
    /// A bottleneck whose 3x3 convolution is a row of small ones, each of which sees the result of the one before.
    Res2Net {
        /// Parts into which channels are split; the last has no convolution.
        scales: usize,
        /// Channels of a part in the first stage.
        width: usize,
    },
}

/// How the 3x3 convolutions of a stage are deformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deformable {
    /// Whether samples are weighted (v2, arXiv 1811.11168).
    pub modulated: bool,
    /// Groups of channels that share offsets.
    pub groups: usize,
}

impl Deformable {
    /// Version 1 as upstream's configurations have it (`dcn=dict(type='DCN', deform_groups=1)`).
    pub const V1: Deformable = Deformable { modulated: false, groups: 1 };
}

/// A block's place in the network.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Counted from 0.
    stage: usize,
    /// Whether it is its stage's first.
    is_first: bool,
}

impl Place {
    fn stride(self) -> usize {
        if self.is_first && self.stage > 0 { 2 } else { 1 }
    }
}

impl ResNet {
    /// A ResNet of bottlenecks with as many blocks as the paper's network of `depth` 50, 101 or 152 layers.
    pub const fn of_depth(depth: usize) -> ResNet {
        let third = match depth {
            50 => 6,
            101 => 23,
            _ => 36,
        };
        let second = if depth > 101 { 8 } else { 4 };
        ResNet {
            deep: false,
            stem: 64,
            block: Block::Bottleneck { groups: 1, width: 64 },
            channels: 64,
            depths: [3, second, third, 3],
            deformable: [None; 4],
        }
    }

    /// The same with this block.
    pub const fn with_block(self, block: Block) -> ResNet {
        ResNet { block, ..self }
    }

    /// The same with deformable stages from the one at position `first` (0..4) on.
    pub const fn deformed_from(self, first: usize) -> ResNet {
        let v1 = Some(Deformable::V1);
        let deformable = match first {
            1 => [None, v1, v1, v1],
            2 => [None, None, v1, v1],
            _ => [None, None, None, v1],
        };
        ResNet { deformable, ..self }
    }

    /// A name such as `r50`, `x101-32x4` or `r2n101-26x4-dcn`, where the depth is counted as the paper does.
    pub fn description(&self) -> String {
        let in_block = if self.block == Block::Basic { 2 } else { 3 };
        let depth = in_block * self.depths.iter().sum::<usize>() + 2;
        let block = match self.block {
            Block::Basic | Block::Bottleneck { groups: 1, .. } => format!("r{depth}"),
            Block::Bottleneck { groups, width } => format!("x{depth}-{groups}x{width}"),
            Block::Res2Net { scales, width } => format!("r2n{depth}-{width}x{scales}"),
        };
        let has = |modulated| self.deformable.iter().flatten().any(|stage| stage.modulated == modulated);
        let deformed = match (has(true), has(false)) {
            (true, _) => "-dcnv2",
            (false, true) => "-dcn",
            _ => "",
        };
        format!("{block}{deformed}")
    }

    /// Modules that training leaves as they are when `stages` are frozen: the stem, then that many stages. Their
    /// batch norms keep their running statistics too.
    pub fn frozen_modules(&self, stages: usize) -> Vec<String> {
        let stem: &[&str] = if self.deep { &["stem"] } else { &["conv1", "bn1"] };
        let stages = (1..=stages.min(4)).map(|stage| format!("layer{stage}"));
        stem.iter().map(|name| (*name).to_owned()).chain(stages).collect()
    }

    /// Channels of a stage's result; stages are counted from 0.
    pub(super) fn stage_channels(&self, stage: usize) -> usize {
        self.expansion() * (self.channels << stage)
    }

    fn expansion(&self) -> usize {
        if self.block == Block::Basic { 1 } else { 4 }
    }

    /// Writes the backbone and returns the results of its four stages, at strides 4, 8, 16 and 32.
    pub(super) fn write(&self, net: &mut Scope<'_>, x: Value) -> Vec<Value> {
        let x = if self.deep { self.deep_stem(net, x) } else { self.stem(net, x) };
        let mut x = net.max_pool("maxpool", x, Pool::new(3, 2, 1));
        let stages = self.depths.iter().enumerate().map(|(stage, depth)| {
            x = net.module(&format!("layer{}", stage + 1), |net| {
                (0..*depth).fold(x, |x, block| {
                    let place = Place { stage, is_first: block == 0 };
                    net.module(&block.to_string(), |net| self.residual(net, x, place))
                })
            });
            x
        });
        stages.collect()
    }

    fn stem(&self, net: &mut Scope<'_>, x: Value) -> Value {
        let x = net.conv("conv1", x, Conv::same(self.stem, 7).stride(2));
        let x = batch_norm(net, "bn1", x);
        relu(net, x)
    }

    fn deep_stem(&self, net: &mut Scope<'_>, x: Value) -> Value {
        let half = self.stem / 2;
        let convolutions = [Conv::same(half, 3).stride(2), Conv::same(half, 3), Conv::same(self.stem, 3)];
        net.module("stem", |net| {
            convolutions.into_iter().enumerate().fold(x, |x, (index, conv)| {
                let name = |layer: usize| (3 * index + layer).to_string();
                let x = net.conv(&name(0), x, conv);
                let x = batch_norm(net, &name(1), x);
                net.act(&name(2), x, Activation::Relu)
            })
        })
    }

    /// A block and its shortcut.
    fn residual(&self, net: &mut Scope<'_>, x: Value, place: Place) -> Value {
        let has_convolution = place.stride() > 1 || net.channels(x) != self.stage_channels(place.stage);
        let block = match self.block {
            Block::Basic => self.basic(net, x, place),
            Block::Bottleneck { groups, width } => self.bottleneck(net, x, place, groups, width),
            Block::Res2Net { scales, width } => {
                let shortcut = if has_convolution { "downsample" } else { "conv1" };
                net.order(&["conv1", "bn1", "conv3", "bn3", shortcut, "convs", "bns"]);
                self.res2net(net, x, place, scales, width)
            }
        };
        let shortcut = if has_convolution { self.shortcut(net, x, place) } else { x };
        let sum = net.add(block, shortcut);
        relu(net, sum)
    }

    fn shortcut(&self, net: &mut Scope<'_>, x: Value, place: Place) -> Value {
        let (stride, conv) = (place.stride(), Conv::pointwise(self.stage_channels(place.stage)));
        net.module("downsample", |net| {
            if self.deep {
                let pool = Pool { ceil: true, count_padding: false, ..Pool::new(stride, stride, 0) };
                let x = net.average_pool("0", x, pool);
                let x = net.conv("1", x, conv);
                return batch_norm(net, "2", x);
            }
            let x = net.conv("0", x, conv.stride(stride));
            batch_norm(net, "1", x)
        })
    }

    fn basic(&self, net: &mut Scope<'_>, x: Value, place: Place) -> Value {
        let conv = Conv::same(self.stage_channels(place.stage), 3);
        let x = net.conv("conv1", x, conv.stride(place.stride()));
        let x = batch_norm(net, "bn1", x);
        let x = relu(net, x);
        let x = net.conv("conv2", x, conv);
        batch_norm(net, "bn2", x)
    }

    /// The stride is in the 3x3 convolution (`style=pytorch`).
    fn bottleneck(&self, net: &mut Scope<'_>, x: Value, place: Place, groups: usize, width: usize) -> Value {
        let inner = groups * (width << place.stage);
        let x = net.conv("conv1", x, Conv::pointwise(inner));
        let x = batch_norm(net, "bn1", x);
        let x = relu(net, x);
        let conv = Conv { groups, ..Conv::same(inner, 3).stride(place.stride()) };
        let x = self.spatial(net, "conv2", x, conv, place);
        let x = batch_norm(net, "bn2", x);
        let x = relu(net, x);
        let x = net.conv("conv3", x, Conv::pointwise(self.stage_channels(place.stage)));
        batch_norm(net, "bn3", x)
    }

    /// In the first block of a stage the parts do not see each other, and the last is averaged where others stride.
    fn res2net(&self, net: &mut Scope<'_>, x: Value, place: Place, scales: usize, width: usize) -> Value {
        let width = width << place.stage;
        let x = net.conv("conv1", x, Conv::pointwise(scales * width));
        let x = batch_norm(net, "bn1", x);
        let x = relu(net, x);
        let conv = Conv::same(width, 3).stride(place.stride());
        let mut parts: Vec<Value> = Vec::new();
        for index in 0..scales.saturating_sub(1) {
            let part = net.slice(x, 1, index * width, width);
            let before = parts.last().filter(|_| !place.is_first);
            let part = before.map_or(part, |before| net.add(*before, part));
            let part = self.spatial(net, &format!("convs.{index}"), part, conv, place);
            let part = batch_norm(net, &format!("bns.{index}"), part);
            parts.push(relu(net, part));
        }
        let last = net.slice(x, 1, scales.saturating_sub(1) * width, width);
        let is_averaged = place.stride() > 1;
        let pool = Pool::new(3, place.stride(), 1);
        parts.push(if is_averaged { net.average_pool("pool", last, pool) } else { last });
        let x = net.concat(&parts);
        let x = net.conv("conv3", x, Conv::pointwise(self.stage_channels(place.stage)));
        batch_norm(net, "bn3", x)
    }

    /// A 3x3 convolution, deformable where the stage is. Its offsets come from a convolution of the same reach.
    fn spatial(&self, net: &mut Scope<'_>, name: &str, x: Value, conv: Conv, place: Place) -> Value {
        let Some(deformable) = self.deformable.get(place.stage).copied().flatten() else {
            return net.conv(name, x, conv);
        };
        let deformed = DeformConv { conv, offset_groups: deformable.groups };
        let (offsets, masks) = (deformed.offsets(), deformed.masks());
        let conv_offset = |out: usize| Conv { out, groups: 1, bias: true, ..conv };
        net.module(name, |net| {
            if !deformable.modulated {
                let offsets = net.conv("conv_offset", x, conv_offset(offsets));
                return net.deform_conv(x, offsets, None, deformed);
            }
            let maps = net.conv("conv_offset", x, conv_offset(offsets + masks));
            let moved = net.slice(maps, 1, 0, offsets);
            let mask = net.slice(maps, 1, offsets, masks);
            let mask = net.act("mask", mask, Activation::Sigmoid);
            net.deform_conv(x, moved, Some(mask), deformed)
        })
    }
}

fn batch_norm(net: &mut Scope<'_>, name: &str, x: Value) -> Value {
    net.batch_norm(name, x, EPSILON, MOMENTUM)
}

/// Upstream's blocks have one module for all of their activations.
fn relu(net: &mut Scope<'_>, x: Value) -> Value {
    net.act("relu", x, Activation::Relu)
}
