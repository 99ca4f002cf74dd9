//! Operands of the gradient of weights in Winograd's form: tiles of the input and of the result's gradient, transformed
//! so that at every point the numbers of one channel, or of a panel, follow each other tile after tile.

use pulp::{Simd, WithSimd};

use super::tiling::Tiling;
use super::transform::{Four, Tile, Two, transposed};
use crate::cpu::convolution::panel::Panel;
use crate::cpu::grid::{Grid, Source};
use crate::cpu::registers::{load, store};

/// Channels of the input whose numbers lie beside each other in a transformed tile: a cache line.
pub(super) const CHANNELS: usize = 16;

/// Tiles that lie after one another. A panel's numbers at one point of so many, 16 KiB, fit in the first cache. A choice.
pub(super) const GROUP: usize = 64;

/// Tiles of all images, row by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiles {
    pub(super) tiling: Tiling,
    /// Tiles of an image, down and across.
    size: [usize; 2],
    first: usize,
    end: usize,
}

impl Tiles {
    pub(super) fn new(grid: &Grid, tiling: Tiling) -> Tiles {
        let size = [grid.height, grid.width].map(|side| side.div_ceil(tiling.side()));
        Tiles { tiling, size, first: 0, end: grid.images * size[0] * size[1] }
    }

    pub(super) fn count(&self) -> usize {
        self.end - self.first
    }

    pub(super) fn groups(&self) -> usize {
        self.count().div_ceil(GROUP)
    }

    /// At most `count` of these, from the tile `first` on.
    pub(super) fn part(&self, first: usize, count: usize) -> Tiles {
        let first = self.first + first;
        Tiles { first, end: self.end.min(first + count), ..*self }
    }

    /// Image, row and column of the first pixel of each.
    #[inline(always)]
    fn pixels(&self) -> impl Iterator<Item = (usize, [usize; 2])> {
        let ([down, across], side) = (self.size, self.tiling.side());
        (self.first..self.end)
            .map(move |tile| (tile / across / down, [tile / across % down * side, tile % across * side]))
    }
}

/// Transforms some channels of the tiles of a group of the input.
pub(super) struct Inputs<'a, 'p> {
    pub(super) tiles: Tiles,
    pub(super) source: Source<'a>,
    pub(super) channels: usize,
    /// `[point, tile, channel]`.
    pub(super) points: &'p mut [f32],
}

impl WithSimd for Inputs<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.tiles.tiling {
            Tiling::Two => self.run::<S, Two, 4, 2>(simd),
            Tiling::Four => self.run::<S, Four, 6, 4>(simd),
        }
    }
}

impl Inputs<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, T: Tile<SIDE, OUT>, const SIDE: usize, const OUT: usize>(self, simd: S) {
        let Inputs { tiles, source, channels, points } = self;
        for (tile, (image, [y, x])) in tiles.pixels().enumerate() {
            for start in (0..channels).step_by(S::F32_LANES) {
                // The first row and column are one before the tile's: below zero by wrapping around.
                let corner = [y.wrapping_sub(1), x.wrapping_sub(1)];
                let count = S::F32_LANES.min(channels - start);
                let pixels = pixels::<S, SIDE>(simd, source, (image, corner), (start, count));
                let zero = simd.splat_f32s(0.0);
                let mut rows = [[zero; SIDE]; SIDE];
                for (row, pixels) in rows.iter_mut().zip(pixels) {
                    *row = T::input(simd, pixels);
                }
                for (right, column) in transposed(zero, &rows).into_iter().enumerate() {
                    let column = T::input(simd, column);
                    write::<S, SIDE>(simd, column, points, (right, tile), (start, CHANNELS));
                }
            }
        }
    }
}

/// Transforms the channels of a panel of the tiles of a group of the result's gradient.
pub(super) struct Results<'a, 'p> {
    pub(super) tiles: Tiles,
    pub(super) source: Source<'a>,
    pub(super) panel: Panel,
    /// `[point, tile, channel]`.
    pub(super) points: &'p mut [f32],
}

impl WithSimd for Results<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.tiles.tiling {
            Tiling::Two => self.run::<S, Two, 4, 2>(simd),
            Tiling::Four => self.run::<S, Four, 6, 4>(simd),
        }
    }
}

impl Results<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, T: Tile<SIDE, OUT>, const SIDE: usize, const OUT: usize>(self, simd: S) {
        let Results { tiles, source, panel: Panel { channels, registers, .. }, points } = self;
        for (tile, (image, corner)) in tiles.pixels().enumerate() {
            for start in (0..channels).step_by(S::F32_LANES) {
                let count = S::F32_LANES.min(channels - start);
                let pixels = pixels::<S, OUT>(simd, source, (image, corner), (start, count));
                let zero = simd.splat_f32s(0.0);
                let mut rows = [[zero; SIDE]; OUT];
                for (row, pixels) in rows.iter_mut().zip(pixels) {
                    *row = T::products(simd, pixels);
                }
                for (right, column) in transposed(zero, &rows).into_iter().enumerate() {
                    let column = T::products(simd, column);
                    write::<S, SIDE>(simd, column, points, (right, tile), (start, registers * S::F32_LANES));
                }
            }
        }
    }
}

/// A register of channels of some pixels on a side, from a corner on; zeros beyond the picture.
#[inline(always)]
fn pixels<S: Simd, const SIDE: usize>(
    simd: S,
    (floats, grid, first): Source<'_>,
    (image, [top, left]): (usize, [usize; 2]),
    (start, channels): (usize, usize),
) -> [[S::f32s; SIDE]; SIDE] {
    let mut pixels = [[simd.splat_f32s(0.0); SIDE]; SIDE];
    for (down, row) in pixels.iter_mut().enumerate() {
        for (right, pixel) in row.iter_mut().enumerate() {
            let [y, x] = [top.wrapping_add(down), left.wrapping_add(right)];
            if y < grid.height && x < grid.width {
                let at = grid.at(image, y, x) + first + start;
                [*pixel] = load::<S, 1>(simd, &floats[at..at + channels]);
            }
        }
    }
    pixels
}

/// Writes a column of a transformed tile, of records of `record` floats.
#[inline(always)]
fn write<S: Simd, const SIDE: usize>(
    simd: S,
    column: [S::f32s; SIDE],
    points: &mut [f32],
    (right, tile): (usize, usize),
    (start, record): (usize, usize),
) {
    for (down, value) in column.into_iter().enumerate() {
        let at = ((down * SIDE + right) * GROUP + tile) * record + start;
        store(simd, &[value], None, &mut points[at..at + S::F32_LANES]);
    }
}
