//! What really happened, as nobody inside the world knows it.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_protocol::ids::MemberId;
use ringfort_protocol::policy::Service;
use ringfort_protocol::view::MemberEntry;
use ringfort_protocol::{LeaderId, SessionNumber, Time, UserName, ViewDigest, ViewId};

use super::ClientId;

/// A message as its sender sent it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When.
    pub at: Time,
    /// By which client.
    pub client: ClientId,
    /// In which stay.
    pub sender: MemberId,
    /// In which view.
    pub view: ViewId,
    /// Who was in the sender's view.
    pub members: Vec<MemberId>,
    /// The recipients of a private message.
    pub to: Option<Vec<UserName>>,
    /// The service.
    pub service: Service,
    /// Whether it is a probe of the settled group: it must reach everybody.
    pub probe: bool,
    /// Its place in its sender's order of sending; 0 until it has one.
    pub place: u64,
}

/// Everything the checkers may compare with.
#[derive(Debug, Default)]
pub struct Facts {
    /// Users whom every operator, or at least f+1 honest ones, registered.
    pub registered: BTreeSet<UserName>,
    /// Stays that honest leaders have authenticated.
    pub announced: BTreeSet<MemberId>,
    /// Entries of stays as their own clients made them.
    pub genuine: BTreeSet<MemberEntry>,
    /// Stays whose client asked to leave.
    pub left: BTreeSet<MemberId>,
    /// Users whose expulsion an honest operator asked for.
    pub expelled: BTreeSet<UserName>,
    /// Sessions whose end honest operators asked for.
    pub sessions_over: BTreeSet<SessionNumber>,
    /// Stays that an honest leader has not heard for long.
    pub silent: BTreeSet<MemberId>,
    /// Ended stays, and which honest leaders ended them.
    pub ended: BTreeMap<MemberId, BTreeSet<LeaderId>>,
    /// Whom each honest leader has in.
    pub inside: BTreeMap<(LeaderId, UserName), MemberId>,
    /// When somebody last joined or left.
    pub last_operation: Time,
    /// Leaders that may be hostile.
    pub faults: usize,
    /// Probes that arrived, at whom.
    pub heard: BTreeSet<(ClientId, u64)>,
    /// Views that honest leaders have published.
    pub published: BTreeSet<ViewDigest>,
    /// Messages by their number.
    pub sent: BTreeMap<u64, Sent>,
    /// The hostile leaders.
    pub hostile: BTreeSet<LeaderId>,
    /// Messages whose program died before it knew f+1 leaders to have them: nobody was promised them.
    pub unacknowledged: BTreeSet<u64>,
    /// Messages that the sender's own member refused to send.
    pub refused: BTreeSet<u64>,
    /// Messages delivered, copies at each member counted.
    pub delivered: u64,
    /// What honest leaders had told others and did not stand by after a crash.
    pub broken_words: Vec<String>,
    /// When leaders crashed before all of a step was on disk: nobody has heard of it.
    pub forgotten: BTreeMap<LeaderId, BTreeSet<Time>>,
    /// Users whose programs and keys are in the attacker's hands.
    pub hacked: BTreeSet<UserName>,
    /// When an honest leader last heard a user's program.
    pub heard_at: BTreeMap<(LeaderId, UserName), Time>,
    /// When an honest leader heard somebody again of whom it had heard nothing for as long as the policy allows.
    pub deaf_until: BTreeMap<(LeaderId, UserName), Time>,
    /// Messages that receivers were told are lost, by whose they are.
    pub gaps: BTreeMap<(ClientId, MemberId), u64>,
    /// Members of whom receivers were told that nobody knows how much they had said.
    pub unknown_tails: BTreeSet<(ClientId, MemberId)>,
    /// When clients first had a view.
    pub first_view: BTreeMap<ClientId, Time>,
    /// Views that clients have had.
    pub installed: BTreeSet<(ClientId, ViewDigest)>,
    /// Members that clients have seen in a view, and whether in their first one.
    pub seen: BTreeMap<(ClientId, MemberId), bool>,
    /// The stay of each user in a client's view.
    pub present: BTreeMap<(ClientId, UserName), MemberId>,
    /// Stays that went out of a client's view as expelled: it is told that.
    pub told_expelled: BTreeSet<(ClientId, MemberId)>,
    /// Whether the network is kind now.
    pub stable: bool,
}

impl Facts {
    /// Whether operators have ended a session that this user had a stay in.
    pub fn session_over_for(&self, user: &UserName) -> bool {
        self.announced.iter().any(|m| m.user == *user && self.sessions_over.contains(&m.incarnation.session()))
    }

    /// A member that an honest leader has in now.
    pub fn note_admitted(&mut self, by: LeaderId, member: &MemberId) {
        self.inside.insert((by, member.user.clone()), member.clone());
    }

    /// The end of a stay at an honest leader.
    pub fn note_ended(&mut self, by: LeaderId, user: &UserName) {
        if let Some(member) = self.inside.remove(&(by, user.clone())) {
            self.ended.entry(member).or_default().insert(by);
        }
    }

    /// A leader crashes before all of a step is on disk.
    pub fn note_forgotten(&mut self, by: LeaderId, now: Time) {
        self.forgotten.entry(by).or_default().insert(now);
    }

    /// A leader comes back from a crash, with less than it had perhaps.
    pub fn note_restart(&mut self, by: LeaderId) {
        self.ended.values_mut().for_each(|leaders| {
            leaders.remove(&by);
        });
    }
}
