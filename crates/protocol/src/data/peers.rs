//! Whose frames are accepted, and what one needs to make one's own.

use std::collections::BTreeMap;

use ringfort_crypto::CryptoRng;
use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::sign::SigningKey;

use crate::ids::{Incarnation, MemberId, UserName};
use crate::time::Time;
use crate::view::{MemberEntry, MemberSet, SessionSealingKey, SessionVerifyingKey};

/// The most departed members whose last messages are waited for.
pub const DEPARTED_MAX: usize = 4096;

/// A member's own keys of one stay, drawn afresh at each join.
pub struct Identity {
    /// Who, in which stay.
    pub id: MemberId,
    /// Signs its frames.
    pub signing: SigningKey,
    /// Opens private messages to it, and authenticates those from it.
    pub sealing: KemSecret,
}

impl Identity {
    /// Draws the keys of a stay.
    pub fn generate(user: UserName, incarnation: Incarnation, rng: &mut dyn CryptoRng) -> Self {
        let id = MemberId { user, incarnation };
        Identity { id, signing: SigningKey::generate(rng), sealing: KemSecret::generate(rng) }
    }

    /// What the others see of it in the view.
    pub fn entry(&self) -> MemberEntry {
        MemberEntry {
            id: self.id.clone(),
            signing: SessionVerifyingKey(self.signing.verifying_key()),
            sealing: SessionSealingKey(self.sealing.public()),
        }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({}, redacted)", self.id)
    }
}

/// Members that left or were lost, whose messages in flight are still read during the overlap.
///
/// An expelled member is never put in: its messages end at once. Memory: at most [`DEPARTED_MAX`]; of the user with most stays
/// among them the one whose time ends first makes room.
#[derive(Clone, Debug, Default)]
pub struct Departed {
    entries: BTreeMap<MemberId, (MemberEntry, Time)>,
}

impl Departed {
    /// Reads the member's frames until `until`. Says whose frames are read no longer for want of room.
    #[must_use]
    pub fn insert(&mut self, entry: MemberEntry, until: Time) -> Option<MemberId> {
        self.entries.insert(entry.id.clone(), (entry, until));
        if self.entries.len() <= DEPARTED_MAX {
            return None;
        }
        // Stays of one user lie side by side.
        let mut stays = BTreeMap::<&UserName, usize>::new();
        self.entries.keys().for_each(|id| *stays.entry(&id.user).or_default() += 1);
        let most = stays.values().max().copied().unwrap_or_default();
        let crowded = self.entries.iter().filter(|(id, _)| stays.get(&id.user) == Some(&most));
        let first = crowded.min_by_key(|(_, (_, until))| *until).map(|(id, _)| id.clone())?;
        self.entries.remove(&first);
        Some(first)
    }

    /// Reads the member's frames no longer.
    pub fn remove(&mut self, id: &MemberId) {
        self.entries.remove(id);
    }

    /// A departed member's entry.
    pub fn get(&self, id: &MemberId) -> Option<&MemberEntry> {
        self.entries.get(id).map(|(entry, _)| entry)
    }

    /// Drops those whose time has come, and names them.
    pub fn expire(&mut self, now: Time) -> Vec<MemberId> {
        let gone: Vec<_> =
            self.entries.iter().filter(|(_, (_, until))| *until <= now).map(|(id, _)| id.clone()).collect();
        for id in &gone {
            self.entries.remove(id);
        }
        gone
    }

    /// When [`Departed::expire`] next has something to do.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.entries.values().map(|(_, until)| *until).min()
    }
}

/// Whose frames are accepted: the members of the current view, each in its present stay, and the departed.
#[derive(Clone, Copy, Debug)]
pub struct Peers<'a> {
    /// The current view.
    pub current: &'a MemberSet,
    /// Those that left during the overlap.
    pub departed: &'a Departed,
}

impl<'a> Peers<'a> {
    /// The keys of a sender, if its frames are accepted.
    pub fn entry(&self, id: &MemberId) -> Option<&'a MemberEntry> {
        self.current.get_member(id).or_else(|| self.departed.get(id))
    }
}
