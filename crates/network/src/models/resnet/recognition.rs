//! The configuration of a ResNet from the shapes of a checkpoint, by majority: one odd tensor does not change it.

use std::hash::Hash;

use super::{Block, Deformable, ResNet};
use crate::models::evidence::{Shapes, vote};

impl ResNet {
    /// The configuration that shapes tell, by majority.
    pub(in crate::models) fn recognise(shapes: &Shapes, prefix: &str) -> Option<ResNet> {
        let evidence = Evidence::new(shapes, prefix)?;
        let (deep, stem) = evidence.stem()?;
        let is_basic =
            evidence.per_block(|_, block| vec![evidence.size(&format!("{block}.conv1.weight"), 2)])? == 3;
        let last: [&str; 3] = match is_basic {
            true => ["conv2.weight", "bn2.weight", "bn2.bias"],
            false => ["conv3.weight", "bn3.weight", "bn3.bias"],
        };
        let expansion = if is_basic { 1 } else { 4 };
        let channels = evidence.first_stage(&last, 0)? / expansion;
        let block = if is_basic { Block::Basic } else { evidence.bottleneck()? };
        let deformable = std::array::from_fn(|stage| evidence.deformable(stage, block));
        Some(ResNet { deep, stem, block, channels, depths: evidence.depths, deformable })
    }
}

/// What shapes say about a ResNet.
struct Evidence<'a> {
    shapes: &'a Shapes,
    prefix: &'a str,
    depths: [usize; 4],
    /// Stage and path of every block.
    blocks: Vec<(usize, String)>,
}

impl<'a> Evidence<'a> {
    fn new(shapes: &'a Shapes, prefix: &'a str) -> Option<Evidence<'a>> {
        let depth = |stage: usize| {
            let layers = ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean"];
            vote(layers.map(|of| shapes.count(&format!("{prefix}layer{stage}.{{}}.{of}"))))
        };
        let depths = [depth(1)?, depth(2)?, depth(3)?, depth(4)?];
        let of_stage = |(stage, depth): (usize, usize)| {
            (0..depth).map(move |block| (stage, format!("layer{}.{block}", stage + 1)))
        };
        let blocks = depths.into_iter().enumerate().flat_map(of_stage).collect();
        Some(Evidence { shapes, prefix, depths, blocks })
    }

    fn size(&self, name: &str, axis: usize) -> Option<usize> {
        self.shapes.size(&format!("{}{name}", self.prefix), axis)
    }

    fn has(&self, name: &str) -> bool {
        self.size(name, 0).is_some()
    }

    /// What most of the blocks say.
    fn per_block<T: Copy + Eq + Hash>(&self, of: impl Fn(usize, &str) -> Vec<Option<T>>) -> Option<T> {
        vote(self.blocks.iter().flat_map(|(stage, block)| of(*stage, block)))
    }

    /// The size along an axis in the first stage, where every further stage has twice as much.
    fn first_stage(&self, layers: &[&str], axis: usize) -> Option<usize> {
        self.per_block(|stage, block| {
            let size = |layer: &&str| Some(self.size(&format!("{block}.{layer}"), axis)? >> stage);
            layers.iter().map(size).collect()
        })
    }

    /// Whether it is of three convolutions, and its channels.
    fn stem(&self) -> Option<(bool, usize)> {
        let plain = ["conv1.weight", "bn1.weight", "bn1.bias"];
        let deep = ["stem.6.weight", "stem.7.weight", "stem.7.bias"];
        let present =
            |layers: [&str; 3], is_deep: bool| layers.map(|layer| self.has(layer).then_some(is_deep));
        let is_deep = vote(present(plain, false).into_iter().chain(present(deep, true)))?;
        let made = if is_deep { deep } else { plain }.map(|layer| self.size(layer, 0));
        let taken = [self.size("layer1.0.conv1.weight", 1)];
        Some((is_deep, vote(made.into_iter().chain(taken))?))
    }

    /// The block, which is no basic one.
    fn bottleneck(&self) -> Option<Block> {
        let inner = self.first_stage(&["conv1.weight", "bn1.weight", "bn1.bias"], 0)?;
        let has_parts =
            self.per_block(|_, block| vec![Some(self.has(&format!("{block}.convs.0.weight")))])?;
        if has_parts {
            let width = self.first_stage(&["convs.0.weight", "bns.0.weight", "bns.0.bias"], 0)?;
            let parts = self.per_block(|_, block| {
                let of = ["convs.{}.weight", "bns.{}.weight", "bns.{}.bias"];
                of.map(|of| self.shapes.count(&format!("{}{block}.{of}", self.prefix))).to_vec()
            })?;
            return Some(Block::Res2Net { scales: parts + 1, width });
        }
        let width = self.first_stage(&["conv2.weight"], 1)?;
        Some(Block::Bottleneck { groups: inner.checked_div(width)?, width })
    }

    /// How a stage is deformed.
    fn deformable(&self, stage: usize, block: Block) -> Option<Deformable> {
        let convolutions: Vec<String> = match block {
            Block::Basic => return None,
            Block::Bottleneck { .. } => vec!["conv2".to_owned()],
            Block::Res2Net { scales, .. } => (1..scales).map(|part| format!("convs.{}", part - 1)).collect(),
        };
        let found = self.per_block(|at, block| {
            let of = if at == stage { convolutions.as_slice() } else { &[] };
            of.iter()
                .flat_map(|convolution| self.offsets(&format!("{block}.{convolution}.conv_offset")))
                .collect()
        });
        found.flatten()
    }

    /// What the convolution of offsets says; that there is none where nothing of it is there.
    fn offsets(&self, layer: &str) -> [Option<Option<Deformable>>; 2] {
        let maps = ["weight", "bias"].map(|of| self.size(&format!("{layer}.{of}"), 0));
        match maps {
            [None, None] => [Some(None), None],
            maps => maps.map(|maps| Deformable::from_maps(maps?).map(Some)),
        }
    }
}

impl Deformable {
    /// From the number of maps that the convolution of offsets makes: 27 with factors for each group, 18 without.
    fn from_maps(maps: usize) -> Option<Deformable> {
        match maps {
            0 => None,
            maps if maps.is_multiple_of(27) => Some(Deformable { modulated: true, groups: maps / 27 }),
            maps if maps.is_multiple_of(18) => Some(Deformable { modulated: false, groups: maps / 18 }),
            _ => None,
        }
    }
}
