//! Gold-YOLO (arXiv 2309.11331): YOLOv6's backbone and head with a neck that gathers all levels and gives back to
//! each. Rebuilt from the papers and from what the original's networks are seen to hold and to compute;
//! names and shapes are those of huawei-noah/Efficient-Computing, `Detection/Gold-YOLO`, files of 2023-09-18.

mod blocks;
mod head;
mod neck;
mod recognise;

use crate::graph::{Scope, Value};
use crate::models::{
    ChannelOrder, ClassShift, DetectorFacts, Family, Form, Frame, Head as Layout, Model, Network,
    Preprocessing, Preset, Resize, Scores, Selection, Sides, Size,
};

/// Gold-YOLO.
pub const FAMILY: Family = Family {
    name: "gold-yolo",
    paper: "arXiv 2309.11331",
    source: "github.com/huawei-noah/Efficient-Computing, Detection/Gold-YOLO, files of 2023-09-18",
    presets: &[
        Preset { name: "gold-yolo-n", make: || GoldYolo::N.into(), size: Size::square(640) },
        Preset { name: "gold-yolo-s", make: || GoldYolo::S.into(), size: Size::square(640) },
        Preset { name: "gold-yolo-m", make: || GoldYolo::M.into(), size: Size::square(640) },
        Preset { name: "gold-yolo-l", make: || GoldYolo::L.into(), size: Size::square(640) },
    ],
    recognise: |shapes| GoldYolo::recognise(shapes).map(Model::from),
};

/// Largest distance in strides; a side's distribution is over 0..=16. No upstream configuration changes it, for
/// `build_effidehead_layer` does not hand it to the head.
pub const REG_MAX: usize = 16;

/// `infer.py` of the original, with the limits of its `non_max_suppression`.
const SELECTION: Selection = Selection {
    best_of_level: None,
    score_threshold: 0.4,
    max_candidates: Some(30_000),
    nms_iou: 0.45,
    class_shift: ClassShift::Pixels(4096.0),
    frame: Frame::Input,
    max_detections: 1000,
};

/// Strides of the levels in pixels.
const STRIDES: [usize; 3] = [8, 16, 32];

/// The basic 3x3 block (upstream's `training_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Block {
    /// RepVGG: three branches, ReLU (`repvgg`).
    RepVgg,
    /// One convolution, SiLU (`conv_silu`).
    ConvSilu,
}

/// Share of a split stage's channels that each of its halves has (`csp_e`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expansion {
    /// One half.
    Half,
    /// Two thirds.
    TwoThirds,
}

impl Expansion {
    /// Python's `int(channels * csp_e)`.
    fn of_channels(self, channels: usize) -> usize {
        let share = match self {
            Expansion::Half => 0.5,
            Expansion::TwoThirds => 2.0 / 3.0,
        };
        (channels as f64 * share) as usize
    }
}

/// How blocks are put together, in the backbone and in the neck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// One after another (`EfficientRep`, `RepGDNeck`).
    Plain,
    /// In pairs on one of two halves of the channels (`CSPBepBackbone`, `GDNeck`).
    Split(Expansion),
}

/// What the last level of the neck pools beside its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LastLevel {
    /// The finished level before it (`RepGDNeck`, `GDNeck`).
    FromOutput,
    /// The same level before the second gathering (`GDNeck2`).
    FromFeatures,
}

/// The heads that upstream trains with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Head {
    /// One branch (`effidehead`).
    Plain,
    /// A second branch that predicts from anchors, for training alone (`effidehead_fuseab`).
    FuseAb,
    /// A second branch that predicts the distances that count, the first being for distillation alone
    /// (`effidehead_distill_ns`).
    DistillNs,
}

/// A Gold-YOLO network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoldYolo {
    /// Channels of the backbone's stem and of its stages at strides 4, 8, 16 and 32.
    pub backbone: [usize; 5],
    /// Blocks in each stage of the backbone; pairs of blocks where stages are split.
    pub backbone_blocks: [usize; 4],
    /// Channels of the neck's levels p4, p3, n4 and n5, in the order in which they are made.
    pub neck: [usize; 4],
    /// Blocks, or pairs of blocks, in each level of the neck.
    pub neck_blocks: usize,
    /// Channels at which the larger maps are fused (`embed_dim_p`).
    pub fusion: usize,
    /// Blocks of attention that fuse the smaller maps (`depths`).
    pub attention_blocks: usize,
    /// Heads of the attention.
    pub heads: usize,
    /// The basic block.
    pub block: Block,
    /// How blocks are put together.
    pub stage: Stage,
    /// What the last level pools.
    pub last_level: LastLevel,
    /// The head.
    pub head: Head,
    /// Whether distances are predicted as distributions (`use_dfl`).
    pub dfl: bool,
    /// Number of classes.
    pub classes: usize,
}

impl Network for GoldYolo {
    fn family(&self) -> &'static Family {
        &FAMILY
    }

    /// The variant, and what differs from it.
    fn description(&self) -> String {
        let presets = [("n", GoldYolo::N), ("s", GoldYolo::S), ("m", GoldYolo::M), ("l", GoldYolo::L)];
        let like = |preset: &GoldYolo| GoldYolo { block: self.block, ..self.with_head_of(preset) } == *self;
        let variant = presets.iter().find(|(_, preset)| like(preset));
        let mut words = vec![variant.map_or_else(
            || format!("gold-yolo-{}", self.backbone.map(|channels| channels.to_string()).join("-")),
            |(name, _)| format!("gold-yolo-{name}"),
        )];
        let block = match self.block {
            Block::RepVgg => "RepVGG",
            Block::ConvSilu => "conv_silu",
        };
        words.extend(variant.is_none_or(|(_, preset)| preset.block != self.block).then(|| block.to_owned()));
        words.push(if self.dfl { "DFL" } else { "no DFL" }.to_owned());
        words.extend(match self.head {
            Head::Plain => None,
            Head::FuseAb => Some("fuse_ab head".to_owned()),
            Head::DistillNs => Some("distill_ns head".to_owned()),
        });
        words.join(", ")
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn with_classes(&self, classes: usize) -> Model {
        GoldYolo { classes, ..self.clone() }.into()
    }

    /// Outputs:
    /// - `preds`, `[N, points, classes + 4]`: probabilities, then the distances left, top, right, bottom in strides;
    ///   points level by level (strides 8, 16, 32), row by row;
    ///
    /// and in training form, for losses:
    /// - `regression`, `[N, points, 4 or 4 * 17]`: what `reg_preds` gives, distributions as logits side by side;
    /// - of [`Head::FuseAb`], `ab_scores`, `[N, 3 * points, classes]`: probabilities, and `ab_regression`, `[.., 4]`:
    ///   what `reg_preds_ab` gives; level by level, anchor by anchor.
    fn write(&self, form: Form, net: &mut Scope<'_>, x: Value) {
        let features = self.backbone(&mut net.at("backbone"), x);
        let levels = self.neck(&mut net.at("neck"), features);
        for (level, x) in levels.iter().enumerate() {
            net.name(&format!("output.neck.{level}"), *x);
        }
        let outputs = self.head(&mut net.at("detect"), form, levels);
        for (name, value) in outputs {
            net.output(name, value);
        }
    }

    /// Detection as in the original's `infer.py`, evaluation as in its `eval.py`.
    fn facts(&self, size: Size) -> DetectorFacts {
        DetectorFacts {
            preprocessing: Preprocessing {
                size,
                resize: Resize::Letterbox { multiple: 32, border: 114 },
                channels: ChannelOrder::Rgb,
                scale: 255.0,
                mean: [0.0; 3],
                std: [255.0; 3],
                reciprocal: false,
            },
            head: Layout {
                strides: STRIDES.to_vec(),
                classes: self.classes,
                surplus: 0,
                scores: Scores::Probabilities,
                sides: Sides::Distances,
                cell_offset: 0.5,
                clip: false,
            },
            selection: SELECTION,
            evaluation: Selection { score_threshold: 0.03, nms_iou: 0.65, max_detections: 300, ..SELECTION },
        }
    }
}

impl GoldYolo {
    /// `gold_yolo-n`: width 0.25, depth 0.33.
    pub const N: GoldYolo = GoldYolo {
        backbone: [16, 32, 64, 128, 256],
        backbone_blocks: [2, 4, 6, 2],
        neck: [64, 32, 64, 128],
        neck_blocks: 4,
        fusion: 96,
        attention_blocks: 2,
        heads: 4,
        block: Block::RepVgg,
        stage: Stage::Plain,
        last_level: LastLevel::FromOutput,
        head: Head::Plain,
        dfl: false,
        classes: 80,
    };
    /// `gold_yolo-s`: width 0.5, depth 0.33.
    pub const S: GoldYolo = GoldYolo {
        backbone: [32, 64, 128, 256, 512],
        neck: [128, 64, 128, 256],
        fusion: 128,
        dfl: true,
        ..GoldYolo::N
    };
    /// `gold_yolo-m`: width 0.75, depth 0.6.
    pub const M: GoldYolo = GoldYolo {
        backbone: [48, 96, 192, 384, 768],
        backbone_blocks: [2, 3, 5, 2],
        neck: [192, 96, 192, 384],
        neck_blocks: 3,
        fusion: 192,
        stage: Stage::Split(Expansion::TwoThirds),
        ..GoldYolo::S
    };
    /// `gold_yolo-l`: width 1, depth 1.
    pub const L: GoldYolo = GoldYolo {
        backbone: [64, 128, 256, 512, 1024],
        backbone_blocks: [3, 6, 9, 3],
        neck: [256, 128, 256, 512],
        neck_blocks: 6,
        fusion: 192,
        attention_blocks: 3,
        heads: 8,
        block: Block::ConvSilu,
        stage: Stage::Split(Expansion::Half),
        last_level: LastLevel::FromFeatures,
        ..GoldYolo::S
    };

    /// `other` with this one's head and classes.
    fn with_head_of(&self, other: &GoldYolo) -> GoldYolo {
        let GoldYolo { head, dfl, classes, .. } = *self;
        GoldYolo { head, dfl, classes, ..other.clone() }
    }

    /// The levels at strides 4, 8, 16 and 32.
    fn backbone(&self, net: &mut Scope<'_>, x: Value) -> [Value; 4] {
        let [stem, c2, c3, c4, c5] = self.backbone;
        let [b2, b3, b4, b5] = self.backbone_blocks;
        let x = self.block(net, "stem", x, stem, 2);
        let stage = |net: &mut Scope<'_>, x: Value, out: usize, blocks: usize| {
            let x = self.block(net, "0", x, out, 2);
            self.stage(net, "1", x, out, blocks)
        };
        let level2 = net.module("ERBlock_2", |net| stage(net, x, c2, b2));
        let level3 = net.module("ERBlock_3", |net| stage(net, level2, c3, b3));
        let level4 = net.module("ERBlock_4", |net| stage(net, level3, c4, b4));
        let level5 = net.module("ERBlock_5", |net| {
            let x = stage(net, level4, c5, b5);
            net.module("2", |net| self.pyramid_pooling(net, x))
        });
        [level2, level3, level4, level5]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Upstream's rules: channels ceil(width * n / 8) * 8, repeats round(depth * n), half of them where they are pairs.
    #[test]
    fn widths_and_depths_follow_from_the_multiples() {
        let presets = [
            (GoldYolo::N, 0.25, 0.33),
            (GoldYolo::S, 0.5, 0.33),
            (GoldYolo::M, 0.75, 0.6),
            (GoldYolo::L, 1.0, 1.0),
        ];
        for (network, width, depth) in presets {
            let channels = |n: usize| (width * n as f64 / 8.0).ceil() as usize * 8;
            let blocks = |n: usize| {
                let repeats = (depth * n as f64).round_ties_even() as usize;
                if network.stage == Stage::Plain { repeats } else { repeats / 2 }
            };
            assert_eq!(network.backbone, [64, 128, 256, 512, 1024].map(channels));
            assert_eq!(network.backbone_blocks, [6, 12, 18, 6].map(blocks));
            assert_eq!(network.neck, [256, 128, 256, 512].map(channels));
            assert_eq!(network.neck_blocks, blocks(12));
        }
    }

    #[test]
    fn every_size_makes_points_for_every_cell() {
        for (height, width) in [(64, 160), (97, 33), (1, 1), (8, 250)] {
            let graph = Model::from(GoldYolo::N).graph(Form::Inference, [2, 3, height, width]).unwrap();
            let cells = [8, 16, 32].map(|stride| height.div_ceil(stride) * usize::div_ceil(width, stride));
            let preds = graph.output("preds").unwrap();
            assert_eq!(graph.node(preds).unwrap().shape, [2, cells.iter().sum(), 84]);
        }
    }
}
