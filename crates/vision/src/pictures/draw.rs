//! Boxes drawn on their picture: a frame and a label for each, sized with the picture.

use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// A box to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Left, top, right, bottom in pixels; what lies outside the picture is not drawn.
    pub corners: [f32; 4],
    /// Boxes of one class have one colour.
    pub class: usize,
    /// The label. Letters that are not Latin are shown as `?`.
    pub text: String,
}

/// Draws boxes on their picture, the first on top. Labels avoid each other where there is room.
pub fn draw(picture: &mut RgbImage, marks: &[Mark]) {
    let style = Style::for_side(picture.width().max(picture.height()));
    for mark in marks.iter().rev() {
        frame(picture, Area::of(mark.corners), style.line, colour(mark.class));
    }
    let mut taken: Vec<Area> = Vec::new();
    for mark in marks {
        taken.push(style.place(&mark.text, Area::of(mark.corners), picture, &taken));
    }
    for (mark, area) in marks.iter().zip(taken).rev() {
        fill(picture, area, colour(mark.class));
        style.write(picture, &mark.text, area, ink_on(colour(mark.class)));
    }
}

/// A rectangle of pixels: left and top in it, right and bottom beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Area {
    left: i64,
    top: i64,
    right: i64,
    bottom: i64,
}

impl Area {
    fn of(corners: [f32; 4]) -> Area {
        // Far beyond any picture, far from overflow.
        const FAR: f32 = 1e6;
        let [left, top, right, bottom] = corners.map(|corner| corner.clamp(-FAR, FAR).round() as i64);
        Area { left, top, right, bottom }
    }

    /// A rectangle of this size moved into the picture, from its right and bottom edges first.
    fn inside(left: i64, top: i64, (width, height): (i64, i64), picture: &RgbImage) -> Area {
        let left = left.min(i64::from(picture.width()) - width).max(0);
        let top = top.min(i64::from(picture.height()) - height).max(0);
        Area { left, top, right: left + width, bottom: top + height }
    }

    fn touches(&self, other: &Area) -> bool {
        let across = self.left < other.right && other.left < self.right;
        across && self.top < other.bottom && other.top < self.bottom
    }
}

/// Widths and letters that suit a picture's size.
struct Style {
    /// Width of frames in pixels.
    line: i64,
    font: RasterHeight,
    /// How many times the largest font is enlarged.
    zoom: u32,
}

impl Style {
    /// Letters of about a thirtieth of the longer side, lines of a three-hundredth.
    fn for_side(side: u32) -> Style {
        let (font, zoom) = match side {
            0..=479 => (RasterHeight::Size16, 1),
            480..=799 => (RasterHeight::Size20, 1),
            _ => (RasterHeight::Size24, (side / 720).max(1)),
        };
        Style { line: i64::from(side / 300).max(2), font, zoom }
    }

    fn letter(&self) -> (i64, i64) {
        let zoom = i64::from(self.zoom);
        let width = get_raster_width(FontWeight::Bold, self.font) as i64;
        (width * zoom, self.font.val() as i64 * zoom)
    }

    /// Free pixels left and right of a label's text.
    fn padding(&self) -> i64 {
        self.letter().0 / 3
    }

    /// Where the label of a box goes: above its top left corner, else inside, else below, else above its right
    /// corner, else further down inside; where all collide, inside.
    fn place(&self, text: &str, frame: Area, picture: &RgbImage, taken: &[Area]) -> Area {
        const ROWS: i64 = 8;
        let (width, height) = self.letter();
        let size = (width * text.chars().count() as i64 + 2 * self.padding(), height);
        let half = self.line / 2;
        let (left, top) = (frame.left - half, frame.top - half);
        let at = |left, top| Area::inside(left, top, size, picture);
        let above_right = at(frame.right + half - size.0, top - height);
        let corners = [at(left, top - height), at(left, top), at(left, frame.bottom + half), above_right];
        let further = (1..ROWS).map(|row| at(left, top + row * height));
        let is_free = |area: &Area| !taken.iter().any(|other| other.touches(area));
        corners.into_iter().chain(further).find(is_free).unwrap_or_else(|| at(left, top))
    }

    fn write(&self, picture: &mut RgbImage, text: &str, area: Area, ink: Rgb<u8>) {
        let mut left = area.left + self.padding();
        for letter in text.chars() {
            self.write_letter(picture, letter, (left, area.top), ink);
            left += self.letter().0;
        }
    }

    /// Letters that the font lacks are shown as `?`.
    fn write_letter(&self, picture: &mut RgbImage, letter: char, (left, top): (i64, i64), ink: Rgb<u8>) {
        let glyph = |letter| get_raster(letter, FontWeight::Bold, self.font);
        let Some(glyph) = glyph(letter).or_else(|| glyph('?')) else { return };
        let (width, height) = self.letter();
        for y in 0..height {
            for x in 0..width {
                let coverage = coverage(glyph.raster(), self.sample(x), self.sample(y));
                blend(picture, left + x, top + y, ink, coverage);
            }
        }
    }

    /// The place in the glyph of a pixel of the enlarged letter: pixel centres fall on each other.
    fn sample(&self, position: i64) -> f32 {
        (position as f32 + 0.5) / self.zoom as f32 - 0.5
    }
}

/// How much of a place in a glyph is covered, 0 to 1: bilinear between its pixels.
fn coverage(raster: &[&[u8]], x: f32, y: f32) -> f32 {
    let at = |row: f32, column: f32| {
        let inside = row >= 0.0 && column >= 0.0;
        let pixel = inside.then(|| raster.get(row as usize)?.get(column as usize)).flatten();
        pixel.map_or(0.0, |&byte| f32::from(byte) / 255.0)
    };
    let (column, row) = (x.floor(), y.floor());
    let along = |row: f32| mix(at(row, column), at(row, column + 1.0), x - column);
    mix(along(row), along(row + 1.0), y - row)
}

fn mix(from: f32, to: f32, weight: f32) -> f32 {
    from * (1.0 - weight) + to * weight
}

fn blend(picture: &mut RgbImage, x: i64, y: i64, ink: Rgb<u8>, coverage: f32) {
    let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
    let Some(pixel) = picture.get_pixel_mut_checked(x, y) else { return };
    for (channel, ink) in pixel.0.iter_mut().zip(ink.0) {
        *channel = mix(f32::from(*channel), f32::from(ink), coverage).round() as u8;
    }
}

fn fill(picture: &mut RgbImage, area: Area, colour: Rgb<u8>) {
    let inside = |position: i64, length: u32| position.clamp(0, i64::from(length)) as u32;
    let columns = inside(area.left, picture.width())..inside(area.right, picture.width());
    for y in inside(area.top, picture.height())..inside(area.bottom, picture.height()) {
        for x in columns.clone() {
            picture.put_pixel(x, y, colour);
        }
    }
}

/// The outline of a box, half of the line outside of it.
fn frame(picture: &mut RgbImage, box_: Area, line: i64, colour: Rgb<u8>) {
    let half = line / 2;
    let (left, top) = (box_.left - half, box_.top - half);
    let (right, bottom) = (box_.right + half, box_.bottom + half);
    fill(picture, Area { left, top, right, bottom: top + line }, colour);
    fill(picture, Area { left, top: bottom - line, right, bottom }, colour);
    fill(picture, Area { left, top, right: left + line, bottom }, colour);
    fill(picture, Area { left: right - line, top, right, bottom }, colour);
}

/// A bright colour for each class: hues a golden ratio apart, so that neighbours differ and none repeats soon.
fn colour(class: usize) -> Rgb<u8> {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let hue = (class as f64 * GOLDEN).fract();
    let lightness = [0.55, 0.45, 0.65].get(class % 3).copied().unwrap_or(0.55);
    let channel = |shift: f64| {
        let place = ((hue + shift).fract() * 6.0 - 3.0).abs() - 1.0;
        let saturated = place.clamp(0.0, 1.0);
        // From the saturated colour towards black or white by lightness.
        let value = lightness + 0.95 * (saturated - 0.5) * (1.0 - (2.0 * lightness - 1.0_f64).abs());
        (value * 255.0).round() as u8
    };
    Rgb([channel(0.0), channel(2.0 / 3.0), channel(1.0 / 3.0)])
}

/// Black or white, whichever stands out more (relative luminance of Rec. 709 on gamma-coded values).
fn ink_on(Rgb([red, green, blue]): Rgb<u8>) -> Rgb<u8> {
    let luminance = 0.2126 * f32::from(red) + 0.7152 * f32::from(green) + 0.0722 * f32::from(blue);
    if luminance > 128.0 { Rgb([0; 3]) } else { Rgb([255; 3]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(corners: [f32; 4], class: usize) -> Mark {
        Mark { corners, class, text: "cat 0.50".to_owned() }
    }

    #[test]
    fn frames_and_labels_stay_in_the_picture() {
        let wild = [[-50.0, -50.0, 9999.0, 9999.0], [60.0, 60.0, 64.0, 64.0], [f32::NAN, 0.0, 1.0, f32::MAX]];
        for side in [4, 64] {
            let mut picture = RgbImage::new(side, side);
            let marks: Vec<Mark> = wild.into_iter().zip(0..).map(|(c, i)| mark(c, i)).collect();
            draw(&mut picture, &marks);
            assert_eq!((picture.width(), picture.height()), (side, side));
        }
    }

    #[test]
    fn a_box_is_drawn_in_the_colour_of_its_class() {
        let mut picture = RgbImage::new(200, 200);
        draw(&mut picture, &[mark([50.0, 50.0, 150.0, 150.0], 3)]);
        for (x, y) in [(50, 100), (149, 100), (100, 149)] {
            assert_eq!(*picture.get_pixel(x, y), colour(3));
        }
        assert_eq!(picture.get_pixel(100, 100).0, [0; 3]);
        // The label is above the box, its text in the other tone.
        let label: Vec<Rgb<u8>> = (50..150).map(|x| *picture.get_pixel(x, 41)).collect();
        assert!(label.contains(&colour(3)) && label.contains(&ink_on(colour(3))));
    }

    #[test]
    fn labels_avoid_each_other() {
        let picture = RgbImage::new(400, 400);
        let style = Style::for_side(400);
        let frame = Area { left: 100, top: 100, right: 200, bottom: 200 };
        let first = style.place("cat 0.50", frame, &picture, &[]);
        let second = style.place("dog 0.50", frame, &picture, &[first]);
        assert!(first.bottom <= 100 && !first.touches(&second));
    }

    #[test]
    fn colours_of_classes_differ() {
        let colours: std::collections::HashSet<[u8; 3]> = (0..80).map(|class| colour(class).0).collect();
        assert_eq!(colours.len(), 80);
    }
}
