//! Convolutions of every channel with its own kernel.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::cpu::aligned::Aligned;
use crate::cpu::grid::Grid;
use crate::cpu::instructions::Instructions;
use crate::cpu::registers::{load, store};
use crate::cpu::team::Team;
use network::graph::{Activation, Conv};

/// A convolution with packed weights.
#[derive(Debug)]
pub(crate) struct Depthwise {
    conv: Conv,
    /// For each tap the weights of all channels, in the order in which they lie in a record.
    weights: Aligned,
    bias: Vec<f32>,
    instructions: Instructions,
}

impl Depthwise {
    /// A kernel `[channels, 1, height, width]` and a bias `[channels]`; `order` has the channels as they lie in a record.
    pub(crate) fn new(
        conv: Conv,
        kernel: &[f32],
        bias: &[f32],
        order: &[usize],
        instructions: Instructions,
    ) -> Depthwise {
        let taps = conv.kernel.iter().product::<usize>();
        let weight = |tap: usize, channel: &usize| kernel[channel * taps + tap];
        let weights = (0..taps).flat_map(|tap| order.iter().map(move |channel| weight(tap, channel)));
        let bias = order.iter().map(|channel| bias[*channel]);
        Depthwise {
            conv,
            weights: Aligned::from(weights.collect::<Vec<f32>>().as_slice()),
            bias: bias.collect(),
            instructions,
        }
    }

    /// Writes the result of the channels from `first` of a record on to `channel` of the result's records. `offset` is
    /// the number of channels of earlier runs.
    pub(crate) fn run(
        &self,
        team: &Team,
        (x, from, first): (&[f32], Grid, usize),
        (result, to, channel): (&mut [f32], Grid, usize),
        (offset, channels): (usize, usize),
        activation: Option<Activation>,
    ) {
        to.split_rows(team, result, 2 * self.weights.floats().len(), |image, first_row, result| {
            let part =
                Part { depthwise: self, x, from, first, to, channel, offset, channels, image, first_row };
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

/// Pixels and registers of channels that are summed up at once: eight sums, as many multiply-adds as are under way at
/// a time (four cycles, two each), and half of AVX2's sixteen registers. A choice.
const PIXELS: usize = 4;
const REGISTERS: usize = 2;

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Task { part, result, activation } = self;
        for (row, records) in result.chunks_mut(part.to.row.max(1)).enumerate() {
            let line = Line {
                part,
                activation,
                y: part.first_row + row,
                downwards: part.taps(0, part.first_row + row),
            };
            line.write(simd, records);
        }
    }
}

impl Part<'_> {
    /// The taps along an axis that lie in the picture for a position of the result.
    #[inline(always)]
    fn taps(&self, axis: usize, position: usize) -> Range<usize> {
        let Conv { kernel, stride, padding, dilation, .. } = self.depthwise.conv;
        let size = [self.from.height, self.from.width][axis];
        let first = position * stride[axis];
        let [padding, dilation] = [padding[axis], dilation[axis].max(1)];
        let start = padding.saturating_sub(first).div_ceil(dilation);
        let end = (size + padding).saturating_sub(first).div_ceil(dilation).min(kernel[axis]);
        start..end.max(start)
    }
}

/// A row of the result.
struct Line<'a> {
    part: Part<'a>,
    activation: Option<Activation>,
    y: usize,
    /// Rows of taps that lie in the picture.
    downwards: Range<usize>,
}

impl Line<'_> {
    /// Groups of pixels that see all columns of taps, and every other pixel on its own. What is left of a group is
    /// computed twice.
    #[inline(always)]
    fn write<S: Simd>(&self, simd: S, records: &mut [f32]) {
        let Grid { width, .. } = self.part.to;
        let columns = self.part.depthwise.conv.kernel[1];
        let is_inside = |x: &usize| self.part.taps(1, *x) == (0..columns);
        let first = (0..width).find(is_inside).unwrap_or(width);
        let end = (first..width).rev().find(is_inside).map_or(first, |x| x + 1);
        let is_grouped = end - first >= PIXELS;
        // Loops and not iterators: the bodies of closures would not be compiled for the instruction set.
        for x in 0..width {
            if !is_grouped || x < first || x >= end {
                self.channels::<S, 1>(simd, x, self.part.taps(1, x), records);
            }
        }
        let mut x = first;
        while is_grouped && x < end {
            x = x.min(end - PIXELS);
            self.channels::<S, PIXELS>(simd, x, 0..columns, records);
            x += PIXELS;
        }
    }

    /// All channels of some pixels. What is left of the last register is computed twice, if there is more than one.
    #[inline(always)]
    fn channels<S: Simd, const COUNT: usize>(
        &self,
        simd: S,
        x: usize,
        across: Range<usize>,
        records: &mut [f32],
    ) {
        let Part { channels, .. } = self.part;
        let group = Group { line: self, x, across };
        let mut start = 0;
        while start + REGISTERS * S::F32_LANES <= channels {
            group.sums::<S, COUNT, REGISTERS>(simd, start, records);
            start += REGISTERS * S::F32_LANES;
        }
        while start < channels && channels >= S::F32_LANES {
            group.sums::<S, COUNT, 1>(simd, start.min(channels - S::F32_LANES), records);
            start += S::F32_LANES;
        }
        for channel in start..channels {
            group.sums::<pulp::Scalar, COUNT, 1>(pulp::Scalar, channel, records);
        }
    }
}

/// Pixels after one another that see the same taps.
struct Group<'a, 'l> {
    line: &'a Line<'l>,
    x: usize,
    across: Range<usize>,
}

impl Group<'_, '_> {
    /// Writes some registers of channels, those from `start` on, of some pixels.
    #[allow(unsafe_code)] // bounds are checked once for all taps and pixels
    #[inline(always)]
    fn sums<S: Simd, const COUNT: usize, const WIDTH: usize>(
        &self,
        simd: S,
        start: usize,
        records: &mut [f32],
    ) {
        let Line { part, activation, y, ref downwards } = *self.line;
        let Depthwise { conv, ref weights, ref bias, .. } = *part.depthwise;
        let weights = weights.floats();
        let (length, all) = (WIDTH * S::F32_LANES, bias.len());
        let step = conv.stride[1] * part.from.record;
        // Positions of a tap for the first pixel, and of its weights.
        let pixel = |ky: usize, kx: usize| {
            let y = y * conv.stride[0] + ky * conv.dilation[0] - conv.padding[0];
            let x = self.x * conv.stride[1] + kx * conv.dilation[1] - conv.padding[1];
            part.from.at(part.image, y, x) + part.first + start
        };
        let weight = |ky: usize, kx: usize| (ky * conv.kernel[1] + kx) * all + part.offset + start;
        let mut sums = [load::<S, WIDTH>(simd, &bias[part.offset + start..]); COUNT];
        if let (false, false) = (downwards.is_empty(), self.across.is_empty()) {
            let last = (downwards.end - 1, self.across.end - 1);
            assert!(pixel(last.0, last.1) + (COUNT - 1) * step + length <= part.x.len());
            assert!(weight(last.0, last.1) + length <= weights.len());
        }
        for ky in downwards.clone() {
            for kx in self.across.clone() {
                let (pixel, weight) = (pixel(ky, kx), weight(ky, kx));
                // SAFETY: positions grow with ky, kx and the pixel; those of the last of each were checked above.
                let weights =
                    load::<S, WIDTH>(simd, unsafe { weights.get_unchecked(weight..weight + length) });
                for (index, sums) in sums.iter_mut().enumerate() {
                    let at = pixel + index * step;
                    // SAFETY: as above.
                    let floats = load::<S, WIDTH>(simd, unsafe { part.x.get_unchecked(at..at + length) });
                    for ((sum, float), weight) in sums.iter_mut().zip(floats).zip(weights) {
                        *sum = simd.mul_add_e_f32s(float, weight, *sum);
                    }
                }
            }
        }
        for (index, sums) in sums.iter().enumerate() {
            let at = (self.x + index) * part.to.record + part.channel + start;
            store(simd, sums, activation, &mut records[at..at + length]);
        }
    }
}
