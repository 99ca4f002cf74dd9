//! Where values and gradients lie.

use crate::runtime::kernels::channels_last::Grid;
use crate::runtime::kernels::channels_last::elementwise::to_planes;

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
        let (storage, grid, channels) = match *shape {
            [images, channels, height, width] => {
                (Storage::ChannelsLast, Grid::packed(images, [height, width], channels), channels)
            }
            _ => {
                let last = shape.last().copied().unwrap_or(1).max(1);
                let rows = shape.iter().product::<usize>() / last;
                (Storage::RowMajor, Grid::packed(1, [rows, 1], last), last)
            }
        };
        Place { buffer, storage, grid, channel: 0, channels }
    }

    /// Points of several levels: `[N, C, points]` with the channels of a point after one another.
    pub(super) fn points(buffer: usize, [images, channels, points]: [usize; 3]) -> Place {
        let grid = Grid::packed(images, [1, points], channels);
        Place { buffer, storage: Storage::ChannelsLast, grid, channel: 0, channels }
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
