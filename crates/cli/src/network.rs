//! What a checkpoint is taken for: the options that say so, the answer for people and scripts, and the refusal.

use std::borrow::Cow;

use crate::failure::{Error, Result};
use clap::Args;
use converters::{Checkpoint, Note, Value};
use serde_json::{Value as Json, json};

use super::outcome::Usage;
use files::Failure;
use port::identify::{Identified, IdentifyError, LoadError, Request, identify};
use port::mapping::{Table, tables};

/// Options that name a network and where its weights lie.
#[derive(Debug, Args)]
pub(super) struct NetworkOptions {
    /// The network: `auto` finds out, `none` copies names as they are; a family or a network that port models lists
    /// is taken at its word. Tensors get the network's own names, and everything must be explained
    #[arg(long, value_name = "auto|none|NAME")]
    model: Option<String>,
    /// The mapping table, a file or one that port mapping list names; by default the built-in one that fits
    #[arg(long, value_name = "TABLE")]
    mapping: Option<String>,
    /// The set of weights to take from a file that has several: `avg`, `model`, `ema`; by default the one that the
    /// original prefers
    #[arg(long, value_name = "NAME")]
    weights: Option<String>,
}

/// A network to look for.
pub(super) struct Sought {
    model: Option<String>,
    table: Option<Cow<'static, Table>>,
    weights: Option<String>,
}

impl NetworkOptions {
    /// The network to look for, or `None` when names are to stay as they are.
    pub(super) fn sought(&self) -> Result<Option<Sought>> {
        let is_wanted = self.mapping.is_some() || self.weights.is_some();
        let model = match self.model.as_deref() {
            None if !is_wanted => return Ok(None),
            Some("none") if !is_wanted => return Ok(None),
            Some("none") => {
                let message = "--model none copies names as they are; leave out --mapping and --weights";
                return Err(Usage(message.to_owned()).into());
            }
            None | Some("auto") => None,
            Some(name) => Some(name.to_owned()),
        };
        let table = self.mapping.as_deref().map(find_table).transpose()?;
        Ok(Some(Sought { model, table, weights: self.weights.clone() }))
    }
}

/// The table of this name or in this file.
pub(super) fn find_table(name: &str) -> Result<Cow<'static, Table>> {
    let found = Table::find(name)?;
    found.ok_or_else(|| {
        let names: Vec<String> = tables().iter().map(Table::name).collect();
        Usage(format!("there is no mapping table `{name}`, and no such file; there are {}", names.join(", ")))
            .into()
    })
}

/// Weights under a network's own names, and how they came to them.
pub(super) struct Recognised {
    pub(super) checkpoint: Checkpoint,
    /// Two lines: the network, and the table with the weights that were taken.
    pub(super) text: String,
    pub(super) json: Json,
    /// Parameters that the file does not have.
    pub(super) filled: Vec<Note>,
}

impl Sought {
    /// The network in the checkpoint.
    pub(super) fn find(&self, checkpoint: &Checkpoint) -> Result<Recognised> {
        let request = Request {
            model: self.model.as_deref(),
            table: self.table.as_deref(),
            weights: self.weights.as_deref(),
        };
        let refuse = |error: IdentifyError| match error.is_usage() {
            true => Error::from(Usage(error.to_string())),
            false => {
                LoadError::Identify { file: checkpoint.path().to_owned(), error: Box::new(error) }.into()
            }
        };
        let found = identify(checkpoint.tensors(), request).map_err(refuse)?;
        let tensors = found.mapping.tensors();
        let tensors = tensors.map_err(|error| LoadError::of_mapping(checkpoint.path(), error))?;
        let notes = left_out(checkpoint, &found);
        Ok(Recognised {
            checkpoint: checkpoint.with_tensors(tensors)?.with_notes(notes),
            text: told(&found),
            json: document(&found),
            filled: found.mapping.defaulted,
        })
    }
}

/// The network and the way to it, in two lines.
fn told(found: &Identified<'_>) -> String {
    let (weights, mapping) = (&found.weights, &found.mapping);
    let place =
        if weights.beginning.is_empty() { String::new() } else { format!(" at `{}`", weights.beginning) };
    let moved: usize = mapping.moves.iter().map(|one| one.canonical.len()).sum();
    let filled = if mapping.defaulted.is_empty() {
        String::new()
    } else {
        format!(", {} filled in", mapping.defaulted.len())
    };
    format!(
        "network {}\nmapped {moved} tensors{filled} by {}, weights `{}`{place}\n",
        found.description(),
        found.table.name(),
        weights.name,
    )
}

/// The network, for scripts.
pub(super) fn summary(found: &Identified<'_>) -> Json {
    json!({
        "family": found.model.family().name,
        "name": found.model.name(),
        "classes": found.model.classes(),
        "auxiliary": found.model.has_auxiliary(),
        "table": found.table.name(),
        "weights": found.weights.name,
        "beginning": found.weights.beginning,
    })
}

fn document(found: &Identified<'_>) -> Json {
    let moved = found
        .mapping
        .moves
        .iter()
        .map(|one| json!({ "from": one.foreign, "to": one.canonical, "operations": one.operations }));
    let filled =
        found.mapping.defaulted.iter().map(|note| json!({ "name": note.name, "reason": note.reason }));
    json!({
        "network": summary(found),
        "mapped": moved.collect::<Vec<_>>(),
        "filled": filled.collect::<Vec<_>>(),
    })
}

/// What of the checkpoint does not become a parameter: tensors that the table drops, other branches of the file, and
/// what is no tensor.
fn left_out(checkpoint: &Checkpoint, found: &Identified<'_>) -> Vec<Note> {
    let weights = &found.weights;
    let mut notes = found.mapping.dropped.clone();
    notes.extend(weights.beside.iter().map(|beside| Note {
        name: beside.beginning.trim_end_matches('.').to_owned(),
        reason: beside.reason(&weights.name),
    }));
    let Value::Dict(metadata) = checkpoint.metadata() else { return notes };
    for (key, _) in &metadata.entries {
        let (key, name) = (key.step(), key.step().to_string());
        let is_told = checkpoint.header().get(&key).is_some() || notes.iter().any(|note| note.name == name);
        if !is_told {
            notes.push(Note { name, reason: format!("no tensor, beside the weights `{}`", weights.name) });
        }
    }
    notes
}

/// What `port inspect` says of the network, and the same for scripts; nothing when it is none that is known.
pub(super) fn inspected(checkpoint: &Checkpoint) -> (Option<String>, Json) {
    match identify(checkpoint.tensors(), Request::default()) {
        Ok(found) => {
            let (description, table) = (found.description(), found.table.name());
            (
                Some(format!("network {description} ({table}, weights `{}`)", found.weights.name)),
                summary(&found),
            )
        }
        Err(error @ IdentifyError::Mapping { network: Some(_), .. }) => {
            let (IdentifyError::Mapping { network, .. }, count) = (&error, error.problems().len()) else {
                return (None, Json::Null);
            };
            let network = network.as_deref().unwrap_or_default();
            let text = format!(
                "resembles {network}, but for {count} of its tensors or parameters: port convert --model auto names them"
            );
            (Some(text), Json::Null)
        }
        Err(_) => (None, Json::Null),
    }
}
