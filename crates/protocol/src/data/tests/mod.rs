//! Tests of the data channel.

mod channel;
mod private;
mod vectors;

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use ringfort_crypto::secret::Secret32;

use super::*;
use crate::ids::{Epoch, Incarnation, MemberId, Seq, Topic, ViewDigest, ViewId};
use crate::policy::{Origin, Policy, Protection, Service};
use crate::rules::Rules;
use crate::view::MemberSet;

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) fn rules() -> Rules {
    Rules::new(4, 1, 2).unwrap()
}

pub(crate) fn identity(user: &str, seed: u64) -> Identity {
    Identity::generate(user.parse().unwrap(), Incarnation(1), &mut rng(seed))
}

pub(crate) fn topic() -> Topic {
    "chat".parse().unwrap()
}

pub(crate) fn view_id(epoch: u64) -> ViewId {
    let mut digest = [u8::try_from(epoch % 251).unwrap(); 32];
    digest.iter_mut().zip((epoch / 251).to_be_bytes()).for_each(|(byte, high)| *byte ^= high);
    ViewId { epoch: Epoch(epoch), digest: ViewDigest(digest) }
}

/// The key of a view, the same for all who ask.
pub(crate) fn keyed(epoch: u64) -> KeyedView {
    let byte = u8::try_from(epoch % 251).unwrap();
    KeyedView::new(view_id(epoch), Secret32::new([byte ^ 0x5a; 32]))
}

pub(crate) fn policy(protection: Protection, origin: Origin) -> Policy {
    Policy { protection, origin, message_bytes_max: 4096, ..Policy::default() }
}

pub(crate) fn modes() -> impl Iterator<Item = (Protection, Origin)> {
    [Protection::None, Protection::Integrity, Protection::Confidential]
        .into_iter()
        .flat_map(|p| [Origin::Group, Origin::Signature].map(|o| (p, o)))
}

/// Ana sends; Bo, Cy and Di are members too.
struct Room {
    shape: Shape,
    rules: Rules,
    ana: Identity,
    bo: Identity,
    cy: Identity,
    members: MemberSet,
    view: KeyedView,
}

impl Room {
    fn new(protection: Protection, origin: Origin) -> Self {
        let [ana, bo, cy] = [("ana", 1), ("bo", 2), ("cy", 3)].map(|(user, seed)| identity(user, seed));
        let mut members = MemberSet::default();
        [&ana, &bo, &cy, &identity("di", 4)].into_iter().for_each(|member| members.insert(member.entry()));
        let shape = Shape::of(&policy(protection, origin));
        Room { shape, rules: rules(), ana, bo, cy, members, view: keyed(1) }
    }

    fn multicast(&mut self, seq: u64, payload: &[u8]) -> Bytes {
        let numbers = (Service::Fifo, Seq(seq), Seq(1));
        seal_multicast(&self.shape, &self.ana, &mut self.view, numbers, &topic(), payload)
    }

    fn private(&mut self, to: &[&str], seq: u64, payload: &[u8]) -> Bytes {
        let entries = to.iter().map(|user| self.members.get(&user.parse().unwrap()).unwrap());
        let to: Vec<_> = entries.map(|entry| (entry, Seq(seq), Seq(1))).collect();
        seal_private(&self.shape, &self.ana, &mut self.view, &to, (&topic(), payload), &mut rng(7)).unwrap()
    }

    fn mark(&mut self, next: u64) -> Bytes {
        seal_mark(&self.shape, &self.ana, &mut self.view, (Service::Fifo, Seq(1), Seq(next)))
    }

    fn private_mark(&mut self, to: &str, next: u64) -> Bytes {
        let entry = self.members.get(&to.parse().unwrap()).unwrap();
        seal_private_mark(&self.shape, &self.ana, &mut self.view, entry, (Seq(1), Seq(next))).unwrap()
    }

    fn read_by_bo(&mut self, frame: &Bytes) -> Option<Opened> {
        read(&self.shape, &self.rules, &self.bo, &mut self.view, &self.members, frame)
    }
}

/// All that a receiver checks but numbers seen before.
fn read(
    shape: &Shape,
    rules: &Rules,
    me: &Identity,
    view: &mut KeyedView,
    members: &MemberSet,
    frame: &Bytes,
) -> Option<Opened> {
    let frame = DataFrame::parse(frame).ok().filter(|frame| shape.fits(frame))?;
    let sender = members.get_member(&frame.header().sender)?;
    open(shape, rules, me, view, sender, &frame).ok()
}

fn message(payload: &[u8]) -> Option<Opened> {
    Some(Opened::Message { topic: topic(), payload: Bytes::copy_from_slice(payload) })
}

fn contains(frame: &[u8], part: &[u8]) -> bool {
    frame.windows(part.len()).any(|window| window == part)
}

/// The same identity as another, with one's own keys: what a forging member has.
fn posing_as(id: &MemberId, keys: &Identity) -> Identity {
    Identity { id: id.clone(), signing: keys.signing.clone(), sealing: keys.sealing.clone() }
}
