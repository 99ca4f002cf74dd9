//! Every pair of formats that can hold the types: bytes, names, shapes and types survive unchanged.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

use std::path::Path;

use converters::write::{Options, Target, write};
use converters::{Checkpoint, Dtype};
use proptest::collection::vec;
use proptest::prelude::*;

const TARGETS: [Target; 4] = [Target::Safetensors, Target::Torch, Target::Jittor, Target::Npz];

/// One tensor of a generated checkpoint.
#[derive(Debug, Clone, PartialEq)]
struct Made {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn made(name: String, dtype: Dtype) -> impl Strategy<Value = Made> {
    vec(0_usize..5, 0..4).prop_flat_map(move |shape| {
        let len = shape.iter().product::<usize>() * dtype.size();
        let name = name.clone();
        vec(any::<u8>(), len).prop_map(move |bytes| {
            // A boolean has two values.
            let bytes = match dtype {
                Dtype::Bool => bytes.iter().map(|byte| byte & 1).collect(),
                _ => bytes,
            };
            Made { name: name.clone(), dtype, shape: shape.clone(), bytes }
        })
    })
}

/// Checkpoints of tensors with distinct names, of the types in `dtypes`.
fn tensors(dtypes: Vec<Dtype>) -> impl Strategy<Value = Vec<Made>> {
    let names = proptest::collection::btree_set("[a-zé0-9_./ ]{0,12}", 1..8);
    names.prop_flat_map(move |names| {
        let dtypes = dtypes.clone();
        let all: Vec<_> = names
            .into_iter()
            .map(move |name| {
                proptest::sample::select(dtypes.clone()).prop_flat_map(move |dtype| made(name.clone(), dtype))
            })
            .collect();
        all
    })
}

/// A safetensors file by the original library: an independent source for the round trips.
fn original(made: &[Made], file: &Path) {
    let views = made.iter().map(|tensor| {
        let view = safetensors::tensor::TensorView::new(
            their_dtype(tensor.dtype),
            tensor.shape.clone(),
            &tensor.bytes,
        );
        (tensor.name.clone(), view.unwrap())
    });
    safetensors::serialize_to_file(views, None, file).unwrap();
}

fn their_dtype(dtype: Dtype) -> safetensors::Dtype {
    use safetensors::Dtype as Theirs;
    match dtype {
        Dtype::F64 => Theirs::F64,
        Dtype::F32 => Theirs::F32,
        Dtype::F16 => Theirs::F16,
        Dtype::Bf16 => Theirs::BF16,
        Dtype::F8E4M3 => Theirs::F8_E4M3,
        Dtype::F8E5M2 => Theirs::F8_E5M2,
        Dtype::I64 => Theirs::I64,
        Dtype::I32 => Theirs::I32,
        Dtype::I16 => Theirs::I16,
        Dtype::I8 => Theirs::I8,
        Dtype::U64 => Theirs::U64,
        Dtype::U32 => Theirs::U32,
        Dtype::U16 => Theirs::U16,
        Dtype::U8 => Theirs::U8,
        Dtype::Bool => Theirs::BOOL,
        Dtype::C64 | Dtype::C128 => Theirs::C64,
    }
}

fn content(checkpoint: &Checkpoint) -> Vec<Made> {
    let read = |tensor: &converters::Tensor| Made {
        name: tensor.name().to_owned(),
        dtype: tensor.dtype(),
        shape: tensor.shape().to_vec(),
        bytes: tensor.bytes().unwrap(),
    };
    checkpoint.tensors().iter().map(read).collect()
}

fn convert(from: &Path, target: Target, to: &Path) -> Checkpoint {
    write(&converters::open(from).unwrap(), target, to, Options::default()).unwrap();
    converters::open(to).unwrap()
}

fn types_of(targets: &[Target]) -> Vec<Dtype> {
    let all = |dtype: &Dtype| targets.iter().all(|target| target.holds(*dtype)) && *dtype != Dtype::C128;
    Dtype::ALL.into_iter().filter(all).collect()
}

fn check_pair(first: Target, second: Target, made: &[Made]) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    original(made, &path("original"));
    let source = content(&converters::open(path("original")).unwrap());
    prop_assert_eq!(source.len(), made.len());
    for tensor in made {
        prop_assert!(source.contains(tensor), "{:?}", tensor.name);
    }
    let once = convert(&path("original"), first, &path("first"));
    prop_assert_eq!(&content(&once), &source);
    let twice = convert(&path("first"), second, &path("second"));
    prop_assert_eq!(&content(&twice), &source);
    Ok(())
}

#[test]
fn every_pair_of_formats_is_bit_equal() {
    for first in TARGETS {
        for second in TARGETS {
            let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(24));
            runner
                .run(&tensors(types_of(&[first, second])), |made| check_pair(first, second, &made))
                .unwrap_or_else(|failure| panic!("{} then {}: {failure}", first.name(), second.name()));
        }
    }
}

fn workspace(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

/// Trees, shared weights and plain data survive formats that can hold them.
#[test]
fn nested_checkpoints_keep_their_tree() {
    let source = workspace("tests/data/formats/pytorch/zip_checkpoint_nested.pth");
    let folder = tempfile::tempdir().unwrap();
    let original = converters::open(&source).unwrap();
    for (target, name) in [(Target::Torch, "copy.pth"), (Target::Jittor, "copy.pkl")] {
        let copy = convert(&source, target, &folder.path().join(name));
        assert_eq!(content(&copy), content(&original), "{name}");
        for (kept, path) in [("epoch", vec!["epoch"]), ("momentum", vec!["optimizer", "param_groups"])] {
            let find = |checkpoint: &Checkpoint| {
                let mut keys = path.iter().map(|key| converters::Key::Text((*key).to_owned()));
                keys.try_fold(checkpoint.document().clone(), |value, key| value.get(&key).cloned())
            };
            assert_eq!(find(&copy), find(&original), "{kept} in {name}");
            assert!(find(&original).is_some());
        }
        // Writing what was written changes nothing.
        let again = folder.path().join("again");
        convert(&folder.path().join(name), target, &again);
        assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), std::fs::read(&again).unwrap());
    }
}

#[test]
fn tied_weights_stay_tied_in_a_pytorch_archive() {
    let source = workspace("tests/data/formats/pytorch/zip_tied.pth");
    let folder = tempfile::tempdir().unwrap();
    let copy = convert(&source, Target::Torch, &folder.path().join("copy.pth"));
    assert_eq!(copy.aliases(), converters::open(&source).unwrap().aliases());
    assert_eq!(copy.aliases().len(), 1);
}

#[test]
fn what_is_left_out_is_named() {
    let source = workspace("tests/data/formats/pytorch/zip_unknown_classes.pth");
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = converters::open(&source).unwrap();
    let path = folder.path().join("copy.pth");
    let written = write(&checkpoint, Target::Torch, &path, Options::default()).unwrap();
    let dropped: Vec<_> = written.dropped.iter().map(|note| (&*note.name, &*note.reason)).collect();
    assert!(dropped.contains(&("cfg", "an instance of vanished_lib.config.DictConfig")), "{dropped:?}");
    assert!(dropped.contains(&("color", "an instance of vanished_lib.config.Color")), "{dropped:?}");
}

#[test]
fn types_that_a_format_lacks_are_refused_by_name_unless_cast() {
    let source = workspace("tests/data/formats/pytorch/zip_dtypes.pth");
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = converters::open(&source).unwrap();
    let path = folder.path().join("copy.npz");
    let refused = write(&checkpoint, Target::Npz, &path, Options::default()).unwrap_err();
    assert!(refused.to_string().contains("`bfloat16` is bf16, which npz cannot hold"), "{refused}");
    assert!(!path.exists());
    let options = Options { dtype: Some(Dtype::F32), ..Options::default() };
    write(&checkpoint, Target::Npz, &path, options).unwrap();
    let cast = converters::open(&path).unwrap();
    assert_eq!(cast.tensor("bfloat16").unwrap().dtype(), Dtype::F32);
    assert_eq!(cast.tensor("int64").unwrap().dtype(), Dtype::I64);
}

/// Damage in a large file shows only when it is copied: the target is as it was, and nothing stays behind.
#[test]
fn an_existing_file_survives_a_failure_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let len = 80_usize << 20;
    let header = format!(r#"{{"w":{{"dtype":"U8","shape":[{len}],"data_offsets":[0,{len}]}}}}"#);
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![7; len]].concat();
    std::fs::write(path("large.safetensors"), bytes).unwrap();
    for (target, name) in [(Target::Torch, "large.pth"), (Target::Jittor, "large.pkl")] {
        convert(&path("large.safetensors"), target, &path(name));
        let mut bytes = std::fs::read(path(name)).unwrap();
        bytes[len / 2] ^= 1;
        std::fs::write(path(name), bytes).unwrap();
        let damaged = converters::open(path(name)).unwrap();
        for target in TARGETS {
            std::fs::write(path("target"), "precious").unwrap();
            let failure =
                write(&damaged, target, &path("target"), Options::default()).unwrap_err().to_string();
            assert!(failure.contains("checksum mismatch"), "{failure}");
            assert_eq!(std::fs::read_to_string(path("target")).unwrap(), "precious");
        }
        std::fs::remove_file(path(name)).unwrap();
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "temporary files stay behind");
}

/// What is written replaces files, not links or devices, and keeps the permissions of what it replaces.
#[cfg(unix)]
#[test]
fn only_ordinary_files_are_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = converters::open(workspace("tests/data/formats/pytorch/zip_state_dict.pth")).unwrap();
    let write = |path: &Path| write(&checkpoint, Target::Npz, path, Options::default());
    assert_eq!(write(Path::new("/dev/null")).unwrap_err().class(), converters::ErrorClass::Io);
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    write(&link).unwrap();
    assert!(link.is_symlink());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(content(&converters::open(&link).unwrap()), content(&checkpoint));
}

/// Whatever a format holds, of every checkpoint with a tree each leaf is in the copy or among what is left out.
#[test]
fn every_leaf_is_written_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let sources = [
        "pytorch/zip_checkpoint_nested.pth",
        "pytorch/zip_unknown_classes.pth",
        "pytorch/zip_yolo_checkpoint.pt",
        "pytorch/zip_lightning.ckpt",
        "pytorch/torchscript.pt",
        "jittor/checkpoint_nested.pkl",
        "jittor/whole_module.pkl",
        "safetensors/single.safetensors",
    ];
    let cast = Options { dtype: Some(Dtype::F32), ..Options::default() };
    for source in sources {
        let checkpoint = converters::open(workspace("tests/data/formats").join(source)).unwrap();
        for target in TARGETS {
            let path = folder.path().join("copy");
            let written = write(&checkpoint, target, &path, cast).unwrap();
            let copy = converters::open(&path).unwrap();
            assert_eq!(written.tensors, copy.tensors().len(), "{source} as {}", target.name());
            for leaf in leaves(&checkpoint) {
                let is_named = written.dropped.iter().any(|note| {
                    leaf == note.name
                        || leaf.strip_prefix(&*note.name).is_some_and(|rest| rest.starts_with('.'))
                });
                let is_written = leaves(&copy).iter().any(|kept| {
                    *kept == leaf || leaf.strip_prefix(&**kept).is_some_and(|rest| rest.starts_with('.'))
                });
                assert!(is_named || is_written, "{leaf} of {source} is lost as {}", target.name());
            }
        }
    }
}

/// The flat names of everything in a checkpoint, its file metadata included.
fn leaves(checkpoint: &Checkpoint) -> Vec<String> {
    fn walk(value: &converters::Value, path: &str, leaves: &mut Vec<String>) {
        use converters::Value;
        let below = |key: &dyn std::fmt::Display| match path {
            "" => key.to_string(),
            _ => format!("{path}.{key}"),
        };
        let mut entries = |entries: &[(Value, Value)]| {
            entries.iter().for_each(|(key, value)| walk(value, &below(&key.step()), leaves));
        };
        match value {
            Value::Dict(dict) if !dict.entries.is_empty() => entries(&dict.entries),
            Value::Module(module) => {
                entries(&module.state.entries);
                entries(&module.attributes);
            }
            Value::Record(record) if !record.fields.is_empty() => entries(&record.fields),
            Value::List(items) | Value::Tuple(items) if !items.is_empty() => {
                items.iter().enumerate().for_each(|(index, item)| walk(item, &below(&index), leaves));
            }
            _ => leaves.push(path.to_owned()),
        }
    }
    let mut all = Vec::new();
    walk(checkpoint.document(), "", &mut all);
    walk(checkpoint.header(), "", &mut all);
    // An empty header.
    all.retain(|leaf| !leaf.is_empty());
    all
}

#[test]
fn a_part_of_a_checkpoint_loses_its_prefix() {
    let checkpoint =
        converters::open(workspace("tests/data/formats/pytorch/zip_checkpoint_nested.pth")).unwrap();
    let part = checkpoint.at_root("model").unwrap();
    assert_eq!(part.tensors()[0].name(), "conv.weight");
    let flat = converters::open(workspace("tests/data/formats/pytorch/zip_whole_module.pth")).unwrap();
    let stem = flat.at_root("stem").unwrap();
    assert_eq!(stem.tensors()[0].name(), "conv.weight");
    assert!(
        stem.notes().iter().any(|note| note.name == "anchors" && note.reason == "beside the root `stem`")
    );
    let missing = checkpoint.at_root("teacher").unwrap_err().to_string();
    assert!(missing.contains("there is nothing at `teacher`; the file has `model`"), "{missing}");
}

#[test]
fn renamed_tensors_stay_in_their_dictionary() {
    let checkpoint =
        converters::open(workspace("tests/data/formats/pytorch/zip_checkpoint_nested.pth")).unwrap();
    let renamed =
        checkpoint.renamed(&mut |name| Some(name.strip_suffix("fc.bias")?.to_owned() + "head.bias"));
    let renamed = renamed.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.pth");
    write(&renamed, Target::Torch, &path, Options::default()).unwrap();
    let copy = converters::open(&path).unwrap();
    assert!(copy.tensor("model.head.bias").is_some() && copy.tensor("model.fc.bias").is_none());
    let moved = checkpoint.renamed(&mut |name| (name == "model.fc.bias").then(|| "elsewhere".to_owned()));
    assert!(moved.unwrap_err().to_string().contains("out of its dictionary"));
    let clash =
        checkpoint.renamed(&mut |name| (name == "model.fc.bias").then(|| "model.fc.weight".to_owned()));
    assert_eq!(clash.unwrap_err().class(), converters::ErrorClass::AmbiguousName);
}

/// A header length may have 0x80 as its first byte, like a pickle.
#[test]
fn a_safetensors_file_may_begin_like_a_pickle() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let entry = r#""w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    for length in [0x80_usize, 0x280, 0x580] {
        let header = format!("{{{entry}{}}}", " ".repeat(length - entry.len() - 2));
        let bytes = [&(length as u64).to_le_bytes(), header.as_bytes(), &[7]].concat();
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(converters::open(&file).unwrap().tensors()[0].bytes().unwrap(), [7]);
    }
}

/// A class around the tensors cannot be written; the tensors can.
#[test]
fn tensors_inside_unknown_instances_are_written_or_named() {
    let source = workspace("tests/data/formats/pytorch/zip_unknown_wraps_tensor.pth");
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = converters::open(&source).unwrap();
    let path = folder.path().join("copy.pth");
    let written = write(&checkpoint, Target::Torch, &path, Options::default()).unwrap();
    assert_eq!(written.tensors, 2);
    assert_eq!(content(&converters::open(&path).unwrap()), content(&checkpoint));
    let ema = written.dropped.iter().find(|note| note.name == "ema").unwrap();
    assert_eq!(ema.reason, "the class vanished_lib.ema.EMA: its attributes are written as a dictionary");
}

#[test]
fn names_that_a_format_cannot_write_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let source = workspace("tests/data/formats/hostile/safetensors_named.pth");
    let checkpoint = converters::open(&source).unwrap();
    for (name, target) in
        [("__metadata__".to_owned(), Target::Safetensors), ("n".repeat(70_000), Target::Npz)]
    {
        let renamed = checkpoint.renamed(&mut |_| Some(name.clone())).unwrap();
        let path = folder.path().join("copy");
        let refused = write(&renamed, target, &path, Options::default()).unwrap_err().to_string();
        assert!(refused.contains("cannot be written as"), "{refused}");
        assert!(!path.exists());
    }
}
