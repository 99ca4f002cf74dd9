//! Jittor's pickles, with their checksum, and plain pickles of numpy arrays.

pub(crate) mod trailer;

use bytes::Bytes;

use crate::checkpoint::Checkpoint;
use crate::error::{InFile, Problem, Result};
use crate::format::Format;
use crate::limits;
use crate::memory::Memory;
use crate::objects::{self, NoStorages};
use crate::pickle;
use crate::pickle::machine::Persistence;
use crate::source::Source;

/// Reads a pickle with Jittor's trailer. The checksum of a small file is compared first, so that damage is
/// called damage; that of a large one is left to [`Checkpoint::verify_file`].
///
/// # Errors
/// When the checksum is wrong, or the pickle malformed, hostile or without a tensor.
pub(crate) fn read(source: &Source) -> Result<Checkpoint> {
    let is_small = source.bytes.len() as u64 <= limits::EAGER_CHECKSUM_BYTES;
    if is_small {
        trailer::verify(&source.bytes).in_file(&source.path)?;
    }
    let (pickle, _) = trailer::split(&source.bytes).in_file(&source.path)?;
    let pickle = source.bytes.slice_ref(pickle);
    let mut checkpoint = read_objects(source, &pickle, Format::JittorPickle).in_file(&source.path)?;
    checkpoint.unchecked = (!is_small).then(|| source.bytes.clone());
    Ok(checkpoint)
}

/// Reads a pickle without trailer.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_plain(source: &Source) -> Result<Checkpoint> {
    read_objects(source, &source.bytes, Format::Pickle).in_file(&source.path)
}

fn read_objects(source: &Source, bytes: &Bytes, format: Format) -> std::result::Result<Checkpoint, Problem> {
    let mut memory = Memory::of_file(bytes.len());
    let pickle = pickle::run(bytes, "the pickle", Persistence::Forbidden, &mut memory)?;
    if pickle.len != bytes.len() {
        return Err(Problem::Contradiction {
            place: "the pickle".to_owned(),
            says: format!("it ends at byte {}", pickle.len),
            but: format!("{} more bytes follow", bytes.len() - pickle.len),
        });
    }
    objects::read(&source.path, format, &pickle, memory, &mut NoStorages)
}
