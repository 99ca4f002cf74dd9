//! The corpus of checkpoint files: good, odd, broken and hostile, with what a reader must find in each.
//!
//! `tests/data/formats` ships the cases that are small; the whole corpus is read from
//! `../shared/reference/formats` where that exists. Its README explains `expected.json`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use converters::{Checkpoint, Key, Value, decode, json};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::{MEMORY, alone};

/// Nothing in the corpus may take longer or more than this, whatever limits a case states.
const SECONDS: u64 = 10;
const MEBIBYTES: f32 = 256.0;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn shipped_cases_read_as_stated() {
    let count = run(&workspace().join("tests/data/formats"));
    assert!(count > 300, "only {count} cases are shipped");
}

#[test]
fn the_whole_corpus_reads_as_stated() {
    let Some(corpus) = crate::support::reference("formats") else { return };
    let count = run(&corpus);
    assert_eq!(count, 370 + 1, "cases in the corpus, one of which is a file that does not exist");
}

/// Runs every case of every section below `corpus`; returns their number.
fn run(corpus: &Path) -> usize {
    let _alone = alone();
    let mut failures = Vec::new();
    let mut count = 0;
    for section in std::fs::read_dir(corpus).unwrap() {
        let section = section.unwrap().path();
        let Ok(text) = std::fs::read_to_string(section.join("expected.json")) else {
            continue;
        };
        let expected: Json = serde_json::from_str(&text).unwrap();
        for case in expected["cases"].as_array().unwrap() {
            count += 1;
            let file = section.join(case["file"].as_str().unwrap());
            if let Err(failure) = check(&file, case) {
                failures.push(format!("{}: {failure}", file.display()));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} cases:\n{}", failures.len(), failures.join("\n"));
    count
}

type Outcome<T = ()> = Result<T, String>;

/// A tensor with its row-major bytes.
struct Loaded {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Opens the file and reads every tensor.
fn load(file: &Path) -> converters::Result<(Checkpoint, Vec<Loaded>)> {
    let checkpoint = converters::open(file)?;
    let mut loaded = Vec::new();
    for tensor in checkpoint.tensors() {
        loaded.push(Loaded {
            name: tensor.name().to_owned(),
            dtype: tensor.dtype().to_string(),
            shape: tensor.shape().to_vec(),
            bytes: tensor.bytes()?,
        });
    }
    Ok((checkpoint, loaded))
}

fn check(file: &Path, case: &Json) -> Outcome {
    MEMORY.reset_peak_usage();
    let (before, started) = (MEMORY.current_usage_as_mb(), Instant::now());
    let loaded = load(file);
    let (elapsed, used) = (started.elapsed(), MEMORY.peak_usage_as_mb() - before);

    let limits = &case["limits"];
    if elapsed > Duration::from_secs(limits["seconds"].as_u64().unwrap_or(SECONDS)) {
        return Err(format!("took {elapsed:?}"));
    }
    if used > limits["mib"].as_f64().map_or(MEBIBYTES, |mib| mib as f32) {
        return Err(format!("took {used} MiB"));
    }
    if case["canary"].as_str().is_some_and(|canary| Path::new(canary).exists()) {
        return Err("its payload ran".to_owned());
    }
    match (case["outcome"].as_str(), loaded) {
        (Some("ok"), Ok((checkpoint, loaded))) => check_content(case, &checkpoint, &loaded),
        (Some("ok"), Err(error)) => {
            let class = error.class().name();
            let allowed = [&case["may_refuse"], &case["also_error"]].iter().any(|allowed| **allowed == class);
            if !allowed {
                return Err(format!("should read, but: {error}"));
            }
            check_message(case, file, &error)
        }
        (_, Ok(_)) if case["may_read"] == true => Ok(()),
        (_, Ok(_)) => Err("should be refused, but reads".to_owned()),
        (_, Err(error)) => {
            let class = error.class().name();
            let allowed = case["error"] == class || list(&case["also"]).iter().any(|also| *also == class);
            if !allowed {
                return Err(format!("is refused as {class}: {error}"));
            }
            check_message(case, file, &error)
        }
    }
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The message names the file and what the case asks for, and a second line says what to do.
fn check_message(case: &Json, file: &Path, error: &converters::Error) -> Outcome {
    let message = error.to_string();
    let name = file.file_name().unwrap().to_string_lossy();
    // The name of the file itself must not count as a mention.
    let told = message.replace(&*file.to_string_lossy(), "FILE");
    let mentions = list(&case["mention"]);
    if !mentions.is_empty() && !mentions.iter().any(|mention| told.contains(mention.as_str().unwrap())) {
        let is_in_name = mentions.iter().any(|mention| name.contains(mention.as_str().unwrap()));
        if !is_in_name {
            return Err(format!("the message mentions none of {mentions:?}: {message}"));
        }
    }
    if !message.contains(&*error.file().to_string_lossy()) || message.lines().count() < 2 {
        return Err(format!("the message lacks file or remedy: {message}"));
    }
    Ok(())
}

fn check_content(case: &Json, checkpoint: &Checkpoint, loaded: &[Loaded]) -> Outcome {
    let wanted = list(&case["tensors"]);
    let names: Vec<_> = loaded.iter().map(|tensor| &tensor.name).collect();
    if wanted.len() != loaded.len() {
        return Err(format!("{} tensors instead of {}: {names:?}", loaded.len(), wanted.len()));
    }
    // Writers of safetensors sort the header: the stated order is not in the file.
    let is_sorted = case["format"].as_str().is_some_and(|format| format.starts_with("safetensors"));
    for (index, wanted) in wanted.iter().enumerate() {
        let found = match is_sorted && wanted.is_object() {
            true => loaded.iter().find(|tensor| wanted["name"] == tensor.name.as_str()),
            false => loaded.get(index),
        };
        let found = found.ok_or_else(|| format!("{} is not there: {names:?}", wanted["name"]))?;
        check_tensor(wanted, found, list(&case["lossy"]).contains(&wanted["name"]))?;
    }
    if let Some(wanted) = wanted.first().filter(|first| first.is_object()) {
        let paths = list(&wanted["path"]).len() == checkpoint.tensors()[0].path().len();
        paths.then_some(()).ok_or_else(|| format!("path {:?}", checkpoint.tensors()[0].path()))?;
    }
    check_values(case, checkpoint)?;
    check_aliases(case, checkpoint)?;
    for class in list(&case["opaque"]) {
        let known = checkpoint.globals().iter().any(|global| *class == global.name.as_str());
        known.then_some(()).ok_or_else(|| format!("the class {class} is not listed"))?;
    }
    Ok(())
}

/// The corpus describes tensors as objects, and in the hostile section as `[name, dtype, shape]`.
fn check_tensor(wanted: &Json, tensor: &Loaded, lossy: bool) -> Outcome {
    let part = |key: &str, index: usize| {
        if wanted.is_object() { &wanted[key] } else { &wanted[index] }
    };
    let shape: Vec<_> = list(part("shape", 2)).iter().map(|size| size.as_u64().unwrap() as usize).collect();
    if *part("name", 0) != tensor.name.as_str() || *part("dtype", 1) != tensor.dtype.as_str() {
        return Err(format!("`{}` {} instead of {wanted}", tensor.name, tensor.dtype));
    }
    if shape != tensor.shape {
        return Err(format!("`{}` has shape {:?} instead of {shape:?}", tensor.name, tensor.shape));
    }
    let sum: String = Sha256::digest(&tensor.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if !lossy && wanted.is_object() && wanted["sha256"] != sum.as_str() {
        return Err(format!("`{}` has other bytes", tensor.name));
    }
    Ok(())
}

fn check_values(case: &Json, checkpoint: &Checkpoint) -> Outcome {
    for wanted in list(&case["values"]) {
        let mut value = Some(checkpoint.document());
        for step in list(&wanted["path"]) {
            let key = match step {
                Json::Number(number) => Key::Index(number.as_i64().unwrap()),
                text => Key::Text(text.as_str().unwrap().to_owned()),
            };
            value = value.and_then(|value| value.get(&key));
        }
        let value = value.ok_or_else(|| format!("nothing at {}", wanted["path"]))?;
        let found = json::describe(value);
        let agrees = match &wanted["class"] {
            Json::Null => same_value(&found, &wanted["value"]),
            class => {
                found["class"] == *class || (*class == "builtins.bytes" && matches!(value, Value::Bytes(_)))
            }
        };
        agrees.then_some(()).ok_or_else(|| format!("{found} at {}", wanted["path"]))?;
    }
    if let Some(metadata) = case["metadata"].as_object() {
        let found = json::describe(checkpoint.header());
        (found == Json::Object(metadata.clone())).then_some(()).ok_or_else(|| format!("metadata {found}"))?;
    }
    Ok(())
}

fn same_value(found: &Json, wanted: &Json) -> bool {
    match (found.as_f64(), wanted.as_f64()) {
        (Some(found), Some(wanted)) => found == wanted,
        _ => found == wanted,
    }
}

fn check_aliases(case: &Json, checkpoint: &Checkpoint) -> Outcome {
    let found = checkpoint.aliases();
    for group in list(&case["aliases"]) {
        let names: Vec<_> = list(group).iter().map(|name| name.as_str().unwrap()).collect();
        if !found.iter().any(|found| names.iter().all(|name| found.contains(name))) {
            return Err(format!("{names:?} do not share a storage in {found:?}"));
        }
    }
    Ok(())
}

/// Name and type, shape, bytes.
type Content = (String, Vec<usize>, Vec<u8>);

/// What a file reads as.
fn content(file: &Path) -> Option<Vec<Content>> {
    let (_, loaded) = load(file).ok()?;
    Some(loaded.into_iter().map(|tensor| (tensor.name + &tensor.dtype, tensor.shape, tensor.bytes)).collect())
}

/// Damages `base` in every way that `damage` lists and hands each result to `check`.
fn sweep(base: &str, damaged: impl Iterator<Item = Vec<u8>>, check: impl Fn(&Path, usize)) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(base);
    for (index, bytes) in damaged.enumerate() {
        std::fs::write(&file, bytes).unwrap();
        check(&file, index);
    }
}

fn read_base(base: &str) -> Vec<u8> {
    std::fs::read(workspace().join("tests/data/formats/hostile").join(base)).unwrap()
}

#[test]
fn truncation_at_every_length_is_an_error() {
    let _alone = alone();
    for base in ["sweep_base.pth", "sweep_base_legacy.pth"] {
        let bytes = read_base(base);
        let lengths = (0..bytes.len()).map(|length| bytes[..length].to_vec());
        sweep(base, lengths, |file, length| assert!(load(file).is_err(), "{base} cut to {length} bytes"));
    }
}

/// Every bit of the zip base is covered by a checksum or by a rule.
#[test]
fn a_flipped_bit_is_an_error_or_harmless() {
    let _alone = alone();
    let base = "sweep_base.pth";
    let bytes = read_base(base);
    let genuine = content(&workspace().join("tests/data/formats/hostile").join(base)).unwrap();
    let flipped = (0..8 * bytes.len()).map(|bit| {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    MEMORY.reset_peak_usage();
    sweep(base, flipped, |file, bit| {
        if let Some(found) = content(file) {
            assert_eq!(found, genuine, "bit {bit}");
        }
        assert!(MEMORY.peak_usage_as_mb() < 64.0, "bit {bit}");
    });
}

/// The legacy stream has no checksums: its flips may change values, but never panic.
#[test]
fn a_flipped_bit_of_a_legacy_file_never_panics() {
    let _alone = alone();
    let base = "sweep_base_legacy.pth";
    let bytes = read_base(base);
    let flipped = (0..8 * bytes.len()).map(|bit| {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    sweep(base, flipped, |file, _| drop(load(file)));
}

/// Statistics and casts decode elements; the corpus says what the first ones are.
#[test]
fn first_elements_decode_to_the_stated_numbers() {
    let _alone = alone();
    let folder = workspace().join("tests/data/formats/pytorch");
    let expected: Json =
        serde_json::from_str(&std::fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap();
    let mut compared = 0;
    for file in ["zip_dtypes.pth", "zip_dtypes_untyped.pth"] {
        let case = list(&expected["cases"]).iter().find(|case| case["file"] == file).unwrap();
        let checkpoint = converters::open(folder.join(file)).unwrap();
        for (wanted, tensor) in list(&case["tensors"]).iter().zip(checkpoint.tensors()) {
            let bytes = tensor.bytes().unwrap();
            for (element, number) in bytes.chunks(tensor.dtype().size()).zip(list(&wanted["first"])) {
                if let Some(number) = number.as_f64() {
                    compared += 1;
                    assert_eq!(decode(tensor.dtype(), element) as f32, number as f32, "{}", tensor.name());
                }
            }
        }
    }
    assert!(compared > 40, "only {compared} numbers compared");
}
