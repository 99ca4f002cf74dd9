//! Second passes: factors of channels applied to every pixel.

use pulp::{Simd, WithSimd};

use super::{Normalisation, part};
use crate::kernels::channels_last::Grid;
use crate::kernels::channels_last::products::Source;
use crate::kernels::channels_last::registers::{load, store};
use crate::kernels::channels_last::slope::descend;

/// Some rows of a result.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) own: &'a Normalisation,
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
        let Apply { rows: Rows { own, source: (x, from, first), to, channel, image, first_row }, result } =
            self;
        let Some(factors) = own.factors(image) else { return };
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let target = record.get_mut(channel..channel + own.channels).unwrap_or_default();
                let pixel = part(x, from.at(image, first_row + row, column) + first, own.channels);
                for (block, target) in target.chunks_mut(S::F32_LANES).enumerate() {
                    let (at, length) = (block * S::F32_LANES, target.len());
                    let of = |values: &[f32]| load::<S, 1>(simd, part(values, at, length));
                    let ([x], [factor], [shift]) = (of(pixel), of(&factors.factor), of(&factors.shift));
                    store(simd, &[simd.mul_add_e_f32s(x, factor, shift)], own.activation, target);
                }
            }
        }
    }
}

pub(super) struct Descend<'a, 'r> {
    pub(super) rows: Rows<'a>,
    pub(super) gradient: Source<'a>,
    pub(super) add: bool,
    pub(super) result: &'r mut [f32],
}

impl WithSimd for Descend<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Descend { rows, gradient: (g, grid, start), add, result } = self;
        let Rows { own, source: (x, from, first), to, channel, image, first_row } = rows;
        let Some(factors) = own.factors(image) else { return };
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let target = record.get_mut(channel..channel + own.channels).unwrap_or_default();
                let pixel = part(x, from.at(image, first_row + row, column) + first, own.channels);
                let gradient = part(g, grid.at(image, first_row + row, column) + start, own.channels);
                for (block, target) in target.chunks_mut(S::F32_LANES).enumerate() {
                    let (at, length) = (block * S::F32_LANES, target.len());
                    let of = |values: &[f32]| load::<S, 1>(simd, part(values, at, length));
                    let ([x], [g], [mean]) = (of(pixel), of(gradient), of(&factors.mean));
                    let ([factor], [shift]) = (of(&factors.factor), of(&factors.shift));
                    let ([slope], [offset]) = (of(&factors.slope), of(&factors.offset));
                    let g = descend(simd, own.activation, simd.mul_add_e_f32s(x, factor, shift), g);
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
