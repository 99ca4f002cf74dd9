//! Quantities as people write them.

/// A size: `512 B`, `4.9 MiB`.
pub fn bytes(size: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if size < 1024 {
        return format!("{size} B");
    }
    let mut value = size as f64 / 1024.0;
    let mut unit = "KiB";
    for larger in UNITS.iter().skip(1) {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

/// A count with thousands separated: `1,173,021`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number with four significant digits: `0.02031`, `-1.250e7`.
pub fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let exponent = value.abs().log10().floor() as i32;
    match exponent {
        -4..=5 => format!("{value:.*}", (3 - exponent).max(0) as usize),
        _ => format!("{value:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_readable() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1 << 20), "1.0 MiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(5_091_877), "4.9 MiB");
        assert_eq!(count(1_173_021), "1,173,021");
        assert_eq!(count(999), "999");
        assert_eq!(number(0.020312), "0.02031");
        assert_eq!(number(-12_500_000.0), "-1.250e7");
        assert_eq!(number(1.0), "1.000");
        assert_eq!(number(f64::NAN), "NaN");
    }
}
