//! Where values lie while a plan runs.

use crate::cpu::elements::planes::to_planes;
use crate::cpu::grid::{Grid, Run, runs};

/// What the axes of a value are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `[N, C, H, W]`.
    Map,
    /// `[N, C, points]`.
    ChannelsFirst,
    /// `[N, points, C]`.
    PointsFirst,
    /// Any shape, row-major.
    RowMajor,
}

/// Channels after one another in the records of a buffer: what steps read and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) buffer: usize,
    pub(crate) grid: Grid,
    /// Position of the first channel in a record.
    pub(crate) channel: usize,
    pub(crate) channels: usize,
}

impl Part {
    /// All channels of the records of a grid.
    pub(crate) fn whole(buffer: usize, grid: Grid) -> Part {
        Part { buffer, grid, channel: 0, channels: grid.record }
    }

    /// Some of the channels.
    pub(crate) fn part(&self, start: usize, channels: usize) -> Part {
        Part { channel: self.channel + start, channels, ..*self }
    }

    /// One of the images.
    pub(crate) fn image(&self, image: usize) -> Part {
        Part { grid: self.grid.image(image), ..*self }
    }

    /// Row-major numbers as so many rows of so many floats for each image.
    pub(crate) fn seen_as(&self, [images, rows, floats]: [usize; 3]) -> Part {
        Part::whole(self.buffer, Grid::packed(images, [rows, 1], floats))
    }

    /// The same pixels without a gap in another buffer.
    pub(crate) fn packed_in(&self, buffer: usize) -> Part {
        let Grid { images, height, width, .. } = self.grid;
        Part::whole(buffer, Grid::packed(images, [height, width], self.channels))
    }

    /// Whether there is nothing but the value between its first number and its last.
    pub(crate) fn is_packed(&self) -> bool {
        let Grid { image, record, border, .. } = self.grid;
        let fills = self.channel == 0 && record == self.channels && border == 0;
        fills && self.grid.is_dense() && image == self.grid.pixels() * record
    }

    /// Number of floats.
    pub(crate) fn elements(&self) -> usize {
        self.grid.images * self.grid.pixels() * self.channels
    }
}

/// Where a value lies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    pub(crate) buffer: usize,
    pub(crate) form: Form,
    /// Its pixels. Points are a single row of them, and along the last axis of a row-major value lie channels.
    pub(crate) grid: Grid,
    /// Position of each channel in a record.
    pub(crate) positions: Vec<usize>,
}

impl Place {
    /// The channels of a part, in order.
    pub(crate) fn of(part: Part, form: Form) -> Place {
        let positions = (part.channel..part.channel + part.channels).collect();
        Place { buffer: part.buffer, form, grid: part.grid, positions }
    }

    /// A value `[N, C, H, W]` in a buffer of its own, the channels of a pixel together; any other row-major.
    pub(crate) fn packed(buffer: usize, shape: &[usize]) -> Place {
        match *shape {
            [images, channels, height, width] => {
                let grid = Grid::packed(images, [height, width], channels);
                Place::of(Part::whole(buffer, grid), Form::Map)
            }
            _ => Place::row_major(buffer, shape),
        }
    }

    /// A row-major value in a buffer of its own.
    pub(crate) fn row_major(buffer: usize, shape: &[usize]) -> Place {
        let last = shape.last().copied().unwrap_or(1).max(1);
        let grid = Grid::packed(1, [shape.iter().product::<usize>() / last, 1], last);
        Place::of(Part::whole(buffer, grid), Form::RowMajor)
    }

    /// The channels, if they follow each other in order.
    pub(crate) fn in_order(&self) -> Option<Part> {
        let channel = self.positions.first().copied().unwrap_or(0);
        let channels = self.positions.len();
        let is_in_order = self.positions.iter().copied().eq(channel..channel + channels);
        is_in_order.then_some(Part { buffer: self.buffer, grid: self.grid, channel, channels })
    }

    /// From the first of the channels to the last, in any order, and what else lies between them.
    pub(crate) fn span(&self) -> Part {
        let channel = self.positions.iter().copied().min().unwrap_or(0);
        let end = self.positions.iter().copied().max().map_or(0, |last| last + 1);
        Part { buffer: self.buffer, grid: self.grid, channel, channels: end - channel }
    }

    /// The channels as they lie in a record, and for each channel how many lie before it.
    pub(crate) fn sorted(&self) -> (Vec<Run>, Vec<usize>) {
        let mut order: Vec<(usize, usize)> = self.positions.iter().copied().zip(0..).collect();
        order.sort_unstable();
        let mut ranks: Vec<(usize, usize)> = order.iter().map(|(_, channel)| *channel).zip(0..).collect();
        ranks.sort_unstable();
        let positions: Vec<usize> = order.into_iter().map(|(position, _)| position).collect();
        (runs(&positions), ranks.into_iter().map(|(_, rank)| rank).collect())
    }

    /// The same pixels with the same channels and nothing else, in another buffer.
    pub(crate) fn packed_in(&self, buffer: usize) -> Part {
        Part { channels: self.positions.len(), ..self.span() }.packed_in(buffer)
    }

    /// The same pixels as points.
    pub(crate) fn as_points(&self) -> Place {
        let Grid { height, width, row, .. } = self.grid;
        let grid = Grid { height: 1, width: height * width, row: height * row, ..self.grid };
        Place { grid, form: Form::ChannelsFirst, ..self.clone() }
    }

    /// Number of floats.
    pub(crate) fn elements(&self) -> usize {
        self.grid.images * self.grid.pixels() * self.positions.len()
    }

    /// Writes the numbers of the value row-major into `numbers`, which has room for them.
    pub(crate) fn read(&self, buffer: &[f32], numbers: &mut [f32]) {
        match self.form {
            Form::Map | Form::ChannelsFirst => {
                to_planes(buffer, self.grid, self.positions.iter().copied(), numbers);
            }
            Form::PointsFirst => self.read_points(buffer, numbers),
            Form::RowMajor => numbers.copy_from_slice(&buffer[..numbers.len()]),
        }
    }

    fn read_points(&self, buffer: &[f32], numbers: &mut [f32]) {
        let in_order = self.in_order();
        for (point, target) in numbers.chunks_mut(self.positions.len().max(1)).enumerate() {
            let record = &buffer[self.point(point)..];
            match in_order {
                Some(part) => target.copy_from_slice(&record[part.channel..part.channel + part.channels]),
                None => target.iter_mut().zip(&self.positions).for_each(|(slot, at)| *slot = record[*at]),
            }
        }
    }

    /// Writes row-major numbers.
    pub(crate) fn write(&self, numbers: &[f32], buffer: &mut [f32]) {
        match self.form {
            Form::RowMajor => buffer[..numbers.len()].copy_from_slice(numbers),
            Form::PointsFirst => {
                for (point, numbers) in numbers.chunks(self.positions.len().max(1)).enumerate() {
                    let record = &mut buffer[self.point(point)..];
                    numbers.iter().zip(&self.positions).for_each(|(number, at)| record[*at] = *number);
                }
            }
            Form::Map | Form::ChannelsFirst => self.write_planes(numbers, buffer),
        }
    }

    /// Writes zeros.
    pub(crate) fn clear(&self, buffer: &mut [f32]) {
        for image in 0..self.grid.images {
            for pixel in 0..self.grid.pixels() {
                let record = self.grid.nth(image, pixel);
                self.positions.iter().for_each(|position| buffer[record + position] = 0.0);
            }
        }
    }

    fn write_planes(&self, numbers: &[f32], buffer: &mut [f32]) {
        let (grid, channels) = (self.grid, self.positions.len().max(1));
        for (plane, numbers) in numbers.chunks(grid.pixels().max(1)).enumerate() {
            let (image, position) = (plane / channels, self.positions[plane % channels]);
            for (pixel, number) in numbers.iter().enumerate() {
                buffer[grid.nth(image, pixel) + position] = *number;
            }
        }
    }

    /// Position of the record of a point, counted over all images.
    fn point(&self, point: usize) -> usize {
        let width = self.grid.width.max(1);
        self.grid.at(point / width, 0, point % width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every form gives back what was written, also between other channels and with a border.
    #[test]
    fn what_is_written_is_read() {
        let grid = Grid::bordered(2, [3, 5], 7, 1);
        let map = Place { buffer: 0, form: Form::Map, grid, positions: vec![5, 1, 2, 6] };
        let dense = Place { grid: Grid::packed(2, [3, 5], 7), ..map.clone() };
        let points = dense.as_points();
        let turned = Place { form: Form::PointsFirst, ..points.clone() };
        for place in [map, dense, points, turned, Place::row_major(0, &[2, 4, 15])] {
            let numbers: Vec<f32> = (0..place.elements()).map(|number| number as f32).collect();
            let mut buffer = vec![f32::NAN; place.grid.end()];
            place.write(&numbers, &mut buffer);
            let mut found = vec![0.0; numbers.len()];
            place.read(&buffer, &mut found);
            assert_eq!(found, numbers, "{:?}", place.form);
        }
    }

    #[test]
    fn channels_are_sorted_as_they_lie() {
        let place = Place { positions: vec![5, 1, 2, 6], ..Place::packed(0, &[1, 7, 2, 2]) };
        let run = |start, length| Run { start, length };
        assert_eq!(place.sorted(), (vec![run(1, 2), run(5, 2)], vec![2, 0, 1, 3]));
        assert_eq!((place.in_order(), place.span().channels), (None, 6));
    }
}
