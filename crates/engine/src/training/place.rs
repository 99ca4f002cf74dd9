//! Where values and gradients lie.

use crate::kernels::channels_last::Grid;
use crate::kernels::channels_last::elementwise::to_planes;

/// Order of a value's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    /// `[N, C, H, W]` or `[N, C, points]`: the channels of a pixel follow each other.
    ChannelsLast,
    /// Any shape, row-major.
    RowMajor,
}

/// Where a value lies: its pixels, and its channels in order within their records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) buffer: usize,
    pub(super) storage: Storage,
    pub(super) grid: Grid,
    /// Position of the first channel in a record.
    pub(super) channel: usize,
    pub(super) channels: usize,
}

impl Place {
    /// A value of this shape alone in a buffer.
    pub(super) fn packed(buffer: usize, shape: &[usize]) -> Place {
        match *shape {
            [images, channels, height, width] => {
                let grid = Grid::packed(images, [height, width], channels);
                Place { buffer, storage: Storage::ChannelsLast, grid, channel: 0, channels }
            }
            _ => Place::row_major(buffer, shape),
        }
    }

    /// The same row-major.
    pub(super) fn row_major(buffer: usize, shape: &[usize]) -> Place {
        let last = shape.last().copied().unwrap_or(1).max(1);
        let grid = Grid::packed(1, [shape.iter().product::<usize>() / last, 1], last);
        Place { buffer, storage: Storage::RowMajor, grid, channel: 0, channels: last }
    }

    /// Row-major numbers as so many rows of so many floats for each image.
    pub(super) fn seen_as(&self, [images, rows, floats]: [usize; 3]) -> Place {
        Place { grid: Grid::packed(images, [rows, 1], floats), channel: 0, channels: floats, ..*self }
    }

    /// Points of several levels: `[N, C, points]` with the channels of a point after one another.
    pub(super) fn points(buffer: usize, [images, channels, points]: [usize; 3]) -> Place {
        let grid = Grid::packed(images, [1, points], channels);
        Place { buffer, storage: Storage::ChannelsLast, grid, channel: 0, channels }
    }

    /// Images, rows and floats of a row, as [`Place::seen_as`] has them.
    pub(super) fn rows(&self) -> [usize; 3] {
        [self.grid.images, self.grid.pixels(), self.channels]
    }

    /// The pixels of `part` among points, from the point `offset` on.
    pub(super) fn level(&self, part: &Place, offset: usize) -> Place {
        let Grid { height, width, .. } = part.grid;
        let record = self.grid.record;
        let start = self.grid.start + offset * record;
        Place { grid: Grid { start, height, width, row: width * record, ..self.grid }, ..*self }
    }

    /// Some of the channels.
    pub(super) fn part(&self, start: usize, channels: usize) -> Place {
        Place { channel: self.channel + start, channels, ..*self }
    }

    /// Whether there is nothing but the value between its first number and its last.
    pub(super) fn is_packed(&self) -> bool {
        let Grid { image, record, border, .. } = self.grid;
        let fills = self.channel == 0 && record == self.channels && border == 0;
        fills && self.grid.is_dense() && image == self.grid.pixels() * record
    }

    /// Whether two values have their pixels in the same rows and columns.
    pub(super) fn is_parallel(&self, other: &Place) -> bool {
        let size = |place: &Place| (place.grid.images, place.grid.height, place.grid.width, place.channels);
        size(self) == size(other)
    }

    /// Number of floats.
    pub(super) fn elements(&self) -> usize {
        self.grid.images * self.grid.pixels() * self.channels
    }

    /// Writes the numbers row-major into `result`, which has room for them.
    pub(super) fn read(&self, buffer: &[f32], result: &mut [f32]) {
        match self.storage {
            Storage::ChannelsLast => {
                to_planes(buffer, self.grid, self.channel..self.channel + self.channels, result);
            }
            Storage::RowMajor => {
                let source = buffer.get(self.grid.start..).unwrap_or_default();
                result.iter_mut().zip(source).for_each(|(slot, value)| *slot = *value);
            }
        }
    }

    /// Writes row-major numbers, or adds them to what is there.
    pub(super) fn write(&self, numbers: &[f32], buffer: &mut [f32], add: bool) {
        let put = |(slot, number): (&mut f32, &f32)| *slot = if add { *slot + number } else { *number };
        if self.storage == Storage::RowMajor {
            let slots = buffer.get_mut(self.grid.start..).unwrap_or_default();
            return slots.iter_mut().zip(numbers).for_each(put);
        }
        for (index, plane) in numbers.chunks(self.grid.pixels().max(1)).enumerate() {
            let (image, channel) = (index / self.channels.max(1), index % self.channels.max(1));
            for (y, row) in plane.chunks(self.grid.width.max(1)).enumerate() {
                let first = self.grid.at(image, y, 0) + self.channel + channel;
                let slots = buffer.get_mut(first..).unwrap_or_default();
                slots.iter_mut().step_by(self.grid.record.max(1)).zip(row).for_each(put);
            }
        }
    }
}
