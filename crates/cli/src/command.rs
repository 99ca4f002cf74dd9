//! The command line: arguments become a plan, the plan is run, its end becomes an exit code.
//!
//! Exit codes are a contract: 0 done, 1 the answer is no, 2 bad usage, 3 bad input file or data.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;

use crate::failure::{document, failure};
use crate::outcome::{ANSWER_IS_NO, BAD_INPUT, BAD_USAGE, DONE};
use crate::{bench, convert, data, detect, eval, inspect, mapping, models, verify};

/// Moves detector weights between frameworks and proves that nothing was lost on the way.
#[derive(Debug, Parser)]
#[command(name = "port", version, max_term_width = 110)]
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
