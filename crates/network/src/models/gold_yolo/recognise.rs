//! The configuration that the shapes of a checkpoint tell, by majority: one odd tensor does not change it.

use super::head::ANCHORS;
use super::neck::{KEY, VALUE};
use super::{Block, Expansion, GoldYolo, Head, LastLevel, REG_MAX, Stage};
use crate::models::evidence::{Shapes, vote};

/// The modules of the neck that hold stages, with the channels that the levels have.
const LEVELS: [&str; 4] = ["p4", "p3", "n4", "n5"];

/// What is behind the path of a basic block: convolutions and norms of either kind, all as wide as the block.
const OF_BLOCK: [&str; 6] = [
    "rbr_dense.conv.weight",
    "rbr_dense.bn.weight",
    "rbr_1x1.conv.weight",
    "block.conv.weight",
    "block.conv.bias",
    "block.bn.weight",
];

impl GoldYolo {
    /// The network that the shapes tell. Two things they do not tell: what the last level pools, which is taken to be
    /// what upstream's only network with halved stages (`l`) pools; and how the attention divides its channels,
    /// which is the same in all of upstream's.
    pub(super) fn recognise(shapes: &Shapes) -> Option<GoldYolo> {
        let evidence = Evidence(shapes);
        let stage = evidence.stage()?;
        let head = evidence.head()?;
        let last_level = match stage {
            Stage::Split(Expansion::Half) => LastLevel::FromFeatures,
            _ => LastLevel::FromOutput,
        };
        let [b2, b3, b4, b5] = backbone_stages().map(|path| evidence.blocks(stage, &[path]));
        let [c2, c3, c4, c5] = [2, 3, 4, 5].map(|stage| evidence.backbone_width(stage));
        let [p4, p3, n4, n5] = LEVELS.map(|level| evidence.level_width(level));
        Some(GoldYolo {
            backbone: [evidence.stem()?, c2?, c3?, c4?, c5?],
            backbone_blocks: [b2, b3, b4, b5],
            neck: [p4?, p3?, n4?, n5?],
            neck_blocks: evidence.blocks(stage, &neck_stages()),
            fusion: evidence.fusion()?,
            attention_blocks: evidence.attention_blocks()?,
            heads: evidence.heads()?,
            block: evidence.block()?,
            stage,
            last_level,
            head,
            dfl: evidence.dfl(head)?,
            classes: evidence.classes(head)?,
        })
    }
}

fn backbone_stages() -> [String; 4] {
    [2, 3, 4, 5].map(|stage| format!("backbone.ERBlock_{stage}.1"))
}

fn neck_stages() -> [String; 4] {
    LEVELS.map(|level| format!("neck.Rep_{level}"))
}

/// The shapes, asked for one thing after the other.
struct Evidence<'a>(&'a Shapes);

impl Evidence<'_> {
    fn size(&self, name: &str, axis: usize) -> Option<usize> {
        self.0.size(name, axis)
    }

    /// Sizes along the first axis.
    fn widths(&self, path: &str, tensors: &[&str]) -> Vec<Option<usize>> {
        tensors.iter().map(|tensor| self.size(&format!("{path}.{tensor}"), 0)).collect()
    }

    /// Channels that a basic block takes.
    fn taken_by(&self, path: &str) -> [Option<usize>; 3] {
        ["rbr_dense.conv", "rbr_1x1.conv", "block.conv"]
            .map(|conv| self.size(&format!("{path}.{conv}.weight"), 1))
    }

    fn stem(&self) -> Option<usize> {
        let made = self.widths("backbone.stem", &OF_BLOCK);
        vote(made.into_iter().chain(self.taken_by("backbone.ERBlock_2.0")))
    }

    fn backbone_width(&self, stage: usize) -> Option<usize> {
        let made = self.widths(&format!("backbone.ERBlock_{stage}.0"), &OF_BLOCK);
        vote(made.into_iter().chain(self.taken_by(&format!("backbone.ERBlock_{}.0", stage + 1))))
    }

    fn level_width(&self, level: &str) -> Option<usize> {
        let parts = ["local_embedding", "global_embedding", "global_act"];
        let paths = parts.map(|part| format!("neck.Inject_{level}.{part}"));
        vote(paths.iter().flat_map(|path| self.widths(path, &["conv.weight", "bn.weight", "bn.bias"])))
    }

    fn fusion(&self) -> Option<usize> {
        let first = self.widths("neck.low_IFM.0", &["conv.weight", "bn.weight", "bn.bias"]);
        let last = self.size("neck.low_IFM.4.conv.weight", 1);
        let blocks = (1..4).flat_map(|block| self.widths(&format!("neck.low_IFM.{block}"), &OF_BLOCK));
        vote(first.into_iter().chain([last]).chain(blocks))
    }

    fn block(&self) -> Option<Block> {
        let backbone = (2..6).map(|stage| format!("backbone.ERBlock_{stage}.0"));
        let neck = (1..4).map(|block| format!("neck.low_IFM.{block}"));
        let kinds = [("rbr_dense.conv.weight", Block::RepVgg), ("block.conv.weight", Block::ConvSilu)];
        let found = backbone.chain(neck).flat_map(|path| {
            kinds.map(|(tensor, kind)| self.size(&format!("{path}.{tensor}"), 0).map(|_| kind))
        });
        vote(found)
    }

    /// How blocks are put together.
    fn stage(&self) -> Option<Stage> {
        let paths = backbone_stages().into_iter().chain(neck_stages());
        vote(paths.flat_map(|path| {
            let size = |tensor: &str, axis| self.size(&format!("{path}.{tensor}.weight"), axis);
            let plain =
                ["conv1.rbr_dense.conv", "conv1.block.conv"].map(|conv| size(conv, 0).map(|_| Stage::Plain));
            let split = |hidden: Option<usize>, whole| Some(Stage::Split(Expansion::of(hidden?, whole?)?));
            let halves = ["cv1.conv", "cv2.conv"].map(|conv| split(size(conv, 0), size(conv, 1)));
            let joined = split(size("cv3.conv", 1).map(|both| both / 2), size("cv3.conv", 0));
            plain.into_iter().chain(halves).chain([joined])
        }))
    }

    /// Blocks, or pairs of blocks, in each of these stages. One alone leaves no numbers behind.
    fn blocks(&self, stage: Stage, paths: &[String]) -> usize {
        let inside = match stage {
            Stage::Plain => ["block.{}"].as_slice(),
            Stage::Split(_) => &["m.block.{}.conv1", "m.block.{}.conv2"],
        };
        let places =
            paths.iter().flat_map(|path| inside.iter().map(move |inside| format!("{path}.{inside}")));
        let counts =
            places.flat_map(|place| OF_BLOCK.map(|tensor| self.0.count(&format!("{place}.{tensor}"))));
        1 + vote(counts).unwrap_or(0)
    }

    fn attention_blocks(&self) -> Option<usize> {
        let tensors = ["attn.to_q.c.weight", "attn.to_k.bn.weight", "mlp.fc1.c.weight", "mlp.dwconv.bias"];
        vote(tensors.map(|tensor| self.0.count(&format!("neck.high_IFM.transformer_blocks.{{}}.{tensor}"))))
    }

    fn heads(&self) -> Option<usize> {
        let parts = [("to_q", KEY), ("to_k", KEY), ("to_v", VALUE)];
        vote(parts.into_iter().flat_map(|(part, length)| {
            let path = format!("neck.high_IFM.transformer_blocks.0.attn.{part}");
            let widths = self.widths(&path, &["c.weight", "bn.weight", "bn.bias"]).into_iter();
            widths.map(move |width| {
                width.filter(|width| width.is_multiple_of(length)).map(|width| width / length)
            })
        }))
    }

    /// Sizes along the first axis of a prediction's weights and biases at all levels.
    fn predictions(&self, name: &str) -> Vec<Option<usize>> {
        (0..3).flat_map(|level| self.widths(&format!("detect.{name}.{level}"), &["weight", "bias"])).collect()
    }

    /// The head whose layers are there; a branch that most of the tensors are missing of is none.
    fn head(&self) -> Option<Head> {
        let present = |name: &str| self.predictions(name).into_iter().flatten().count();
        let [plain, free, based, extra] =
            ["cls_preds", "cls_preds_af", "cls_preds_ab", "reg_preds_lrtb"].map(present);
        match free + based > plain {
            _ if plain + free + based == 0 => None,
            true => Some(Head::FuseAb),
            false if extra > 3 => Some(Head::DistillNs),
            false => Some(Head::Plain),
        }
    }

    fn dfl(&self, head: Head) -> Option<bool> {
        let (_, name) = head.names();
        let widths = self.predictions(name).into_iter();
        vote(widths.map(|width| match width? {
            4 => Some(false),
            distributions if distributions == 4 * (REG_MAX + 1) => Some(true),
            _ => None,
        }))
    }

    fn classes(&self, head: Head) -> Option<usize> {
        let (name, _) = head.names();
        let based = self.predictions("cls_preds_ab").into_iter();
        let based = based
            .map(|width| width.filter(|width| width.is_multiple_of(ANCHORS)).map(|width| width / ANCHORS));
        vote(self.predictions(name).into_iter().chain(based)).filter(|classes| *classes > 0)
    }
}

impl Expansion {
    /// The share that makes `hidden` of `whole` channels.
    fn of(hidden: usize, whole: usize) -> Option<Expansion> {
        [Expansion::Half, Expansion::TwoThirds].into_iter().find(|share| share.of_channels(whole) == hidden)
    }
}
