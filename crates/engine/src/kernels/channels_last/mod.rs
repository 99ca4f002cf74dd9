//! Kernels of the inference plan: f32, the channels of a pixel after one another (NHWC).
//!
//! In this order the pixels of a row are the rows of a matrix product as they lie in memory, for kernels of any size
//! and stride: nothing is unfolded, and a result can be written between others, which makes concatenation free.
//! The generic kernels beside this folder are their reference. What has no pixels or mixes them at will (attention,
//! distributions) is computed row-major: `axis`, `order`, `product`.

pub(crate) mod aligned;
pub(crate) mod axis;
pub(crate) mod channelwise;
#[cfg(test)]
mod convolutions;
pub(crate) mod deformed;
pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod elementwise;
pub(crate) mod gradients;
pub(crate) mod instructions;
pub(crate) mod norm;
pub(crate) mod normalise;
pub(crate) mod order;
mod patch;
pub(crate) mod peak;
pub(crate) mod pool_gradient;
pub(crate) mod product;
pub(crate) mod products;
pub(crate) mod products_gradient;
mod registers;
pub(crate) mod resample;
mod slope;
pub(crate) mod taps;
pub(crate) mod team;
mod tile;
#[cfg(test)]
mod value;
pub(crate) mod winograd;
pub(crate) mod winograd_gradient;
mod winograd_tiles;
pub(crate) mod winograd_weights;
pub(crate) mod workspaces;

use self::team::{Parts, Team};

/// Where the pixels of a value lie in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Number of images.
    pub(crate) images: usize,
    /// Rows of pixels.
    pub(crate) height: usize,
    /// Pixels in a row.
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

    /// One of the images.
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

    /// Position of a pixel.
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

    /// Calls `work` for parts of some whole rows each, on all threads, with the image, the first row, and the floats
    /// from the first pixel of the part on. Rows must follow each other without a gap.
    pub(crate) fn split_rows(
        &self,
        team: &Team,
        buffer: &mut [f32],
        operations_per_pixel: usize,
        work: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) {
        let rows = self.rows_per_task(team, operations_per_pixel);
        let lengths = [self.image, self.height * self.row];
        let parts = Parts::new(self.start, self.images, lengths, rows * self.row);
        let pieces = parts.pieces();
        team.each_part(buffer, parts, |part, floats| work(part / pieces, part % pieces * rows, floats));
    }

    /// The same for parts that begin at a multiple of `group` rows, as equal as possible.
    pub(crate) fn split_row_groups(
        &self,
        team: &Team,
        buffer: &mut [f32],
        group: usize,
        work: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) {
        let rows = group * groups_per_task(self.images, self.height.div_ceil(group), 1, team.threads());
        let lengths = [self.image, self.height * self.row];
        let parts = Parts::new(self.start, self.images, lengths, rows * self.row);
        let pieces = parts.pieces();
        team.each_part(buffer, parts, |part, floats| work(part / pieces, part % pieces * rows, floats));
    }

    /// How many rows a task gets so that there are a few tasks for each thread, none of them tiny.
    pub(crate) fn rows_per_task(&self, team: &Team, operations_per_pixel: usize) -> usize {
        /// Below this many operations a task costs more than it brings.
        const SMALLEST_TASK: usize = 200_000;
        let smallest = SMALLEST_TASK.div_ceil(self.width.saturating_mul(operations_per_pixel).max(1));
        groups_per_task(self.images, self.height, smallest, team.threads())
    }
}

/// How many groups of rows a task gets, at least `smallest`: few, so that threads that were held up are made up for, but
/// with at most a twentieth of the time lost at the end, and not many tasks, as each reads all weights.
fn groups_per_task(images: usize, groups: usize, smallest: usize, threads: usize) -> usize {
    const TASKS_OF_THREAD: usize = 4;
    if threads == 1 {
        return groups.max(1);
    }
    let most = TASKS_OF_THREAD * threads.max(images);
    let smallest = smallest.clamp(1, groups.max(1));
    let tasks = |each: usize| images * groups.div_ceil(each);
    let time = |each: usize| tasks(each).div_ceil(threads) * each;
    // The smallest first; more pieces of an image than tasks that are wanted may only balance better.
    let sizes =
        || (1..=2 * most).rev().map(|pieces| groups.div_ceil(pieces)).filter(|each| *each >= smallest);
    let shortest = sizes().map(time).min().unwrap_or(1);
    let good = || sizes().filter(|each| 20 * time(*each) <= 21 * shortest);
    good().find(|each| tasks(*each) <= most).or_else(|| good().next_back()).unwrap_or(1)
}

/// Channels after one another in the record of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// Position of the first in the record.
    pub(crate) start: usize,
    /// Number of channels.
    pub(crate) length: usize,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_channels_make_runs() {
        let run = |start, length| Run { start, length };
        assert_eq!(runs(&[0, 1, 2, 5, 6, 9]), [run(0, 3), run(5, 2), run(9, 1)]);
        assert_eq!(runs(&[]), []);
    }

    /// The tests of this folder with lesser instruction sets than the best, each in a process of its own.
    #[test]
    #[cfg_attr(miri, ignore = "starts processes")]
    fn kernels_equal_their_references_on_every_instruction_set() {
        if std::env::var_os("PORT_INSTRUCTIONS").is_some() {
            return;
        }
        for instructions in ["portable", "avx2"] {
            let mut tests = std::process::Command::new(std::env::current_exe().unwrap());
            let output = tests.arg("channels_last").env("PORT_INSTRUCTIONS", instructions).output().unwrap();
            assert!(output.status.success(), "{instructions}: {}", String::from_utf8_lossy(&output.stdout));
        }
    }

    #[test]
    fn tasks_are_few_and_take_equally_long() {
        assert_eq!(groups_per_task(1, 10, 1, 2), 5);
        assert_eq!(groups_per_task(1, 40, 1, 2), 5);
        assert_eq!(groups_per_task(1, 50, 1, 2), 13);
        assert_eq!(groups_per_task(1, 20, 1, 2), 5);
        assert_eq!([groups_per_task(1, 40, 12, 2), groups_per_task(1, 40, 50, 2)], [20, 40]);
        assert_eq!([groups_per_task(1, 1, 1, 7), groups_per_task(0, 0, 1, 2)], [1, 1]);
        assert!((1..40).all(|groups| (1..=groups).contains(&groups_per_task(3, groups, 1, 4))));
    }

    #[test]
    fn every_row_is_given_to_one_task() {
        let grid = Grid { start: 4, image: 30, ..Grid::packed(2, [3, 2], 4) };
        let mut buffer = vec![0.0; 64];
        Team::gather(|team| {
            grid.split_rows(team, &mut buffer, 1_000_000, |image, first_row, floats| {
                for (row, floats) in floats.chunks_mut(8).enumerate() {
                    floats.iter_mut().for_each(|float| *float += (10 * image + first_row + row + 1) as f32);
                }
            });
        });
        let expect = |at: usize| match at {
            4..28 => 1 + (at - 4) / 8,
            34..58 => 11 + (at - 34) / 8,
            _ => 0,
        };
        assert_eq!(buffer, (0..64).map(|at| expect(at) as f32).collect::<Vec<f32>>());
        assert_eq!(grid.end(), 58);
    }
}
