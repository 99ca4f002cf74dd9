//! The ONNX reader against `onnx-protobuf`, an independent implementation of the messages.
//!
//! Models are built and written by the other library and must read back to the same bytes, wherever the data
//! stand: in `raw_data`, in the typed fields, in another file, in an initializer, a Constant node or a branch.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed expectation ends the test")]

use std::path::{Path, PathBuf};

use converters::{Checkpoint, Dtype, ErrorClass, Format, Key, Value};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::{DataLocation, DataType};
use onnx_protobuf::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto,
};
use proptest::prelude::*;
use tempfile::TempDir;

/// Where the elements of a tensor are written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    Raw,
    Typed,
    External,
}

/// Where in the model the tensor stands.
#[derive(Debug, Clone, Copy)]
enum Home {
    Initializer,
    Constant,
    Branch,
}

/// A tensor and its row-major little-endian bytes.
#[derive(Debug, Clone)]
struct Sample {
    dtype: Dtype,
    dims: Vec<usize>,
    bytes: Vec<u8>,
    layout: Layout,
    home: Home,
}

fn sample() -> impl Strategy<Value = Sample> {
    let dims = prop::collection::vec(0_usize..5, 0..4);
    let layout = prop_oneof![Just(Layout::Raw), Just(Layout::Typed), Just(Layout::External)];
    let home = prop_oneof![Just(Home::Initializer), Just(Home::Constant), Just(Home::Branch)];
    (prop::sample::select(&Dtype::ALL), dims, layout, home).prop_flat_map(|(dtype, dims, layout, home)| {
        let len = dims.iter().product::<usize>() * dtype.size();
        // Both short and long varints, and patterns of every kind.
        let byte = prop_oneof![Just(0), Just(0xff), any::<u8>()];
        prop::collection::vec(byte, len).prop_map(move |mut bytes| {
            if dtype == Dtype::Bool {
                bytes.iter_mut().for_each(|byte| *byte &= 1);
            }
            Sample { dtype, dims: dims.clone(), bytes, layout, home }
        })
    })
}

fn data_type(dtype: Dtype) -> DataType {
    match dtype {
        Dtype::F64 => DataType::DOUBLE,
        Dtype::F32 => DataType::FLOAT,
        Dtype::F16 => DataType::FLOAT16,
        Dtype::Bf16 => DataType::BFLOAT16,
        Dtype::F8E4M3 => DataType::FLOAT8E4M3FN,
        Dtype::F8E5M2 => DataType::FLOAT8E5M2,
        Dtype::I64 => DataType::INT64,
        Dtype::I32 => DataType::INT32,
        Dtype::I16 => DataType::INT16,
        Dtype::I8 => DataType::INT8,
        Dtype::U64 => DataType::UINT64,
        Dtype::U32 => DataType::UINT32,
        Dtype::U16 => DataType::UINT16,
        Dtype::U8 => DataType::UINT8,
        Dtype::Bool => DataType::BOOL,
        Dtype::C64 => DataType::COMPLEX64,
        Dtype::C128 => DataType::COMPLEX128,
    }
}

/// The little-endian words of `bytes`.
fn words<const N: usize, T>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    bytes.chunks_exact(N).map(|word| from(word.try_into().unwrap())).collect()
}

/// The integers that ONNX puts into `int32_data`: values, or the bit patterns of floats.
fn int32_data(dtype: Dtype, bytes: &[u8]) -> Vec<i32> {
    match dtype {
        Dtype::I32 => words(bytes, i32::from_le_bytes),
        Dtype::I16 => words(bytes, |word| i16::from_le_bytes(word).into()),
        Dtype::I8 => words(bytes, |word| i8::from_le_bytes(word).into()),
        Dtype::F16 | Dtype::Bf16 | Dtype::U16 => words(bytes, |word| u16::from_le_bytes(word).into()),
        _ => words(bytes, |[byte]| byte.into()),
    }
}

fn entry(key: &str, value: String) -> StringStringEntryProto {
    StringStringEntryProto { key: key.to_owned(), value, ..Default::default() }
}

impl Sample {
    /// The message, in the layout of the sample; external data are appended to `external`.
    fn proto(&self, name: &str, external: &mut Vec<u8>) -> TensorProto {
        let mut tensor = TensorProto::new();
        tensor.name = name.to_owned();
        tensor.data_type = data_type(self.dtype) as i32;
        tensor.dims = self.dims.iter().map(|size| *size as i64).collect();
        match self.layout {
            Layout::Raw => tensor.raw_data.clone_from(&self.bytes),
            Layout::Typed => self.fill(&mut tensor),
            Layout::External => {
                tensor.data_location = DataLocation::EXTERNAL.into();
                tensor.external_data = vec![
                    entry("location", "data/weights.bin".to_owned()),
                    entry("offset", external.len().to_string()),
                    entry("length", self.bytes.len().to_string()),
                ];
                external.extend(&self.bytes);
            }
        }
        tensor
    }

    fn fill(&self, tensor: &mut TensorProto) {
        match self.dtype {
            Dtype::F32 | Dtype::C64 => tensor.float_data = words(&self.bytes, f32::from_le_bytes),
            Dtype::F64 | Dtype::C128 => tensor.double_data = words(&self.bytes, f64::from_le_bytes),
            Dtype::I64 => tensor.int64_data = words(&self.bytes, i64::from_le_bytes),
            Dtype::U64 => tensor.uint64_data = words(&self.bytes, u64::from_le_bytes),
            Dtype::U32 => tensor.uint64_data = words(&self.bytes, |word| u32::from_le_bytes(word).into()),
            _ => tensor.int32_data = int32_data(self.dtype, &self.bytes),
        }
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.to_owned(), type_: kind.into(), ..Default::default() }
}

fn node(op_type: &str, output: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op_type.to_owned(),
        output: vec![output.to_owned()],
        attribute: attributes,
        ..Default::default()
    }
}

/// A Constant node; its tensor has a name of its own that nobody refers to.
fn constant(name: &str, mut tensor: TensorProto) -> NodeProto {
    tensor.name = "unused".to_owned();
    node(
        "Constant",
        name,
        vec![AttributeProto { t: Some(tensor).into(), ..attribute("value", AttributeType::TENSOR) }],
    )
}

/// Puts each sample, named `t0`, `t1`, ..., where it wants to stand.
fn build(samples: &[Sample]) -> (ModelProto, Vec<u8>) {
    let (mut graph, mut branch, mut external) = (GraphProto::new(), GraphProto::new(), Vec::new());
    for (i, sample) in samples.iter().enumerate() {
        let name = format!("t{i}");
        let tensor = sample.proto(&name, &mut external);
        match sample.home {
            Home::Initializer => graph.initializer.push(tensor),
            Home::Constant => graph.node.push(constant(&name, tensor)),
            Home::Branch => branch.initializer.push(tensor),
        }
    }
    let body = AttributeProto { g: Some(branch).into(), ..attribute("body", AttributeType::GRAPH) };
    graph.node.push(node("Loop", "y", vec![body]));
    (model(graph), external)
}

fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: 8,
        producer_name: "oracle".to_owned(),
        graph: Some(graph).into(),
        opset_import: vec![OperatorSetIdProto { version: 17, ..Default::default() }],
        ..Default::default()
    }
}

/// Writes a model, and external data beside it, and opens it.
fn open(model: &ModelProto, external: &[u8]) -> (TempDir, converters::Result<Checkpoint>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/weights.bin"), external).unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.write_to_bytes().unwrap()).unwrap();
    let opened = converters::open(&path);
    (folder, opened)
}

proptest! {
    /// Whatever another library writes is read back to the last bit.
    #[test]
    fn models_of_another_library_read_back(samples in prop::collection::vec(sample(), 1..8)) {
        let (model, external) = build(&samples);
        let (_folder, checkpoint) = open(&model, &external);
        let checkpoint = checkpoint.unwrap();
        prop_assert_eq!(checkpoint.tensors().len(), samples.len());
        let outside = samples.iter().any(|sample| sample.layout == Layout::External);
        prop_assert_eq!(checkpoint.format(), if outside { Format::OnnxExternal } else { Format::Onnx });
        for (i, sample) in samples.iter().enumerate() {
            let tensor = checkpoint.tensor(&format!("t{i}")).unwrap();
            prop_assert_eq!(tensor.dtype(), sample.dtype);
            prop_assert_eq!(tensor.shape(), &*sample.dims);
            prop_assert_eq!(tensor.bytes().unwrap(), &*sample.bytes, "{:?}", sample);
        }
    }

    /// One element more or less than the shape says is an error that names the tensor.
    #[test]
    fn wrong_lengths_are_refused(sample in sample(), more in any::<bool>()) {
        let mut tensor = sample.proto("odd one", &mut Vec::new());
        prop_assume!(sample.layout != Layout::External && !tensor.dims.contains(&0));
        match more {
            true => tensor.dims.insert(0, 2),
            false => tensor.dims = vec![0],
        }
        let graph = GraphProto { initializer: vec![tensor], ..Default::default() };
        let error = open(&model(graph), &[]).1.unwrap_err();
        prop_assert_eq!(error.class(), ErrorClass::Corrupt);
        prop_assert!(error.to_string().contains("odd one"), "{}", error);
    }

    /// Numbers in attributes. Newer protobuf leaves zeros out, and the other library takes -0.0 for one.
    #[test]
    fn constants_of_numbers_read_back(f in any::<f32>(), i in -2_i64..3, ints in prop::collection::vec(any::<i64>(), 0..5)) {
        let f = if f == 0.0 { 0.0 } else { f };
        let float = AttributeProto { f, ..attribute("value_float", AttributeType::FLOAT) };
        let int = AttributeProto { i, ..attribute("value_int", AttributeType::INT) };
        let list = AttributeProto { ints: ints.clone(), ..attribute("value_ints", AttributeType::INTS) };
        let nodes = [("f", float), ("i", int), ("ints", list)];
        let nodes = nodes.map(|(name, value)| node("Constant", name, vec![value]));
        let graph = GraphProto { node: nodes.into(), ..Default::default() };
        let checkpoint = open(&model(graph), &[]).1.unwrap();
        let bytes = |name| checkpoint.tensor(name).unwrap().bytes().unwrap();
        prop_assert_eq!(bytes("f"), f.to_le_bytes());
        prop_assert_eq!(bytes("i"), i.to_le_bytes());
        prop_assert_eq!(checkpoint.tensor("ints").unwrap().shape(), &[ints.len()]);
        prop_assert_eq!(bytes("ints"), ints.into_iter().flat_map(i64::to_le_bytes).collect::<Vec<_>>());
    }
}

#[test]
fn the_header_tells_who_made_the_model() {
    let graph = GraphProto {
        name: "detector".to_owned(),
        initializer: vec![TensorProto {
            name: "w".to_owned(),
            data_type: 1,
            dims: vec![0],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut model = model(graph);
    model.metadata_props = vec![entry("names", "{0: 'person'}".to_owned())];
    let checkpoint = open(&model, &[]).1.unwrap();
    let header = |path: &[&str]| {
        path.iter().try_fold(checkpoint.header().clone(), |value, step| {
            value.get(&Key::Text((*step).to_owned())).cloned()
        })
    };
    assert_eq!(header(&["producer_name"]), Some(Value::Text("oracle".to_owned())));
    assert_eq!(header(&["opset_import", "ai.onnx"]), Some(Value::Int(17)));
    assert_eq!(header(&["metadata_props", "names"]), Some(Value::Text("{0: 'person'}".to_owned())));
    assert_eq!(header(&["graph"]), Some(Value::Text("detector".to_owned())));
    assert_eq!(header(&["doc_string"]), None);
}

#[test]
fn a_model_without_tensors_says_so() {
    let error = open(&model(GraphProto::new()), &[]).1.unwrap_err();
    assert_eq!(error.class(), ErrorClass::NoTensors);
}

/// Branches of one If may use a name twice; as flat names the tensors cannot be told apart.
#[test]
fn a_name_in_two_branches_is_ambiguous() {
    let graph = || {
        let tensor = TensorProto { name: "w".to_owned(), data_type: 1, dims: vec![0], ..Default::default() };
        GraphProto { initializer: vec![tensor], ..Default::default() }
    };
    let branch = |name| AttributeProto { g: Some(graph()).into(), ..attribute(name, AttributeType::GRAPH) };
    let choice = node("If", "y", vec![branch("else_branch"), branch("then_branch")]);
    let error = open(&model(GraphProto { node: vec![choice], ..Default::default() }), &[]).1.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AmbiguousName, "{error}");
}

fn corpus() -> Option<PathBuf> {
    crate::support::reference("formats/onnx")
}

/// Names, types and shapes of the weights as both libraries see them; returns how many.
fn compare(path: &Path, checkpoint: &Checkpoint) -> usize {
    let model = ModelProto::parse_from_bytes(&std::fs::read(path).unwrap()).unwrap();
    let texts = DataType::STRING as i32;
    let theirs = model.graph.initializer.iter().filter(|tensor| tensor.data_type != texts);
    theirs
        .map(|theirs| {
            let ours = checkpoint.tensor(&theirs.name).unwrap();
            let dims: Vec<i64> = ours.shape().iter().map(|size| *size as i64).collect();
            assert_eq!(dims, theirs.dims, "{} `{}`", path.display(), theirs.name);
            assert_eq!(data_type(ours.dtype()) as i32, theirs.data_type);
        })
        .count()
}

#[test]
fn both_libraries_agree_on_the_corpus() {
    let Some(folder) = corpus() else { return };
    let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
    let mut compared = 0;
    for case in expected["cases"].as_array().unwrap().iter().filter(|case| case["outcome"] == "ok") {
        let path = folder.join(case["file"].as_str().unwrap());
        match converters::open(&path) {
            Ok(checkpoint) => compared += compare(&path, &checkpoint),
            Err(error) => assert_eq!(case["may_refuse"], "unsupported", "{error}"),
        }
    }
    assert!(compared > 40, "only {compared} tensors were compared");
}

/// Detectors exported by PyTorch, with both of its exporters.
#[test]
fn both_libraries_agree_on_real_models() {
    let Some(folder) = corpus() else { return };
    let mut compared = 0;
    for network in ["nanodet-plus", "gold-yolo", "gfocal-v2"] {
        let weights = folder.join("../..").join(network).join("weights");
        let Ok(files) = std::fs::read_dir(&weights) else {
            eprintln!("SKIPPED: no models at {}", weights.display());
            continue;
        };
        let paths = files.map(|file| file.unwrap().path());
        for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "onnx")) {
            compared += compare(&path, &converters::open(&path).unwrap());
        }
    }
    println!("{compared} weights agree");
}

/// Opens the damaged bytes and reads every tensor.
fn read_damaged(folder: &TempDir, damaged: &[u8]) -> converters::Result<()> {
    let path = folder.path().join("damaged.onnx");
    std::fs::write(&path, damaged).unwrap();
    let checkpoint = converters::open(&path)?;
    checkpoint.tensors().iter().try_for_each(|tensor| tensor.bytes().map(drop))
}

/// The fields that every model needs stand at its end, so that no cut goes unnoticed.
#[test]
fn every_cut_is_noticed() {
    let Some(corpus) = corpus() else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in ["typed_data.onnx", "constants.onnx", "raw_data.onnx", "qdq_int8.onnx"] {
        let whole = std::fs::read(corpus.join(name)).unwrap();
        for len in 1..whole.len() {
            let error = read_damaged(&folder, &whole[..len]).unwrap_err();
            assert_eq!(error.class(), ErrorClass::Truncated, "{name} cut to {len} bytes: {error}");
        }
    }
}

/// A flipped bit of a weight cannot be noticed, there is no checksum; a panic would be.
#[test]
fn flipped_bits_never_panic() {
    let Some(corpus) = corpus() else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in ["typed_data.onnx", "constants.onnx", "constant_in_subgraph.onnx"] {
        let whole = std::fs::read(corpus.join(name)).unwrap();
        let mut refused = 0;
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            refused += usize::from(read_damaged(&folder, &damaged).is_err());
        }
        assert!(refused > whole.len(), "{name}: only {refused} flips were refused");
    }
}
