//! What plugins compute, without a browser: their modules under Node.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs a test of a plugin's module; says so where there is no Node.
fn passes(plugin: &str, test: &str) {
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins").join(plugin);
    // Node wants to be told that these are modules, in a file beside them.
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("tests")).unwrap();
    fs::write(home.path().join("package.json"), r#"{"type": "module"}"#).unwrap();
    for folder in [Path::new(""), Path::new("tests")] {
        for entry in fs::read_dir(plugin.join(folder)).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                fs::copy(entry.path(), home.path().join(folder).join(entry.file_name())).unwrap();
            }
        }
    }
    let out = match Command::new("node").arg(home.path().join("tests").join(test)).output() {
        Ok(out) => out,
        Err(error) => return eprintln!("skipped: there is no Node here ({error})"),
    };
    let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && told.contains("ok"), "{test}: {told}");
}

#[test]
fn one_members_reports_of_what_has_come_cost_the_page_little() {
    passes("chat", "receipts.js");
}

#[test]
fn nobody_rewrites_anothers_strokes() {
    passes("whiteboard", "scene.js");
}
