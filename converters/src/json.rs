//! The inert tree as JSON.

use serde_json::{Map, Number, Value as Json, json};

use crate::value::{Record, Value};

/// `value` as JSON for people and scripts: everything has a form. Instances become objects with `class`, byte
/// strings their length, numbers beyond 64 bits and those JSON lacks become texts.
pub fn describe(value: &Value) -> Json {
    match value {
        Value::None => Json::Null,
        Value::Bool(truth) => json!(truth),
        Value::Int(number) => json!(number),
        Value::BigInt(number) => json!(number.to_string()),
        Value::Float(number) => {
            Number::from_f64(*number).map_or_else(|| json!(number.to_string()), Json::Number)
        }
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => json!({ "class": "builtins.bytes", "length": bytes.len() }),
        Value::List(items) | Value::Tuple(items) => items.iter().map(describe).collect(),
        Value::Set(items) => {
            json!({ "class": "builtins.set", "items": items.iter().map(describe).collect::<Vec<_>>() })
        }
        Value::Dict(dict) => Json::Object(object(&dict.entries)),
        Value::Name(name) => json!({ "class": name_class(name), "name": name }),
        Value::Record(record) => describe_record(record),
        Value::Module(module) => json!({
            "class": module.class,
            "state_dict": object(&module.state.entries),
            "fields": object(&module.attributes),
        }),
        Value::Tensor(index) => json!({ "class": "tensor", "index": index }),
        Value::Skipped(reason) => json!({ "class": "skipped", "reason": reason }),
    }
}

/// `value` as JSON that says the same, or the reason why there is none.
///
/// # Errors
/// For byte strings, sets, names, instances and numbers that JSON lacks.
pub fn plain(value: &Value) -> Result<Json, String> {
    match value {
        Value::Bytes(_) => Err("a byte string".to_owned()),
        Value::Set(_) => Err("a set".to_owned()),
        Value::Name(name) => Err(format!("the class or function {name}")),
        Value::Record(record) => Err(format!("an instance of {}", record.class)),
        Value::Module(module) => Err(format!("an instance of {}", module.class)),
        Value::Tensor(_) => Err("a tensor".to_owned()),
        Value::Skipped(reason) => Err(reason.clone()),
        Value::Float(number) if !number.is_finite() => Err(format!("the number {number}")),
        Value::List(items) | Value::Tuple(items) => items.iter().map(plain).collect(),
        Value::Dict(dict) => {
            let mut map = Map::new();
            for (key, value) in &dict.entries {
                if map.insert(key_text(key), plain(value)?).is_some() {
                    return Err(format!("a dictionary with two keys spelled {:?}", key_text(key)));
                }
            }
            Ok(Json::Object(map))
        }
        other => Ok(describe(other)),
    }
}

fn describe_record(record: &Record) -> Json {
    let mut map = Map::new();
    map.insert("class".to_owned(), json!(record.class));
    if !record.args.is_empty() {
        map.insert("args".to_owned(), record.args.iter().map(describe).collect());
    }
    if !record.fields.is_empty() {
        map.insert("fields".to_owned(), Json::Object(object(&record.fields)));
    }
    if !record.items.is_empty() {
        map.insert("items".to_owned(), record.items.iter().map(describe).collect());
    }
    Json::Object(map)
}

fn object(entries: &[(Value, Value)]) -> Map<String, Json> {
    entries.iter().map(|(key, value)| (key_text(key), describe(value))).collect()
}

fn key_text(key: &Value) -> String {
    key.step().to_string()
}

/// What kind of thing a dotted name refers to.
fn name_class(name: &str) -> &'static str {
    let is_dtype = name.strip_prefix("torch.").is_some_and(|rest| {
        matches!(
            crate::pickle::globals::meaning("torch", rest),
            Some(crate::pickle::globals::Meaning::TorchDtype(_))
        )
    });
    if is_dtype { "torch.dtype" } else { "name" }
}
