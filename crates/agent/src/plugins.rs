//! Plugins: a folder with a manifest and web assets, read once at the start.
//!
//! A broken one is reported and skipped. What was read stays in memory: nothing on the disk is served later, and no path of
//! a request ever reaches the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::bundled::{self, Asset};
use crate::hub::SHELL;

/// The version of the plugins' interface.
pub const INTERFACE: u32 = 1;
/// The manifest's name.
pub const MANIFEST: &str = "plugin.toml";

const PLUGINS_MAX: usize = 32;
const FILES_MAX: usize = 256;
const BYTES_MAX: u64 = 16 * 1024 * 1024;
const DEPTH_MAX: usize = 4;
const MANIFEST_BYTES_MAX: usize = 16 * 1024;

/// The manifest of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the interface that it is made for.
    pub interface: u32,
    /// Its short name, in addresses: letters, digits and `-`.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What its messages are about; the id if it is missing.
    #[serde(default)]
    pub topic: String,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// The page that opens.
    #[serde(default = "index")]
    pub entry: String,
    /// Its place among the others: lower is further in front.
    #[serde(default = "middle")]
    pub order: u32,
    /// Whether it may send and receive files.
    #[serde(default)]
    pub files: bool,
    /// Whether it asks for the microphone. The user is asked too.
    #[serde(default)]
    pub microphone: bool,
}

fn index() -> String {
    "index.html".to_owned()
}

fn middle() -> u32 {
    100
}

/// A plugin that can run.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its files by name, with `/` between folders.
    pub files: BTreeMap<String, Asset>,
}

/// A plugin that was skipped, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The folder's name.
    pub folder: String,
    /// What is wrong, in words.
    pub why: String,
}

/// All plugins, in the order to show them, and what was skipped.
#[derive(Clone, Debug, Default)]
pub struct Plugins {
    /// Those that run.
    pub running: Vec<Plugin>,
    /// Those that do not.
    pub skipped: Vec<Problem>,
}

impl Plugins {
    /// The plugins that come with the program and those in a folder, if it is there.
    pub fn load(folder: Option<&Path>) -> Self {
        let mut plugins = Plugins::default();
        for (name, manifest, files) in bundled::PLUGINS {
            let files = files.iter().map(|(name, asset)| ((*name).to_owned(), asset.clone())).collect();
            plugins.add(name, Manifest::parse(manifest).and_then(|manifest| checked(manifest, files)));
        }
        if let Some(folder) = folder {
            plugins.add_folder(folder);
        }
        plugins.running.sort_by_key(|plugin| (plugin.manifest.order, plugin.manifest.id.clone()));
        plugins
    }

    fn add_folder(&mut self, folder: &Path) {
        let mut found: Vec<_> = match fs::read_dir(folder) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return self.skip(&folder.display(), format!("the folder cannot be read ({error})")),
        };
        found.sort();
        for path in found {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if !name.starts_with('.') {
                self.add(&name, read(&path));
            }
        }
    }

    fn add(&mut self, folder: &str, plugin: Result<Plugin, String>) {
        let taken: BTreeSet<&str> =
            self.running.iter().flat_map(|p| [p.manifest.id.as_str(), p.manifest.topic.as_str()]).collect();
        match plugin {
            Err(why) => self.skip(&folder, why),
            Ok(_) if self.running.len() >= PLUGINS_MAX => {
                self.skip(&folder, format!("there are {PLUGINS_MAX} plugins already"));
            }
            Ok(Plugin { manifest, .. }) if taken.contains(manifest.id.as_str()) => {
                self.skip(&folder, format!("another plugin is called {:?}", manifest.id));
            }
            Ok(Plugin { manifest, .. }) if taken.contains(manifest.topic.as_str()) => {
                self.skip(&folder, format!("another plugin has the topic {:?}", manifest.topic));
            }
            Ok(plugin) => self.running.push(plugin),
        }
    }

    fn skip(&mut self, folder: &dyn Display, why: String) {
        self.skipped.push(Problem { folder: folder.to_string(), why });
    }

    /// Whether files may be exchanged on a topic.
    pub fn has_files(&self, topic: &str) -> bool {
        self.running.iter().any(|plugin| plugin.manifest.files && plugin.manifest.topic == topic)
    }

    /// A plugin by its id.
    pub fn get(&self, id: &str) -> Option<&Plugin> {
        self.running.iter().find(|plugin| plugin.manifest.id == id)
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(format!("{MANIFEST} is longer than {MANIFEST_BYTES_MAX} bytes"));
        }
        let manifest: Manifest =
            toml::from_str(text).map_err(|error| format!("{MANIFEST}: {}", error.message().replace('\n', " ")))?;
        manifest.check()
    }

    fn check(mut self) -> Result<Self, String> {
        if self.interface != INTERFACE {
            return Err(format!("it is made for interface {}, and this is interface {INTERFACE}", self.interface));
        }
        if self.topic.is_empty() {
            self.topic.clone_from(&self.id);
        }
        let id = !self.id.is_empty() && self.id.len() <= 32 && self.id.bytes().all(|b| is_plain(b) && b != b'.');
        let topic = self.topic.len() <= 32 && self.topic.bytes().all(is_plain);
        let text = |text: &str, max: usize| text.chars().count() <= max && !text.chars().any(char::is_control);
        match () {
            () if !id => Err("`id` has 1 to 32 characters out of a-z, 0-9 and '-'".to_owned()),
            () if !topic => Err("`topic` has 1 to 32 characters out of a-z, 0-9, '-' and '.'".to_owned()),
            () if self.topic == SHELL => Err(format!("the `topic` {SHELL:?} is the page's own")),
            () if self.name.trim().is_empty() || !text(&self.name, 40) => {
                Err("`name` has 1 to 40 characters".to_owned())
            }
            () if !text(&self.description, 200) => Err("`description` has at most 200 characters".to_owned()),
            () => Ok(self),
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
}

fn checked(manifest: Manifest, files: BTreeMap<String, Asset>) -> Result<Plugin, String> {
    if !files.contains_key(&manifest.entry) || !manifest.entry.ends_with(".html") {
        return Err(format!("its `entry` {:?} is no HTML file of the plugin", manifest.entry));
    }
    Ok(Plugin { manifest, files })
}

fn read(folder: &Path) -> Result<Plugin, String> {
    let text =
        fs::read_to_string(folder.join(MANIFEST)).map_err(|error| format!("{MANIFEST} cannot be read ({error})"))?;
    let manifest = Manifest::parse(&text)?;
    let mut files = BTreeMap::new();
    let mut room = BYTES_MAX;
    collect(folder, "", DEPTH_MAX, &mut room, &mut files)?;
    checked(manifest, files)
}

fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    room: &mut u64,
    files: &mut BTreeMap<String, Asset>,
) -> Result<(), String> {
    let wrong = |name: &str, error: std::io::Error| format!("{prefix}{name} cannot be read ({error})");
    for entry in fs::read_dir(folder).map_err(|error| wrong("", error))? {
        let entry = entry.map_err(|error| wrong("", error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Links are not followed: a plugin is what is in its folder.
        let kind = entry.file_type().map_err(|error| wrong(&name, error))?;
        if name.starts_with('.') || (prefix.is_empty() && name == MANIFEST) {
            continue;
        }
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !plain || !(kind.is_dir() || kind.is_file()) {
            return Err(format!("{prefix}{name:?}: only plain files, with names out of a-z, 0-9, '-', '_' and '.'"));
        }
        if kind.is_dir() {
            let depth = depth.checked_sub(1).ok_or(format!("more than {DEPTH_MAX} folders deep"))?;
            collect(&entry.path(), &format!("{prefix}{name}/"), depth, room, files)?;
            continue;
        }
        let size = entry.metadata().map_err(|error| wrong(&name, error))?.len();
        *room = room.checked_sub(size).ok_or(format!("more than {BYTES_MAX} bytes"))?;
        if files.len() >= FILES_MAX {
            return Err(format!("more than {FILES_MAX} files"));
        }
        let content = fs::read(entry.path()).map_err(|error| wrong(&name, error))?;
        files.insert(format!("{prefix}{name}"), Asset::read(&name, content)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "interface = 1\nid = \"clock\"\nname = \"Clock\"\n";

    fn folder(dir: &Path, name: &str, files: &[(&str, &str)]) {
        for (file, text) in files {
            let path = dir.join(name).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn the_bundled_plugins_are_sound() {
        let plugins = Plugins::load(None);
        assert_eq!(plugins.skipped, []);
        assert_eq!(plugins.running.len(), bundled::PLUGINS.len());
        assert_eq!(plugins.get("chat").unwrap().manifest.topic, "chat");
    }

    #[test]
    fn a_folder_that_is_dropped_in_appears() {
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path(), "clock", &[(MANIFEST, GOOD), ("index.html", "<p>"), ("js/a.js", "1")]);
        let plugins = Plugins::load(Some(dir.path()));
        let clock = plugins.get("clock").unwrap();
        assert_eq!(clock.manifest.topic, "clock");
        assert_eq!(clock.files.keys().collect::<Vec<_>>(), ["index.html", "js/a.js"]);
        assert_eq!(plugins.skipped, []);
    }

    #[test]
    fn broken_ones_are_reported_and_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let page = ("index.html", "<p>");
        folder(dir.path(), "a-empty", &[("readme.txt", "")]);
        folder(dir.path(), "b-toml", &[(MANIFEST, "interface = "), page]);
        folder(dir.path(), "c-unknown", &[(MANIFEST, &format!("{GOOD}permissions = 1\n")), page]);
        folder(dir.path(), "d-future", &[(MANIFEST, &GOOD.replace("= 1", "= 2")), page]);
        folder(dir.path(), "e-entry", &[(MANIFEST, GOOD)]);
        folder(dir.path(), "f-taken", &[(MANIFEST, &GOOD.replace("clock", "chat")), page]);
        folder(dir.path(), "g-topic", &[(MANIFEST, &format!("{GOOD}topic = \"a/b\"\n")), page]);
        folder(dir.path(), "h-kind", &[(MANIFEST, GOOD), page, ("x.exe", "MZ")]);
        folder(dir.path(), "i-link", &[(MANIFEST, GOOD), page]);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("i-link/passwd.txt")).unwrap();
        folder(dir.path(), "j-good", &[(MANIFEST, GOOD), page]);
        let plugins = Plugins::load(Some(dir.path()));
        let told: Vec<String> = plugins.skipped.iter().map(|p| format!("{}: {}", p.folder, p.why)).collect();
        assert_eq!(told.len(), 9, "{told:#?}");
        for (told, part) in told.iter().zip([
            "cannot be read",
            "plugin.toml:",
            "permissions",
            "interface 2",
            "`entry`",
            "another plugin is called",
            "`topic`",
            "x.exe",
            "plain files",
        ]) {
            assert!(told.contains(part), "{told} has no {part}");
        }
        assert!(plugins.get("clock").is_some());
    }
}
