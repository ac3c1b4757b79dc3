//! How a leader introduces itself before a group exists: its keys, its address and the facts of its machine, signed (P2, L7).
//!
//! Introductions are what a setup without a dealer starts from. What they say of owners and places is the operators' own word:
//! the signature shows who said it, not that it is so.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::hash::digest;
use ringfort_crypto::kem::KemPublic;
use ringfort_crypto::sign::{Signature, SigningKey, VerifyingKey};

use crate::codec::encode;
use crate::group::LeaderInfo;
use crate::ids::{LeaderId, invalid};

/// The longest value of one fact, in bytes.
pub const FACT_BYTES_MAX: usize = 64;

const LABEL: &str = "ringfort introduction";

/// One thing that leaders may share, and lose together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactKind {
    /// Who can order the machine to be opened.
    Owner,
    /// Who has root on it.
    Operator,
    /// Where it stands.
    Place,
    /// Who hosts it.
    Hosting,
    /// Whose network it is on.
    Network,
    /// Its operating system.
    System,
    /// Its processor architecture.
    Architecture,
    /// The build of the leader, with its cryptographic back-ends.
    Build,
}

impl FactKind {
    /// All of them, the gravest to share first.
    pub const ALL: [FactKind; 8] = [
        FactKind::Owner,
        FactKind::Operator,
        FactKind::Place,
        FactKind::Hosting,
        FactKind::Network,
        FactKind::System,
        FactKind::Architecture,
        FactKind::Build,
    ];

    /// The name in files.
    pub fn word(self) -> &'static str {
        match self {
            FactKind::Owner => "owner",
            FactKind::Operator => "operator",
            FactKind::Place => "place",
            FactKind::Hosting => "hosting",
            FactKind::Network => "network",
            FactKind::System => "system",
            FactKind::Architecture => "architecture",
            FactKind::Build => "build",
        }
    }
}

/// What an operator says of a leader. An empty value: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize)]
pub struct Facts([String; FactKind::ALL.len()]);

/// A fact that is too long or no plain text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {} has to be plain text of at most {FACT_BYTES_MAX} bytes", .0.word())]
pub struct BadFact(pub FactKind);

impl Facts {
    /// Takes the value of each kind from `value`.
    ///
    /// # Errors
    /// [`BadFact`] for the first that is out of bounds.
    pub fn new(mut value: impl FnMut(FactKind) -> String) -> Result<Self, BadFact> {
        let facts = Facts(FactKind::ALL.map(&mut value));
        let bad = |kind: &FactKind| {
            let text = facts.get(*kind);
            text.len() > FACT_BYTES_MAX || text.chars().any(char::is_control) || text.trim() != text
        };
        match FactKind::ALL.into_iter().find(bad) {
            Some(kind) => Err(BadFact(kind)),
            None => Ok(facts),
        }
    }

    /// The value of a kind; empty if it was not said.
    pub fn get(&self, kind: FactKind) -> &str {
        self.0.get(kind as usize).map_or("", String::as_str)
    }
}

/// Facts with the signature of the introduction they come from, as the group file keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedFacts {
    /// What was said.
    pub facts: Facts,
    /// The introduction's signature.
    pub signature: Signature,
}

/// A leader that is to be: everything public about it, under its own signature.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// The name of the group it is for.
    pub group_name: String,
    /// The number it is to have.
    pub leader: LeaderId,
    /// Address and keys.
    pub info: LeaderInfo,
    /// What is said of its machine.
    pub signed: SignedFacts,
}

impl Introduction {
    /// Signs an introduction. `signing` belongs to `info.signing_key`.
    pub fn sign(group_name: &str, leader: LeaderId, info: LeaderInfo, facts: Facts, signing: &SigningKey) -> Self {
        let content = content(group_name, leader, &info, &facts);
        let signature = signing.sign(LABEL, &[&content]);
        Introduction { group_name: group_name.to_owned(), leader, info, signed: SignedFacts { facts, signature } }
    }

    /// Whether the holder of its signing key said all of it.
    pub fn is_signed(&self) -> bool {
        is_signed(&self.group_name, self.leader, &self.info, &self.signed)
    }

    /// Commits to all of it.
    pub fn digest(&self) -> [u8; 32] {
        let content = content(&self.group_name, self.leader, &self.info, &self.signed.facts);
        digest(LABEL, &[&content, &self.signed.signature.to_bytes()])
    }
}

impl PartialEq for Introduction {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Eq for Introduction {}

/// The longest name or address on the wire, bytes.
const TEXT_BYTES_MAX: usize = 255;

/// As it travels: name, number, address, keys, facts and signature.
type Wire = (String, LeaderId, String, [[u8; 32]; 3], [String; FactKind::ALL.len()], [u8; 64]);

impl BorshSerialize for Introduction {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        let Introduction { group_name, leader, info, signed } = self;
        let keys = [info.link_key, info.signing_key.to_bytes(), info.sealing_key.to_bytes()];
        (group_name, leader, &info.address, keys, &signed.facts, signed.signature.to_bytes()).serialize(writer)
    }
}

impl BorshDeserialize for Introduction {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let (group_name, leader, address, [link_key, signing, sealing], mut facts, signature) =
            Wire::deserialize_reader(reader)?;
        let bad = |_| invalid("an introduction");
        let plain = |text: &String| text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control);
        if !plain(&group_name) || !plain(&address) {
            return Err(invalid("an introduction"));
        }
        let fact = |kind: FactKind| facts.get_mut(kind as usize).map(std::mem::take).unwrap_or_default();
        let facts = Facts::new(fact).map_err(|_| invalid("the facts of an introduction"))?;
        let info = LeaderInfo {
            address,
            link_key,
            signing_key: VerifyingKey::from_bytes(&signing).map_err(bad)?,
            sealing_key: KemPublic::from_bytes(&sealing).map_err(bad)?,
        };
        let signed = SignedFacts { facts, signature: Signature::from_bytes(signature) };
        Ok(Introduction { group_name, leader, info, signed })
    }
}

/// Whether `info`'s signing key has signed these facts for this leader of this group.
pub(crate) fn is_signed(group_name: &str, leader: LeaderId, info: &LeaderInfo, signed: &SignedFacts) -> bool {
    let content = content(group_name, leader, info, &signed.facts);
    info.signing_key.verify(LABEL, &[&content], &signed.signature).is_ok()
}

fn content(group_name: &str, leader: LeaderId, info: &LeaderInfo, facts: &Facts) -> Vec<u8> {
    let keys = [info.link_key, VerifyingKey::to_bytes(&info.signing_key), KemPublic::to_bytes(&info.sealing_key)];
    encode(&(group_name, leader, &info.address, keys, facts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;
    use ringfort_crypto::kem::KemSecret;

    fn introduction() -> Introduction {
        let signing = SigningKey::generate(&mut rng(1));
        let info = LeaderInfo {
            address: "a.example:7400".into(),
            link_key: SigningKey::generate(&mut rng(2)).verifying_key().to_bytes(),
            signing_key: signing.verifying_key(),
            sealing_key: KemSecret::generate(&mut rng(3)).public(),
        };
        let facts = Facts::new(|kind| kind.word().to_owned()).unwrap();
        Introduction::sign("garden", LeaderId::new(2).unwrap(), info, facts, &signing)
    }

    #[test]
    fn every_word_of_it_is_signed() {
        let original = introduction();
        assert!(original.is_signed());
        let alter: [fn(&mut Introduction); 7] = [
            |i| i.group_name.push('x'),
            |i| i.leader = LeaderId::new(3).unwrap(),
            |i| i.info.address.push('1'),
            |i| i.info.link_key[0] ^= 1,
            |i| i.info.sealing_key = KemSecret::generate(&mut rng(9)).public(),
            |i| i.info.signing_key = SigningKey::generate(&mut rng(9)).verifying_key(),
            |i| i.signed.facts.0[7].push('x'),
        ];
        for change in alter {
            let mut changed = original.clone();
            change(&mut changed);
            assert!(!changed.is_signed());
            assert_ne!(changed.digest(), original.digest());
        }
    }

    #[test]
    fn facts_are_short_and_plain() {
        let with =
            |text: &str| Facts::new(|kind| if kind == FactKind::Place { text.to_owned() } else { String::new() });
        assert_eq!(with("Łódź").unwrap().get(FactKind::Place), "Łódź");
        assert_eq!(with("Łódź").unwrap().get(FactKind::Owner), "");
        for bad in ["a\nb", " a", &"x".repeat(FACT_BYTES_MAX + 1)] {
            assert_eq!(with(bad), Err(BadFact(FactKind::Place)), "{bad:?}");
        }
    }
}
