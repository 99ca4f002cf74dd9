//! Panels of result channels, a few registers wide, and the products that are summed up in them.

use pulp::Simd;

/// Some of the result channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panel {
    pub(crate) start: usize,
    /// Their number, without what fills the last register.
    pub(crate) channels: usize,
    /// Registers that they take.
    pub(crate) registers: usize,
}

impl Panel {
    /// Those of its channels among the biases of all result channels; none where there are none.
    #[inline(always)]
    pub(super) fn biases<'a>(&self, biases: &'a [f32]) -> &'a [f32] {
        if biases.is_empty() { biases } else { &biases[self.start..] }
    }
}

/// Whether there are 32 registers and not 16.
pub(crate) fn has_many_registers(lanes: usize) -> bool {
    lanes >= 16 || cfg!(target_arch = "aarch64")
}

/// Registers of a panel: with many registers up to four, otherwise two, and no panel much narrower than others.
pub(crate) fn panels(out: usize, lanes: usize) -> Vec<Panel> {
    let widest = if has_many_registers(lanes) { 4 } else { 2 };
    let registers = out.div_ceil(lanes);
    let count = registers.div_ceil(widest);
    let mut panels = Vec::with_capacity(count);
    let mut start = 0;
    for panel in 0..count {
        let registers = registers / count + usize::from(panel < registers % count);
        let channels = (registers * lanes).min(out - start);
        panels.push(Panel { start, channels, registers });
        start += channels;
    }
    panels
}

/// `sums[p] += floats[p][k] * weights[k]`, for every k.
#[allow(unsafe_code)] // bounds are checked once for all of a segment
#[inline(always)]
pub(crate) fn add_products<S: Simd, const PIXELS: usize, const REGISTERS: usize>(
    simd: S,
    sums: &mut [[S::f32s; REGISTERS]; PIXELS],
    floats: &[&[f32]; PIXELS],
    weights: &[[S::f32s; REGISTERS]],
) {
    assert!(floats.iter().all(|floats| floats.len() >= weights.len()));
    for (k, weights) in weights.iter().enumerate() {
        for (sums, floats) in sums.iter_mut().zip(floats) {
            // SAFETY: k is below the number of weights, and every slice has at least as many floats, checked above.
            let float = simd.splat_f32s(unsafe { *floats.get_unchecked(k) });
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = simd.mul_add_e_f32s(float, *weight, *sum);
            }
        }
    }
}
