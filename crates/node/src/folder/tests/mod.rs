use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ringfort_protocol::{Policy, Rules, UserName};
use zeroize::Zeroizing;

use super::*;
use ringfort_documents::*;

mod enrolment;
mod group;
mod inbox;
mod leader_folder;
mod setup;
mod user_key;

/// Hardening costs nothing, so that tests are quick.
fn policy() -> Policy {
    Policy { argon2_memory_kib: 8, argon2_passes: 1, ..Policy::default() }
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn options(n: u8, f: u8) -> InitOptions {
    InitOptions {
        name: "Choir of St. Åsa \"the loud\"".to_owned(),
        rules: Rules::new(n, f, f + 1).unwrap(),
        addresses: (1..=n).map(|i| format!("leader{i}.example:70{i:02}")).collect(),
        policy: policy(),
        users: vec![NewUser {
            name: name("ana"),
            secret: NewSecret::Password(Zeroizing::new("correct horse".to_owned())),
        }],
    }
}

/// A group of four leaders in a folder that goes away with the first value.
fn made() -> (tempfile::TempDir, PathBuf, InitSummary) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("group");
    let summary = init(&dir, options(4, 1)).unwrap();
    (home, dir, summary)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn replace(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

/// The error is of this kind, names the file, and says what to do.
#[track_caller]
fn assert_refused<T>(result: Result<T, FileError>, kind: FileErrorKind, path: &Path) {
    let error = result.err().expect("refused");
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    assert!(error.path().is_some_and(|named| named == path || named.starts_with(path)), "{message}");
    assert_tells_what_to_do(&message, &path.display().to_string());
}

#[track_caller]
fn assert_tells_what_to_do(message: &str, mentioned: &str) {
    assert!(message.contains(mentioned), "{message}");
    let (_, action) = message.rsplit_once(": ").expect("an action after the last colon");
    let verb = action.split_whitespace().next().unwrap_or_default();
    let verbs = [
        "ask", "check", "choose", "copy", "correct", "do", "expel", "get", "give", "list", "make", "put", "restore",
        "run", "start", "stop", "use",
    ];
    assert!(verbs.contains(&verb), "{message}");
    assert!(!message.contains('\n'), "one sentence: {message}");
}
