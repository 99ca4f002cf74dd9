//! Real checkpoints of the reference data, where they lie beside the repository.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

use converters::Checkpoint;
use converters::write::{Options, Target, write};

/// Name, type, shape and bytes of every tensor, sorted by name.
fn content(checkpoint: &Checkpoint) -> Vec<(String, String, Vec<u8>)> {
    let mut all: Vec<_> = checkpoint
        .tensors()
        .iter()
        .map(|tensor| {
            let form = format!("{} {:?}", tensor.dtype(), tensor.shape());
            (tensor.name().to_owned(), form, tensor.bytes().unwrap())
        })
        .collect();
    all.sort();
    all
}

/// A whole pickled module, its classes unknown, is its state dictionary.
#[test]
fn a_whole_module_equals_its_state_dictionary() {
    let Some(reference) = crate::support::reference("") else { return };
    let weights = reference.join("gold-yolo/weights");
    let module = converters::open(weights.join("gold_yolo-tiny_module.pt")).unwrap();
    let twin = converters::open(weights.join("gold_yolo-tiny_module.safetensors")).unwrap();
    assert_eq!(content(&module.at_root("model").unwrap()), content(&twin));
}

/// Every checkpoint there opens, and its copy in each format that has its types holds the same.
#[test]
fn real_checkpoints_survive_every_format() {
    let Some(reference) = crate::support::reference("") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    for family in ["nanodet-plus", "gold-yolo", "gfocal-v2"] {
        let Ok(files) = std::fs::read_dir(reference.join(family).join("weights")) else { continue };
        for file in files.map(|file| file.unwrap().path()) {
            let extension = file.extension().map(|extension| extension.to_string_lossy().into_owned());
            if matches!(extension.as_deref(), Some("json" | "md" | "txt") | None) {
                continue;
            }
            let original = converters::open(&file).unwrap();
            for target in [Target::Safetensors, Target::Torch, Target::Jittor, Target::Npz] {
                let copy = folder.path().join("copy");
                let written = write(&original, target, &copy, Options::default()).unwrap();
                let place = format!("{} as {}", file.display(), target.name());
                assert_eq!(written.tensors, original.tensors().len(), "{place}");
                let copy = converters::open(&copy).unwrap_or_else(|error| panic!("{place}: {error}"));
                assert!(content(&copy) == content(&original), "{place}");
            }
            count += 1;
        }
    }
    assert!(count >= 8, "only {count} checkpoints found");
}
