//! A file, laid out: its parts and what follows them.

use std::thread;

use files::Output;

use super::copy::{Copier, hash, join};
use super::parts::Parts;
use super::tensors::Tensors;
use super::zip::Zip;
use crate::cast::CastReport;
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::jittor::trailer;

/// What follows the parts.
#[derive(Debug)]
pub(super) enum Tail {
    /// Nothing.
    None,
    /// Jittor's checksum of everything before.
    JittorTrailer,
    /// Local headers and the central directory of a zip archive, whose parts are its records' contents.
    Zip(Zip),
}

/// A file, laid out.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) parts: Parts<'a>,
    pub(super) tail: Tail,
    /// Number of named tensors; tied ones share a part.
    pub(super) tensors: usize,
}

impl Plan<'_> {
    /// Writes the file; returns its length and, for each tensor, what its cast lost.
    pub(super) fn run(
        self,
        checkpoint: &Checkpoint,
        tensors: Tensors<'_>,
        output: &Output,
        progress: Option<&(dyn Fn(u64) + Sync)>,
    ) -> Result<(u64, Vec<CastReport>)> {
        let copier =
            Copier::new(self.parts.all(), tensors, output, matches!(self.tail, Tail::Zip(_)), progress);
        let sum = thread::scope(|scope| {
            let check = scope.spawn(|| checkpoint.verify_file());
            let hash = match self.tail {
                Tail::JittorTrailer => Some(scope.spawn(|| hash(self.parts.all(), tensors))),
                _ => None,
            };
            let copied = copier.run();
            // The source is at fault before the target is.
            join(check)?;
            copied?;
            hash.map(join).transpose()
        })?;
        let (crcs, reports) = copier.results();
        let end = self.parts.len();
        let len = match (self.tail, sum) {
            (Tail::Zip(zip), _) => zip.write(end, &crcs, output)?,
            (_, Some(sum)) => {
                let trailer = trailer::trailer(&sum);
                output.write_at(end, &trailer)?;
                end + trailer.len() as u64
            }
            (_, None) => end,
        };
        Ok((len, reports))
    }
}
