//! Copies of channels: runs of them, two runs in turn, all in another order.

use pulp::{Simd, WithSimd};

use crate::cpu::activation::activate;
use crate::cpu::grid::{Grid, Run, Source};
use crate::cpu::instructions::Instructions;
use crate::cpu::team::Team;
use network::graph::Activation;

/// Copies channels of `from`, some runs after one another, to `channel` of the records of `to`, and applies a
/// function.
pub(crate) fn copy(
    team: &Team,
    x: &[f32],
    (from, runs): (Grid, &[Run]),
    result: &mut [f32],
    (to, channel): (Grid, usize),
    activation: Option<Activation>,
) {
    let instructions = Instructions::get();
    let channels: usize = runs.iter().map(|run| run.length).sum();
    // Points lie in a single row, of which otherwise one thread would get all.
    let (from, to) = if from.is_dense() && to.is_dense() { (from.flat(), to.flat()) } else { (from, to) };
    to.split_rows(team, result, 4 * channels, |image, first_row, result| {
        let part = Copied { x, from, runs, to, channel, image, first_row, activation };
        instructions.run(CopyTask { part, result });
    });
}

/// Some rows of a copy.
#[derive(Clone, Copy)]
struct Copied<'a> {
    x: &'a [f32],
    from: Grid,
    runs: &'a [Run],
    to: Grid,
    channel: usize,
    image: usize,
    first_row: usize,
    activation: Option<Activation>,
}

struct CopyTask<'a, 'r> {
    part: Copied<'a>,
    result: &'r mut [f32],
}

impl WithSimd for CopyTask<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let CopyTask { part, result } = self;
        let Copied { from, to, image, first_row, .. } = part;
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                part.pixel(from.at(image, first_row + row, column), record);
            }
        }
    }
}

impl Copied<'_> {
    #[inline(always)]
    fn pixel(&self, at: usize, record: &mut [f32]) {
        let mut first = self.channel;
        for run in self.runs {
            let source = &self.x[at + run.start..at + run.start + run.length];
            let target = &mut record[first..first + run.length];
            target.copy_from_slice(source);
            activate(self.activation, target);
            first += run.length;
        }
    }
}

/// Copies two runs of channels of `from` in turn to `channel` of the records of `to`: a channel of the first run, one
/// of the second, and so on.
pub(crate) fn interleave(
    team: &Team,
    x: &[f32],
    (from, [first, second]): (Grid, [Run; 2]),
    result: &mut [f32],
    (to, channel): (Grid, usize),
) {
    let channels = first.length + second.length;
    to.split_rows(team, result, 4 * channels, |image, first_row, result| {
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let at = from.at(image, first_row + row, column);
                let source = |run: Run| &x[at + run.start..at + run.start + run.length];
                let target = &mut record[channel..channel + channels];
                let (pairs, rest) = target.as_chunks_mut::<2>();
                for ((pair, first), second) in pairs.iter_mut().zip(source(first)).zip(source(second)) {
                    *pair = [*first, *second];
                }
                rest.iter_mut().zip(source(first).last()).for_each(|(slot, last)| *slot = *last);
            }
        }
    });
}

/// Writes channels in another order, or adds them to what is there: channel c is that at `order[c]`.
pub(crate) fn shuffle(
    team: &Team,
    order: &[usize],
    (x, from, first): Source<'_>,
    (result, to, channel): (&mut [f32], Grid, usize),
    add: bool,
) {
    to.split_rows(team, result, 8 * order.len(), |image, first_row, result| {
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let at = from.at(image, first_row + row, column) + first;
                let source = &x[at..at + order.len()];
                let target = &mut record[channel..channel + order.len()];
                for (slot, position) in target.iter_mut().zip(order) {
                    let value = source[*position];
                    *slot = if add { *slot + value } else { value };
                }
            }
        }
    });
}

/// Writes zeros to channels.
pub(crate) fn zero((result, to, channel): (&mut [f32], Grid, usize), channels: usize) {
    for image in 0..to.images {
        for pixel in 0..to.pixels() {
            let first = to.nth(image, pixel) + channel;
            result[first..first + channels].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::value::Value;

    /// Two runs of channels after one another, with a function.
    #[test]
    fn channels_are_copied() {
        let x = Value::packed([2, 23, 3, 5], 1);
        let runs = [Run { start: 2, length: 5 }, Run { start: 9, length: 12 }];
        let mut result = Value::among_others([2, 17, 3, 5], 2);
        let (floats, to, channel) = result.target();
        let activation = Some(Activation::Relu);
        Team::gather(|team| copy(team, &x.floats, (x.grid, &runs), floats, (to, channel), activation));
        let chosen = [2..7, 9..21];
        result.assert_holds(
            &channels(&x, chosen.into_iter().flatten()).into_iter().map(|x| x.max(0.0)).collect::<Vec<_>>(),
        );
    }

    /// Planes of some channels.
    fn channels(x: &Value, chosen: impl Iterator<Item = usize> + Clone) -> Vec<f64> {
        let area = x.grid.pixels();
        let of = |image: usize| chosen.clone().map(move |channel| image * x.shape[1] + channel);
        let planes = (0..x.shape[0]).flat_map(of);
        planes.flat_map(|plane| x.planes[plane * area..][..area].to_vec()).collect()
    }

    #[test]
    fn channels_of_two_runs_take_turns() {
        for [first, second] in [[4, 4], [5, 4]] {
            let x = Value::packed([2, 10, 3, 5], 1);
            let runs = [Run { start: 0, length: first }, Run { start: 5, length: second }];
            let mut result = Value::among_others([2, first + second, 3, 5], 2);
            let (floats, to, channel) = result.target();
            Team::gather(|team| interleave(team, &x.floats, (x.grid, runs), floats, (to, channel)));
            let order = (0..first + second).map(|at| if at % 2 == 0 { at / 2 } else { 5 + at / 2 });
            result.assert_holds(&channels(&x, order));
        }
    }

    #[test]
    fn channels_are_dealt_out() {
        let shape = [2, if cfg!(miri) { 5 } else { 19 }, 3, 5];
        let x = Value::among_others(shape, 1).map(|x| 7.0 * x);
        let order: Vec<usize> = (0..shape[1]).map(|channel| channel * 7 % shape[1]).collect();
        let expected: Vec<f64> = (0..2 * shape[1])
            .flat_map(|plane| {
                let from = plane / shape[1] * shape[1] + order[plane % shape[1]];
                x.planes[from * 15..][..15].to_vec()
            })
            .collect();
        for add in [false, true] {
            let mut result = Value::among_others(shape, 3);
            let before = result.clone();
            Team::gather(|team| shuffle(team, &order, x.source(), result.target(), add));
            result.assert_holds(&if add { before.plus(&expected) } else { expected.clone() });
        }
    }
}
