//! Where the bytes of a tensor lie: a slice of a mapped file, possibly encoded, possibly with a checksum.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use flate2::read::DeflateDecoder;

use crate::error::Problem;
use crate::limits;

/// Bytes handed out at a time: a multiple of every element size, small enough to stay in a core's cache.
pub(crate) const CHUNK: usize = 1 << 20;

/// Receives bytes, piece after piece; its own failures pass through the reader unchanged.
pub(crate) type Sink<'a, E> = &'a mut dyn FnMut(&[u8]) -> Result<(), E>;

/// How the stored bytes give the tensor's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As they are.
    Raw,
    /// A raw deflate stream that inflates to `size` bytes.
    Deflate { size: u64 },
    /// UTF-8 text whose characters U+0000..U+00FF are the `size` bytes: byte strings of pickle protocol 2.
    Latin1 { size: u64 },
}

/// One record of a file, shared by all tensors that are views of it.
pub(crate) struct Storage {
    file: Arc<Path>,
    place: String,
    stored: Bytes,
    encoding: Encoding,
    crc32: Option<u32>,
    verified: AtomicBool,
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} ({} bytes)", self.place, self.file.display(), self.len())
    }
}

impl Storage {
    /// A record of `file` that messages call `place`; `crc32` is that of the decoded bytes, where known.
    pub(crate) fn new(
        file: Arc<Path>,
        place: impl Into<String>,
        stored: Bytes,
        encoding: Encoding,
        crc32: Option<u32>,
    ) -> Self {
        let verified = AtomicBool::new(crc32.is_none());
        Storage { file, place: place.into(), stored, encoding, crc32, verified }
    }

    /// Plain bytes without a checksum.
    pub(crate) fn raw(file: Arc<Path>, place: impl Into<String>, stored: Bytes) -> Self {
        Storage::new(file, place, stored, Encoding::Raw, None)
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Length in bytes, decoded.
    pub(crate) fn len(&self) -> u64 {
        match self.encoding {
            Encoding::Raw => self.stored.len() as u64,
            Encoding::Deflate { size } | Encoding::Latin1 { size } => size,
        }
    }

    /// Whether reading has to decode.
    pub(crate) fn is_compressed(&self) -> bool {
        self.encoding != Encoding::Raw
    }

    /// Compares the bytes with the stored checksum, once.
    pub(crate) fn verify(&self) -> Result<(), Problem> {
        let Some(stored) = self.crc32 else { return Ok(()) };
        if self.verified.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut hasher = crc32fast::Hasher::new();
        self.stream::<Problem>(0, self.len(), &mut |chunk| {
            hasher.update(chunk);
            Ok(())
        })?;
        let computed = hasher.finalize();
        if computed != stored {
            return Err(Problem::Checksum {
                place: self.place.clone(),
                algorithm: "CRC-32",
                stored: format!("{stored:08x}"),
                computed: format!("{computed:08x}"),
            });
        }
        self.verified.store(true, Ordering::Release);
        Ok(())
    }

    /// Hands `len` decoded bytes from `start` to `sink`, in chunks of [`CHUNK`] (the last may be shorter).
    pub(crate) fn stream<E: From<Problem>>(&self, start: u64, len: u64, sink: Sink<'_, E>) -> Result<(), E> {
        if start.checked_add(len).is_none_or(|end| end > self.len()) {
            return Err(self.short(start.saturating_add(len)).into());
        }
        match self.encoding {
            Encoding::Raw => {
                let bytes = self.slice(&self.stored, start, len)?;
                bytes.chunks(CHUNK).try_for_each(sink)
            }
            Encoding::Deflate { .. } => copy_chunks(DeflateDecoder::new(&*self.stored), start, len, sink)
                .map_err(|end| self.bad_end(end)),
            Encoding::Latin1 { .. } => copy_chunks(Latin1Decoder::new(&self.stored), start, len, sink)
                .map_err(|end| self.bad_end(end)),
        }
    }

    /// All decoded bytes at once. Only views that are not row-major need this.
    pub(crate) fn decoded(&self) -> Result<Bytes, Problem> {
        if self.encoding == Encoding::Raw {
            return Ok(self.stored.clone());
        }
        if self.len() > limits::MAX_INFLATED_STORAGE {
            return Err(Problem::Limit {
                place: self.place.clone(),
                what: format!("a strided view of {} compressed bytes", self.len()),
                limit: limits::MAX_INFLATED_STORAGE,
            });
        }
        let mut all = Vec::with_capacity(self.len() as usize);
        self.stream::<Problem>(0, self.len(), &mut |chunk| {
            all.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(all.into())
    }

    fn slice<'a>(&self, bytes: &'a [u8], start: u64, len: u64) -> Result<&'a [u8], Problem> {
        let range = usize::try_from(start).ok().zip(usize::try_from(start + len).ok());
        range
            .and_then(|(start, end)| bytes.get(start..end))
            .ok_or_else(|| self.short(start.saturating_add(len)))
    }

    fn short(&self, needs: u64) -> Problem {
        Problem::Truncated { place: self.place.clone(), needs, has: self.len() }
    }

    fn bad_end<E: From<Problem>>(&self, end: StreamEnd<E>) -> E {
        match end {
            StreamEnd::Sink(error) => error,
            StreamEnd::Decoder => {
                Problem::malformed(&*self.place, "the compressed data cannot be inflated").into()
            }
            StreamEnd::Short { has } => Problem::Contradiction {
                place: self.place.clone(),
                says: format!("{} bytes", self.len()),
                but: format!("the compressed data end after {has}"),
            }
            .into(),
        }
    }
}

/// Why a decoding stream ended early.
enum StreamEnd<E> {
    Sink(E),
    Decoder,
    Short { has: u64 },
}

fn copy_chunks<E>(
    mut decoder: impl Read,
    start: u64,
    len: u64,
    sink: Sink<'_, E>,
) -> Result<(), StreamEnd<E>> {
    let skipped = std::io::copy(&mut (&mut decoder).take(start), &mut std::io::sink());
    match skipped {
        Ok(count) if count == start => {}
        Ok(count) => return Err(StreamEnd::Short { has: count }),
        Err(_) => return Err(StreamEnd::Decoder),
    }
    let mut buffer = Vec::new();
    let mut done = 0;
    while done < len {
        buffer.clear();
        let want = (len - done).min(CHUNK as u64);
        let got = (&mut decoder).take(want).read_to_end(&mut buffer).map_err(|_| StreamEnd::Decoder)? as u64;
        if got < want {
            return Err(StreamEnd::Short { has: start + done + got });
        }
        sink(&buffer).map_err(StreamEnd::Sink)?;
        done += got;
    }
    Ok(())
}

/// Reads the bytes that UTF-8 text of characters up to U+00FF stands for.
struct Latin1Decoder<'a> {
    text: std::slice::Iter<'a, u8>,
}

impl<'a> Latin1Decoder<'a> {
    fn new(text: &'a [u8]) -> Self {
        Latin1Decoder { text: text.iter() }
    }
}

impl Read for Latin1Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut count = 0;
        for slot in buffer {
            *slot = match self.text.next() {
                None => break,
                Some(byte) if byte.is_ascii() => *byte,
                Some(lead) => match self.text.next() {
                    // Two-byte sequences 110000xx 10xxxxxx; the text was checked when it was met.
                    Some(next) => (lead & 0b11) << 6 | (next & 0b11_1111),
                    None => return Err(std::io::ErrorKind::InvalidData.into()),
                },
            };
            count += 1;
        }
        Ok(count)
    }
}

/// The number of bytes that latin-1 `text` stands for, or `None` when a character lies beyond U+00FF.
pub(crate) fn latin1_length(text: &str) -> Option<u64> {
    let mut count = 0;
    for character in text.chars() {
        if character > '\u{ff}' {
            return None;
        }
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(stored: &[u8], encoding: Encoding, crc32: Option<u32>) -> Storage {
        Storage::new(Path::new("file").into(), "record", Bytes::copy_from_slice(stored), encoding, crc32)
    }

    #[test]
    fn latin1_text_gives_its_bytes() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let size = latin1_length(&text).unwrap();
        let decoded = storage(text.as_bytes(), Encoding::Latin1 { size }, None).decoded().unwrap();
        assert_eq!(decoded, bytes);
        assert_eq!(latin1_length("\u{100}"), None);
    }

    #[test]
    fn a_wrong_checksum_is_reported_with_both_sums() {
        let problem = storage(b"abc", Encoding::Raw, Some(1)).verify().unwrap_err();
        assert!(problem.to_string().contains("00000001 is stored, the data give 352441c2"), "{problem}");
        assert!(storage(b"abc", Encoding::Raw, Some(0x352441c2)).verify().is_ok());
    }

    #[test]
    fn reading_past_the_end_is_an_error() {
        let storage = storage(b"abc", Encoding::Raw, None);
        assert!(storage.stream::<Problem>(2, 2, &mut |_| Ok(())).is_err());
        assert!(storage.stream::<Problem>(u64::MAX, 2, &mut |_| Ok(())).is_err());
    }
}
