//! Gradients of the weights of 3x3 convolutions at stride 1 in Winograd's form: 16 products for each pair of channels
//! and four pixels instead of 36, or 36 for sixteen pixels instead of 144.
//!
//! Where the convolution multiplies the transformed input by the transformed kernel, the kernel's gradient is, for each
//! point, the product of the transformed input with the transformed gradient of the result, summed over tiles. Some
//! hundred tiles of all images are transformed, multiplied, and so on; each step is done by all threads. No sum is
//! split between tasks, so numbers do not depend on the number of threads.

use pulp::{Simd, WithSimd};

use super::operands::{CHANNELS, GROUP, Inputs, Results, Tiles};
use super::tiling::Tiling;
use super::weights::transform_gradient;
use crate::cpu::convolution::dense::stored::Products;
use crate::cpu::convolution::panel::has_many_registers;
use crate::cpu::grid::Source;
use crate::cpu::registers::add;
use crate::cpu::team::{Parts, Team};

/// Tiles that are transformed before products are made of them. A choice: with 192 channels to as many on maps of 40x40
/// the gradient of weights runs at 360 GFLOP/s on one thread of the machine, counted as convolutions are defined.
const BLOCK: usize = 4 * GROUP;

/// Gradients of the weights of some products.
#[derive(Clone, Copy)]
pub(crate) struct WinogradGradient<'a> {
    products: &'a Products,
    tiling: Tiling,
}

impl<'a> WinogradGradient<'a> {
    /// `products` are those of a 3x3 convolution with stride, padding and dilation 1.
    pub(crate) fn new(products: &'a Products, tiling: Tiling) -> WinogradGradient<'a> {
        WinogradGradient { products, tiling }
    }

    /// Floats that it needs to work in.
    pub(crate) fn workspace(&self) -> usize {
        self.parts_of_workspace().iter().sum()
    }

    /// Of the transformed input, the transformed gradient of the result, and the gradient of the transformed weights.
    fn parts_of_workspace(&self) -> [usize; 3] {
        let Products { panels, channels, .. } = self.products;
        let width: usize = panels.iter().map(|panel| self.products.width(panel)).sum();
        let (points, inputs) = (self.tiling.points(), channels.next_multiple_of(CHANNELS));
        [BLOCK * points * inputs, BLOCK * points * width, points * channels * width]
    }

    /// Writes the gradient of the weights, or adds it to what is there, from the input and the gradient of the result.
    pub(crate) fn run(
        &self,
        team: &Team,
        x: Source<'_>,
        result: Source<'_>,
        workspace: &mut [f32],
        (gradient, add): (&mut [f32], bool),
    ) {
        let [inputs, results, weights] = self.parts_of_workspace();
        let (inputs, rest) = workspace.split_at_mut(inputs);
        let (results, rest) = rest.split_at_mut(results);
        let sums = &mut rest[..weights];
        let tiles = Tiles::new(&result.1, self.tiling);
        sums.fill(0.0);
        for first in (0..tiles.count()).step_by(BLOCK) {
            let block = tiles.part(first, BLOCK);
            self.transform_inputs(team, block, x, inputs);
            self.transform_results(team, block, result, results);
            self.add_products(team, block, inputs, results, sums);
        }
        transform_gradient(team, (self.products, self.tiling), sums, gradient, add);
    }

    /// `[group, block of channels, point, tile, channel]`.
    fn transform_inputs(&self, team: &Team, tiles: Tiles, x: Source<'_>, inputs: &mut [f32]) {
        let Products { channels, instructions, .. } = *self.products;
        let blocks = channels.div_ceil(CHANNELS);
        let size = self.tiling.points() * GROUP * CHANNELS;
        let parts = Parts::new(0, tiles.groups() * blocks, [size; 2], size);
        team.each_part(inputs, parts, |part, points| {
            let (first, start) = (part / blocks * GROUP, part % blocks * CHANNELS);
            let source = (x.0, x.1, x.2 + start);
            let channels = CHANNELS.min(channels - start);
            instructions.run(Inputs { tiles: tiles.part(first, GROUP), source, channels, points });
        });
    }

    /// For each group and panel `[point, tile, channel]`.
    fn transform_results(&self, team: &Team, tiles: Tiles, result: Source<'_>, results: &mut [f32]) {
        let mut rest = results;
        for panel in &self.products.panels {
            let size = self.tiling.points() * GROUP * self.products.width(panel);
            let (of_panel, after) = rest.split_at_mut(BLOCK / GROUP * size);
            rest = after;
            team.each_part(of_panel, Parts::new(0, tiles.groups(), [size; 2], size), |group, points| {
                let source = (result.0, result.1, result.2 + panel.start);
                let tiles = tiles.part(group * GROUP, GROUP);
                self.products.instructions.run(Results { tiles, source, panel: *panel, points });
            });
        }
    }

    fn add_products(&self, team: &Team, tiles: Tiles, inputs: &[f32], results: &[f32], sums: &mut [f32]) {
        let Products { channels, instructions, .. } = *self.products;
        let points = self.tiling.points();
        let (mut results, mut sums) = (results, sums);
        for panel in &self.products.panels {
            let width = self.products.width(panel);
            let (panel_results, after) = results.split_at(BLOCK * points * width);
            results = after;
            let plane = channels * width;
            let (panel_sums, after) = sums.split_at_mut(points * plane);
            sums = after;
            // Four tasks for each thread.
            let pieces = (4 * team.threads()).div_ceil(points);
            let rows = channels.div_ceil(pieces).next_multiple_of(CHANNELS);
            let parts = Parts::new(0, points, [plane; 2], rows * width);
            team.each_part(panel_sums, parts, |part, sums| {
                let (point, first) = (part / parts.pieces(), part % parts.pieces() * rows);
                let blocks = channels.div_ceil(CHANNELS);
                let product = Product { tiles, blocks, point, first, inputs, results: panel_results };
                instructions.run(Task { product, registers: panel.registers, sums });
            });
        }
    }
}

/// The products of some channels of the input with a panel of the result at one point.
#[derive(Clone, Copy)]
struct Product<'a> {
    tiles: Tiles,
    /// Blocks of channels.
    blocks: usize,
    point: usize,
    /// The first of the channels.
    first: usize,
    inputs: &'a [f32],
    results: &'a [f32],
}

struct Task<'a, 's> {
    product: Product<'a>,
    registers: usize,
    sums: &'s mut [f32],
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Task { product, registers, sums } = self;
        match (has_many_registers(S::F32_LANES), registers) {
            (true, 4) => product.run::<S, 6, 4>(simd, sums),
            (true, 3) => product.run::<S, 8, 3>(simd, sums),
            (true, 2) => product.run::<S, 8, 2>(simd, sums),
            (true, _) => product.run::<S, 8, 1>(simd, sums),
            (false, 2) => product.run::<S, 6, 2>(simd, sums),
            (false, _) => product.run::<S, 6, 1>(simd, sums),
        }
    }
}

impl Product<'_> {
    /// Adds the products of all groups to the sums `[channel, channel of the panel]`.
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const REGISTERS: usize>(self, simd: S, sums: &mut [f32]) {
        let size = self.tiles.tiling.points() * GROUP * REGISTERS * S::F32_LANES;
        let rows = S::as_mut_simd_f32s(sums).0.as_chunks_mut::<REGISTERS>().0;
        for (group, points) in self.results.chunks(size).enumerate().take(self.tiles.groups()) {
            let count = self.tiles.part(group * GROUP, GROUP).count();
            let registers = S::as_simd_f32s(points).0.as_chunks::<REGISTERS>().0;
            let results = &registers[self.point * GROUP..self.point * GROUP + count];
            for (index, rows) in rows.chunks_mut(ROWS).enumerate() {
                let mut inputs = [[].as_slice(); ROWS];
                for (row, slot) in inputs.iter_mut().enumerate() {
                    // Channels that the last tile lacks repeat its last one and are not stored.
                    *slot = self.input(group, self.first + index * ROWS + row.min(rows.len() - 1), count);
                }
                match rows.first_chunk_mut::<ROWS>() {
                    Some(rows) => add_outer_products(simd, rows, &inputs, results),
                    None => {
                        let mut tile = [[simd.splat_f32s(0.0); REGISTERS]; ROWS];
                        add_outer_products(simd, &mut tile, &inputs, results);
                        add(simd, rows, &tile);
                    }
                }
            }
        }
    }

    /// The numbers of a channel of the input, [`CHANNELS`] apart.
    #[inline(always)]
    fn input(&self, group: usize, channel: usize, count: usize) -> &[f32] {
        let block = group * self.blocks + channel / CHANNELS;
        let start = (block * self.tiles.tiling.points() + self.point) * GROUP * CHANNELS + channel % CHANNELS;
        let end = start + (count * CHANNELS).saturating_sub(CHANNELS - 1);
        &self.inputs[start..end]
    }
}

/// rows\[r\] += the sum of inputs\[r\][CHANNELS k] * results\[k\] over every k.
#[allow(unsafe_code)] // bounds are checked once for all tiles
#[inline(always)]
fn add_outer_products<S: Simd, const ROWS: usize, const REGISTERS: usize>(
    simd: S,
    rows: &mut [[S::f32s; REGISTERS]; ROWS],
    inputs: &[&[f32]; ROWS],
    results: &[[S::f32s; REGISTERS]],
) {
    assert!(inputs.iter().all(|input| input.len() + CHANNELS > results.len() * CHANNELS));
    // Only where every place of it is known do the sums stay in registers: so the rows are an array, too.
    let mut sums = [[simd.splat_f32s(0.0); REGISTERS]; ROWS];
    for (tile, results) in results.iter().enumerate() {
        for (sums, input) in sums.iter_mut().zip(inputs) {
            // SAFETY: tile is below the number of results, and (results.len() - 1) * CHANNELS is within every slice,
            // checked above.
            let float = simd.splat_f32s(unsafe { *input.get_unchecked(tile * CHANNELS) });
            for (sum, result) in sums.iter_mut().zip(results) {
                *sum = simd.mul_add_e_f32s(float, *result, *sum);
            }
        }
    }
    add(simd, rows, &sums);
}
