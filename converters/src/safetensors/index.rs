//! `model.safetensors.index.json`: which of several files holds which tensor.

use std::collections::HashMap;
use std::path::{Component, Path};

use serde_json::Value as Json;

use super::read_tensors;
use crate::checkpoint::{Checkpoint, Note};
use crate::error::{InFile, Problem, Result};
use crate::format::Format;
use crate::limits;
use crate::memory::{Memory, grown};
use crate::source::Source;
use crate::tensor::Tensor;
use crate::value::Value;

const WEIGHT_MAP: &str = "weight_map";

/// Whether the bytes are a JSON object with a `weight_map`.
pub(crate) fn recognises(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{")
        && bytes.len() as u64 <= limits::MAX_INDEX_BYTES
        && bytes.windows(WEIGHT_MAP.len()).any(|window| window == WEIGHT_MAP.as_bytes())
}

/// Reads an index and the files that it names, which must lie in its directory.
///
/// # Errors
/// When the index is malformed, names a file elsewhere, or a file or a tensor in it is missing.
pub(crate) fn read(source: &Source) -> Result<Checkpoint> {
    let (map, header) = parse(&source.bytes).in_file(&source.path)?;
    let directory = source.path.parent().unwrap_or(Path::new(""));
    let mut header = header;
    let mut shards: HashMap<&str, HashMap<String, Tensor>> = HashMap::new();
    for (name, file) in &map {
        if !shards.contains_key(&**file) {
            let (tensors, metadata) =
                shard(directory, name, file).map_err(|failure| failure.in_index(source))?;
            shards.insert(file, tensors);
            merge(&mut header, metadata);
        }
    }
    let mut tensors = Vec::new();
    for (name, file) in &map {
        let found = shards.get_mut(&**file).and_then(|shard| shard.remove(name));
        let tensor = found.ok_or_else(|| Problem::Missing {
            what: format!("tensor `{name}` in {file}"),
            wanted_by: WEIGHT_MAP.to_owned(),
        });
        tensors.push(tensor.in_file(&source.path)?);
    }
    if tensors.is_empty() {
        return Err(Problem::NoTensors).in_file(&source.path);
    }
    let mut checkpoint = Checkpoint::flat(&source.path, Format::SafetensorsIndex, tensors, header)?;
    let mut left: Vec<_> =
        shards.iter().flat_map(|(file, shard)| shard.keys().map(move |name| (name, file))).collect();
    left.sort();
    checkpoint.notes.extend(left.into_iter().map(|(name, file)| Note {
        name: name.clone(),
        reason: format!("stands in {file} but not in the weight_map"),
    }));
    Ok(checkpoint)
}

/// Memory for a value: in a growing object of the JSON tree, and as a name that is copied.
const VALUE: usize = grown::<(String, Json, usize)>() + grown::<(String, String)>();

type WeightMap = Vec<(String, String)>;

fn parse(bytes: &[u8]) -> std::result::Result<(WeightMap, Value), Problem> {
    let place = "the index";
    // Every value but the first stands after one of these.
    let values = bytes.iter().filter(|byte| b",:[{".contains(byte)).count();
    Memory::of_file(bytes.len()).take(values.saturating_mul(VALUE), || place.to_owned())?;
    let json: Json = serde_json::from_slice(bytes).map_err(|error| Problem::Contradiction {
        place: place.to_owned(),
        says: "it is a JSON object".to_owned(),
        but: error.to_string(),
    })?;
    let corrupt = || Problem::malformed(place, "its weight_map is not an object of file names");
    let entries = json.get(WEIGHT_MAP).and_then(Json::as_object).ok_or_else(corrupt)?;
    let map = entries.iter().map(|(name, file)| Some((name.clone(), file.as_str()?.to_owned())));
    let map = map.collect::<Option<_>>().ok_or_else(corrupt)?;
    let metadata = json.get("metadata").and_then(Json::as_object);
    let metadata = metadata.into_iter().flatten().map(|(key, value)| (key.clone(), plain(value)));
    Ok((map, Value::dict(metadata)))
}

/// Why a shard cannot be used: the index is wrong about it, or the shard itself.
enum ShardFailure {
    Index(Problem),
    Shard(crate::Error),
}

impl ShardFailure {
    fn in_index(self, source: &Source) -> crate::Error {
        match self {
            ShardFailure::Index(problem) => crate::Error::new(&*source.path, problem),
            ShardFailure::Shard(error) => error,
        }
    }
}

fn shard(
    directory: &Path,
    wanted_by: &str,
    file: &str,
) -> std::result::Result<(HashMap<String, Tensor>, Value), ShardFailure> {
    let inside = Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside || file.is_empty() || file.contains(['\\', ':']) {
        let place = format!("tensor `{wanted_by}`");
        return Err(ShardFailure::Index(Problem::ForbiddenPath { place, path: file.to_owned() }));
    }
    let path = directory.join(file);
    if !path.exists() {
        let wanted_by = format!("tensor `{wanted_by}`");
        return Err(ShardFailure::Index(Problem::Missing { what: format!("the file {file}"), wanted_by }));
    }
    let source = Source::map(&path).map_err(ShardFailure::Shard)?;
    if !super::recognises(&source.bytes) {
        let what = "an index of files that are not safetensors";
        let problem =
            Problem::unsupported(format!("the file {file}"), what, "convert each of the files on its own");
        return Err(ShardFailure::Index(problem));
    }
    let (tensors, metadata) = read_tensors(&source).in_file(&path).map_err(ShardFailure::Shard)?;
    Ok((tensors.into_iter().map(|tensor| (tensor.name().to_owned(), tensor)).collect(), metadata))
}

/// Adds the metadata of a shard that the index or a shard before it does not have.
fn merge(header: &mut Value, metadata: Value) {
    let (Value::Dict(header), Value::Dict(metadata)) = (header, metadata) else {
        return;
    };
    for (key, value) in metadata.entries {
        if !header.entries.iter().any(|(known, _)| *known == key) {
            header.entries.push((key, value));
        }
    }
}

/// JSON as plain data.
fn plain(json: &Json) -> Value {
    match json {
        Json::Null => Value::None,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(plain).collect()),
        Json::Object(entries) => Value::dict(entries.iter().map(|(key, value)| (key.clone(), plain(value)))),
    }
}
