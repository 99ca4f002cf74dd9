//! The `port` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    port::cli::main()
}
