//! Escape sequences of the text opcodes of protocol 0.

/// The bytes of a quoted Python 2 string.
pub(super) fn unescape(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let (escape, after) = rest.split_first()?;
        rest = after;
        match escape {
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'r' => bytes.push(b'\r'),
            b'a' => bytes.push(7),
            b'b' => bytes.push(8),
            b'f' => bytes.push(12),
            b'v' => bytes.push(11),
            b'\\' | b'\'' | b'"' => bytes.push(*escape),
            b'x' => {
                bytes.push(hex(rest.get(..2)?)? as u8);
                rest = rest.get(2..)?;
            }
            b'0'..=b'7' => {
                let len = 1 + rest.iter().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                let digits = after_escape(quoted, rest, len)?;
                bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?);
                rest = rest.get(len - 1..)?;
            }
            other => bytes.extend([b'\\', *other]),
        }
    }
    Some(bytes)
}

/// The `len` bytes that begin one before `rest` in `whole`.
fn after_escape<'a>(whole: &'a [u8], rest: &[u8], len: usize) -> Option<&'a [u8]> {
    let start = whole.len().checked_sub(rest.len() + 1)?;
    whole.get(start..start + len)
}

/// Python's raw-unicode-escape: latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((byte, after)) = rest.split_first() {
        let digits = match after.first() {
            Some(b'u') if *byte == b'\\' => 4,
            Some(b'U') if *byte == b'\\' => 8,
            _ => {
                text.push(char::from(*byte));
                rest = after;
                continue;
            }
        };
        text.push(char::from_u32(hex(after.get(1..=digits)?)?)?);
        rest = after.get(digits + 1..)?;
    }
    Some(text)
}

fn hex(digits: &[u8]) -> Option<u32> {
    let plain = digits.iter().all(u8::is_ascii_hexdigit);
    u32::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| plain)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_escapes_are_those_of_python() {
        assert_eq!(unescape(br"a\n\x41\101\\\'").unwrap(), b"a\nAA\\'");
        assert_eq!(unescape(br"\8").unwrap(), br"\8");
        assert_eq!(raw_unicode(br"t\u00ebxt\U0001F600\n").unwrap(), "t\u{eb}xt\u{1F600}\\n");
        assert_eq!(raw_unicode(br"\ud800"), None);
    }
}
