//! Casting floating-point elements, with an account of what is lost.

use half::{bf16, f16};

use crate::dtype::Dtype;

/// What casting one tensor lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CastReport {
    /// Finite elements that became infinite.
    pub overflowed: u64,
    /// Finite elements, overflowed ones aside, whose value changed.
    pub rounded: u64,
    /// Those of the rounded elements that became zero.
    pub flushed: u64,
}

/// Casts chunks of whole elements and counts what is lost.
pub(crate) struct Caster {
    from: Dtype,
    to: Dtype,
    buffer: Vec<u8>,
    report: CastReport,
}

impl Caster {
    /// A caster between two real floating-point types.
    pub(crate) fn new(from: Dtype, to: Dtype) -> Self {
        Caster { from, to, buffer: Vec::new(), report: CastReport::default() }
    }

    pub(crate) fn report(&self) -> CastReport {
        self.report
    }

    /// The elements of `chunk` in the target type.
    pub(crate) fn cast(&mut self, chunk: &[u8]) -> &[u8] {
        self.buffer.clear();
        for element in chunk.chunks_exact(self.from.size()) {
            let value = decode(self.from, element);
            let cast = encode(self.to, value, &mut self.buffer);
            if !value.is_finite() || cast == value {
                continue;
            }
            if cast.is_infinite() {
                self.report.overflowed += 1;
            } else {
                self.report.rounded += 1;
                self.report.flushed += u64::from(cast == 0.0);
            }
        }
        &self.buffer
    }
}

/// The value of one little-endian floating-point element. Integers and booleans give their number, so that
/// statistics can be taken of any real tensor.
pub fn decode(dtype: Dtype, element: &[u8]) -> f64 {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(element) {
        *to = *from;
    }
    let bits = u64::from_le_bytes(word);
    match dtype {
        Dtype::F64 | Dtype::C128 => f64::from_bits(bits),
        Dtype::F32 | Dtype::C64 => f64::from(f32::from_bits(bits as u32)),
        Dtype::F16 => f16::from_bits(bits as u16).to_f64(),
        Dtype::Bf16 => bf16::from_bits(bits as u16).to_f64(),
        Dtype::F8E4M3 => f8_to_f64(bits as u8, 4, 3, false),
        Dtype::F8E5M2 => f8_to_f64(bits as u8, 5, 2, true),
        Dtype::I64 => bits as i64 as f64,
        Dtype::I32 => f64::from(bits as i32),
        Dtype::I16 => f64::from(bits as i16),
        Dtype::I8 => f64::from(bits as i8),
        Dtype::U64 => bits as f64,
        Dtype::U32 | Dtype::U16 | Dtype::U8 | Dtype::Bool => f64::from(bits as u32),
    }
}

/// OCP 8-bit floats (arXiv 2209.05433): with `infinities` the top exponent is special as in IEEE; without, only
/// all ones is NaN.
fn f8_to_f64(bits: u8, exponent_bits: u32, mantissa_bits: u32, infinities: bool) -> f64 {
    let sign = if bits & 0x80 == 0 { 1.0 } else { -1.0 };
    let mantissa = f64::from(bits & ((1 << mantissa_bits) - 1));
    let exponent = i32::from(bits >> mantissa_bits & ((1 << exponent_bits) - 1));
    let bias = (1 << (exponent_bits - 1)) - 1;
    let scale = 2_f64.powi(-(mantissa_bits as i32));
    let top = (1 << exponent_bits) - 1;
    if exponent == top && infinities {
        return if mantissa == 0.0 { sign * f64::INFINITY } else { f64::NAN };
    }
    if bits & 0x7f == 0x7f && !infinities {
        return f64::NAN;
    }
    match exponent {
        0 => sign * mantissa * scale * 2_f64.powi(1 - bias),
        _ => sign * (1.0 + mantissa * scale) * 2_f64.powi(exponent - bias),
    }
}

/// Appends `value` to `buffer` in the target type, rounded to nearest even; returns the value written.
fn encode(dtype: Dtype, value: f64, buffer: &mut Vec<u8>) -> f64 {
    match dtype {
        Dtype::F64 => {
            buffer.extend(value.to_le_bytes());
            value
        }
        Dtype::F16 => {
            let cast = f16::from_f32(round_to_odd(value));
            buffer.extend(cast.to_le_bytes());
            cast.to_f64()
        }
        Dtype::Bf16 => {
            let cast = bf16::from_f32(round_to_odd(value));
            buffer.extend(cast.to_le_bytes());
            cast.to_f64()
        }
        // The command line offers f32, f16 and bf16 as targets.
        _ => {
            let cast = value as f32;
            buffer.extend(cast.to_le_bytes());
            f64::from(cast)
        }
    }
}

/// `value` as an `f32` whose last bit is set when anything was cut off, so that rounding it once more gives the
/// same as rounding `value` at once (Boldo and Melquiond, "When double rounding is odd"). `half` itself drops
/// the lower half of an `f64`.
fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let is_exact = f64::from(nearest) == value || value.is_nan();
    if is_exact || nearest.to_bits() & 1 == 1 {
        return nearest;
    }
    let is_above = f64::from(nearest).abs() > value.abs();
    f32::from_bits(if is_above { nearest.to_bits() - 1 } else { nearest.to_bits() + 1 })
}

/// Appends `value` to `buffer` in the target type, if that holds it exactly (NaN is held by every real float that
/// has one). Eight-bit floats and complex numbers are no targets.
pub(crate) fn encode_exactly(dtype: Dtype, value: f64, buffer: &mut Vec<u8>) -> bool {
    match dtype {
        Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::Bf16 => {
            let cast = encode(dtype, value, buffer);
            cast == value || (cast.is_nan() && value.is_nan())
        }
        Dtype::I64 | Dtype::I32 | Dtype::I16 | Dtype::I8 => {
            let bits = 8 * dtype.size() as u32 - 1;
            encode_integer(dtype, value, -(2_f64.powi(bits as i32)), buffer)
        }
        Dtype::U64 | Dtype::U32 | Dtype::U16 | Dtype::U8 => encode_integer(dtype, value, 0.0, buffer),
        Dtype::Bool => {
            buffer.push(u8::from(value != 0.0));
            value == 0.0 || value == 1.0
        }
        Dtype::F8E4M3 | Dtype::F8E5M2 | Dtype::C64 | Dtype::C128 => false,
    }
}

/// Integers up to here are exact in an `f64`.
const EXACT_INTEGERS: f64 = (1_u64 << 53) as f64;

fn encode_integer(dtype: Dtype, value: f64, lowest: f64, buffer: &mut Vec<u8>) -> bool {
    let highest = lowest + 2_f64.powi(8 * dtype.size() as i32) - 1.0;
    let bits = (value as i64).to_le_bytes();
    buffer.extend(bits.iter().take(dtype.size()));
    value.fract() == 0.0 && value.abs() < EXACT_INTEGERS && value >= lowest && value <= highest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_values_are_encoded() {
        let exact = |dtype, value| {
            let mut buffer = Vec::new();
            let is_exact = encode_exactly(dtype, value, &mut buffer);
            assert!(!is_exact || decode(dtype, &buffer) == value, "{dtype} {value}");
            is_exact
        };
        assert!(exact(Dtype::I64, -3.0) && exact(Dtype::I8, -128.0) && exact(Dtype::U8, 255.0));
        assert!(exact(Dtype::F16, 0.5) && exact(Dtype::F64, 0.1) && exact(Dtype::Bool, 1.0));
        assert!(!exact(Dtype::I8, 128.0) && !exact(Dtype::U8, -1.0) && !exact(Dtype::I32, 0.5));
        assert!(!exact(Dtype::F16, 0.1) && !exact(Dtype::I64, 1e18) && !exact(Dtype::F8E4M3, 1.0));
        assert!(!exact(Dtype::I32, f64::NAN) && !exact(Dtype::Bool, 2.0));
    }

    #[test]
    fn losses_are_counted() {
        let mut caster = Caster::new(Dtype::F32, Dtype::F16);
        let values = [1.0_f32, 70000.0, 0.1, 1e-10, f32::NAN, f32::INFINITY, -0.0];
        let chunk: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(caster.cast(&chunk).len(), 2 * values.len());
        assert_eq!(caster.report(), CastReport { overflowed: 1, rounded: 2, flushed: 1 });
    }

    /// Rounding to the upper 16 bits, ties to even, by integer arithmetic.
    fn reference_bf16(value: f32) -> u16 {
        let bits = value.to_bits();
        ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
    }

    #[test]
    fn bf16_is_rounded_once() {
        for upper in 0..=u16::MAX {
            for lower in [0_u32, 1, 0x7fff, 0x8000, 0x8001, 0x8007, 0x8008, 0xffff] {
                let value = f32::from_bits(u32::from(upper) << 16 | lower);
                if value.is_nan() {
                    continue;
                }
                let mut buffer = Vec::new();
                encode(Dtype::Bf16, value.into(), &mut buffer);
                assert_eq!(buffer, reference_bf16(value).to_le_bytes(), "{value:e}");
            }
        }
    }

    /// Between two neighbours of f16 the middle goes to the even one, and anything beyond it to the nearer.
    #[test]
    fn f16_from_f64_is_rounded_once() {
        for bits in (0..0x7bff_u16).step_by(7) {
            let (low, high) = (f16::from_bits(bits).to_f64(), f16::from_bits(bits + 1).to_f64());
            let middle = (low + high) / 2.0;
            let even = if bits % 2 == 0 { low } else { high };
            for (value, wanted) in
                [(middle, even), (middle * (1.0 + 1e-15), high), (middle * (1.0 - 1e-15), low)]
            {
                assert_eq!(encode(Dtype::F16, value, &mut Vec::new()), wanted, "{value:e}");
            }
        }
    }

    #[test]
    fn eight_bit_floats_follow_the_paper() {
        assert_eq!(decode(Dtype::F8E4M3, &[0x7e]), 448.0);
        assert_eq!(decode(Dtype::F8E4M3, &[0x01]), 2_f64.powi(-9));
        assert!(decode(Dtype::F8E4M3, &[0xff]).is_nan());
        assert_eq!(decode(Dtype::F8E5M2, &[0x7b]), 57344.0);
        assert_eq!(decode(Dtype::F8E5M2, &[0xfc]), f64::NEG_INFINITY);
        assert_eq!(decode(Dtype::F8E5M2, &[0x01]), 2_f64.powi(-16));
    }
}
