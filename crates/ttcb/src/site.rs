//! What a site keeps to use its component, and the comparison of sites' data each second (D7).
//!
//! | file | holds |
//! |---|---|
//! | `group` | the components, as their own folder has it |
//! | `entities` | a line for each site: the component's name, and the public key of the site's entity |
//! | `key` | the secret half of this site's, with mode 0600 |

use std::path::Path;
use std::thread;
use std::time::Duration;

use data_encoding::HEXLOWER;
use ringfort_crypto::hash::digest;
use ringfort_crypto::kem::{KemPublic, KemSecret};

use crate::client::{Block, Client, ClientError, Decision, ENTITY_KEY_BYTES, Group, Index, Mask, Verdict, key_name};
use crate::core::group::check_name;
use crate::core::ids::PLACE_BYTES;
use crate::files::{
    FileError, create_folder, create_secrets, group_text, read_group, read_lines, read_secrets, write_new,
};
use crate::system::os_rng;

/// A comparison starts on each whole second, or later if that is less than this ahead.
const AHEAD_US: u64 = 150_000;
const SECOND_US: u64 = 1_000_000;

/// A site's files.
pub struct Site {
    /// The components.
    pub group: Group,
    /// The sites' entities.
    pub entities: Vec<(Index, [u8; ENTITY_KEY_BYTES])>,
    /// This site's own.
    pub key: KemSecret,
}

/// A comparison.
pub struct Compared {
    /// The second of the group's time at which it started.
    pub second: u64,
    /// What came of it.
    pub verdict: Verdict,
    /// The component's signature over it.
    pub signature: [u8; 64],
}

impl Site {
    /// Reads a site's folder.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(folder: &Path) -> Result<Self, FileError> {
        let group = read_group(&folder.join("group"))?.group;
        let path = folder.join("entities");
        let mut entities = Vec::new();
        for (at, line) in read_lines(&path)?.iter().enumerate() {
            let entity = entity_of(&group, line);
            entities.push(entity.ok_or_else(|| FileError::Line(path.clone(), at + 1))?);
        }
        let key = read_secrets(&folder.join("key"))?.exchange;
        Ok(Site { group, entities, key })
    }

    /// Proposes the block at the next whole second, waits, and says what came of it (F7).
    ///
    /// # Errors
    /// As [`Client::wait`].
    pub fn compare(&self, client: &mut Client, block: Block) -> Result<Compared, ClientError> {
        let now_us = client.status()?.now_us;
        let second = (now_us + AHEAD_US) / SECOND_US + 1;
        let start_us = second * SECOND_US;
        let terms = client.terms(Decision::Equality, start_us, second, &self.entities)?;
        let tag = client.propose(&terms, block)?;
        thread::sleep(Duration::from_micros(start_us.saturating_sub(now_us)));
        let (verdict, signature) = client.wait(tag)?;
        Ok(Compared { second, verdict, signature })
    }

    /// A comparison, for people.
    pub fn told(&self, compared: &Compared) -> String {
        let verdict = &compared.verdict;
        let late = if verdict.late { " (late)" } else { "" };
        let second = compared.second;
        let silent = self.names(verdict.silent);
        let (equal, deviant) = (self.names(verdict.proposed_ok), self.names(verdict.deviant));
        match verdict.block {
            Some(_) => format!(
                "second {second}{late}: equal: {equal}; deviant: {deviant}; elsewhere: {}; silent: {silent}",
                self.names(verdict.elsewhere)
            ),
            None => format!("second {second}{late}: no majority agrees, so nobody is named; silent: {silent}"),
        }
    }

    /// A component's name.
    pub fn name(&self, index: Index) -> String {
        self.group.member(index).map(|member| member.name.clone()).unwrap_or_default()
    }

    /// Several names; a dash for none.
    pub fn names(&self, mask: Mask) -> String {
        let names: Vec<String> = mask.iter().map(|index| self.name(index)).collect();
        if names.is_empty() { "-".to_owned() } else { names.join(" ") }
    }
}

fn entity_of(group: &Group, line: &str) -> Option<(Index, [u8; ENTITY_KEY_BYTES])> {
    let (name, key) = line.split_once(' ')?;
    let public: [u8; 32] = HEXLOWER.decode(key.as_bytes()).ok()?.try_into().ok()?;
    Some((group.find(name)?, key_name(&KemPublic::from_bytes(&public).ok()?)))
}

/// The block for data that belongs to a place, such as a position in a log: data of different places is not compared.
pub fn block(place: u64, data: &[u8]) -> Block {
    let mut block = Block::default();
    let (first, rest) = block.split_at_mut(PLACE_BYTES);
    first.copy_from_slice(&place.to_be_bytes());
    rest.iter_mut().zip(digest("ttcb compare", &[data])).for_each(|(to, from)| *to = from);
    block
}

/// Makes all folders of a group in one place: `NAME/component` and `NAME/site` for each. To try it: whoever does this has
/// had all secrets.
///
/// # Errors
/// A folder or file cannot be made, or is there already.
pub fn init(folder: &Path, named: &[(String, std::net::SocketAddr)]) -> Result<(), FileError> {
    // Names become folders, so they are looked at before anything is made.
    let (mut members, mut entities) = (Vec::new(), String::new());
    for (name, _) in named {
        check_name(name).map_err(|bad| FileError::Group(folder.to_path_buf(), bad))?;
    }
    for (name, address) in named {
        let (component, site) = (folder.join(name).join("component"), folder.join(name).join("site"));
        [&component, &site].into_iter().try_for_each(|folder| create_folder(folder))?;
        let secrets = create_secrets(&component.join("secrets"), &mut os_rng())?;
        members.push((secrets.member(name), *address));
        let entity = create_secrets(&site.join("key"), &mut os_rng())?.exchange.public();
        entities += &format!("{name} {}\n", HEXLOWER.encode(&entity.to_bytes()));
    }
    Group::new(members.iter().map(|(member, _)| member.clone()).collect())
        .map_err(|bad| FileError::Group(folder.to_path_buf(), bad))?;
    for (name, _) in named {
        let (component, site) = (folder.join(name).join("component"), folder.join(name).join("site"));
        write_new(&component.join("group"), &group_text(&members))?;
        write_new(&site.join("group"), &group_text(&members))?;
        write_new(&site.join("entities"), &entities)?;
    }
    Ok(())
}
