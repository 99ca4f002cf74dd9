//! What the integration tests share.

use std::path::{Path, PathBuf};

/// The folder `name` of the reference data beside the repository. Where there is none the test that asks says so
/// and passes; the project's own continuous integration has the data and may not do without.
pub fn reference(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "no reference data at {}", folder.display());
    eprintln!("SKIPPED: no reference data at {}", folder.display());
    None
}
