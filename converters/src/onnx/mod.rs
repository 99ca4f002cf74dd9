//! ONNX models: the weights of a network, with or without external data files.
//!
//! A model is one protobuf message without magic number or checksum. [`budget`] walks over the bytes and refuses
//! what is damaged, too deep or too costly; then [`messages`] decodes them without touching tensor data;
//! [`tensors`] finds the initializers and the Constant nodes, in subgraphs too, [`payload`] and [`external`]
//! their bytes. What describes the model as a whole becomes the [`header`].
//!
//! Tensors are named as the graph refers to them: an initializer by its own name, the value of a Constant node by
//! the node's output. Tensor attributes of other nodes (the fill value of ConstantOfShape) parametrise the network
//! and are not listed, and neither are texts.

mod budget;
mod external;
mod header;
pub mod messages;
mod payload;
mod schema;
mod tensors;
mod varint;

use prost::Message;

use crate::checkpoint::Checkpoint;
use crate::error::{Error, InFile, Problem, Result};
use crate::format::Format;
use crate::source::Source;
use messages::ModelProto;

/// The IR version that made operator sets mandatory.
const IR_WITH_OPERATOR_SETS: i64 = 3;

/// Whether `bytes` begin like a model: field 1, the IR version, below 128 since 2017, then the key of a field
/// that a model has. There is no magic number, so ask the other formats first.
pub(crate) fn recognises(bytes: &[u8]) -> bool {
    match bytes {
        [0x08] | [0x08, 1..0x80] => true,
        // The number is longer than any version: damaged or endless, but begun as a model begins.
        [0x08, 0x80..=0xff, ..] => true,
        [0x08, 1..0x80, rest @ ..] => match varint::read(rest) {
            Some((key, _)) => u32::try_from(key).is_ok_and(belongs_to_model),
            None => rest.len() < varint::LONGEST,
        },
        _ => false,
    }
}

/// Whether `key` is a field of a model with the wire type that belongs to it.
fn belongs_to_model(key: u32) -> bool {
    match schema::Kind::Model.field(key >> 3) {
        Some(schema::Field::Integer) => key & 7 == 0,
        Some(_) => key & 7 == 2,
        None => false,
    }
}

/// Reads the model and finds its tensors.
///
/// # Errors
/// When the model is truncated, damaged or beyond the limits, when external data are missing or lie elsewhere,
/// and when a tensor is of a type that has no counterpart here.
pub(crate) fn read(source: &Source) -> Result<Checkpoint> {
    let model = decode(source).in_file(&source.path)?;
    let found = tensors::collect(&model, source)?;
    if found.tensors.is_empty() {
        return Err(Error::new(&*source.path, Problem::NoTensors));
    }
    let format = if found.external { Format::OnnxExternal } else { Format::Onnx };
    let mut checkpoint = Checkpoint::flat(&source.path, format, found.tensors, header::header(model))?;
    checkpoint.notes = found.notes;
    Ok(checkpoint)
}

/// The model as messages. Fields are written in the order of their numbers, so one that was cut between two of
/// them lacks the later ones.
fn decode(source: &Source) -> std::result::Result<ModelProto, Problem> {
    budget::check(&source.bytes)?;
    let model = ModelProto::decode(source.bytes.clone())
        .map_err(|_| Problem::malformed("the model", "its messages cannot be decoded"))?;
    if model.graph.is_none() {
        return Err(Problem::EndMissing { what: "the model ends before its graph" });
    }
    if model.opset_import.is_empty() && model.ir_version >= IR_WITH_OPERATOR_SETS {
        return Err(Problem::EndMissing { what: "the model ends before its operator sets (opset_import)" });
    }
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_recognised_by_their_first_fields() {
        for model in [&[8, 8][..], &[8, 8, 0x12], &[8, 8, 0x3a, 0xff], &[8, 0xff, 0xff], &[8, 3, 0xca, 1, 0]]
        {
            assert!(recognises(model), "{model:?}");
        }
        let safetensors = [8, 0, 0, 0, 0, 0, 0, 0, b'{'];
        for other in
            [&[][..], &[8, 0], &[0x3d, 0, 0, 0, 0], &[8, 8, 0x13], &[8, 8, 0], b"\x08\x08text", &safetensors]
        {
            assert!(!recognises(other), "{other:?}");
        }
    }
}
