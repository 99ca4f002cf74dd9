//! Writes a network node by node, with weights without meaning and the outputs for an input, so that other engines can
//! be given the very same one: `benches/graph_onnx.py` and `benches/against_torch.py` read it.
//!
//!     cargo run --release --example graph -- gold-yolo-n gold-yolo-n --image-size 640
//!
//! makes `gold-yolo-n.json` (nodes, parameters, outputs) and `gold-yolo-n.bin` (f32, little endian: the parameters,
//! then the input, then the outputs).

#![allow(clippy::unwrap_used)] // a tool of measurements: whatever fails, fails

use std::num::ParseIntError;

use clap::Parser;
use engine::Plan;
use network::graph::{Graph, Op, Parameter, Role, Weights, rewrite};
use network::models::{Form, Size, preset};
use serde_json::{Value as Json, json};

#[derive(Debug, Parser)]
struct Arguments {
    /// A network that port models lists
    model: String,
    /// The files' name without its ending
    out: String,
    /// Size of the input in pixels: a side, or WIDTHxHEIGHT
    #[arg(long, default_value = "320", value_parser = image_size)]
    image_size: Size,
    /// Images in a run
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// The training form instead of the deploy form
    #[arg(long)]
    training: bool,
    /// Only as far as the results of a module, such as neck
    #[arg(long)]
    until: Option<String>,
}

fn main() {
    let arguments = Arguments::parse();
    let Size { height, width } = arguments.image_size;
    let form = if arguments.training { Form::Training } else { Form::Inference };
    let model = preset(&arguments.model).unwrap().model();
    let mut graph = model.graph(form, [arguments.batch, 3, height, width]).unwrap();
    if let Some(module) = &arguments.until {
        graph = rewrite::until(&graph, module).unwrap();
    }
    let mut weights = noise(&graph);
    let input: Vec<f32> = numbers(7).take(arguments.batch * 3 * height * width).collect();
    let mut blob = Vec::new();
    let mut outputs = Vec::new();
    if !arguments.training {
        let (deployed, deployment) = rewrite::deploy(&graph);
        weights = deployment.apply(&weights).unwrap();
        graph = deployed;
        let mut plan = Plan::new(&graph, weights.clone()).unwrap();
        plan.forward(&input).unwrap();
        for (name, _) in graph.outputs() {
            let mut numbers = Vec::new();
            plan.output(name, &mut numbers).unwrap();
            outputs.push(numbers);
        }
    }
    let mut put = |numbers: &[f32]| blob.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    for parameter in graph.parameters() {
        put(&weights.get(&parameter.name).map(|array| array.data.clone()).unwrap_or_default());
    }
    put(&input);
    outputs.iter().for_each(|numbers| put(numbers));
    std::fs::write(format!("{}.bin", arguments.out), blob).unwrap();
    std::fs::write(format!("{}.json", arguments.out), description(&graph, &weights).to_string()).unwrap();
}

fn image_size(text: &str) -> Result<Size, ParseIntError> {
    let (width, height) = text.split_once('x').unwrap_or((text, text));
    Ok(Size { width: width.parse()?, height: height.parse()? })
}

/// Nodes take values by their positions in the list.
fn description(graph: &Graph, weights: &Weights) -> Json {
    let parameter = |parameter: &Parameter| {
        let count = weights.get(&parameter.name).map_or(0, |array| array.data.len());
        json!({ "name": parameter.name, "shape": parameter.shape, "count": count, "trainable": parameter.role.is_trainable() })
    };
    let nodes = graph.nodes().iter().map(|node| {
        let inputs: Vec<usize> = node.inputs.iter().map(|value| value.index()).collect();
        let parameters: Vec<usize> = node.parameters.iter().map(|id| id.index()).collect();
        let op = node.op.name();
        json!({ "op": op, "inputs": inputs, "parameters": parameters, "shape": node.shape, "attributes": attributes(&node.op) })
    });
    let outputs = graph.outputs().iter().map(|(name, value)| json!([name, value.index()]));
    json!({
        "nodes": nodes.collect::<Vec<_>>(),
        "parameters": graph.parameters().iter().map(parameter).collect::<Vec<_>>(),
        "outputs": outputs.collect::<Vec<_>>(),
    })
}

fn attributes(op: &Op) -> Json {
    match op {
        Op::Conv(conv) => json!({
            "kernel": conv.kernel, "stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation,
            "groups": conv.groups,
        }),
        Op::MaxPool(pool) | Op::AveragePool(pool) => {
            json!({ "kernel": pool.kernel, "stride": pool.stride, "padding": pool.padding })
        }
        Op::AdaptiveAveragePool { size } => json!({ "size": size }),
        Op::Resize { mode, size } => json!({ "mode": format!("{mode:?}"), "size": size }),
        Op::Concat { axis } | Op::Softmax { axis } | Op::Mean { axis } => json!({ "axis": axis }),
        Op::Slice { axis, start, length } => json!({ "axis": axis, "start": start, "length": length }),
        Op::Reshape { shape } => json!({ "shape": shape }),
        Op::Transpose { order } => json!({ "order": order }),
        Op::TopK { axis, count } => json!({ "axis": axis, "count": count }),
        Op::GroupNorm { groups, epsilon } => json!({ "groups": groups, "epsilon": epsilon }),
        Op::BatchNorm { epsilon, momentum } => json!({ "epsilon": epsilon, "momentum": momentum }),
        Op::ChannelShuffle { groups } => json!({ "groups": groups }),
        _ => json!({}),
    }
}

/// Numbers in [-1, 1) without pattern.
fn numbers(seed: u32) -> impl Iterator<Item = f32> {
    let mut state = seed;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((state >> 8) as f32 / 8_388_608.0 - 1.0)
    })
}

/// Weights that keep the size of what goes through.
fn noise(graph: &Graph) -> Weights {
    let mut numbers = numbers(1);
    Weights::fill(graph, |parameter| {
        let inputs: usize = parameter.shape.iter().skip(1).product();
        let (middle, width) = match parameter.role {
            Role::Kernel => (0.0, (3.0 / inputs.max(1) as f32).sqrt()),
            Role::NormWeight | Role::RunningVariance | Role::Scale => (1.0, 0.1),
            _ => (0.0, 0.1),
        };
        numbers.by_ref().take(parameter.elements()).map(|number| middle + width * number).collect()
    })
}
