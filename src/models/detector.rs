//! What belongs to a detector beside its network: how a picture becomes its input, how its output becomes boxes.
//!
//! Plain data: `detect` carries it out. The defaults are upstream's, each with its source.

use std::fmt;

use super::family::{FAMILIES, Model};
use super::nanodet_plus::NanoDetPlus;

/// A width and a height in pixels; shown as `416x320`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
}

impl Size {
    /// A square of this side.
    pub const fn square(side: usize) -> Size {
        Size { width: side, height: side }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// The order in which a network takes the colour channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelOrder {
    /// Blue first, as OpenCV reads pictures.
    Bgr,
    /// Red first.
    Rgb,
}

/// How a picture of any size is fitted into the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// Both sides scaled on their own to fill the input (`keep_ratio: False`).
    Stretch,
}

/// How a picture becomes the input of a network: 1 x 3 x height x width, f32.
///
/// A channel value `v` of 0..=255 becomes `(v / scale - mean / scale) / (std / scale)`, computed in f32 in this
/// order; mathematically `scale` cancels, but families differ in it and hence in the last bits.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocessing {
    /// Size of the input.
    pub size: Size,
    /// How the picture is fitted into it.
    pub resize: Resize,
    /// Order of the channels, also of `mean` and `std`.
    pub channels: ChannelOrder,
    /// Divisor applied first.
    pub scale: f32,
    /// Mean of each channel, on the 0..=255 scale.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, on the 0..=255 scale.
    pub std: [f32; 3],
}

/// How the output of a network with integral box distances (GFL, arXiv 2006.04388) is to be read.
///
/// The output has a row for each point: `classes` class logits, then `reg_max + 1` logits for each of the sides
/// left, top, right, bottom. Points come level after level in the order of `strides`, row by row in a level.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Pixels of the input between neighbouring points, for each level.
    pub strides: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
    /// The largest distance a box side can have from its point, in strides.
    pub reg_max: usize,
    /// Where in its cell a point sits: 0 the top left corner, 0.5 the centre.
    pub cell_offset: f64,
}

impl Head {
    /// Values in the row of one point.
    pub fn row(&self) -> usize {
        self.classes + 4 * (self.reg_max + 1)
    }

    /// Columns and rows of points at each level for an input of `size`, each with its stride: a level covers the
    /// input, so its last column or row may reach beyond.
    pub fn grids(&self, size: Size) -> impl Iterator<Item = (usize, Size)> + '_ {
        self.strides.iter().map(move |&stride| {
            let cells = |length: usize| length.div_ceil(stride.max(1));
            (stride, Size { width: cells(size.width), height: cells(size.height) })
        })
    }

    /// Points of all levels for an input of `size`.
    pub fn points(&self, size: Size) -> usize {
        self.grids(size).map(|(_, grid)| grid.width * grid.height).sum()
    }
}

/// Which of the boxes count as detections.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// Candidates score more than this.
    pub score_threshold: f32,
    /// Of two boxes of a class whose intersection over union is more than this, the better one is kept.
    pub nms_iou: f64,
    /// Detections kept in a picture, all classes together.
    pub max_detections: usize,
}

/// A detector beside its network.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorFacts {
    /// From picture to input.
    pub preprocessing: Preprocessing,
    /// From output to boxes and scores.
    pub head: Head,
    /// From boxes to detections.
    pub selection: Selection,
}

impl DetectorFacts {
    /// NanoDet-Plus: everything but the network and the size is the same in all of upstream's
    /// `config/nanodet-plus-*.yml`; the selection is that of `NanoDetPlusHead.get_bboxes`.
    pub fn nanodet_plus(network: &NanoDetPlus, size: Size) -> DetectorFacts {
        let NanoDetPlus { classes, reg_max, .. } = *network;
        DetectorFacts {
            preprocessing: Preprocessing {
                size,
                resize: Resize::Stretch,
                channels: ChannelOrder::Bgr,
                scale: 255.0,
                mean: [103.53, 116.28, 123.675],
                std: [57.375, 57.12, 58.395],
            },
            head: Head { strides: network.strides(), classes, reg_max, cell_offset: 0.0 },
            selection: Selection { score_threshold: 0.05, nms_iou: 0.6, max_detections: 100 },
        }
    }
}

impl Model {
    /// What belongs to the detector beside this network, for inputs of `size`.
    pub fn facts(&self, size: Size) -> DetectorFacts {
        match self {
            Model::NanoDetPlus(network) => DetectorFacts::nanodet_plus(network, size),
        }
    }

    /// The size of input of the family's first preset.
    pub fn usual_size(&self) -> Size {
        let family = FAMILIES.iter().find(|family| family.name == self.family());
        let preset = family.and_then(|family| family.presets.first());
        preset.map_or(Size::square(416), |preset| {
            let [height, width] = preset.size;
            Size { width, height }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3598 points: upstream's own count for 416x416.
    #[test]
    fn points_cover_the_input() {
        let facts = DetectorFacts::nanodet_plus(&NanoDetPlus::M, Size::square(416));
        assert_eq!(facts.head.points(Size::square(416)), 3598);
        assert_eq!(facts.head.points(Size { width: 65, height: 1 }), 9 + 5 + 3 + 2);
        assert_eq!(facts.head.row(), 112);
    }
}
