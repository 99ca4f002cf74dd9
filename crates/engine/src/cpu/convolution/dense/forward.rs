//! Forward with packed weights: panel after panel over blocks of rows.

use pulp::{Simd, WithSimd};

use super::packed::Dense;
use super::tiles::{Part, Tiles};
use crate::cpu::convolution::epilogue::Epilogue;
use crate::cpu::convolution::panel::has_many_registers;
use crate::cpu::grid::Grid;
use crate::cpu::team::Team;
use network::graph::Conv;

impl Dense {
    /// Writes the result into `result` at `to`, its first channel at `channel` of a record.
    pub(crate) fn run(
        &self,
        team: &Team,
        x: &[f32],
        from: Grid,
        result: &mut [f32],
        (to, channel): (Grid, usize),
        epilogue: Epilogue<'_>,
    ) {
        let (mut from, mut to, mut epilogue) = (from, to, epilogue);
        let grids = [Some(from), Some(to), epilogue.residual.map(|(_, grid, _)| grid)];
        if self.is_pointwise() && grids.iter().flatten().all(Grid::is_dense) {
            (from, to) = (from.flat(), to.flat());
            epilogue.residual = epilogue.residual.map(|(other, grid, channel)| (other, grid.flat(), channel));
        }
        to.split_rows(team, result, 2 * self.weights.floats().len(), |image, first_row, result| {
            let part = Part { dense: self, x, from, to, image, first_row, channel, epilogue, reach: 0 };
            self.instructions.run(Task { part: part.with_reach(), result });
        });
    }

    /// Whether every pixel of the result sees the same pixel of the input only.
    fn is_pointwise(&self) -> bool {
        let Conv { kernel, stride, padding, .. } = self.conv;
        (kernel, stride, padding) == ([1; 2], [1; 2], [0; 2])
    }
}

pub(crate) struct Task<'a, 'r> {
    pub(crate) part: Part<'a>,
    pub(crate) result: &'r mut [f32],
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Task { part, result } = self;
        let rows = part.rows_of_block();
        for (block, result) in result.chunks_mut((rows * part.to.row).max(1)).enumerate() {
            Part { first_row: part.first_row + block * rows, ..part }.write(simd, result);
        }
    }
}

impl Part<'_> {
    /// How many rows are computed for one panel after the other, so that what they read is still in the first cache; all
    /// rows where weights are so many that they had better be read once.
    #[inline(always)]
    fn rows_of_block(&self) -> usize {
        /// An eighth of the machine's second cache. A choice.
        const FEW_WEIGHTS: usize = 32 * 1024;
        /// Floats of input and result, 64 KiB, about what a first cache has. A choice, measured together with long
        /// segments and thin input, on one thread of the machine: the stem of Gold-YOLO-n at 640x640 takes 0.8 ms
        /// instead of 2.1, what follows it 1.2 instead of 1.4.
        const BLOCK: usize = 16 * 1024;
        if self.dense.weights.floats().len() > FEW_WEIGHTS {
            return self.to.height.max(1);
        }
        let [down, across] = self.dense.conv.stride;
        let pixel = down * across * self.from.record + self.dense.conv.out;
        // Whole tiles where a row is a pixel.
        let pixels = (BLOCK / pixel.max(1)).max(48) / 24 * 24;
        pixels.div_ceil(self.to.width.max(1))
    }

    /// Writes some rows of the result.
    #[inline(always)]
    fn write<S: Simd>(self, simd: S, result: &mut [f32]) {
        let (part, is_thin, many) = (self, self.is_thin(), has_many_registers(S::F32_LANES));
        let mut weights = part.dense.weights.floats();
        let depth: usize = part.dense.segments.iter().map(|segment| segment.floats.length).sum();
        for panel in &part.dense.panels {
            let (of_panel, rest) = weights.split_at(depth * panel.registers * S::F32_LANES);
            weights = rest;
            let tiles = Tiles { part, panel: *panel, weights: of_panel };
            match (is_thin, many, panel.registers) {
                (true, true, 4) => write_panel::<S, 6, 4, true>(simd, tiles, result),
                (true, true, 3) => write_panel::<S, 8, 3, true>(simd, tiles, result),
                (true, true, 2) => write_panel::<S, 12, 2, true>(simd, tiles, result),
                (true, true, _) => write_panel::<S, 16, 1, true>(simd, tiles, result),
                (true, false, 2) => write_panel::<S, 6, 2, true>(simd, tiles, result),
                (true, false, _) => write_panel::<S, 12, 1, true>(simd, tiles, result),
                (false, true, 4) => write_panel::<S, 6, 4, false>(simd, tiles, result),
                (false, true, 3) => write_panel::<S, 8, 3, false>(simd, tiles, result),
                (false, true, 2) => write_panel::<S, 8, 2, false>(simd, tiles, result),
                (false, true, _) => write_panel::<S, 8, 1, false>(simd, tiles, result),
                (false, false, 2) => write_panel::<S, 6, 2, false>(simd, tiles, result),
                (false, false, _) => write_panel::<S, 6, 1, false>(simd, tiles, result),
            }
        }
    }
}

/// The pixels of a part for one panel, of thin input or of any.
struct Pass<'a, 'r, const PIXELS: usize, const REGISTERS: usize, const IS_THIN: bool> {
    tiles: Tiles<'a>,
    result: &'r mut [f32],
}

impl<const PIXELS: usize, const REGISTERS: usize, const IS_THIN: bool> WithSimd
    for Pass<'_, '_, PIXELS, REGISTERS, IS_THIN>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match IS_THIN {
            true => self.tiles.rows::<S, PIXELS, REGISTERS>(simd, self.result),
            false => self.tiles.run::<S, PIXELS, REGISTERS>(simd, self.result),
        }
    }
}

/// Never part of another function: sums stay in registers where there is little else. Otherwise pointwise convolutions
/// took 1.3 times as long in one build on the machine and not in the next.
#[inline(never)]
fn write_panel<S: Simd, const PIXELS: usize, const REGISTERS: usize, const IS_THIN: bool>(
    simd: S,
    tiles: Tiles<'_>,
    result: &mut [f32],
) {
    simd.vectorize(Pass::<PIXELS, REGISTERS, IS_THIN> { tiles, result });
}
