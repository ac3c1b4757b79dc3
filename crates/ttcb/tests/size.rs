//! How much has to be trusted is counted here, and the documents say what is counted.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

/// What people can be asked to read.
const LINES_MAX: usize = 3_000;
/// What programs of a host use, outside of the component's process or for people alone.
const NOT_TRUSTED: [&str; 3] = ["asking.rs", "client.rs", "site.rs"];

fn lines(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            return if name == "tests" { 0 } else { lines(path) };
        }
        let text = fs::read_to_string(path).unwrap();
        let end = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        let trusted = !NOT_TRUSTED.contains(&name);
        let code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
        text[..end].lines().filter(|line| trusted && code(line)).count()
    };
    entries.map(|path| of(&path)).sum()
}

#[test]
fn the_trusted_part_is_small_and_the_documents_say_how_small() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let count = lines(&root.join("src"));
    assert!(count <= LINES_MAX, "{count} lines are more than can be read in an evening");
    let page = fs::read_to_string(root.join("../../docs/trusted-component.md")).unwrap();
    let said = format!("{},{:03} lines of code", count / 1000, count % 1000);
    assert!(page.contains(&said), "docs/trusted-component.md should say that the trusted part has {said}");
}
