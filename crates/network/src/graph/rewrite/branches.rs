//! The weights of parallel branches and of the convolution that does what they do together.

use std::collections::VecDeque;

use super::norm::Norm;
use crate::graph::ir::Parameter;
use crate::graph::{Array, GraphError, Weights};

/// A convolution with a batch norm, or a batch norm alone.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    /// Kernel and, if there is one, bias; `None` for a batch norm alone.
    pub(super) conv: Option<(Parameter, Option<Parameter>)>,
    pub(super) norm: Norm,
}

/// Branches that were summed, the one with the largest kernel first and a batch norm alone last.
#[derive(Debug, Clone)]
pub(super) struct Merge {
    pub(super) branches: Vec<Branch>,
    pub(super) kernel: Parameter,
    pub(super) bias: Parameter,
}

impl Merge {
    /// Replaces the branches' weights in `merged` by those of the convolution.
    pub(super) fn merge(&self, weights: &Weights, merged: &mut Weights) -> Result<(), GraphError> {
        let (kernel, bias) = self.sum(weights)?;
        for branch in &self.branches {
            branch.norm.remove_from(merged);
            if let Some((kernel, bias)) = &branch.conv {
                merged.remove(&kernel.name);
                bias.as_ref().and_then(|bias| merged.remove(&bias.name));
            }
        }
        merged.insert(&self.kernel.name, kernel);
        merged.insert(&self.bias.name, bias);
        Ok(())
    }

    /// Kernel and bias that do what the branches did together.
    fn sum(&self, weights: &Weights) -> Result<(Array, Array), GraphError> {
        let mut kernel = vec![0.0; self.kernel.elements()];
        let mut bias = vec![0.0; self.bias.elements()];
        let row = (kernel.len() / bias.len().max(1)).max(1);
        for branch in &self.branches {
            let own = match &branch.conv {
                Some((_, Some(bias))) => weights.of(bias)?.data.clone(),
                _ => vec![0.0; bias.len()],
            };
            let shifts = branch.norm.shifts(weights, &own)?;
            bias.iter_mut().zip(shifts).for_each(|(sum, shift)| *sum += shift);
            let widened = match &branch.conv {
                Some((kernel, _)) => self.widened(weights.of(kernel)?),
                None => self.widened(&self.identity()),
            };
            let rows = kernel.chunks_mut(row).zip(widened.chunks(row));
            for ((sums, taps), factor) in rows.zip(branch.norm.factors(weights)?) {
                sums.iter_mut().zip(taps).for_each(|(sum, tap)| *sum += tap * factor);
            }
        }
        let array = |parameter: &Parameter, data: Vec<f64>| Array {
            shape: parameter.shape.clone(),
            data: data.into_iter().map(|number| number as f32).collect(),
        };
        Ok((array(&self.kernel, kernel), array(&self.bias, bias)))
    }

    /// Replaces the convolution's weights in `original` by those of branches.
    pub(super) fn split(&self, weights: &Weights, original: &mut Weights) -> Result<(), GraphError> {
        let wide = |array: &Array| array.data.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
        let mut kernel = wide(weights.of(&self.kernel)?);
        let mut bias = wide(weights.of(&self.bias)?);
        original.remove(&self.kernel.name);
        original.remove(&self.bias.name);
        let everywhere = vec![1.0; bias.len()];
        let mut reaches: VecDeque<Vec<f64>> = self.branches.iter().map(|branch| self.reach(branch)).collect();
        for branch in &self.branches {
            let reach = reaches.pop_front().unwrap_or_default();
            let taps = take(&mut kernel, &reach, reaches.make_contiguous());
            let shifts = take(&mut bias, &everywhere, &vec![everywhere.clone(); reaches.len()]);
            self.set(original, branch, &taps, shifts.into_iter().map(|value| value as f32).collect());
        }
        Ok(())
    }

    /// Sets the weights of a branch to what contributes `taps` and `shifts`.
    fn set(&self, weights: &mut Weights, branch: &Branch, taps: &[f64], shifts: Vec<f32>) {
        let channels = shifts.len();
        let Some((kernel, bias)) = &branch.conv else {
            // One tap of each channel is not zero.
            let rows = taps.chunks((taps.len() / channels.max(1)).max(1));
            let factors = rows.map(|row| row.iter().sum::<f64>() as f32);
            return branch.norm.set(weights, factors.collect(), shifts);
        };
        weights.insert(&kernel.name, self.narrowed(taps, kernel));
        if let Some(bias) = bias {
            weights.insert(&bias.name, Array { shape: bias.shape.clone(), data: vec![0.0; channels] });
        }
        branch.norm.set(weights, vec![1.0; channels], shifts);
    }

    /// 1 where a branch can contribute to the merged kernel.
    fn reach(&self, branch: &Branch) -> Vec<f64> {
        match &branch.conv {
            Some((kernel, _)) => {
                self.widened(&Array { shape: kernel.shape.clone(), data: vec![1.0; kernel.elements()] })
            }
            None => self.widened(&self.identity()),
        }
    }

    /// The 1x1 kernel that changes nothing.
    fn identity(&self) -> Array {
        let [out, inner, ..] = sizes(&self.kernel.shape);
        let is_own = |at: usize| at % inner.max(1) == at / inner.max(1) % inner.max(1);
        let data = (0..out * inner).map(|at| if is_own(at) { 1.0 } else { 0.0 });
        Array { shape: vec![out, inner, 1, 1], data: data.collect() }
    }

    /// A kernel in the middle of one of the merged size.
    fn widened(&self, kernel: &Array) -> Vec<f64> {
        let mut result = vec![0.0; self.kernel.elements()];
        let middle = self.middle(&mut result, &kernel.shape);
        middle.zip(&kernel.data).for_each(|(target, value)| *target = f64::from(*value));
        result
    }

    /// The middle of a kernel of the merged size.
    fn narrowed(&self, taps: &[f64], kernel: &Parameter) -> Array {
        let mut taps = taps.to_vec();
        let data = self.middle(&mut taps, &kernel.shape).map(|value| *value as f32).collect();
        Array { shape: kernel.shape.clone(), data }
    }

    /// The taps of a kernel of the merged size that one of `shape` covers when their centres meet.
    fn middle<'a>(
        &self,
        taps: &'a mut [f64],
        shape: &[usize],
    ) -> impl Iterator<Item = &'a mut f64> + use<'a> {
        let [_, _, height, width] = sizes(&self.kernel.shape);
        let [_, _, rows, columns] = sizes(shape);
        let (top, left) = (height.saturating_sub(rows) / 2, width.saturating_sub(columns) / 2);
        let planes = taps.chunks_mut((height * width).max(1));
        let lines = planes.flat_map(move |plane| plane.chunks_mut(width.max(1)).skip(top).take(rows));
        lines.flat_map(move |line| line.iter_mut().skip(left).take(columns))
    }
}

/// Takes out of `rest` what falls to a branch that reaches it at `reach`: half where others come later, all where
/// none does.
fn take(rest: &mut [f64], reach: &[f64], later: &[Vec<f64>]) -> Vec<f64> {
    let given = rest.iter_mut().zip(reach).enumerate().map(|(at, (rest, reach))| {
        let others = later.iter().any(|reach| reach.get(at).is_some_and(|reach| *reach > 0.0));
        let given = *rest * reach * if others { 0.5 } else { 1.0 };
        *rest -= given;
        given
    });
    given.collect()
}

fn sizes(shape: &[usize]) -> [usize; 4] {
    std::array::from_fn(|axis| shape.get(axis).copied().unwrap_or(1))
}
