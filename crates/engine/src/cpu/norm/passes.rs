//! Second passes: factors of channels applied to every pixel.

use pulp::{Simd, WithSimd};

use super::normalisation::{Normalisation, part};
use crate::cpu::activation::activation_gradient;
use crate::cpu::grid::{Grid, Source};
use crate::cpu::registers::{load, store};

/// Some rows of a result.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) norm: &'a Normalisation,
    pub(super) source: Source<'a>,
    pub(super) to: Grid,
    pub(super) channel: usize,
    pub(super) image: usize,
    pub(super) first_row: usize,
}

pub(super) struct Apply<'a, 'r> {
    pub(super) rows: Rows<'a>,
    pub(super) result: &'r mut [f32],
}

impl WithSimd for Apply<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Apply { rows: Rows { norm, source: (x, from, first), to, channel, image, first_row }, result } =
            self;
        let factors = norm.factors(image);
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let target = &mut record[channel..channel + norm.channels];
                let pixel = part(x, from.at(image, first_row + row, column) + first, norm.channels);
                for (block, target) in target.chunks_mut(S::F32_LANES).enumerate() {
                    let (at, length) = (block * S::F32_LANES, target.len());
                    let of = |values: &[f32]| load::<S, 1>(simd, part(values, at, length));
                    let ([x], [factor], [shift]) = (of(pixel), of(&factors.factor), of(&factors.shift));
                    store(simd, &[simd.mul_add_e_f32s(x, factor, shift)], norm.activation, target);
                }
            }
        }
    }
}

pub(super) struct ApplyGradient<'a, 'r> {
    pub(super) rows: Rows<'a>,
    pub(super) gradient: Source<'a>,
    pub(super) add: bool,
    pub(super) result: &'r mut [f32],
}

impl WithSimd for ApplyGradient<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ApplyGradient { rows, gradient: (g, grid, start), add, result } = self;
        let Rows { norm, source: (x, from, first), to, channel, image, first_row } = rows;
        let factors = norm.factors(image);
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let target = &mut record[channel..channel + norm.channels];
                let pixel = part(x, from.at(image, first_row + row, column) + first, norm.channels);
                let gradient = part(g, grid.at(image, first_row + row, column) + start, norm.channels);
                for (block, target) in target.chunks_mut(S::F32_LANES).enumerate() {
                    let (at, length) = (block * S::F32_LANES, target.len());
                    let of = |values: &[f32]| load::<S, 1>(simd, part(values, at, length));
                    let ([x], [g], [mean]) = (of(pixel), of(gradient), of(&factors.mean));
                    let ([factor], [shift]) = (of(&factors.factor), of(&factors.shift));
                    let ([slope], [offset]) = (of(&factors.slope), of(&factors.offset));
                    let g =
                        activation_gradient(simd, norm.activation, simd.mul_add_e_f32s(x, factor, shift), g);
                    let sum = simd.mul_add_e_f32s(slope, simd.sub_f32s(x, mean), offset);
                    let mut sum = simd.mul_add_e_f32s(factor, g, sum);
                    if add {
                        let [there] = load::<S, 1>(simd, target);
                        sum = simd.add_f32s(sum, there);
                    }
                    store(simd, &[sum], None, target);
                }
            }
        }
    }
}
