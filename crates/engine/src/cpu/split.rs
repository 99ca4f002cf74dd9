//! Rows of pixels dealt out to threads.

use super::grid::Grid;
use super::team::{Parts, Team};

impl Grid {
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
        /// Below this many operations a task costs more than it brings. A choice: some microseconds of a core, several
        /// times what a cache line takes from one core to another.
        const SMALLEST_TASK: usize = 200_000;
        let smallest = SMALLEST_TASK.div_ceil(self.width.saturating_mul(operations_per_pixel).max(1));
        groups_per_task(self.images, self.height, smallest, team.threads())
    }
}

/// How many groups of rows a task gets, at least `smallest`: few, so that threads that were held up are made up for, but
/// with at most a twentieth of the time lost at the end, and not many tasks, as each reads all weights.
fn groups_per_task(images: usize, groups: usize, smallest: usize, threads: usize) -> usize {
    /// A choice, as is the twentieth. With both, from one thread to two, networks take 1.8 to 1.9 times less time on the
    /// machine.
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

#[cfg(test)]
mod tests {
    use super::*;

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
