//! Tiles of a few pixels by a few registers of result channels.

use pulp::{Simd, WithSimd};

use super::packed::{Dense, Segment};
use crate::cpu::convolution::epilogue::Epilogue;
use crate::cpu::convolution::panel::{Panel, add_products};
use crate::cpu::grid::{Grid, Run};
use crate::cpu::registers::load;
use network::graph::Conv;

/// Some rows of the result.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) dense: &'a Dense,
    pub(super) x: &'a [f32],
    pub(super) from: Grid,
    pub(super) to: Grid,
    pub(super) image: usize,
    pub(super) first_row: usize,
    pub(super) channel: usize,
    pub(super) epilogue: Epilogue<'a>,
    /// How far behind an origin the last segment ends.
    pub(super) reach: usize,
}

impl<'a> Part<'a> {
    /// With what the grid of the input makes of it.
    pub(super) fn with_reach(self) -> Part<'a> {
        let end = |segment: &Segment| self.offset(segment) + segment.floats.length;
        Part { reach: self.dense.inner.iter().map(end).max().unwrap_or(0), ..self }
    }

    /// The position from which a pixel's floats are counted: that of its first tap, which may lie before the buffer.
    #[inline(always)]
    pub(super) fn origin(&self, [y, x]: [usize; 2]) -> Origin {
        let Conv { stride, padding, .. } = self.dense.conv;
        let (y, x) = ((y * stride[0]).wrapping_sub(padding[0]), (x * stride[1]).wrapping_sub(padding[1]));
        let Grid { start, image, row, record, .. } = self.from;
        let at = start + self.image * image;
        Origin { y, x, at: at.wrapping_add(y.wrapping_mul(row)).wrapping_add(x.wrapping_mul(record)) }
    }

    /// Where a segment of the inner ones begins, counted from a pixel's origin.
    #[inline(always)]
    pub(super) fn offset(&self, Segment { tap: [ky, kx], floats }: &Segment) -> usize {
        let Conv { dilation: [dy, dx], .. } = self.dense.conv;
        ky * dy * self.from.row + kx * dx * self.from.record + floats.start
    }

    /// Whether pixels that begin at these see nothing outside the picture and its border.
    #[inline(always)]
    fn are_inside<const PIXELS: usize>(&self, origins: &[Origin; PIXELS]) -> bool {
        let Conv { kernel: [ky, kx], padding: [py, px], dilation: [dy, dx], .. } = self.dense.conv;
        let Grid { height, width, border, .. } = self.from;
        let (down, across) = ((ky - 1) * dy, (kx - 1) * dx);
        border >= py.max(px)
            || origins.iter().all(|origin| {
                origin.y < height && origin.y + down < height && origin.x < width && origin.x + across < width
            })
    }

    /// The floats that a pixel of the result multiplies in a segment; zeros beyond the picture.
    #[inline(always)]
    fn floats(&self, segment: &Segment, origin: Origin) -> &'a [f32] {
        let Segment { tap: [ky, kx], floats: Run { start, length } } = *segment;
        let Conv { padding: [py, px], dilation: [dy, dx], .. } = self.dense.conv;
        let Grid { height, width, row, record, border, .. } = self.from;
        let (down, across) = (ky * dy, kx * dx);
        let is_beyond = || origin.y.wrapping_add(down) >= height || origin.x.wrapping_add(across) >= width;
        if border < py.max(px) && is_beyond() {
            return &self.dense.zeros[..length];
        }
        let at = origin.at.wrapping_add(down * row + across * record + start);
        &self.x[at..at + length]
    }
}

/// Where a pixel of the result begins to read: row and column, below zero by wrapping around, and position.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Origin {
    y: usize,
    pub(super) x: usize,
    pub(super) at: usize,
}

/// The pixels of a part for one panel.
#[derive(Clone, Copy)]
pub(super) struct Tiles<'a> {
    pub(super) part: Part<'a>,
    pub(super) panel: Panel,
    pub(super) weights: &'a [f32],
}

impl Tiles<'_> {
    #[inline(always)]
    pub(super) fn run<S: Simd, const PIXELS: usize, const REGISTERS: usize>(
        self,
        simd: S,
        result: &mut [f32],
    ) {
        let Part { to, first_row, .. } = self.part;
        let rows = result.len().div_ceil(to.row.max(1));
        let count = rows * to.width;
        let [mut y, mut x] = [first_row, 0];
        for first in (0..count).step_by(PIXELS) {
            // What is missing of the last tile repeats its last pixel and is not stored.
            let mut origins = [Origin::default(); PIXELS];
            let mut origin = Origin::default();
            for (index, slot) in origins.iter_mut().enumerate() {
                if first + index < count {
                    origin = self.part.origin([y, x]);
                    x += 1;
                    if x == to.width {
                        [y, x] = [y + 1, 0];
                    }
                }
                *slot = origin;
            }
            if self.part.are_inside(&origins) {
                let sums = self.inner_sums::<S, PIXELS, REGISTERS>(simd, &origins);
                self.store_pixels(simd, result, (first, count), &sums);
            } else {
                edge(
                    simd,
                    Edge::<PIXELS, REGISTERS> { tiles: self, origins, pixels: (first, count), result },
                );
            }
        }
    }

    /// Sums of pixels some of which see what lies outside the picture.
    #[inline(always)]
    fn sums<S: Simd, const PIXELS: usize, const REGISTERS: usize>(
        self,
        simd: S,
        origins: &[Origin; PIXELS],
    ) -> [[S::f32s; REGISTERS]; PIXELS] {
        let bias = &self.part.dense.bias[self.panel.start..];
        let mut sums = [load::<S, REGISTERS>(simd, bias); PIXELS];
        let (weights, _) = S::as_simd_f32s(self.weights);
        let mut weights = weights.as_chunks::<REGISTERS>().0;
        for segment in &self.part.dense.segments {
            let floats = origins.map(|origin| self.part.floats(segment, origin));
            let (of_segment, rest) = weights.split_at(segment.floats.length);
            weights = rest;
            add_products(simd, &mut sums, &floats, of_segment);
        }
        sums
    }

    /// The same for pixels that see nothing outside the picture.
    #[allow(unsafe_code)] // bounds are checked once for all segments
    #[inline(always)]
    fn inner_sums<S: Simd, const PIXELS: usize, const REGISTERS: usize>(
        self,
        simd: S,
        origins: &[Origin; PIXELS],
    ) -> [[S::f32s; REGISTERS]; PIXELS] {
        let Part { dense, x, reach, .. } = self.part;
        let last = x.len().checked_sub(reach);
        assert!(last.is_some_and(|last| origins.iter().all(|origin| origin.at <= last)));
        let bias = &dense.bias[self.panel.start..];
        let mut sums = [load::<S, REGISTERS>(simd, bias); PIXELS];
        let (weights, _) = S::as_simd_f32s(self.weights);
        let mut weights = weights.as_chunks::<REGISTERS>().0;
        for segment in &dense.inner {
            let (offset, length) = (self.part.offset(segment), segment.floats.length);
            // SAFETY: no segment ends more than `reach` floats behind an origin, which all have as many behind them.
            let floats = origins
                .map(|origin| unsafe { x.get_unchecked(origin.at + offset..origin.at + offset + length) });
            let (of_segment, rest) = weights.split_at(length);
            weights = rest;
            add_products(simd, &mut sums, &floats, of_segment);
        }
        sums
    }

    /// Stores the sums of pixels after one another, as many of them as there are.
    #[inline(always)]
    fn store_pixels<S: Simd, const PIXELS: usize, const REGISTERS: usize>(
        self,
        simd: S,
        result: &mut [f32],
        (first, count): (usize, usize),
        sums: &[[S::f32s; REGISTERS]; PIXELS],
    ) {
        // A loop whose length the compiler knows, where it can be.
        if count - first >= PIXELS {
            for (index, sums) in sums.iter().enumerate() {
                self.store(simd, result, first + index, sums);
            }
        } else {
            for (index, sums) in sums.iter().enumerate().take(count - first) {
                self.store(simd, result, first + index, sums);
            }
        }
    }

    /// Stores the sums of a pixel.
    #[inline(always)]
    pub(super) fn store<S: Simd, const REGISTERS: usize>(
        self,
        simd: S,
        result: &mut [f32],
        pixel: usize,
        sums: &[S::f32s; REGISTERS],
    ) {
        let Part { to, channel, image, first_row, epilogue, .. } = self.part;
        let Panel { start, channels, .. } = self.panel;
        let at = pixel * to.record + channel + start;
        let record = &mut result[at..at + channels];
        let [y, x] = [first_row + pixel / to.width, pixel % to.width];
        epilogue.store(simd, *sums, (image, [y, x], start), record);
    }
}

/// A tile at the edge of the picture.
struct Edge<'a, 'r, const PIXELS: usize, const REGISTERS: usize> {
    tiles: Tiles<'a>,
    origins: [Origin; PIXELS],
    /// The first of a part, and how many the part has.
    pixels: (usize, usize),
    result: &'r mut [f32],
}

impl<const PIXELS: usize, const REGISTERS: usize> WithSimd for Edge<'_, '_, PIXELS, REGISTERS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Edge { tiles, origins, pixels, result } = self;
        let sums = tiles.sums::<S, PIXELS, REGISTERS>(simd, &origins);
        tiles.store_pixels(simd, result, pixels, &sums);
    }
}

/// Never part of another function, as `write_panel` in `forward`.
#[inline(never)]
fn edge<S: Simd, const PIXELS: usize, const REGISTERS: usize>(
    simd: S,
    edge: Edge<'_, '_, PIXELS, REGISTERS>,
) {
    simd.vectorize(edge);
}
