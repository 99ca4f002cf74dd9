//! What convolutions take along.

use pulp::Simd;

use crate::cpu::grid::Grid;
use crate::cpu::registers::{load, store};
use network::graph::Activation;

/// What is done with sums before they are stored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Epilogue<'a> {
    /// Added: a value of the result's size, and the position of its first channel in its records.
    pub(crate) residual: Option<(&'a [f32], Grid, usize)>,
    /// Applied last.
    pub(crate) activation: Option<Activation>,
    /// Whether what is there already is added.
    pub(crate) add: bool,
}

impl Epilogue<'_> {
    /// Stores the sums of a pixel of an image, of the result channels from `start` on.
    #[inline(always)]
    pub(crate) fn store<S: Simd, const REGISTERS: usize>(
        self,
        simd: S,
        sums: [S::f32s; REGISTERS],
        (image, [y, x], start): (usize, [usize; 2], usize),
        record: &mut [f32],
    ) {
        let mut sums = sums;
        if self.add {
            let there = load::<S, REGISTERS>(simd, record);
            sums.iter_mut().zip(there).for_each(|(sum, there)| *sum = simd.add_f32s(*sum, there));
        }
        if let Some((other, grid, first)) = self.residual {
            let at = grid.at(image, y, x) + first + start;
            let other = load::<S, REGISTERS>(simd, &other[at..at + record.len()]);
            sums.iter_mut().zip(other).for_each(|(sum, other)| *sum = simd.add_f32s(*sum, other));
        }
        store(simd, &sums, self.activation, record);
    }
}
