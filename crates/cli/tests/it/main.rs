//! Commands, run as a user would.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod bench;
mod convert;
mod data;
mod detect;
mod eval;
mod inspect;
mod mapping;
mod readme;
#[path = "../../../../tests/support/repository.rs"]
mod support;
mod verify;
#[path = "../../../../tests/support/weights.rs"]
mod weights;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;

/// A directory of its own, and the program run in it.
struct Sandbox {
    folder: tempfile::TempDir,
}

/// What a run printed and how it ended.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Sandbox {
    fn new() -> Self {
        Sandbox { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the directory.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path(name), content).unwrap();
        self
    }

    /// Copies a file of the repository into the directory.
    fn copy(&self, from: &str) -> &Self {
        let name = Path::new(from).file_name().unwrap().to_string_lossy().into_owned();
        self.file(&name, std::fs::read(repository(from)).unwrap())
    }

    fn port(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_port"));
        Ran::new(command.args(arguments).current_dir(self.folder.path()).output().unwrap())
    }
}

impl Ran {
    fn new(output: Output) -> Self {
        Ran {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    support::repository().join(path)
}
