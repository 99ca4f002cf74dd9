//! Norms that were not folded, and learnable factors.

use super::Compiler;
use crate::RuntimeError;
use crate::kernels::channels_last::Grid;
use crate::kernels::channels_last::norm::Groups;
use crate::plan::step::{Kernel, Part};
use network::graph::{Conv, Node, Value};

impl Compiler<'_, '_> {
    /// A batch norm with its running statistics.
    pub(super) fn batch_norm(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        epsilon: f64,
    ) -> Result<(), RuntimeError> {
        let [weight, bias, mean, variance] = self.numbers(node)?;
        let scale =
            |(weight, variance): (&f32, &f32)| f64::from(*weight) / (f64::from(*variance) + epsilon).sqrt();
        let factors: Vec<f64> = weight.iter().zip(&variance).map(scale).collect();
        let shift =
            |((bias, mean), factor): ((&f32, &f32), &f64)| f64::from(*bias) - f64::from(*mean) * factor;
        let shifts: Vec<f32> =
            bias.iter().zip(&mean).zip(&factors).map(shift).map(|shift| shift as f32).collect();
        let factors: Vec<f32> = factors.into_iter().map(|factor| factor as f32).collect();
        self.affine(value, x, [&factors, &shifts])
    }

    pub(super) fn scale(&mut self, value: Value, node: &Node, x: Value) -> Result<(), RuntimeError> {
        let [factor] = self.numbers(node)?;
        let channels = node.shape.get(1).copied().unwrap_or(0);
        let factor = factor.first().copied().unwrap_or(1.0);
        self.affine(value, x, [&vec![factor; channels], &vec![0.0; channels]])
    }

    /// A factor and a shift for every channel: a depthwise convolution with a kernel of one tap.
    fn affine(&mut self, value: Value, x: Value, [factors, shifts]: [&[f32]; 2]) -> Result<(), RuntimeError> {
        let conv = Conv::depthwise(factors.len(), 1).biased();
        let from = self.map(x)?;
        let target = self.target(value, &[from.buffer])?;
        let place = self.write_depthwise(value, (&conv, factors, shifts), &from, target, None);
        self.places.insert(value, place);
        self.used(x);
        Ok(())
    }

    pub(super) fn group_norm(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        (groups, epsilon): (usize, f64),
    ) -> Result<(), RuntimeError> {
        let [weight, bias] = self.numbers(node)?;
        let from = self.ordered(x)?;
        let (Grid { images, height, width, .. }, channels) = (from.grid, weight.len());
        let mut scratch = |height| {
            let grid = Grid::packed(images, [height, 1], 2 * channels);
            Part { buffer: self.temporary(grid.end()), grid, channel: 0 }
        };
        let (moments, factors) = (scratch(height), scratch(1));
        let target = self.target(value, &[from.buffer])?;
        let first = target.positions.first().copied().unwrap_or(0);
        let to = Part { buffer: target.buffer, grid: target.grid, channel: first };
        let groups = Box::new(Groups { groups, epsilon, weight, bias });
        self.push(value, Kernel::RowMoments { from, channels }, moments);
        self.push(value, Kernel::Factors { moments, groups, width }, factors);
        self.push(value, Kernel::Normalise { from, factors, channels, activation: None }, to);
        self.places.insert(value, target);
        self.used(x);
        Ok(())
    }
}
