//! Gradients of the weights of depthwise convolutions.

use pulp::{Simd, WithSimd};

use super::stored::{Channelwise, WIDEST};
use crate::cpu::convolution::taps::Phase;
use crate::cpu::grid::Source;
use crate::cpu::registers::load;
use crate::cpu::team::{Parts, Team};

impl Channelwise {
    /// Writes the gradient of the weights, or adds it to what is there.
    pub(crate) fn weight_gradient(
        &self,
        team: &Team,
        x: Source<'_>,
        result: Source<'_>,
        gradient: &mut [f32],
        add: bool,
    ) {
        let phase = &self.phases[0];
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
        /// A choice: about the square root of the rows of large maps, where error grows least.
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
        let taps = &self.phase.taps.as_chunks::<WIDTH>().0[ky];
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
        let mut inner = *sums;
        for x in begin..end {
            for (tap, sum) in taps.iter().zip(&mut inner) {
                let [float, gradient] =
                    self.pair(simd, line, [(x * stride[1]).wrapping_add_signed(tap.across), x]);
                *sum = simd.mul_add_e_f32s(float, gradient, *sum);
            }
        }
        *sums = inner;
    }

    /// Channels of a pixel of the operand and of one of the gradient, both inside their pictures.
    #[allow(unsafe_code)] // bounds are checked once for the whole operands
    #[inline(always)]
    fn pair<S: Simd>(self, simd: S, [image, y, row]: [usize; 3], [column, x]: [usize; 2]) -> [S::f32s; 2] {
        let ((floats, from, first), (gradients, to, channel)) = (self.x, self.result);
        let at =
            [from.at(image, y, column) + first + self.start, to.at(image, row, x) + channel + self.start];
        // SAFETY: the caller has found both pixels inside, and `weight_gradient` all pixels in the slices.
        let [float] = load::<S, 1>(simd, unsafe { floats.get_unchecked(at[0]..at[0] + self.count) });
        // SAFETY: as above.
        let [gradient] = load::<S, 1>(simd, unsafe { gradients.get_unchecked(at[1]..at[1] + self.count) });
        [float, gradient]
    }
}
