//! Recognising a file by its bytes.

use std::collections::HashSet;
use std::path::Path;

use bytes::Bytes;

use crate::archive::Archive;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, InFile, Problem, Result};
use crate::source::Source;
use crate::tensor::Tensor;
use crate::{jittor, limits, numpy, onnx, pickle, safetensors, torch};

/// Opens a checkpoint of any supported format. The kind is decided from the content, never from the extension.
///
/// Files up to [`limits::EAGER_CHECKSUM_BYTES`] have all their checksums verified here, larger ones when the
/// bytes are read ([`Checkpoint::verify`] does it at once).
///
/// # Errors
/// When the file cannot be read, is something else, is damaged, refers to missing files, names a callable that
/// no checkpoint needs, or exceeds a limit. The error names the file, the record and a remedy.
pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
    let checkpoint = open_unnamed(path)?;
    checkpoint.check_names()?;
    Ok(checkpoint)
}

/// Like [`open`], but two tensors may have one flat name: for files of which only a part is wanted
/// ([`Checkpoint::at_root`] checks the names in it).
///
/// # Errors
/// As [`open`].
pub fn open_unnamed(path: impl AsRef<Path>) -> Result<Checkpoint> {
    read_verified(&Source::map(path.as_ref())?)
}

/// Like [`open`], of a file that is already in memory. `name` is what messages call it; only the files that
/// sharded or external data name are looked for in its directory.
///
/// # Errors
/// As [`open`].
pub fn open_bytes(name: impl AsRef<Path>, bytes: impl Into<Bytes>) -> Result<Checkpoint> {
    let checkpoint = read_verified(&Source { path: name.as_ref().into(), bytes: bytes.into() })?;
    checkpoint.check_names()?;
    Ok(checkpoint)
}

fn read_verified(source: &Source) -> Result<Checkpoint> {
    let checkpoint = read(source)?;
    let records = Records::of(checkpoint.tensors());
    records.check_inflation().in_file(&source.path)?;
    if records.bytes <= limits::EAGER_CHECKSUM_BYTES {
        checkpoint.verify()?;
    }
    Ok(checkpoint)
}

/// The records behind a checkpoint's tensors, each counted once.
struct Records {
    /// Their size, decoded.
    bytes: u64,
    /// The size of those that are compressed.
    compressed: u64,
    /// Bytes to inflate when every tensor is read.
    inflated: u64,
}

impl Records {
    fn of(tensors: &[Tensor]) -> Records {
        let mut seen = HashSet::new();
        let mut records = Records { bytes: 0, compressed: 0, inflated: 0 };
        for tensor in tensors {
            let storage = tensor.storage();
            let compressed = if storage.is_compressed() { storage.len() } else { 0 };
            records.inflated = records.inflated.saturating_add(compressed);
            if seen.insert(tensor.storage_id()) {
                records.bytes = records.bytes.saturating_add(storage.len());
                records.compressed = records.compressed.saturating_add(compressed);
            }
        }
        records
    }

    /// Refuses a small file that would keep the reader inflating for minutes.
    fn check_inflation(&self) -> std::result::Result<(), Problem> {
        let limit = self.compressed.saturating_mul(limits::MAX_REINFLATION).max(limits::MAX_REINFLATED_BYTES);
        if self.inflated <= limit {
            return Ok(());
        }
        let what = format!("inflating its records again for every view, {} bytes,", self.inflated);
        Err(Problem::Limit { place: "the archive".to_owned(), what, limit })
    }
}

fn read(source: &Source) -> Result<Checkpoint> {
    let bytes = &*source.bytes;
    match bytes {
        [] => Err(not_a_checkpoint(source, "the file is empty (0 bytes)", FETCH_AGAIN)),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => read_zip(source),
        [b'P', b'K'] | [b'P', b'K', 3] => Err(Error::new(
            &*source.path,
            Problem::EndMissing { what: "the zip archive has no central directory" },
        )),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => numpy::npy::read(source),
        _ if bytes.get(257..262) == Some(b"ustar") => torch::tar::read(source),
        _ if safetensors::recognises(bytes) => safetensors::read(source),
        [0x80, ..] => read_pickle(source),
        _ if onnx::recognises(bytes) => onnx::read(source),
        _ => read_text_or_other(source),
    }
}

/// A zip archive is a PyTorch checkpoint, a numpy archive, or none of ours.
fn read_zip(source: &Source) -> Result<Checkpoint> {
    let archive = Archive::read(&source.path, &source.bytes).in_file(&source.path)?;
    if archive.entries().iter().any(|entry| entry.name == "data.pkl" || entry.name.ends_with("/data.pkl")) {
        return torch::zip::read(source, &archive);
    }
    if numpy::npz::recognises(&archive) {
        return numpy::npz::read(source, &archive);
    }
    Err(Error::new(&*source.path, torch::zip::without_pickle(&archive)))
}

/// Pickles: Jittor's with its trailer, PyTorch's stream of five, or plain ones.
fn read_pickle(source: &Source) -> Result<Checkpoint> {
    if jittor::trailer::present(&source.bytes) {
        return jittor::read(source);
    }
    if torch::legacy::recognises(&source.bytes) {
        return torch::legacy::read(source);
    }
    jittor::read_plain(source)
}

/// Pickles of protocol 0 and 1 have no magic number and look like text; the rest is no checkpoint.
fn read_text_or_other(source: &Source) -> Result<Checkpoint> {
    if jittor::trailer::present(&source.bytes) || pickle::looks_like_text_protocol(&source.bytes) {
        return read_pickle(source);
    }
    if safetensors::index::recognises(&source.bytes) {
        return safetensors::index::read(source);
    }
    Err(Error::new(&*source.path, other(&source.bytes)))
}

const FETCH_AGAIN: &str = "fetch the file again from its source";
const NAME_ANOTHER: &str = "port reads .pth, .pt, .ckpt, .pkl, .safetensors, .npy, .npz and .onnx files";
const SAVED_PAGE: &str = "the download saved a message of the server instead of the file: fetch it again, logged in \
                          if need be";

fn not_a_checkpoint(source: &Source, found: &str, remedy: &'static str) -> Error {
    Error::new(&*source.path, Problem::NotACheckpoint { found: found.to_owned(), remedy })
}

/// Content that people are known to mistake for a checkpoint, by its first bytes.
const MAGIC: &[(&[u8], &str)] = &[
    (b"\x89PNG", "this is a PNG image"),
    (b"\xff\xd8\xff", "this is a JPEG image"),
    (b"GIF8", "this is a GIF image"),
    (b"%PDF", "this is a PDF document"),
    (b"\x7fELF", "this is an executable program (ELF)"),
    (b"MZ", "this is an executable program (Windows)"),
    (b"GGUF", "this is a GGUF file (llama.cpp)"),
];

/// Containers that may hold a checkpoint but have to be unpacked first, or formats of other frameworks.
const PACKED: &[(&[u8], &str, &str)] = &[
    (b"\x1f\x8b", "gzip compression", "unpack it first: gunzip FILE"),
    (b"BZh", "bzip2 compression", "unpack it first: bunzip2 FILE"),
    (b"\xfd7zXZ", "xz compression", "unpack it first: unxz FILE"),
    (b"\x28\xb5\x2f\xfd", "zstd compression", "unpack it first: unzstd FILE"),
    (b"7z\xbc\xaf", "the 7z archive format", "unpack it first"),
    (b"Rar!", "the RAR archive format", "unpack it first"),
    (
        b"\x89HDF\r\n",
        "HDF5 (Keras)",
        "save the weights as .npz or .safetensors from the program that wrote it",
    ),
];

/// What a file is that no reader takes.
fn other(bytes: &[u8]) -> Problem {
    let found = |found: &str, remedy| Problem::NotACheckpoint { found: found.to_owned(), remedy };
    if let Some((_, name)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return found(name, NAME_ANOTHER);
    }
    if let Some((_, name, remedy)) = PACKED.iter().find(|(magic, _, _)| bytes.starts_with(magic)) {
        return Problem::unsupported("the file", *name, remedy);
    }
    if crate::archive::ends_with_directory(bytes) {
        return Problem::malformed("the zip archive", "there are other bytes before its first record");
    }
    let head = bytes.get(..4096).unwrap_or(bytes);
    if head.iter().all(|byte| *byte == 0) {
        return found("the file begins with zeros only", FETCH_AGAIN);
    }
    match text(head) {
        Some(text) => other_text(&text),
        None => found("the content is of no known kind", NAME_ANOTHER),
    }
}

/// `head` as text, unless it has control characters or is no UTF-8 (a character may be cut at the end).
fn text(head: &[u8]) -> Option<String> {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if head.len() - error.valid_up_to() < 4 && error.valid_up_to() > 0 => {
            std::str::from_utf8(head.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let printable = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\u{feff}');
    valid.chars().all(printable).then(|| valid.trim_start_matches('\u{feff}').trim_start().to_owned())
}

fn other_text(text: &str) -> Problem {
    let found = |found: &str, remedy| Problem::NotACheckpoint { found: found.to_owned(), remedy };
    let lower = text.get(..text.len().min(256)).unwrap_or(text).to_ascii_lowercase();
    if lower.starts_with("version https://git-lfs") {
        return found(
            "this is a Git LFS pointer, a line of text that stands for the real file",
            "fetch the real file with git lfs pull",
        );
    }
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        return found("this is a web page (HTML)", SAVED_PAGE);
    }
    if lower.starts_with("<?xml") || lower.starts_with('<') {
        return found("this is an XML text", SAVED_PAGE);
    }
    if looks_like_json(&lower) {
        return found("this is a JSON text", SAVED_PAGE);
    }
    found("this is a text file", NAME_ANOTHER)
}

/// An object or an array, by what follows the first bracket: `[section]` is no JSON.
fn looks_like_json(text: &str) -> bool {
    let mut significant = text.chars().filter(|character| !character.is_whitespace());
    match (significant.next(), significant.next()) {
        (Some('{'), Some('"' | '}')) => true,
        (Some('['), Some(next)) => "{[]\"-0123456789".contains(next),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_apart() {
        let found = |text: &str| open_bytes("file", text.to_owned()).unwrap_err().to_string();
        assert!(found("{\"error\": 1}").contains("JSON"));
        assert!(found(" [1, 2]").contains("JSON"));
        assert!(found("[section]\nkey = 1").contains("text file"));
        assert!(found("\u{feff}<!DOCTYPE html>").contains("web page"));
        assert!(found("<?xml version=\"1.0\"?>").contains("XML"));
        assert!(found("Dear reader, this is prose.\n").contains("text file"));
    }
}
