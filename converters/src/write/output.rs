//! A file that appears whole or not at all.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Problem, Result};

/// A temporary file beside its target.
#[derive(Debug)]
pub(super) struct Output {
    target: PathBuf,
    temporary: NamedTempFile,
}

impl Output {
    /// Creates the temporary file in the directory of `target`. A target that is a link is replaced where it
    /// points.
    pub(super) fn create(target: &Path) -> Result<Output> {
        let target = std::fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        let fail = |source| Error::new(&target, Problem::Io(source));
        let existing = std::fs::metadata(&target).ok();
        if target.is_dir() {
            return Err(Error::new(&target, Problem::Directory { unpacked_archive: false }));
        }
        if existing.as_ref().is_some_and(|existing| !existing.is_file()) {
            return Err(Error::new(&target, Problem::NotRegularFile));
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
    pub(super) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        write_all_at(self.temporary.as_file(), offset, bytes).map_err(|source| self.fail(source))
    }

    /// Asks the system to put what was written so far on the disk, while more is written.
    pub(super) fn flush_so_far(&self) -> Result<()> {
        self.temporary.as_file().sync_data().map_err(|source| self.fail(source))
    }

    /// Puts the content on the disk and gives the file its name.
    pub(super) fn finish(self) -> Result<()> {
        let Output { target, temporary } = self;
        let fail = |source| Error::new(&target, Problem::Io(source));
        temporary.as_file().sync_all().map_err(fail)?;
        temporary.persist(&target).map_err(|error| fail(error.error))?;
        sync_directory(directory(&target)).map_err(fail)
    }

    fn fail(&self, source: io::Error) -> Error {
        Error::new(&self.target, Problem::Io(source))
    }
}

fn directory(target: &Path) -> &Path {
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
