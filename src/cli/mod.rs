//! The command line: arguments become a plan, the plan is run, its end becomes an exit code.
//!
//! Exit codes are a contract: 0 done, 1 the answer is no, 2 bad usage, 3 bad input file or data.

mod bench;
mod convert;
mod data;
mod detect;
mod eval;
mod inspect;
mod mapping;
mod models;
mod network;
mod outcome;
mod pictures;
mod size;
mod threads;
mod verify;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::{Value as Json, json};

use self::outcome::Usage;
use crate::identify::LoadError;
use crate::mapping::TableError;
use crate::verify::VerifyError;

/// Moves detector weights between frameworks and proves that nothing was lost on the way.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what is in a checkpoint, without running any of its code
    Inspect(inspect::Inspect),
    /// Write a checkpoint in another format, every bit intact
    Convert(convert::Convert),
    /// List the networks that are known, or the layers of one
    Models(models::Models),
    /// Compare a detector with its original: weights, input, layers, boxes
    Verify(verify::Verify),
    /// Show what a detector sees in pictures
    Detect(detect::Detect),
    /// Measure how good detections are, with COCO's or Pascal VOC's metric
    Eval(eval::Eval),
    /// Count, check, convert or part data sets of COCO, Pascal VOC and YOLO
    Data(data::Data),
    /// Measure how fast a network runs on this machine
    Bench(bench::Bench),
    /// List, check or show the tables that relate the tensor names of other code bases to the networks'
    Mapping(mapping::Mapping),
}

const DONE: u8 = 0;
const ANSWER_IS_NO: u8 = 1;
const BAD_USAGE: u8 = 2;
const BAD_INPUT: u8 = 3;

/// Runs the program on the process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let (wants_json, outcome) = match &cli.command {
        Command::Inspect(command) => (command.json, command.run()),
        Command::Convert(command) => (command.json, command.run()),
        Command::Models(command) => (command.json, command.run()),
        Command::Verify(command) => (command.json, command.run()),
        Command::Detect(command) => (command.json, command.run()),
        Command::Eval(command) => (command.json(), command.run()),
        Command::Data(command) => (command.json(), command.run()),
        Command::Bench(command) => (command.json, command.run()),
        Command::Mapping(command) => (command.json(), command.run()),
    };
    let (text, code) = match outcome {
        Ok(report) => {
            let text = if wants_json { document(&report.json) } else { report.text };
            (text, if report.answer { DONE } else { ANSWER_IS_NO })
        }
        Err(error) => failure(&error, wants_json),
    };
    match io::stdout().write_all(text.as_bytes()) {
        // The reader of a pipe may have seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(BAD_INPUT),
        _ => ExitCode::from(code),
    }
}

/// Help and version, or what is wrong with the arguments: with `--json` as a document too.
fn usage(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args().any(|argument| argument == "--json");
    if error.use_stderr() && wants_json {
        let error = json!({ "class": "usage", "file": null, "message": error.to_string() });
        print!("{}", document(&json!({ "error": error })));
    }
    // Nothing else can be said when the message itself cannot.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { BAD_USAGE } else { DONE })
}

fn document(json: &Json) -> String {
    format!("{json:#}\n")
}

/// Says what went wrong: on standard error, with `--json` as a document on standard output as well.
fn failure(error: &anyhow::Error, wants_json: bool) -> (String, u8) {
    eprintln!("error: {error}");
    let (class, file, code) = classified(error);
    if !wants_json {
        return (String::new(), code);
    }
    let mut json = json!({ "class": class, "file": file, "message": error.to_string() });
    let problems = error.downcast_ref::<LoadError>().map(LoadError::problems).unwrap_or_default();
    if let Some(json) = json.as_object_mut().filter(|_| !problems.is_empty()) {
        json.insert("problems".to_owned(), network::problems(problems));
    }
    (document(&json!({ "error": json })), code)
}

/// The class of a failure, the file at fault and the exit code.
fn classified(error: &anyhow::Error) -> (&'static str, Option<String>, u8) {
    let shown = |file: &Path| Some(file.display().to_string());
    if let Some(error) = error.downcast_ref::<converters::Error>() {
        return (error.class().name(), shown(error.file()), BAD_INPUT);
    }
    if let Some(error) = error.downcast_ref::<vision::pictures::Error>() {
        return (error.class(), shown(error.file()), BAD_INPUT);
    }
    if let Some(error) = error.downcast_ref::<files::Error>() {
        return ("io", shown(error.file()), BAD_INPUT);
    }
    if let Some(error) = error.downcast_ref::<crate::detect::Error>() {
        let code = if error.is_usage() { BAD_USAGE } else { BAD_INPUT };
        return (error.class(), error.file().and_then(shown), code);
    }
    if let Some(error) = error.downcast_ref::<vision::eval::Error>() {
        let code = if error.is_usage() { BAD_USAGE } else { BAD_INPUT };
        return (error.class(), error.file().and_then(shown), code);
    }
    if let Some(error) = error.downcast_ref::<vision::data::Error>() {
        let code = if error.is_usage() { BAD_USAGE } else { BAD_INPUT };
        return (error.class(), error.file().and_then(shown), code);
    }
    if let Some(error) = error.downcast_ref::<TableError>() {
        return ("mapping-table", Some(error.origin.clone()), BAD_INPUT);
    }
    if let Some(error) = error.downcast_ref::<VerifyError>() {
        return ("verify", error.file().and_then(shown), BAD_INPUT);
    }
    match error.downcast_ref::<LoadError>() {
        Some(LoadError::File(error)) => (error.class().name(), shown(error.file()), BAD_INPUT),
        Some(LoadError::Identify { file, .. } | LoadError::Mapping { file, .. }) => {
            ("unknown-network", shown(file), BAD_INPUT)
        }
        None if error.is::<Usage>() => ("usage", None, BAD_USAGE),
        None => ("io", None, BAD_INPUT),
    }
}
