//! The `ringfort` command.

use std::process::ExitCode;

use clap::Parser;
use ringfort_cli::Cli;

fn main() -> ExitCode {
    ringfort_cli::run(Cli::parse())
}
