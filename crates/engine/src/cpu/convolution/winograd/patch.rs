//! What Winograd's tiles are computed of, and the transform of all of its channels.

use pulp::Simd;

use super::transform::{Tile, transposed};
use crate::cpu::registers::{load, store};

/// `SIDE` pixels on a side, with a number of channels each.
pub(super) trait Source<const SIDE: usize>: Copy {
    fn channels(&self) -> usize;

    /// A register of channels of a pixel, those from `first` on.
    ///
    /// # Safety
    /// `y` and `x` are below `SIDE`, and the register ends within the channels.
    #[allow(unsafe_code)]
    unsafe fn load<S: Simd>(&self, simd: S, at: [usize; 2], first: usize) -> S::f32s;
}

/// A part of a picture.
#[derive(Clone, Copy)]
pub(super) struct Patch<'a, const SIDE: usize> {
    floats: &'a [f32],
    row: usize,
    record: usize,
    channels: usize,
}

impl<'a, const SIDE: usize> Patch<'a, SIDE> {
    /// From the first float on; rows and pixels lie `row` and `record` floats from each other.
    #[inline(always)]
    pub(super) fn new(floats: &'a [f32], [row, record]: [usize; 2], channels: usize) -> Self {
        let floats = &floats[..(SIDE - 1) * (row + record) + channels];
        Patch { floats, row, record, channels }
    }
}

impl<const SIDE: usize> Source<SIDE> for Patch<'_, SIDE> {
    #[inline(always)]
    fn channels(&self) -> usize {
        self.channels
    }

    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn load<S: Simd>(&self, simd: S, [y, x]: [usize; 2], first: usize) -> S::f32s {
        let at = y * self.row + x * self.record + first;
        // SAFETY: the last register of the last pixel ends with the floats, see `new`, and this one not behind it.
        let [register] = load::<S, 1>(simd, unsafe { self.floats.get_unchecked(at..at + S::F32_LANES) });
        register
    }
}

/// Pixels one by one, some of them zeros from elsewhere.
#[derive(Clone, Copy)]
pub(super) struct Pixels<'a, const SIDE: usize> {
    pixels: [[&'a [f32]; SIDE]; SIDE],
    channels: usize,
}

impl<'a, const SIDE: usize> Pixels<'a, SIDE> {
    /// As many channels of each as all have.
    #[inline(always)]
    pub(super) fn new(pixels: [[&'a [f32]; SIDE]; SIDE]) -> Self {
        let channels = pixels.as_flattened().iter().map(|pixel| pixel.len()).min().unwrap_or(0);
        Pixels { pixels, channels }
    }
}

impl<const SIDE: usize> Source<SIDE> for Pixels<'_, SIDE> {
    #[inline(always)]
    fn channels(&self) -> usize {
        self.channels
    }

    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn load<S: Simd>(&self, simd: S, [y, x]: [usize; 2], first: usize) -> S::f32s {
        // SAFETY: y and x are below SIDE, and every pixel has all channels, see `new`.
        let floats = unsafe {
            self.pixels.get_unchecked(y).get_unchecked(x).get_unchecked(first..first + S::F32_LANES)
        };
        let [register] = load::<S, 1>(simd, floats);
        register
    }
}

/// Writes the transformed tile, `[point, channel]`.
#[inline(always)]
pub(super) fn transform_channels<S: Simd, T: Tile<SIDE, OUT>, const SIDE: usize, const OUT: usize>(
    simd: S,
    source: impl Source<SIDE>,
    points: &mut [f32],
) {
    let channels = points.len() / (SIDE * SIDE);
    let mut first = 0;
    while first + S::F32_LANES <= channels {
        transform_register::<S, T, SIDE, OUT>(simd, source, first, points);
        first += S::F32_LANES;
    }
    for channel in first..channels {
        transform_register::<_, T, SIDE, OUT>(pulp::Scalar, source, channel, points);
    }
}

/// A register of channels, those from `first` on.
#[allow(unsafe_code)] // bounds are checked once for all pixels and points
#[inline(always)]
fn transform_register<S: Simd, T: Tile<SIDE, OUT>, const SIDE: usize, const OUT: usize>(
    simd: S,
    source: impl Source<SIDE>,
    first: usize,
    points: &mut [f32],
) {
    let channels = points.len() / (SIDE * SIDE);
    let end = first + S::F32_LANES;
    assert!(end <= channels && channels <= source.channels());
    let zero = simd.splat_f32s(0.0);
    let mut rows = [[zero; SIDE]; SIDE];
    for (y, row) in rows.iter_mut().enumerate() {
        let mut values = [zero; SIDE];
        for (x, value) in values.iter_mut().enumerate() {
            // SAFETY: y and x count the pixels, and `end` is within the channels, checked above.
            *value = unsafe { source.load(simd, [y, x], first) };
        }
        *row = T::input(simd, values);
    }
    for (x, column) in transposed(zero, &rows).into_iter().enumerate() {
        for (y, value) in T::input(simd, column).into_iter().enumerate() {
            let at = (SIDE * y + x) * channels;
            // SAFETY: `points` has as many floats for each of the points, and `end` is within them.
            store(simd, &[value], None, unsafe { points.get_unchecked_mut(at + first..at + end) });
        }
    }
}
