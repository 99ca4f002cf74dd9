//! Gradients of the weights of 3x3 convolutions at stride 1 in Winograd's form: 16 products for each pair of channels
//! and four pixels instead of 36.
//!
//! Where the way forward multiplies the transformed input by the transformed kernel, the kernel's gradient is, for each
//! point, the product of the transformed input with the transformed gradient of the result, summed over tiles. Some
//! hundred tiles of all images are transformed, multiplied, and so on; each step is done by all threads. No sum is
//! split between tasks, so numbers do not depend on the number of threads.

use pulp::{Simd, WithSimd};

use super::Grid;
use super::dense::{Panel, has_many_registers};
use super::products::{Products, Source};
use super::registers::{add, load, store};
use super::team::{Parts, Team};
use super::winograd::{POINTS, transformed_tile};
use super::winograd_weights::transform_gradient;

/// Channels of the input whose numbers lie beside each other in a transformed tile.
const CHANNELS: usize = 16;

/// Tiles that lie after one another. A panel's numbers at one point of so many fit in the first cache.
const GROUP: usize = 64;

/// Tiles that are transformed before products are made of them.
const BLOCK: usize = 4 * GROUP;

impl Products {
    /// Floats that [`Products::winograd_gradient`] needs to work in.
    pub(crate) fn winograd_workspace(&self) -> usize {
        self.parts_of_workspace().iter().sum()
    }

    /// Of the transformed input, the transformed gradient of the result, and the gradient of the transformed weights.
    fn parts_of_workspace(&self) -> [usize; 3] {
        let width: usize = self.panels.iter().map(|panel| self.width(panel)).sum();
        let inputs = self.channels.next_multiple_of(CHANNELS);
        [BLOCK * POINTS * inputs, BLOCK * POINTS * width, POINTS * self.channels * width]
    }

    /// Writes the gradient of the weights, or adds it to what is there, from the input of a 3x3 convolution with
    /// stride, padding and dilation 1 and the gradient of its result.
    pub(crate) fn winograd_gradient(
        &self,
        team: &Team,
        x: Source<'_>,
        result: Source<'_>,
        workspace: &mut [f32],
        (gradient, add): (&mut [f32], bool),
    ) {
        let [inputs, results, weights] = self.parts_of_workspace();
        let Some((inputs, rest)) = workspace.split_at_mut_checked(inputs) else { return };
        let Some((results, rest)) = rest.split_at_mut_checked(results) else { return };
        let Some(sums) = rest.get_mut(..weights) else { return };
        let tiles = Tiles::new(&result.1);
        sums.fill(0.0);
        for first in (0..tiles.count()).step_by(BLOCK) {
            let block = Tiles { first, end: tiles.count().min(first + BLOCK), ..tiles };
            self.transform_inputs(team, block, x, inputs);
            self.transform_results(team, block, result, results);
            self.add_products(team, block, inputs, results, sums);
        }
        transform_gradient(team, self, sums, gradient, add);
    }

    /// `[group, block of channels, point, tile, channel]`.
    fn transform_inputs(&self, team: &Team, tiles: Tiles, x: Source<'_>, inputs: &mut [f32]) {
        let blocks = self.channels.div_ceil(CHANNELS);
        let size = POINTS * GROUP * CHANNELS;
        let parts = Parts::new(0, tiles.groups() * blocks, [size; 2], size);
        team.each_part(inputs, parts, |part, points| {
            let (first, start) = (part / blocks * GROUP, part % blocks * CHANNELS);
            let channels = CHANNELS.min(self.channels - start);
            let source = (x.0, x.1, x.2 + start);
            self.instructions.run(Inputs { tiles: tiles.group(first), source, channels, points });
        });
    }

    /// For each group and panel `[point, tile, channel]`.
    fn transform_results(&self, team: &Team, tiles: Tiles, result: Source<'_>, results: &mut [f32]) {
        let mut rest = results;
        for panel in &self.panels {
            let size = POINTS * GROUP * self.width(panel);
            let (own, after) = rest.split_at_mut((BLOCK / GROUP * size).min(rest.len()));
            rest = after;
            team.each_part(own, Parts::new(0, tiles.groups(), [size; 2], size), |group, points| {
                let source = (result.0, result.1, result.2 + panel.start);
                let tiles = tiles.group(group * GROUP);
                self.instructions.run(Results { tiles, source, panel: *panel, points });
            });
        }
    }

    fn add_products(&self, team: &Team, tiles: Tiles, inputs: &[f32], results: &[f32], sums: &mut [f32]) {
        let (mut results, mut sums) = (results, sums);
        for panel in &self.panels {
            let width = self.width(panel);
            let (own_results, after) = results.split_at((BLOCK * POINTS * width).min(results.len()));
            results = after;
            let plane = self.channels * width;
            let (own, after) = sums.split_at_mut((POINTS * plane).min(sums.len()));
            sums = after;
            let pieces = team.threads().div_ceil(POINTS / 4);
            let rows = self.channels.div_ceil(pieces).next_multiple_of(CHANNELS);
            let parts = Parts::new(0, POINTS, [plane; 2], rows * width);
            team.each_part(own, parts, |part, sums| {
                let (point, first) = (part / parts.pieces(), part % parts.pieces() * rows);
                let blocks = self.channels.div_ceil(CHANNELS);
                let product = Product { tiles, blocks, point, first, inputs, results: own_results };
                self.instructions.run(Task { product, registers: panel.registers, sums });
            });
        }
    }
}

/// Tiles of 2x2 pixels of all images, row by row.
#[derive(Debug, Clone, Copy)]
struct Tiles {
    grid: Grid,
    first: usize,
    end: usize,
}

impl Tiles {
    fn new(grid: &Grid) -> Tiles {
        let end = grid.images * grid.height.div_ceil(2) * grid.width.div_ceil(2);
        Tiles { grid: *grid, first: 0, end }
    }

    fn count(&self) -> usize {
        self.end - self.first
    }

    fn groups(&self) -> usize {
        self.count().div_ceil(GROUP)
    }

    /// Those of a group, which begins with the tile `first` of these.
    fn group(&self, first: usize) -> Tiles {
        let first = self.first + first;
        Tiles { first, end: self.end.min(first + GROUP), ..*self }
    }

    /// Image, row and column of the first pixel of each.
    #[inline(always)]
    fn pixels(&self) -> impl Iterator<Item = (usize, [usize; 2])> {
        let [down, across] = [self.grid.height.div_ceil(2), self.grid.width.div_ceil(2)];
        (self.first..self.end)
            .map(move |tile| (tile / across / down, [tile / across % down * 2, tile % across * 2]))
    }
}

/// The channels of a pixel, zeros beyond the picture.
#[inline(always)]
fn pixel<S: Simd, const REGISTERS: usize>(
    simd: S,
    (floats, grid, first): Source<'_>,
    (image, [y, x]): (usize, [usize; 2]),
    channels: usize,
) -> [S::f32s; REGISTERS] {
    if y >= grid.height || x >= grid.width {
        return [simd.splat_f32s(0.0); REGISTERS];
    }
    let at = grid.at(image, y, x) + first;
    load::<S, REGISTERS>(simd, floats.get(at..at + channels).unwrap_or_default())
}

/// Transforms some channels of the tiles of a group of the input.
struct Inputs<'a, 'p> {
    tiles: Tiles,
    source: Source<'a>,
    channels: usize,
    points: &'p mut [f32],
}

impl WithSimd for Inputs<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Inputs { tiles, source, channels, points } = self;
        let lanes = S::F32_LANES;
        for (tile, (image, [y, x])) in tiles.pixels().enumerate() {
            for start in (0..channels).step_by(lanes) {
                let source = (source.0, source.1, source.2 + start);
                let count = lanes.min(channels - start);
                let mut pixels = [[simd.splat_f32s(0.0); 4]; 4];
                for (down, row) in pixels.iter_mut().enumerate() {
                    for (right, slot) in row.iter_mut().enumerate() {
                        // The first row and column are one before the tile's: below zero by wrapping around.
                        let at = [(y + down).wrapping_sub(1), (x + right).wrapping_sub(1)];
                        [*slot] = pixel::<S, 1>(simd, source, (image, at), count);
                    }
                }
                let transformed = transformed_tile(simd, pixels);
                for (point, value) in transformed.as_flattened().iter().enumerate() {
                    let at = (point * GROUP + tile) * CHANNELS + start;
                    store(simd, &[*value], None, points.get_mut(at..at + lanes).unwrap_or_default());
                }
            }
        }
    }
}

/// Transforms the channels of a panel of the tiles of a group of the result's gradient.
struct Results<'a, 'p> {
    tiles: Tiles,
    source: Source<'a>,
    panel: Panel,
    points: &'p mut [f32],
}

impl WithSimd for Results<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Results { tiles, source, panel: Panel { channels, registers, .. }, points } = self;
        let lanes = S::F32_LANES;
        for (tile, (image, [y, x])) in tiles.pixels().enumerate() {
            for start in (0..channels).step_by(lanes) {
                let source = (source.0, source.1, source.2 + start);
                let count = lanes.min(channels - start);
                let mut pixels = [[simd.splat_f32s(0.0); 2]; 2];
                for (down, row) in pixels.iter_mut().enumerate() {
                    for (right, slot) in row.iter_mut().enumerate() {
                        [*slot] = pixel::<S, 1>(simd, source, (image, [y + down, x + right]), count);
                    }
                }
                let transformed = transformed_result(simd, pixels);
                for (point, value) in transformed.as_flattened().iter().enumerate() {
                    let at = (point * GROUP + tile) * registers * lanes + start;
                    store(simd, &[*value], None, points.get_mut(at..at + lanes).unwrap_or_default());
                }
            }
        }
    }
}

/// The sixteen points of a tile of the result's gradient, row by row: what each product has to do with each pixel.
#[inline(always)]
fn transformed_result<S: Simd>(simd: S, tile: [[S::f32s; 2]; 2]) -> [[S::f32s; 4]; 4] {
    #[inline(always)]
    fn spread<S: Simd>(simd: S, [p, q]: [S::f32s; 2]) -> [S::f32s; 4] {
        [p, simd.add_f32s(p, q), simd.sub_f32s(p, q), simd.neg_f32s(q)]
    }
    let [first, second] = tile;
    let ([a, b, c, d], [e, f, g, h]) = (spread(simd, first), spread(simd, second));
    let ([a, e, i, m], [b, f, j, n]) = (spread(simd, [a, e]), spread(simd, [b, f]));
    let ([c, g, k, o], [d, h, l, p]) = (spread(simd, [c, g]), spread(simd, [d, h]));
    [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]]
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
        let size = POINTS * GROUP * REGISTERS * S::F32_LANES;
        let rows = S::as_mut_simd_f32s(sums).0.as_chunks_mut::<REGISTERS>().0;
        for (group, points) in self.results.chunks(size).enumerate().take(self.tiles.groups()) {
            let count = self.tiles.group(group * GROUP).count();
            let registers = S::as_simd_f32s(points).0.as_chunks::<REGISTERS>().0;
            let own = registers.get(self.point * GROUP..self.point * GROUP + count).unwrap_or_default();
            for (index, rows) in rows.chunks_mut(ROWS).enumerate() {
                let mut inputs = [[].as_slice(); ROWS];
                for (row, slot) in inputs.iter_mut().enumerate() {
                    // Channels that the last tile lacks repeat its last one and are not stored.
                    *slot = self.input(group, self.first + index * ROWS + row.min(rows.len() - 1), count);
                }
                match rows.first_chunk_mut::<ROWS>() {
                    Some(rows) => add_outer_products(simd, rows, &inputs, own),
                    None => {
                        let mut tile = [[simd.splat_f32s(0.0); REGISTERS]; ROWS];
                        add_outer_products(simd, &mut tile, &inputs, own);
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
        let start = (block * POINTS + self.point) * GROUP * CHANNELS + channel % CHANNELS;
        let end = start + (count * CHANNELS).saturating_sub(CHANNELS - 1);
        self.inputs.get(start..end).unwrap_or_default()
    }
}

/// rows[r] += the sum of inputs[r][CHANNELS k] * results[k] over every k.
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
