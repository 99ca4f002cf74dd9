//! Axes in another order.

use crate::cpu::grid::Grid;
use crate::cpu::team::Team;

/// Another order of the axes of a row-major value.
#[derive(Debug, Clone)]
pub(crate) struct Transpose {
    /// For each axis of the result but the last its size, and the distance of its positions in the input.
    outer: Vec<[usize; 2]>,
    /// Distance of the last axis's positions in the input.
    last: usize,
}

impl Transpose {
    /// Axis i of the result is axis `order[i]` of a value of this shape.
    pub(crate) fn new(shape: &[usize], order: &[usize]) -> Transpose {
        let distance = |axis: usize| shape.iter().skip(axis + 1).product();
        let axis = |axis: &usize| [shape[*axis], distance(*axis)];
        let mut outer: Vec<[usize; 2]> = order.iter().map(axis).collect();
        let last = outer.pop().map_or(1, |[_, distance]| distance);
        Transpose { outer, last }
    }

    /// Writes the numbers of `x` in the order, `[outer axes, 1, last axis]`.
    pub(crate) fn run(&self, team: &Team, x: &[f32], (result, to): (&mut [f32], Grid)) {
        to.split_rows(team, result, 4 * to.record, |_, first, result| {
            for (row, result) in result.chunks_mut(to.record.max(1)).enumerate() {
                let source = &x[self.start(first + row)..];
                let source = source.iter().step_by(self.last.max(1));
                result.iter_mut().zip(source).for_each(|(slot, value)| *slot = *value);
            }
        });
    }

    /// Where a row of the result begins in the input.
    fn start(&self, row: usize) -> usize {
        let (mut row, mut start) = (row, 0);
        for [size, distance] in self.outer.iter().rev() {
            let size = (*size).max(1);
            start += row % size * distance;
            row /= size;
        }
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_change_places() {
        let x: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let mut result = vec![0.0; 24];
        let order = Transpose::new(&[2, 3, 4], &[2, 0, 1]);
        Team::gather(|team| order.run(team, &x, (&mut result, Grid::packed(1, [8, 1], 3))));
        let expect = |at: usize| (at % 6 * 4 + at / 6) as f32;
        assert_eq!(result, (0..24).map(expect).collect::<Vec<f32>>());
    }
}
