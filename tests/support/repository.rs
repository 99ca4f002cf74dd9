//! Where the repository and the data beside it lie, for the tests of every crate.

use std::path::{Path, PathBuf};

/// The root of the repository, whichever crate is tested.
pub fn repository() -> PathBuf {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.find(|folder| folder.join("samples").is_dir()).unwrap().to_owned()
}

/// The folder `name` of the reference data beside the repository. Where there is none the test that asks says so
/// and passes; the project's own continuous integration has the data and may not do without.
pub fn reference(name: &str) -> Option<PathBuf> {
    shared("reference", name)
}

/// The data set `name` beside the repository, with the same habits.
pub fn data_set(name: &str) -> Option<PathBuf> {
    shared("data", name)
}

fn shared(kind: &str, name: &str) -> Option<PathBuf> {
    let folder = repository().join("../shared").join(kind).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "no reference data at {}", folder.display());
    eprintln!("SKIPPED: no reference data at {}", folder.display());
    None
}
