//! `group.toml`: the public document of a group, the same for leaders and members.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use ringfort_crypto::kem::KemPublic;
use ringfort_crypto::sign::VerifyingKey;
use ringfort_crypto::threshold::{KeyRole, PublicKeySet};
use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::group::LeaderInfo;
use ringfort_protocol::succession::Certified;
use ringfort_protocol::{GroupInfo, Policy, Rules};
use serde::{Deserialize, Serialize};

use crate::disk::{Access, read_text, write_new};
use crate::error::{FileError, FileErrorKind};
use crate::introduction::FactsSection;
use crate::policy::{PolicySection, check_policy};
use crate::text::{FORMAT, Hex, parse_up_to, render};

/// The file's name in a leader's folder and in the folder of a setup.
pub const GROUP_FILE: &str = "group.toml";

/// The longest group name, in bytes.
pub const GROUP_NAME_BYTES_MAX: usize = 64;

/// The longest address of a leader, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 255;

const GROUP_BYTES_MAX: usize = 1024 * 1024;

const HEADER: &str = "\
# The public document of a Ringfort group: its leaders, their keys and its policy. Nothing here is secret.
# Whoever gets this file should compare its fingerprint with the one an operator tells them by other means.
# The fingerprint covers every value: a changed file is refused, so make a new group instead of editing it. Successions, where there
# are any, are not covered by it: the leaders that they follow have signed them.

";

/// What to do about a group file that is not right.
const GET_AGAIN: &str = "do not use it, and get the group file again from an operator";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    name: String,
    fingerprint: String,
    nonce: Hex<32>,
    leaders: u8,
    faults: u8,
    key_threshold: u8,
    /// What leads from the group as it was set up, which all else here tells of, to the generation that it is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    succession: Vec<String>,
    policy: PolicySection,
    leader: Vec<Leader>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Leader {
    address: String,
    link_key: Hex<32>,
    signing_key: Hex<32>,
    sealing_key: Hex<32>,
    group_key: Hex<32>,
    coin_key: Hex<32>,
    /// In groups that were set up without a dealer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    facts: Option<FactsSection>,
}

/// The format of a group file in which leaders say something of themselves; without, it is [`FORMAT`].
const FORMAT_WITH_FACTS: u32 = 2;

/// Reads and checks a group file: every key, every bound, and that nothing was altered since it was made.
///
/// # Security
/// An altered file whose maker also rewrote the fingerprint is sound in itself: compare the
/// fingerprint with one learned by other means ([`check_fingerprint`]).
pub fn read_group(path: &Path) -> Result<Arc<GroupInfo>, FileError> {
    let text = read_text(path, GROUP_BYTES_MAX, Access::Public)?;
    parse_group(path, &text).map(Arc::new)
}

/// As [`read_group`], from a text in memory. Errors name `path`.
pub fn parse_group(path: &Path, text: &str) -> Result<GroupInfo, FileError> {
    let document: Document = parse_up_to(FORMAT_WITH_FACTS, path, text, "a group file", Access::Public)?;
    let stated = document.fingerprint.clone();
    let successions = document.succession.clone();
    let group = assemble(path, document)?;
    if group.fingerprint() != stated {
        let what = format!("was altered: its content has the fingerprint {}, not {stated:?}", group.fingerprint());
        return Err(FileError::new(FileErrorKind::Altered, path, what, GET_AGAIN));
    }
    succeed(path, group, &successions)
}

/// Follows the successions in a group file: each is signed by the leaders of the generation before.
fn succeed(path: &Path, group: GroupInfo, successions: &[String]) -> Result<GroupInfo, FileError> {
    let mut group = Arc::new(group);
    for text in successions {
        let bytes = BASE64.decode(text.as_bytes()).ok();
        let certified = bytes.and_then(|bytes| decode::<Certified>(&bytes).ok());
        let next = certified.and_then(|certified| group.succeed(certified)).ok_or_else(|| {
            let what = "was altered: the leaders of this group have not signed what it says of their successors";
            FileError::new(FileErrorKind::Altered, path, what, GET_AGAIN)
        })?;
        group = Arc::new(next);
    }
    Ok(Arc::unwrap_or_clone(group))
}

/// Writes a group file; refuses to replace one.
pub fn write_group(path: &Path, group: &GroupInfo) -> Result<(), FileError> {
    let text = group_text(path, group)?;
    write_new(path, text.as_bytes(), Access::Public)
}

/// Checks that a group is the one a person was told of. Case, spaces and dashes do not matter.
pub fn check_fingerprint(group: &GroupInfo, expected: &str) -> Result<(), FileError> {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| *c != '-' && !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect()
    };
    if plain(expected) == plain(&group.fingerprint()) {
        return Ok(());
    }
    let what = format!("this group file has the fingerprint {}, not {}", group.fingerprint(), expected.trim());
    Err(FileError::without_path(FileErrorKind::WrongFingerprint, what, GET_AGAIN))
}

/// What [`parse_group`] reads.
pub fn group_text(path: &Path, group: &GroupInfo) -> Result<String, FileError> {
    let succession = group.successions().iter().map(|certified| BASE64.encode(&encode(&**certified))).collect();
    let group = group.origin();
    let keys = group.group_keys.to_bytes().into_iter().zip(group.coin_keys.to_bytes());
    let mut facts = group.introductions().iter().map(FactsSection::from);
    let leader = group.leaders.iter().zip(keys).map(|(leader, (group_key, coin_key))| Leader {
        address: leader.address.clone(),
        link_key: Hex(leader.link_key),
        signing_key: Hex(leader.signing_key.to_bytes()),
        sealing_key: Hex(leader.sealing_key.to_bytes()),
        group_key: Hex(group_key),
        coin_key: Hex(coin_key),
        facts: facts.next(),
    });
    let document = Document {
        format: if group.introductions().is_empty() { FORMAT } else { FORMAT_WITH_FACTS },
        name: group.name.clone(),
        fingerprint: group.fingerprint(),
        nonce: Hex(group.nonce),
        leaders: group.rules.n(),
        faults: group.rules.f(),
        key_threshold: u8::try_from(group.rules.key_threshold()).unwrap_or(u8::MAX),
        succession,
        policy: PolicySection::from(&group.policy),
        leader: leader.collect(),
    };
    render(path, HEADER, &document)
}

fn assemble(path: &Path, document: Document) -> Result<GroupInfo, FileError> {
    let malformed = |what: String| FileError::malformed(path, what, GET_AGAIN);
    let rules = Rules::new(document.leaders, document.faults, document.key_threshold)
        .map_err(|error| malformed(error.to_string()))?;
    if document.leader.len() != usize::from(rules.n()) {
        let what = format!("describes {} leaders, but says there are {}", document.leader.len(), rules.n());
        return Err(malformed(what));
    }
    let policy = Policy::from(document.policy);
    let addresses: Vec<String> = document.leader.iter().map(|l| l.address.clone()).collect();
    check_parts(path, &document.name, &rules, &addresses, &policy)?;

    let set = |role, threshold: usize, key: fn(&Leader) -> [u8; 32], name| {
        let keys: Vec<[u8; 32]> = document.leader.iter().map(key).collect();
        u16::try_from(threshold)
            .ok()
            .and_then(|threshold| PublicKeySet::from_bytes(role, threshold, &keys).ok())
            .ok_or_else(|| malformed(format!("the {name}s of the leaders do not belong together")))
    };
    let keys = [
        set(KeyRole::GroupKey, rules.key_threshold(), |l| l.group_key.0, "group_key")?,
        set(KeyRole::Coin, rules.coin_threshold(), |l| l.coin_key.0, "coin_key")?,
    ];
    let mut leaders = Vec::new();
    let mut facts = Vec::new();
    for (id, leader) in rules.leaders().zip(document.leader) {
        let no_key = |name| malformed(format!("the {name} of {id} is not a key"));
        VerifyingKey::from_bytes(&leader.link_key.0).map_err(|_| no_key("link_key"))?;
        if leader.facts.is_some() != (document.format == FORMAT_WITH_FACTS) {
            return Err(malformed(format!("the facts of {id} do not go with format {}", document.format)));
        }
        facts.extend(leader.facts.map(|facts| facts.read(path)).transpose()?);
        leaders.push(LeaderInfo {
            address: leader.address,
            link_key: leader.link_key.0,
            signing_key: VerifyingKey::from_bytes(&leader.signing_key.0).map_err(|_| no_key("signing_key"))?,
            sealing_key: KemPublic::from_bytes(&leader.sealing_key.0).map_err(|_| no_key("sealing_key"))?,
        });
    }
    let group = GroupInfo::new(document.name, document.nonce.0, rules, leaders, keys, policy);
    if facts.is_empty() {
        return Ok(group);
    }
    group.with_introductions(facts).ok_or_else(|| {
        let what = "was altered: what a leader says of itself is not signed by that leader";
        FileError::new(FileErrorKind::Altered, path, what, GET_AGAIN)
    })
}

/// What a setup and a reader both require of name, addresses and policy.
pub fn check_parts(
    path: &Path,
    name: &str,
    rules: &Rules,
    addresses: &[String],
    policy: &Policy,
) -> Result<(), FileError> {
    let correct = "correct this value";
    check_name(path, name)?;
    for (position, address) in addresses.iter().enumerate() {
        if let Err(why) = check_address(address) {
            let what = format!("the address {address:?} of leader {} {why}", position + 1);
            return Err(FileError::malformed(path, what, correct));
        }
        if addresses.iter().take(position).any(|other| other == address) {
            let what = format!("two leaders have the same address {address}");
            return Err(FileError::malformed(path, what, "give each leader an address of its own"));
        }
    }
    if policy.relays > rules.n() {
        let what = format!("policy: relays is {}, but there are {} leaders", policy.relays, rules.n());
        return Err(FileError::malformed(path, what, correct));
    }
    check_policy(path, policy)
}

/// Refuses a group name that is empty, long or unprintable.
pub fn check_name(path: &Path, name: &str) -> Result<(), FileError> {
    if name.is_empty() || name.len() > GROUP_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let what = format!("the group's name must have 1 to {GROUP_NAME_BYTES_MAX} bytes of plain text");
        return Err(FileError::malformed(path, what, "correct this value"));
    }
    Ok(())
}

/// Why an address can be no leader's. One that can is `leader.example:7400`, `192.0.2.1:7400` or `[2001:db8::5]:7400`. A group file cannot be corrected afterwards, so this is looked at before it is written.
pub fn check_address(address: &str) -> Result<(), &'static str> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let Some((host, port)) = parts.filter(|_| address.len() <= ADDRESS_BYTES_MAX) else {
        return Err("is not of the form host:port");
    };
    if port == 0 {
        return Err("has no port: 0 stands for any");
    }
    let ip = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']').unwrap_or_default()) {
        Some(six) => Some(IpAddr::V6(six.parse().map_err(|_| "has no IPv6 address between its brackets")?)),
        None if host.contains(':') && host.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.') => {
            return Err("is not of the form host:port: an IPv6 address stands in brackets, as [2001:db8::5]:7400");
        }
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    match ip {
        Some(ip) if ip.is_unspecified() => {
            Err("stands for every address of whatever machine reads it: give the one that others reach")
        }
        Some(ip) if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => Err("is no machine's address"),
        Some(_) => Ok(()),
        None if is_host_name(host) => Ok(()),
        None => Err("has neither a host's name nor an address"),
    }
}

/// Labels of letters, digits, hyphens and underscores, the last not all digits.
fn is_host_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

/// Whether only the machine itself reaches this address: right for trying things out, and for nothing else.
pub fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        || bare.trim_end_matches('.').eq_ignore_ascii_case("localhost")
}
