//! GFocalV2 (arXiv 2011.12885) and GFL (arXiv 2006.04388): a ResNet, a feature pyramid, and one head for all levels
//! whose box sides are distributions; in version 2 the shape of these tells how good a box is
//! (github.com/implus/GFocalV2, checked against commit bfcc2b9).

use std::collections::BTreeMap;

use crate::graph::{Activation, Conv, ResizeMode, Scope, Value};
use crate::models::evidence::{Shapes, vote};
use crate::models::fpn::{ExtraLevels, Fpn};
use crate::models::points::{flatten, points_first};
use crate::models::resnet::{Block, ResNet};
use crate::models::{
    ChannelOrder, ClassShift, DetectorFacts, Family, Form, Frame, Head, Model, Network, Preprocessing,
    Preset, Resize, Scores, Selection, Sides, Size,
};

/// The pictures of upstream's `test_pipeline`: at most 1333 along the longer side and 800 along the shorter.
const USUAL_SIZE: Size = Size { width: 1333, height: 800 };

/// GFocalV2, with GFL as its first version.
pub const FAMILY: Family = Family {
    name: "gfocal-v2",
    paper: "arXiv 2011.12885",
    source: "github.com/implus/GFocalV2, commit bfcc2b9",
    presets: &[
        Preset {
            name: "gfocal-r50-fpn",
            make: || GFocalV2::on(ResNet::of_depth(50)).into(),
            size: USUAL_SIZE,
        },
        Preset {
            name: "gfocal-r101-fpn",
            make: || GFocalV2::on(ResNet::of_depth(101)).into(),
            size: USUAL_SIZE,
        },
        Preset { name: "gfocal-r101-dcn-fpn", make: || GFocalV2::on(R101_DCN).into(), size: USUAL_SIZE },
        Preset { name: "gfocal-x101-dcn-fpn", make: || GFocalV2::on(X101_DCN).into(), size: USUAL_SIZE },
        Preset { name: "gfocal-r2n101-dcn-fpn", make: || GFocalV2::on(R2N101_DCN).into(), size: USUAL_SIZE },
        Preset { name: "gfl-r50-fpn", make: || GFocalV2::v1(ResNet::of_depth(50)).into(), size: USUAL_SIZE },
        Preset { name: "gfl-r50-liangheming", make: || GFocalV2::liangheming().into(), size: USUAL_SIZE },
    ],
    recognise: |shapes| GFocalV2::recognise(shapes).map(Model::from),
};

/// `gfocal_r101_dcn_fpn_ms2x.py`: stages 2 to 4 are deformable.
const R101_DCN: ResNet = ResNet::of_depth(101).deformed_from(1);
/// `gfocal_x101_dcn_fpn_ms2x.py`: ResNeXt 32x4d, stages 3 and 4 deformable.
const X101_DCN: ResNet =
    ResNet::of_depth(101).with_block(Block::Bottleneck { groups: 32, width: 4 }).deformed_from(2);
/// `gfocal_r2n101_dcn_fpn_ms2x.py`: Res2Net v1d 26w x 4s, stages 3 and 4 deformable.
const R2N101_DCN: ResNet = ResNet { deep: true, ..ResNet::of_depth(101) }
    .with_block(Block::Res2Net { scales: 4, width: 26 })
    .deformed_from(2);

/// `test_cfg` of every configuration; overlaps are compared with the f32 nearest to 0.6.
const SELECTION: Selection = Selection {
    best_of_level: Some(1000),
    score_threshold: 0.05,
    max_candidates: None,
    nms_iou: 0.6_f32 as f64,
    class_shift: ClassShift::LargestCoordinate { below: 10_000 },
    frame: Frame::Picture,
    max_detections: 100,
};

/// Stride of the first level in pixels; every further level doubles it.
const FIRST_STRIDE: usize = 8;
/// Groups of the towers' group norms.
const GROUPS: usize = 32;
/// PyTorch's epsilon of group norms.
const EPSILON: f64 = 1e-5;

/// A GFocalV2 or GFL network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GFocalV2 {
    /// The backbone.
    pub backbone: ResNet,
    /// The pyramid on the backbone's last three stages; its first level is at stride 8.
    pub neck: Fpn,
    /// Channels of the head's towers.
    pub channels: usize,
    /// Convolutions of each tower.
    pub stacked: usize,
    /// Whether these have a bias beside the group norm.
    pub tower_bias: bool,
    /// Number of classes.
    pub classes: usize,
    /// Largest distance in strides: each side of a box is a distribution over 0..=reg_max.
    pub reg_max: usize,
    /// How the quality of a box is told from its distributions; `None` in version 1.
    pub quality: Option<Quality>,
    /// Whether a point is the centre of its cell; otherwise it is the top left corner.
    pub centred: bool,
}

/// The network that tells the quality of a box from the largest values of its four distributions and their mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality {
    /// Largest values of each distribution.
    pub top: usize,
    /// Channels of the hidden layer.
    pub channels: usize,
}

/// What training leaves as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// Modules whose parameters have no gradient and whose batch norms use their running statistics.
    pub modules: Vec<String>,
    /// Modules whose batch norms use their running statistics, while their weights and biases are trained.
    pub statistics: Vec<String>,
}

impl Network for GFocalV2 {
    fn family(&self) -> &'static Family {
        &FAMILY
    }

    fn description(&self) -> String {
        let version = if self.quality.is_some() { "gfocal" } else { "gfl" };
        let extra = match self.neck.extra {
            _ if self.tower_bias => "-liangheming",
            ExtraLevels::OnInput => "-on-input",
            ExtraLevels::OnOutput => "",
        };
        format!("{version}-{}-fpn{extra}-{}", self.backbone.description(), self.neck.channels)
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn with_classes(&self, classes: usize) -> Model {
        GFocalV2 { classes, ..self.clone() }.into()
    }

    fn variables(&self) -> BTreeMap<&'static str, usize> {
        BTreeMap::from([("classes", self.classes), ("reg_max", self.reg_max)])
    }

    /// Class columns are probabilities in version 2 and logits in version 1; distances are logits, scaled.
    fn write(&self, _: Form, net: &mut Scope<'_>, x: Value) {
        net.order(&["backbone", "neck", "bbox_head"]);
        let features = net.module("backbone", |net| self.backbone.write(net, x));
        let features = features.get(1..).unwrap_or_default();
        let pyramid = net.module("neck", |net| self.neck.write(net, features));
        let levels = self.head(&mut net.at("bbox_head"), &pyramid);
        let flat = levels.iter().enumerate().map(|(level, (scores, boxes))| {
            net.name(&format!("output.cls_score.{level}"), *scores);
            net.name(&format!("output.bbox_pred.{level}"), *boxes);
            let both = net.concat(&[*scores, *boxes]);
            flatten(net, both)
        });
        let flat: Vec<Value> = flat.collect();
        let preds = points_first(net, &flat);
        net.output("preds", preds);
    }

    /// Upstream's `test_pipeline` and `test_cfg`, the same in all configurations. Of liangheming's network only the
    /// places of the points are its own; it is shown the same pictures, and the same boxes count.
    fn facts(&self, size: Size) -> DetectorFacts {
        let is_v2 = self.quality.is_some();
        DetectorFacts {
            preprocessing: Preprocessing {
                size,
                resize: Resize::Fit { multiple: 32 },
                channels: ChannelOrder::Rgb,
                scale: 1.0,
                mean: [123.675, 116.28, 103.53],
                std: [58.395, 57.12, 57.375],
                reciprocal: true,
            },
            head: Head {
                strides: self.strides(),
                classes: self.classes,
                surplus: self.surplus(),
                scores: if is_v2 { Scores::Probabilities } else { Scores::Logits },
                sides: Sides::Distributions { reg_max: self.reg_max },
                cell_offset: if self.centred { 0.5 } else { 0.0 },
                clip: true,
            },
            selection: SELECTION,
            evaluation: SELECTION,
        }
    }
}

impl GFocalV2 {
    /// The network of upstream's `gfocal_*_fpn_*.py` on a backbone.
    pub const fn on(backbone: ResNet) -> GFocalV2 {
        GFocalV2 { quality: Some(Quality { top: 4, channels: 64 }), ..GFocalV2::v1(backbone) }
    }

    /// GFL as in mmdetection's `configs/gfl` on a backbone.
    pub const fn v1(backbone: ResNet) -> GFocalV2 {
        GFocalV2 {
            backbone,
            neck: Fpn {
                channels: 256,
                levels: 5,
                extra: ExtraLevels::OnOutput,
                relu_between: false,
                top_down: ResizeMode::Nearest,
            },
            channels: 256,
            stacked: 4,
            tower_bias: false,
            classes: 80,
            reg_max: 16,
            quality: None,
            centred: false,
        }
    }

    /// The ResNet-50 of github.com/liangheming/gfocal, commit b1214e6, in whose towers convolutions have biases.
    pub const fn liangheming() -> GFocalV2 {
        GFocalV2::v1(ResNet::of_depth(50)).in_liangheming_form()
    }

    const fn in_liangheming_form(self) -> GFocalV2 {
        let neck = Fpn {
            extra: ExtraLevels::OnInput,
            relu_between: true,
            top_down: ResizeMode::BilinearAlignCorners,
            ..self.neck
        };
        GFocalV2 { neck, tower_bias: true, centred: true, ..self }
    }

    /// Strides of the levels in pixels.
    pub fn strides(&self) -> Vec<usize> {
        std::iter::successors(Some(FIRST_STRIDE), |stride| stride.checked_mul(2))
            .take(self.neck.levels)
            .collect()
    }

    /// What upstream's configurations keep from training: `frozen_stages=1` and `norm_eval=True`.
    pub fn frozen(&self) -> Frozen {
        let modules = self.backbone.frozen_modules(1).into_iter().map(|module| format!("backbone.{module}"));
        Frozen { modules: modules.collect(), statistics: vec!["backbone".to_owned()] }
    }

    /// Upstream's version 2 has a channel of scores for the background (`use_sigmoid=False`), whose author calls it
    /// redundant (implus/GFocalV2, issue 12).
    fn surplus(&self) -> usize {
        usize::from(self.quality.is_some())
    }

    /// Scores and scaled distributions of every level.
    fn head(&self, net: &mut Scope<'_>, pyramid: &[Value]) -> Vec<(Value, Value)> {
        net.order(&["cls_convs", "reg_convs", "gfl_cls", "gfl_reg", "scales"]);
        let scores = Conv::same(self.classes + self.surplus(), 3).biased();
        let sides = Conv::same(4 * (self.reg_max + 1), 3).biased();
        let levels = pyramid.iter().enumerate().map(|(level, x)| {
            let classes = self.tower(net, "cls_convs", *x);
            let boxes = self.tower(net, "reg_convs", *x);
            let logits = net.conv("gfl_cls", classes, scores);
            let boxes = net.conv("gfl_reg", boxes, sides);
            let boxes = net.scale(&format!("scales.{level}"), boxes);
            let Some(quality) = self.quality else { return (logits, boxes) };
            let quality = self.quality(net, boxes, quality);
            let scores = net.act("sigmoid", logits, Activation::Sigmoid);
            (net.multiply(scores, quality), boxes)
        });
        let levels = levels.collect();
        let bins = (0..=self.reg_max).map(|bin| bin as f64).collect();
        net.at("integral").constant("project", bins);
        levels
    }

    fn tower(&self, net: &mut Scope<'_>, name: &str, x: Value) -> Value {
        let conv = Conv { bias: self.tower_bias, ..Conv::same(self.channels, 3) };
        (0..self.stacked).fold(x, |x, layer| {
            net.module(&format!("{name}.{layer}"), |net| {
                let x = net.conv("conv", x, conv);
                let x = net.group_norm("gn", x, GROUPS, EPSILON);
                net.act("activate", x, Activation::Relu)
            })
        })
    }

    /// The quality of each box, `[N, 1, H, W]`: flat distributions tell that its sides are uncertain.
    fn quality(&self, net: &mut Scope<'_>, boxes: Value, quality: Quality) -> Value {
        let (images, [height, width]) = (net.shape(boxes).first().copied().unwrap_or(0), net.size(boxes));
        let sides = net.reshape(boxes, &[images, 4, self.reg_max + 1, height, width]);
        let sides = net.softmax(sides, 2);
        let largest = net.top_k(sides, 2, quality.top);
        let mean = net.mean(largest, 2);
        let statistics = net.concat_along(2, &[largest, mean]);
        let statistics = net.reshape(statistics, &[images, 4 * (quality.top + 1), height, width]);
        net.name("statistics", statistics);
        net.module("reg_conf", |net| {
            let x = net.conv("0", statistics, Conv::pointwise(quality.channels).biased());
            let x = net.act("1", x, Activation::Relu);
            let x = net.conv("2", x, Conv::pointwise(1).biased());
            net.act("3", x, Activation::Sigmoid)
        })
    }

    /// The configuration that the shapes of a checkpoint tell, by majority: one odd tensor does not change it.
    pub fn recognise(shapes: &Shapes) -> Option<GFocalV2> {
        let backbone = ResNet::recognise(shapes, "backbone.")?;
        let levels = shapes.count("bbox_head.scales.{}.scale");
        let neck = Fpn::recognise(shapes, "neck.", backbone.stage_channels(3), levels)?;
        let quality = Quality::recognise(shapes);
        let towers = ["cls_convs", "reg_convs"];
        let layers: Vec<String> = towers
            .iter()
            .flat_map(|tower| {
                ["conv.weight", "gn.weight", "gn.bias"].map(|of| format!("bbox_head.{tower}.{{}}.{of}"))
            })
            .collect();
        let stacked = vote(layers.iter().map(|layer| shapes.count(layer)))?;
        let biases =
            (0..stacked).flat_map(|layer| towers.map(|tower| format!("bbox_head.{tower}.{layer}.conv.bias")));
        let has_biases = vote(biases.map(|bias| Some(shapes.size(&bias, 0).is_some())))?;
        // A bias cannot be transposed: of two answers it gives the better one.
        let outputs =
            |layer: &str| ["bias", "weight"].map(|of| shapes.size(&format!("bbox_head.{layer}.{of}"), 0));
        let sides = outputs("gfl_reg").map(|columns| Some(columns? / 4));
        let bins = vote(sides.into_iter().chain([shapes.size("bbox_head.integral.project", 0)]))?;
        let config = GFocalV2 {
            neck,
            channels: vote(layers.iter().map(|layer| shapes.size(&layer.replace("{}", "0"), 0)))?,
            stacked,
            classes: vote(outputs("gfl_cls"))?
                .checked_sub(usize::from(quality.is_some()))
                .filter(|n| *n > 0)?,
            reg_max: bins.checked_sub(1)?,
            quality,
            ..GFocalV2::v1(backbone)
        };
        Some(if has_biases { config.in_liangheming_form() } else { config })
    }
}

impl Quality {
    fn recognise(shapes: &Shapes) -> Option<Quality> {
        let size = |of: &str, axis| shapes.size(&format!("bbox_head.reg_conf.{of}"), axis);
        let present = ["0.weight", "0.bias", "2.weight", "2.bias"].map(|of| Some(size(of, 0).is_some()));
        vote(present).filter(|is_present| *is_present)?;
        let statistics =
            size("0.weight", 1).and_then(|maps| (maps / 4).checked_sub(1)).filter(|top| *top > 0);
        let channels = vote([size("0.bias", 0), size("0.weight", 0), size("2.weight", 1)])?;
        Some(Quality { top: statistics.unwrap_or(4), channels })
    }
}
