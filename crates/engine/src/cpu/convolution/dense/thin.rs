//! Pictures of three channels at stride 2, with which networks begin: there are so few products for each pixel that their
//! distance is known to the compiler and many pixels are summed up at once.

use pulp::Simd;

use super::tiles::{Part, Tiles};
use crate::cpu::registers::load;

/// Floats from the first tap of a pixel of the result to that of the next.
const STEP: usize = 2 * 3;
/// Pixels that are summed up at once, at most: those of the narrowest panel, see `Task` in `forward`.
const MOST_PIXELS: usize = 16;

impl Part<'_> {
    /// Whether pixels of a row lie [`STEP`] floats from each other, and nothing that they see beyond the picture's border.
    pub(super) fn is_thin(&self) -> bool {
        let (conv, from) = (&self.dense.conv, &self.from);
        from.record * conv.stride[1] == STEP
            && from.border >= conv.padding[0].max(conv.padding[1])
            && self.to.width >= MOST_PIXELS
    }
}

impl Tiles<'_> {
    /// Writes the result row by row; the last pixels of a row are computed twice.
    #[inline(always)]
    pub(super) fn rows<S: Simd, const PIXELS: usize, const REGISTERS: usize>(
        self,
        simd: S,
        result: &mut [f32],
    ) {
        let Part { to, first_row, .. } = self.part;
        for row in 0..result.len().div_ceil(to.row.max(1)) {
            let mut x = 0;
            while x < to.width {
                x = x.min(to.width - PIXELS);
                let origin = self.part.origin([first_row + row, x]).at;
                let sums = self.row_sums::<S, PIXELS, REGISTERS>(simd, origin);
                for (index, sums) in sums.iter().enumerate() {
                    self.store(simd, result, row * to.width + x + index, sums);
                }
                x += PIXELS;
            }
        }
    }

    /// Sums of pixels after one another, the first of which begins to read at `origin`.
    #[allow(unsafe_code)] // bounds are checked once for all segments
    #[inline(always)]
    fn row_sums<S: Simd, const PIXELS: usize, const REGISTERS: usize>(
        self,
        simd: S,
        origin: usize,
    ) -> [[S::f32s; REGISTERS]; PIXELS] {
        let Part { dense, x, reach, .. } = self.part;
        assert!(x.len().checked_sub(reach + (PIXELS - 1) * STEP).is_some_and(|last| origin <= last));
        let bias = &dense.bias[self.panel.start..];
        let mut sums = [load::<S, REGISTERS>(simd, bias); PIXELS];
        let (weights, _) = S::as_simd_f32s(self.weights);
        let mut weights = weights.as_chunks::<REGISTERS>().0;
        for segment in &dense.inner {
            let start = origin + self.part.offset(segment);
            let (of_segment, rest) = weights.split_at(segment.floats.length);
            weights = rest;
            for (k, weights) in of_segment.iter().enumerate() {
                for (pixel, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: k is below the segment's length, and no segment ends more than `reach` floats behind where
                    // a pixel begins, the last of which has as many behind it, checked above.
                    let float = simd.splat_f32s(unsafe { *x.get_unchecked(start + pixel * STEP + k) });
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = simd.mul_add_e_f32s(float, *weight, *sum);
                    }
                }
            }
        }
        sums
    }
}
