//! Messages under the key of a secure view.
//!
//! Each sender has a key of its own, derived from the view's, and counts its messages: a number is a nonce, and is opened
//! once, in order. What is authenticated with a message is the view, the sender, the receiver if there is only one, the
//! number and the service. All of this dies with the view.
//!
//! Any member could make a message in another's name, as all have the same key: where the policy wants more, messages
//! are signed. A private message goes under a key of the two members' session keys, which they brought to this view.

use std::collections::BTreeMap;

use ringfort_crypto::Secret32;
use ringfort_crypto::aead::{AeadKey, TAG_BYTES};
use ringfort_crypto::kdf::derive;
use ringfort_crypto::kem::{KemPublic, KemSecret};
use ringfort_crypto::sign::{Signature, SigningKey, VerifyingKey};
use ringfort_kernel::codec;
use ringfort_peer::{Name, Service};

use crate::ids::{Context, MESSAGE_BYTES_MAX};
use crate::keys::robust::ViewKeys;
use crate::rules::{Rule, Rules};
use crate::wire::DataFrame;

const SIGNED: &str = "peer group: data";

/// A member of a secure view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who it is, in the policy's words.
    pub user: String,
    /// The key with which it signs.
    pub key: [u8; 32],
    /// Its key for private messages in this view.
    pub session: [u8; 32],
}

/// Why a message was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NotOpened {
    /// It is of another view.
    #[error("of another view")]
    OtherView,
    /// Its sender is no member of the view.
    #[error("not from a member")]
    NoMember,
    /// It was opened before, or comes after a later one of its sender.
    #[error("repeated or out of order")]
    Repeated,
    /// It was altered, or made by somebody else, or lacks its signature.
    #[error("not authentic")]
    Altered,
}

/// The way of a message: who counts it.
type Way = (Name, Option<Name>);

/// The channel of one secure view.
pub struct Channel {
    context: Context,
    root: Secret32,
    me: Name,
    members: BTreeMap<Name, Member>,
    session: KemSecret,
    signing: Option<SigningKey>,
    rules: Rules,
    keys: BTreeMap<Way, AeadKey>,
    counters: BTreeMap<Way, u64>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("context", &self.context).finish_non_exhaustive()
    }
}

impl Channel {
    /// The channel under `keys`. `signing`: the key with which messages are signed, if the policy wants that.
    pub fn new(
        keys: ViewKeys,
        me: Name,
        members: BTreeMap<Name, Member>,
        session: KemSecret,
        signing: Option<SigningKey>,
        rules: Rules,
    ) -> Self {
        let ViewKeys { context, root } = keys;
        let (keys, counters) = (BTreeMap::new(), BTreeMap::new());
        Channel { context, root, me, members, session, signing, rules, keys, counters }
    }

    /// The view.
    pub fn context(&self) -> Context {
        self.context
    }

    /// Who is in the view.
    pub fn members(&self) -> &BTreeMap<Name, Member> {
        &self.members
    }

    /// Seals a message for all members, or for one. `None` if that one is no member, or the message is too large.
    pub fn seal(&mut self, service: Service, to: Option<Name>, message: &[u8]) -> Option<DataFrame> {
        if message.len() > MESSAGE_BYTES_MAX {
            return None;
        }
        let way = (self.me.clone(), to);
        let counter = self.counters.get(&way).copied().unwrap_or(0).checked_add(1)?;
        let bound = self.bound(&way, counter, service);
        let sealed = self.key(&way)?.seal(&nonce(counter), &bound, message);
        self.counters.insert(way.clone(), counter);
        let signature = self.signing.as_ref().map(|key| key.sign(SIGNED, &[&bound, &sealed]).to_bytes());
        Some(DataFrame { context: self.context, counter, service, to: way.1, sealed, signature })
    }

    /// Opens a message of `from`: what it says, and how many of that sender's before it never came.
    ///
    /// # Errors
    /// When it is none of this view, or was opened before.
    pub fn open(&mut self, from: &Name, frame: DataFrame) -> Result<(Vec<u8>, u64), NotOpened> {
        if frame.context != self.context {
            return Err(NotOpened::OtherView);
        }
        let member = self.members.get(from).ok_or(NotOpened::NoMember)?;
        if frame.sealed.len() > MESSAGE_BYTES_MAX + TAG_BYTES || frame.to.as_ref().is_some_and(|to| *to != self.me) {
            return Err(NotOpened::Altered);
        }
        let way = (from.clone(), frame.to.clone());
        // What this member sent counts on the way out.
        let last = if *from == self.me { None } else { Some(self.counters.get(&way).copied().unwrap_or(0)) };
        if last.is_some_and(|last| frame.counter <= last) && self.rules.enforces(Rule::ReplayCounter) {
            return Err(NotOpened::Repeated);
        }
        let bound = self.bound(&way, frame.counter, frame.service);
        if self.signing.is_some() {
            let key = VerifyingKey::from_bytes(&member.key).map_err(|_| NotOpened::Altered)?;
            let signature = Signature::from_bytes(frame.signature.ok_or(NotOpened::Altered)?);
            key.verify(SIGNED, &[&bound, &frame.sealed], &signature).map_err(|_| NotOpened::Altered)?;
        }
        let key = self.key(&way).ok_or(NotOpened::Altered)?;
        let message = key.open(&nonce(frame.counter), &bound, &frame.sealed).map_err(|_| NotOpened::Altered)?;
        let Some(last) = last else { return Ok((message, 0)) };
        self.counters.insert(way, frame.counter.max(last));
        Ok((message, frame.counter.saturating_sub(last).saturating_sub(1)))
    }

    fn key(&mut self, way: &Way) -> Option<&AeadKey> {
        if !self.keys.contains_key(way) {
            let key = AeadKey::new(&self.derive_key(way)?);
            self.keys.insert(way.clone(), key);
        }
        self.keys.get(way)
    }

    fn derive_key(&self, (from, to): &Way) -> Option<Secret32> {
        let Some(to) = to else {
            return Some(derive(self.root.expose(), "peer group data key", &[&self.context, from.as_bytes()]));
        };
        let other = if *from == self.me { to } else { from };
        let session = KemPublic::from_bytes(&self.members.get(other)?.session).ok()?;
        let context: [&[u8]; 4] = [self.root.expose(), &self.context, from.as_bytes(), to.as_bytes()];
        self.session.agree(&session, "peer group private key", &context)
    }

    fn bound(&self, (from, to): &Way, counter: u64, service: Service) -> Vec<u8> {
        codec::encode(&(self.context, from, to, counter, service))
    }
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce.iter_mut().skip(4).zip(counter.to_le_bytes()).for_each(|(to, from)| *to = from);
    nonce
}

#[cfg(test)]
mod tests;
