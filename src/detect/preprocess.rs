//! A picture into the input of a network.

use image::{Rgb, RgbImage};

use super::Placement;
use network::models::{ChannelOrder, Preprocessing, Resize, Size};
use vision::pictures::{PictureSize, resize};

/// The input for a picture, which [`Placement::new`] gives a place: three planes of values, row by row, in the network's order of channels.
pub fn preprocess(picture: &RgbImage, facts: &Preprocessing) -> Vec<f32> {
    let placement = Placement::new(facts, size_of(picture));
    match facts.resize {
        Resize::Stretch => normalise(&resample(picture, placement.scale, placement.input), facts),
        Resize::Letterbox { border, .. } => {
            let scaled = resize(picture, in_pictures(placement.scaled));
            let Size { width, height } = placement.input;
            let mut whole = RgbImage::from_pixel(width as u32, height as u32, Rgb([border; 3]));
            let [left, top] = placement.offset.map(|offset| offset as i64);
            image::imageops::replace(&mut whole, &scaled, left, top);
            normalise(&whole, facts)
        }
        Resize::Fit { .. } => {
            let scaled = resize(picture, in_pictures(placement.scaled));
            with_zeros(&normalise(&scaled, facts), placement.scaled, placement.input)
        }
    }
}

/// Planes of size `from` in the top left corner of planes of size `to`.
fn with_zeros(planes: &[f32], from: Size, to: Size) -> Vec<f32> {
    let mut padded = vec![0.0; 3 * to.width * to.height];
    let targets = padded.chunks_exact_mut((to.width * to.height).max(1));
    for (target, plane) in targets.zip(planes.chunks_exact((from.width * from.height).max(1))) {
        let rows = target.chunks_exact_mut(to.width.max(1));
        for (target, row) in rows.zip(plane.chunks_exact(from.width.max(1))) {
            target.iter_mut().zip(row).for_each(|(target, value)| *target = *value);
        }
    }
    padded
}

/// The width and height of a picture.
pub(super) fn size_of(picture: &RgbImage) -> Size {
    Size { width: picture.width() as usize, height: picture.height() as usize }
}

fn in_pictures(size: Size) -> PictureSize {
    PictureSize { width: size.width as u32, height: size.height as u32 }
}

/// The picture stretched by `scale` across and down, on black of the given size, rounded to bytes.
///
/// Positions are those of pixel indices: a pixel's value sits at its corner (0, 0), not at its centre, as OpenCV's
/// `warpPerspective` has it.
/// Bilinear between the four pixels around a position, those outside the picture black, no smoothing when it is
/// made smaller: OpenCV's `INTER_LINEAR` with a constant border. To the bit as OpenCV 5 does it, which computes
/// positions and values in f32 and rounds ties to even; OpenCV 4 had weights of five bits.
pub fn resample(picture: &RgbImage, scale: [f64; 2], size: Size) -> RgbImage {
    let (pixels, _) = picture.as_raw().as_chunks::<3>();
    let rows: Vec<&[[u8; 3]]> = pixels.chunks_exact(picture.width().max(1) as usize).collect();
    let [across, down] = scale;
    let columns: Vec<Tap> = taps(size.width, across);
    let mut bytes = Vec::with_capacity(size.width * size.height * 3);
    for tap in taps(size.height, down) {
        let row = |index: Option<usize>| index.and_then(|index| rows.get(index)).copied().unwrap_or_default();
        let (upper, lower) = (row(tap.first), row(tap.second));
        for column in &columns {
            let above = column.between(pixel(upper, column.first), pixel(upper, column.second));
            let below = column.between(pixel(lower, column.first), pixel(lower, column.second));
            bytes.extend(tap.between(above, below).map(|value| value.round_ties_even() as u8));
        }
    }
    RgbImage::from_raw(size.width as u32, size.height as u32, bytes).unwrap_or_default()
}

/// Two neighbouring pixels of a row or column and the weight of the second; before the first there is none.
struct Tap {
    first: Option<usize>,
    second: Option<usize>,
    weight: f32,
}

impl Tap {
    fn between(&self, first: [f32; 3], second: [f32; 3]) -> [f32; 3] {
        let [a, b, c] = first;
        let [d, e, f] = second;
        [a + self.weight * (d - a), b + self.weight * (e - b), c + self.weight * (f - c)]
    }
}

/// Where each of `length` positions of the input takes its value from. In f32: positions just beside or just at a
/// tie decide how it is rounded.
fn taps(length: usize, scale: f64) -> Vec<Tap> {
    let step = (1.0 / scale) as f32;
    let tap = |position: usize| {
        let source = position as f32 * step;
        let first = source.floor();
        let index = |value: f32| (value >= 0.0).then_some(value as usize);
        Tap { first: index(first), second: index(first + 1.0), weight: source - first }
    };
    (0..length).map(tap).collect()
}

fn pixel(row: &[[u8; 3]], index: Option<usize>) -> [f32; 3] {
    index.and_then(|index| row.get(index)).copied().unwrap_or_default().map(f32::from)
}

/// The values of a picture that has the size of the input, as the network takes them: three planes, row by row.
pub fn normalise(picture: &RgbImage, facts: &Preprocessing) -> Vec<f32> {
    let (pixels, _) = picture.as_raw().as_chunks::<3>();
    let planes: [usize; 3] = match facts.channels {
        ChannelOrder::Rgb => [0, 1, 2],
        ChannelOrder::Bgr => [2, 1, 0],
    };
    let mut values = Vec::with_capacity(pixels.len() * 3);
    for ((plane, mean), std) in planes.into_iter().zip(facts.mean).zip(facts.std) {
        let (mean, std) = (mean / facts.scale, std / facts.scale);
        let value = |byte: u8| {
            let centred = f32::from(byte) / facts.scale - mean;
            match facts.reciprocal {
                true => (f64::from(centred) * (1.0 / f64::from(std))) as f32,
                false => centred / std,
            }
        };
        let table: Vec<f32> = (0..=u8::MAX).map(value).collect();
        let of = |pixel: &[u8; 3]| pixel.get(plane).and_then(|&byte| table.get(usize::from(byte)));
        values.extend(pixels.iter().filter_map(of));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::models::Network;
    use network::models::nanodet_plus::NanoDetPlus;

    fn stretched(picture: &RgbImage, size: Size) -> RgbImage {
        let facts = NanoDetPlus::M.facts(size).preprocessing;
        resample(picture, Placement::new(&facts, size_of(picture)).scale, size)
    }

    #[test]
    fn the_own_size_changes_nothing() {
        let picture = RgbImage::from_fn(7, 5, |x, y| Rgb([x as u8, y as u8, 255 - x as u8]));
        assert_eq!(stretched(&picture, Size { width: 7, height: 5 }), picture);
    }

    /// Enlarged twice: new pixels lie between old ones, the last row and column fade to black.
    #[test]
    fn positions_are_those_of_pixel_corners() {
        let picture = RgbImage::from_fn(2, 2, |x, y| Rgb([(100 * x + 40 * y) as u8; 3]));
        let red: Vec<u8> = stretched(&picture, Size::square(4)).pixels().map(|pixel| pixel.0[0]).collect();
        assert_eq!(red, [0, 50, 100, 50, 20, 70, 120, 60, 40, 90, 140, 70, 20, 45, 70, 35]);
    }

    #[test]
    fn channels_are_ordered_and_normalised() {
        let facts = NanoDetPlus::M.facts(Size::square(1)).preprocessing;
        let picture = RgbImage::from_pixel(1, 1, Rgb([10, 20, 30]));
        let expected = |byte: f32, mean: f32, std: f32| (byte / 255.0 - mean / 255.0) / (std / 255.0);
        let bgr =
            [expected(30.0, 103.53, 57.375), expected(20.0, 116.28, 57.12), expected(10.0, 123.675, 58.395)];
        assert_eq!(normalise(&picture, &facts), bgr);
        let rgb =
            Preprocessing { channels: ChannelOrder::Rgb, scale: 1.0, mean: [0.0; 3], std: [1.0; 3], ..facts };
        assert_eq!(normalise(&picture, &rgb), [10.0, 20.0, 30.0]);
    }

    #[test]
    fn borders_are_grey_before_and_zero_after_the_normalisation() {
        let picture = RgbImage::from_pixel(4, 2, Rgb([255; 3]));
        let facts = NanoDetPlus::M.facts(Size::square(4)).preprocessing;
        let facts = Preprocessing { scale: 1.0, mean: [1.0; 3], std: [1.0; 3], ..facts };
        let letterbox = Resize::Letterbox { multiple: 4, border: 114 };
        let boxed = preprocess(&picture, &Preprocessing { resize: letterbox, ..facts.clone() });
        assert_eq!(
            boxed.iter().step_by(4).take(4).copied().collect::<Vec<_>>(),
            [113.0, 254.0, 254.0, 113.0]
        );
        let fitted = preprocess(&picture, &Preprocessing { resize: Resize::Fit { multiple: 4 }, ..facts });
        assert_eq!(fitted.iter().step_by(4).take(4).copied().collect::<Vec<_>>(), [254.0, 254.0, 0.0, 0.0]);
    }
}
