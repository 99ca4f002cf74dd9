//! Where pixels and channels lie in a buffer: data that every kernel is told.

/// Where the pixels of a value lie in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) images: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Position of the first pixel.
    pub(crate) start: usize,
    /// Floats from an image to the next.
    pub(crate) image: usize,
    /// Floats from a row to the next.
    pub(crate) row: usize,
    /// Floats from a pixel to the next.
    pub(crate) record: usize,
    /// Pixels of zeros around each image.
    pub(crate) border: usize,
}

impl Grid {
    /// Pixels after one another, `record` floats each.
    pub(crate) fn packed(images: usize, [height, width]: [usize; 2], record: usize) -> Grid {
        let row = width * record;
        Grid { images, height, width, start: 0, image: height * row, row, record, border: 0 }
    }

    /// The same with a border of zeros around each image.
    pub(crate) fn bordered(images: usize, [height, width]: [usize; 2], record: usize, border: usize) -> Grid {
        let row = (width + 2 * border) * record;
        let image = (height + 2 * border) * row;
        Grid { images, height, width, start: border * (row + record), image, row, record, border }
    }

    pub(crate) fn image(&self, image: usize) -> Grid {
        Grid { images: 1, start: self.start + image * self.image, ..*self }
    }

    /// Pixels of an image.
    pub(crate) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Whether rows follow each other without a gap.
    pub(crate) fn is_dense(&self) -> bool {
        self.row == self.width * self.record
    }

    /// The pixels of dense rows as a single column.
    pub(crate) fn flat(&self) -> Grid {
        Grid { height: self.pixels(), width: 1, row: self.record, ..*self }
    }

    pub(crate) fn at(&self, image: usize, y: usize, x: usize) -> usize {
        self.start + image * self.image + y * self.row + x * self.record
    }

    /// Position of a pixel of an image by its number.
    #[inline(always)]
    pub(crate) fn nth(&self, image: usize, pixel: usize) -> usize {
        if self.is_dense() {
            return self.start + image * self.image + pixel * self.record;
        }
        self.at(image, pixel / self.width.max(1), pixel % self.width.max(1))
    }

    /// Floats that a buffer needs for it.
    pub(crate) fn end(&self) -> usize {
        match (self.images, self.pixels()) {
            (0, _) | (_, 0) => 0,
            (images, _) => {
                let last = self.at(images - 1, self.height - 1, self.width - 1) + self.record;
                last + self.border * (self.row + self.record)
            }
        }
    }
}

/// Channels after one another in the record of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// Position of the first in the record.
    pub(crate) start: usize,
    pub(crate) length: usize,
}

/// The runs, each with the number of channels in those before it.
pub(crate) fn in_turn(runs: &[Run]) -> impl Iterator<Item = (Run, usize)> + '_ {
    let mut offset = 0;
    runs.iter().map(move |run| {
        let before = offset;
        offset += run.length;
        (*run, before)
    })
}

/// The positions of channels, ascending, as runs.
pub(crate) fn runs(positions: &[usize]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for &position in positions {
        match runs.last_mut() {
            Some(run) if run.start + run.length == position => run.length += 1,
            _ => runs.push(Run { start: position, length: 1 }),
        }
    }
    runs
}

/// Numbers, their pixels, and the position of the first channel in a record.
pub(crate) type Source<'a> = (&'a [f32], Grid, usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_channels_make_runs() {
        let run = |start, length| Run { start, length };
        assert_eq!(runs(&[0, 1, 2, 5, 6, 9]), [run(0, 3), run(5, 2), run(9, 1)]);
        assert_eq!(runs(&[]), []);
    }
}
