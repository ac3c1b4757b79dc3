//! The sections of a peer file that say who is in beside the list, when, and in whose presence.

use std::collections::BTreeSet;

use data_encoding::HEXLOWER;
use ringfort_crypto::sign::VerifyingKey;
use ringfort_peer_keys::Admission;
use ringfort_peer_keys::admission::{PresenceRule, WORD_BYTES_MAX, Window};
use serde::{Deserialize, Serialize};

use super::Document;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authority {
    name: String,
    key: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revoked: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowSection {
    role: String,
    from_unix_s: u64,
    length_s: u64,
    #[serde(default)]
    every_s: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleSection {
    role: String,
    only_while: String,
    #[serde(default = "one")]
    at_least: u32,
}

fn one() -> u32 {
    1
}

/// A public key as a peer file has it.
pub(super) fn key(name: &str, text: &str) -> Result<VerifyingKey, String> {
    let bytes: Option<[u8; 32]> = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    key.ok_or_else(|| format!("the key of `{name}` is not 64 hexadecimal digits of a public key"))
}

fn word(what: &str, text: &str) -> Result<String, String> {
    let good = !text.trim().is_empty() && text.len() <= WORD_BYTES_MAX && !text.chars().any(char::is_control);
    good.then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is no name for {what}: use 1 to {WORD_BYTES_MAX} printable bytes"))
}

/// What the sections say.
pub(super) fn read(document: &Document) -> Result<Admission, String> {
    let mut admission = Admission::default();
    for member in document.members.iter().filter(|member| !member.role.is_empty()) {
        let key = key(&member.name, &member.key)?.to_bytes();
        admission.roles.insert(key, word("a role", &member.role)?);
    }
    let mut names = BTreeSet::new();
    for Authority { name, key: text, revoked } in &document.authorities {
        let name = word("an authority", name)?;
        let key = key(&name, text)?.to_bytes();
        if !names.insert(name.clone()) || admission.authorities.insert(key, name.clone()).is_some() {
            return Err(format!("the authority `{name}`, or its key, is in it twice"));
        }
        for id in revoked {
            let bytes = HEXLOWER.decode(id.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
            let bytes = bytes.ok_or_else(|| format!("{id:?} names no certificate: it is not 32 hexadecimal digits"))?;
            admission.revoked.insert(bytes);
        }
    }
    for WindowSection { role, from_unix_s, length_s, every_s } in &document.windows {
        if *length_s == 0 {
            return Err(format!("a window of `{role}` has no length: it never opens"));
        }
        let (from_unix_s, length_s, every_s) = (*from_unix_s, *length_s, *every_s);
        admission.windows.push(Window { role: word("a role", role)?, from_unix_s, length_s, every_s });
    }
    for RuleSection { role, only_while, at_least } in &document.rules {
        let (role, only_while) = (word("a role", role)?, word("a role", only_while)?);
        admission.rules.push(PresenceRule { role, only_while, at_least: *at_least });
    }
    Ok(admission)
}

/// The sections that say it.
pub(super) fn sections(admission: &Admission) -> (Vec<Authority>, Vec<WindowSection>, Vec<RuleSection>) {
    let mut revoked: Vec<String> = admission.revoked.iter().map(|id| HEXLOWER.encode(id)).collect();
    // Whose they were does not matter: all that are named anywhere are out.
    let authority = |(key, name): (&[u8; 32], &String)| Authority {
        name: name.clone(),
        key: HEXLOWER.encode(key),
        revoked: std::mem::take(&mut revoked),
    };
    let authorities = admission.authorities.iter().map(authority).collect();
    let window = |window: &Window| WindowSection {
        role: window.role.clone(),
        from_unix_s: window.from_unix_s,
        length_s: window.length_s,
        every_s: window.every_s,
    };
    let rule = |rule: &PresenceRule| RuleSection {
        role: rule.role.clone(),
        only_while: rule.only_while.clone(),
        at_least: rule.at_least,
    };
    (authorities, admission.windows.iter().map(window).collect(), admission.rules.iter().map(rule).collect())
}
