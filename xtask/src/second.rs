//! The second build: RustCrypto's AES-GCM and Fiat Cryptography's field arithmetic in place of AWS-LC's and dalek's own.
//! Leaders of both builds in one group share less.

use std::path::Path;
use std::process::{Command, ExitCode};

/// One switch for all that there is twice: see `ringfort_crypto::BACK_ENDS`.
const SWITCH: &str = "--cfg curve25519_dalek_backend=\"fiat\"";
/// For tests alone these are not optimised: most of their time in the compiler goes there.
const QUICK: [&str; 7] = ["agreement", "agreement-sim", "peer", "peer-keys", "peer-sim", "protocol", "sim"];
/// Beside the first build, so that neither makes the other anew.
const FOLDER: &str = "target/second";

/// `cargo xtask build-second`: the command `ringfort`, with cargo's options; optimised if there are none.
pub fn build(root: &Path, options: &[String]) -> ExitCode {
    let optimised = ["--release".to_owned()];
    let options = if options.is_empty() { &optimised } else { options };
    let done = cargo(root, &["build", "--package", "ringfort-cli", "--bin", "ringfort"], options);
    if done {
        println!("the second build is in {FOLDER}; `ringfort --version` tells which one a program is");
    }
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `cargo xtask test-second`: recorded vectors under the second build, and leaders of both builds in one group. With
/// `--alone` the vectors only: leaders meet in `cargo test` too, if `RINGFORT_SECOND` names the second build's program.
/// The demo is built as well: with these two, and no test, libraries have the features that a user's build gives them.
pub fn test(root: &Path, options: &[String]) -> ExitCode {
    let level = |name: &&str| format!("profile.dev.package.ringfort-{name}.opt-level=0");
    let quick: Vec<String> = QUICK.iter().flat_map(|name| ["--config".to_owned(), level(name)]).collect();
    let built = cargo(root, &["build", "--package", "ringfort-cli", "--package", "ringfort-demo", "--bins"], &quick);
    let agree = built && cargo(root, &["test", "--package", "ringfort-crypto", "--lib"], &quick);
    let program = root.join(FOLDER).join("debug/ringfort");
    let together = agree && {
        if options.iter().any(|option| option == "--alone") {
            println!("RINGFORT_SECOND={}", program.display());
            true
        } else {
            let mut command = Command::new("cargo");
            command.args(["test", "--package", "ringfort-cli", "--test", "cli", "second::"]);
            run(root, command.env("RINGFORT_SECOND", program))
        }
    };
    if together { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cargo(root: &Path, command: &[&str], options: &[String]) -> bool {
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    let mut cargo = Command::new("cargo");
    cargo.args(command).args(["--target-dir", FOLDER]).args(options);
    run(root, cargo.env("RUSTFLAGS", format!("{flags} {SWITCH}").trim()))
}

fn run(root: &Path, command: &mut Command) -> bool {
    match command.current_dir(root).status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("second build: cargo does not run ({error})");
            false
        }
    }
}
