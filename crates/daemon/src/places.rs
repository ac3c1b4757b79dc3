//! What a leader writes, and what it trusts: two sets of places that are apart, so that whoever takes the process over changes
//! nothing that the next start believes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use ringfort_documents::GROUP_FILE;
use ringfort_node::folder::{SECRETS_FILE, STATE_FOLDER};

use crate::config::Config;

/// Symbolic links that one name may lead through, as the system counts them.
const LINKS_MAX: usize = 40;

/// The folders in which a running leader writes: the state in its own folder, and those that the audit's files are in.
pub fn written(config: &Config, folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.join(STATE_FOLDER)];
    let audit = config.audit_files(folder).into_iter().flatten();
    folders.extend(audit.filter_map(|file| file.parent().map(Path::to_owned)));
    let folders: BTreeSet<PathBuf> =
        folders.into_iter().map(|folder| folder.canonicalize().unwrap_or(folder)).collect();
    folders.into_iter().collect()
}

/// Checks that nothing that the leader trusts lies where it writes: its keys, the group file, its configuration at `path`,
/// the program itself, a hook's program and what its arguments name.
///
/// # Errors
/// What lies where, as a sentence.
pub fn check(config: &Config, path: &Path, folder: &Path) -> Result<(), String> {
    let written = written(config, folder);
    let mut trusted = vec![
        ("the leader's keys", folder.join(SECRETS_FILE)),
        ("the group file", folder.join(GROUP_FILE)),
        ("the configuration", path.to_owned()),
    ];
    trusted.extend(std::env::current_exe().ok().map(|program| ("the program", program)));
    // A hook is started in the root folder.
    let of_the_hook = config.hooks.on_suspicion.iter().map(|word| Path::new("/").join(word));
    trusted.extend(of_the_hook.map(|named| ("[hooks] on_suspicion", named)));
    for (what, place) in trusted {
        if let Some(folder) = leads_through(&place, &written) {
            return Err(format!(
                "{what}, {}, lies below {}, where the running leader writes: whoever takes that leader over could replace \
                 it. Keep it elsewhere",
                place.display(),
                folder.display()
            ));
        }
    }
    Ok(())
}

/// The first of the folders that a name leads through, links followed.
fn leads_through<'a>(name: &Path, folders: &'a [PathBuf]) -> Option<&'a PathBuf> {
    let mut rest = parts(&std::path::absolute(name).ok()?);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            here.pop();
            continue;
        }
        here.push(part);
        if let Some(folder) = folders.iter().find(|folder| here.starts_with(folder)) {
            return Some(folder);
        }
        if let Ok(target) = fs::read_link(&here)
            && links < LINKS_MAX
        {
            links += 1;
            here.pop();
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            rest.extend(parts(&target));
        }
    }
    None
}

/// The parts of a name, the last first.
fn parts(name: &Path) -> Vec<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    name.components().rev().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;

    use super::*;

    /// A leader's folder in `home`.
    fn leader(home: &Path) -> PathBuf {
        let folder = home.join("leader-1");
        fs::create_dir_all(folder.join(STATE_FOLDER)).unwrap();
        folder
    }

    fn checked(home: &Path, config: &str, path: &str) -> Result<(), String> {
        check(&Config::parse(config).unwrap(), &home.join(path), &leader(home))
    }

    #[test]
    fn what_a_leader_trusts_lies_apart_from_what_it_writes() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        leader(&home);
        let usual = "leader-1/config.toml";
        assert_eq!(checked(&home, "", usual), Ok(()));
        assert_eq!(checked(&home, "[hooks]\non_suspicion = [\"/bin/sh\", \"-c\", \"id\"]", usual), Ok(()));
        let elsewhere = format!("[audit]\nfile = \"{}/audit.jsonl\"", home.join("log").display());
        assert_eq!(checked(&home, &elsewhere, usual), Ok(()));

        let refused = |config: &str, path: &str, what: &str| {
            let told = checked(&home, config, path).unwrap_err();
            assert!(told.starts_with(what) && told.contains("Keep it elsewhere"), "{told}");
        };
        refused("", "leader-1/state/config.toml", "the configuration");
        refused("", "leader-1/../leader-1/state/inbox/config.toml", "the configuration");
        // The audit's folder is written, too: here it is the one with the keys.
        refused("[audit]\nfile = \"../audit.jsonl\"", usual, "the leader's keys");
        let hook = |words: &[&Path]| format!("[hooks]\non_suspicion = {words:?}");
        let tool = home.join("leader-1/state/tool");
        refused(&hook(&[&tool]), usual, "[hooks] on_suspicion");
        refused(&hook(&[Path::new("/bin/sh"), &tool]), usual, "[hooks] on_suspicion");
    }

    #[test]
    fn a_link_leads_where_it_leads() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let state = leader(&home).join(STATE_FOLDER);
        fs::create_dir(home.join("bin")).unwrap();
        symlink("../leader-1/state/tool", home.join("bin/alarm")).unwrap();
        symlink("bin", home.join("sbin")).unwrap();
        // Through the state and out of it again: the link in the state could be another one tomorrow.
        symlink("/bin/sh", state.join("shell")).unwrap();
        symlink(state.join("shell"), home.join("bin/shell")).unwrap();
        symlink("round", home.join("round")).unwrap();
        for (name, bad) in [("sbin/alarm", true), ("bin/shell", true), ("round", false), ("bin/none", false)] {
            let config = format!("[hooks]\non_suspicion = [{:?}]", home.join(name));
            assert_eq!(checked(&home, &config, "config.toml").is_err(), bad, "{name}");
        }
    }
}
