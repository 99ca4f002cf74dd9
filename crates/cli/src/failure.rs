//! What a failure is called, which file it is about, and how the process ends.

use std::path::Path;

use port::identify::LoadError;
use port::mapping::TableError;
use port::verify::VerifyError;
use serde_json::{Value as Json, json};

use crate::network;
use crate::outcome::{BAD_INPUT, BAD_USAGE, Usage};

/// JSON as it is printed.
pub(crate) fn document(json: &Json) -> String {
    format!("{json:#}\n")
}

/// Says what went wrong: on standard error, with `--json` as a document on standard output as well.
pub(crate) fn failure(error: &anyhow::Error, wants_json: bool) -> (String, u8) {
    eprintln!("error: {error}");
    let (class, file, code) = classified(error);
    if !wants_json {
        return (String::new(), code);
    }
    let mut json = json!({ "class": class, "file": file, "message": error.to_string() });
    let problems = error.downcast_ref::<LoadError>().map(LoadError::problems).unwrap_or_default();
    if let Some(json) = json.as_object_mut().filter(|_| !problems.is_empty()) {
        json.insert("problems".to_owned(), network::problems(problems));
    }
    (document(&json!({ "error": json })), code)
}

/// The class of a failure, the file at fault and the exit code.
fn classified(error: &anyhow::Error) -> (&'static str, Option<String>, u8) {
    let shown = |file: &Path| Some(file.display().to_string());
    if let Some(error) = error.downcast_ref::<converters::Error>() {
        return (error.class().name(), shown(error.file()), BAD_INPUT);
    }
    if let Some(error) = error.downcast_ref::<vision::pictures::Error>() {
        return (error.class(), shown(error.file()), BAD_INPUT);
    }
    if let Some(error) = error.downcast_ref::<files::Error>() {
        return ("io", shown(error.file()), BAD_INPUT);
    }
    if let Some(error) = error.downcast_ref::<port::detect::Error>() {
        let code = if error.is_usage() { BAD_USAGE } else { BAD_INPUT };
        return (error.class(), error.file().and_then(shown), code);
    }
    if let Some(error) = error.downcast_ref::<vision::eval::Error>() {
        let code = if error.is_usage() { BAD_USAGE } else { BAD_INPUT };
        return (error.class(), error.file().and_then(shown), code);
    }
    if let Some(error) = error.downcast_ref::<vision::data::Error>() {
        let code = if error.is_usage() { BAD_USAGE } else { BAD_INPUT };
        return (error.class(), error.file().and_then(shown), code);
    }
    if let Some(error) = error.downcast_ref::<TableError>() {
        return ("mapping-table", Some(error.origin.clone()), BAD_INPUT);
    }
    if let Some(error) = error.downcast_ref::<VerifyError>() {
        return ("verify", error.file().and_then(shown), BAD_INPUT);
    }
    match error.downcast_ref::<LoadError>() {
        Some(LoadError::File(error)) => (error.class().name(), shown(error.file()), BAD_INPUT),
        Some(LoadError::Identify { file, .. } | LoadError::Mapping { file, .. }) => {
            ("unknown-network", shown(file), BAD_INPUT)
        }
        None if error.is::<Usage>() => ("usage", None, BAD_USAGE),
        None => ("io", None, BAD_INPUT),
    }
}
