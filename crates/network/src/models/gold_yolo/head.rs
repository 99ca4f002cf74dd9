//! Gold-YOLO's head (YOLOv6's, arXiv 2301.05586): classes and boxes of every point of three levels.

use super::blocks::conv_act;
use super::{GoldYolo, Head, REG_MAX};
use crate::graph::{Activation, Conv, Scope, Value};
use crate::models::Form;
use crate::models::points::flatten;

/// Anchors of each point in the branch of [`Head::FuseAb`].
pub(super) const ANCHORS: usize = 3;

/// Named results of the network.
type Outputs = Vec<(&'static str, Value)>;

/// The features of a level that predictions are made of.
#[derive(Clone, Copy)]
struct Tower {
    classes: Value,
    boxes: Value,
}

impl GoldYolo {
    /// Writes the head.
    pub(super) fn head(&self, net: &mut Scope<'_>, form: Form, levels: [Value; 3]) -> Outputs {
        net.order(&["proj_conv", "stems", "cls_convs", "reg_convs"]);
        net.constant("proj", bins());
        net.at("proj_conv").constant_of("weight", &[1, REG_MAX + 1, 1, 1], bins());
        let towers: Vec<Tower> = levels.iter().enumerate().map(|(level, x)| tower(net, level, *x)).collect();
        let (classes_of, boxes_of) = self.head.names();
        let scores = class_maps(net, classes_of, &towers, self.classes);
        let scores = net.activation(scores, Activation::Sigmoid);

        let training = form == Form::Training;
        let regression = (training || self.head != Head::DistillNs)
            .then(|| box_maps(net, boxes_of, &towers, self.regression_channels()));
        let distances = match (self.head, regression) {
            (Head::Plain | Head::FuseAb, Some(regression)) if self.dfl => expectation(net, regression),
            (Head::Plain | Head::FuseAb, Some(regression)) => regression,
            _ => box_maps(net, "reg_preds_lrtb", &towers, 4),
        };
        let both = net.concat(&[scores, distances]);
        let mut outputs = vec![("preds", net.transpose(both, &[0, 2, 1]))];
        if let (true, Some(regression)) = (training, regression) {
            outputs.push(("regression", net.transpose(regression, &[0, 2, 1])));
        }
        if training && self.head == Head::FuseAb {
            outputs.extend(self.anchor_branch(net, &towers));
        }
        outputs
    }

    /// Channels of `reg_preds`: four distances, or their distributions.
    fn regression_channels(&self) -> usize {
        if self.dfl { 4 * (REG_MAX + 1) } else { 4 }
    }

    /// The branch that predicts from anchors: `[N, anchors of all points, classes]` probabilities and `[.., 4]`
    /// as the layers give them.
    fn anchor_branch(&self, net: &mut Scope<'_>, towers: &[Tower]) -> Outputs {
        let mut all = |name: &str, of: fn(&Tower) -> Value, values: usize| {
            let levels = towers.iter().enumerate().map(|(level, tower)| {
                let conv = Conv::pointwise(ANCHORS * values).biased();
                let x = net.conv(&format!("{name}.{level}"), of(tower), conv);
                anchors_first(net, x, values)
            });
            let levels: Vec<Value> = levels.collect();
            net.concat(&levels)
        };
        let scores = all("cls_preds_ab", |tower| tower.classes, self.classes);
        let boxes = all("reg_preds_ab", |tower| tower.boxes, 4);
        let scores = net.activation(scores, Activation::Sigmoid);
        vec![("ab_scores", scores), ("ab_regression", boxes)]
    }
}

impl Head {
    /// The layers that predict classes and boxes of points.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Head::FuseAb => ("cls_preds_af", "reg_preds_af"),
            Head::Plain | Head::DistillNs => ("cls_preds", "reg_preds"),
        }
    }
}

/// The bins of a distribution.
fn bins() -> Vec<f64> {
    (0..=REG_MAX).map(|bin| bin as f64).collect()
}

fn tower(net: &mut Scope<'_>, level: usize, x: Value) -> Tower {
    let channels = net.channels(x);
    let (point, around) = (Conv::pointwise(channels), Conv::same(channels, 3));
    let stem = conv_act(net, &format!("stems.{level}"), x, point, Activation::Silu);
    let classes = conv_act(net, &format!("cls_convs.{level}"), stem, around, Activation::Silu);
    let boxes = conv_act(net, &format!("reg_convs.{level}"), stem, around, Activation::Silu);
    Tower { classes, boxes }
}

/// `[N, channels, points]` of all levels, from the features for classes.
fn class_maps(net: &mut Scope<'_>, name: &str, towers: &[Tower], channels: usize) -> Value {
    maps(net, name, towers.iter().map(|tower| tower.classes), channels)
}

/// `[N, channels, points]` of all levels, from the features for boxes.
fn box_maps(net: &mut Scope<'_>, name: &str, towers: &[Tower], channels: usize) -> Value {
    maps(net, name, towers.iter().map(|tower| tower.boxes), channels)
}

fn maps(net: &mut Scope<'_>, name: &str, levels: impl Iterator<Item = Value>, channels: usize) -> Value {
    let levels = levels.enumerate().map(|(level, x)| {
        let x = net.conv(&format!("{name}.{level}"), x, Conv::pointwise(channels).biased());
        flatten(net, x)
    });
    let levels: Vec<Value> = levels.collect();
    net.concat_along(2, &levels)
}

/// `[N, 4 * bins, points]`, side by side, to the expected distances `[N, 4, points]`.
fn expectation(net: &mut Scope<'_>, x: Value) -> Value {
    let (images, points) = match net.shape(x) {
        [images, _, points] => (*images, *points),
        _ => (0, 0),
    };
    let sides = net.reshape(x, &[images, 4, REG_MAX + 1, points]);
    let sides = net.transpose(sides, &[0, 2, 1, 3]);
    let shares = net.softmax(sides, 1);
    let distances = net.fixed_conv("proj_conv", shares, Conv::pointwise(1), bins());
    net.reshape(distances, &[images, 4, points])
}

/// `[N, anchors * values, H, W]` to `[N, anchors * H * W, values]`.
fn anchors_first(net: &mut Scope<'_>, x: Value, values: usize) -> Value {
    let images = net.shape(x).first().copied().unwrap_or(0);
    let points = net.size(x).iter().product::<usize>();
    let x = net.reshape(x, &[images, ANCHORS, values, points]);
    let x = net.transpose(x, &[0, 1, 3, 2]);
    net.reshape(x, &[images, ANCHORS * points, values])
}
