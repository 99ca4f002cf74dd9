//! Convolutions in Winograd's form whose weights are given with each run.

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::patch::{Patch, Pixels, transform_channels};
use super::tiling::Tiling;
use super::transform::{Four, Tile, Two, transposed};
use crate::cpu::convolution::epilogue::Epilogue;
use crate::cpu::convolution::panel::{Panel, add_products, has_many_registers, panels};
use crate::cpu::grid::{Grid, Source};
use crate::cpu::instructions::Instructions;
use crate::cpu::registers::load;
use crate::cpu::team::Team;
use crate::cpu::workspaces::Workspaces;

/// Floats of the transformed input of a block, so that it stays in the second cache: 448 KiB, less than half of the
/// machine's, which has products and weights as well. A choice.
const BLOCK: usize = 112 * 1024;

/// Tiles that are multiplied at once by the widest panels.
const TILES: usize = 6;

/// Floats of the widest panel: four registers of sixteen.
const WIDEST_PANEL: usize = 4 * 16;

/// A convolution whose weights are given, transformed, with each run: for every panel and point those of the panel's
/// result channels, for one input channel after another.
#[derive(Debug)]
pub(crate) struct WinogradProducts {
    tiling: Tiling,
    channels: usize,
    pub(super) panels: Vec<Panel>,
    /// What a pixel outside the picture consists of.
    zeros: Vec<f32>,
    instructions: Instructions,
}

impl WinogradProducts {
    /// A convolution of `channels` to `out` channels.
    pub(crate) fn new(
        tiling: Tiling,
        channels: usize,
        out: usize,
        instructions: Instructions,
    ) -> WinogradProducts {
        let panels = panels(out, instructions.lanes());
        WinogradProducts { tiling, channels, panels, zeros: vec![0.0; channels], instructions }
    }

    pub(crate) fn tiling(&self) -> Tiling {
        self.tiling
    }

    /// Number of transformed weights.
    pub(crate) fn size(&self) -> usize {
        let registers: usize = self.panels.iter().map(|panel| panel.registers).sum();
        self.tiling.points() * self.channels * registers * self.instructions.lanes()
    }

    /// Tiles that are worked on at once.
    fn block(&self) -> usize {
        (BLOCK / (self.tiling.points() * self.channels)).next_multiple_of(TILES).min(192)
    }

    /// Floats that each thread needs to work in.
    pub(crate) fn workspace(&self) -> usize {
        self.block() * self.tiling.points() * (self.channels + WIDEST_PANEL)
    }

    /// Writes the result into `result` at `to`, its first channel at `channel` of a record, by transformed weights and a
    /// bias.
    pub(crate) fn run(
        &self,
        team: &Team,
        workspaces: &Workspaces,
        weights: [&[f32]; 2],
        source: Source<'_>,
        (result, to, channel): (&mut [f32], Grid, usize),
        epilogue: Epilogue<'_>,
    ) {
        to.split_row_groups(team, result, self.tiling.side(), |image, first_row, result| {
            let part = Part { winograd: self, weights, source, to, image, first_row, channel, epilogue };
            workspaces.with(|workspace| self.instructions.run(Task { part, result, workspace }));
        });
    }
}

/// Some rows of tiles of the result.
#[derive(Clone, Copy)]
struct Part<'a> {
    winograd: &'a WinogradProducts,
    /// Transformed weights, and the bias.
    weights: [&'a [f32]; 2],
    source: Source<'a>,
    to: Grid,
    image: usize,
    first_row: usize,
    channel: usize,
    epilogue: Epilogue<'a>,
}

struct Task<'a, 'r> {
    part: Part<'a>,
    result: &'r mut [f32],
    workspace: &'r mut [f32],
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.part.winograd.tiling {
            Tiling::Two => self.run::<S, Two, 4, 2>(simd),
            Tiling::Four => self.run::<S, Four, 6, 4>(simd),
        }
    }
}

impl Task<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, T: Tile<SIDE, OUT>, const SIDE: usize, const OUT: usize>(self, simd: S) {
        let Task { part, result, workspace } = self;
        let Part { winograd, weights: [all, _], to, .. } = part;
        let across = to.width.div_ceil(OUT).max(1);
        let tiles = result.len().div_ceil(to.row.max(1)).div_ceil(OUT) * across;
        let (most, length) = (winograd.block(), SIDE * SIDE * winograd.channels);
        // As equal as possible, as each reads all weights.
        let block = tiles.div_ceil(tiles.div_ceil(most).max(1)).next_multiple_of(TILES).min(most);
        let (inputs, products) = workspace.split_at_mut(most * length);
        let mut first = 0;
        while first < tiles {
            let tiles = Tiles::<T, SIDE, OUT> {
                part,
                first,
                count: block.min(tiles - first),
                across,
                tile: PhantomData,
            };
            tiles.transform(simd, inputs);
            let mut weights = all;
            for panel in &winograd.panels {
                let (of_panel, rest) = weights.split_at(length * panel.registers * S::F32_LANES);
                weights = rest;
                let many = has_many_registers(S::F32_LANES);
                let operands = (&*inputs, of_panel, &mut *products);
                match (many, panel.registers) {
                    (true, 4) => tiles.panel::<S, 6, 4>(simd, *panel, operands, result),
                    (true, 3) => tiles.panel::<S, 8, 3>(simd, *panel, operands, result),
                    (true, 2) => tiles.panel::<S, 8, 2>(simd, *panel, operands, result),
                    (true, _) => tiles.panel::<S, 8, 1>(simd, *panel, operands, result),
                    (false, 2) => tiles.panel::<S, 6, 2>(simd, *panel, operands, result),
                    (false, _) => tiles.panel::<S, 6, 1>(simd, *panel, operands, result),
                }
            }
            first += block;
        }
    }
}

/// Tiles of a part, row by row.
#[derive(Clone, Copy)]
struct Tiles<'a, T, const SIDE: usize, const OUT: usize> {
    part: Part<'a>,
    first: usize,
    count: usize,
    /// Tiles in a row.
    across: usize,
    tile: PhantomData<T>,
}

impl<'a, T: Tile<SIDE, OUT>, const SIDE: usize, const OUT: usize> Tiles<'a, T, SIDE, OUT> {
    /// Numbers of a transformed tile.
    const POINTS: usize = SIDE * SIDE;

    /// The first pixel of a tile of the result, its row counted from the first of the part.
    #[inline(always)]
    fn pixel(&self, tile: usize) -> [usize; 2] {
        let tile = self.first + tile;
        [tile / self.across * OUT, tile % self.across * OUT]
    }

    /// Writes the transformed tiles of the input, `[tile, point, channel]`.
    #[inline(always)]
    fn transform<S: Simd>(&self, simd: S, inputs: &mut [f32]) {
        let channels = self.part.winograd.channels;
        for (tile, points) in inputs.chunks_mut(Self::POINTS * channels).enumerate().take(self.count) {
            match self.inner(tile) {
                Some(patch) => transform_channels::<S, T, SIDE, OUT>(simd, patch, points),
                None => transform_channels::<S, T, SIDE, OUT>(simd, self.pixels(tile), points),
            }
        }
    }

    /// What a tile is computed of, if it all lies in the picture.
    #[inline(always)]
    fn inner(&self, tile: usize) -> Option<Patch<'a, SIDE>> {
        let Part { winograd, source: (x, from, channel), image, first_row, .. } = self.part;
        let [row, column] = self.pixel(tile);
        let [top, left] = [(first_row + row).checked_sub(1)?, column.checked_sub(1)?];
        if top + SIDE > from.height || left + SIDE > from.width {
            return None;
        }
        let floats = &x[from.at(image, top, left) + channel..];
        Some(Patch::new(floats, [from.row, from.record], winograd.channels))
    }

    /// The pixels of the input that a tile is computed of; zeros outside the picture.
    #[inline(always)]
    fn pixels(&self, tile: usize) -> Pixels<'a, SIDE> {
        let Part { winograd, source: (x, from, channel), image, first_row, .. } = self.part;
        let [row, column] = self.pixel(tile);
        let zeros = winograd.zeros.as_slice();
        let mut pixels = [[zeros; SIDE]; SIDE];
        for (down, pixels) in pixels.iter_mut().enumerate() {
            for (right, pixel) in pixels.iter_mut().enumerate() {
                // The first row and column are one before the tile's: below zero by wrapping around.
                let [y, column] =
                    [(first_row + row + down).wrapping_sub(1), (column + right).wrapping_sub(1)];
                if y < from.height && column < from.width {
                    let at = from.at(image, y, column) + channel;
                    *pixel = &x[at..at + zeros.len()];
                }
            }
        }
        Pixels::new(pixels)
    }

    /// Multiplies by the weights of a panel, `[point, channel, result channel]`, and writes the results.
    #[inline(always)]
    fn panel<S: Simd, const PIXELS: usize, const REGISTERS: usize>(
        &self,
        simd: S,
        panel: Panel,
        (inputs, weights, products): (&[f32], &[f32], &mut [f32]),
        result: &mut [f32],
    ) {
        let channels = self.part.winograd.channels;
        let (weights, _) = S::as_simd_f32s(weights);
        let (products, _) = S::as_mut_simd_f32s(products);
        let products = products.as_chunks_mut::<REGISTERS>().0;
        for (point, weights) in weights.as_chunks::<REGISTERS>().0.chunks(channels).enumerate() {
            let mut tile = 0;
            while tile < self.count {
                // What is missing of the last tiles repeats the last and is not stored.
                let mut floats = [[].as_slice(); PIXELS];
                for (index, slot) in floats.iter_mut().enumerate() {
                    let at = ((tile + index).min(self.count - 1) * Self::POINTS + point) * channels;
                    *slot = &inputs[at..at + channels];
                }
                let mut sums = [[simd.splat_f32s(0.0); REGISTERS]; PIXELS];
                add_products(simd, &mut sums, &floats, weights);
                for (index, sums) in sums.into_iter().enumerate().take(self.count - tile) {
                    products[(tile + index) * Self::POINTS + point] = sums;
                }
                tile += PIXELS;
            }
        }
        for (tile, products) in products.chunks(Self::POINTS).enumerate().take(self.count) {
            self.write(simd, panel, tile, products, result);
        }
    }

    /// Writes the pixels of a tile, as far as they lie in the picture, from its products.
    #[inline(always)]
    fn write<S: Simd, const REGISTERS: usize>(
        &self,
        simd: S,
        panel: Panel,
        tile: usize,
        products: &[[S::f32s; REGISTERS]],
        result: &mut [f32],
    ) {
        let Part { weights: [_, bias], to, image, first_row, channel, epilogue, .. } = self.part;
        let bias = load::<S, REGISTERS>(simd, panel.biases(bias));
        let mut pixels = [[bias; OUT]; OUT];
        for (register, bias) in bias.into_iter().enumerate() {
            let sums = self.sums(simd, products, register);
            for (pixels, sums) in pixels.iter_mut().zip(sums) {
                for (pixel, sum) in pixels.iter_mut().zip(sums) {
                    pixel[register] = simd.add_f32s(bias, sum);
                }
            }
        }
        let [row, column] = self.pixel(tile);
        let is_whole = column + OUT <= to.width && first_row + row + OUT <= to.height;
        for (down, pixels) in pixels.into_iter().enumerate() {
            for (right, sums) in pixels.into_iter().enumerate() {
                let [y, x] = [row + down, column + right];
                if is_whole || (x < to.width && first_row + y < to.height) {
                    let at = y * to.row + x * to.record + channel + panel.start;
                    let record = &mut result[at..at + panel.channels];
                    epilogue.store(simd, sums, (image, [first_row + y, x], panel.start), record);
                }
            }
        }
    }

    /// A register of each pixel of a tile from its products.
    #[inline(always)]
    fn sums<S: Simd, const REGISTERS: usize>(
        &self,
        simd: S,
        products: &[[S::f32s; REGISTERS]],
        register: usize,
    ) -> [[S::f32s; OUT]; OUT] {
        let zero = simd.splat_f32s(0.0);
        let mut rows = [[zero; OUT]; SIDE];
        for (row, products) in rows.iter_mut().zip(products.as_chunks::<SIDE>().0) {
            let mut values = [zero; SIDE];
            for (value, product) in values.iter_mut().zip(products) {
                *value = product[register];
            }
            *row = T::result(simd, values);
        }
        let mut columns = [[zero; OUT]; OUT];
        for (slot, column) in columns.iter_mut().zip(transposed(zero, &rows)) {
            *slot = T::result(simd, column);
        }
        transposed(zero, &columns)
    }
}
