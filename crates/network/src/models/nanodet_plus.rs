//! NanoDet-Plus: ShuffleNetV2, GhostPAN, a head of its own for every level, and an auxiliary branch for training
//! (github.com/RangiLyu/nanodet, checked against commit be9b4a9).

use std::collections::BTreeMap;

use crate::graph::{Activation, Conv, ResizeMode, Scope, Value};
use crate::models::evidence::{Shapes, vote};
use crate::models::points::{flatten, points_first};
use crate::models::shufflenet::{EPSILON, MOMENTUM, REPEATS, ShuffleNet};
use crate::models::{
    ChannelOrder, ClassShift, DetectorFacts, Family, Form, Frame, Head, Model, Network, Preprocessing,
    Preset, Resize, Scores, Selection, Sides, Size,
};

/// NanoDet-Plus.
pub const FAMILY: Family = Family {
    name: "nanodet-plus",
    paper: "github.com/RangiLyu/nanodet (no paper)",
    source: "github.com/RangiLyu/nanodet, commit be9b4a9",
    presets: &[
        Preset { name: "nanodet-plus-m", make: || NanoDetPlus::M.into(), size: Size::square(416) },
        Preset { name: "nanodet-plus-m-1.5x", make: || NanoDetPlus::M_15.into(), size: Size::square(416) },
    ],
    recognise: |shapes| NanoDetPlus::recognise(shapes).map(Model::from),
};

/// The activation of every layer.
const ACTIVATION: Activation = Activation::LeakyRelu(0.1);
/// Stride of the first level in pixels; every further level doubles it.
const FIRST_STRIDE: usize = 8;
/// Groups of the auxiliary head's group norms, with PyTorch's epsilon.
const AUXILIARY_GROUPS: usize = 32;

/// Of `NanoDetPlusHead.get_bboxes` and `nanodet/model/module/nms.py`.
const SELECTION: Selection = Selection {
    best_of_level: None,
    score_threshold: 0.05,
    max_candidates: None,
    nms_iou: 0.6,
    class_shift: ClassShift::LargestCoordinate { below: 10_000 },
    frame: Frame::Input,
    max_detections: 100,
};

/// A NanoDet-Plus network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NanoDetPlus {
    /// The backbone's widths.
    pub backbone: ShuffleNet,
    /// Channels of the neck and the head.
    pub channels: usize,
    /// Size of the depthwise kernels in neck and head.
    pub kernel: usize,
    /// Number of levels, the first at stride 8.
    pub levels: usize,
    /// Depthwise blocks in each level's head.
    pub stacked: usize,
    /// Number of classes.
    pub classes: usize,
    /// Largest distance in strides: each side of a box is a distribution over 0..=reg_max.
    pub reg_max: usize,
    /// The auxiliary branch, where the weights have one.
    pub auxiliary: Option<Auxiliary>,
}

/// The branch that assigns labels during training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auxiliary {
    /// Channels of its convolutions.
    pub channels: usize,
    /// Convolutions for classes, and as many for boxes.
    pub stacked: usize,
}

impl Network for NanoDetPlus {
    fn family(&self) -> &'static Family {
        &FAMILY
    }

    fn description(&self) -> String {
        let width = ShuffleNet::WIDTHS.iter().find(|(_, width)| *width == self.backbone);
        let width =
            width.map_or_else(|| format!("{:?}", self.backbone.stages), |(name, _)| (*name).to_owned());
        format!("nanodet-plus-{width}-{}", self.channels)
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn with_classes(&self, classes: usize) -> Model {
        NanoDetPlus { classes, ..self.clone() }.into()
    }

    fn inference_only(&self) -> Option<Model> {
        self.auxiliary.map(|_| NanoDetPlus { auxiliary: None, ..self.clone() }.into())
    }

    fn variables(&self) -> BTreeMap<&'static str, usize> {
        BTreeMap::from([("classes", self.classes), ("reg_max", self.reg_max)])
    }

    /// Bilinear upsampling doubles the deepest backbone level, stride 32, to meet the one before.
    fn size_divisor(&self) -> usize {
        32
    }

    /// In training form there is a second output, `aux_preds`, laid out like `preds`.
    fn write(&self, form: Form, net: &mut Scope<'_>, x: Value) {
        net.order(&["backbone", "fpn", "head", "aux_fpn", "aux_head"]);
        let features = net.module("backbone", |net| self.backbone.write(net, x, ACTIVATION));
        let pyramid = net.module("fpn", |net| self.ghost_pan(net, &features));
        let preds = net.module("head", |net| self.head(net, &pyramid));
        net.output("preds", preds);
        if let (Form::Training, Some(auxiliary)) = (form, self.auxiliary) {
            let second = net.module("aux_fpn", |net| self.ghost_pan(net, &features));
            let pairs = pyramid.iter().zip(second);
            let both: Vec<Value> = pairs.map(|(left, right)| net.concat(&[*left, right])).collect();
            let preds = net.module("aux_head", |net| self.auxiliary_head(net, &both, auxiliary));
            net.output("aux_preds", preds);
        }
    }

    /// Everything but the network and the size is the same in all of upstream's `config/nanodet-plus-*.yml`.
    fn facts(&self, size: Size) -> DetectorFacts {
        DetectorFacts {
            preprocessing: Preprocessing {
                size,
                resize: Resize::Stretch,
                channels: ChannelOrder::Bgr,
                scale: 255.0,
                mean: [103.53, 116.28, 123.675],
                std: [57.375, 57.12, 58.395],
                reciprocal: false,
            },
            head: Head {
                strides: self.strides(),
                classes: self.classes,
                surplus: 0,
                scores: Scores::Logits,
                sides: Sides::Distributions { reg_max: self.reg_max },
                cell_offset: 0.0,
                clip: true,
            },
            selection: SELECTION,
            evaluation: SELECTION,
        }
    }
}

impl NanoDetPlus {
    /// The network of upstream's `nanodet-plus-m_{320,416}.yml` with another backbone and number of channels.
    const fn like_upstream(backbone: ShuffleNet, channels: usize) -> NanoDetPlus {
        NanoDetPlus {
            backbone,
            channels,
            kernel: 5,
            levels: 4,
            stacked: 2,
            classes: 80,
            reg_max: 7,
            auxiliary: Some(Auxiliary { channels: 2 * channels, stacked: 4 }),
        }
    }

    /// `nanodet-plus-m`, the same for 320 and 416.
    pub const M: NanoDetPlus = NanoDetPlus::like_upstream(ShuffleNet::WIDTHS[1].1, 96);
    /// `nanodet-plus-m-1.5x`, the same for 320 and 416.
    pub const M_15: NanoDetPlus = NanoDetPlus::like_upstream(ShuffleNet::WIDTHS[2].1, 128);

    /// Strides of the levels in pixels.
    pub fn strides(&self) -> Vec<usize> {
        (0..self.levels).map(|level| FIRST_STRIDE << level).collect()
    }

    /// Outputs of one position: class logits, then four distributions.
    fn outputs(&self) -> usize {
        self.classes + self.box_outputs()
    }

    fn box_outputs(&self) -> usize {
        4 * (self.reg_max + 1)
    }

    /// Ghost path aggregation: down from the deepest level, up again, and one or more levels on top.
    fn ghost_pan(&self, net: &mut Scope<'_>, features: &[Value]) -> Vec<Value> {
        net.order(&["upsample", "reduce_layers", "top_down_blocks", "downsamples", "bottom_up_blocks"]);
        let reduced = features
            .iter()
            .enumerate()
            .map(|(level, x)| net.module(&format!("reduce_layers.{level}"), |net| self.pointwise(net, *x)));
        let reduced: Vec<Value> = reduced.collect();
        let Some((deepest, shallower)) = reduced.split_last() else {
            return Vec::new();
        };
        let mut going_up = vec![*deepest];
        let mut high = *deepest;
        for (block, low) in shallower.iter().rev().enumerate() {
            let size = net.size(high).map(|side| 2 * side);
            let larger = net.module("upsample", |net| net.resize(high, ResizeMode::Bilinear, size));
            let both = net.concat(&[larger, *low]);
            high = net.module(&format!("top_down_blocks.{block}"), |net| self.ghost_blocks(net, both));
            going_up.push(high);
        }
        let mut levels = vec![high];
        let mut low = high;
        for (block, high) in going_up.iter().rev().skip(1).enumerate() {
            let smaller = net.module(&format!("downsamples.{block}"), |net| self.depthwise(net, low, 2));
            let both = net.concat(&[smaller, *high]);
            low = net.module(&format!("bottom_up_blocks.{block}"), |net| self.ghost_blocks(net, both));
            levels.push(low);
        }
        for extra in 0..self.levels.saturating_sub(levels.len()) {
            let name = |side| format!("extra_lvl_{side}_conv.{extra}");
            let from_input = net.module(&name("in"), |net| self.depthwise(net, *deepest, 2));
            let from_output = net.module(&name("out"), |net| self.depthwise(net, low, 2));
            levels.push(net.add(from_input, from_output));
        }
        levels
    }

    /// 1x1 convolution, batch norm, activation.
    fn pointwise(&self, net: &mut Scope<'_>, x: Value) -> Value {
        let x = net.conv("conv", x, Conv::pointwise(self.channels));
        let x = net.batch_norm("bn", x, EPSILON, MOMENTUM);
        net.act("act", x, ACTIVATION)
    }

    /// Depthwise convolution, then 1x1, each with batch norm and the one activation module.
    fn depthwise(&self, net: &mut Scope<'_>, x: Value, stride: usize) -> Value {
        net.order(&["depthwise", "pointwise", "dwnorm", "pwnorm"]);
        let x = net.conv("depthwise", x, Conv::depthwise(net.channels(x), self.kernel).stride(stride));
        let x = net.batch_norm("dwnorm", x, EPSILON, MOMENTUM);
        let x = net.act("act", x, ACTIVATION);
        let x = net.conv("pointwise", x, Conv::pointwise(self.channels));
        let x = net.batch_norm("pwnorm", x, EPSILON, MOMENTUM);
        net.act("act", x, ACTIVATION)
    }

    fn ghost_blocks(&self, net: &mut Scope<'_>, x: Value) -> Value {
        net.module("blocks", |net| net.module("0", |net| self.ghost_bottleneck(net, x)))
    }

    /// Two ghost modules and a shortcut that brings the channels down (arXiv 1911.11907).
    fn ghost_bottleneck(&self, net: &mut Scope<'_>, x: Value) -> Value {
        let channels = self.channels;
        let ghost = net.module("ghost1", |net| ghost_module(net, x, channels, Some(ACTIVATION)));
        let ghost = net.module("ghost2", |net| ghost_module(net, ghost, channels, None));
        let shortcut = net.module("shortcut", |net| {
            let x = net.conv("0", x, Conv::depthwise(net.channels(x), self.kernel));
            let x = net.batch_norm("1", x, EPSILON, MOMENTUM);
            let x = net.conv("2", x, Conv::pointwise(channels));
            net.batch_norm("3", x, EPSILON, MOMENTUM)
        });
        net.add(ghost, shortcut)
    }

    /// Every level has its own blocks and one convolution for classes and boxes.
    fn head(&self, net: &mut Scope<'_>, pyramid: &[Value]) -> Value {
        net.order(&["distribution_project", "cls_convs", "gfl_cls"]);
        let bins = (0..=self.reg_max).map(|bin| bin as f64).collect();
        net.at("distribution_project").constant("project", bins);
        let levels = pyramid.iter().enumerate().map(|(level, x)| {
            let x = (0..self.stacked).fold(*x, |x, block| {
                net.module(&format!("cls_convs.{level}.{block}"), |net| self.depthwise(net, x, 1))
            });
            let preds = net.conv(&format!("gfl_cls.{level}"), x, Conv::pointwise(self.outputs()).biased());
            flatten(net, preds)
        });
        let levels: Vec<Value> = levels.collect();
        points_first(net, &levels)
    }

    /// One head for all levels: a tower for classes, one for boxes.
    fn auxiliary_head(&self, net: &mut Scope<'_>, pyramid: &[Value], auxiliary: Auxiliary) -> Value {
        let tower = |net: &mut Scope<'_>, name: &str, x: Value| {
            (0..auxiliary.stacked).fold(x, |x, layer| {
                net.module(&format!("{name}.{layer}"), |net| {
                    let x = net.conv("conv", x, Conv::same(auxiliary.channels, 3));
                    let x = net.group_norm("gn", x, AUXILIARY_GROUPS, EPSILON);
                    net.act("act", x, ACTIVATION)
                })
            })
        };
        net.order(&["cls_convs", "reg_convs", "gfl_cls", "gfl_reg", "scales"]);
        let levels = pyramid.iter().enumerate().map(|(level, x)| {
            let classes = tower(net, "cls_convs", *x);
            let boxes = tower(net, "reg_convs", *x);
            let classes = net.conv("gfl_cls", classes, Conv::same(self.classes, 3).biased());
            let boxes = net.conv("gfl_reg", boxes, Conv::same(self.box_outputs(), 3).biased());
            let boxes = net.scale(&format!("scales.{level}"), boxes);
            let preds = net.concat(&[classes, boxes]);
            flatten(net, preds)
        });
        let levels: Vec<Value> = levels.collect();
        points_first(net, &levels)
    }

    /// The configuration that the shapes of a checkpoint tell, by majority: one odd tensor does not change it.
    pub fn recognise(shapes: &Shapes) -> Option<NanoDetPlus> {
        let size = |name: String, axis: usize| shapes.size(&name, axis);
        let stage = |stage: usize| {
            let blocks = 1..*REPEATS.get(stage - 2)?;
            let halves = blocks.flat_map(|block| {
                [0, 1, 3, 4, 5, 6]
                    .map(|layer| format!("backbone.stage{stage}.{block}.branch2.{layer}.weight"))
            });
            vote(halves.map(|name| Some(2 * size(name, 0)?)))
        };
        let reduce = (0..3).map(|level| format!("fpn.reduce_layers.{level}"));
        let made = reduce.flat_map(|layer| {
            ["conv.weight", "bn.weight", "bn.bias"].map(|of| size(format!("{layer}.{of}"), 0))
        });
        let taken = (0..4).map(|level| size(format!("head.gfl_cls.{level}.weight"), 1));
        let channels = vote(made.chain(taken))?;
        // The convolution that makes the stem's channels, and those that take them.
        let made = ["0.weight", "1.weight", "1.bias"].map(|of| size(format!("backbone.conv1.{of}"), 0));
        let taken = [("1.0", 0), ("1.2", 1), ("2.0", 1)]
            .map(|(layer, axis)| size(format!("backbone.stage2.0.branch{layer}.weight"), axis));
        let stem = vote(made.into_iter().chain(taken))?;
        let kernel = vote(
            (0..2)
                .map(|i| size(format!("fpn.downsamples.{i}.depthwise.weight"), 2))
                .chain((0..4).map(|level| size(format!("head.cls_convs.{level}.0.depthwise.weight"), 2))),
        )?;
        let levels = vote(
            [
                "cls_convs.{}.0.pointwise.weight",
                "cls_convs.{}.0.dwnorm.weight",
                "gfl_cls.{}.weight",
                "gfl_cls.{}.bias",
            ]
            .map(|of| shapes.count(&format!("head.{of}"))),
        )?;
        let stacked = vote(
            (0..levels).map(|level| shapes.count(&format!("head.cls_convs.{level}.{{}}.pointwise.weight"))),
        )?;
        let bins = vote([
            size("head.distribution_project.project".to_owned(), 0),
            size("aux_head.gfl_reg.bias".to_owned(), 0).map(|sides| sides / 4),
            size("aux_head.gfl_reg.weight".to_owned(), 0).map(|sides| sides / 4),
        ])
        .unwrap_or(8);
        let outputs = (0..levels)
            .flat_map(|level| ["weight", "bias"].map(|of| size(format!("head.gfl_cls.{level}.{of}"), 0)));
        let auxiliary = ["weight", "bias"].map(|of| size(format!("aux_head.gfl_cls.{of}"), 0));
        let classes = vote(outputs.map(|outputs| outputs?.checked_sub(4 * bins)).chain(auxiliary))
            .filter(|n| *n > 0)?;
        Some(NanoDetPlus {
            backbone: ShuffleNet { stem, stages: [stage(2)?, stage(3)?, stage(4)?] },
            channels,
            kernel,
            levels,
            stacked,
            classes,
            reg_max: bins.checked_sub(1)?,
            auxiliary: Auxiliary::recognise(shapes),
        })
    }
}

impl Auxiliary {
    fn recognise(shapes: &Shapes) -> Option<Auxiliary> {
        let towers = ["cls_convs", "reg_convs"];
        let layers =
            towers.iter().flat_map(|tower| ["conv.weight", "gn.weight", "gn.bias"].map(|of| (tower, of)));
        let layers: Vec<_> = layers.collect();
        let counts = layers.iter().map(|(tower, of)| shapes.count(&format!("aux_head.{tower}.{{}}.{of}")));
        let stacked = vote(counts)?;
        let sizes = layers.iter().map(|(tower, of)| shapes.size(&format!("aux_head.{tower}.0.{of}"), 0));
        Some(Auxiliary { channels: vote(sizes)?, stacked })
    }
}

/// Half the channels by a 1x1 convolution, the other half from those by a cheap depthwise one
/// (arXiv 1911.11907).
fn ghost_module(net: &mut Scope<'_>, x: Value, channels: usize, activation: Option<Activation>) -> Value {
    let half = channels.div_ceil(2);
    let mut layer = |name: &str, x: Value, conv: Conv| {
        net.module(name, |net| {
            let x = net.conv("0", x, conv);
            let x = net.batch_norm("1", x, EPSILON, MOMENTUM);
            activation.map_or(x, |activation| net.act("2", x, activation))
        })
    };
    let primary = layer("primary_conv", x, Conv::pointwise(half));
    let cheap = layer("cheap_operation", primary, Conv::depthwise(half, 3));
    net.concat(&[primary, cheap])
}
