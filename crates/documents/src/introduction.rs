//! Introductions: what a leader that is to be says of itself, as a file, and the facts of it in a group file.

use std::path::Path;

use ringfort_crypto::kem::KemPublic;
use ringfort_crypto::sign::{Signature, VerifyingKey};
use ringfort_protocol::LeaderId;
use ringfort_protocol::group::LeaderInfo;
use ringfort_protocol::introduction::{FactKind, Facts, Introduction, SignedFacts};
use serde::{Deserialize, Serialize};

use crate::disk::{Access, read_text, write_new};
use crate::error::{FileError, FileErrorKind};
use crate::group::{check_address, check_name};
use crate::text::{FORMAT, Hex, parse, render};

const INTRODUCTION_BYTES_MAX: usize = 16 * 1024;

const HEADER: &str = "\
# A leader of a Ringfort group introduces itself. Nothing here is secret.
# Every operator gives this file to every other one. What it says of owners and places is its operator's word.

";

/// What to do about an introduction that is not right.
const GET_AGAIN: &str = "get it again from its operator";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    group: String,
    leader: u8,
    address: String,
    link_key: Hex<32>,
    signing_key: Hex<32>,
    sealing_key: Hex<32>,
    facts: FactsSection,
}

/// What is said of a leader, and the signature under the whole introduction.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactsSection {
    owner: String,
    operator: String,
    place: String,
    hosting: String,
    network: String,
    system: String,
    architecture: String,
    build: String,
    signature: Hex<64>,
}

impl From<&SignedFacts> for FactsSection {
    fn from(signed: &SignedFacts) -> Self {
        let get = |kind| signed.facts.get(kind).to_owned();
        FactsSection {
            owner: get(FactKind::Owner),
            operator: get(FactKind::Operator),
            place: get(FactKind::Place),
            hosting: get(FactKind::Hosting),
            network: get(FactKind::Network),
            system: get(FactKind::System),
            architecture: get(FactKind::Architecture),
            build: get(FactKind::Build),
            signature: Hex(signed.signature.to_bytes()),
        }
    }
}

impl FactsSection {
    /// The facts, if what is written is well formed.
    pub fn read(&self, path: &Path) -> Result<SignedFacts, FileError> {
        let value = |kind| match kind {
            FactKind::Owner => self.owner.clone(),
            FactKind::Operator => self.operator.clone(),
            FactKind::Place => self.place.clone(),
            FactKind::Hosting => self.hosting.clone(),
            FactKind::Network => self.network.clone(),
            FactKind::System => self.system.clone(),
            FactKind::Architecture => self.architecture.clone(),
            FactKind::Build => self.build.clone(),
        };
        let facts = Facts::new(value).map_err(|error| FileError::malformed(path, error, GET_AGAIN))?;
        Ok(SignedFacts { facts, signature: Signature::from_bytes(self.signature.0) })
    }
}

/// Writes an introduction to a new file.
pub fn write_introduction(path: &Path, introduction: &Introduction) -> Result<(), FileError> {
    write_new(path, introduction_text(path, introduction)?.as_bytes(), Access::Public)
}

/// Reads an introduction, and checks that all of it is signed by its own key.
///
/// # Security
/// Whose key that is shows only when operators compare the fingerprint of the terms.
pub fn read_introduction(path: &Path) -> Result<Introduction, FileError> {
    parse_introduction(path, &read_text(path, INTRODUCTION_BYTES_MAX, Access::Public)?)
}

/// What [`parse_introduction`] reads.
pub fn introduction_text(path: &Path, introduction: &Introduction) -> Result<String, FileError> {
    let Introduction { group_name, leader, info, signed } = introduction;
    let document = Document {
        format: FORMAT,
        group: group_name.clone(),
        leader: leader.number(),
        address: info.address.clone(),
        link_key: Hex(info.link_key),
        signing_key: Hex(info.signing_key.to_bytes()),
        sealing_key: Hex(info.sealing_key.to_bytes()),
        facts: FactsSection::from(signed),
    };
    render(path, HEADER, &document)
}

/// As [`read_introduction`], from a text in memory. Errors name `path`.
pub fn parse_introduction(path: &Path, text: &str) -> Result<Introduction, FileError> {
    let document: Document = parse(path, text, "an introduction", Access::Public)?;
    let malformed = |what: String| FileError::malformed(path, what, GET_AGAIN);
    let leader =
        LeaderId::new(document.leader).ok_or_else(|| malformed(format!("there is no leader {}", document.leader)))?;
    check_name(path, &document.group)?;
    if let Err(why) = check_address(&document.address) {
        return Err(malformed(format!("the address {:?} {why}", document.address)));
    }
    let no_key = |name| malformed(format!("the {name} is not a key"));
    VerifyingKey::from_bytes(&document.link_key.0).map_err(|_| no_key("link_key"))?;
    let info = LeaderInfo {
        address: document.address,
        link_key: document.link_key.0,
        signing_key: VerifyingKey::from_bytes(&document.signing_key.0).map_err(|_| no_key("signing_key"))?,
        sealing_key: KemPublic::from_bytes(&document.sealing_key.0).map_err(|_| no_key("sealing_key"))?,
    };
    let signed = document.facts.read(path)?;
    let introduction = Introduction { group_name: document.group, leader, info, signed };
    if introduction.is_signed() {
        return Ok(introduction);
    }
    let what = "was altered: it is not signed by its own key";
    Err(FileError::new(FileErrorKind::Altered, path, what, GET_AGAIN))
}
