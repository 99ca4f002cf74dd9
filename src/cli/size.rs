//! Sizes of pictures as arguments.

use std::str::FromStr;

/// Width and height in pixels, written `416` or `640x480`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ImageSize {
    pub(super) width: usize,
    pub(super) height: usize,
}

/// Larger sides than this are mistakes.
const LARGEST_SIDE: usize = 8192;

impl FromStr for ImageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |side: &str| match side.parse() {
            Ok(side @ 1..=LARGEST_SIDE) => Ok(side),
            _ => Err(format!("write a side of 1 to {LARGEST_SIDE} pixels, or WIDTHxHEIGHT")),
        };
        let (width, height) = text.split_once('x').unwrap_or((text, text));
        Ok(ImageSize { width: side(width)?, height: side(height)? })
    }
}

impl ImageSize {
    /// Shape of a batch of one picture of three channels.
    pub(super) fn batch(self) -> [usize; 4] {
        [1, 3, self.height, self.width]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_side_or_width_and_height() {
        assert_eq!("416".parse(), Ok(ImageSize { width: 416, height: 416 }));
        assert_eq!("640x480".parse(), Ok(ImageSize { width: 640, height: 480 }));
        assert_eq!("640x480".parse::<ImageSize>().unwrap().batch(), [1, 3, 480, 640]);
        for wrong in ["", "0", "-1", "640x", "1x2x3", "99999"] {
            assert!(wrong.parse::<ImageSize>().unwrap_err().contains("WIDTHxHEIGHT"), "{wrong}");
        }
    }
}
