//! From a checkpoint to a file: check, lay out, copy.

use std::collections::HashMap;
use std::path::Path;

use files::Output;

use super::target::Target;
use super::tensors::Tensors;
use super::{npz, pickle, safetensors, torch, zip};
use crate::cast::CastReport;
use crate::checkpoint::{Checkpoint, Note};
use crate::dtype::Dtype;
use crate::error::{InFile, Problem, Result};
use crate::safetensors::header::METADATA;
use crate::tensor::Tensor;
use crate::value::Value;

/// How to write.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// The type to cast floating-point tensors to; `None` keeps each its own.
    pub dtype: Option<Dtype>,
    /// Told the number of bytes just copied, from several threads.
    pub progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

/// What was written.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Number of tensors written.
    pub tensors: usize,
    /// What was left out, and why.
    pub dropped: Vec<Note>,
    /// Tensors whose values changed in a cast.
    pub casts: Vec<(String, CastReport)>,
}

/// Writes `checkpoint` to `path` as `target`. An existing file is replaced only when all went well.
///
/// # Errors
/// When a tensor has an element type that the format lacks, the source turns out to be damaged, or the file
/// cannot be written.
pub fn write(checkpoint: &Checkpoint, target: Target, path: &Path, options: Options<'_>) -> Result<Written> {
    let tensors = Tensors { all: checkpoint.tensors(), dtype: options.dtype };
    check_dtypes(tensors, target).in_file(checkpoint.path())?;
    check_names(tensors, target).in_file(checkpoint.path())?;
    let mut dropped = checkpoint.notes().to_vec();
    drop_header(checkpoint, target, &mut dropped);
    let plan = match target {
        Target::Safetensors => safetensors::plan(checkpoint, tensors, &mut dropped),
        Target::Torch => torch::plan(checkpoint, tensors, &mut dropped),
        Target::Jittor => pickle::plan(checkpoint, tensors, &mut dropped),
        Target::Npz => npz::plan(checkpoint, tensors, &mut dropped),
    };
    let plan = plan.in_file(checkpoint.path())?;
    let written = plan.tensors;
    let output = Output::create(path)?;
    let (bytes, reports) = plan.run(checkpoint, tensors, &output, options.progress)?;
    output.finish()?;
    let casts = casts(tensors, &reports);
    Ok(Written { bytes, tensors: written, dropped, casts })
}

/// Notes the entries of a container header that `target` has no place for.
fn drop_header(checkpoint: &Checkpoint, target: Target, dropped: &mut Vec<Note>) {
    let (Value::Dict(dict), Some(target)) = (checkpoint.header(), target.without_metadata()) else {
        return;
    };
    for (key, _) in &dict.entries {
        let (name, reason) = (key.step().to_string(), format!("{target} has no place for file metadata"));
        dropped.push(Note { name, reason });
    }
}

/// The tensors that a cast changed. Of tied weights one is copied, and its report is that of all.
fn casts(tensors: Tensors<'_>, reports: &[CastReport]) -> Vec<(String, CastReport)> {
    let changed = |(_, report): &(&Tensor, &CastReport)| **report != CastReport::default();
    let changed = tensors.all.iter().zip(reports).filter(changed);
    let by_identity: HashMap<_, _> = changed.map(|(tensor, report)| (tensor.identity(), *report)).collect();
    let named = tensors.all.iter().filter_map(|tensor| {
        by_identity.get(&tensor.identity()).map(|report| (tensor.name().to_owned(), *report))
    });
    named.collect()
}

/// A few names mean something to a format, or are too long for it.
fn check_names(tensors: Tensors<'_>, target: Target) -> std::result::Result<(), Problem> {
    let fault = |name: &str| match target {
        Target::Safetensors if name == METADATA => Some("the format keeps this name for metadata"),
        Target::Npz if name.len() > zip::MAX_NAME - npz::EXTENSION.len() => {
            Some("the name is longer than a zip archive allows")
        }
        _ => None,
    };
    let unfit = tensors.all.iter().find_map(|tensor| Some((tensor, fault(tensor.name())?)));
    unfit.map_or(Ok(()), |(tensor, why)| {
        let name = tensor.name().chars().take(80).collect();
        Err(Problem::NameNotWritable { tensor: name, format: target.name(), why })
    })
}

fn check_dtypes(tensors: Tensors<'_>, target: Target) -> std::result::Result<(), Problem> {
    let unfit = tensors.all.iter().find(|tensor| !target.holds(tensors.dtype(tensor)));
    unfit.map_or(Ok(()), |tensor| Err(tensors.unfit(tensor, target)))
}
