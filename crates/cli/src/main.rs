//! The `port` command.
//!
//! `command` reads the arguments and hands them to the file of the command, which makes them a plan, runs it, and
//! says in an `outcome` what came of it, as text and as JSON; `failure` has the names of failures and the exit codes.
//! `report` has the tables and quantities of all commands.

#![forbid(unsafe_code)]

mod bench;
mod command;
mod convert;
mod data;
mod detect;
mod eval;
mod failure;
mod inspect;
mod mapping;
mod models;
mod network;
mod outcome;
mod pictures;
mod progress;
mod report;
mod share;
mod size;
mod threads;
mod verify;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::main()
}
