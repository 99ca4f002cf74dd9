//! Where a picture lies in the input of a network, and boxes of the input on the picture.

use network::models::{Preprocessing, Resize, Size};
use vision::boxes::clipped;

/// Where a picture lies in the input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    /// Size of the picture.
    pub picture: Size,
    /// Size of the input.
    pub input: Size,
    /// Size that the picture has in the input.
    pub scaled: Size,
    /// Column and row of the input where it begins.
    pub offset: [usize; 2],
    /// Pixels of the input for one of the picture, across and down.
    pub scale: [f64; 2],
    /// Where the picture's corner lies, in pixels of the input: not always at [`Placement::offset`], which is whole.
    pub shift: [f64; 2],
}

impl Placement {
    /// Where a picture of size `picture` goes.
    pub fn new(facts: &Preprocessing, picture: Size) -> Placement {
        match facts.resize {
            Resize::Stretch => Placement {
                picture,
                input: facts.size,
                scaled: facts.size,
                offset: [0; 2],
                scale: ratios(facts.size, picture),
                shift: [0.0; 2],
            },
            Resize::Letterbox { multiple, .. } => letterbox(picture, facts.size, multiple),
            Resize::Fit { multiple } => fit(picture, facts.size, multiple),
        }
    }

    /// A box of the input (left, top, right, bottom) as one of the picture, clipped to it.
    pub fn back(&self, corners: [f32; 4]) -> [f32; 4] {
        let ([across, down], [left_edge, top_edge]) = (self.scale, self.shift);
        let x = |position| (f64::from(position) - left_edge) / across;
        let y = |position| (f64::from(position) - top_edge) / down;
        let [left, top, right, bottom] = corners;
        let border = [self.picture.width as f64, self.picture.height as f64];
        clipped([x(left), y(top), x(right), y(bottom)], border).map(|position| position as f32)
    }
}

fn ratios(to: Size, from: Size) -> [f64; 2] {
    let ratio = |to: usize, from: usize| to.max(1) as f64 / from.max(1) as f64;
    [ratio(to.width, from.width), ratio(to.height, from.height)]
}

fn padded(size: Size, multiple: usize) -> Size {
    let side = |side: usize| side.next_multiple_of(multiple.max(1));
    Size { width: side(size.width), height: side(size.height) }
}

/// YOLO's letterbox with the least border (`auto`): what is left of the limit is taken modulo `multiple`.
fn letterbox(picture: Size, limit: Size, multiple: usize) -> Placement {
    let limit = padded(limit, multiple);
    let [across, down] = ratios(limit, picture);
    let ratio = across.min(down);
    let side = |side: usize| ((side as f64 * ratio).round_ties_even() as usize).max(1);
    let scaled = Size { width: side(picture.width), height: side(picture.height) };
    let border = |limit: usize, side: usize| limit.saturating_sub(side) % multiple.max(1);
    let borders = [border(limit.width, scaled.width), border(limit.height, scaled.height)];
    let [right, below] = borders;
    // Boxes come back as if the picture were not rounded to whole pixels and its border halved exactly.
    let input = Size { width: scaled.width + right, height: scaled.height + below };
    let shift = |input: usize, side: usize| (input as f64 - side as f64 * ratio) / 2.0;
    Placement {
        picture,
        input,
        scaled,
        // An odd border is wider behind than before: round(border / 2 - 0.1).
        offset: borders.map(|border| border / 2),
        scale: [ratio; 2],
        shift: [shift(input.width, picture.width), shift(input.height, picture.height)],
    }
}

/// mmdetection's `Resize` with `keep_ratio`, then `Pad` with `size_divisor`.
fn fit(picture: Size, limit: Size, multiple: usize) -> Placement {
    let (long, short) = (limit.width.max(limit.height), limit.width.min(limit.height));
    let [of_long, of_short] = ratios(
        Size { width: long, height: short },
        Size { width: picture.width.max(picture.height), height: picture.width.min(picture.height) },
    );
    let factor = of_long.min(of_short);
    let side = |side: usize| ((side as f64 * factor + 0.5) as usize).max(1);
    let scaled = Size { width: side(picture.width), height: side(picture.height) };
    // Upstream keeps the ratio of the whole sides in f32.
    let scale = ratios(scaled, picture).map(|ratio| f64::from(ratio as f32));
    Placement { picture, input: padded(scaled, multiple), scaled, offset: [0; 2], scale, shift: [0.0; 2] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::models::Network;
    use network::models::nanodet_plus::NanoDetPlus;

    fn place(resize: Resize, limit: Size, picture: Size) -> Placement {
        let facts = NanoDetPlus::M.facts(limit).preprocessing;
        Placement::new(&Preprocessing { resize, ..facts }, picture)
    }

    const PICTURE: Size = Size { width: 640, height: 480 };

    #[test]
    fn boxes_come_back_onto_the_picture() {
        let placement = place(Resize::Stretch, Size { width: 320, height: 480 }, PICTURE);
        assert_eq!(placement.back([-3.0, 10.0, 100.0, 999.0]), [0.0, 10.0, 200.0, 480.0]);
    }

    /// 427 / 2 rounds to 214, the border of 10 is halved, and boxes know of 213.5 + 2 * 5.25 pixels.
    #[test]
    fn a_letterbox_is_no_larger_than_it_must_be() {
        let resize = Resize::Letterbox { multiple: 32, border: 114 };
        let placement = place(resize, Size::square(320), Size { width: 640, height: 427 });
        assert_eq!(placement.scaled, Size { width: 320, height: 214 });
        assert_eq!(placement.input, Size { width: 320, height: 224 });
        assert_eq!(placement.offset, [0, 5]);
        assert_eq!(placement.shift, [0.0, 5.25]);
        assert_eq!(placement.back([0.0, 5.25, 320.0, 218.75]), [0.0, 0.0, 640.0, 427.0]);
        let small = place(resize, Size::square(500), Size::square(64));
        assert_eq!((small.scaled, small.input), (Size::square(512), Size::square(512)));
    }

    #[test]
    fn a_fitted_picture_begins_in_the_corner() {
        let placement = place(Resize::Fit { multiple: 32 }, Size { width: 1333, height: 800 }, PICTURE);
        assert_eq!(placement.scaled, Size { width: 1067, height: 800 });
        assert_eq!(placement.input, Size { width: 1088, height: 800 });
        assert_eq!(placement.scale, [f64::from(1067.0_f32 / 640.0), f64::from(800.0_f32 / 480.0)]);
        let upright = Size { width: 480, height: 640 };
        let placement = place(Resize::Fit { multiple: 32 }, Size { width: 1333, height: 800 }, upright);
        assert_eq!(placement.input, Size { width: 800, height: 1088 });
    }
}
