//! Files of annotations and results.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Error;

/// The largest file read: sixty times the results for COCO's validation images.
const MAX_BYTES: u64 = 4 << 30;

/// Reads a whole file.
///
/// # Errors
/// It cannot be read or is too large.
pub fn read_file(file: &Path) -> Result<Vec<u8>, Error> {
    let io = |problem| Error::Io { file: file.to_owned(), problem };
    let opened = File::open(file).map_err(io)?;
    let size = opened.metadata().map_err(io)?.len();
    if size > MAX_BYTES {
        return Err(Error::TooLarge { file: file.to_owned(), limit: MAX_BYTES });
    }
    // One byte more, so that no second allocation follows to find the end.
    let mut bytes = Vec::with_capacity(size as usize + 1);
    opened.take(MAX_BYTES).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}
