//! What fuzzers, and attacks made by hand after their findings, once got wrong: see `fuzz/README.md`.
//!
//! Each file of `tests/data/fuzz` took much more memory than `docs/security.md` promises, minutes of time or the
//! whole stack before it was understood. The archives are handmade and compressed: their pickles would be long.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failing test may panic

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use converters::ErrorClass::{self, Corrupt, Limit, NoTensors};
use converters::{Checkpoint, Result, limits, open, open_bytes};

use crate::{MEMORY, alone};

const TIME: Duration = Duration::from_secs(10);

const FINDINGS: &[(&str, ErrorClass)] = &[
    // Found by the targets `pickle` and `safetensors`: DUP and TUPLE1 in turns double the paths to a class,
    // whose name was copied for each of them.
    ("names_doubled.pkl", Limit),
    ("instances_doubled.pkl", NoTensors),
    // Found by the target `safetensors`: a dictionary key that is a large tree, spelled out in a path.
    ("key_spelled_out.pkl", NoTensors),
    // Found by the target `torch`: objects and memo entries of a pickle that was compressed a thousand times.
    ("objects_inflated.pth", Limit),
    ("memo_inflated.pth", Limit),
    // One large thing and half a million references to it, two bytes each.
    ("name_recalled.pth", Limit),
    ("class_name_recalled.pth", Limit),
    ("integer_recalled.pth", Limit),
    ("skip_reason_recalled.pth", Limit),
    ("tensor_dimensions_recalled.pth", Limit),
    // The same dictionary as every argument of a constructor, as every state of an instance.
    ("dictionary_arguments.pth", Limit),
    ("states.pth", Limit),
    // Each object's path was spelled out: here it has three million letters.
    ("long_path.pth", Limit),
    // State dictionaries that were collected again and again, or cost the square of their length.
    ("module_recalled.pth", Limit),
    ("module_transient_buffers.pth", Limit),
    ("module_nested_names.pth", Limit),
    ("module_long_names.pth", Limit),
    ("module_names_decoded.pth", Limit),
    // Chains of a hundred thousand objects, each the argument of the next: every step was a call.
    ("size_of_sizes.pth", Corrupt),
    ("set_of_sets.pth", NoTensors),
    ("class_of_classes.pth", NoTensors),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/fuzz")
}

/// Checks that `read` ends with an error of the class, in time and within the memory for a file of `len` bytes.
fn check(name: &str, len: usize, class: ErrorClass, read: impl FnOnce() -> Result<Checkpoint>) {
    let allowed = limits::MAX_DECODED_RATIO * len as u64 + limits::MAX_DECODED_BASE;
    let (start, before) = (Instant::now(), MEMORY.current_usage());
    MEMORY.reset_peak_usage();
    let outcome = read().map(|checkpoint| checkpoint.tensors().len());
    let used = MEMORY.peak_usage().saturating_sub(before) as u64;
    assert_eq!(outcome.as_ref().err().map(|error| error.class()), Some(class), "{name}: {outcome:?}");
    assert!(used <= allowed, "{name} took {used} bytes of {allowed}");
    assert!(start.elapsed() < TIME, "{name} took {:?}", start.elapsed());
}

#[test]
fn findings_end_with_an_error_in_time_and_memory() {
    let _alone = alone();
    for (name, class) in FINDINGS {
        let file = folder().join(name);
        check(name, file.metadata().unwrap().len() as usize, *class, || open(file));
    }
}

#[test]
fn every_finding_is_listed() {
    let _alone = alone();
    let files = std::fs::read_dir(folder()).unwrap();
    let mut files: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let mut listed: Vec<_> = FINDINGS.iter().map(|(name, _)| *name).collect();
    files.sort();
    listed.sort();
    assert_eq!(files, listed);
}

/// A size of two letters became sixteen bytes.
#[test]
fn long_npy_headers_are_refused() {
    let _alone = alone();
    let header = format!("{{'descr':'|u1','fortran_order':False,'shape':({})}}\n", "1,".repeat(5_000_000));
    let length = (header.len() as u32).to_le_bytes();
    let file = [b"\x93NUMPY\x02\x00", &length[..], header.as_bytes(), b"\x00"].concat();
    check("header.npy", file.len(), Limit, || open_bytes("header.npy", file));
}

/// An empty list of three letters became a JSON value of seventy bytes.
#[test]
fn indexes_of_many_small_values_are_refused() {
    let _alone = alone();
    let values = "[],".repeat(2_000_000);
    let file = format!("{{\"weight_map\":{{}},\"metadata\":{{\"values\":[{values}0]}}}}");
    check("index.json", file.len(), Limit, || open_bytes("index.json", file));
}
