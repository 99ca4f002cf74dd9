//! Sizes of pictures as arguments.

use network::models::Size;

/// Larger sides than this are mistakes.
const LARGEST_SIDE: usize = 8192;

/// A size in pixels, written `416` or `640x480`.
pub(super) fn image_size(text: &str) -> Result<Size, String> {
    let side = |side: &str| match side.parse() {
        Ok(side @ 1..=LARGEST_SIDE) => Ok(side),
        _ => Err(format!("write a side of 1 to {LARGEST_SIDE} pixels, or WIDTHxHEIGHT")),
    };
    let (width, height) = text.split_once('x').unwrap_or((text, text));
    Ok(Size { width: side(width)?, height: side(height)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_side_or_width_and_height() {
        assert_eq!(image_size("416"), Ok(Size::square(416)));
        assert_eq!(image_size("640x480"), Ok(Size { width: 640, height: 480 }));
        for wrong in ["", "0", "-1", "640x", "1x2x3", "99999"] {
            assert!(image_size(wrong).unwrap_err().contains("WIDTHxHEIGHT"), "{wrong}");
        }
    }
}
