//! Sealing and opening: one message to one frame and back.

use borsh::BorshDeserialize;
use bytes::Bytes;
use ringfort_crypto::CryptoRng;
use ringfort_crypto::aead::{AeadKey, TAG_BYTES};
use ringfort_crypto::hash::digest;
use ringfort_crypto::kdf::{mac, mac_verify};
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::Signature;
use zeroize::Zeroizing;

use crate::data::frame::{DataFrame, DataHeader, FrameKind, MAC_BYTES, Recipient, Recipients, Shape, WRAP_BYTES};
use crate::data::keyring::{Direction, KeyedView};
use crate::data::peers::Identity;
use crate::ids::{Seq, Topic};
use crate::policy::{Origin, Protection, Service};
use crate::rules::{Rule, Rules};
use crate::view::MemberEntry;

const SIGN_LABEL: &str = "data frame";
const MARK_LABEL: &str = "data mark";
const PRIVATE_CHANNEL: u8 = 3;

/// A frame that its named sender did not make like this, or that is not for this reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the frame is not authentic")]
pub struct BadFrame;

/// What an authentic frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A message.
    Message {
        /// What it is about.
        topic: Topic,
        /// The message itself.
        payload: Bytes,
    },
    /// A mark: its header says all.
    Mark,
    /// Made by a member, but no message.
    Unreadable,
}

const NO_KEY: &str = "the outbox multicasts nothing in a view without its key";

/// Seals a multicast. `seq` must be new in the sender's stream: it makes the nonce.
///
/// # Panics
/// If the view is one [without its key](KeyedView::without_key).
pub fn seal_multicast(
    shape: &Shape,
    me: &Identity,
    view: &mut KeyedView,
    (service, seq, view_start): (Service, Seq, Seq),
    topic: &Topic,
    payload: &[u8],
) -> Bytes {
    let mut frame = prefix(me, view, FrameKind::Multicast { service, seq, view_start });
    let body_at = frame.len();
    let content = content(topic, payload);
    match shape.protection {
        Protection::None => frame.extend_from_slice(&content),
        Protection::Integrity => {
            frame.extend_from_slice(&content);
            let key = &view.sender_keys(shape.protection, &me.id).expect(NO_KEY).body;
            let tag = key.tag_only(&nonce(service as u8, seq), &frame);
            frame.extend_from_slice(&tag);
        }
        Protection::Confidential => {
            let aad = frame.clone();
            let key = &view.sender_keys(shape.protection, &me.id).expect(NO_KEY).body;
            key.seal_append(&nonce(service as u8, seq), &aad, &content, &mut frame);
        }
    }
    finish(shape, me, frame, body_at)
}

/// Makes a mark. It is authenticated without a nonce, so the same mark may be made again.
///
/// # Panics
/// As [`seal_multicast`].
pub fn seal_mark(
    shape: &Shape,
    me: &Identity,
    view: &mut KeyedView,
    (service, view_start, next): (Service, Seq, Seq),
) -> Bytes {
    let mut frame = prefix(me, view, FrameKind::Mark { service, view_start, next });
    let body_at = frame.len();
    if shape.protection != Protection::None {
        let tag = mac(&view.sender_keys(shape.protection, &me.id).expect(NO_KEY).mark, MARK_LABEL, &[&frame]);
        frame.extend_from_slice(&tag);
    }
    finish(shape, me, frame, body_at)
}

/// Seals a private message, whatever the policy's protection: once under a one-time key, which is wrapped
/// for each recipient under the key of the pair (C5; seed 003 §3.1.2, sender-side variant).
///
/// Each wrap covers the digest of the sealed message, so that not even another recipient, who knows the
/// one-time key, can put other words under it. `None` for a list that [`Recipients`] does not allow.
pub fn seal_private(
    shape: &Shape,
    me: &Identity,
    view: &mut KeyedView,
    to: &[(&MemberEntry, Seq, Seq)],
    (topic, payload): (&Topic, &[u8]),
    rng: &mut dyn CryptoRng,
) -> Option<Bytes> {
    let recipients =
        to.iter().map(|(entry, seq, start)| Recipient { user: entry.id.user.clone(), seq: *seq, start: *start });
    let recipients = Recipients::new(recipients.collect())?;
    let mut frame = prefix(me, view, FrameKind::Private { to: recipients });
    let body_at = frame.len();
    let key = Secret32::random(rng);
    let sealed = AeadKey::new(&key).seal(&[0; 12], &frame, &content(topic, payload));
    let aad = wrap_aad(&frame, &sealed);
    for (entry, seq, _) in to {
        let pair = view.pair_keys(me, entry, Direction::ToPeer)?;
        pair.wrap.seal_append(&nonce(PRIVATE_CHANNEL, *seq), &aad, key.expose(), &mut frame);
    }
    frame.extend_from_slice(&sealed);
    Some(finish(shape, me, frame, body_at))
}

/// Makes a mark for one recipient of private messages.
pub fn seal_private_mark(
    shape: &Shape,
    me: &Identity,
    view: &mut KeyedView,
    to: &MemberEntry,
    (start, next): (Seq, Seq),
) -> Option<Bytes> {
    let mut frame = prefix(me, view, FrameKind::PrivateMark { to: to.id.user.clone(), start, next });
    let body_at = frame.len();
    let tag = mac(&view.pair_keys(me, to, Direction::ToPeer)?.mark, MARK_LABEL, &[&frame]);
    frame.extend_from_slice(&tag);
    Some(finish(shape, me, frame, body_at))
}

/// Opens a frame of `sender`, under the view its header names.
///
/// # Errors
/// For every frame that `sender` did not make so for this reader (under [`Origin::Group`]: that no member
/// made so; under [`Protection::None`] without signatures nothing is proven). Which check failed is not told.
pub fn open(
    shape: &Shape,
    rules: &Rules,
    me: &Identity,
    view: &mut KeyedView,
    sender: &MemberEntry,
    frame: &DataFrame,
) -> Result<Opened, BadFrame> {
    let header = frame.header();
    if header.view != view.id().digest || header.sender != sender.id || !shape.fits(frame) {
        return Err(BadFrame);
    }
    let (sealed, signature) = match shape.origin {
        Origin::Group => (frame.body(), None),
        Origin::Signature => {
            let (sealed, signature) = frame.body().split_last_chunk().ok_or(BadFrame)?;
            (sealed, Some(Signature::from_bytes(*signature)))
        }
    };
    let content = match &header.kind {
        FrameKind::Multicast { service, seq, .. } => {
            Some(open_multicast((shape, rules), view, sender, frame, sealed, &nonce(*service as u8, *seq))?)
        }
        FrameKind::Private { to } => Some(open_private(me, view, sender, frame.prefix(), to, sealed)?),
        FrameKind::Mark { .. } if shape.protection == Protection::None => None,
        FrameKind::Mark { .. } => {
            let keys = view.sender_keys(shape.protection, &sender.id).ok_or(BadFrame)?;
            check_mark(&keys.mark, frame.prefix(), sealed)?;
            None
        }
        FrameKind::PrivateMark { to, .. } => {
            let pair = (*to == me.id.user).then(|| view.pair_keys(me, sender, Direction::FromPeer)).flatten();
            check_mark(&pair.ok_or(BadFrame)?.mark, frame.prefix(), sealed)?;
            None
        }
    };
    if let Some(signature) = signature
        && rules.enforces(Rule::OriginSignature)
    {
        check_signature(shape.protection, sender, frame, sealed, &signature)?;
    }
    Ok(content.map_or(Opened::Mark, |content| read_content(&content)))
}

fn check_signature(
    protection: Protection,
    sender: &MemberEntry,
    frame: &DataFrame,
    sealed: &[u8],
    signature: &Signature,
) -> Result<(), BadFrame> {
    let parts: [&[u8]; 3] = [&[protection as u8], frame.prefix(), sealed];
    sender.signing.0.verify(SIGN_LABEL, &parts, signature).map_err(|_| BadFrame)
}

/// Whether `sender` signed a frame, for who has no key to open it. Never under [`Origin::Group`], where nobody signs.
pub fn signed_by(shape: &Shape, sender: &MemberEntry, frame: &DataFrame) -> bool {
    let signed = shape.origin == Origin::Signature && frame.header().sender == sender.id;
    frame.body().split_last_chunk().filter(|_| signed).is_some_and(|(sealed, signature)| {
        check_signature(shape.protection, sender, frame, sealed, &Signature::from_bytes(*signature)).is_ok()
    })
}

fn open_multicast(
    (shape, rules): (&Shape, &Rules),
    view: &mut KeyedView,
    sender: &MemberEntry,
    frame: &DataFrame,
    sealed: &[u8],
    nonce: &[u8; 12],
) -> Result<Bytes, BadFrame> {
    match shape.protection {
        Protection::None => Ok(frame.body_start(sealed.len())),
        Protection::Integrity => {
            let (content, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(BadFrame)?;
            let covered = frame.prefix().len() + content.len();
            let covered = frame.bytes().split_at_checked(covered).ok_or(BadFrame)?.0;
            let key = &view.sender_keys(shape.protection, &sender.id).ok_or(BadFrame)?.body;
            if key.verify_tag(nonce, covered, tag).is_err() && rules.enforces(Rule::DataTag) {
                return Err(BadFrame);
            }
            Ok(frame.body_start(content.len()))
        }
        Protection::Confidential => {
            let key = &view.sender_keys(shape.protection, &sender.id).ok_or(BadFrame)?.body;
            key.open(nonce, frame.prefix(), sealed).map(Bytes::from).map_err(|_| BadFrame)
        }
    }
}

fn open_private(
    me: &Identity,
    view: &mut KeyedView,
    sender: &MemberEntry,
    prefix: &[u8],
    to: &Recipients,
    sealed: &[u8],
) -> Result<Bytes, BadFrame> {
    let (place, recipient) = to.find(&me.id.user).ok_or(BadFrame)?;
    let (wraps, sealed) = sealed.split_at_checked(to.iter().len() * WRAP_BYTES).ok_or(BadFrame)?;
    let wrap = wraps.chunks_exact(WRAP_BYTES).nth(place).ok_or(BadFrame)?;
    let pair = view.pair_keys(me, sender, Direction::FromPeer).ok_or(BadFrame)?;
    let key = pair.wrap.open(&nonce(PRIVATE_CHANNEL, recipient.seq), &wrap_aad(prefix, sealed), wrap);
    let key = Zeroizing::new(key.map_err(|_| BadFrame)?);
    let key = Secret32::new(key.as_slice().try_into().map_err(|_| BadFrame)?);
    AeadKey::new(&key).open(&[0; 12], prefix, sealed).map(Bytes::from).map_err(|_| BadFrame)
}

fn check_mark(key: &Secret32, prefix: &[u8], tag: &[u8]) -> Result<(), BadFrame> {
    let tag: &[u8; MAC_BYTES] = tag.try_into().map_err(|_| BadFrame)?;
    if mac_verify(key, MARK_LABEL, &[prefix], tag) { Ok(()) } else { Err(BadFrame) }
}

fn prefix(me: &Identity, view: &KeyedView, kind: FrameKind) -> Vec<u8> {
    DataHeader { sender: me.id.clone(), view: view.id().digest, kind }.to_prefix()
}

fn finish(shape: &Shape, me: &Identity, mut frame: Vec<u8>, body_at: usize) -> Bytes {
    if shape.origin == Origin::Signature {
        let (prefix, body) = frame.split_at(body_at);
        let signature = me.signing.sign(SIGN_LABEL, &[&[shape.protection as u8], prefix, body]);
        frame.extend_from_slice(&signature.to_bytes());
    }
    Bytes::from(frame)
}

pub(super) fn wrap_aad(prefix: &[u8], sealed: &[u8]) -> Vec<u8> {
    [prefix, &digest("data private body", &[sealed])].concat()
}

/// The topic travels inside the seal.
pub(super) fn content(topic: &Topic, payload: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut content = Zeroizing::new(Vec::with_capacity(1 + topic.as_str().len() + payload.len()));
    borsh::to_writer(&mut *content, topic).expect("a topic fits its length byte");
    content.extend_from_slice(payload);
    content
}

fn read_content(content: &Bytes) -> Opened {
    let mut rest = content.as_ref();
    match Topic::deserialize(&mut rest) {
        Ok(topic) => Opened::Message { topic, payload: content.slice(content.len() - rest.len()..) },
        Err(_) => Opened::Unreadable,
    }
}

/// One channel byte, three zeros, the sequence number: never twice under one sender's key.
pub(super) fn nonce(channel: u8, seq: Seq) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[0] = channel;
    nonce[4..].copy_from_slice(&seq.0.to_be_bytes());
    nonce
}
