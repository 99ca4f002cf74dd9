//! A file that appears whole or not at all.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Fault, Result};

/// Writes a file that appears whole or not at all: an existing one survives any failure.
///
/// # Errors
/// The file cannot be written.
pub fn write_whole(target: &Path, bytes: &[u8]) -> Result<()> {
    let output = Output::create(target)?;
    output.write_at(0, bytes)?;
    output.finish()
}

/// A file being written: a temporary one beside its target, which replaces it at the end. Dropped before, it is gone.
#[derive(Debug)]
pub struct Output {
    target: PathBuf,
    temporary: NamedTempFile,
}

impl Output {
    /// Creates the temporary file in the directory of `target`. A target that is a link is replaced where it
    /// points.
    ///
    /// # Errors
    /// The target is no regular file, or its directory cannot be written to.
    pub fn create(target: &Path) -> Result<Output> {
        let target = std::fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        let fail = |source| Error::new(&target, Fault::Io(source));
        let existing = std::fs::metadata(&target).ok();
        if target.is_dir() {
            return Err(Error::new(&target, Fault::Directory));
        }
        if existing.as_ref().is_some_and(|existing| !existing.is_file()) {
            return Err(Error::new(&target, Fault::NotRegularFile));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".port-").suffix(".part");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The umask applies, as to any new file.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(directory(&target)).map_err(fail)?;
        if let Some(existing) = existing {
            temporary.as_file().set_permissions(existing.permissions()).map_err(fail)?;
        }
        Ok(Output { target, temporary })
    }

    /// Writes `bytes` at `offset`. Threads may write different parts at the same time.
    ///
    /// # Errors
    /// The system refuses, mostly because the disk is full.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        write_all_at(self.temporary.as_file(), offset, bytes).map_err(|source| self.fail(source))
    }

    /// Asks the system to put what was written so far on the disk, while more is written.
    ///
    /// # Errors
    /// The system refuses, mostly because the disk is full.
    pub fn flush_so_far(&self) -> Result<()> {
        self.temporary.as_file().sync_data().map_err(|source| self.fail(source))
    }

    /// Puts the content on the disk and gives the file its name.
    ///
    /// # Errors
    /// The system refuses. The target is as it was, unless only its folder could not be put on the disk.
    pub fn finish(self) -> Result<()> {
        let Output { target, temporary } = self;
        let fail = |source| Error::new(&target, Fault::Io(source));
        temporary.as_file().sync_all().map_err(fail)?;
        temporary.persist(&target).map_err(|error| fail(error.error))?;
        sync_directory(directory(&target)).map_err(fail)
    }

    fn fail(&self, source: io::Error) -> Error {
        Error::new(&self.target, source)
    }
}

/// The folder that a file of this name is in.
pub(crate) fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(unix)]
fn write_all_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_all_at(file: &File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        let written = file.seek_write(bytes, offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(written..).unwrap_or_default();
        offset += written as u64;
    }
    Ok(())
}

/// Makes the new name itself survive a power loss; only Unix lets a directory be synchronised.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        write_whole(&target, b"first").unwrap();
        let output = Output::create(&target).unwrap();
        output.write_at(0, b"second").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"first");
        drop(output);
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["a"]);
        assert!(matches!(Output::create(folder.path()).unwrap_err().fault(), Fault::Directory));
    }
}
