//! The views a member can read, and the keys that follow from each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringfort_crypto::aead::AeadKey;
use ringfort_crypto::kdf::derive;
use ringfort_crypto::secret::Secret32;

use crate::codec::encode;
use crate::data::peers::Identity;
use crate::ids::{Epoch, MemberId, ViewDigest, ViewId};
use crate::policy::Protection;
use crate::rules::{Rule, Rules};
use crate::time::Time;
use crate::view::MemberEntry;

/// The most views readable at once: as many as leaders publish in the longest overlap that a policy allows (ten minutes,
/// one view in 25 ms). The promise is in time, so time ends a view and not the number of those after it; this bounds
/// only what f+1 leaders that deviate together could make a member keep.
pub const VIEWS_MAX: usize = 24 * 1024;

/// Views whose members' keys are kept ready: those that were used last. The others are 200 bytes each, and derive keys
/// when they are asked.
const WARM_MAX: usize = 16;

/// Views remembered as ended.
const ENDED_MAX: usize = 256;

/// Senders, and pairs, whose keys are kept ready in one view.
const CACHED_MAX: usize = 1024;

/// A view with its group key and what one member derived from it (P7).
pub struct KeyedView {
    id: ViewId,
    /// None for a member that may not read: private messages need none.
    key: Option<Secret32>,
    senders: BTreeMap<MemberId, SenderKeys>,
    pairs: BTreeMap<(MemberId, Direction), PairKeys>,
}

/// What one sender seals its multicasts with.
pub(super) struct SenderKeys {
    protection: Protection,
    pub(super) body: AeadKey,
    pub(super) mark: Secret32,
}

/// What one member seals its private messages to another with.
pub(super) struct PairKeys {
    pub(super) wrap: AeadKey,
    pub(super) mark: Secret32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    FromPeer,
    ToPeer,
}

impl KeyedView {
    /// A view and its group key.
    pub fn new(id: ViewId, key: Secret32) -> Self {
        KeyedView { id, key: Some(key), senders: BTreeMap::new(), pairs: BTreeMap::new() }
    }

    /// A view as a member has it that may not read: only private messages can be sealed in it.
    pub fn without_key(id: ViewId) -> Self {
        KeyedView { id, key: None, senders: BTreeMap::new(), pairs: BTreeMap::new() }
    }

    /// Whether messages to the whole view can be read and sealed.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The view's name.
    pub fn id(&self) -> ViewId {
        self.id
    }

    /// The keys of one sender's multicasts, for who may read. A key serves one mode of protection alone.
    pub(super) fn sender_keys(&mut self, protection: Protection, sender: &MemberId) -> Option<&SenderKeys> {
        if self.senders.get(sender).is_none_or(|keys| keys.protection != protection) {
            let context = encode(sender);
            let context: [&[u8]; 2] = [&self.id.digest.0, &context];
            let label = match protection {
                Protection::None | Protection::Integrity => "data integrity",
                Protection::Confidential => "data confidential",
            };
            let key = self.key.as_ref()?.expose();
            let body = AeadKey::new(&derive(key, label, &context));
            let mark = derive(key, "data mark", &context);
            make_room(&mut self.senders);
            self.senders.insert(sender.clone(), SenderKeys { protection, body, mark });
        }
        self.senders.get(sender)
    }

    /// The keys of private messages one way between two members, from their session keys (K29).
    ///
    /// `None` if the peer's key admits no shared secret. Only these two can compute them, so what opens
    /// under them came from the peer.
    pub(super) fn pair_keys(&mut self, me: &Identity, peer: &MemberEntry, way: Direction) -> Option<&PairKeys> {
        let place = (peer.id.clone(), way);
        if !self.pairs.contains_key(&place) {
            let (from, to) = match way {
                Direction::FromPeer => (encode(&peer.id), encode(&me.id)),
                Direction::ToPeer => (encode(&me.id), encode(&peer.id)),
            };
            let secret = me.sealing.agree(&peer.sealing.0, "data private", &[&self.id.digest.0, &from, &to])?;
            let wrap = AeadKey::new(&derive(secret.expose(), "data private wrap", &[]));
            let mark = derive(secret.expose(), "data private mark", &[]);
            make_room(&mut self.pairs);
            self.pairs.insert(place.clone(), PairKeys { wrap, mark });
        }
        self.pairs.get(&place)
    }
}

impl std::fmt::Debug for KeyedView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyedView({}, redacted)", self.id)
    }
}

fn make_room<K: Ord, V>(cache: &mut BTreeMap<K, V>) {
    if cache.len() >= CACHED_MAX {
        cache.pop_first();
    }
}

/// Whether a view can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Its key is here.
    Readable,
    /// It was readable once and its overlap has ended.
    Ended,
    /// Never seen, or forgotten.
    Unknown,
}

/// The readable views: the current one, and others for the bounded overlap (P7).
#[derive(Debug)]
pub struct Keyring {
    overlap_ends: bool,
    views: BTreeMap<ViewDigest, Slot>,
    current: Option<ViewDigest>,
    /// Views by the end of their overlap.
    ends: BTreeSet<(Time, ViewDigest)>,
    /// The views used last, the last one at the end.
    warm: VecDeque<ViewDigest>,
    ended: VecDeque<ViewDigest>,
    /// The epochs of views that others have followed, and the ends of their overlaps. What is in between was skipped.
    followed: VecDeque<(Epoch, Time)>,
    /// How many views were installed.
    installs: u64,
}

#[derive(Debug)]
struct Slot {
    view: KeyedView,
    until: Option<Time>,
    /// As how manieth it was installed; 0 if it was not.
    place: u64,
}

impl Keyring {
    /// An empty keyring.
    pub fn new(rules: &Rules) -> Self {
        let overlap_ends = rules.enforces(Rule::OverlapEnds);
        Keyring {
            overlap_ends,
            views: BTreeMap::new(),
            current: None,
            ends: BTreeSet::new(),
            warm: VecDeque::new(),
            ended: VecDeque::new(),
            followed: VecDeque::new(),
            installs: 0,
        }
    }

    /// Makes a view the current one. The one before stays readable until [`Keyring::retire`] sets its end.
    pub fn install(&mut self, view: KeyedView) {
        let digest = view.id.digest;
        if let Some(before) = self.current.replace(digest) {
            self.warm_up(&before);
        }
        self.ended.retain(|ended| *ended != digest);
        self.installs += 1;
        self.views.entry(digest).or_insert(Slot { view, until: None, place: 0 }).place = self.installs;
        self.set_end(&digest, None);
        self.bound();
    }

    /// Makes a view readable that is not the current one. Nothing changes for a view that is readable
    /// already, or whose overlap has ended.
    pub fn add_readable(&mut self, view: KeyedView, until: Time) {
        let digest = view.id.digest;
        if !self.ended.contains(&digest) {
            if self.views.contains_key(&digest) {
                return;
            }
            self.views.insert(digest, Slot { view, until: None, place: 0 });
            self.set_end(&digest, Some(until));
            self.bound();
        }
    }

    /// Sets the end of a view's overlap: another is about to take its place as the current one.
    pub fn retire(&mut self, digest: &ViewDigest, until: Time) {
        if let Some(slot) = self.views.get(digest) {
            self.followed.push_back((slot.view.id.epoch, until));
        }
        self.set_end(digest, Some(until));
        if self.followed.len() > VIEWS_MAX {
            self.followed.pop_front();
        }
    }

    /// The end of the overlap of a view that was never the current one: it was over as soon as the first installed view
    /// that is newer. `latest` for one that is not older than the current view.
    pub fn end_of_skipped(&self, view: ViewId, latest: Time) -> Time {
        let is_ahead = self.current().is_none_or(|current| current.id.epoch <= view.epoch);
        let before = self.followed.iter().rev().find(|(epoch, _)| *epoch < view.epoch);
        match before {
            Some((_, until)) if !is_ahead => *until,
            // Older than all that is remembered.
            None if !is_ahead => self.followed.front().map_or(latest, |(_, until)| *until),
            _ => latest,
        }
    }

    fn set_end(&mut self, digest: &ViewDigest, until: Option<Time>) {
        let Some(slot) = self.views.get_mut(digest) else { return };
        if let Some(before) = std::mem::replace(&mut slot.until, until) {
            self.ends.remove(&(before, *digest));
        }
        self.ends.extend(until.map(|until| (until, *digest)));
    }

    /// Erases the keys of views whose overlap has ended.
    pub fn expire(&mut self, now: Time) {
        while let Some((_, digest)) = self.ends.first().filter(|(until, _)| self.overlap_ends && *until <= now) {
            let digest = *digest;
            self.end(&digest);
        }
        // The last one that has ended says that all before it have.
        while self.followed.get(1).is_some_and(|(_, until)| *until <= now) {
            self.followed.pop_front();
        }
    }

    /// When [`Keyring::expire`] next has something to do.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.ends.first().map(|(until, _)| *until).filter(|_| self.overlap_ends)
    }

    /// The view to send under.
    pub fn current(&self) -> Option<&KeyedView> {
        self.views.get(self.current.as_ref()?).map(|slot| &slot.view)
    }

    /// The view to send under, to use its keys.
    pub fn current_mut(&mut self) -> Option<&mut KeyedView> {
        self.views.get_mut(self.current.as_ref()?).map(|slot| &mut slot.view)
    }

    /// Whether a view can be read now.
    pub fn lookup(&self, digest: &ViewDigest, now: Time) -> Lookup {
        match self.views.get(digest) {
            Some(slot) if self.overlap_ends && slot.until.is_some_and(|until| until <= now) => Lookup::Ended,
            Some(_) => Lookup::Readable,
            None if self.ended.contains(digest) => Lookup::Ended,
            None => Lookup::Unknown,
        }
    }

    /// A view that can be read now.
    pub fn readable(&mut self, digest: &ViewDigest, now: Time) -> Option<&mut KeyedView> {
        match self.lookup(digest, now) {
            Lookup::Readable => self.warm_up(digest).views.get_mut(digest).map(|slot| &mut slot.view),
            Lookup::Ended | Lookup::Unknown => None,
        }
    }

    /// As how manieth the current view was installed.
    pub fn installs(&self) -> u64 {
        self.installs
    }

    /// Whether a readable view was installed before the one of a place, or never.
    pub fn is_before(&self, digest: &ViewDigest, place: u64) -> bool {
        self.views.get(digest).is_some_and(|slot| slot.place < place)
    }

    /// Whether a readable view is newer than the current one: its members may not be known yet.
    pub fn is_ahead(&self, digest: &ViewDigest) -> bool {
        let current = self.current().map(|view| view.id.epoch);
        self.views.get(digest).is_some_and(|slot| Some(slot.view.id.epoch) > current)
    }

    /// Notes that a view is used. The keys of members of the one that was used least recently are forgotten.
    fn warm_up(&mut self, digest: &ViewDigest) -> &mut Self {
        if self.warm.back() != Some(digest) {
            self.warm.retain(|warm| warm != digest);
            self.warm.push_back(*digest);
        }
        if self.warm.len() > WARM_MAX
            && let Some(slot) = self.warm.pop_front().and_then(|cold| self.views.get_mut(&cold))
        {
            slot.view.senders.clear();
            slot.view.pairs.clear();
        }
        self
    }

    /// Evicts views above the limit, those that end first, and never the current one.
    fn bound(&mut self) {
        while self.views.len() > VIEWS_MAX
            && let Some((_, digest)) = self.ends.first()
        {
            let digest = *digest;
            self.end(&digest);
        }
    }

    fn end(&mut self, digest: &ViewDigest) {
        self.set_end(digest, None);
        self.views.remove(digest);
        self.warm.retain(|warm| warm != digest);
        if self.current.as_ref() == Some(digest) {
            self.current = None;
        }
        self.ended.push_back(*digest);
        if self.ended.len() > ENDED_MAX {
            self.ended.pop_front();
        }
    }
}

impl KeyedView {
    /// A name of the key that tells nothing about it.
    pub fn fingerprint(&self) -> Option<[u8; 8]> {
        let name = derive(self.key.as_ref()?.expose(), "ringfort key fingerprint", &[]);
        Some(name.expose().first_chunk().copied().unwrap_or_default())
    }
}

#[cfg(feature = "mutants")]
impl KeyedView {
    /// The group key: for simulations that compare members, and nothing else.
    pub fn key_for_testing_only(&self) -> Option<[u8; 32]> {
        self.key.as_ref().map(|key| *key.expose())
    }
}
