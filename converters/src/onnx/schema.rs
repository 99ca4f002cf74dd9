//! Which field of which message holds what: the field numbers of [`super::messages`] once more, for the walk that
//! [`super::budget`] does before anything is decoded. A test keeps the two together.

use super::messages as m;
use crate::value::Value;

/// The messages of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Segment,
    SparseTensor,
    ValueInfo,
    Type,
    TensorType,
    ElementType,
    MapType,
    OpaqueType,
    Shape,
    Dimension,
    OperatorSet,
    Entry,
    Annotation,
    TrainingInfo,
    Function,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// An integer or an enumeration.
    Integer,
    /// Integers, packed or one by one.
    Integers,
    /// An `f32`.
    Float,
    /// `f32`s, packed or one by one.
    Floats,
    /// Text, which is copied.
    Text,
    /// Several texts.
    Texts,
    /// Bytes, which stay in the file.
    Blob,
    /// Several pieces of bytes.
    Blobs,
    /// A message.
    Message(Kind),
    /// Several messages.
    Messages(Kind),
}

/// What the reader makes of one tensor beside its elements: name, path, view, storage and dictionary entry.
const TENSOR_READ: usize = 640;
/// What the header makes of an input or output: a dictionary of element type and shape.
const SIGNATURE_READ: usize = 512;
/// What the header makes of a key and a value.
const ENTRY_READ: usize = 2 * size_of::<Value>();

impl Kind {
    /// Memory that one message takes, decoded and as the part of the checkpoint that it becomes, without what its
    /// fields point to.
    pub(super) fn size(self) -> usize {
        match self {
            Kind::Model => size_of::<m::ModelProto>(),
            Kind::Graph => size_of::<m::GraphProto>(),
            Kind::Node => size_of::<m::NodeProto>(),
            Kind::Attribute => size_of::<m::AttributeProto>(),
            Kind::Tensor => size_of::<m::TensorProto>() + TENSOR_READ,
            Kind::Segment => size_of::<m::Segment>(),
            Kind::SparseTensor => size_of::<m::SparseTensorProto>(),
            Kind::ValueInfo => size_of::<m::ValueInfoProto>() + SIGNATURE_READ,
            Kind::Type => size_of::<m::TypeProto>(),
            Kind::TensorType => size_of::<m::TensorType>(),
            Kind::ElementType => size_of::<m::ElementType>(),
            Kind::MapType => size_of::<m::MapType>(),
            Kind::OpaqueType => size_of::<m::OpaqueType>(),
            Kind::Shape => size_of::<m::TensorShapeProto>(),
            Kind::Dimension => size_of::<m::Dimension>() + size_of::<Value>(),
            Kind::OperatorSet => size_of::<m::OperatorSetIdProto>() + ENTRY_READ,
            Kind::Entry => size_of::<m::StringStringEntryProto>() + ENTRY_READ,
            Kind::Annotation => size_of::<m::TensorAnnotation>(),
            Kind::TrainingInfo => size_of::<m::TrainingInfoProto>(),
            Kind::Function => size_of::<m::FunctionProto>(),
        }
    }

    /// What the field of this number holds; `None` for numbers that are unknown here and skipped.
    pub(super) fn field(self, number: u32) -> Option<Field> {
        match self {
            Kind::Model => model(number),
            Kind::Graph => graph(number),
            Kind::Node => node(number),
            Kind::Attribute => attribute(number),
            Kind::Tensor => tensor(number),
            Kind::SparseTensor => sparse_tensor(number),
            Kind::ValueInfo => value_info(number),
            Kind::Type => type_of_value(number),
            Kind::Function => function(number),
            Kind::TrainingInfo => training_info(number),
            _ => small(self, number),
        }
    }
}

fn model(number: u32) -> Option<Field> {
    Some(match number {
        1 | 5 => Field::Integer,
        2..=4 | 6 => Field::Text,
        7 => Field::Message(Kind::Graph),
        8 => Field::Messages(Kind::OperatorSet),
        14 => Field::Messages(Kind::Entry),
        20 => Field::Messages(Kind::TrainingInfo),
        25 => Field::Messages(Kind::Function),
        _ => return None,
    })
}

fn graph(number: u32) -> Option<Field> {
    Some(match number {
        1 => Field::Messages(Kind::Node),
        2 | 10 => Field::Text,
        5 => Field::Messages(Kind::Tensor),
        11..=13 => Field::Messages(Kind::ValueInfo),
        14 => Field::Messages(Kind::Annotation),
        15 => Field::Messages(Kind::SparseTensor),
        16 => Field::Messages(Kind::Entry),
        _ => return None,
    })
}

fn node(number: u32) -> Option<Field> {
    Some(match number {
        1 | 2 => Field::Texts,
        3 | 4 | 6..=8 => Field::Text,
        5 => Field::Messages(Kind::Attribute),
        9 => Field::Messages(Kind::Entry),
        _ => return None,
    })
}

fn attribute(number: u32) -> Option<Field> {
    Some(match number {
        1 | 13 | 21 => Field::Text,
        2 => Field::Float,
        3 | 20 => Field::Integer,
        4 => Field::Blob,
        5 => Field::Message(Kind::Tensor),
        6 => Field::Message(Kind::Graph),
        7 => Field::Floats,
        8 => Field::Integers,
        9 => Field::Blobs,
        10 => Field::Messages(Kind::Tensor),
        11 => Field::Messages(Kind::Graph),
        14 => Field::Message(Kind::Type),
        15 => Field::Messages(Kind::Type),
        22 => Field::Message(Kind::SparseTensor),
        23 => Field::Messages(Kind::SparseTensor),
        _ => return None,
    })
}

fn tensor(number: u32) -> Option<Field> {
    Some(match number {
        1 => Field::Integers,
        2 | 14 => Field::Integer,
        3 => Field::Message(Kind::Segment),
        4..=7 | 10 | 11 => Field::Blobs,
        8 | 12 => Field::Text,
        9 => Field::Blob,
        13 | 16 => Field::Messages(Kind::Entry),
        _ => return None,
    })
}

fn sparse_tensor(number: u32) -> Option<Field> {
    Some(match number {
        1 | 2 => Field::Message(Kind::Tensor),
        3 => Field::Integers,
        _ => return None,
    })
}

fn value_info(number: u32) -> Option<Field> {
    Some(match number {
        1 | 3 => Field::Text,
        2 => Field::Message(Kind::Type),
        4 => Field::Messages(Kind::Entry),
        _ => return None,
    })
}

fn type_of_value(number: u32) -> Option<Field> {
    Some(match number {
        1 | 8 => Field::Message(Kind::TensorType),
        4 | 9 => Field::Message(Kind::ElementType),
        5 => Field::Message(Kind::MapType),
        6 => Field::Text,
        7 => Field::Message(Kind::OpaqueType),
        _ => return None,
    })
}

fn function(number: u32) -> Option<Field> {
    Some(match number {
        1 | 8 | 10 | 13 => Field::Text,
        4..=6 => Field::Texts,
        7 => Field::Messages(Kind::Node),
        9 => Field::Messages(Kind::OperatorSet),
        11 => Field::Messages(Kind::Attribute),
        12 => Field::Messages(Kind::ValueInfo),
        14 => Field::Messages(Kind::Entry),
        _ => return None,
    })
}

fn training_info(number: u32) -> Option<Field> {
    Some(match number {
        1 | 2 => Field::Message(Kind::Graph),
        3 | 4 => Field::Messages(Kind::Entry),
        _ => return None,
    })
}

/// The messages of two or three fields.
fn small(kind: Kind, number: u32) -> Option<Field> {
    Some(match (kind, number) {
        (Kind::Segment, 1 | 2)
        | (Kind::TensorType | Kind::MapType | Kind::Dimension, 1)
        | (Kind::OperatorSet, 2) => Field::Integer,
        (Kind::Dimension, 2 | 3) | (Kind::OpaqueType | Kind::Entry, 1 | 2) => Field::Text,
        (Kind::OperatorSet | Kind::Annotation, 1) => Field::Text,
        (Kind::TensorType, 2) => Field::Message(Kind::Shape),
        (Kind::ElementType, 1) | (Kind::MapType, 2) => Field::Message(Kind::Type),
        (Kind::Shape, 1) => Field::Messages(Kind::Dimension),
        (Kind::Annotation, 2) => Field::Messages(Kind::Entry),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// A message with every field of the table once, and with one level of messages inside.
    fn sample(kind: Kind, deep: bool) -> Vec<u8> {
        let mut message = Vec::new();
        for number in 1..32 {
            let (wire, content) = match kind.field(number) {
                None => continue,
                Some(Field::Integer | Field::Integers) => (0, vec![1]),
                Some(Field::Float | Field::Floats) => (5, 1_f32.to_le_bytes().to_vec()),
                Some(Field::Text | Field::Texts) => (2, b"\x01a".to_vec()),
                // No UTF-8 and no number: only a field of bytes takes it.
                Some(Field::Blob | Field::Blobs) => (2, vec![1, 0xff]),
                Some(Field::Message(inner) | Field::Messages(inner)) => {
                    let inner = if deep { sample(inner, false) } else { Vec::new() };
                    let mut delimited = Vec::new();
                    prost::encoding::encode_varint(inner.len() as u64, &mut delimited);
                    delimited.extend(inner);
                    (2, delimited)
                }
            };
            prost::encoding::encode_varint(u64::from(number << 3 | wire), &mut message);
            message.extend(content);
        }
        message
    }

    /// Whether a message inside has fields that exclude each other.
    fn holds_unions(kind: Kind) -> bool {
        matches!(kind, Kind::ValueInfo | Kind::Attribute | Kind::Shape | Kind::ElementType | Kind::MapType)
    }

    /// What is written again is as long as what was read: no field is unknown to the messages, and none has
    /// another type there. Numbers that the table lacks must be unknown to the messages too.
    fn agrees<M: Message + Default + PartialEq + std::fmt::Debug>(kind: Kind) {
        let sample = sample(kind, !holds_unions(kind));
        let decoded = M::decode(&*sample).unwrap();
        assert_eq!(decoded.encoded_len(), sample.len(), "{kind:?}: {decoded:?}");
        for number in (1..40).filter(|number| kind.field(*number).is_none()) {
            let mut unknown = Vec::new();
            prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut unknown);
            unknown.extend([1, b'a']);
            assert!(M::decode(&*unknown).is_ok_and(|message| message == M::default()), "{kind:?} {number}");
        }
    }

    /// Of a union only the last one read is kept: each of its fields is tried alone.
    fn union_agrees<M: Message + Default>(kind: Kind) {
        for number in (1..32).filter(|number| kind.field(*number).is_some()) {
            let (wire, content) = match kind.field(number) {
                Some(Field::Integer) => (0, &[1][..]),
                Some(Field::Text) => (2, b"\x01a".as_slice()),
                _ => (2, &[0][..]),
            };
            let message = [&[(number << 3 | wire) as u8], content].concat();
            assert_eq!(M::decode(&*message).unwrap().encoded_len(), message.len(), "{kind:?} {number}");
        }
    }

    #[test]
    fn the_table_agrees_with_the_messages() {
        agrees::<m::ModelProto>(Kind::Model);
        agrees::<m::GraphProto>(Kind::Graph);
        agrees::<m::NodeProto>(Kind::Node);
        agrees::<m::AttributeProto>(Kind::Attribute);
        agrees::<m::TensorProto>(Kind::Tensor);
        agrees::<m::Segment>(Kind::Segment);
        agrees::<m::SparseTensorProto>(Kind::SparseTensor);
        agrees::<m::ValueInfoProto>(Kind::ValueInfo);
        union_agrees::<m::TypeProto>(Kind::Type);
        agrees::<m::TensorType>(Kind::TensorType);
        agrees::<m::ElementType>(Kind::ElementType);
        agrees::<m::MapType>(Kind::MapType);
        agrees::<m::OpaqueType>(Kind::OpaqueType);
        agrees::<m::TensorShapeProto>(Kind::Shape);
        union_agrees::<m::Dimension>(Kind::Dimension);
        agrees::<m::OperatorSetIdProto>(Kind::OperatorSet);
        agrees::<m::StringStringEntryProto>(Kind::Entry);
        agrees::<m::TensorAnnotation>(Kind::Annotation);
        agrees::<m::TrainingInfoProto>(Kind::TrainingInfo);
        agrees::<m::FunctionProto>(Kind::Function);
    }
}
