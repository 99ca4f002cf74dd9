//! Everything that a command can fail with, what it is called, and how the process ends.

use std::io;
use std::path::{Path, PathBuf};

use engine::RuntimeError;
use files::{Failure, printable};
use network::graph::GraphError;
use port::identify::LoadError;
use port::mapping::{Problem, TableError};
use port::verify::VerifyError;
use serde_json::{Value as Json, json};

use crate::outcome::{BAD_INPUT, BAD_USAGE, Usage};

/// Shorthand for results of commands.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of a command: the errors of every room, and what only the command can meet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Usage(#[from] Usage),
    #[error(transparent)]
    Checkpoint(#[from] converters::Error),
    #[error(transparent)]
    File(#[from] files::Error),
    #[error(transparent)]
    Picture(#[from] vision::pictures::Error),
    #[error(transparent)]
    Data(#[from] vision::data::Error),
    #[error(transparent)]
    Eval(#[from] vision::eval::Error),
    #[error(transparent)]
    Detect(#[from] port::detect::Error),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A file that cannot be read as text.
    #[error("{}: cannot be read: {problem}", shown(file))]
    Unreadable { file: PathBuf, problem: io::Error },
    /// A document that is not what a command of ours printed.
    #[error("{}: {what}", shown(file))]
    Document { file: PathBuf, what: String },
    #[error(transparent)]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// What was found cannot be written down.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Text(#[from] std::fmt::Error),
    #[error(transparent)]
    Drawing(#[from] image::ImageError),
}

/// What scripts are told of an error.
enum Told<'a> {
    /// What the room's own error says.
    Room(&'a dyn Failure),
    /// What the command says for an error that knows no files.
    Here(&'static str, Option<&'a Path>),
}

impl Error {
    fn told(&self) -> Told<'_> {
        match self {
            Error::Checkpoint(error) => Told::Room(error),
            Error::File(error) => Told::Room(error),
            Error::Picture(error) => Told::Room(error),
            Error::Data(error) => Told::Room(error),
            Error::Eval(error) => Told::Room(error),
            Error::Detect(error) => Told::Room(error),
            Error::Table(error) => Told::Room(error),
            Error::Load(error) => Told::Room(error),
            Error::Verify(error) => Told::Room(error),
            Error::Usage(_) => Told::Here("usage", None),
            Error::Runtime(RuntimeError::Internal { .. }) => Told::Here("internal", None),
            Error::Graph(_) | Error::Runtime(_) => Told::Here("network", None),
            Error::Unreadable { file, .. } => Told::Here("io", Some(file)),
            Error::Document { file, .. } => Told::Here("corrupt", Some(file)),
            Error::Threads(_) => Told::Here("threads", None),
            Error::Json(_) | Error::Text(_) | Error::Drawing(_) => Told::Here("internal", None),
        }
    }

    /// Everything that is in the way, tensor by tensor, where that is the reason.
    fn problems(&self) -> &[Problem] {
        match self {
            Error::Load(error) => error.problems(),
            _ => &[],
        }
    }
}

impl Failure for Error {
    fn class(&self) -> &'static str {
        match self.told() {
            Told::Room(error) => error.class(),
            Told::Here(class, _) => class,
        }
    }

    fn file(&self) -> Option<&Path> {
        match self.told() {
            Told::Room(error) => error.file(),
            Told::Here(_, file) => file,
        }
    }

    fn is_usage(&self) -> bool {
        match self.told() {
            Told::Room(error) => error.is_usage(),
            Told::Here(class, _) => class == "usage",
        }
    }
}

/// JSON as it is printed.
pub(crate) fn document(json: &Json) -> String {
    format!("{json:#}\n")
}

/// Says what went wrong: on standard error, with `--json` as a document on standard output as well.
pub(crate) fn failure(error: &Error, wants_json: bool) -> (String, u8) {
    eprintln!("error: {error}");
    let code = if error.is_usage() { BAD_USAGE } else { BAD_INPUT };
    if !wants_json {
        return (String::new(), code);
    }
    let file = error.file().map(|file| file.display().to_string());
    let mut json = json!({ "class": error.class(), "file": file, "message": error.to_string() });
    let found = error.problems();
    if let Some(json) = json.as_object_mut().filter(|_| !found.is_empty()) {
        json.insert("problems".to_owned(), problems(found));
    }
    (document(&json!({ "error": json })), code)
}

fn shown(file: &Path) -> String {
    printable(&file.to_string_lossy())
}

/// Everything that keeps a checkpoint from being a network, for scripts.
fn problems(problems: &[Problem]) -> Json {
    problems.iter().map(problem).collect()
}

fn problem(problem: &Problem) -> Json {
    let near = problem.near().iter().map(|near| json!({ "name": near.name, "shape": near.shape }));
    json!({
        "kind": problem.kind(),
        "name": problem.name(),
        "message": problem.to_string(),
        "nearest": near.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was "io" because no rung of a ladder had it.
    #[test]
    fn every_error_has_its_own_class() {
        let graph = || GraphError::Module { path: "head".to_owned() };
        let internal = RuntimeError::Internal { module: "head".to_owned(), what: "nothing".to_owned() };
        let file = PathBuf::from("replayed.json");
        let document = Error::Document { file: file.clone(), what: "no document".to_owned() };
        for (error, class, at) in [
            (Error::from(graph()), "network", None),
            (RuntimeError::from(graph()).into(), "network", None),
            (internal.into(), "internal", None),
            (std::fmt::Error.into(), "internal", None),
            (document, "corrupt", Some(file.as_path())),
        ] {
            assert_eq!((error.class(), error.file(), error.is_usage()), (class, at, false), "{error}");
        }
        let usage = Error::from(Usage("no".to_owned()));
        assert_eq!((usage.class(), failure(&usage, false).1), ("usage", BAD_USAGE));
    }
}
