//! Files as memory: the only module here that uses `unsafe`.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use crate::error::{Error, Fault, Result};

/// Maps the whole file at `path`. Slices of the result share the mapping and keep it alive.
///
/// # Errors
/// [`Fault::Io`] when the file cannot be opened or mapped, [`Fault::Directory`] for a directory,
/// [`Fault::NotRegularFile`] for a pipe or a device.
pub fn map(path: &Path) -> Result<Bytes> {
    map_regular(path).map_err(|fault| Error::new(path, fault))
}

fn map_regular(path: &Path) -> std::result::Result<Bytes, Fault> {
    // Before it is opened: to open a pipe is to wait for its writer.
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(Fault::Directory);
    }
    if !metadata.is_file() {
        return Err(Fault::NotRegularFile);
    }
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    Ok(Bytes::from_owner(map_file(&file)?))
}

#[allow(unsafe_code, reason = "to map a file is unsafe; see below why this holds")]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is read-only and private to this process. Another process that shortens the file
    // while it is read makes the kernel end this one (SIGBUS) and one that writes to it changes the bytes seen;
    // neither breaks memory safety of code that treats them as plain `u8`, checks every length first and never
    // keeps a reference that assumes content. docs/security.md tells users not to modify files while in use.
    unsafe { Mmap::map(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_its_bytes_and_a_folder_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "").unwrap();
        assert_eq!(map(&file).unwrap(), Bytes::new());
        std::fs::write(&file, "abc").unwrap();
        assert_eq!(map(&file).unwrap(), "abc");
        assert!(matches!(map(folder.path()).unwrap_err().fault(), Fault::Directory));
        assert!(matches!(map(&folder.path().join("b")).unwrap_err().fault(), Fault::Io(_)));
    }
}
