//! Convolutions of every channel with its own kernel, with weights that change between runs, and the gradients of
//! their inputs.
//!
//! Weights lie in blocks of as many channels as a register has floats: for every block and tap those of its channels,
//! zeros beyond the last.

use pulp::{Simd, WithSimd};

use crate::cpu::convolution::taps::{Phase, Tap};
use crate::cpu::grid::{Grid, Source};
use crate::cpu::instructions::Instructions;
use crate::cpu::registers::{load, store};
use crate::cpu::team::Team;

/// Kernels wider than this have no gradient here: no network of the families has any.
pub(super) const WIDEST: usize = 7;

/// Which pixels are multiplied with which weights.
#[derive(Debug)]
pub(crate) struct Channelwise {
    pub(super) phases: Vec<Phase>,
    pub(super) kernel: [usize; 2],
    pub(super) channels: usize,
    pub(super) lanes: usize,
    pub(super) instructions: Instructions,
}

impl Channelwise {
    /// The phases of a convolution or of its input's gradient.
    pub(crate) fn new(phases: Vec<Phase>, kernel: [usize; 2], channels: usize) -> Channelwise {
        let instructions = Instructions::get();
        Channelwise { phases, kernel, channels, lanes: instructions.lanes(), instructions }
    }

    /// Whether there is a kernel for so many taps.
    pub(crate) fn serves([height, width]: [usize; 2]) -> bool {
        height <= WIDEST && matches!(width, 1 | 3 | 5 | 7)
    }

    pub(super) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Number of packed weights.
    pub(crate) fn size(&self) -> usize {
        self.channels.next_multiple_of(self.lanes) * self.taps()
    }

    /// Where the weight of a tap and a channel lies among the packed ones.
    pub(crate) fn position(&self, tap: usize, channel: usize) -> usize {
        (channel / self.lanes * self.taps() + tap) * self.lanes + channel % self.lanes
    }

    /// Writes the sums, or adds them to what is there, to `channel` of the records of `to`.
    pub(crate) fn run(
        &self,
        team: &Team,
        [weights, bias]: [&[f32]; 2],
        (x, from, first): Source<'_>,
        (result, to, channel): (&mut [f32], Grid, usize),
        add: bool,
    ) {
        assert!(from.end() <= x.len() && from.images == to.images);
        assert!(first + self.channels <= from.record && self.size() <= weights.len());
        to.split_rows(team, result, 2 * self.size(), |image, first_row, result| {
            let part =
                Part { convolution: self, weights, bias, x, from, first, to, channel, image, first_row, add };
            self.instructions.run(Task { part, result });
        });
    }
}

/// Some rows of a result.
#[derive(Clone, Copy)]
struct Part<'a> {
    convolution: &'a Channelwise,
    weights: &'a [f32],
    bias: &'a [f32],
    x: &'a [f32],
    from: Grid,
    first: usize,
    to: Grid,
    channel: usize,
    image: usize,
    first_row: usize,
    add: bool,
}

struct Task<'a, 'r> {
    part: Part<'a>,
    result: &'r mut [f32],
}

/// Pixels and registers of channels that are summed up at once, as with packed weights.
const PIXELS: usize = 4;
const REGISTERS: usize = 2;

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Task { part, result } = self;
        for (row, records) in result.chunks_mut(part.to.row.max(1)).enumerate() {
            let y = part.first_row + row;
            for phase in &part.convolution.phases {
                if y % phase.step[0] == phase.start[0] {
                    let line = Line { part, phase, y: y / phase.step[0] * phase.stride[0] };
                    line.write(simd, records);
                }
            }
        }
    }
}

/// The pixels of a phase in a row of the result.
#[derive(Clone, Copy)]
struct Line<'a> {
    part: Part<'a>,
    phase: &'a Phase,
    /// Row of the operand where they begin.
    y: usize,
}

impl Line<'_> {
    /// Groups of pixels where all of them see all taps across, and every other pixel on its own.
    #[inline(always)]
    fn write<S: Simd>(self, simd: S, records: &mut [f32]) {
        let count = self.part.to.width.saturating_sub(self.phase.start[1]).div_ceil(self.phase.step[1]);
        let mut pixel = 0;
        while pixel < count {
            if pixel + PIXELS <= count && self.is_inside(pixel) && self.is_inside(pixel + PIXELS - 1) {
                self.channels::<S, PIXELS>(simd, pixel, records);
                pixel += PIXELS;
            } else {
                self.channels::<S, 1>(simd, pixel, records);
                pixel += 1;
            }
        }
    }

    #[inline(always)]
    fn is_inside(self, pixel: usize) -> bool {
        let x = pixel * self.phase.stride[1];
        self.phase.taps.iter().all(|tap| x.wrapping_add_signed(tap.across) < self.part.from.width)
    }

    #[inline(always)]
    fn channels<S: Simd, const COUNT: usize>(self, simd: S, pixel: usize, records: &mut [f32]) {
        let mut start = 0;
        while start + REGISTERS * S::F32_LANES <= self.part.convolution.channels {
            self.sums::<S, COUNT, REGISTERS>(simd, pixel, [start, REGISTERS * S::F32_LANES], records);
            start += REGISTERS * S::F32_LANES;
        }
        while start < self.part.convolution.channels {
            let length = S::F32_LANES.min(self.part.convolution.channels - start);
            self.sums::<S, COUNT, 1>(simd, pixel, [start, length], records);
            start += length;
        }
    }

    /// Writes the channels from `start` on of some pixels.
    #[allow(unsafe_code)] // bounds are checked once for the whole operand
    #[inline(always)]
    fn sums<S: Simd, const COUNT: usize, const WIDTH: usize>(
        self,
        simd: S,
        pixel: usize,
        [start, length]: [usize; 2],
        records: &mut [f32],
    ) {
        let Part { convolution, weights, bias, x, from, first, to, channel, image, add, .. } = self.part;
        let Phase { start: begin, step, stride, .. } = *self.phase;
        let column = pixel * stride[1];
        let bias = if bias.is_empty() { bias } else { &bias[start..start + length] };
        let mut sums = [load::<S, WIDTH>(simd, bias); COUNT];
        for tap in &self.phase.taps {
            let Tap { down, across, index } = *tap;
            let (y, left) = (self.y.wrapping_add_signed(down), column.wrapping_add_signed(across));
            if y >= from.height || left >= from.width || left + (COUNT - 1) * stride[1] >= from.width {
                continue;
            }
            let at = from.at(image, y, left) + first + start;
            let block = convolution.taps() * S::F32_LANES;
            let weight = start / S::F32_LANES * block + index * S::F32_LANES;
            let mut factors = [simd.splat_f32s(0.0); WIDTH];
            for (register, factor) in factors.iter_mut().enumerate() {
                let at = weight + register * block;
                // SAFETY: a whole register, as weights are padded; `run` has checked their number.
                let of_register = unsafe { weights.get_unchecked(at..at + S::F32_LANES) };
                [*factor] = load::<S, 1>(simd, of_register);
            }
            for (index, sums) in sums.iter_mut().enumerate() {
                let at = at + index * stride[1] * from.record;
                // SAFETY: the pixel is inside the picture, checked above, all of which `run` has found in the slice.
                let floats = load::<S, WIDTH>(simd, unsafe { x.get_unchecked(at..at + length) });
                for ((sum, float), factor) in sums.iter_mut().zip(&floats).zip(&factors) {
                    *sum = simd.mul_add_e_f32s(*float, *factor, *sum);
                }
            }
        }
        for (index, sums) in sums.iter().enumerate() {
            let at = (begin[1] + (pixel + index) * step[1]) * to.record + channel + start;
            let record = &mut records[at..at + length];
            let mut sums = *sums;
            if add {
                let there = load::<S, WIDTH>(simd, record);
                for (sum, there) in sums.iter_mut().zip(there) {
                    *sum = simd.add_f32s(*sum, there);
                }
            }
            store(simd, &sums, None, record);
        }
    }
}
