//! A network with its weights, read from a file.

use std::path::{Path, PathBuf};

use converters::{Checkpoint, Dtype, Tensor, decode};
use files::{Failure, printable};

use super::error::IdentifyError;
use super::search::{Request, identify};
use crate::mapping::{MappingError, OperationError, Problem};
use network::graph::{Array, Weights};
use network::models::Model;

/// A network and the values of its parameters.
#[derive(Debug)]
pub struct Loaded {
    /// The file.
    pub file: PathBuf,
    /// The network.
    pub model: Model,
    /// Values under canonical names, in f32.
    pub weights: Weights,
    /// What was recognised, for people: network, classes, table and where the weights lie.
    pub description: String,
}

/// Why a file gives no network.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] converters::Error),
    /// What is in it is no known network.
    #[error("{}: {error}", printable(&file.to_string_lossy()))]
    Identify {
        /// The file.
        file: PathBuf,
        /// Why not.
        error: Box<IdentifyError>,
    },
    /// Its tensors cannot be brought into canonical form.
    #[error("{}: {error}", printable(&file.to_string_lossy()))]
    Mapping {
        /// The file.
        file: PathBuf,
        /// Why not.
        error: Box<MappingError>,
    },
}

impl Failure for LoadError {
    fn class(&self) -> &'static str {
        match self {
            LoadError::File(error) => error.class().name(),
            LoadError::Identify { .. } | LoadError::Mapping { .. } => "unknown-network",
        }
    }

    fn file(&self) -> Option<&Path> {
        match self {
            LoadError::File(error) => Some(error.file()),
            LoadError::Identify { file, .. } | LoadError::Mapping { file, .. } => Some(file),
        }
    }
}

impl LoadError {
    /// What kept the tensors of `file` from their canonical form: their data, or what the table says of them.
    pub fn of_mapping(file: &Path, error: MappingError) -> LoadError {
        match error {
            MappingError::Data(OperationError::Data(error)) => LoadError::File(error),
            error => LoadError::Mapping { file: file.to_owned(), error: Box::new(error) },
        }
    }

    /// Everything that is in the way, tensor by tensor, where that is the reason.
    pub fn problems(&self) -> &[Problem] {
        match self {
            LoadError::Identify { error, .. } => error.problems(),
            _ => &[],
        }
    }
}

/// Reads the network in a file, with everything that [`identify`] checks.
///
/// # Errors
/// A file that cannot be read, or that holds no network all of whose tensors and parameters are explained.
pub fn load(file: &Path, request: Request<'_>) -> Result<Loaded, LoadError> {
    load_from(&converters::open(file)?, request)
}

/// As [`load`], from a checkpoint that is open already.
///
/// # Errors
/// As [`load`].
pub fn load_from(checkpoint: &Checkpoint, request: Request<'_>) -> Result<Loaded, LoadError> {
    let file = checkpoint.path().to_owned();
    let found = identify(checkpoint.tensors(), request);
    let found = found.map_err(|error| LoadError::Identify { file: file.clone(), error: Box::new(error) })?;
    let tensors = found.mapping.tensors();
    let tensors = tensors.map_err(|error| LoadError::of_mapping(&file, error))?;
    let mut weights = Weights::default();
    // Integers are counts of batches, which nothing reads.
    for tensor in tensors.iter().filter(|tensor| tensor.dtype_as(Dtype::F32) == Dtype::F32) {
        weights.insert(tensor.name(), array(tensor)?);
    }
    let place = if found.weights.beginning.is_empty() {
        String::new()
    } else {
        format!(", weights at {}", found.weights.beginning)
    };
    let description = format!("{} (mapping {}{place})", found.description(), found.table.name());
    Ok(Loaded { file, model: found.model, weights, description })
}

/// The numbers of a tensor in f32, rounded where its type holds more.
///
/// # Errors
/// Bytes that cannot be read.
pub fn array(tensor: &Tensor) -> Result<Array, converters::Error> {
    let dtype = tensor.dtype_as(Dtype::F32);
    let mut data = Vec::new();
    // Chunks end between numbers.
    tensor.read_as(Dtype::F32, &mut |bytes| {
        let numbers = bytes.chunks_exact(dtype.size());
        data.extend(numbers.map(|number| decode(dtype, number) as f32));
        Ok(())
    })?;
    Ok(Array { shape: tensor.shape().to_vec(), data })
}
