//! Convolutions of every channel with its own kernel, with weights that change between runs, and both gradients.
//!
//! Weights lie in blocks of as many channels as a register has floats: for every block and tap those of its channels,
//! zeros beyond the last.

use pulp::{Simd, WithSimd};

use super::Grid;
use super::instructions::Instructions;
use super::products::Source;
use super::registers::{load, store};
use super::taps::{Phase, Tap};
use super::team::{Parts, Team};

/// Which pixels are multiplied with which weights.
#[derive(Debug)]
pub(crate) struct Channelwise {
    phases: Vec<Phase>,
    kernel: [usize; 2],
    channels: usize,
    lanes: usize,
    instructions: Instructions,
}

/// Kernels wider than this have no gradient here.
const WIDEST: usize = 7;

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

    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Number of packed weights.
    pub(crate) fn size(&self) -> usize {
        self.channels.next_multiple_of(self.lanes) * self.taps()
    }

    /// Position of a weight.
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
            let part = Part { own: self, weights, bias, x, from, first, to, channel, image, first_row, add };
            self.instructions.run(Task { part, result });
        });
    }

    /// Writes the gradient of the weights, or adds it to what is there.
    pub(crate) fn weight_gradient(
        &self,
        team: &Team,
        x: Source<'_>,
        result: Source<'_>,
        gradient: &mut [f32],
        add: bool,
    ) {
        let Some(phase) = self.phases.first() else { return };
        for (floats, grid, first) in [&x, &result] {
            assert!(grid.end() <= floats.len() && first + self.channels <= grid.record);
        }
        assert_eq!(x.1.images, result.1.images);
        let block = self.taps() * self.lanes;
        let parts = Parts::new(0, 1, [self.size(); 2], block);
        team.each_part(gradient, parts, |part, gradient| {
            if !add {
                gradient.fill(0.0);
            }
            let start = part * self.lanes;
            let count = self.lanes.min(self.channels - start);
            let sums = Sums { phase, kernel: self.kernel, x, result, start, count };
            self.instructions.run(GradientTask { sums, gradient });
        });
    }
}

/// Some rows of a result.
#[derive(Clone, Copy)]
struct Part<'a> {
    own: &'a Channelwise,
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

/// Pixels and registers of channels that are summed up at once.
const PIXELS: usize = 4;
const REGISTERS: usize = 2;

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Task { part, result } = self;
        for (row, records) in result.chunks_mut(part.to.row.max(1)).enumerate() {
            let y = part.first_row + row;
            for phase in &part.own.phases {
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
        while start + REGISTERS * S::F32_LANES <= self.part.own.channels {
            self.sums::<S, COUNT, REGISTERS>(simd, pixel, [start, REGISTERS * S::F32_LANES], records);
            start += REGISTERS * S::F32_LANES;
        }
        while start < self.part.own.channels {
            let length = S::F32_LANES.min(self.part.own.channels - start);
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
        let Part { own, weights, bias, x, from, first, to, channel, image, add, .. } = self.part;
        let Phase { start: begin, step, stride, .. } = *self.phase;
        let column = pixel * stride[1];
        let bias = bias.get(start..start + length).unwrap_or_default();
        let mut sums = [load::<S, WIDTH>(simd, bias); COUNT];
        for tap in &self.phase.taps {
            let Tap { down, across, index } = *tap;
            let (y, left) = (self.y.wrapping_add_signed(down), column.wrapping_add_signed(across));
            if y >= from.height || left >= from.width || left + (COUNT - 1) * stride[1] >= from.width {
                continue;
            }
            let at = from.at(image, y, left) + first + start;
            let block = own.taps() * S::F32_LANES;
            let weight = start / S::F32_LANES * block + index * S::F32_LANES;
            let mut factors = [simd.splat_f32s(0.0); WIDTH];
            for (register, factor) in factors.iter_mut().enumerate() {
                let at = weight + register * block;
                // SAFETY: a whole register, as weights are padded; `run` has checked their number.
                let own = unsafe { weights.get_unchecked(at..at + S::F32_LANES) };
                [*factor] = load::<S, 1>(simd, own);
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
            let record = records.get_mut(at..at + length).unwrap_or_default();
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

/// Products of an operand and a gradient, of some channels.
#[derive(Clone, Copy)]
struct Sums<'a> {
    phase: &'a Phase,
    kernel: [usize; 2],
    x: Source<'a>,
    result: Source<'a>,
    start: usize,
    count: usize,
}

struct GradientTask<'a, 'r> {
    sums: Sums<'a>,
    gradient: &'r mut [f32],
}

impl WithSimd for GradientTask<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let GradientTask { sums, gradient } = self;
        match sums.kernel[1] {
            1 => sums.run::<S, 1>(simd, gradient),
            3 => sums.run::<S, 3>(simd, gradient),
            5 => sums.run::<S, 5>(simd, gradient),
            _ => sums.run::<S, 7>(simd, gradient),
        }
    }
}

impl Sums<'_> {
    /// Sums over blocks of rows are added up, for the sake of precision.
    #[inline(always)]
    fn run<S: Simd, const WIDTH: usize>(self, simd: S, gradient: &mut [f32]) {
        const ROWS: usize = 16;
        let (_, to, _) = self.result;
        let (gradient, _) = S::as_mut_simd_f32s(gradient);
        for image in 0..to.images {
            for first in (0..to.height).step_by(ROWS) {
                let mut sums = [[simd.splat_f32s(0.0); WIDTH]; WIDEST];
                for row in first..(first + ROWS).min(to.height) {
                    for (ky, sums) in sums.iter_mut().enumerate().take(self.kernel[0]) {
                        self.add_row::<S, WIDTH>(simd, [image, row, ky], sums);
                    }
                }
                for (slots, sums) in gradient.as_chunks_mut::<WIDTH>().0.iter_mut().zip(&sums) {
                    for (slot, sum) in slots.iter_mut().zip(sums) {
                        *slot = simd.add_f32s(*slot, *sum);
                    }
                }
            }
        }
    }

    /// A row of pixels with a row of taps.
    #[inline(always)]
    fn add_row<S: Simd, const WIDTH: usize>(
        self,
        simd: S,
        [image, row, ky]: [usize; 3],
        sums: &mut [S::f32s; WIDTH],
    ) {
        let ((_, from, _), (_, to, _)) = (self.x, self.result);
        let stride = self.phase.stride;
        let Some(taps) = self.phase.taps.as_chunks::<WIDTH>().0.get(ky) else { return };
        let y = (row * stride[0]).wrapping_add_signed(taps[0].down);
        if y >= from.height {
            return;
        }
        let is_inside =
            |x: usize| taps.iter().all(|tap| (x * stride[1]).wrapping_add_signed(tap.across) < from.width);
        let begin = (0..to.width).find(|x| is_inside(*x)).unwrap_or(to.width);
        let end = (begin..to.width).rev().find(|x| is_inside(*x)).map_or(begin, |x| x + 1);
        let line = [image, y, row];
        for x in (0..begin).chain(end..to.width) {
            for (tap, sum) in taps.iter().zip(sums.iter_mut()) {
                let column = (x * stride[1]).wrapping_add_signed(tap.across);
                if column < from.width {
                    let [float, gradient] = self.pair(simd, line, [column, x]);
                    *sum = simd.mul_add_e_f32s(float, gradient, *sum);
                }
            }
        }
        let mut own = *sums;
        for x in begin..end {
            for (tap, sum) in taps.iter().zip(&mut own) {
                let [float, gradient] =
                    self.pair(simd, line, [(x * stride[1]).wrapping_add_signed(tap.across), x]);
                *sum = simd.mul_add_e_f32s(float, gradient, *sum);
            }
        }
        *sums = own;
    }

    /// Channels of a pixel of the operand and of one of the gradient, both inside their pictures.
    #[allow(unsafe_code)] // bounds are checked once for the whole operands
    #[inline(always)]
    fn pair<S: Simd>(self, simd: S, [image, y, row]: [usize; 3], [column, x]: [usize; 2]) -> [S::f32s; 2] {
        let ((floats, from, first), (gradients, to, channel)) = (self.x, self.result);
        let at =
            [from.at(image, y, column) + first + self.start, to.at(image, row, x) + channel + self.start];
        // SAFETY: the caller has found both pixels inside, and `weight_gradient` all pixels in the slices.
        let [own] = load::<S, 1>(simd, unsafe { floats.get_unchecked(at[0]..at[0] + self.count) });
        // SAFETY: as above.
        let [gradient] = load::<S, 1>(simd, unsafe { gradients.get_unchecked(at[1]..at[1] + self.count) });
        [own, gradient]
    }
}
