//! `cargo xtask fuzz`: runs fuzz targets for longer than the tests do, and keeps small corpora.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

const USAGE: &str = "\
usage: cargo xtask fuzz --list
       cargo xtask fuzz TARGET [--seconds N] [--jobs J]
       cargo xtask fuzz --all [--seconds N] [--jobs J]
       cargo xtask fuzz --keep TARGET     (chooses the corpus to be kept from what runs have found)";

/// Seconds for one target, unless told.
const SECONDS: u64 = 600;
/// The longest input, in bytes.
const INPUT_BYTES_MAX: u64 = 4096;
/// What is kept of a target: so many files, of so many bytes at most.
const KEPT_FILES_MAX: usize = 48;
const KEPT_BYTES_MAX: u64 = 4096;

struct Options {
    targets: Vec<String>,
    seconds: u64,
    jobs: u64,
    keep: bool,
}

pub fn run(root: &Path, args: &[String]) -> ExitCode {
    let all = targets(root);
    if args.iter().any(|arg| arg == "--list") {
        all.iter().for_each(|name| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let options = match parse(args, &all) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Err(missing) = check_tools() {
        eprintln!("{missing}");
        return ExitCode::FAILURE;
    }
    let work = if options.keep { keep } else { fuzz };
    // All of them, even if one finds something.
    let failed: Vec<&String> = options.targets.iter().filter(|target| !work(root, target, &options)).collect();
    for target in &failed {
        eprintln!("fuzz: {target} failed; inputs that break it are in fuzz/artifacts/{target}");
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(args: &[String], all: &[String]) -> Result<Options, String> {
    let mut options = Options { targets: Vec::new(), seconds: SECONDS, jobs: 1, keep: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = |what: &str| {
            let value = args.next().and_then(|value| value.parse::<u64>().ok()).filter(|value| *value > 0);
            value.ok_or(format!("{what} needs a number above zero"))
        };
        match arg.as_str() {
            "--seconds" => options.seconds = number("--seconds")?,
            "--jobs" => options.jobs = number("--jobs")?,
            "--all" => options.targets = all.to_vec(),
            "--keep" => options.keep = true,
            name if all.iter().any(|target| target == name) => options.targets.push(name.to_owned()),
            name => return Err(format!("there is no target {name}; `cargo xtask fuzz --list` names them")),
        }
    }
    if options.targets.is_empty() { Err("which target?".to_owned()) } else { Ok(options) }
}

/// The targets are the shims in `fuzz/fuzz_targets`.
fn targets(root: &Path) -> Vec<String> {
    let shims = fs::read_dir(root.join("fuzz/fuzz_targets")).into_iter().flatten().flatten();
    let name = |path: PathBuf| path.file_stem().and_then(OsStr::to_str).map(str::to_owned);
    let mut names: Vec<String> = shims.filter_map(|entry| name(entry.path())).collect();
    names.sort();
    names
}

fn check_tools() -> Result<(), String> {
    let works = |args: &[&str]| {
        let quiet = Command::new("cargo").args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        quiet.is_ok_and(|status| status.success())
    };
    if !works(&["+nightly", "--version"]) {
        return Err("fuzzing needs the nightly toolchain: rustup toolchain install nightly".to_owned());
    }
    if !works(&["fuzz", "--version"]) {
        return Err("fuzzing needs cargo-fuzz: cargo install cargo-fuzz".to_owned());
    }
    Ok(())
}

/// A folder below `fuzz/` for one target, made if it is missing.
fn folder(root: &Path, kind: &str, target: &str) -> PathBuf {
    let path = root.join("fuzz").join(kind).join(target);
    if let Err(error) = fs::create_dir_all(&path) {
        eprintln!("fuzz: {} cannot be made ({error})", path.display());
    }
    path
}

/// No unsafe code of ours is there to be sanitized, and without it fuzzing is several times as fast.
fn fuzzer(root: &Path, target: &str) -> Command {
    let mut command = Command::new("cargo");
    command.args(["+nightly", "fuzz", "run", "--sanitizer", "none", "--release", target]).current_dir(root);
    command
}

fn fuzz(root: &Path, target: &str, options: &Options) -> bool {
    let (found, kept) = (folder(root, "work/corpus", target), folder(root, "corpus", target));
    let seeds = folder(root, "work/seeds", target);
    let made = Command::new("cargo")
        .args(["run", "--quiet", "--package", "ringfort-fuzz-targets", "--bin", "fuzz-seeds", "--", target])
        .arg(&seeds)
        .current_dir(root)
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("fuzz: the seeds of {target} could not be made");
        return false;
    }
    println!("fuzz: {target} for {} s with {} jobs", options.seconds, options.jobs);
    let mut command = fuzzer(root, target);
    command.args([found, kept, seeds]).arg("--");
    command.arg(format!("-max_total_time={}", options.seconds)).arg(format!("-max_len={INPUT_BYTES_MAX}"));
    command.args(["-timeout=25", "-rss_limit_mb=3000", "-print_final_stats=1"]);
    if options.jobs > 1 {
        command.arg(format!("-fork={}", options.jobs));
    }
    command.status().is_ok_and(|status| status.success())
}

/// Of the fewest inputs with the coverage of all that was found, some of every size become the kept corpus. What was
/// a finding, and is named so, stays.
fn keep(root: &Path, target: &str, _: &Options) -> bool {
    let (found, kept) = (folder(root, "work/corpus", target), folder(root, "corpus", target));
    let (seeds, chosen) = (folder(root, "work/seeds", target), folder(root, "work/chosen", target));
    let _ = fs::remove_dir_all(&chosen).and_then(|()| fs::create_dir_all(&chosen));
    let mut command = fuzzer(root, target);
    command.args([&chosen, &found, &kept, &seeds]).args(["--", "-set_cover_merge=1"]);
    command.arg(format!("-max_len={KEPT_BYTES_MAX}"));
    if !command.status().is_ok_and(|status| status.success()) {
        return false;
    }
    let files = fs::read_dir(&chosen).into_iter().flatten().flatten().map(|entry| entry.path());
    let size = |path: &PathBuf| path.metadata().map(|m| m.len()).unwrap_or(u64::MAX);
    let mut files: Vec<PathBuf> = files.filter(|path| size(path) <= KEPT_BYTES_MAX).collect();
    files.sort_by_key(|path| (size(path), path.clone()));
    let files: Vec<PathBuf> = files.iter().step_by(files.len().div_ceil(KEPT_FILES_MAX).max(1)).cloned().collect();
    let old = fs::read_dir(&kept).into_iter().flatten().flatten();
    for old in old.filter(|old| !old.file_name().to_string_lossy().starts_with("found-")) {
        let _ = fs::remove_file(old.path());
    }
    for path in &files {
        let copied = path.file_name().map(|name| fs::copy(path, kept.join(name)));
        if let Some(Err(error)) = copied {
            eprintln!("fuzz: {} cannot be kept ({error})", path.display());
            return false;
        }
    }
    println!("fuzz: {} inputs of {target} are kept", files.len());
    true
}
