//! What every target does with a file: open it, look at everything in it, and watch the memory.

pub mod data;
pub mod evaluation;

use std::path::Path;

use converters::{Checkpoint, json, limits, open_bytes};
use peak_alloc::PeakAlloc;
use sha1::{Digest, Sha1};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Tensors of at most this many bytes together are read.
const MAX_READ: u64 = 16 << 20;
/// Storages beside the pickle of a [`torch_archive`].
pub const STORAGES: usize = 8;

/// Opens `bytes` as a file called `name` and reads what is in it. Any outcome but a panic is good, as long as
/// the memory stays within the limits that `docs/security.md` promises.
pub fn check(name: &str, bytes: Vec<u8>) {
    // A directory that does not exist: nothing that the file refers to is found.
    let path = Path::new("/nonexistent").join(name);
    let bound = limits::MAX_DECODED_RATIO * bytes.len() as u64 + limits::MAX_DECODED_BASE;
    let opened = within(bound, "opening", || open_bytes(path, bytes));
    match opened {
        Ok(checkpoint) => {
            let read_bound = bound + limits::MAX_EXPANDED_BYTES.max(limits::MAX_INFLATED_STORAGE);
            within(read_bound, "reading", || read(&checkpoint));
            json::describe(&checkpoint.metadata());
            checkpoint.aliases();
        }
        Err(error) => drop((error.class(), error.to_string())),
    }
}

/// Runs `step`, which may take `bound` bytes of memory beyond those in use.
fn within<T>(bound: u64, what: &str, step: impl FnOnce() -> T) -> T {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = step();
    let took = MEMORY.peak_usage().saturating_sub(before) as u64;
    assert!(took <= bound, "{what} took {took} bytes of memory, more than {bound}");
    result
}

fn read(checkpoint: &Checkpoint) {
    let total: u64 = checkpoint.tensors().iter().map(|tensor| tensor.byte_len()).sum();
    if total > MAX_READ {
        return;
    }
    for tensor in checkpoint.tensors() {
        if let Ok(bytes) = tensor.bytes() {
            assert_eq!(bytes.len() as u64, tensor.byte_len(), "{}", tensor.name());
        }
    }
}

/// `pickle` with the checksum that Jittor appends.
pub fn with_trailer(pickle: &[u8]) -> Vec<u8> {
    [pickle, &Sha1::digest(pickle), b"HCAJSLHD"].concat()
}

/// A PyTorch archive around a pickle. `data` begins with the lengths, in two bytes each, of the storages `0` to
/// `7`, whose bytes are zeros; the rest is `data.pkl`. `None` when it is too short for that.
pub fn torch_archive(data: &[u8]) -> Option<Vec<u8>> {
    let (lengths, pickle) = data.split_at_checked(2 * STORAGES)?;
    let zeros = vec![0; usize::from(u16::MAX)];
    let names: Vec<String> = (0..STORAGES).map(|key| format!("archive/data/{key}")).collect();
    let mut records = vec![("archive/data.pkl", pickle)];
    for (name, length) in names.iter().zip(lengths.chunks_exact(2)) {
        let length = u16::from_le_bytes([length[0], length[1]]);
        records.push((name, &zeros[..usize::from(length)]));
    }
    Some(stored_zip(&records))
}

/// An archive of plainly stored records. Its checksums are 0, which readers take for `not computed`.
fn stored_zip(records: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in records {
        let at = zip.len() as u32;
        let size = (content.len() as u32).to_le_bytes();
        let name_len = (name.len() as u16).to_le_bytes();
        // Version 2.0, no flags, method 0, no date, checksum 0, both sizes, name, no extra field.
        let common = [&[20, 0][..], &[0; 12], &size, &size, &name_len, &[0, 0]].concat();
        zip.extend([b"PK\x03\x04", &*common, name.as_bytes(), content].concat());
        // No comment, disk 0, no attributes, where the record begins.
        let tail = [&[0; 10][..], &at.to_le_bytes()].concat();
        directory.extend([b"PK\x01\x02\0\0", &*common, &tail, name.as_bytes()].concat());
    }
    let count = (records.len() as u16).to_le_bytes();
    let (size, start) = (directory.len() as u32, zip.len() as u32);
    let end = [&count[..], &count, &size.to_le_bytes(), &start.to_le_bytes(), &[0, 0]].concat();
    [&*zip, &directory, b"PK\x05\x06\0\0\0\0", &end].concat()
}
