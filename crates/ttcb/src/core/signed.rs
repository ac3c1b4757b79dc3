//! What a component signs, and how anybody who has the group's file checks it (F5, F7, F10).

use ringfort_crypto::sign::{BadSignature, Signature};

use super::bytes::Writer;
use super::call::Verdict;
use super::group::{Group, Secrets};
use super::ids::{Block, ENTITY_KEY_BYTES, Epoch, Index};

/// Words of a component, before or after they are signed.
pub struct Words<'a> {
    group: &'a Group,
    me: Index,
    label: &'static str,
    front: [u8; 5],
    body: [u8; BODY_BYTES],
    used: usize,
}

const BODY_BYTES: usize = 96;

impl<'a> Words<'a> {
    fn new(group: &'a Group, me: Index, epoch: Epoch, label: &'static str, fields: &[&[u8]]) -> Self {
        let mut front = [0; 5];
        let mut to = Writer::new(&mut front);
        to.put(&[me.get()]);
        to.put(&epoch.0.to_le_bytes());
        let mut body = [0; BODY_BYTES];
        let mut to = Writer::new(&mut body);
        fields.iter().for_each(|field| to.put(field));
        let used = BODY_BYTES - to.left();
        Words { group, me, label, front, body, used }
    }

    fn parts(&self) -> [&[u8]; 3] {
        [self.group.id(), &self.front, self.body.get(..self.used).unwrap_or_default()]
    }

    /// Signed by the component itself.
    pub fn sign(&self, secrets: &Secrets) -> [u8; 64] {
        secrets.signing.sign(self.label, &self.parts()).to_bytes()
    }

    /// Checks the component's signature.
    ///
    /// # Errors
    /// The component did not sign this.
    pub fn verify(&self, signature: &[u8; 64]) -> Result<(), BadSignature> {
        let member = self.group.member(self.me).ok_or(BadSignature)?;
        member.signing.verify(self.label, &self.parts(), &Signature::from_bytes(*signature))
    }
}

/// That this was the group's time, within the error, when the entity gave the hash.
pub fn timestamp<'a>(
    group: &'a Group,
    me: Index,
    epoch: Epoch,
    key: &[u8; ENTITY_KEY_BYTES],
    time_us: u64,
    error_us: u64,
    hash: &Block,
) -> Words<'a> {
    let fields: [&[u8]; 4] = [key, &time_us.to_le_bytes(), &error_us.to_le_bytes(), hash];
    Words::new(group, me, epoch, "ttcb timestamp", &fields)
}

/// That the moment for the entity's hash had come.
pub fn token<'a>(
    group: &'a Group,
    me: Index,
    epoch: Epoch,
    key: &[u8; ENTITY_KEY_BYTES],
    at_us: u64,
    hash: &Block,
) -> Words<'a> {
    Words::new(group, me, epoch, "ttcb token", &[key, &at_us.to_le_bytes(), hash])
}

/// That this came of an agreement.
pub fn verdict<'a>(group: &'a Group, me: Index, epoch: Epoch, verdict: &Verdict) -> Words<'a> {
    Words::new(group, me, epoch, "ttcb verdict", &[&verdict.encode()])
}
