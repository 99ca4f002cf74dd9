//! numpy's type strings: byte order, kind letter, size in bytes, such as `<f4`.

use crate::dtype::Dtype;

/// An element type and the order of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArrayType {
    pub(crate) dtype: Dtype,
    pub(crate) big_endian: bool,
}

/// Reads a type string; byte-order letters may repeat, the first one counts. `None` for types that are no
/// numbers (object, text, dates, records) and for those without a counterpart, such as `f16`.
pub(crate) fn parse_descr(descr: &str) -> Option<ArrayType> {
    let kind = descr.trim_start_matches(['<', '>', '=', '|']);
    let dtype = match kind {
        "f8" => Dtype::F64,
        "f4" => Dtype::F32,
        "f2" => Dtype::F16,
        "i8" => Dtype::I64,
        "i4" => Dtype::I32,
        "i2" => Dtype::I16,
        "i1" => Dtype::I8,
        "u8" => Dtype::U64,
        "u4" => Dtype::U32,
        "u2" => Dtype::U16,
        "u1" => Dtype::U8,
        "b1" => Dtype::Bool,
        "c8" => Dtype::C64,
        "c16" => Dtype::C128,
        _ => return None,
    };
    Some(ArrayType { dtype, big_endian: descr.starts_with('>') })
}

/// The type string of an element type, little-endian; `None` where numpy has no such type.
pub(crate) fn descr(dtype: Dtype) -> Option<&'static str> {
    Some(match dtype {
        Dtype::F64 => "<f8",
        Dtype::F32 => "<f4",
        Dtype::F16 => "<f2",
        Dtype::I64 => "<i8",
        Dtype::I32 => "<i4",
        Dtype::I16 => "<i2",
        Dtype::I8 => "|i1",
        Dtype::U64 => "<u8",
        Dtype::U32 => "<u4",
        Dtype::U16 => "<u2",
        Dtype::U8 => "|u1",
        Dtype::Bool => "|b1",
        Dtype::C64 => "<c8",
        Dtype::C128 => "<c16",
        Dtype::Bf16 | Dtype::F8E4M3 | Dtype::F8E5M2 => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_strings_round_trip() {
        for dtype in Dtype::ALL {
            if let Some(descr) = descr(dtype) {
                assert_eq!(parse_descr(descr), Some(ArrayType { dtype, big_endian: false }));
            }
        }
        assert_eq!(parse_descr(">f4").map(|found| found.big_endian), Some(true));
        assert_eq!(parse_descr("|O"), None);
        assert_eq!(parse_descr("<U2"), None);
    }
}
