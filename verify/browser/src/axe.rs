//! Accessibility: axe-core, of the version and hash in `axe/package-lock.json`, run in a page and in each of its frames.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::process::missing;
use crate::{Browser, Page};

const PACKAGE: &str = include_str!("../axe/package.json");
const LOCK: &str = include_str!("../axe/package-lock.json");
/// What nobody may ship. Findings of less weight are no failures.
const RUN: &str = "axe.run(document, { iframes: false, resultTypes: ['violations'] }).then((told) => ({
    ran: told.passes.length > 0,
    found: told.violations.filter((found) => ['serious', 'critical'].includes(found.impact)).map((found) =>
        `${location.pathname}: ${found.impact}: ${found.id}: ${found.help}: ` + found.nodes.map((node) =>
            `${node.target.join(' ')} (${node.any.concat(node.all).map((check) => check.message).join('; ')})`).join(', ')) }))";
/// A frame that is hidden has nothing that anybody could look at.
const SEEN: &str = "[...document.querySelectorAll('iframe')].filter((frame) =>
    frame.checkVisibility({ visibilityProperty: true })).map((frame) => frame.src)";

/// The checker.
pub struct Axe {
    source: String,
}

impl Axe {
    /// Takes axe-core from npm, once, into `target/`, where npm checks its hash. `None`, with a word about it, where there
    /// is no npm or it gets nothing; unless `RINGFORT_BROWSER=required`, then it panics.
    pub async fn load() -> Option<Axe> {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/axe");
        let script = target.join("node_modules/axe-core/axe.min.js");
        let locked = std::fs::read_to_string(target.join("package-lock.json")).is_ok_and(|lock| lock == LOCK);
        if !locked || !script.is_file() {
            install(&target).await.map_err(|why| missing(&format!("axe-core cannot be had from npm: {why}"))).ok()?;
        }
        let source = std::fs::read_to_string(&script).unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        Some(Axe { source })
    }

    /// Serious and critical findings in a page and in the frames of it that are seen, in words.
    pub async fn findings(&self, browser: &Browser, page: &Page) -> Vec<String> {
        let (mut told, mut waiting) = (Vec::new(), vec![page.clone()]);
        while let Some(place) = waiting.pop() {
            browser.evaluate(&place, &format!("void (() => {{ {} }})()", self.source)).await;
            let found = browser.evaluate(&place, RUN).await;
            assert_eq!(found.get("ran"), Some(&Value::Bool(true)), "axe did not run: {found}");
            let words = found.get("found").and_then(Value::as_array).into_iter().flatten();
            told.extend(words.map(|words| words.as_str().unwrap_or_default().to_owned()));
            let seen = browser.evaluate(&place, SEEN).await;
            let seen = |url: &str| seen.as_array().is_some_and(|seen| seen.iter().any(|one| one == url));
            waiting
                .extend(browser.frames(&place).await.into_iter().filter(|(_, url)| seen(url)).map(|(frame, _)| frame));
        }
        told
    }
}

/// Installs into a folder of its own and moves that into place, because other tests may do the same at the same time.
async fn install(target: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let parent: PathBuf = target.parent().map(Path::to_path_buf).unwrap_or_default();
    std::fs::create_dir_all(&parent).map_err(text)?;
    let folder = tempfile::Builder::new().prefix("axe-").tempdir_in(&parent).map_err(text)?;
    std::fs::write(folder.path().join("package.json"), PACKAGE).map_err(text)?;
    std::fs::write(folder.path().join("package-lock.json"), LOCK).map_err(text)?;
    let npm = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output();
    let output = npm.await.map_err(text)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    if target.exists() {
        std::fs::remove_dir_all(target).map_err(text)?;
    }
    // Whoever was there first has the same.
    std::fs::rename(folder.keep(), target).or_else(|error| if target.exists() { Ok(()) } else { Err(text(error)) })
}
