//! What messages are made of.

use super::{Defence, HACKED, World};

/// A user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// Honest.
    Ana = 0,
    /// The attacker's.
    Eve = 1,
}

/// A number used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nonce {
    /// Ana's first of a login.
    N1(usize),
    /// A leader's, of one AuthKeyDist on one link.
    N2(usize, usize),
    /// Ana's second of a login.
    N3(usize),
    /// The attacker's.
    Attackers,
}

/// What both ends have seen up to N1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transcript {
    /// With whom, if it says so.
    pub leader: Option<u8>,
    /// The link's exporter value, if it is in it.
    pub exporter: Option<usize>,
    /// In whose name.
    pub user: Who,
    /// The member's nonce.
    pub n1: Nonce,
}

/// A stay as it is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Whose.
    pub user: Who,
    /// Which.
    pub stay: u8,
    /// Who holds the secret halves of its keys.
    pub keys_of: Who,
}

/// What the member and the leader share before the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LongTerm {
    /// `P_a,i`, of a user and a leader (of all leaders, if they do not differ).
    Password(Who, Option<u8>),
    /// For key logins: the link's exporter value.
    Exporter(Option<usize>),
}

impl LongTerm {
    /// Whether the attacker has it.
    pub fn is_known(self, world: &World) -> bool {
        match self {
            LongTerm::Password(Who::Eve, _) | LongTerm::Password(_, None) => true,
            LongTerm::Password(Who::Ana, Some(leader)) => leader == HACKED,
            LongTerm::Exporter(link) => world.knows_exporter(link),
        }
    }
}

/// The long-term secret of a login.
pub fn long_term(world: &World, user: Who, leader: u8, exporter: Option<usize>) -> LongTerm {
    if world.by_key {
        LongTerm::Exporter(exporter)
    } else {
        LongTerm::Password(user, world.has(Defence::KeyPerLeader).then_some(leader))
    }
}

/// What AuthAckKey authenticates, and the key from which its tag's key comes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signed {
    /// The long-term secret in the session key.
    pub key: LongTerm,
    /// The transcript.
    pub transcript: Transcript,
    /// N2, if it is bound.
    pub n2: Option<Nonce>,
    /// N3.
    pub n3: Nonce,
    /// The stay.
    pub entry: Entry,
}

impl Signed {
    /// What signatures cover.
    pub fn parts(&self) -> (&Transcript, Option<Nonce>, Nonce, Entry) {
        (&self.transcript, self.n2, self.n3, self.entry)
    }
}
