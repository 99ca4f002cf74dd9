//! Sums of products of pixels and packed weights in which every channel takes part in every channel: dense
//! convolutions, and the gradients of their inputs, with weights that change between runs.

use pulp::{Simd, WithSimd};

use super::Grid;
use super::dense::{Panel, add_products, has_many_registers, panels};
use super::instructions::Instructions;
use super::registers::{load, store};
use super::taps::{Phase, backward, forward};
use super::team::{Parts, Team};
use network::graph::Conv;

/// Which floats of an operand are multiplied with which weights.
#[derive(Debug)]
pub(crate) struct Products {
    pub(super) phases: Vec<Lines>,
    /// Channels of the operand that take part.
    pub(super) channels: usize,
    taps: usize,
    pub(super) panels: Vec<Panel>,
    pub(super) lanes: usize,
    /// What a segment outside the picture consists of.
    zeros: Vec<f32>,
    pub(super) instructions: Instructions,
}

/// A phase whose taps are segments of floats.
#[derive(Debug)]
pub(super) struct Lines {
    start: [usize; 2],
    step: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) segments: Vec<Segment>,
}

/// Floats after one another: the channels of a tap, or of a row of taps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) down: isize,
    pub(super) across: isize,
    /// Number of floats.
    pub(super) length: usize,
    /// Row of the weights that belongs to the first.
    pub(super) row: usize,
}

/// Numbers, pixels, and the position of the first channel in a record.
pub(crate) type Source<'a> = (&'a [f32], Grid, usize);

impl Products {
    /// A convolution of `channels`. Where the picture has a `border` as wide as the padding and nothing else in its
    /// records, the taps of a row are one segment.
    pub(crate) fn forward(conv: &Conv, channels: usize, is_bordered: bool) -> Products {
        let mut products = Products::new(conv, forward(conv), channels, conv.out);
        if is_bordered && conv.dilation[1] == 1 {
            let width = conv.kernel[1];
            for lines in &mut products.phases {
                lines.segments = lines.segments.iter().step_by(width).copied().collect();
                lines.segments.iter_mut().for_each(|segment| segment.length = width * channels);
            }
        }
        products
    }

    /// The gradient of a convolution's input, of `channels`.
    pub(crate) fn backward(conv: &Conv, channels: usize) -> Products {
        Products::new(conv, backward(conv), conv.out, channels)
    }

    fn new(conv: &Conv, phases: Vec<Phase>, channels: usize, out: usize) -> Products {
        let instructions = Instructions::get();
        let lines = |phase: Phase| {
            let taps = phase.taps.iter();
            let segments = taps.map(|tap| Segment {
                down: tap.down,
                across: tap.across,
                length: channels,
                row: tap.index * channels,
            });
            Lines { start: phase.start, step: phase.step, stride: phase.stride, segments: segments.collect() }
        };
        Products {
            phases: phases.into_iter().map(lines).collect(),
            channels,
            taps: conv.kernel.iter().product(),
            panels: panels(out, instructions.lanes()),
            lanes: instructions.lanes(),
            zeros: vec![0.0; channels],
            instructions,
        }
    }

    /// The instruction set that it runs with.
    pub(crate) fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// Rows of weights: channels of all taps.
    pub(crate) fn depth(&self) -> usize {
        self.taps * self.channels
    }

    /// Floats of a row of a panel.
    pub(super) fn width(&self, panel: &Panel) -> usize {
        panel.registers * self.lanes
    }

    /// Number of packed weights.
    pub(crate) fn size(&self) -> usize {
        self.depth() * self.panels.iter().map(|panel| self.width(panel)).sum::<usize>()
    }

    /// Position among the packed weights of the one from `channel` at `tap` to the channel `out` of the result.
    pub(crate) fn position(&self, tap: usize, channel: usize, out: usize) -> usize {
        let mut start = 0;
        for panel in &self.panels {
            if out < panel.start + panel.channels {
                let row = tap * self.channels + channel;
                return start + row * self.width(panel) + out - panel.start;
            }
            start += self.depth() * self.width(panel);
        }
        start
    }

    /// Packs the weights of `forward`, the convolution that this is the gradient of: channels change places.
    pub(crate) fn transpose(&self, team: &Team, forward: &Products, weights: &[f32], packed: &mut [f32]) {
        let mut start = 0;
        for panel in &self.panels {
            let width = self.width(panel);
            let size = self.depth() * width;
            let own = packed.get_mut(start..start + size).unwrap_or_default();
            start += size;
            let rows = 16;
            let parts = Parts::new(0, 1, [size, size], rows * width);
            team.each_part(own, parts, |part, floats| {
                for (index, row) in floats.chunks_mut(width.max(1)).enumerate() {
                    let row_index = part * rows + index;
                    let (tap, channel) = (row_index / self.channels, row_index % self.channels);
                    let step = forward.row_step(channel);
                    let first = forward.position(tap, panel.start, channel);
                    let source = weights.get(first..).unwrap_or_default().iter().step_by(step);
                    row.fill(0.0);
                    row.iter_mut()
                        .take(panel.channels)
                        .zip(source)
                        .for_each(|(slot, weight)| *slot = *weight);
                }
            });
        }
    }

    /// Floats of the rows in which the weights for a channel of the result lie.
    fn row_step(&self, out: usize) -> usize {
        let own = self.panels.iter().find(|panel| out < panel.start + panel.channels);
        own.map_or(1, |panel| self.width(panel)).max(1)
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
        let (mut from, mut to) = (from, to);
        if self.is_pointwise() && from.is_dense() && to.is_dense() {
            (from, to) = (from.flat(), to.flat());
        }
        let step = self.phases.first().map_or(1, |lines| lines.step[0]).max(1);
        let rows = to.rows_per_task(team, 2 * self.size()).next_multiple_of(step);
        let parts = Parts::new(to.start, to.images, [to.image, to.height * to.row], rows * to.row);
        let pieces = parts.pieces();
        team.each_part(result, parts, |part, result| {
            let (image, first_row) = (part / pieces, part % pieces * rows);
            let part =
                Part { products: self, weights, bias, x, from, first, to, channel, image, first_row, add };
            self.instructions.run(Task { part, result });
        });
    }

    fn is_pointwise(&self) -> bool {
        self.taps == 1
            && self.phases.iter().all(|lines| {
                let is_here = |segment: &Segment| (segment.down, segment.across) == (0, 0);
                lines.stride == [1; 2] && lines.step == [1; 2] && lines.segments.iter().all(is_here)
            })
    }
}

/// Some rows of the result.
#[derive(Clone, Copy)]
struct Part<'a> {
    products: &'a Products,
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

/// Where a pixel of the result begins to read, and where it lies from the first row of the part on.
#[derive(Debug, Clone, Copy, Default)]
struct Pixel {
    y: usize,
    x: usize,
    at: usize,
    to: usize,
}

struct Task<'a, 'r> {
    part: Part<'a>,
    result: &'r mut [f32],
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Task { part, result } = self;
        let mut weights = part.weights;
        for panel in &part.products.panels {
            let size = part.products.depth() * panel.registers * S::F32_LANES;
            let (own, rest) = weights.split_at(size.min(weights.len()));
            weights = rest;
            for lines in &part.products.phases {
                let tiles = Tiles { part, panel: *panel, lines, weights: own };
                match (has_many_registers(S::F32_LANES), panel.registers) {
                    (true, 4) => tiles.run::<S, 6, 4>(simd, result),
                    (true, 3) => tiles.run::<S, 8, 3>(simd, result),
                    (true, 2) => tiles.run::<S, 8, 2>(simd, result),
                    (true, _) => tiles.run::<S, 8, 1>(simd, result),
                    (false, 2) => tiles.run::<S, 6, 2>(simd, result),
                    (false, _) => tiles.run::<S, 6, 1>(simd, result),
                }
            }
        }
    }
}

/// The pixels of a phase in a part, for one panel.
#[derive(Clone, Copy)]
struct Tiles<'a> {
    part: Part<'a>,
    panel: Panel,
    lines: &'a Lines,
    weights: &'a [f32],
}

impl<'a> Tiles<'a> {
    #[inline(always)]
    fn run<S: Simd, const PIXELS: usize, const REGISTERS: usize>(self, simd: S, result: &mut [f32]) {
        let Part { to, first_row, .. } = self.part;
        let Lines { start, step, .. } = *self.lines;
        let rows = result.len().div_ceil(to.row.max(1));
        // Tasks begin at a multiple of the step.
        let count = rows.saturating_sub(start[0]).div_ceil(step[0])
            * to.width.saturating_sub(start[1]).div_ceil(step[1]);
        let [mut y, mut x] = start;
        for first in (0..count).step_by(PIXELS) {
            // What is missing of the last tile repeats its last pixel and is not stored.
            let mut pixels = [Pixel::default(); PIXELS];
            let mut pixel = Pixel::default();
            for (index, slot) in pixels.iter_mut().enumerate() {
                if first + index < count {
                    pixel = self.pixel([first_row + y, x], y);
                    x += step[1];
                    if x >= to.width {
                        [y, x] = [y + step[0], start[1]];
                    }
                }
                *slot = pixel;
            }
            let sums = self.sums::<S, PIXELS, REGISTERS>(simd, &pixels);
            for (pixel, sums) in pixels.iter().zip(&sums).take(count - first) {
                self.store(simd, result, pixel.to, sums);
            }
        }
    }

    #[inline(always)]
    fn pixel(self, [y, x]: [usize; 2], row: usize) -> Pixel {
        let Part { from, to, image, first, .. } = self.part;
        let Lines { step, stride, .. } = *self.lines;
        let to = row * to.row + x * to.record;
        let (y, x) = (y / step[0] * stride[0], x / step[1] * stride[1]);
        Pixel { y, x, at: from.at(image, y, x) + first, to }
    }

    /// The floats that a pixel multiplies in a segment; zeros beyond the picture.
    #[inline(always)]
    fn floats(self, segment: &Segment, pixel: Pixel) -> &'a [f32] {
        let Segment { down, across, length, .. } = *segment;
        let Grid { height, width, row, record, border, .. } = self.part.from;
        let is_beyond =
            || pixel.y.wrapping_add_signed(down) >= height || pixel.x.wrapping_add_signed(across) >= width;
        if border == 0 && is_beyond() {
            return self.part.products.zeros.get(..length).unwrap_or_default();
        }
        let distance = down * row.cast_signed() + across * record.cast_signed();
        let at = pixel.at.wrapping_add_signed(distance);
        self.part.x.get(at..at.wrapping_add(length)).unwrap_or_default()
    }

    #[inline(always)]
    fn sums<S: Simd, const PIXELS: usize, const REGISTERS: usize>(
        self,
        simd: S,
        pixels: &[Pixel; PIXELS],
    ) -> [[S::f32s; REGISTERS]; PIXELS] {
        let bias = self.part.bias.get(self.panel.start..).unwrap_or_default();
        let mut sums = [load::<S, REGISTERS>(simd, bias); PIXELS];
        let (weights, _) = S::as_simd_f32s(self.weights);
        let weights = weights.as_chunks::<REGISTERS>().0;
        for segment in &self.lines.segments {
            let mut floats = [&[][..]; PIXELS];
            for (slot, pixel) in floats.iter_mut().zip(pixels) {
                *slot = self.floats(segment, *pixel);
            }
            let own = weights.get(segment.row..segment.row + segment.length).unwrap_or_default();
            add_products(simd, &mut sums, &floats, own);
        }
        sums
    }

    #[inline(always)]
    fn store<S: Simd, const REGISTERS: usize>(
        self,
        simd: S,
        result: &mut [f32],
        to: usize,
        sums: &[S::f32s; REGISTERS],
    ) {
        let Panel { start, channels, .. } = self.panel;
        let at = to + self.part.channel + start;
        let record = result.get_mut(at..at + channels).unwrap_or_default();
        let mut sums = *sums;
        if self.part.add {
            let there = load::<S, REGISTERS>(simd, record);
            for (sum, there) in sums.iter_mut().zip(there) {
                *sum = simd.add_f32s(*sum, there);
            }
        }
        store(simd, &sums, None, record);
    }
}
