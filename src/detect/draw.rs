//! Detections drawn on their picture.

use image::RgbImage;

use super::{Detection, Labels};
use vision::pictures::{self, Mark};

/// Draws detections on their picture with names and scores, the best on top.
pub fn draw(picture: &mut RgbImage, detections: &[Detection], labels: &Labels) {
    let mark = |one: &Detection| Mark {
        corners: one.corners,
        class: one.class,
        text: format!("{} {:.2}", labels.name(one.class), one.score),
    };
    pictures::draw(picture, &detections.iter().map(mark).collect::<Vec<_>>());
}
