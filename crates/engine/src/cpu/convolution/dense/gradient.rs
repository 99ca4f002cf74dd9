//! Gradients of the packed weights of dense convolutions: for every tap the products of a channel of the input with
//! a channel of the result's gradient, summed over pixels.
//!
//! A tile of some channels by some registers is summed up in registers over a block of rows, block after block. Tasks
//! are parts of the gradient, not of the pixels, so sums do not depend on the number of threads.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::stored::{Products, Segment};
use crate::cpu::convolution::panel::{Panel, has_many_registers};
use crate::cpu::grid::Source;
use crate::cpu::registers::{add, load};
use crate::cpu::team::{Parts, Team};

/// Floats of the operands that a block of rows may have, so that they stay in a core's second cache: a quarter of the
/// machine's. A choice.
const BLOCK: usize = 64 << 10;

/// Floats beyond the last channel of an operand that may be read, and are not used: channels of the largest [`tile`].
pub(crate) const SLACK: usize = 16;

impl Products {
    /// Writes the gradient of the weights, or adds it to what is there, from the convolution's input and the gradient
    /// of its result. Operands must go on for [`SLACK`] floats after the last pixel.
    pub(crate) fn weight_gradient(
        &self,
        team: &Team,
        x: Source<'_>,
        result: Source<'_>,
        gradient: &mut [f32],
        add: bool,
    ) {
        let lines = &self.phases[0];
        let (count, length) = (lines.segments.len(), lines.segments[0].length);
        let mut rest = gradient;
        for panel in &self.panels {
            let width = self.width(panel);
            let (of_panel, after) = rest.split_at_mut(self.depth() * width);
            rest = after;
            let tile = tile(self.lanes, panel.registers);
            let wanted = (4 * team.threads()).div_ceil(count);
            let rows = length.div_ceil(wanted).next_multiple_of(tile);
            let parts = Parts::new(0, count, [length * width; 2], rows * width);
            let pieces = parts.pieces();
            team.each_part(of_panel, parts, |part, gradient| {
                let (segment, first) = (lines.segments[part / pieces], part % pieces * rows);
                if !add {
                    gradient.fill(0.0);
                }
                let part = Part { stride: lines.stride, segment, first, panel: *panel, x, result };
                self.instructions.run(Task { part, gradient });
            });
        }
    }
}

/// Channels of a tile.
fn tile(lanes: usize, registers: usize) -> usize {
    match (has_many_registers(lanes), registers) {
        (true, 4) => 6,
        (true, 3) => 8,
        (true, 2) => 12,
        (true, _) => 16,
        (false, 2) => 6,
        (false, _) => 8,
    }
}

/// Some channels of a segment.
#[derive(Clone, Copy)]
struct Part<'a> {
    stride: [usize; 2],
    segment: Segment,
    /// The first of the channels.
    first: usize,
    panel: Panel,
    x: Source<'a>,
    result: Source<'a>,
}

struct Task<'a, 'r> {
    part: Part<'a>,
    gradient: &'r mut [f32],
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Task { part, gradient } = self;
        let is_whole = part.panel.channels == part.panel.registers * S::F32_LANES;
        match (has_many_registers(S::F32_LANES), part.panel.registers, is_whole) {
            (true, 4, true) => part.blocks::<S, 6, 4, true>(simd, gradient),
            (true, 4, false) => part.blocks::<S, 6, 4, false>(simd, gradient),
            (true, 3, true) => part.blocks::<S, 8, 3, true>(simd, gradient),
            (true, 3, false) => part.blocks::<S, 8, 3, false>(simd, gradient),
            (true, 2, true) => part.blocks::<S, 12, 2, true>(simd, gradient),
            (true, 2, false) => part.blocks::<S, 12, 2, false>(simd, gradient),
            (true, _, _) => part.blocks::<S, 16, 1, false>(simd, gradient),
            (false, 2, true) => part.blocks::<S, 6, 2, true>(simd, gradient),
            (false, 2, false) => part.blocks::<S, 6, 2, false>(simd, gradient),
            (false, _, _) => part.blocks::<S, 8, 1, false>(simd, gradient),
        }
    }
}

/// Pixels after one another: positions of the first in both operands.
#[derive(Clone, Copy)]
struct Line {
    x: usize,
    result: usize,
    count: usize,
}

impl Part<'_> {
    #[inline(always)]
    fn blocks<S: Simd, const ROWS: usize, const REGISTERS: usize, const WHOLE: bool>(
        self,
        simd: S,
        gradient: &mut [f32],
    ) {
        let ((_, from, _), (_, to, _)) = (self.x, self.result);
        let in_row = to.width * (self.panel.channels + self.segment.length * self.stride[1]);
        let rows = (BLOCK / in_row.max(1)).clamp(1, to.height.max(1));
        // Small pictures: several images a block.
        let images =
            if rows == to.height { (BLOCK / (in_row * rows).max(1)).clamp(1, from.images.max(1)) } else { 1 };
        for image in (0..to.images).step_by(images) {
            let images = image..(image + images).min(to.images);
            for row in (0..to.height).step_by(rows) {
                let rows = row..(row + rows).min(to.height);
                let block = Block { part: self, images: images.clone(), rows };
                let channels = S::as_mut_simd_f32s(gradient).0.as_chunks_mut::<REGISTERS>().0;
                for (tile, channels) in channels.chunks_mut(ROWS).enumerate() {
                    let first = self.first + tile * ROWS;
                    match channels.first_chunk_mut::<ROWS>() {
                        Some(channels) => block.add_to::<S, ROWS, REGISTERS, WHOLE>(simd, first, channels),
                        None => {
                            let mut sums = [[simd.splat_f32s(0.0); REGISTERS]; ROWS];
                            block.add_to::<S, ROWS, REGISTERS, WHOLE>(simd, first, &mut sums);
                            add(simd, channels, &sums);
                        }
                    }
                }
            }
        }
    }

    /// The pixels of a row of the result whose tap lies in the picture.
    #[inline(always)]
    fn line(&self, image: usize, row: usize, channel: usize) -> Option<Line> {
        let ((_, from, first), (_, to, start)) = (self.x, self.result);
        let Segment { down, across, .. } = self.segment;
        let (y, mut begin, mut end) = (row * self.stride[0], 0, to.width);
        if from.border == 0 {
            if y.wrapping_add_signed(down) >= from.height {
                return None;
            }
            let stride = self.stride[1].max(1);
            begin = (-across).max(0).cast_unsigned().div_ceil(stride);
            end = end.min(from.width.checked_add_signed(-across)?.div_ceil(stride));
        }
        if begin >= end {
            return None;
        }
        let distance = down * from.row.cast_signed() + across * from.record.cast_signed();
        let at = from.at(image, y, begin * self.stride[1]) + first + channel;
        let x = at.cast_signed() + distance;
        assert!(x >= 0, "a row of pixels begins before the buffer");
        let result = to.at(image, row, begin) + start + self.panel.start;
        Some(Line { x: x.cast_unsigned(), result, count: end - begin })
    }
}

/// Some rows of pixels.
struct Block<'a> {
    part: Part<'a>,
    images: Range<usize>,
    rows: Range<usize>,
}

impl Block<'_> {
    /// Adds the products of the channels of the input from `first` on.
    #[allow(unsafe_code)] // bounds are checked once for a row of pixels
    #[inline(always)]
    fn add_to<S: Simd, const ROWS: usize, const REGISTERS: usize, const WHOLE: bool>(
        &self,
        simd: S,
        first: usize,
        channels: &mut [[S::f32s; REGISTERS]; ROWS],
    ) {
        let ((floats, from, _), (gradients, to, _)) = (self.part.x, self.part.result);
        let result_channels = self.part.panel.channels;
        let step = self.part.stride[1] * from.record;
        assert!(!WHOLE || result_channels == REGISTERS * S::F32_LANES);
        // Only where every place of it is known do the sums stay in registers: so the channels are an array, too.
        let mut sums = [[simd.splat_f32s(0.0); REGISTERS]; ROWS];
        for image in self.images.clone() {
            for row in self.rows.clone() {
                let Some(Line { x, result, count }) = self.part.line(image, row, first) else { continue };
                assert!(x + (count - 1) * step + ROWS <= floats.len());
                assert!(result + (count - 1) * to.record + result_channels <= gradients.len());
                for pixel in 0..count {
                    let (x, result) = (x + pixel * step, result + pixel * to.record);
                    // SAFETY: positions grow with the pixel, and those of the last were checked above.
                    let gradient = unsafe { gradients.get_unchecked(result..result + result_channels) };
                    let gradient = if WHOLE {
                        whole::<S, REGISTERS>(simd, gradient)
                    } else {
                        load::<S, REGISTERS>(simd, gradient)
                    };
                    // SAFETY: as above, for all channels of the tile.
                    let floats = unsafe { floats.get_unchecked(x..x + ROWS) };
                    for (sums, float) in sums.iter_mut().zip(floats) {
                        let float = simd.splat_f32s(*float);
                        for (sum, gradient) in sums.iter_mut().zip(&gradient) {
                            *sum = simd.mul_add_e_f32s(float, *gradient, *sum);
                        }
                    }
                }
            }
        }
        add(simd, channels, &sums);
    }
}

/// Registers of as many floats, which `add_to` has made sure of.
#[inline(always)]
fn whole<S: Simd, const REGISTERS: usize>(simd: S, floats: &[f32]) -> [S::f32s; REGISTERS] {
    match S::as_simd_f32s(floats).0.first_chunk::<REGISTERS>() {
        Some(registers) => *registers,
        None => [simd.splat_f32s(0.0); REGISTERS],
    }
}
