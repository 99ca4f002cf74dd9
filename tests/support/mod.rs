//! What the integration tests share.

#![allow(dead_code)] // every test uses some of it

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use converters::{Checkpoint, Dtype};
use port::graph::{Array, Graph, Parameter, Weights};
use port::runtime::{Executor, NormStatistics, Parameters, to_f64};

/// The folder `name` of the reference data beside the repository. Where there is none the test that asks says so
/// and passes; the project's own continuous integration has the data and may not do without.
pub fn reference(name: &str) -> Option<PathBuf> {
    shared("reference", name)
}

/// The data set `name` beside the repository, with the same habits.
pub fn data_set(name: &str) -> Option<PathBuf> {
    shared("data", name)
}

fn shared(kind: &str, name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(kind).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "no reference data at {}", folder.display());
    eprintln!("SKIPPED: no reference data at {}", folder.display());
    None
}

/// The values of an f32 tensor.
pub fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let tensor = checkpoint.tensor(name).unwrap_or_else(|| panic!("no tensor {name}"));
    assert_eq!(tensor.dtype(), Dtype::F32, "{name}");
    let bytes = tensor.bytes().unwrap();
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// The input of a recording.
pub fn input(recording: &Checkpoint) -> Tensor {
    let shape = recording.tensor("input").unwrap().shape().to_vec();
    Tensor::from_vec(values(recording, "input"), shape, &Device::Cpu).unwrap()
}

/// Every named value of a run in f32.
pub fn taps(graph: &Graph, weights: &Weights, input: &Tensor) -> HashMap<String, Tensor> {
    let parameters = Parameters::frozen(graph, weights, DType::F32).unwrap();
    let executor = Executor::new(graph, &parameters, NormStatistics::Running);
    let mut by_value = HashMap::new();
    executor.observe(input, |value, tensor| drop(by_value.insert(value, tensor.clone()))).unwrap();
    graph.taps().iter().map(|tap| (tap.path.clone(), by_value[&tap.value].clone())).collect()
}

/// The largest difference, relative to the tensor's largest magnitude.
pub fn error(ours: &Tensor, recording: &Checkpoint, name: &str) -> f64 {
    assert_eq!(ours.dims(), recording.tensor(name).unwrap().shape(), "{name}");
    let theirs = values(recording, name);
    let largest = theirs.iter().fold(0.0, |largest, value| f64::max(largest, f64::from(value.abs())));
    let ours = to_f64(ours).unwrap();
    let differences = ours.iter().zip(theirs).map(|(a, b)| (a - f64::from(b)).abs());
    differences.fold(0.0, f64::max) / largest
}

/// The values that the reference data gives to a graph's parameters: each follows from the parameter's name.
pub fn synthetic_weights(graph: &Graph) -> Weights {
    Weights::fill(graph, synthetic)
}

fn synthetic(parameter: &Parameter) -> Vec<f32> {
    let Parameter { name, shape, .. } = parameter;
    let fan_in = shape.iter().skip(1).product::<usize>() as f64;
    let value = |u: f64| match shape.len() {
        _ if name.ends_with("running_var") => 0.5 + u,
        _ if name.ends_with("running_mean") => 0.2 * (u - 0.5),
        _ if name.ends_with("num_batches_tracked") => 0.0,
        0 => 0.75 + 0.5 * u,
        1 if name.ends_with(".weight") => 0.5 + u,
        1 => 0.2 * (u - 0.5),
        _ => (2.0 * u - 1.0) * 1.4 * (3.0 / fan_in).sqrt(),
    };
    let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    (0..parameter.elements() as u64).map(|index| value(uniform(seed, index)) as f32).collect()
}

/// SplitMix64 at a position, as a number in [0, 1).
fn uniform(seed: u64, index: u64) -> f64 {
    let mut z = seed.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 40) as f64 / f64::from(1 << 24)
}

/// A safetensors file of f32 arrays.
pub fn write_safetensors(file: &Path, arrays: &[(String, Array)]) {
    let (mut header, mut body) = (serde_json::Map::new(), Vec::new());
    for (name, array) in arrays {
        let start = body.len();
        body.extend(array.data.iter().flat_map(|value| value.to_le_bytes()));
        let entry = serde_json::json!({
            "dtype": "F32", "shape": array.shape, "data_offsets": [start, body.len()],
        });
        header.insert(name.clone(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(file, [&length[..], &header, &body].concat()).unwrap();
}
