//! Developer commands: `cargo xtask tidy` checks the house rules, `cargo xtask fuzz` and `cargo xtask model` look
//! longer than the tests do, `cargo xtask build-second` builds with other cryptographic libraries.

mod fuzz;
mod ids;
mod second;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
usage: cargo xtask tidy
       cargo xtask fuzz --list | TARGET | --all [--seconds N] [--jobs J]
       cargo xtask model [--large] [--only NAME]
       cargo xtask build-second [cargo's options]
       cargo xtask test-second [--alone]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = args.split_first().map(|(first, rest)| (first.as_str(), rest)).unwrap_or_default();
    match command {
        "tidy" => tidy::run(),
        "fuzz" => fuzz::run(&root(), rest),
        "build-second" => second::build(&root(), rest),
        "test-second" => second::test(&root(), rest),
        "model" => model(&root(), rest),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace").to_path_buf()
}

/// Every order of events in small worlds; `docs/model.md` has what came of it.
fn model(root: &Path, args: &[String]) -> ExitCode {
    let status = Command::new("cargo")
        .args(["run", "--quiet", "--release", "--package", "ringfort-model", "--"])
        .args(args)
        .current_dir(root)
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("model: cargo does not run ({error})");
            ExitCode::FAILURE
        }
    }
}
