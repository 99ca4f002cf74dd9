//! Files as memory: the only module that uses `unsafe`.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use crate::error::Problem;

/// Maps the whole file at `path`. Slices of the result share the mapping and keep it alive.
///
/// # Errors
/// [`Problem::Io`] when the file cannot be opened or mapped, [`Problem::Directory`] for a directory,
/// [`Problem::NotRegularFile`] for a pipe or a device.
pub(crate) fn map(path: &Path) -> Result<Bytes, Problem> {
    // Before it is opened: to open a pipe is to wait for its writer.
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(Problem::Directory { unpacked_archive: path.join("data.pkl").is_file() });
    }
    if !metadata.is_file() {
        return Err(Problem::NotRegularFile);
    }
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    Ok(Bytes::from_owner(map_file(&file)?))
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is read-only and private to this process. Another process that shortens the file
    // while it is read makes the kernel end this one (SIGBUS) and one that writes to it changes the bytes seen;
    // neither breaks memory safety of code that treats them as plain `u8`, checks every length first and never
    // keeps a reference that assumes content. docs/security.md tells users not to modify files while in use.
    unsafe { Mmap::map(file) }
}
