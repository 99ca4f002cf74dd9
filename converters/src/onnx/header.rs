//! What a model says about itself: versions, producer, operator sets, inputs and outputs.

use std::collections::HashSet;

use super::messages::{
    DataType, Dimension, DimensionValue, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto,
    TensorType, TypeProto, TypeValue, ValueInfoProto,
};
use super::payload;
use crate::value::Value;

/// The name of ONNX's own operator set, which models leave empty.
const DEFAULT_DOMAIN: &str = "ai.onnx";

/// The header as a dictionary. Empty fields are left out.
pub(super) fn header(model: ModelProto) -> Value {
    let mut entries = vec![("ir_version".to_owned(), Value::Int(model.ir_version))];
    let texts = [
        ("producer_name", model.producer_name),
        ("producer_version", model.producer_version),
        ("domain", model.domain),
        ("doc_string", model.doc_string),
    ];
    for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        entries.push((key.to_owned(), Value::Text(text)));
    }
    if model.model_version != 0 {
        entries.push(("model_version".to_owned(), Value::Int(model.model_version)));
    }
    entries.push(("opset_import".to_owned(), operator_sets(model.opset_import)));
    if !model.metadata_props.is_empty() {
        entries.push(("metadata_props".to_owned(), properties(model.metadata_props)));
    }
    entries.extend(model.graph.into_iter().flat_map(describe));
    Value::dict(entries)
}

fn operator_sets(sets: Vec<OperatorSetIdProto>) -> Value {
    Value::dict(sets.into_iter().map(|set| {
        let domain = if set.domain.is_empty() { DEFAULT_DOMAIN.to_owned() } else { set.domain };
        (domain, Value::Int(set.version))
    }))
}

fn properties(entries: Vec<StringStringEntryProto>) -> Value {
    Value::dict(entries.into_iter().map(|entry| (entry.key, Value::Text(entry.value))))
}

/// Name, inputs and outputs of the graph. Old models list their weights among the inputs.
fn describe(graph: GraphProto) -> Vec<(String, Value)> {
    let weights: HashSet<String> = graph.initializer.into_iter().map(|tensor| tensor.name).collect();
    let inputs = graph.input.into_iter().filter(|input| !weights.contains(&input.name));
    vec![
        ("graph".to_owned(), Value::Text(graph.name)),
        ("inputs".to_owned(), Value::dict(inputs.map(signature))),
        ("outputs".to_owned(), Value::dict(graph.output.into_iter().map(signature))),
    ]
}

fn signature(value: ValueInfoProto) -> (String, Value) {
    (value.name, value.r#type.map_or(Value::None, kind))
}

fn kind(kind: TypeProto) -> Value {
    match kind.value {
        Some(TypeValue::Tensor(tensor)) => tensor_type(tensor),
        Some(TypeValue::SparseTensor(_)) => Value::Text("sparse tensor".to_owned()),
        Some(TypeValue::Sequence(_)) => Value::Text("sequence".to_owned()),
        Some(TypeValue::Map(_)) => Value::Text("map".to_owned()),
        Some(TypeValue::Optional(_)) => Value::Text("optional".to_owned()),
        Some(TypeValue::Opaque(opaque)) => Value::Text(opaque.name),
        None => Value::None,
    }
}

/// Element type and, where the number of dimensions is known, shape.
fn tensor_type(tensor: TensorType) -> Value {
    let dtype = match DataType::try_from(tensor.elem_type) {
        Ok(kind) => payload::dtype(kind).map_or_else(|| kind.name(), |dtype| dtype.name().to_owned()),
        Err(_) => format!("data_type {}", tensor.elem_type),
    };
    let shape = tensor.shape.map(|shape| Value::List(shape.dim.into_iter().map(dimension).collect()));
    let entries = [Some(("dtype", Value::Text(dtype))), shape.map(|shape| ("shape", shape))];
    Value::dict(entries.into_iter().flatten().map(|(key, value)| (key.to_owned(), value)))
}

/// A size, the name of one that is left open, or nothing.
fn dimension(dimension: Dimension) -> Value {
    match dimension.value {
        Some(DimensionValue::Size(size)) => Value::Int(size),
        Some(DimensionValue::Symbol(name)) => Value::Text(name),
        None => Value::None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::{TensorProto, TensorShapeProto};
    use super::*;
    use crate::Key;

    fn key(text: &str) -> Key {
        Key::Text(text.to_owned())
    }

    #[test]
    fn inputs_are_those_that_are_no_weights() {
        let sizes = [Some(DimensionValue::Size(1)), Some(DimensionValue::Symbol("H".to_owned())), None];
        let dim = sizes.into_iter().map(|value| Dimension { value, ..Dimension::default() }).collect();
        let tensor = TensorType { elem_type: 10, shape: Some(TensorShapeProto { dim }) };
        let r#type = Some(TypeProto { value: Some(TypeValue::Tensor(tensor)), ..TypeProto::default() });
        let named = |name: &str| ValueInfoProto {
            name: name.to_owned(),
            r#type: r#type.clone(),
            ..ValueInfoProto::default()
        };
        let graph = GraphProto {
            input: vec![named("images"), named("conv.weight")],
            initializer: vec![TensorProto { name: "conv.weight".to_owned(), ..TensorProto::default() }],
            ..GraphProto::default()
        };
        let header = header(ModelProto { graph: Some(graph), ..ModelProto::default() });
        let inputs = header.get(&key("inputs")).unwrap();
        assert!(inputs.get(&key("conv.weight")).is_none());
        let shape = Value::List(vec![Value::Int(1), Value::Text("H".to_owned()), Value::None]);
        let wanted = [("dtype", Value::Text("f16".to_owned())), ("shape", shape)];
        let wanted = Value::dict(wanted.map(|(key, value)| (key.to_owned(), value)));
        assert_eq!(inputs.get(&key("images")), Some(&wanted));
        assert!(header.get(&key("doc_string")).is_none());
    }
}
