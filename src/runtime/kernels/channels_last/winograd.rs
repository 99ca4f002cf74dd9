//! 3x3 convolutions at stride 1 by Winograd's F(2x2, 3x3) (arXiv 1509.09308): four pixels of the result are computed of
//! sixteen of the input with 16 products for each pair of channels instead of 36.
//!
//! A block of tiles is transformed, multiplied as sixteen matrices by the transformed kernel, and transformed back. All
//! transforms are sums and differences, and halves in the kernel's, so that errors stay near those of plain sums.

use pulp::{Simd, WithSimd};

use super::Grid;
use super::aligned::Aligned;
use super::dense::{Epilogue, Panel, add_products, has_many_registers, panels};
use super::instructions::Instructions;
use super::norm::Source;
use super::registers::{load, store};
use super::team::Team;
use super::workspaces::Workspaces;
use crate::graph::Conv;

/// Numbers of a transformed tile.
pub(super) const POINTS: usize = 16;

/// Floats of the transformed input of a block, so that it stays in the second cache.
const BLOCK: usize = 96 * 1024;

/// Registers of a panel are at most so many, with at most so many floats each.
const WIDEST_PANEL: usize = 4 * 16;

/// A convolution with transformed and packed weights.
#[derive(Debug)]
pub(crate) struct Winograd {
    tiling: Tiling,
    weights: Aligned,
    /// For every result channel, with zeros up to the end of the last panel.
    bias: Vec<f32>,
}

/// A convolution whose weights are given, transformed, with each run: for every panel and point those of the panel's
/// result channels, for one input channel after another.
#[derive(Debug)]
pub(crate) struct Tiling {
    pub(super) channels: usize,
    pub(super) panels: Vec<Panel>,
    /// What a pixel outside the picture consists of.
    zeros: Vec<f32>,
    pub(super) instructions: Instructions,
}

/// Whether a convolution of so many channels is faster so than as plain products.
pub(crate) fn pays(conv: &Conv, channels: usize) -> bool {
    /// Below this the transforms take longer than what they save.
    const FEWEST: usize = 24;
    let Conv { out, kernel, stride, padding, dilation, groups, .. } = *conv;
    let fits = (kernel, stride, padding, dilation, groups) == ([3; 2], [1; 2], [1; 2], [1; 2], 1);
    fits && channels >= FEWEST && out >= FEWEST
}

impl Winograd {
    /// A kernel `[out, channels, 3, 3]` and a bias `[out]`.
    pub(crate) fn new(kernel: &[f32], bias: &[f32], channels: usize, instructions: Instructions) -> Winograd {
        let tiling = Tiling::new(channels, bias.len(), instructions);
        let weights = Aligned::from(pack(kernel, channels, &tiling.panels, instructions.lanes()).as_slice());
        let mut bias = bias.to_vec();
        let end = |panel: &Panel| panel.start + panel.registers * instructions.lanes();
        bias.resize(tiling.panels.last().map_or(0, end), 0.0);
        Winograd { tiling, weights, bias }
    }

    /// Floats that each thread needs to work in.
    pub(crate) fn workspace(&self) -> usize {
        self.tiling.workspace()
    }

    /// Writes the result into `result` at `to`, its first channel at `channel` of a record.
    pub(crate) fn run(
        &self,
        team: &Team,
        workspaces: &Workspaces,
        source: Source<'_>,
        target: (&mut [f32], Grid, usize),
        epilogue: Epilogue<'_>,
    ) {
        self.tiling.run(team, workspaces, [self.weights.floats(), &self.bias], source, target, epilogue);
    }
}

impl Tiling {
    /// A convolution of `channels` to `out` channels.
    pub(crate) fn new(channels: usize, out: usize, instructions: Instructions) -> Tiling {
        let panels = panels(out, instructions.lanes());
        Tiling { channels, panels, zeros: vec![0.0; channels], instructions }
    }

    /// Tiles that are worked on at once.
    fn block(&self) -> usize {
        (BLOCK / (POINTS * self.channels)).next_multiple_of(6).min(192)
    }

    /// Floats that each thread needs to work in.
    pub(crate) fn workspace(&self) -> usize {
        self.block() * POINTS * (self.channels + WIDEST_PANEL)
    }

    /// Number of transformed weights.
    pub(crate) fn size(&self) -> usize {
        let registers: usize = self.panels.iter().map(|panel| panel.registers).sum();
        POINTS * self.channels * registers * self.instructions.lanes()
    }

    /// Writes the result into `result` at `to`, its first channel at `channel` of a record.
    pub(crate) fn run(
        &self,
        team: &Team,
        workspaces: &Workspaces,
        weights: [&[f32]; 2],
        source: Source<'_>,
        (result, to, channel): (&mut [f32], Grid, usize),
        epilogue: Epilogue<'_>,
    ) {
        to.split_row_pairs(team, result, |image, first_row, result| {
            let part = Part { tiling: self, weights, source, to, image, first_row, channel, epilogue };
            workspaces.with(|workspace| self.instructions.run(Task { part, result, workspace }));
        });
    }
}

/// One dimension of the kernel's transform, in f64.
fn transformed([a, b, c]: [f64; 3]) -> [f64; 4] {
    [a, (a + b + c) / 2.0, (a - b + c) / 2.0, c]
}

/// The transformed weights of a kernel `[3, 3]`, row by row.
fn transformed_kernel(kernel: &[f32]) -> [f32; POINTS] {
    let number = |y: usize, x: usize| kernel.get(3 * y + x).copied().map_or(0.0, f64::from);
    let rows = [0, 1, 2].map(|y| transformed([number(y, 0), number(y, 1), number(y, 2)]));
    let [first, second, third] = rows;
    let mut result = [0.0; POINTS];
    for (x, ((a, b), c)) in first.into_iter().zip(second).zip(third).enumerate() {
        for (y, value) in transformed([a, b, c]).into_iter().enumerate() {
            if let Some(slot) = result.get_mut(4 * y + x) {
                *slot = value as f32;
            }
        }
    }
    result
}

fn pack(kernel: &[f32], channels: usize, panels: &[Panel], lanes: usize) -> Vec<f32> {
    let kernels: Vec<[f32; POINTS]> = kernel.chunks(9).map(transformed_kernel).collect();
    let mut weights = Vec::with_capacity(POINTS * kernels.len());
    for panel in panels {
        for point in 0..POINTS {
            for channel in 0..channels {
                let of = |out: usize| kernels.get(out * channels + channel)?.get(point).copied();
                weights.extend((panel.start..panel.start + panel.channels).filter_map(of));
                weights.resize(weights.len() + panel.registers * lanes - panel.channels, 0.0);
            }
        }
    }
    weights
}

/// Some pairs of rows of the result.
#[derive(Clone, Copy)]
struct Part<'a> {
    tiling: &'a Tiling,
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
        let Task { part, result, workspace } = self;
        let Part { tiling, weights: [weights, _], to, .. } = part;
        let across = to.width.div_ceil(2).max(1);
        let tiles = result.len().div_ceil(to.row.max(1)).div_ceil(2) * across;
        let block = tiling.block();
        let (inputs, products) =
            workspace.split_at_mut((block * POINTS * tiling.channels).min(workspace.len()));
        let mut first = 0;
        while first < tiles {
            let tiles = Tiles { part, first, count: block.min(tiles - first), across };
            tiles.transform(simd, inputs);
            let mut rest = weights;
            for panel in &tiling.panels {
                let length = POINTS * tiling.channels * panel.registers * S::F32_LANES;
                let (own, after) = rest.split_at(length.min(rest.len()));
                rest = after;
                let many = has_many_registers(S::F32_LANES);
                let operands = (&*inputs, own, &mut *products);
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
struct Tiles<'a> {
    part: Part<'a>,
    first: usize,
    count: usize,
    /// Tiles in a row.
    across: usize,
}

impl<'a> Tiles<'a> {
    /// The first pixel of a tile of the result, its row counted from the first of the part.
    #[inline(always)]
    fn pixel(&self, tile: usize) -> [usize; 2] {
        let tile = self.first + tile;
        [tile / self.across * 2, tile % self.across * 2]
    }

    /// Writes the transformed tiles of the input, `[tile, point, channel]`.
    #[inline(always)]
    fn transform<S: Simd>(&self, simd: S, inputs: &mut [f32]) {
        let channels = self.part.tiling.channels;
        for (tile, points) in inputs.chunks_mut(POINTS * channels).enumerate().take(self.count) {
            let pixels = self.pixels(tile);
            let mut first = 0;
            while first + S::F32_LANES <= channels {
                transform_register(simd, &pixels, first, points);
                first += S::F32_LANES;
            }
            for channel in first..channels {
                transform_register(pulp::Scalar, &pixels, channel, points);
            }
        }
    }

    /// The pixels of the input that a tile is computed of, 4x4; zeros outside the picture.
    #[inline(always)]
    fn pixels(&self, tile: usize) -> [[&'a [f32]; 4]; 4] {
        let Part { tiling, source: (x, from, channel), image, first_row, .. } = self.part;
        let [row, column] = self.pixel(tile);
        let zeros = tiling.zeros.as_slice();
        let mut pixels = [[zeros; 4]; 4];
        for (down, pixels) in pixels.iter_mut().enumerate() {
            for (right, pixel) in pixels.iter_mut().enumerate() {
                // The first row and column are one before the tile's: below zero by wrapping around.
                let [y, column] =
                    [(first_row + row + down).wrapping_sub(1), (column + right).wrapping_sub(1)];
                if y < from.height && column < from.width {
                    let at = from.at(image, y, column) + channel;
                    *pixel = x.get(at..at + zeros.len()).unwrap_or(zeros);
                }
            }
        }
        pixels
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
        let channels = self.part.tiling.channels;
        let (weights, _) = S::as_simd_f32s(weights);
        let (products, _) = S::as_mut_simd_f32s(products);
        let products = products.as_chunks_mut::<REGISTERS>().0;
        for (point, weights) in weights.as_chunks::<REGISTERS>().0.chunks(channels).enumerate() {
            let mut tile = 0;
            while tile < self.count {
                // What is missing of the last tiles repeats the last and is not stored.
                let mut floats = [[].as_slice(); PIXELS];
                for (index, slot) in floats.iter_mut().enumerate() {
                    let at = ((tile + index).min(self.count - 1) * POINTS + point) * channels;
                    *slot = inputs.get(at..at + channels).unwrap_or_default();
                }
                let mut sums = [[simd.splat_f32s(0.0); REGISTERS]; PIXELS];
                add_products(simd, &mut sums, &floats, weights);
                for (index, sums) in sums.into_iter().enumerate().take(self.count - tile) {
                    if let Some(slot) = products.get_mut((tile + index) * POINTS + point) {
                        *slot = sums;
                    }
                }
                tile += PIXELS;
            }
        }
        for (tile, products) in products.as_chunks::<POINTS>().0.iter().enumerate().take(self.count) {
            self.write(simd, panel, tile, products, result);
        }
    }

    /// Writes the four pixels of a tile, as far as they lie in the picture, from its products.
    #[inline(always)]
    fn write<S: Simd, const REGISTERS: usize>(
        &self,
        simd: S,
        panel: Panel,
        tile: usize,
        products: &[[S::f32s; REGISTERS]; POINTS],
        result: &mut [f32],
    ) {
        let Part { weights: [_, bias], to, image, first_row, channel, epilogue, .. } = self.part;
        let bias = bias.get(panel.start..).unwrap_or_default();
        let mut pixels = [load::<S, REGISTERS>(simd, bias); 4];
        let [first, second, third, fourth] = &mut pixels;
        let pixels_of_register = first.iter_mut().zip(second).zip(third).zip(fourth);
        for (register, (((a, b), c), d)) in pixels_of_register.enumerate() {
            let sums = transformed_products(simd, products, register);
            for (pixel, sum) in [a, b, c, d].into_iter().zip(sums) {
                *pixel = simd.add_f32s(*pixel, sum);
            }
        }
        let [row, column] = self.pixel(tile);
        for (index, sums) in pixels.into_iter().enumerate() {
            let [y, x] = [row + index / 2, column + index % 2];
            if x < to.width && first_row + y < to.height {
                let at = y * to.row + x * to.record + channel + panel.start;
                let record = result.get_mut(at..at + panel.channels).unwrap_or_default();
                epilogue.store(simd, sums, (image, [first_row + y, x], panel.start), record);
            }
        }
    }
}

/// Transforms a register of channels, those from `first` on, of a tile's pixels, and writes the sixteen points.
#[allow(unsafe_code)] // bounds are checked once for all pixels and points
#[inline(always)]
fn transform_register<S: Simd>(simd: S, pixels: &[[&[f32]; 4]; 4], first: usize, points: &mut [f32]) {
    let channels = points.len() / POINTS;
    let end = first + S::F32_LANES;
    assert!(end <= channels && pixels.as_flattened().iter().all(|pixel| pixel.len() >= channels));
    let mut rows = [[simd.splat_f32s(0.0); 4]; 4];
    for (row, pixels) in rows.iter_mut().zip(pixels) {
        // SAFETY: every pixel has at least `end` floats, checked above.
        let [a, b, c, d] = pixels.map(|pixel| unsafe { pixel.get_unchecked(first..end) });
        let [[a], [b], [c], [d]] =
            [load::<S, 1>(simd, a), load::<S, 1>(simd, b), load::<S, 1>(simd, c), load::<S, 1>(simd, d)];
        *row = [a, b, c, d];
    }
    for (point, value) in transformed_tile(simd, rows).as_flattened().iter().enumerate() {
        let at = point * channels;
        // SAFETY: `points` has as many floats for each of the sixteen points, and `end` is within them.
        store(simd, &[*value], None, unsafe { points.get_unchecked_mut(at + first..at + end) });
    }
}

/// The sixteen points of a tile of the input, row by row.
#[inline(always)]
pub(super) fn transformed_tile<S: Simd>(simd: S, tile: [[S::f32s; 4]; 4]) -> [[S::f32s; 4]; 4] {
    // No closures here and below: they would not be compiled for the instruction set.
    #[inline(always)]
    fn across<S: Simd>(simd: S, [p, q, r, s]: [S::f32s; 4]) -> [S::f32s; 4] {
        [simd.sub_f32s(p, r), simd.add_f32s(q, r), simd.sub_f32s(r, q), simd.sub_f32s(q, s)]
    }
    let [first, second, third, fourth] = tile;
    let [a, b, c, d] = across(simd, first);
    let [e, f, g, h] = across(simd, second);
    let [i, j, k, l] = across(simd, third);
    let [m, n, o, p] = across(simd, fourth);
    let [a, e, i, m] = across(simd, [a, e, i, m]);
    let [b, f, j, n] = across(simd, [b, f, j, n]);
    let [c, g, k, o] = across(simd, [c, g, k, o]);
    let [d, h, l, p] = across(simd, [d, h, l, p]);
    [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]]
}

/// The four sums of a register of a tile's products.
#[inline(always)]
fn transformed_products<S: Simd, const REGISTERS: usize>(
    simd: S,
    products: &[[S::f32s; REGISTERS]; POINTS],
    register: usize,
) -> [S::f32s; 4] {
    #[inline(always)]
    fn down<S: Simd>(simd: S, [p, q, r, s]: [S::f32s; 4]) -> [S::f32s; 2] {
        let [sum, difference] = [simd.add_f32s(q, r), simd.sub_f32s(q, r)];
        [simd.add_f32s(p, sum), simd.sub_f32s(difference, s)]
    }
    let zero = simd.splat_f32s(0.0);
    let mut values = [zero; POINTS];
    for (value, product) in values.iter_mut().zip(products) {
        *value = product.get(register).copied().unwrap_or(zero);
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = values;
    let columns = [
        down(simd, [a, e, i, m]),
        down(simd, [b, f, j, n]),
        down(simd, [c, g, k, o]),
        down(simd, [d, h, l, p]),
    ];
    let [[a, e], [b, f], [c, g], [d, h]] = columns;
    let ([a, b], [e, f]) = (down(simd, [a, b, c, d]), down(simd, [e, f, g, h]));
    [a, b, e, f]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Activation;
    use crate::runtime::kernel::{Kernel, View};
    use crate::runtime::kernels::channels_last::value::{Value, random, wide};

    /// Odd sizes, channels that fill no register, a residual, every width of panels; against the reference in f64.
    #[test]
    fn it_equals_the_plain_convolution() {
        let cases = [(5, 3, [3, 5]), (33, 70, [12, 5]), (64, 40, [1, 1])];
        for (channels, out, [height, width]) in cases.into_iter().take(if cfg!(miri) { 1 } else { 3 }) {
            let conv = Conv::same(out, 3).biased();
            let [from, to] = [channels, out].map(|channels| [2, channels, height, width]);
            let (x, residual) = (Value::among_others(from, 1), Value::among_others(to, 2));
            let (kernel, bias) = (random(out * channels * 9, 3), random(out, 4));
            let (wide_kernel, wide_bias) = (wide(&kernel), wide(&bias));
            let views = [
                x.view(),
                View { data: &wide_kernel[..], shape: &[out, channels, 3, 3] },
                View { data: &wide_bias[..], shape: &[out] },
            ];
            let (expected, _) = Kernel::<3>::forward(&conv, views);

            let winograd = Winograd::new(&kernel, &bias, channels, Instructions::get());
            let mut workspaces = Workspaces::default();
            let mut result = Value::among_others(to, 5);
            Team::gather(|team| {
                workspaces.reserve(team.threads(), winograd.workspace());
                let residual = Some(residual.source());
                let epilogue = Epilogue { residual, activation: Some(Activation::Relu), add: false };
                winograd.run(team, &workspaces, x.source(), result.target(), epilogue);
            });
            let rectified = |number: f64| number.max(0.0);
            result.assert_holds(&residual.plus(&expected).into_iter().map(rectified).collect::<Vec<_>>());
        }
    }
}
