//! JPEG to the same bytes as libjpeg-turbo, which OpenCV and Pillow decode with.
//!
//! Decoders may differ in rounding, and detectors feel it: with the decoder of the `image` crate, which interpolates
//! halved colour planes otherwise, a fifth of all values differ by up to 3, scores by up to 0.1, and overlaps near
//! the threshold fall to the other side.

use std::path::Path;

use image::RgbImage;
use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat};

use super::Error;
use super::limits::{MAX_PIXELS, MAX_SIDE};

/// The most scans of a progressive picture; encoders write about ten, each costs time in proportion to the pixels.
const MAX_SCANS: usize = 100;

/// Decodes a JPEG to RGB as it lies in the file; `None` for the rare kinds that have no RGB in libjpeg (CMYK).
///
/// # Errors
/// The data are damaged or cut off: decoders would fill the rest with grey.
pub(super) fn decode(bytes: &[u8], file: &Path) -> Result<Option<RgbImage>, Error> {
    let corrupt = |problem: String| Error::Corrupt { file: file.to_owned(), problem };
    if !is_complete(bytes) {
        return Err(corrupt("the JPEG data stop before their end marker".to_owned()));
    }
    match decode_rgb(bytes) {
        Ok(picture) => Ok(picture),
        Err(JpegError::Unsupported(_)) => Ok(None),
        Err(problem) => Err(corrupt(problem.to_string())),
    }
}

fn decode_rgb(bytes: &[u8]) -> Result<Option<RgbImage>, JpegError> {
    let limits = DecodeLimits {
        max_width: MAX_SIDE as usize,
        max_height: MAX_SIDE as usize,
        max_pixels: MAX_PIXELS,
        max_scans: MAX_SCANS,
        ..DecodeLimits::default()
    };
    let mut decoder = Decoder::new_with_limits(bytes, limits)?;
    decoder.set_output_format(PixelFormat::Rgb);
    let decoded = decoder.decode_image()?;
    Ok(RgbImage::from_raw(decoded.width as u32, decoded.height as u32, decoded.data))
}

/// Start of scan and end of image: the second byte of the markers.
const SCAN: u8 = 0xda;
const END: u8 = 0xd9;

/// Whether an end marker follows the first scan: the decoder would fill the rest of a cut file with grey.
///
/// Inside a scan 0xff is always followed by a zero or a restart marker, so an end marker found there is one. The
/// segments before it are skipped, because a thumbnail among them has an end marker of its own.
fn is_complete(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xff, marker, after @ ..] = rest {
        match (*marker, after) {
            (SCAN, scan) => return scan.windows(2).any(|pair| pair == [0xff, END]),
            (0xff, _) => rest = rest.get(1..).unwrap_or_default(),
            (_, [high, low, ..]) => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                rest = after.get(length..).unwrap_or_default();
            }
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, Rgb};

    use super::*;

    /// Damage may go unnoticed or be an error, but ends in neither a panic nor another size.
    #[test]
    fn damage_is_survived() {
        let picture = RgbImage::from_fn(40, 24, |x, y| Rgb([(x * 6) as u8, (y * 9) as u8, (x ^ y) as u8]));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        let original = bytes.into_inner();
        for position in 0..original.len() {
            for mask in [0x01, 0x10, 0x80, 0xff] {
                let mut damaged = original.clone();
                damaged[position] ^= mask;
                if let Ok(Some(decoded)) = decode(&damaged, Path::new("x.jpg")) {
                    assert!(decoded.width() <= MAX_SIDE && decoded.height() <= MAX_SIDE);
                }
            }
        }
        assert_eq!(decode(&original, Path::new("x.jpg")).unwrap().unwrap().dimensions(), (40, 24));
    }

    /// An end marker before the first scan is that of a thumbnail.
    #[test]
    fn a_thumbnail_does_not_complete_a_picture() {
        let thumbnail = b"\xff\xd8\xff\xe1\x00\x06\xff\xd9..\xff\xda\x00\x02scan";
        assert!(!is_complete(thumbnail));
        assert!(is_complete(&[&thumbnail[..], b"\xff\xd9"].concat()));
    }
}
