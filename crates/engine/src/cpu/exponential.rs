//! exp(x), of single floats and in registers.

use pulp::Simd;

/// Beyond these exp(x) is infinite or zero in any case.
const LIMIT: f32 = 104.0;
/// Adding 1.5 * 2^23 leaves a rounded integer in the lowest bits.
const ROUNDING: f32 = 12_582_912.0;
/// ln(2) in two parts, the first with few digits, so that n times it is exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Factors of exp(r), those of the highest powers first.
const SERIES: [f32; 8] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

/// exp(x) in plain arithmetic, which compilers turn into vector instructions: 2^n times a polynomial of degree 7 for
/// what is left, |r| <= ln(2) / 2. Within 2 units in the last place; NaN stays NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = if x > LIMIT { LIMIT } else { x };
    let x = if x < -LIMIT { -LIMIT } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDING;
    let n = shifted - ROUNDING;
    let r = (x - n * LN_2[0]) - n * LN_2[1];
    let value = SERIES.into_iter().fold(0.0, |sum, factor| sum * r + factor);
    // 2^n in two factors, as n goes beyond the range of exponents.
    let n = shifted.to_bits().wrapping_sub(ROUNDING.to_bits()) as i32;
    let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    value * power(n >> 1) * power(n - (n >> 1))
}

/// As [`exp`] of single floats, step by step.
#[inline(always)]
pub(super) fn exp_in_registers<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let factor = |factor: f32| simd.splat_f32s(factor);
    let x = within(simd, x, -LIMIT, LIMIT);
    let n = rounded(simd, simd.mul_f32s(x, factor(std::f32::consts::LOG2_E)));
    let r = simd.mul_add_e_f32s(n, factor(-LN_2[0]), x);
    let r = simd.mul_add_e_f32s(n, factor(-LN_2[1]), r);
    let mut value = simd.splat_f32s(0.0);
    for term in SERIES {
        value = simd.mul_add_e_f32s(value, r, simd.splat_f32s(term));
    }
    let half = rounded(simd, simd.mul_f32s(n, factor(0.5)));
    let rest = simd.sub_f32s(n, half);
    simd.mul_f32s(simd.mul_f32s(value, power_of_two(simd, half)), power_of_two(simd, rest))
}

/// The nearest integer.
#[inline(always)]
fn rounded<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let rounding = simd.splat_f32s(ROUNDING);
    simd.sub_f32s(simd.add_f32s(x, rounding), rounding)
}

/// 2^n for an integer within the range of exponents.
#[inline(always)]
fn power_of_two<S: Simd>(simd: S, n: S::f32s) -> S::f32s {
    // The lowest bits of the sum are those of n + 127; what is above them is shifted out.
    let biased = simd.add_f32s(n, simd.splat_f32s(ROUNDING + 127.0));
    let bits = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(biased), simd.splat_u32s(23));
    simd.transmute_f32s_u32s(bits)
}

/// NaN stays NaN.
#[inline(always)]
pub(super) fn within<S: Simd>(simd: S, x: S::f32s, least: f32, most: f32) -> S::f32s {
    let [least, most] = [simd.splat_f32s(least), simd.splat_f32s(most)];
    let x = simd.select_f32s(simd.less_than_f32s(x, least), least, x);
    simd.select_f32s(simd.less_than_f32s(most, x), most, x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let mut worst = 0.0_f64;
        for step in (-87_000..88_000).step_by(if cfg!(miri) { 997 } else { 1 }) {
            let x = step as f32 / 1000.0;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            worst = worst.max((ours - exact).abs() / exact);
        }
        assert!(worst < 2.0 * f64::from(f32::EPSILON), "{worst}");
        assert!(exp(f32::NAN).is_nan());
        assert_eq!((exp(-1000.0), exp(1000.0), exp(0.0)), (0.0, f32::INFINITY, 1.0));
    }
}
