//! Convolutions in Winograd's form with packed weights.

use super::stored::WinogradProducts;
use super::tiling::Tiling;
use super::transform::{Four, Tile, Two};
use crate::cpu::aligned::Aligned;
use crate::cpu::convolution::epilogue::Epilogue;
use crate::cpu::convolution::panel::Panel;
use crate::cpu::grid::{Grid, Source};
use crate::cpu::instructions::Instructions;
use crate::cpu::team::Team;
use crate::cpu::workspaces::Workspaces;

/// A convolution with transformed and packed weights.
#[derive(Debug)]
pub(crate) struct Winograd {
    products: WinogradProducts,
    weights: Aligned,
    /// For every result channel, with zeros up to the end of the last panel.
    bias: Vec<f32>,
}

impl Winograd {
    /// A kernel `[out, channels, 3, 3]` and a bias `[out]`.
    pub(crate) fn new(
        tiling: Tiling,
        kernel: &[f32],
        bias: &[f32],
        channels: usize,
        instructions: Instructions,
    ) -> Winograd {
        let products = WinogradProducts::new(tiling, channels, bias.len(), instructions);
        let lanes = instructions.lanes();
        let weights = packed(tiling, kernel, channels, &products.panels, lanes);
        let end = |panel: &Panel| panel.start + panel.registers * lanes;
        let mut bias = bias.to_vec();
        bias.resize(products.panels.last().map_or(0, end), 0.0);
        Winograd { products, weights, bias }
    }

    /// Floats that each thread needs to work in.
    pub(crate) fn workspace(&self) -> usize {
        self.products.workspace()
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
        self.products.run(team, workspaces, [self.weights.floats(), &self.bias], source, target, epilogue);
    }
}

/// The transformed and packed weights of a kernel `[out, channels, 3, 3]`.
fn packed(tiling: Tiling, kernel: &[f32], channels: usize, panels: &[Panel], lanes: usize) -> Aligned {
    match tiling {
        Tiling::Two => pack(transformed_kernel::<Two, 4, 2>, kernel, channels, panels, lanes),
        Tiling::Four => pack(transformed_kernel::<Four, 6, 4>, kernel, channels, panels, lanes),
    }
}

/// For every panel and point the weights of the panel's result channels, for one input channel after another.
fn pack<const SIDE: usize>(
    transformed: impl Fn(&[f32]) -> [[f32; SIDE]; SIDE],
    kernel: &[f32],
    channels: usize,
    panels: &[Panel],
    lanes: usize,
) -> Aligned {
    let width: usize = panels.iter().map(|panel| panel.registers * lanes).sum();
    let mut weights = Aligned::zeros(SIDE * SIDE * channels * width);
    let mut rest = weights.floats_mut();
    for panel in panels {
        let width = panel.registers * lanes;
        let (of_panel, behind) = rest.split_at_mut(SIDE * SIDE * channels * width);
        rest = behind;
        let kernels = kernel.chunks(9 * channels.max(1)).skip(panel.start).take(panel.channels);
        for (out, kernels) in kernels.enumerate() {
            for (channel, kernel) in kernels.chunks(9).enumerate() {
                let slots = of_panel.iter_mut().skip(channel * width + out).step_by(channels * width);
                let points = transformed(kernel);
                slots.zip(points.as_flattened()).for_each(|(slot, point)| *slot = *point);
            }
        }
    }
    weights
}

/// The transformed kernel `[3, 3]`, row by row.
fn transformed_kernel<T: Tile<SIDE, OUT>, const SIDE: usize, const OUT: usize>(
    kernel: &[f32],
) -> [[f32; SIDE]; SIDE] {
    let number = |y: usize, x: usize| f64::from(kernel[3 * y + x]);
    let [first, second, third] = [0, 1, 2].map(|y| T::kernel([number(y, 0), number(y, 1), number(y, 2)]));
    let mut result = [[0.0; SIDE]; SIDE];
    for (x, ((a, b), c)) in first.into_iter().zip(second).zip(third).enumerate() {
        for (row, value) in result.iter_mut().zip(T::kernel([a, b, c])) {
            row[x] = value as f32;
        }
    }
    result
}
