//! What belongs to a detector beside its network: how a picture becomes its input, how its output becomes boxes.
//!
//! Plain data: `detect` carries it out. The defaults are upstream's, each with its source.

use std::fmt;

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

    /// The shape `[N, 3, H, W]` of a batch of pictures of this size.
    pub const fn batch(self, images: usize) -> [usize; 4] {
        [images, 3, self.height, self.width]
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
    /// Scaled until it just fits into the size, in the middle of a border of this grey that brings both sides to
    /// multiples: the input depends on the picture's proportions.
    Letterbox {
        /// What the sides of the input are multiples of, in pixels.
        multiple: usize,
        /// The border's grey, 0 to 255.
        border: u8,
    },
    /// Scaled until its longer side just fits into the longer side of the size and its shorter one into the shorter,
    /// with zeros to the right and below it, behind the normalisation, that bring both sides to multiples.
    Fit {
        /// What the sides of the input are multiples of, in pixels.
        multiple: usize,
    },
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resize::Stretch => f.write_str("stretch"),
            Resize::Letterbox { multiple, border } => {
                write!(f, "letterbox to multiples of {multiple} on grey {border}")
            }
            Resize::Fit { multiple } => write!(f, "keep proportions, pad to multiples of {multiple}"),
        }
    }
}

/// How a picture becomes the input of a network: 1 x 3 x height x width, f32.
///
/// A channel value `v` of 0..=255 becomes `(v / scale - mean / scale) / (std / scale)`, computed in f32 in this
/// order; mathematically `scale` cancels, but families differ in it and hence in the last bits.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocessing {
    /// Size of the input, or the limit that it is fitted into.
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
    /// Whether the last step is a product with the reciprocal in f64, rounded once, and not a division (OpenCV's
    /// `multiply`, as mmcv's `imnormalize` calls it).
    pub reciprocal: bool,
}

/// What the class columns of an output are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scores {
    /// The sigmoid of a logit is the score.
    Logits,
    /// Scores, 0 to 1.
    Probabilities,
}

/// How an output says where the sides left, top, right, bottom of a box are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// Logits of a distribution over 0, 1, ..., `reg_max` for each side, whose mean is the distance from the point
    /// in strides (GFL, arXiv 2006.04388).
    Distributions {
        /// The largest distance.
        reg_max: usize,
    },
    /// The distance of each side from the point in strides.
    Distances,
}

impl Sides {
    /// Columns of all four sides.
    pub fn columns(self) -> usize {
        match self {
            Sides::Distributions { reg_max } => 4 * (reg_max + 1),
            Sides::Distances => 4,
        }
    }
}

/// How the output of a network is to be read.
///
/// The output has a row for each point: a column for each class, then those of the sides. Points come level after
/// level in the order of `strides`, row by row in a level.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Pixels of the input between neighbouring points, for each level.
    pub strides: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
    /// Columns after those of the classes that stand for no class, as in GFocalV2, but take part in the choice of
    /// boxes like one.
    pub surplus: usize,
    /// What the class columns are.
    pub scores: Scores,
    /// What the columns of the sides are.
    pub sides: Sides,
    /// Where in its cell a point sits: 0 the top left corner, 0.5 the centre.
    pub cell_offset: f64,
    /// Whether boxes are clipped to the picture before they are compared.
    pub clip: bool,
}

impl Head {
    /// Columns of scores.
    pub fn score_columns(&self) -> usize {
        self.classes + self.surplus
    }

    /// Values in the row of one point.
    pub fn row(&self) -> usize {
        self.score_columns() + self.sides.columns()
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

/// How boxes of different classes are kept from suppressing each other: they are moved apart by a multiple of the
/// class's number, which rounds them, and with them the overlaps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClassShift {
    /// By the largest coordinate + 1 (mmcv's `batched_nms`); from this many candidates on they are not moved, but
    /// compared class by class.
    LargestCoordinate {
        /// Number of candidates.
        below: usize,
    },
    /// By this many pixels (YOLO's `max_wh`).
    Pixels(f32),
}

/// The coordinates in which boxes suppress each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Pixels of the network's input.
    Input,
    /// Pixels of the picture.
    Picture,
}

/// Which of the boxes count as detections.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// Of each level the points with the best scores, this many; `None` for all.
    pub best_of_level: Option<usize>,
    /// Candidates score more than this.
    pub score_threshold: f32,
    /// Candidates compared with each other, the best; `None` for all.
    pub max_candidates: Option<usize>,
    /// Of two boxes of a class whose intersection over union is more than this, the better one is kept.
    pub nms_iou: f64,
    /// How classes are kept apart.
    pub class_shift: ClassShift,
    /// Where overlaps are measured.
    pub frame: Frame,
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
    /// From boxes to detections, as upstream's demonstration shows them.
    pub selection: Selection,
    /// From boxes to detections, as upstream evaluates them.
    pub evaluation: Selection,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Network;
    use crate::models::nanodet_plus::NanoDetPlus;

    /// 3598 points: upstream's own count for 416x416.
    #[test]
    fn points_cover_the_input() {
        let facts = NanoDetPlus::M.facts(Size::square(416));
        assert_eq!(facts.head.points(Size::square(416)), 3598);
        assert_eq!(facts.head.points(Size { width: 65, height: 1 }), 9 + 5 + 3 + 2);
        assert_eq!(facts.head.row(), 112);
    }
}
