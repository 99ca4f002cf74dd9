//! Windows over the picture: largest values, and weighted sums of rows and columns.

use super::Grid;
use super::team::Team;
use crate::graph::Pool;
use crate::runtime::kernels::pool::window;
use crate::runtime::kernels::resample::Resample;

/// Where the channels of an operand and of the result begin in their records, and how many there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Channels {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) count: usize,
}

/// The largest value of each window.
pub(crate) fn max_pool(team: &Team, pool: &Pool, x: &[f32], from: Grid, result: &mut [f32], to: Grid, channels: Channels) {
    let ([kh, kw], [sh, sw], [ph, pw]) = (pool.kernel, pool.stride, pool.padding);
    each_record(team, result, to, channels, kh * kw, |image, [y, x_], target| {
        target.fill(f32::NEG_INFINITY);
        for y in window(y, sh, ph, kh, from.height) {
            for x_ in window(x_, sw, pw, kw, from.width) {
                let at = from.at(image, y, x_) + channels.from;
                let values = x.get(at..at + channels.count).unwrap_or_default();
                for (target, value) in target.iter_mut().zip(values) {
                    *target = if *value > *target || value.is_nan() { *value } else { *target };
                }
            }
        }
    });
}

/// Weighted sums of the pixels that `resample` names.
pub(crate) fn resample(
    team: &Team,
    resample: &Resample,
    x: &[f32],
    from: Grid,
    result: &mut [f32],
    to: Grid,
    channels: Channels,
) {
    each_record(team, result, to, channels, 4, |image, [row, column], target| {
        target.fill(0.0);
        let (rows, columns) = resample.taps(row, column);
        for (y, down) in rows {
            for (x_, across) in columns {
                let weight = (down * across) as f32;
                let at = from.at(image, *y, *x_) + channels.from;
                let values = x.get(at..at + channels.count).unwrap_or_default();
                target.iter_mut().zip(values).for_each(|(target, value)| *target += weight * value);
            }
        }
    });
}

fn each_record(
    team: &Team,
    result: &mut [f32],
    to: Grid,
    channels: Channels,
    operations: usize,
    work: impl Fn(usize, [usize; 2], &mut [f32]) + Sync + Send,
) {
    to.split_rows(team, result, 2 * operations * channels.count, |image, first_row, result| {
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate() {
                let target = record.get_mut(channels.to..channels.to + channels.count).unwrap_or_default();
                work(image, [first_row + row, column], target);
            }
        }
    });
}
