//! The file that is being read, as every reader gets it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Problem, Result};

/// A file that is being read: its path, for messages and neighbours, and its content.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: Arc<Path>,
    pub(crate) bytes: Bytes,
}

impl Source {
    /// Maps the file at `path`. A directory is told from an archive that somebody has unpacked.
    pub(crate) fn map(path: &Path) -> Result<Source> {
        let bytes = files::map(path).map_err(|error| match error.fault() {
            files::Fault::Directory if path.join("data.pkl").is_file() => {
                Error::new(path, Problem::UnpackedArchive)
            }
            _ => error.into(),
        })?;
        Ok(Source { path: path.into(), bytes })
    }
}
