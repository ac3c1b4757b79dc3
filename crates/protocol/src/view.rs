//! Views: who is in the group, under which number and digest (A9, P3, P6).

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::hash::digest;
use ringfort_crypto::kem::KemPublic;
use ringfort_crypto::set_hash::{SetElement, SetHash};
use ringfort_crypto::sign::VerifyingKey;

use crate::codec::encode;
use crate::group::GroupInfo;
use crate::ids::{Epoch, Incarnation, MemberId, SessionId, UserName, ViewDigest, ViewId, bytes_codec};

/// Verifies what a member signs during one stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionVerifyingKey(pub VerifyingKey);
bytes_codec!(SessionVerifyingKey(VerifyingKey), 32, VerifyingKey::to_bytes, |b| VerifyingKey::from_bytes(&b).ok());

/// Private messages to a member are sealed to this key during one stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionSealingKey(pub KemPublic);
bytes_codec!(SessionSealingKey(KemPublic), 32, KemPublic::to_bytes, |b| KemPublic::from_bytes(&b).ok());

/// One member of a view with its keys, fresh at each join.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct MemberEntry {
    /// Who, in which stay.
    pub id: MemberId,
    /// Verifies its messages.
    pub signing: SessionVerifyingKey,
    /// Seals private messages to it.
    pub sealing: SessionSealingKey,
}

/// Why somebody is no longer a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Cause {
    /// It asked to leave (A15).
    Left = 0,
    /// No leader heard it any more.
    Lost = 1,
    /// Operators expelled it (A16).
    Expelled = 2,
    /// The stay reached the length that policy allows (A18).
    Expired = 3,
    /// The session is over: everybody's stay in it is (A22).
    SessionOver = 4,
    /// The user has logged in anew, at another place perhaps, and that stay took the place of this one. Told to the stay
    /// alone: a view shows that the user is there.
    Elsewhere = 5,
}

/// One difference between two views.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Change {
    /// A member came, or came back with new keys.
    Added(MemberEntry) = 0,
    /// A member went. The cause is told for people; the digest does not cover it.
    Removed(UserName, Cause) = 1,
}

impl Change {
    /// Whom it is about.
    pub fn user(&self) -> &UserName {
        match self {
            Change::Added(entry) => &entry.id.user,
            Change::Removed(user, _) => user,
        }
    }
}

/// The members of a view with a digest that costs the same to update at any size (P3).
#[derive(Clone, Debug, Default)]
pub struct MemberSet {
    members: BTreeMap<UserName, (MemberEntry, SetElement)>,
    hash: SetHash,
}

impl MemberSet {
    /// Puts a member in, replacing an earlier stay of the same user.
    pub fn insert(&mut self, entry: MemberEntry) {
        let element = SetHash::element(&encode(&entry));
        self.hash.add(&element);
        if let Some((_, old)) = self.members.insert(entry.id.user.clone(), (entry, element)) {
            self.hash.remove(&old);
        }
    }

    /// Takes a user out.
    pub fn remove(&mut self, user: &UserName) -> Option<MemberEntry> {
        let (entry, element) = self.members.remove(user)?;
        self.hash.remove(&element);
        Some(entry)
    }

    /// Applies a change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Added(entry) => self.insert(entry.clone()),
            Change::Removed(user, _) => drop(self.remove(user)),
        }
    }

    /// A user's entry, if present.
    pub fn get(&self, user: &UserName) -> Option<&MemberEntry> {
        self.members.get(user).map(|(entry, _)| entry)
    }

    /// A member's entry, if it is present in that very stay.
    pub fn get_member(&self, id: &MemberId) -> Option<&MemberEntry> {
        self.get(&id.user).filter(|entry| entry.id.incarnation == id.incarnation)
    }

    /// All entries, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &MemberEntry> {
        self.members.values().map(|(entry, _)| entry)
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody is in.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The hash after `changes`, without copying the members. Cost: one group hash per change.
    pub fn hash_after<'a>(&self, changes: impl IntoIterator<Item = &'a Change>) -> SetHash {
        let mut hash = self.hash.clone();
        for change in changes {
            if let Some((_, old)) = self.members.get(change.user()) {
                hash.remove(old);
            }
            if let Change::Added(entry) = change {
                hash.add(&SetHash::element(&encode(entry)));
            }
        }
        hash
    }

    /// The hash of the members.
    pub fn hash(&self) -> &SetHash {
        &self.hash
    }
}

/// Computes view digests of one session: the constants are hashed in once.
#[derive(Clone, Debug)]
pub struct ViewHasher {
    context: [u8; 32],
}

impl ViewHasher {
    /// For the views of `session`.
    pub fn new(info: &GroupInfo, session: SessionId) -> Self {
        let context = digest("ringfort view context", &[&info.id().0, &session.0, &info.policy.digest()]);
        ViewHasher { context }
    }

    /// The digest that names a view: group, session, policy, epoch, refresh count and members.
    pub fn digest(&self, epoch: Epoch, refreshes: u64, members: &SetHash) -> ViewDigest {
        ViewDigest(digest(
            "ringfort view",
            &[&self.context, &epoch.0.to_be_bytes(), &refreshes.to_be_bytes(), &members.digest()],
        ))
    }

    /// The name of a view.
    pub fn view_id(&self, epoch: Epoch, refreshes: u64, members: &SetHash) -> ViewId {
        ViewId { epoch, digest: self.digest(epoch, refreshes, members) }
    }
}

/// The incarnation that comes after `last`.
pub fn next_incarnation(last: Incarnation) -> Incarnation {
    Incarnation(last.0.saturating_add(1))
}
