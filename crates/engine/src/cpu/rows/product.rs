//! Products of small matrices, as in attention.

use pulp::{Simd, WithSimd};

use crate::cpu::grid::Grid;
use crate::cpu::instructions::Instructions;
use crate::cpu::registers::{load, store};
use crate::cpu::team::Team;

/// Registers of a row of the result that are summed up at once: several, as a multiply-add takes longer
/// than the next needs to start. A choice.
const REGISTERS: usize = 4;

/// Writes `[matrices, rows, inner]` times `[matrices, inner, columns]`, all row-major.
pub(crate) fn product(
    team: &Team,
    left: &[f32],
    right: &[f32],
    inner: usize,
    (result, to): (&mut [f32], Grid),
) {
    let instructions = Instructions::get();
    let columns = to.record;
    to.split_rows(team, result, 2 * inner * columns, |matrix, first, result| {
        let left = &left[(matrix * to.height + first) * inner..];
        let right = &right[matrix * inner * columns..];
        instructions.run(Task { left, right, inner, columns, result });
    });
}

/// Some rows of a matrix.
struct Task<'a, 'r> {
    left: &'a [f32],
    right: &'a [f32],
    inner: usize,
    columns: usize,
    result: &'r mut [f32],
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Task { left, right, inner, columns, result } = self;
        let rows = result.chunks_mut(columns.max(1)).zip(left.chunks(inner.max(1)));
        for (result, left) in rows {
            for (block, result) in result.chunks_mut(REGISTERS * S::F32_LANES).enumerate() {
                let first = block * REGISTERS * S::F32_LANES;
                let mut sums = [simd.splat_f32s(0.0); REGISTERS];
                for (row, factor) in right.chunks(columns.max(1)).zip(left) {
                    let row = &row[first..first + result.len()];
                    let row = load::<S, REGISTERS>(simd, row);
                    let factor = simd.splat_f32s(*factor);
                    for (sum, value) in sums.iter_mut().zip(row) {
                        *sum = simd.mul_add_e_f32s(factor, value, *sum);
                    }
                }
                store(simd, &sums, None, result);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::kernel::{Kernel, View};
    use crate::reference::operators::matmul::MatMul;

    #[test]
    fn products_equal_the_reference() {
        let [matrices, rows, inner, columns] = if cfg!(miri) { [2, 2, 3, 21] } else { [2, 5, 7, 150] };
        let left: Vec<f32> = (0..matrices * rows * inner).map(|i| (i % 11) as f32 - 5.0).collect();
        let right: Vec<f32> = (0..matrices * inner * columns).map(|i| (i % 13) as f32 - 6.0).collect();
        let left_view = View { data: &left[..], shape: &[matrices, rows, inner] };
        let right_view = View { data: &right[..], shape: &[matrices, inner, columns] };
        let (expected, _) = MatMul.forward([left_view, right_view]);
        let grid = Grid::packed(matrices, [rows, 1], columns);
        let mut result = vec![0.0; grid.end()];
        Team::gather(|team| product(team, &left, &right, inner, (&mut result, grid)));
        assert_eq!(result, expected);
    }
}
