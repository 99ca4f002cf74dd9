//! The JSON header: entries in file order, duplicate names refused (the format forbids them, the original
//! library does not look).

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::dtype::Dtype;
use crate::error::Problem;

/// The name of the entry that is no tensor.
pub(crate) const METADATA: &str = "__metadata__";

/// The parsed header.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) tensors: Vec<TensorEntry>,
    pub(super) metadata: Vec<(String, String)>,
}

/// One tensor of the header.
#[derive(Debug)]
pub(super) struct TensorEntry {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<u64>,
    /// First byte and one past the last, from the start of the data.
    pub(super) data_offsets: (u64, u64),
}

/// Reads the header text, which may end with spaces.
///
/// # Errors
/// When it is not UTF-8, not JSON of the expected form, or names a dtype that is not known.
pub(super) fn parse(json: &[u8]) -> Result<Header, Problem> {
    let place = "the safetensors header";
    let text = std::str::from_utf8(json).map_err(|_| Problem::malformed(place, "it is not UTF-8"))?;
    let raw: RawHeader = serde_json::from_str(text).map_err(|error| Problem::Contradiction {
        place: place.to_owned(),
        says: "it is a JSON object of tensors".to_owned(),
        but: error.to_string(),
    })?;
    let tensors = raw.tensors.into_iter().map(|(name, entry)| {
        let dtype = dtype(&entry.dtype).ok_or_else(|| {
            let what = format!("dtype {:?}", entry.dtype);
            Problem::unsupported(
                format!("tensor `{name}`"),
                what,
                "convert it with the program that wrote it",
            )
        })?;
        Ok(TensorEntry { name, dtype, shape: entry.shape, data_offsets: entry.data_offsets })
    });
    Ok(Header { tensors: tensors.collect::<Result<_, Problem>>()?, metadata: raw.metadata })
}

#[derive(Default)]
struct RawHeader {
    tensors: Vec<(String, RawEntry)>,
    metadata: Vec<(String, String)>,
}

#[derive(serde::Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader::default();
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("the name {name:?} is a duplicate")));
                    }
                    if name == METADATA {
                        header.metadata = map.next_value::<Texts>()?.0;
                    } else {
                        header.tensors.push((name, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// An object of texts in file order.
pub(super) struct Texts(pub(super) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    texts.push(entry);
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The names of element types in headers (safetensors' `tensor.rs`).
const DTYPES: [(&str, Dtype); 17] = [
    ("F64", Dtype::F64),
    ("F32", Dtype::F32),
    ("F16", Dtype::F16),
    ("BF16", Dtype::Bf16),
    ("F8_E4M3", Dtype::F8E4M3),
    ("F8_E5M2", Dtype::F8E5M2),
    ("I64", Dtype::I64),
    ("I32", Dtype::I32),
    ("I16", Dtype::I16),
    ("I8", Dtype::I8),
    ("U64", Dtype::U64),
    ("U32", Dtype::U32),
    ("U16", Dtype::U16),
    ("U8", Dtype::U8),
    ("BOOL", Dtype::Bool),
    ("C64", Dtype::C64),
    ("C128", Dtype::C128),
];

fn dtype(name: &str) -> Option<Dtype> {
    DTYPES.iter().find(|(known, _)| *known == name).map(|(_, dtype)| *dtype)
}

/// The header's name of an element type; the original library does not know C128.
pub(crate) fn dtype_name(dtype: Dtype) -> Option<&'static str> {
    let known = DTYPES.iter().find(|(_, known)| *known == dtype);
    known.map(|(name, _)| *name).filter(|_| dtype != Dtype::C128)
}
