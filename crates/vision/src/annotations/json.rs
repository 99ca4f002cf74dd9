//! Reading large JSON documents value by value, without a tree in memory.
//!
//! Stricter than it needs to be nowhere but in one place: `NaN`, `Infinity` and `-Infinity`, which Python writes and
//! JSON does not know, are numbers here, so that whoever reads can say which record has them.

use std::borrow::Cow;

/// How deep values nest that are skipped; COCO's annotations need five levels.
const MAX_DEPTH: usize = 64;

/// What is wrong at a place in the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Fault {
    /// The byte, from 0.
    pub at: usize,
    /// What was expected or found.
    pub what: String,
}

/// A place in a JSON text.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

/// The kind of the value that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// A number, finite or not.
    Number,
    /// `true` or `false`
    Boolean,
    /// `null`
    Null,
}

/// A number as it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Digits only, in the range of `i64`.
    Integer(i64),
    /// Everything else.
    Double(f64),
}

impl Number {
    /// The nearest double.
    pub fn double(self) -> f64 {
        match self {
            Number::Integer(number) => number as f64,
            Number::Double(number) => number,
        }
    }
}

impl<'a> Reader<'a> {
    /// The beginning of a text; a byte order mark is passed over.
    pub fn new(text: &'a [u8]) -> Reader<'a> {
        Reader { at: if text.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 }, text }
    }

    /// The kind of the next value.
    ///
    /// # Errors
    /// The text ends, or no value begins here.
    pub fn peek(&mut self) -> Result<Kind, Fault> {
        match self.next_byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'n') => Ok(Kind::Null),
            Some(_) => Err(self.fault("no value begins")),
            None => Err(self.fault("the text ends")),
        }
    }

    /// Reads an object: `field` is called at the value of every key and must read or skip it.
    ///
    /// # Errors
    /// No object, or what `field` says.
    pub fn object<E: From<Fault>>(
        &mut self,
        mut field: impl FnMut(&mut Reader<'a>, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'{')?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            field(self, &key)?;
            if !self.goes_on(b'}')? {
                return Ok(());
            }
        }
    }

    /// Reads an array: `element` is called at every element and must read or skip it.
    ///
    /// # Errors
    /// No array, or what `element` says.
    pub fn array<E: From<Fault>>(
        &mut self,
        mut element: impl FnMut(&mut Reader<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'[')?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.goes_on(b']')? {
                return Ok(());
            }
        }
    }

    /// Reads a string; it is copied only where it has escapes.
    ///
    /// # Errors
    /// No string, an unknown escape, or bytes that are not UTF-8.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let start = self.at_string()?;
        let raw = self.text.get(start..self.at).unwrap_or_default();
        let is_plain = !raw.contains(&b'\\') && !raw.iter().any(u8::is_ascii_control);
        let unquoted = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
        match std::str::from_utf8(unquoted) {
            Ok(text) if is_plain => Ok(Cow::Borrowed(text)),
            _ => {
                let parsed = serde_json::from_slice::<String>(raw);
                parsed.map(Cow::Owned).map_err(|_| self.fault("a string is damaged"))
            }
        }
    }

    /// Reads a number.
    ///
    /// # Errors
    /// No number.
    pub fn number(&mut self) -> Result<Number, Fault> {
        if self.peek()? != Kind::Number {
            return Err(self.fault("no number"));
        }
        for (word, value) in WORDS {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(Number::Double(value));
            }
        }
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let digits = self.rest();
        let length = digits.iter().position(|byte| !is_part(byte)).unwrap_or(digits.len());
        let written = digits.get(..length).and_then(|digits| std::str::from_utf8(digits).ok());
        let number = written.and_then(parsed).ok_or_else(|| self.fault("no number"))?;
        self.at += length;
        Ok(number)
    }

    /// Passes over a value of any kind.
    ///
    /// # Errors
    /// No value, or one that nests too deeply.
    pub fn skip(&mut self) -> Result<(), Fault> {
        self.skip_within(MAX_DEPTH)
    }

    fn skip_within(&mut self, depth: usize) -> Result<(), Fault> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.fault("values nest too deeply"));
        };
        match self.peek()? {
            Kind::Object => self.object(|reader, _| reader.skip_within(depth)),
            Kind::Array => self.array(|reader| reader.skip_within(depth)),
            Kind::String => self.at_string().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::Boolean => self.boolean().map(drop),
            Kind::Null => self.word(b"null"),
        }
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// Anything else.
    pub fn boolean(&mut self) -> Result<bool, Fault> {
        let value = self.next_byte() == Some(b't');
        self.word(if value { b"true" } else { b"false" })?;
        Ok(value)
    }

    /// Checks that nothing comes any more.
    ///
    /// # Errors
    /// Something does.
    pub fn end(&mut self) -> Result<(), Fault> {
        match self.next_byte() {
            None => Ok(()),
            Some(_) => Err(self.fault("something follows the document")),
        }
    }

    /// A fault at this place.
    pub fn fault(&self, what: &str) -> Fault {
        Fault { at: self.at, what: what.to_owned() }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no white space.
    fn next_byte(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.next_byte() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.take(byte) {
            return Ok(());
        }
        Err(self.fault(&format!("`{}` expected", byte as char)))
    }

    /// Whether a comma comes; else `close` must.
    fn goes_on(&mut self, close: u8) -> Result<bool, Fault> {
        if self.take(b',') {
            return Ok(true);
        }
        self.expect(close).map(|()| false)
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Fault> {
        if !self.rest().starts_with(word) {
            return Err(self.fault("no value begins"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes over a string; returns where its first quotation mark is.
    fn at_string(&mut self) -> Result<usize, Fault> {
        self.expect(b'"')?;
        let start = self.at - 1;
        while let Some(byte) = self.text.get(self.at) {
            self.at += match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(start);
                }
                b'\\' => 2,
                _ => 1,
            };
        }
        Err(self.fault("the text ends within a string"))
    }
}

/// What Python writes for numbers that JSON has no form for.
const WORDS: [(&[u8], f64); 3] =
    [(b"NaN", f64::NAN), (b"Infinity", f64::INFINITY), (b"-Infinity", f64::NEG_INFINITY)];

fn parsed(written: &str) -> Option<Number> {
    let digits = written.strip_prefix('-').unwrap_or(written);
    if digits.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(number) = written.parse()
    {
        return Some(Number::Integer(number));
    }
    // Rust reads every JSON number, rounded correctly, as Python does.
    digits.starts_with(|first: char| first.is_ascii_digit()).then_some(())?;
    written.parse().ok().map(Number::Double)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Result<Number, Fault> {
        Reader::new(text.as_bytes()).number()
    }

    #[test]
    fn numbers_are_read_as_written() {
        assert_eq!(number("9223372036854775807"), Ok(Number::Integer(i64::MAX)));
        assert_eq!(number(" -12.5e1"), Ok(Number::Double(-125.0)));
        assert_eq!(number("99999999999999999999"), Ok(Number::Double(1e20)));
        assert_eq!(number("-Infinity"), Ok(Number::Double(f64::NEG_INFINITY)));
        assert!(number("NaN").unwrap().double().is_nan());
        for wrong in ["", "-", "1.2.3", "nan", "+1", "--1", "\"1\"", ".5"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn strings_are_unescaped() {
        let string = |text: &str| Reader::new(text.as_bytes()).string().map(Cow::into_owned);
        assert_eq!(string(r#""a\u00e9\"b""#).unwrap(), "aé\"b");
        assert_eq!(string("\"straße\"").unwrap(), "straße");
        for wrong in ["\"a", "\"\\x\"", "\"\n\"", "a"] {
            assert!(string(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(1_000_000);
        let fault = Reader::new(deep.as_bytes()).skip().unwrap_err();
        assert_eq!(fault.what, "values nest too deeply");
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            let _ = reader.skip();
            let _ = reader.end();
        }

        #[test]
        fn what_serde_writes_is_read(numbers in proptest::collection::vec(any::<f64>(), 0..20)) {
            let finite: Vec<f64> = numbers.into_iter().filter(|number| number.is_finite()).collect();
            let text = serde_json::to_vec(&finite).unwrap();
            let mut read = Vec::new();
            let mut reader = Reader::new(&text);
            reader.array::<Fault>(|reader| {
                read.push(reader.number()?.double());
                Ok(())
            }).unwrap();
            reader.end().unwrap();
            prop_assert_eq!(read, finite);
        }
    }
}
