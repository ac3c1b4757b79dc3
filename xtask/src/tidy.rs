//! The house rules that a compiler does not know: what each room may not contain.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Lines of one file before its tests.
const LINES_MAX: usize = 500;

/// What a pure core does not touch.
const PURE: &[&str] = &[
    "std::net",
    "std::fs",
    "std::env",
    "std::thread",
    "tokio",
    "Instant::now",
    "SystemTime",
    "HashMap",
    "HashSet",
    "getrandom",
    "println!",
    "tracing",
];

/// What drivers do not name, though they speak of adversaries.
const ATTACK_KIT: &[&str] = &["mutants", "ringfort_sim", "ringfort_demo", "ringfort_attack"];

/// What production programs do not even speak of.
const ADVERSARIES: &[&str] = &["mutants", "ringfort_sim", "ringfort_demo", "ringfort_attack", "dversary"];

const UNFINISHED: &[&str] = &["unsafe {", "unsafe fn", "todo!(", "unimplemented!(", "FIXME"];

/// Words that may not stand in a room, and why. Each is an architecture invariant of `ARCHITECTURE.md`.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    (
        "crates/protocol/src",
        PURE,
        "protocol cores are pure: time and randomness are arguments, nothing is ordered by a hash",
    ),
    ("crates/kernel/src", PURE, "the kernel is pure, and so is what is built from it"),
    (
        "crates/kernel/src",
        &["ringfort_protocol", "Leader", "Member"],
        "the kernel knows no protocol: whatever kind of group there is, it serves it",
    ),
    ("crates/agreement/src", PURE, "agreement is pure: time is an argument, nothing is ordered by a hash"),
    (
        "crates/agreement/src",
        &["ringfort_protocol", "ringfort_peer", "ringfort_sim"],
        "agreement knows no kind of group and no adversary",
    ),
    (
        "crates/services/src",
        PURE,
        "services are pure: all leaders come to the same state, and one seed replays one run",
    ),
    (
        "crates/services/src",
        &["ringfort_agreement", "ringfort_sim"],
        "services know no order but its entries, and no adversary",
    ),
    (
        "verify/agreement-sim/src",
        &["Instant::now", "SystemTime", "HashMap", "HashSet", "getrandom"],
        "one seed replays one run",
    ),
    ("crates/peer/src", PURE, "the core of peer groups is pure: time is an argument, nothing is ordered by a hash"),
    ("crates/peer/src", &["ringfort_protocol", "ringfort_sim"], "peer groups know no led group and no adversary"),
    (
        "crates/peer/src/ring",
        &["crate::groups", "crate::membership::gather"],
        "the ring knows no group and no membership",
    ),
    ("crates/peer/src/groups", &["crate::membership", "crate::wire"], "groups know no ring formation and no frame"),
    (
        "crates/peer-keys/src",
        PURE,
        "secure groups are values: time and randomness are arguments, nothing is ordered by a hash",
    ),
    (
        "crates/peer-keys/src",
        &["ringfort_protocol", "ringfort_site", "ringfort_spread", "ringfort_peer::site"],
        "secure groups know no led group and nothing of the sites but their views and messages",
    ),
    ("crates/peer-keys/src/flush", &["crate::keys", "crate::data"], "the flush knows no key"),
    ("crates/peer-keys/src/keys", &["crate::flush", "crate::data"], "keys know no flush and no channel"),
    ("crates/peer-keys/src/keys/tgdh", &["keys::gdh", "keys::ckd"], "key protocols know nothing of one another"),
    ("crates/peer-keys/src/keys/gdh", &["keys::tgdh", "keys::ckd"], "key protocols know nothing of one another"),
    ("crates/peer-keys/src/keys/ckd", &["keys::tgdh", "keys::gdh"], "key protocols know nothing of one another"),
    (
        "verify/peer-sim/src",
        &["Instant::now", "SystemTime", "HashMap", "HashSet", "getrandom"],
        "one seed replays one run",
    ),
    ("verify/trace-check/src", &["ringfort_peer", "ringfort_protocol"], "the checker of traces knows no protocol"),
    ("crates/spread/src", PURE, "a codec is a value: bytes in, meaning out"),
    ("crates/crypto/src", PURE, "crypto takes randomness as an argument and touches nothing outside"),
    (
        "crates/files/src/core",
        PURE,
        "the core of file transfer is a value: time, randomness and the disk are arguments",
    ),
    ("crates/files/src", ATTACK_KIT, "production code knows no adversary"),
    (
        "crates/ttcb/src/core",
        PURE,
        "the trusted component is a value: time and randomness are arguments, nothing is ordered by a hash",
    ),
    (
        "crates/ttcb/src",
        &["ringfort_protocol", "ringfort_peer", "ringfort_agreement", "ringfort_sim", "serde", "toml", "tokio"],
        "the trusted component knows no group, no adversary, no parser and no runtime",
    ),
    ("crates/setup/src", PURE, "the ceremony is pure: time and randomness are arguments, nothing is ordered by a hash"),
    ("crates/link/src", &["ringfort_protocol", "ringfort_crypto"], "links move bytes and know no message"),
    ("verify/sim/src", &["Instant::now", "SystemTime", "HashMap", "HashSet", "getrandom"], "one seed replays one run"),
    ("crates/ringfort/src", ATTACK_KIT, "production code knows no adversary"),
    ("crates/node/src", ATTACK_KIT, "production code knows no adversary"),
    ("crates/documents/src", ATTACK_KIT, "production code knows no adversary"),
    ("crates/cli/src", ADVERSARIES, "production code knows no adversary"),
    ("crates/agent/src", ADVERSARIES, "production code knows no adversary"),
    ("crates/etcd/src", ADVERSARIES, "production code knows no adversary"),
    ("crates/daemon/src", ADVERSARIES, "production code knows no adversary"),
    (PRODUCTION, UNFINISHED, "no unsafe code, nothing unfinished"),
    (VERIFICATION, UNFINISHED, "no unsafe code, nothing unfinished"),
];

/// Where the clock of a simulation driver may be read: outside the simulated world.
const ALLOWED: &[(&str, &str)] = &[("verify/sim/src/main.rs", "Instant::now")];

/// What ships, and what proves it. Nothing in the first folder links anything of the second.
const PRODUCTION: &str = "crates";
const VERIFICATION: &str = "verify";
/// Weakens rules, for the tests of the tests.
const MUTANTS: &str = "features = [\"mutants\"]";

pub fn run() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace").to_path_buf();
    let mut complaints = Vec::new();
    for (room, words, why) in FORBIDDEN {
        for file in rust_files(&root.join(room)) {
            check_words(&root, &file, words, why, &mut complaints);
        }
    }
    let in_rooms = [PRODUCTION, VERIFICATION].into_iter().flat_map(|folder| rust_files(&root.join(folder)));
    for file in in_rooms {
        check_length(&root, &file, &mut complaints);
    }
    for package in rooms(&root, PRODUCTION) {
        check_manifest(&root, &package, &mut complaints);
    }
    check_documents(&root, &mut complaints);
    let sources: Vec<PathBuf> =
        [PRODUCTION, VERIFICATION, "xtask"].iter().flat_map(|folder| rust_files(&root.join(folder))).collect();
    crate::ids::check(&root, &sources, &mut complaints);
    complaints.iter().for_each(|complaint| eprintln!("tidy: {complaint}"));
    if complaints.is_empty() {
        println!("tidy: all rooms are in order");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn check_words(root: &Path, file: &Path, words: &[&str], why: &str, complaints: &mut Vec<String>) {
    let name = relative(root, file);
    if name.contains("/tests") {
        return;
    }
    let text = production_text(file);
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for word in words.iter().filter(|word| code.contains(**word)) {
            if !ALLOWED.contains(&(name.as_str(), word)) {
                complaints.push(format!("{name}:{}: `{word}`: {why}", number + 1));
            }
        }
    }
}

fn check_length(root: &Path, file: &Path, complaints: &mut Vec<String>) {
    let lines = production_text(file).lines().count();
    if lines > LINES_MAX {
        complaints.push(format!("{}: {lines} lines before its tests; a file tells one story", relative(root, file)));
    }
}

/// What a program of a member must not build: a leader, and with it SQLite and FROST.
const OF_LEADERS: &[&str] =
    &["ringfort-node", "ringfort-setup", "ringfort-agreement", "rusqlite", "frost-ristretto255"];
/// What programs of members are made of.
const OF_MEMBERS: &[&str] =
    &["agent", "crypto", "documents", "etcd", "files", "kernel", "link", "protocol", "ringfort", "runtime"];

fn check_manifest(root: &Path, package: &str, complaints: &mut Vec<String>) {
    let text = fs::read_to_string(root.join(PRODUCTION).join(package).join("Cargo.toml")).unwrap_or_default();
    let dependencies = text.split("[dev-dependencies]").next().unwrap_or_default();
    let verification = rooms(root, VERIFICATION);
    for line in dependencies.lines() {
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        let room = name.strip_prefix("ringfort-").unwrap_or_default();
        let of_leaders = OF_MEMBERS.contains(&package) && OF_LEADERS.contains(&name);
        if of_leaders {
            complaints.push(format!("{PRODUCTION}/{package}/Cargo.toml: `{name}` in a program of members"));
        }
        if verification.iter().any(|verifies| verifies == room) || line.contains(MUTANTS) {
            complaints.push(format!("{PRODUCTION}/{package}/Cargo.toml: `{line}` in a production package"));
        }
    }
}

/// The packages of a folder.
fn rooms(root: &Path, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
    let mut rooms: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    rooms.sort();
    rooms
}

/// Every room stands on the map, and the README's commands are the ones that CI runs.
fn check_documents(root: &Path, complaints: &mut Vec<String>) {
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_default();
    let map = read("ARCHITECTURE.md");
    for folder in [PRODUCTION, VERIFICATION] {
        for room in rooms(root, folder) {
            if !map.contains(&format!("{folder}/{room}")) {
                complaints.push(format!("ARCHITECTURE.md does not mention {folder}/{room}"));
            }
        }
    }
    let (readme, ci) = (read("README.md"), read(".ci/run"));
    for file in ["LICENSE-MIT", "LICENSE-APACHE", "CONTRIBUTING.md", "docs/glossary.md", "docs/decisions/README.md"] {
        if !root.join(file).is_file() {
            complaints.push(format!("{file} is missing"));
        }
    }
    for command in ["cargo demo", "cargo test --workspace"] {
        if !readme.contains(command) {
            complaints.push(format!("README.md does not show `{command}`"));
        }
    }
    if !ci.contains("cargo test --workspace") {
        complaints.push("`.ci/run` does not run the README's test command".to_owned());
    }
}

/// The file up to its unit tests.
fn production_text(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let end = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text.get(..end).unwrap_or_default().to_owned()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}
