//! Reading pictures: JPEG, PNG, BMP and WebP into 8-bit RGB, turned as their EXIF orientation says.
//!
//! Pictures come from strangers: size is checked before anything is decoded, and a cut file is an error rather
//! than a grey half.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use super::limits::{MAX_FILE_BYTES, MAX_PIXELS, MAX_SIDE, MIN_SIDE};
use super::{Error, jpeg};

/// What pictures in a folder are known by; a file named by the user may have any name.
pub const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "bmp", "webp"];

/// Bytes read for a picture's size; where that is not enough, all are.
const HEAD_BYTES: u64 = 1 << 18;

/// What a decoder may allocate beside the file: 8 bytes a pixel, that is 16-bit RGBA.
const MAX_DECODER_BYTES: u64 = MAX_PIXELS * 8;

/// Reads a picture: 8-bit RGB, upright.
///
/// # Errors
/// The file is not readable, empty, no picture, damaged, too large or too small.
pub fn read_image(file: &Path) -> Result<RgbImage, Error> {
    let io = |problem| Error::Io { file: file.to_owned(), problem };
    let opened = File::open(file).map_err(io)?;
    let mut bytes = Vec::new();
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let size = file.metadata().map_or(MAX_FILE_BYTES + 1, |metadata| metadata.len());
        return Err(Error::FileTooLarge { file: file.to_owned(), size });
    }
    decode_image(&bytes, file)
}

/// Decodes the `bytes` of the picture `file` (for messages only) as [`read_image`] does.
///
/// # Errors
/// The bytes are none, no picture, damaged, too many or too few pixels.
pub fn decode_image(bytes: &[u8], file: &Path) -> Result<RgbImage, Error> {
    let corrupt =
        |problem: ImageError| Error::Corrupt { file: file.to_owned(), problem: problem.to_string() };
    let (format, mut decoder) = decoder(bytes, file)?;
    check_size(decoder.dimensions(), file)?;
    // OpenCV's imread turns pictures too; an unreadable orientation is none.
    let orientation = decoder.orientation();
    let exact = if format == ImageFormat::Jpeg { jpeg::decode(bytes, file)? } else { None };
    let mut decoded = match exact {
        Some(picture) => DynamicImage::from(picture),
        None => DynamicImage::from_decoder(decoder).map_err(corrupt)?,
    };
    if let Ok(orientation) = orientation {
        decoded.apply_orientation(orientation);
    }
    Ok(decoded.into_rgb8())
}

/// What a picture says before its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureHead {
    /// Pixels across, upright.
    pub width: u32,
    /// Pixels down, upright.
    pub height: u32,
    /// Whether EXIF says that it lies otherwise in its file; [`read_image`] turns it.
    pub is_turned: bool,
}

/// Reads the size of a picture without decoding it.
///
/// # Errors
/// The file is not readable, empty, no picture, too large or too small.
pub fn read_picture_head(file: &Path) -> Result<PictureHead, Error> {
    let head = read_start(file, HEAD_BYTES)?;
    match picture_head(&head, file) {
        Err(Error::Corrupt { .. }) if head.len() as u64 == HEAD_BYTES => {
            picture_head(&read_start(file, MAX_FILE_BYTES)?, file)
        }
        found => found,
    }
}

fn read_start(file: &Path, length: u64) -> Result<Vec<u8>, Error> {
    let io = |problem| Error::Io { file: file.to_owned(), problem };
    let mut bytes = Vec::new();
    File::open(file).map_err(io)?.take(length).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

fn picture_head(bytes: &[u8], file: &Path) -> Result<PictureHead, Error> {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let mut decoder = decoder(bytes, file)?.1;
    check_size(decoder.dimensions(), file)?;
    let (width, height) = decoder.dimensions();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let lies = matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH);
    let (width, height) = if lies { (height, width) } else { (width, height) };
    Ok(PictureHead { width, height, is_turned: orientation != Orientation::NoTransforms })
}

/// The decoder that the first bytes ask for.
fn decoder<'a>(bytes: &'a [u8], file: &Path) -> Result<(ImageFormat, impl ImageDecoder + 'a), Error> {
    if bytes.is_empty() {
        return Err(Error::Empty { file: file.to_owned() });
    }
    let format = image::guess_format(bytes).ok().filter(ImageFormat::reading_enabled);
    let format = format.ok_or_else(|| Error::NotAnImage { file: file.to_owned() })?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits());
    let decoder = reader.into_decoder();
    let corrupt =
        |problem: ImageError| Error::Corrupt { file: file.to_owned(), problem: problem.to_string() };
    Ok((format, decoder.map_err(corrupt)?))
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    limits
}

fn check_size((width, height): (u32, u32), file: &Path) -> Result<(), Error> {
    if width.max(height) > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Error::TooLarge { file: file.to_owned(), width, height });
    }
    if width.min(height) < MIN_SIDE {
        return Err(Error::TooSmall { file: file.to_owned(), width, height });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use files::Failure;
    use image::{GrayImage, ImageBuffer, Luma, Rgb, Rgba};

    use super::*;

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn decoded(bytes: &[u8]) -> Result<RgbImage, Error> {
        decode_image(bytes, Path::new("picture"))
    }

    fn gradient() -> RgbImage {
        RgbImage::from_fn(64, 48, |x, y| Rgb([(x * 4) as u8, (y * 5) as u8, ((x * y) % 251) as u8]))
    }

    #[test]
    fn every_depth_becomes_rgb8() {
        let grey = DynamicImage::from(GrayImage::from_pixel(8, 8, Luma([77])));
        let deep: ImageBuffer<Rgba<u16>, _> = ImageBuffer::from_pixel(8, 8, Rgba([257 * 9, 0, 65535, 12]));
        assert_eq!(decoded(&encoded(&grey, ImageFormat::Png)).unwrap().get_pixel(3, 3).0, [77; 3]);
        let deep = decoded(&encoded(&DynamicImage::from(deep), ImageFormat::Png)).unwrap();
        assert_eq!(deep.get_pixel(0, 0).0, [9, 0, 255]);
    }

    #[test]
    fn lossless_formats_keep_every_pixel() {
        let original = gradient();
        for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP] {
            assert_eq!(decoded(&encoded(&original.clone().into(), format)).unwrap(), original, "{format:?}");
        }
    }

    /// A file cut anywhere is an error, for every format; a JPEG too, whose decoder would go on with grey.
    #[test]
    fn cut_files_are_errors() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP] {
            let bytes = encoded(&gradient().into(), format);
            assert!(decoded(&bytes).is_ok());
            for length in (1..bytes.len()).step_by(29).chain([bytes.len() - 1]) {
                // The end chunk of a PNG and the padding of a WebP carry nothing.
                let empty_end = match format {
                    ImageFormat::Png => 12,
                    ImageFormat::WebP => 1,
                    _ => 0,
                };
                let harmless = length + empty_end >= bytes.len();
                assert!(decoded(&bytes[..length]).is_err() || harmless, "{format:?} cut at {length}");
            }
        }
    }

    /// EXIF with nothing but an orientation, spliced in after the JPEG's first two bytes.
    fn oriented(jpeg: &[u8], orientation: u8) -> Vec<u8> {
        let mut exif = b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
        [&jpeg[..2], &exif, &jpeg[2..]].concat()
    }

    #[test]
    fn the_exif_orientation_is_applied() {
        let jpeg = encoded(&gradient().into(), ImageFormat::Jpeg);
        let upright = decoded(&jpeg).unwrap();
        assert_eq!(decoded(&oriented(&jpeg, 1)).unwrap(), upright);
        assert_eq!(decoded(&oriented(&jpeg, 6)).unwrap(), image::imageops::rotate90(&upright));
        assert_eq!(decoded(&oriented(&jpeg, 3)).unwrap(), image::imageops::rotate180(&upright));
    }

    #[test]
    fn heads_have_the_upright_size() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("picture");
        let head = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            read_picture_head(&file).map(|head| (head.width, head.height, head.is_turned))
        };
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP] {
            assert_eq!(head(&encoded(&gradient().into(), format)).unwrap(), (64, 48, false), "{format:?}");
        }
        let jpeg = encoded(&gradient().into(), ImageFormat::Jpeg);
        assert_eq!(head(&oriented(&jpeg, 6)).unwrap(), (48, 64, true));
        assert_eq!(head(&oriented(&jpeg, 3)).unwrap(), (64, 48, true));
        assert!(head(b"").is_err() && head(b"text").is_err() && head(&jpeg[..20]).is_err());
        // Longer than what is read at first: the size of a WebP is known after its last chunk.
        let noise = RgbImage::from_fn(700, 500, |x, y| {
            Rgb([(x * y) as u8, ((x * x) ^ y) as u8, (x ^ (y * y)) as u8])
        });
        let webp = encoded(&noise.into(), ImageFormat::WebP);
        assert!(webp.len() as u64 > HEAD_BYTES);
        assert_eq!(head(&webp).unwrap(), (700, 500, false));
    }

    /// A bitmap's header can announce any size; nothing of that size is allocated.
    #[test]
    fn absurd_sizes_are_refused_before_decoding() {
        for (width, height) in [(20_000, 10), (10, 20_000), (16_384, 16_384), (1, 1), (640, 3)] {
            let mut bytes = encoded(&gradient().into(), ImageFormat::Bmp);
            bytes[18..22].copy_from_slice(&i32::to_le_bytes(width));
            bytes[22..26].copy_from_slice(&i32::to_le_bytes(height));
            let error = decoded(&bytes).unwrap_err();
            assert_eq!(error.class(), "limit", "{error}");
            assert!(error.to_string().contains(&format!("{width}x{height}")), "{error}");
        }
    }

    #[test]
    fn what_is_no_picture_is_named() {
        assert!(matches!(decoded(b""), Err(Error::Empty { .. })));
        assert!(matches!(decoded(b"<!DOCTYPE html>"), Err(Error::NotAnImage { .. })));
        assert!(matches!(decoded(b"GIF89a\x01\0\x01\0\0\0\0"), Err(Error::NotAnImage { .. })));
        assert!(matches!(read_image(Path::new("/no/such/file.jpg")), Err(Error::Io { .. })));
        assert!(matches!(read_image(Path::new("/")), Err(Error::Io { .. })));
    }
}
