//! Chunks of pixels, whose size depends on the shape only.

use std::ops::Range;

/// Floats of a chunk, about: 32 KiB, so that the second look at them, for the distances from their mean, finds them in the
/// first cache. A choice.
const CHUNK: usize = 8192;

/// Chunks of an image's pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    images: usize,
    pub(super) pixels: usize,
    in_chunk: usize,
}

impl Chunks {
    pub(super) fn new(images: usize, pixels: usize, channels: usize) -> Chunks {
        Chunks { images, pixels, in_chunk: (CHUNK / channels.max(1)).clamp(1, pixels.max(1)) }
    }

    pub(super) fn per_image(&self) -> usize {
        self.pixels.div_ceil(self.in_chunk)
    }

    pub(super) fn count(&self) -> usize {
        self.images * self.per_image()
    }

    pub(super) fn range(&self, chunk: usize) -> (usize, Range<usize>) {
        let start = chunk % self.per_image() * self.in_chunk;
        (chunk / self.per_image(), start..(start + self.in_chunk).min(self.pixels))
    }
}

/// Chunks of an image.
pub(super) fn image(chunks: Chunks, image: usize) -> Range<usize> {
    image * chunks.per_image()..(image + 1) * chunks.per_image()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_pixel_once() {
        let chunks = Chunks::new(2, 100, 1000);
        let all: Vec<(usize, usize)> = (0..chunks.count())
            .flat_map(|chunk| {
                let (image, pixels) = chunks.range(chunk);
                pixels.map(move |pixel| (image, pixel))
            })
            .collect();
        assert_eq!(all, (0..200).map(|at| (at / 100, at % 100)).collect::<Vec<_>>());
    }
}
