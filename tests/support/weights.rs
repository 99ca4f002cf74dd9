//! Weights that follow from their names, and files of them.

use std::path::Path;

use network::graph::{Array, Graph, Weights};

/// The values that the reference data gives to a graph's parameters: each follows from the parameter's name.
pub fn synthetic_weights(graph: &Graph) -> Weights {
    Weights::fill(graph, |parameter| synthetic(&parameter.name, &parameter.shape))
}

/// The values that the reference data gives to a tensor of this name and shape.
pub fn synthetic(name: &str, shape: &[usize]) -> Vec<f32> {
    let fan_in = shape.iter().skip(1).product::<usize>() as f64;
    let value = |u: f64| match shape.len() {
        _ if name.ends_with("running_var") => 0.5 + u,
        _ if name.ends_with("running_mean") => 0.2 * (u - 0.5),
        _ if name.ends_with("num_batches_tracked") => 0.0,
        0 => 0.75 + 0.5 * u,
        // Without it activations of RepVGG's sums grow until nothing can be compared.
        1 if name.contains(".rbr_") && name.ends_with(".weight") => 0.5 * (0.5 + u),
        1 if name.ends_with(".weight") => 0.5 + u,
        1 => 0.2 * (u - 0.5),
        _ => (2.0 * u - 1.0) * 1.4 * (3.0 / fan_in).sqrt(),
    };
    let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    (0..shape.iter().product::<usize>() as u64).map(|index| value(uniform(seed, index)) as f32).collect()
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
