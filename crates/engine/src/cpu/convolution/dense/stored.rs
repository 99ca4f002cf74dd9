//! Sums of products of pixels and packed weights in which every channel takes part in every channel: dense
//! convolutions, and the gradients of their inputs, with weights that change between runs.

use pulp::{Simd, WithSimd};

use crate::cpu::convolution::panel::{Panel, add_products, has_many_registers, panels};
use crate::cpu::convolution::taps::{Phase, backward, forward};
use crate::cpu::grid::Grid;
use crate::cpu::instructions::Instructions;
use crate::cpu::registers::{load, store};
use crate::cpu::team::{Parts, Team};
use network::graph::Conv;

/// Which floats of an operand are multiplied with which weights.
#[derive(Debug)]
pub(crate) struct Products {
    pub(crate) phases: Vec<Lines>,
    /// Channels of the operand that take part.
    pub(crate) channels: usize,
    taps: usize,
    pub(crate) panels: Vec<Panel>,
    pub(crate) lanes: usize,
    /// What a segment outside the picture consists of.
    zeros: Vec<f32>,
    pub(crate) instructions: Instructions,
}

/// A phase whose taps are segments of floats.
#[derive(Debug)]
pub(crate) struct Lines {
    start: [usize; 2],
    step: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) segments: Vec<Segment>,
}

/// Floats after one another: the channels of a tap, or of a row of taps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) down: isize,
    pub(crate) across: isize,
    pub(crate) length: usize,
    /// Row of the weights that belongs to the first.
    pub(crate) row: usize,
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
    pub(crate) fn width(&self, panel: &Panel) -> usize {
        panel.registers * self.lanes
    }

    /// Number of packed weights.
    pub(crate) fn size(&self) -> usize {
        self.depth() * self.panels.iter().map(|panel| self.width(panel)).sum::<usize>()
    }

    /// Position among the packed weights of the one from `channel` at `tap` to the channel `out` of the result.
    pub(crate) fn position(&self, tap: usize, channel: usize, out: usize) -> usize {
        let at = self.panel_of(out);
        let before: usize = self.panels[..at].iter().map(|panel| self.width(panel)).sum();
        let (panel, row) = (&self.panels[at], tap * self.channels + channel);
        self.depth() * before + row * self.width(panel) + out - panel.start
    }

    /// Packs the weights of `forward`, the convolution that this is the gradient of: channels change places.
    pub(crate) fn transpose(&self, team: &Team, forward: &Products, weights: &[f32], packed: &mut [f32]) {
        let mut start = 0;
        for panel in &self.panels {
            let width = self.width(panel);
            let size = self.depth() * width;
            let of_panel = &mut packed[start..start + size];
            start += size;
            let rows = 16;
            let parts = Parts::new(0, 1, [size, size], rows * width);
            team.each_part(of_panel, parts, |part, floats| {
                for (index, row) in floats.chunks_mut(width.max(1)).enumerate() {
                    let row_index = part * rows + index;
                    let (tap, channel) = (row_index / self.channels, row_index % self.channels);
                    let step = forward.row_step(channel);
                    let first = forward.position(tap, panel.start, channel);
                    let source = weights[first..].iter().step_by(step);
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
        self.width(&self.panels[self.panel_of(out)])
    }

    /// The panel that has a channel of the result.
    fn panel_of(&self, out: usize) -> usize {
        self.panels.partition_point(|panel| panel.start + panel.channels <= out)
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
        let step = self.phases[0].step[0];
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
            let (of_panel, rest) = weights.split_at(size);
            weights = rest;
            for lines in &part.products.phases {
                let tiles = Tiles { part, panel: *panel, lines, weights: of_panel };
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
            return &self.part.products.zeros[..length];
        }
        let distance = down * row.cast_signed() + across * record.cast_signed();
        let at = pixel.at.wrapping_add_signed(distance);
        &self.part.x[at..at + length]
    }

    #[inline(always)]
    fn sums<S: Simd, const PIXELS: usize, const REGISTERS: usize>(
        self,
        simd: S,
        pixels: &[Pixel; PIXELS],
    ) -> [[S::f32s; REGISTERS]; PIXELS] {
        let bias = self.panel.biases(self.part.bias);
        let mut sums = [load::<S, REGISTERS>(simd, bias); PIXELS];
        let (weights, _) = S::as_simd_f32s(self.weights);
        let weights = weights.as_chunks::<REGISTERS>().0;
        for segment in &self.lines.segments {
            let mut floats = [&[][..]; PIXELS];
            for (slot, pixel) in floats.iter_mut().zip(pixels) {
                *slot = self.floats(segment, *pixel);
            }
            let of_segment = &weights[segment.row..segment.row + segment.length];
            add_products(simd, &mut sums, &floats, of_segment);
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
        let record = &mut result[at..at + channels];
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
