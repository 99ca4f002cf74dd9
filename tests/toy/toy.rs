//! Toy: one convolution that sees 8x8 pixels, and a head on it.

use crate::graph::{Activation, Conv, Scope, Value};
use crate::models::points::{flatten, points_first};
use crate::models::{
    ChannelOrder, ClassShift, DetectorFacts, Family, Form, Frame, Head, Model, Network, Preprocessing,
    Preset, Resize, Scores, Selection, Shapes, Sides, Size, vote,
};

/// What `port models` lists and a checkpoint is compared with.
pub const FAMILY: Family = Family {
    name: "toy",
    paper: "arXiv 0000.00000",
    source: "github.com/me/toy, commit 0123abc",
    presets: &[Preset {
        name: "toy-16",
        make: || Toy { channels: 16, classes: 3 }.into(),
        size: Size::square(64),
    }],
    recognise: |shapes| Toy::recognise(shapes).map(Model::from),
};

/// Everything that shapes depend on.
#[derive(Debug, Clone, PartialEq)]
pub struct Toy {
    /// Channels of the stem.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
}

/// Pixels between neighbouring points.
const STRIDE: usize = 8;
/// The largest distance of a box side, in strides.
const REG_MAX: usize = 3;

impl Network for Toy {
    fn family(&self) -> &'static Family {
        &FAMILY
    }

    fn description(&self) -> String {
        format!("toy-{}", self.channels)
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn with_classes(&self, classes: usize) -> Model {
        Toy { classes, ..self.clone() }.into()
    }

    fn write(&self, _: Form, net: &mut Scope<'_>, x: Value) {
        let x = net.module("stem", |net| {
            let patches =
                Conv { kernel: [STRIDE; 2], padding: [0; 2], ..Conv::same(self.channels, 1).stride(STRIDE) };
            let x = net.conv("conv", x, patches);
            let x = net.batch_norm("bn", x, 1e-5, 0.1);
            net.act("act", x, Activation::Relu)
        });
        let x = net.module("head", |net| {
            let columns = self.classes + Sides::Distributions { reg_max: REG_MAX }.columns();
            let x = net.conv("preds", x, Conv::pointwise(columns).biased());
            let level = flatten(net, x);
            points_first(net, &[level])
        });
        net.output("preds", x);
    }

    fn facts(&self, size: Size) -> DetectorFacts {
        let selection = Selection {
            best_of_level: None,
            score_threshold: 0.05,
            max_candidates: None,
            nms_iou: 0.6,
            class_shift: ClassShift::LargestCoordinate { below: 10_000 },
            frame: Frame::Input,
            max_detections: 100,
        };
        DetectorFacts {
            preprocessing: Preprocessing {
                size,
                resize: Resize::Letterbox { multiple: STRIDE, border: 114 },
                channels: ChannelOrder::Rgb,
                scale: 255.0,
                mean: [0.0; 3],
                std: [255.0; 3],
                reciprocal: false,
            },
            head: Head {
                strides: vec![STRIDE],
                classes: self.classes,
                surplus: 0,
                scores: Scores::Logits,
                sides: Sides::Distributions { reg_max: REG_MAX },
                cell_offset: 0.5,
                clip: true,
            },
            evaluation: selection.clone(),
            selection,
        }
    }
}

impl Toy {
    /// By majority, so that one odd tensor is reported and does not make another network of it.
    fn recognise(shapes: &Shapes) -> Option<Toy> {
        let channels =
            ["stem.conv.weight", "stem.bn.weight", "stem.bn.bias"].map(|name| shapes.size(name, 0));
        let columns = ["head.preds.weight", "head.preds.bias"].map(|name| shapes.size(name, 0));
        let classes = vote(columns)?.checked_sub(Sides::Distributions { reg_max: REG_MAX }.columns())?;
        Some(Toy { channels: vote(channels)?, classes })
    }
}
