//! Convolutions of every channel with its own kernel.

use pulp::{Simd, WithSimd};

use super::elementwise::activate;
use super::instructions::Instructions;
use super::{Grid, rows_per_task};
use crate::graph::{Activation, Conv};

/// A depthwise convolution.
#[derive(Debug)]
pub(crate) struct Depthwise {
    conv: Conv,
    /// For each tap the weights of all channels, in the order in which they lie in a record.
    weights: Vec<f32>,
    bias: Vec<f32>,
    instructions: Instructions,
}

impl Depthwise {
    /// A kernel `[channels, 1, height, width]` and a bias `[channels]`; `order` has the channels as they lie in a record.
    pub(crate) fn new(conv: Conv, kernel: &[f32], bias: &[f32], order: &[usize], instructions: Instructions) -> Depthwise {
        let taps = conv.kernel.iter().product::<usize>();
        let weight = |tap: usize, channel: &usize| kernel.get(channel * taps + tap).copied();
        let weights = (0..taps).flat_map(|tap| order.iter().filter_map(move |channel| weight(tap, channel)));
        let bias = order.iter().filter_map(|channel| bias.get(*channel).copied());
        Depthwise { conv, weights: weights.collect(), bias: bias.collect(), instructions }
    }

    /// Writes the result of the channels from `first` of a record on to `channel` of the result's records. `offset` is
    /// the number of channels of earlier runs.
    pub(crate) fn run(
        &self,
        x: &[f32],
        (from, first): (Grid, usize),
        result: &mut [f32],
        (to, channel): (Grid, usize),
        (offset, channels): (usize, usize),
        activation: Option<Activation>,
    ) {
        let rows = rows_per_task(&to, 2 * self.weights.len());
        to.split_rows(result, rows, |image, first_row, result| {
            let part = Part { depthwise: self, x, from, first, to, channel, offset, channels, image, first_row };
            self.instructions.run(Task { part, result, activation });
        });
    }
}

#[derive(Clone, Copy)]
struct Part<'a> {
    depthwise: &'a Depthwise,
    x: &'a [f32],
    from: Grid,
    first: usize,
    to: Grid,
    channel: usize,
    offset: usize,
    channels: usize,
    image: usize,
    first_row: usize,
}

struct Task<'a, 'r> {
    part: Part<'a>,
    result: &'r mut [f32],
    activation: Option<Activation>,
}

/// Registers of channels that are summed up at once.
const REGISTERS: usize = 4;

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Task { part, result, activation } = self;
        let width = REGISTERS * S::F32_LANES;
        for (row, records) in result.chunks_mut(part.to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(part.to.record.max(1)).enumerate() {
                let target = record.get_mut(part.channel..part.channel + part.channels).unwrap_or_default();
                for (block, target) in target.chunks_mut(width).enumerate() {
                    part.block(simd, [part.first_row + row, column], block * width, target);
                    activate(activation, target);
                }
            }
        }
    }
}

impl Part<'_> {
    /// The sums of some channels of a pixel, those from `start` on.
    #[inline(always)]
    fn block<S: Simd>(&self, simd: S, pixel: [usize; 2], start: usize, target: &mut [f32]) {
        let registers = target.len().div_ceil(S::F32_LANES);
        match registers {
            4 => self.sums::<S, 4>(simd, pixel, start, target),
            3 => self.sums::<S, 3>(simd, pixel, start, target),
            2 => self.sums::<S, 2>(simd, pixel, start, target),
            _ => self.sums::<S, 1>(simd, pixel, start, target),
        }
    }

    #[inline(always)]
    fn sums<S: Simd, const COUNT: usize>(&self, simd: S, [y, x]: [usize; 2], start: usize, target: &mut [f32]) {
        let Conv { kernel: [height, width], stride, padding, dilation, .. } = self.depthwise.conv;
        let all = self.depthwise.bias.len();
        let bias = self.depthwise.bias.get(self.offset + start..).unwrap_or_default();
        let mut sums = load::<S, COUNT>(simd, bias.get(..target.len()).unwrap_or_default());
        for ky in 0..height {
            let Some(y) = place(y * stride[0] + ky * dilation[0], padding[0], self.from.height) else { continue };
            for kx in 0..width {
                let Some(x) = place(x * stride[1] + kx * dilation[1], padding[1], self.from.width) else { continue };
                let at = self.from.at(self.image, y, x) + self.first + start;
                let floats = self.x.get(at..at + target.len()).unwrap_or_default();
                let at = (ky * width + kx) * all + self.offset + start;
                let weights = self.depthwise.weights.get(at..at + target.len()).unwrap_or_default();
                let (floats, weights) = (load::<S, COUNT>(simd, floats), load::<S, COUNT>(simd, weights));
                for ((sum, float), weight) in sums.iter_mut().zip(floats).zip(weights) {
                    *sum = simd.mul_add_e_f32s(float, weight, *sum);
                }
            }
        }
        let (whole, rest) = S::as_mut_simd_f32s(target);
        whole.iter_mut().zip(&sums).for_each(|(slot, sum)| *slot = *sum);
        if let (false, Some(sum)) = (rest.is_empty(), sums.last()) {
            simd.partial_store_f32s(rest, *sum);
        }
    }
}

/// The position without its padding, within `size`.
#[inline(always)]
fn place(position: usize, padding: usize, size: usize) -> Option<usize> {
    position.checked_sub(padding).filter(|position| *position < size)
}

/// Floats in `COUNT` registers, the last of them filled up with zeros.
#[inline(always)]
fn load<S: Simd, const COUNT: usize>(simd: S, floats: &[f32]) -> [S::f32s; COUNT] {
    let (whole, rest) = S::as_simd_f32s(floats);
    std::array::from_fn(|at| match whole.get(at) {
        Some(register) => *register,
        None if at == whole.len() => simd.partial_load_f32s(rest),
        None => simd.splat_f32s(0.0),
    })
}
