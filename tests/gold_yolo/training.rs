//! The network in training form: gradients against finite differences, the outputs that losses take.

use network::graph::Array;
use network::models::gold_yolo::{Expansion, GoldYolo, Head, Stage};
use network::models::{Form, Model};

use super::layers::{share, wide};
use super::support::{Loss, gold_yolo_tiny, input, ramp, reference, synthetic_weights, taps};
use super::{graph, network};

const INPUT: [usize; 4] = [2, 3, 80, 48];

/// Attention, injection, pooling and all kinds of blocks: one tensor of each kind, early and late.
#[test]
fn gradients_equal_finite_differences() {
    const STEP: f64 = 1e-8;
    let narrow = GoldYolo { backbone_blocks: [2; 4], neck_blocks: 2, classes: 3, ..gold_yolo_tiny() };
    let plain = GoldYolo { head: Head::FuseAb, ..narrow.clone() };
    let split = GoldYolo { stage: Stage::Split(Expansion::TwoThirds), head: Head::DistillNs, ..narrow };
    let of_plain = [
        "backbone.stem.rbr_dense.conv.weight",
        "backbone.ERBlock_3.1.conv1.rbr_identity.weight",
        "backbone.ERBlock_5.2.cv5.conv.weight",
        "neck.low_IFM.0.conv.weight",
        "neck.Inject_p4.global_act.conv.weight",
        "neck.LAF_p3.cv_fuse.bn.weight",
        "neck.high_IFM.transformer_blocks.0.attn.to_q.c.weight",
        "neck.high_IFM.transformer_blocks.1.attn.to_v.c.weight",
        "neck.high_IFM.transformer_blocks.1.mlp.dwconv.bias",
        "neck.conv_1x1_n.weight",
        "detect.reg_preds_af.1.weight",
        "detect.reg_preds_ab.2.bias",
    ];
    let of_split = [
        "backbone.ERBlock_2.1.m.conv1.alpha",
        "backbone.ERBlock_4.1.cv2.conv.weight",
        "backbone.ERBlock_5.2.cv2.bn.bias",
        "neck.Rep_n5.m.block.0.conv2.rbr_1x1.conv.weight",
        "detect.cls_preds.0.bias",
        "detect.reg_preds_lrtb.0.weight",
    ];
    for (network, names) in [(plain, &of_plain[..]), (split, &of_split)] {
        let graph = Model::from(network).graph(Form::Training, INPUT).unwrap();
        let weights = synthetic_weights(&graph);
        let input = Array { shape: INPUT.to_vec(), data: ramp(INPUT.iter().product(), 1009) };
        let loss = Loss { graph: &graph, weights: &weights, input };
        let gradients = loss.gradients();
        for name in names {
            let gradient = &gradients[*name].data;
            let larger = |a: &usize, b: &usize| gradient[*a].abs().total_cmp(&gradient[*b].abs());
            let at = (0..gradient.len()).max_by(larger).unwrap();
            let expected = loss.difference(name, at, STEP);
            let error = (gradient[at] - expected).abs() / expected.abs();
            assert!(error < 1e-4, "{name}: {} instead of {expected}", gradient[at]);
        }
    }
}

/// Widths and heights of the anchors in pixels, level by level: what recorded boxes divided by (2 sigmoid)^2 give.
const ANCHORS: [[(f64, f64); 3]; 3] = [
    [(10.0, 13.0), (19.0, 19.0), (33.0, 23.0)],
    [(30.0, 61.0), (59.0, 59.0), (59.0, 119.0)],
    [(116.0, 90.0), (185.0, 185.0), (373.0, 326.0)],
];

/// Both branches of the head that is trained with anchors.
#[test]
fn both_branches_of_the_anchor_head_equal_the_original() {
    let Some(folder) = reference("gold-yolo") else { return };
    let folder = folder.join("n-fuse_ab");
    let recording = converters::open(folder.join("training_outputs.safetensors")).unwrap();
    let input = input(&converters::open(folder.join("activations.safetensors")).unwrap());
    let size = [input.shape[2], input.shape[3]];
    let graph = graph(&network("n-fuse_ab"), Form::Training, size);
    let taps = taps(&graph, &synthetic_weights(&graph), &input);
    let ours = |name: &str| taps[&format!("output.{name}")].wide();
    let scores: Vec<f64> = ours("preds").chunks(80 + 4).flat_map(|row| row[..80].to_vec()).collect();
    let parts = [
        ("cls_af", scores),
        ("reg_af", ours("regression")),
        ("cls_ab", ours("ab_scores")),
        ("reg_ab", anchor_boxes(&ours("ab_regression"), size)),
    ];
    for (name, ours) in parts {
        let share = share(&ours, &wide(&recording, name), None);
        println!("{name}: {share:.3} of what is allowed");
        assert!(share <= 1.0, "{name}: {share} times what is allowed");
    }
}

/// What the original makes of the anchor branch: x and y as they are, (2 sigmoid)^2 times the anchor for the size, in
/// strides.
fn anchor_boxes(regression: &[f64], size: [usize; 2]) -> Vec<f64> {
    let levels = ANCHORS.iter().enumerate().flat_map(|(level, anchors)| {
        let stride = 8 << level;
        let points = size.iter().map(|side| side.div_ceil(stride)).product::<usize>();
        anchors.iter().flat_map(move |anchor| vec![(*anchor, stride as f64); points])
    });
    let scale = |logit: f64| (2.0 / (1.0 + (-logit).exp())).powi(2);
    let rows = regression.chunks(4).zip(levels).flat_map(|(row, ((width, height), stride))| {
        [row[0], row[1], scale(row[2]) * width / stride, scale(row[3]) * height / stride]
    });
    rows.collect()
}
