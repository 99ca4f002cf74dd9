//! A walk over the wire format before anything is decoded: is it well formed, and what will decoding cost?
//!
//! Four bytes of a file can become two kilobytes in memory (a node with an empty attribute), so a model may cost
//! at most [`limits::MAX_DECODED_RATIO`] times its size plus [`limits::MAX_DECODED_BASE`]. Tensor data stay in
//! the file and cost nothing. What passes here also decodes: truncation, malformed numbers, wrong wire types and
//! too deep nesting are told apart here, with their offset, so that the decoder's own errors need no reading.

use super::schema::{Field, Kind};
use super::varint;
use crate::error::Problem;
use crate::limits;

/// Longest run of messages inside each other, the model not counted. The decoder's limit is one more.
const MAX_NESTING: usize = 99;
/// What the allocator adds to a piece of memory.
const ALLOCATION: usize = 16;
/// Field numbers are below this; larger ones are unknown.
const FIELDS: usize = 32;

/// Wire types of protobuf. 3 and 4 delimit groups, which ONNX never had.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

/// Checks that `bytes` are a well-formed model that can be decoded within the limits.
///
/// # Errors
/// [`Problem::Truncated`] when a field of the model reaches beyond the end, [`Problem::Malformed`] and
/// [`Problem::Contradiction`] for damage inside, [`Problem::Limit`] for depth and memory.
pub(super) fn check(bytes: &[u8]) -> Result<(), Problem> {
    let ratio = limits::MAX_DECODED_RATIO.saturating_mul(bytes.len() as u64);
    let limit = ratio.saturating_add(limits::MAX_DECODED_BASE);
    let mut walk = Walk { bytes, at: 0, spent: 0, limit };
    walk.message(Kind::Model, Frame { end: bytes.len(), depth: 0 })
}

/// The message that is being walked over.
#[derive(Debug, Clone, Copy)]
struct Frame {
    end: usize,
    depth: usize,
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes of memory so far.
    spent: u64,
    limit: u64,
}

impl Walk<'_> {
    fn message(&mut self, kind: Kind, frame: Frame) -> Result<(), Problem> {
        if frame.depth > MAX_NESTING {
            return Err(Problem::Limit {
                place: place(self.at),
                what: format!("a graph nested {} messages deep", frame.depth),
                limit: MAX_NESTING as u64,
            });
        }
        let mut counts = [0_usize; FIELDS];
        while self.at < frame.end {
            let start = self.at;
            let (number, wire) = self.key(frame)?;
            let count = counts.get_mut(number as usize);
            match (kind.field(number), count) {
                (Some(field), Some(count)) => self.field(field, wire, frame, count, start)?,
                _ => self.skip(wire, frame)?,
            }
        }
        Ok(())
    }

    /// A known field; `count` is the number of elements that came before in the same list.
    fn field(
        &mut self,
        field: Field,
        wire: u8,
        frame: Frame,
        count: &mut usize,
        start: usize,
    ) -> Result<(), Problem> {
        match (field, wire) {
            (Field::Integer, VARINT) => self.varint(frame).map(drop),
            (Field::Integers, VARINT) => {
                self.varint(frame)?;
                self.grow(count, 1, size_of::<i64>())
            }
            (Field::Float, FIXED32) => self.advance(4, frame).map(drop),
            (Field::Floats, FIXED32) => {
                self.advance(4, frame)?;
                self.grow(count, 1, size_of::<f32>())
            }
            (Field::Integer | Field::Float, _) => Err(wrong_type(start)),
            (_, LENGTH) => {
                let end = self.length(frame)?;
                self.delimited(field, Frame { end, depth: frame.depth + 1 }, count)
            }
            _ => Err(wrong_type(start)),
        }
    }

    /// The content of a field with a length, which lies between here and the end of `inner`.
    fn delimited(&mut self, field: Field, inner: Frame, count: &mut usize) -> Result<(), Problem> {
        match field {
            Field::Integers => return self.packed_integers(inner, count),
            Field::Floats => return self.packed_floats(inner, count),
            Field::Message(kind) => {
                self.spend(kind.size() + ALLOCATION)?;
                return self.message(kind, inner);
            }
            Field::Messages(kind) => {
                self.grow(count, 1, kind.size())?;
                return self.message(kind, inner);
            }
            Field::Texts => self.grow(count, 1, size_of::<String>())?,
            Field::Blobs => self.grow(count, 1, size_of::<bytes::Bytes>())?,
            Field::Text | Field::Blob | Field::Integer | Field::Float => {}
        }
        if matches!(field, Field::Text | Field::Texts) {
            self.text(inner)?;
        }
        self.at = inner.end;
        Ok(())
    }

    fn packed_integers(&mut self, inner: Frame, count: &mut usize) -> Result<(), Problem> {
        while self.at < inner.end {
            self.varint(inner)?;
            self.grow(count, 1, size_of::<i64>())?;
        }
        Ok(())
    }

    fn packed_floats(&mut self, inner: Frame, count: &mut usize) -> Result<(), Problem> {
        let len = inner.end - self.at;
        if !len.is_multiple_of(size_of::<f32>()) {
            return Err(Problem::malformed(place(self.at), "a list of f32 has a fraction of one at its end"));
        }
        self.at = inner.end;
        self.grow(count, len / size_of::<f32>(), size_of::<f32>())
    }

    fn text(&mut self, inner: Frame) -> Result<(), Problem> {
        let text = self.rest(inner)?;
        if std::str::from_utf8(text).is_err() {
            return Err(Problem::malformed(place(self.at), "text is not UTF-8"));
        }
        self.spend(text.len() + ALLOCATION)
    }

    /// Skips a field of a number that the schema here does not have.
    fn skip(&mut self, wire: u8, frame: Frame) -> Result<(), Problem> {
        match wire {
            VARINT => self.varint(frame).map(drop),
            FIXED64 => self.advance(8, frame).map(drop),
            FIXED32 => self.advance(4, frame).map(drop),
            LENGTH => {
                self.at = self.length(frame)?;
                Ok(())
            }
            _ => Err(Problem::malformed(place(self.at), "a field is of a wire type that ONNX does not use")),
        }
    }

    /// Field number and wire type.
    fn key(&mut self, frame: Frame) -> Result<(u32, u8), Problem> {
        let start = self.at;
        let key = self.varint(frame)?;
        match u32::try_from(key >> 3) {
            Ok(number) if number > 0 && number < 1 << 29 => Ok((number, (key & 7) as u8)),
            _ => Err(Problem::malformed(place(start), "a field has a number that protobuf does not allow")),
        }
    }

    /// Reads a length and returns where that many bytes end.
    fn length(&mut self, frame: Frame) -> Result<usize, Problem> {
        let len = self.varint(frame)?;
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        end.filter(|end| *end <= frame.end).ok_or_else(|| self.short(len, frame))
    }

    fn advance(&mut self, len: usize, frame: Frame) -> Result<(), Problem> {
        if frame.end - self.at < len {
            return Err(self.short(len as u64, frame));
        }
        self.at += len;
        Ok(())
    }

    /// What is left of a message.
    fn rest(&self, frame: Frame) -> Result<&[u8], Problem> {
        let rest = self.bytes.get(self.at..frame.end);
        rest.ok_or_else(|| Problem::malformed(place(self.at), "a message ends outside the one around it"))
    }

    fn varint(&mut self, frame: Frame) -> Result<u64, Problem> {
        let rest = self.rest(frame)?;
        match varint::read(rest) {
            Some((value, len)) => {
                self.at += len;
                Ok(value)
            }
            None if rest.len() >= varint::LONGEST => {
                Err(Problem::malformed(place(self.at), "a number is longer than 64 bits"))
            }
            None => Err(self.short(rest.len() as u64 + 1, frame)),
        }
    }

    /// `needs` bytes are more than the message has left. Only the model itself ends where the file was cut:
    /// the ends of inner messages have been compared with those around them.
    fn short(&self, needs: u64, frame: Frame) -> Problem {
        let has = (frame.end - self.at) as u64;
        if frame.depth == 0 {
            return Problem::Truncated { place: place(self.at), needs, has };
        }
        Problem::Contradiction {
            place: place(self.at),
            says: format!("{needs} bytes follow"),
            but: format!("the message around it ends after {has}"),
        }
    }

    /// Memory for `more` elements at the end of a list that has `count`. Lists start with room for four
    /// elements and double their room when it is full.
    fn grow(&mut self, count: &mut usize, more: usize, size: usize) -> Result<(), Problem> {
        let room = |count: usize| {
            if count == 0 { 0 } else { count.next_power_of_two().max(4) }
        };
        let before = room(*count);
        *count += more;
        self.spend((room(*count) - before).saturating_mul(size))
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Problem> {
        self.spent = self.spent.saturating_add(bytes as u64);
        if self.spent <= self.limit {
            return Ok(());
        }
        Err(Problem::Limit {
            place: place(self.at),
            what: format!(
                "memory for decoding, {} bytes so far out of a file of {},",
                self.spent,
                self.bytes.len()
            ),
            limit: self.limit,
        })
    }
}

fn place(at: usize) -> String {
    format!("the model at byte {at}")
}

fn wrong_type(at: usize) -> Problem {
    Problem::malformed(place(at), "the wire type of a field is not that of the ONNX schema")
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::messages::*;
    use super::*;
    use crate::ErrorClass;

    fn class(bytes: &[u8]) -> Option<ErrorClass> {
        check(bytes).err().map(|problem| problem.class())
    }

    /// `depth` sequence types inside each other, each two messages, in an input of a graph.
    fn nested(depth: usize) -> Vec<u8> {
        let mut inner = TypeProto::default();
        for _ in 0..depth {
            let sequence = ElementType { elem_type: Some(Box::new(inner)) };
            inner = TypeProto { value: Some(TypeValue::Sequence(sequence)), ..TypeProto::default() };
        }
        let input = ValueInfoProto { r#type: Some(inner), ..ValueInfoProto::default() };
        let graph = GraphProto { input: vec![input], ..GraphProto::default() };
        ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
    }

    #[test]
    fn nesting_is_refused_before_the_decoder_does() {
        // Graph, value and type are three; each list adds two.
        assert_eq!(class(&nested(48)), None);
        assert!(ModelProto::decode(&*nested(48)).is_ok());
        assert_eq!(class(&nested(49)), Some(ErrorClass::Limit));
        assert!(ModelProto::decode(&*nested(49)).is_err());
    }

    #[test]
    fn damage_is_told_from_truncation() {
        assert_eq!(class(&[0x08, 0x08]), None);
        assert_eq!(class(&[0x08]), Some(ErrorClass::Truncated));
        assert_eq!(class(&[0x08, 0x80]), Some(ErrorClass::Truncated));
        assert_eq!(class(&[0x08, 0x08, 0x3a, 0x05, 0x12]), Some(ErrorClass::Truncated));
        // The name of the graph reaches beyond the graph, not beyond the file.
        assert_eq!(class(&[0x3a, 0x02, 0x12, 0x05, 0, 0, 0, 0, 0]), Some(ErrorClass::Corrupt));
        assert_eq!(class(&[0x0a, 0x00]), Some(ErrorClass::Corrupt), "a length where a number belongs");
        assert_eq!(class(&[0x3b, 0x3c]), Some(ErrorClass::Corrupt), "a group");
        assert_eq!(class(&[0x00, 0x00]), Some(ErrorClass::Corrupt), "field number 0");
        assert_eq!(class(&[0x12, 0x01, 0xff]), Some(ErrorClass::Corrupt), "text that is not UTF-8");
    }

    #[test]
    fn small_files_that_need_much_memory_are_refused() {
        let node = [0x0a, 0x02, 0x2a, 0x00];
        let graph: Vec<u8> = node.iter().copied().cycle().take(4 << 20).collect();
        let mut model = vec![0x3a];
        prost::encoding::encode_varint(graph.len() as u64, &mut model);
        model.extend(graph);
        assert_eq!(class(&model), Some(ErrorClass::Limit));
    }

    /// Both encodings of a list, and unknown fields of every wire type.
    #[test]
    fn lists_may_be_packed_and_unknown_fields_are_skipped() {
        let attribute =
            [0x42, 0x02, 0x01, 0x02, 0x40, 0x03, 0x3a, 0x04, 0, 0, 0x80, 0x3f, 0x3d, 0, 0, 0, 0x40];
        let unknown = [
            0xa2, 0x3f, 0x01, 0x61, 0xa8, 0x3f, 0x05, 0xa5, 0x3f, 1, 2, 3, 4, 0xa1, 0x3f, 1, 2, 3, 4, 5, 6,
            7, 8,
        ];
        let message = [&attribute[..], &unknown].concat();
        let mut walk = Walk { bytes: &message, at: 0, spent: 0, limit: 1 << 20 };
        walk.message(Kind::Attribute, Frame { end: message.len(), depth: 1 }).unwrap();
        let decoded = AttributeProto::decode(&*message).unwrap();
        assert_eq!((decoded.ints, decoded.floats), (vec![1, 2, 3], vec![1.0, 2.0]));
    }

    /// The capacities that the decoder really ends with stay below the estimate.
    #[test]
    fn lists_cost_what_vectors_take() {
        for len in [1, 3, 4, 5, 8, 9, 100] {
            let mut list: Vec<u64> = Vec::new();
            let mut walk = Walk { bytes: &[], at: 0, spent: 0, limit: u64::MAX };
            let mut count = 0;
            for i in 0..len {
                list.push(i);
                walk.grow(&mut count, 1, 8).unwrap();
            }
            assert!(walk.spent as usize >= list.capacity() * 8, "{len}");
        }
    }
}
