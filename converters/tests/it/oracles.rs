//! Independent readers of the same files: serde-pickle for plain data, pytorch-reader for PyTorch archives, the
//! zip and safetensors crates for what is written here.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use converters::write::{Options, Target, write};
use converters::{Checkpoint, Value};
use proptest::prelude::*;
use serde_pickle::{HashableValue, Value as Plain};

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/data/formats").join(path)
}

fn shipped_path(section: &str, name: &str) -> PathBuf {
    shipped(section).join(name)
}

fn sample(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("samples").join(path)
}

/// Plain data as serde-pickle has them.
fn plain() -> impl Strategy<Value = Plain> {
    let leaf = prop_oneof![
        Just(Plain::None),
        any::<bool>().prop_map(Plain::Bool),
        any::<i64>().prop_map(Plain::I64),
        (-1e300..1e300).prop_map(Plain::F64),
        "[ -~é世]{0,12}".prop_map(Plain::String),
        proptest::collection::vec(any::<u8>(), 0..12).prop_map(Plain::Bytes),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let keys = prop_oneof![
            any::<i64>().prop_map(HashableValue::I64),
            "[a-z.]{0,6}".prop_map(HashableValue::String)
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Plain::List),
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Plain::Tuple),
            proptest::collection::btree_map(keys, inner, 0..5).prop_map(Plain::Dict),
        ]
    })
}

/// The same data as the reader has them.
fn expected(plain: &Plain) -> Value {
    let all = |items: &[Plain]| items.iter().map(expected).collect();
    match plain {
        Plain::None => Value::None,
        Plain::Bool(truth) => Value::Bool(*truth),
        Plain::I64(number) => Value::Int(*number),
        Plain::F64(number) => Value::Float(*number),
        Plain::String(text) => Value::Text(text.clone()),
        Plain::Bytes(bytes) => Value::Bytes(bytes.clone().into()),
        Plain::List(items) => Value::List(all(items)),
        Plain::Tuple(items) => Value::Tuple(all(items)),
        Plain::Dict(entries) => Value::Dict(converters::Dict {
            ordered: false,
            entries: entries.iter().map(|(key, value)| (expected_key(key), expected(value))).collect(),
        }),
        other => panic!("{other:?} is not generated"),
    }
}

fn expected_key(key: &HashableValue) -> Value {
    match key {
        HashableValue::I64(number) => Value::Int(*number),
        HashableValue::String(text) => Value::Text(text.clone()),
        other => panic!("{other:?} is not generated"),
    }
}

/// A checkpoint has a tensor: the plain data stand beside one, in a pickle that is spliced around them.
fn beside_a_tensor(pickled: &[u8]) -> Vec<u8> {
    let genuine = std::fs::read(shipped("numpy/detectron2_p2.pkl")).unwrap();
    // {'data': DATA, 'tensors': CHECKPOINT}, both without protocol header and STOP.
    let inner = |bytes: &[u8]| bytes[2..bytes.len() - 1].to_vec();
    let text = |text: &str| [&[b'X', text.len() as u8, 0, 0, 0], text.as_bytes()].concat();
    [b"\x80\x03}(".to_vec(), text("tensors"), inner(&genuine), text("data"), inner(pickled), b"u.".to_vec()]
        .concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What serde-pickle writes, the pickle machine reads alike.
    #[test]
    fn plain_data_agree_with_serde_pickle(plain in plain(), protocol_2 in any::<bool>()) {
        let options = serde_pickle::SerOptions::new();
        let options = if protocol_2 { options.proto_v2() } else { options };
        let pickled = serde_pickle::value_to_vec(&plain, options).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plain.pkl");
        std::fs::write(&file, beside_a_tensor(&pickled)).unwrap();
        let checkpoint = converters::open(&file).unwrap();
        let found = checkpoint.document().get(&converters::Key::Text("data".to_owned()));
        if !protocol_2 {
            prop_assert_eq!(found, Some(&expected(&plain)));
        }
        prop_assert!(found.is_some());
    }
}

/// The metadata that the writers put into a Jittor pickle, serde-pickle reads.
#[test]
fn written_pickles_are_read_by_serde_pickle() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy.pkl");
    let checkpoint = converters::open(shipped("jittor/jittordet_runner.pkl")).unwrap();
    write(&checkpoint, Target::Jittor, &file, Options::default()).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let options = serde_pickle::DeOptions::new().replace_unresolved_globals();
    let Plain::Dict(read) = serde_pickle::value_from_slice(&bytes[..bytes.len() - 28], options).unwrap()
    else {
        panic!("not a dictionary");
    };
    let key = |name: &str| HashableValue::String(name.to_owned());
    let Plain::Dict(progress) = &read[&key("loop")] else { panic!("no loop") };
    assert_eq!(progress[&key("epoch")], Plain::I64(12));
    let Plain::Dict(state) = &read[&key("state_dict")] else { panic!("no state_dict") };
    assert_eq!(state.len(), 7);
}

/// Checkpoints of every container that PyTorch has had, and archives written here, tensor by tensor.
#[test]
fn pytorch_files_agree_with_pytorch_reader() {
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("written.pth");
    let source = sample("nanodet-plus-shapes.pth");
    write(&converters::open(&source).unwrap(), Target::Torch, &written, Options::default()).unwrap();
    let shipped = [
        "zip_state_dict.pth",
        "zip_special_values.pth",
        "zip_parameters.pth",
        "zip_views.pth",
        "zip_channels_last.pth",
        "zip_mmdet.pth",
        "zip_optimizer_adamw.pth",
        "zip_whole_module.pth",
        "zip_yolo_checkpoint.pt",
        "legacy_state_dict.pth",
        "legacy_views.pth",
        "legacy_tar_0_1.pth",
    ];
    let shipped = shipped.map(|name| shipped_path("pytorch", name));
    for file in [source, written].into_iter().chain(shipped) {
        let ours = converters::open(&file).unwrap();
        let theirs = pytorch_reader::PytorchReader::new(&file);
        let theirs = theirs.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for tensor in ours.tensors() {
            let place = format!("{} in {}", tensor.name(), file.display());
            let found =
                theirs.get(tensor.name()).unwrap_or_else(|| panic!("{place} among {:?}", theirs.keys()));
            assert_eq!(found.shape(), tensor.shape(), "{place}");
            assert_eq!(found.read().unwrap(), tensor.bytes().unwrap(), "{place}");
        }
        assert_eq!(theirs.len(), ours.tensors().len(), "{}", file.display());
    }
}

/// Archives written here are read by the zip crate, which compares checksums and local headers.
#[test]
fn written_archives_are_read_by_the_zip_crate() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = converters::open(shipped("pytorch/zip_state_dict.pth")).unwrap();
    for target in [Target::Torch, Target::Npz] {
        let file = folder.path().join(target.name());
        write(&checkpoint, target, &file, Options::default()).unwrap();
        let mut archive = zip::ZipArchive::new(std::fs::File::open(&file).unwrap()).unwrap();
        for index in 0..archive.len() {
            let mut record = archive.by_index(index).unwrap();
            assert_eq!(record.data_start().unwrap() % 64, 0, "record {index}");
            let mut content = Vec::new();
            record.read_to_end(&mut content).unwrap();
        }
    }
}

/// safetensors files written here are read by the original library.
#[test]
fn written_safetensors_are_read_by_the_original() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy.safetensors");
    let checkpoint = converters::open(shipped("pytorch/zip_checkpoint_nested.pth")).unwrap();
    write(&checkpoint, Target::Safetensors, &file, Options::default()).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    compare(
        &checkpoint,
        &theirs.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect(),
    );
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    assert_eq!(metadata["epoch"], "12");
    assert!(metadata["optimizer.param_groups"].contains("\"momentum\":0.9"));
}

fn compare(ours: &Checkpoint, theirs: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(ours.tensors().len(), theirs.len());
    for tensor in ours.tensors() {
        assert_eq!(theirs[tensor.name()], tensor.bytes().unwrap(), "{}", tensor.name());
    }
}
