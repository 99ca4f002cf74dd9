//! Writing a checkpoint in another format, every bit intact.
//!
//! A writer first lays the file out (`layout`): bytes it makes itself and tensors, each at its offset. Then
//! threads copy the tensors into a temporary file beside the target (`files::Output`), which replaces the target
//! only when everything succeeded, the checksums of the source included.

mod document;
mod layout;
mod npz;
mod pickle;
mod safetensors;
mod torch;
mod zip;

use std::collections::HashMap;
use std::path::Path;

use files::Output;

use crate::cast::CastReport;
use crate::checkpoint::{Checkpoint, Note};
use crate::dtype::Dtype;
use crate::error::{InFile, Problem, Result};
use crate::safetensors::header::METADATA;
use crate::tensor::Tensor;
use crate::value::Value;

/// A format to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One safetensors file.
    Safetensors,
    /// A PyTorch zip archive.
    Torch,
    /// A Jittor pickle.
    Jittor,
    /// A numpy archive.
    Npz,
}

impl Target {
    /// The format's name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Target::Safetensors => "safetensors",
            Target::Torch => "pth",
            Target::Jittor => "pkl",
            Target::Npz => "npz",
        }
    }

    /// The extension of such files.
    pub const fn extension(self) -> &'static str {
        self.name()
    }

    /// Whether the format has this element type.
    pub fn holds(self, dtype: Dtype) -> bool {
        match self {
            Target::Torch => true,
            Target::Safetensors => crate::safetensors::header::dtype_name(dtype).is_some(),
            Target::Jittor | Target::Npz => crate::numpy::dtype::descr(dtype).is_some(),
        }
    }
}

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
    tensors.check_dtypes(target).in_file(checkpoint.path())?;
    tensors.check_names(target).in_file(checkpoint.path())?;
    let mut dropped = checkpoint.notes().to_vec();
    let plan = match target {
        Target::Safetensors => safetensors::plan(checkpoint, tensors, &mut dropped),
        Target::Torch => torch::plan(checkpoint, tensors, &mut dropped),
        Target::Jittor => pickle::plan(checkpoint, tensors, &mut dropped),
        Target::Npz => npz::plan(checkpoint, tensors, &mut dropped),
    };
    let written = plan.tensors;
    let output = Output::create(path)?;
    let (bytes, reports) = plan.run(checkpoint, tensors, &output, options.progress)?;
    output.finish()?;
    let casts = tensors.casts(&reports);
    Ok(Written { bytes, tensors: written, dropped, casts })
}

/// The tensors to write, in the type they are to be written in.
#[derive(Clone, Copy)]
struct Tensors<'a> {
    all: &'a [Tensor],
    dtype: Option<Dtype>,
}

impl Tensors<'_> {
    fn dtype(&self, tensor: &Tensor) -> Dtype {
        self.dtype.map_or(tensor.dtype(), |dtype| tensor.dtype_as(dtype))
    }

    fn byte_len(&self, tensor: &Tensor) -> u64 {
        tensor.elements() * self.dtype(tensor).size() as u64
    }

    /// The tensors that a cast changed. Of tied weights one is copied, and its report is that of all.
    fn casts(&self, reports: &[CastReport]) -> Vec<(String, CastReport)> {
        let changed = |(_, report): &(&Tensor, &CastReport)| **report != CastReport::default();
        let changed = self.all.iter().zip(reports).filter(changed);
        let by_identity: HashMap<_, _> =
            changed.map(|(tensor, report)| (tensor.identity(), *report)).collect();
        let named = self.all.iter().filter_map(|tensor| {
            by_identity.get(&tensor.identity()).map(|report| (tensor.name().to_owned(), *report))
        });
        named.collect()
    }

    /// A few names mean something to a format, or are too long for it.
    fn check_names(&self, target: Target) -> std::result::Result<(), Problem> {
        let fault = |name: &str| match target {
            Target::Safetensors if name == METADATA => Some("the format keeps this name for metadata"),
            Target::Npz if name.len() > zip::MAX_NAME - npz::EXTENSION.len() => {
                Some("the name is longer than a zip archive allows")
            }
            _ => None,
        };
        let unfit = self.all.iter().find_map(|tensor| Some((tensor, fault(tensor.name())?)));
        unfit.map_or(Ok(()), |(tensor, why)| {
            let name = tensor.name().chars().take(80).collect();
            Err(Problem::NameNotWritable { tensor: name, format: target.name(), why })
        })
    }

    fn check_dtypes(&self, target: Target) -> std::result::Result<(), Problem> {
        let unfit = self.all.iter().find(|tensor| !target.holds(self.dtype(tensor)));
        unfit.map_or(Ok(()), |tensor| {
            let (tensor, dtype) = (tensor.name().to_owned(), self.dtype(tensor));
            Err(Problem::DtypeNotWritable { tensor, dtype, format: target.name() })
        })
    }
}

/// Notes the entries of a container header that `target` has no place for.
fn drop_header(checkpoint: &Checkpoint, dropped: &mut Vec<Note>, target: &str) {
    let Value::Dict(dict) = checkpoint.header() else {
        return;
    };
    for (key, _) in &dict.entries {
        let (name, reason) = (key.step().to_string(), format!("{target} has no place for file metadata"));
        dropped.push(Note { name, reason });
    }
}
