//! What plugins compute, without a browser: their modules under Node.

use std::path::Path;
use std::process::Command;

/// Runs a test of a plugin's module; says so where there is no Node.
fn passes(test: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins").join(test);
    let out = match Command::new("node").arg("--experimental-default-type=module").arg(&path).output() {
        Ok(out) => out,
        Err(error) => return eprintln!("skipped: there is no Node here ({error})"),
    };
    let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && told.contains("ok"), "{test}: {told}");
}

#[test]
fn one_members_reports_of_what_has_come_cost_the_page_little() {
    passes("chat/tests/receipts.js");
}

#[test]
fn nobody_rewrites_anothers_strokes() {
    passes("whiteboard/tests/scene.js");
}
