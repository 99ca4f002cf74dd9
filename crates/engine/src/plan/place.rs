//! Where values lie while a plan runs.

use crate::kernels::channels_last::elementwise::to_planes;
use crate::kernels::channels_last::{Grid, Run, runs};

/// What the axes of a value are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `[N, C, H, W]`.
    Map,
    /// `[N, C, points]`.
    ChannelsFirst,
    /// `[N, points, C]`.
    PointsFirst,
    /// Any shape, row-major.
    Plain,
}

/// Where a value lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) buffer: usize,
    pub(super) form: Form,
    /// Its pixels. Points are a single row of them, and along the last axis of a plain value lie channels.
    pub(super) grid: Grid,
    /// Position of each channel in a record.
    pub(super) positions: Vec<usize>,
}

impl Place {
    /// A value `[N, C, H, W]` in a buffer of its own, the channels of a pixel together.
    pub(super) fn map(buffer: usize, shape: &[usize]) -> Option<Place> {
        let [images, channels, height, width] = *shape else { return None };
        let grid = Grid::packed(images, [height, width], channels);
        Some(Place { buffer, form: Form::Map, grid, positions: (0..channels).collect() })
    }

    /// A row-major value in a buffer of its own.
    pub(super) fn plain(buffer: usize, shape: &[usize]) -> Place {
        let (last, outer) = shape.split_last().unwrap_or((&1, &[]));
        let grid = Grid::packed(1, [outer.iter().product(), 1], *last);
        Place { buffer, form: Form::Plain, grid, positions: (0..*last).collect() }
    }

    /// The position of the first channel, if the others follow in order.
    pub(super) fn first_in_order(&self) -> Option<usize> {
        let first = *self.positions.first()?;
        self.positions.iter().copied().eq(first..first + self.positions.len()).then_some(first)
    }

    /// The channels as they lie in a record, and for each channel how many lie before it.
    pub(super) fn sorted(&self) -> (Vec<Run>, Vec<usize>) {
        let mut order: Vec<usize> = (0..self.positions.len()).collect();
        order.sort_by_key(|channel| self.positions.get(*channel));
        let mut ranks = vec![0; order.len()];
        for (rank, channel) in order.iter().enumerate() {
            if let Some(slot) = ranks.get_mut(*channel) {
                *slot = rank;
            }
        }
        let sorted: Vec<usize> =
            order.iter().filter_map(|channel| self.positions.get(*channel).copied()).collect();
        (runs(&sorted), ranks)
    }

    /// The same pixels as points.
    pub(super) fn as_points(&self) -> Place {
        let Grid { height, width, row, .. } = self.grid;
        let grid = Grid { height: 1, width: height * width, row: height * row, ..self.grid };
        Place { grid, form: Form::ChannelsFirst, ..self.clone() }
    }

    /// Number of floats.
    pub(super) fn elements(&self) -> usize {
        self.grid.images * self.grid.pixels() * self.positions.len()
    }

    /// Writes the numbers of the value row-major into `result`, which has room for them.
    pub(super) fn read(&self, buffer: &[f32], result: &mut [f32]) {
        match self.form {
            Form::Map | Form::ChannelsFirst => {
                to_planes(buffer, self.grid, self.positions.iter().copied(), result);
            }
            Form::PointsFirst => self.read_points(buffer, result),
            Form::Plain => result.iter_mut().zip(buffer).for_each(|(slot, value)| *slot = *value),
        }
    }

    fn read_points(&self, buffer: &[f32], result: &mut [f32]) {
        let (channels, width) = (self.positions.len().max(1), self.grid.width.max(1));
        let together = self.first_in_order();
        for (index, target) in result.chunks_mut(channels).enumerate() {
            let record = buffer.get(self.grid.at(index / width, 0, index % width)..).unwrap_or_default();
            let whole = together.and_then(|first| record.get(first..first + target.len()));
            if let Some(whole) = whole {
                target.copy_from_slice(whole);
                continue;
            }
            for (slot, position) in target.iter_mut().zip(&self.positions) {
                *slot = record.get(*position).copied().unwrap_or_default();
            }
        }
    }
}
