//! Everything that makes each position of the result a weighted sum of a rectangle of the input, with weights
//! that are products of one per row and one per column: average pooling of all kinds, resizing.

use network::graph::{Pool, ResizeMode};

/// Positions along an axis of the input with their weights, for every position of the result.
pub(crate) type Taps = Vec<Vec<(usize, f64)>>;

/// A weighted sum over rows and columns.
#[derive(Debug, Clone)]
pub(crate) struct Resample {
    pub(crate) rows: Taps,
    pub(crate) columns: Taps,
}

impl Resample {
    /// Average pooling of a picture of `size`, height and width.
    pub(crate) fn average(pool: &Pool, size: [usize; 2]) -> Resample {
        let result = pool.output_size(size).unwrap_or_default();
        let taps = |axis: fn([usize; 2]) -> usize| {
            let (kernel, stride, padding) = (axis(pool.kernel), axis(pool.stride), axis(pool.padding));
            let size = axis(size);
            let windows = (0..axis(result)).map(|index| {
                let covered = window(index, stride, padding, kernel, size);
                // A window may stick out of the padding in ceil mode; what sticks out is never counted.
                let padded = (index * stride + kernel).min(size + 2 * padding) - index * stride;
                let count = if pool.count_padding { padded } else { covered.len() };
                let weight = 1.0 / count.max(1) as f64;
                covered.map(|position| (position, weight)).collect()
            });
            windows.collect()
        };
        Resample { rows: taps(|[height, _]| height), columns: taps(|[_, width]| width) }
    }

    /// Average over windows [floor(i * in / out), ceil((i + 1) * in / out)).
    pub(crate) fn adaptive_average(from: [usize; 2], to: [usize; 2]) -> Resample {
        Resample::along_both(from, to, |from, to| {
            let windows = (0..to).map(|index| {
                let covered = index * from / to..((index + 1) * from).div_ceil(to);
                let weight = 1.0 / covered.len() as f64;
                covered.map(|position| (position, weight)).collect()
            });
            windows.collect()
        })
    }

    /// Another height and width.
    pub(crate) fn resize(mode: ResizeMode, from: [usize; 2], to: [usize; 2]) -> Resample {
        Resample::along_both(from, to, |from, to| {
            let ratio = from as f64 / to as f64;
            let between = move |position: f64| {
                let position = position.clamp(0.0, (from - 1) as f64);
                let (low, part) = (position.floor() as usize, position.fract());
                vec![(low, 1.0 - part), ((low + 1).min(from - 1), part)]
            };
            let taps = (0..to).map(|index| match mode {
                ResizeMode::Nearest => vec![(index * from / to, 1.0)],
                ResizeMode::Bilinear => between((index as f64 + 0.5) * ratio - 0.5),
                ResizeMode::BilinearAlignCorners => {
                    between(index as f64 * (from - 1) as f64 / (to - 1).max(1) as f64)
                }
            });
            taps.collect()
        })
    }

    fn along_both(from: [usize; 2], to: [usize; 2], taps: impl Fn(usize, usize) -> Taps) -> Resample {
        let ([height, width], [rows, columns]) = (from, to);
        Resample { rows: taps(height, rows), columns: taps(width, columns) }
    }

    /// The rows and columns of the input that a position of the result is made of, with their weights.
    pub(crate) fn taps(&self, row: usize, column: usize) -> [&[(usize, f64)]; 2] {
        let rows = self.rows.get(row).map_or(&[][..], Vec::as_slice);
        [rows, self.columns.get(column).map_or(&[][..], Vec::as_slice)]
    }

    /// What makes the gradient of the input, a picture of `size`, from that of the result.
    pub(crate) fn transposed(&self, [height, width]: [usize; 2]) -> Resample {
        let turned = |taps: &Taps, size: usize| {
            let mut turned = vec![Vec::new(); size];
            for (index, taps) in taps.iter().enumerate() {
                for (position, weight) in taps {
                    if let Some(own) = turned.get_mut(*position) {
                        own.push((index, *weight));
                    }
                }
            }
            turned
        };
        Resample { rows: turned(&self.rows, height), columns: turned(&self.columns, width) }
    }
}

/// The positions that a window covers, without padding.
pub(crate) fn window(
    index: usize,
    stride: usize,
    padding: usize,
    kernel: usize,
    size: usize,
) -> std::ops::Range<usize> {
    let end = (index * stride + kernel).saturating_sub(padding).min(size);
    (index * stride).saturating_sub(padding).min(end)..end
}
