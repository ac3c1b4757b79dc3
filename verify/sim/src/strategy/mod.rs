//! What hostile leaders do.
//!
//! A hostile leader has its real secrets, an honest core that tells it what a leader would say, and the
//! secrets of its fellows. It alters, withholds or invents what leaves the core. It has no handle on
//! honest nodes, on the clock or on other nodes' dice.

mod claims;
mod login;
mod messages;
mod proposals;
mod shares;

use bytes::Bytes;
use ringfort_protocol::coordination::{Operation, SignedProposal};
use ringfort_protocol::group::{GroupInfo, LeaderSecrets};
use ringfort_protocol::statement::Statement;
use ringfort_protocol::view::{MemberEntry, MemberSet};
use ringfort_protocol::wire::{LeaderNotice, LoginAnswer, PeerMessage};
use ringfort_protocol::{LeaderId, LinkId, Time, UserName, ViewId};

pub use claims::claim;

use crate::dice::Dice;
use crate::mutator::Mutator;
use crate::mutator::script::{Script, Tried};

/// The strategies, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vice {
    /// Follows the protocol.
    Honest,
    /// Says nothing at all, to anybody.
    Silent,
    /// Crashes and comes back with its store.
    CrashReturn,
    /// Crashes and comes back with nothing but its secrets and registrations.
    CrashForget,
    /// Proposes different operations to different leaders.
    Equivocate,
    /// Proposes joins of users who are not there, registered or not.
    InventJoins,
    /// Proposes to remove and expel members who are there.
    InventRemovals,
    /// Proposes refreshes all the time.
    Refreshes,
    /// Replays other leaders' proposals, its own old ones, and forges some.
    ForgeProposals,
    /// Shares that are wrong.
    BadShares,
    /// Right shares with wrong proofs.
    BadProofs,
    /// Shares of another view.
    OtherViewShares,
    /// Good shares to some members and bad ones to others.
    PartialShares,
    /// Claims views with members who are not there.
    GhostViews,
    /// Claims old views as if they were current.
    StaleViews,
    /// Claims true views with false content.
    FalseContent,
    /// Answers heartbeats with old challenges and old views.
    StaleHeartbeats,
    /// Relays to some members only.
    SelectiveRelay,
    /// Alters what it relays.
    AlterRelay,
    /// Relays what nobody sent: old frames, to the wrong members.
    ReplayRelay,
    /// Evaluates passwords wrongly.
    BadEvaluations,
    /// Denies logins, or denies knowing the user.
    DenyLogins,
    /// Tells members that their stay has ended.
    ForgeEnds,
    /// Sends bytes that are no messages.
    Garbage,
    /// A new vice every second.
    Everything,
    /// Chance decides on each of its messages.
    Mutate,
}

impl Vice {
    /// All of them but the mutator, which has runs of its own ([`crate::setup::Setup::mutated`]).
    pub const ALL: [Vice; 25] = [
        Vice::Honest,
        Vice::Silent,
        Vice::CrashReturn,
        Vice::CrashForget,
        Vice::Equivocate,
        Vice::InventJoins,
        Vice::InventRemovals,
        Vice::Refreshes,
        Vice::ForgeProposals,
        Vice::BadShares,
        Vice::BadProofs,
        Vice::OtherViewShares,
        Vice::PartialShares,
        Vice::GhostViews,
        Vice::StaleViews,
        Vice::FalseContent,
        Vice::StaleHeartbeats,
        Vice::SelectiveRelay,
        Vice::AlterRelay,
        Vice::ReplayRelay,
        Vice::BadEvaluations,
        Vice::DenyLogins,
        Vice::ForgeEnds,
        Vice::Garbage,
        Vice::Everything,
    ];

    /// The name on the command line.
    pub fn name(self) -> String {
        let mut name = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(c.to_lowercase());
        }
        name
    }

    /// The strategy with a name.
    pub fn named(name: &str) -> Option<Vice> {
        Vice::ALL.into_iter().find(|vice| vice.name() == name)
    }

    /// The strategy itself; `None` for leaders that are no liars.
    pub fn strategy(self) -> Option<Box<dyn Strategy>> {
        Some(match self {
            Vice::Honest | Vice::CrashReturn | Vice::CrashForget => return None,
            Vice::Silent => Box::new(messages::Silent),
            Vice::Equivocate => Box::new(proposals::Equivocate),
            Vice::InventJoins => Box::new(proposals::InventJoins),
            Vice::InventRemovals => Box::new(proposals::InventRemovals),
            Vice::Refreshes => Box::new(proposals::Refreshes),
            Vice::ForgeProposals => Box::new(proposals::Forge::default()),
            Vice::BadShares => Box::new(shares::Bad),
            Vice::BadProofs => Box::new(shares::BadProof),
            Vice::OtherViewShares => Box::new(shares::OtherView::default()),
            Vice::PartialShares => Box::new(shares::Partial),
            Vice::GhostViews => Box::new(claims::Ghosts),
            Vice::StaleViews => Box::new(claims::Stale::default()),
            Vice::FalseContent => Box::new(claims::FalseContent),
            Vice::StaleHeartbeats => Box::new(claims::StaleHeartbeats::default()),
            Vice::SelectiveRelay => Box::new(messages::Selective),
            Vice::AlterRelay => Box::new(messages::Alter),
            Vice::ReplayRelay => Box::new(messages::Replay::default()),
            Vice::BadEvaluations => Box::new(login::BadEvaluations),
            Vice::DenyLogins => Box::new(login::Deny),
            Vice::ForgeEnds => Box::new(claims::ForgeEnds),
            Vice::Garbage => Box::new(messages::Garbage),
            Vice::Everything => Box::new(Everything::default()),
            Vice::Mutate => Box::<Mutator>::default(),
        })
    }
}

/// What a hostile leader can see and use.
pub struct Den<'a> {
    /// The time.
    pub now: Time,
    /// Its own chance.
    pub dice: &'a mut Dice,
    /// Which leader it is.
    pub me: LeaderId,
    /// Its own secrets and its fellows'.
    pub gang: &'a [LeaderSecrets],
    /// The public document.
    pub group: &'a GroupInfo,
    /// Its logged-in links.
    pub links: Vec<(LinkId, MemberEntry)>,
    /// Who is in, as its core sees it.
    pub members: &'a MemberSet,
    /// The view its core published last.
    pub view: ViewId,
    /// All names of registered users, and some that are not.
    pub users: &'a [UserName],
    /// Proposals heard lately, of everybody.
    pub heard: &'a [SignedProposal],
    /// Refreshes that its core has accepted.
    pub refreshes: u64,
    /// The seed of the run.
    pub seed: u64,
    /// What a mutator may do in it.
    pub script: &'a Script,
    /// What a mutator did.
    pub tried: &'a mut Vec<Tried>,
}

impl Den<'_> {
    /// Its own secrets.
    pub fn secrets(&self) -> &LeaderSecrets {
        self.gang.iter().find(|s| s.id == self.me).expect("a hostile leader is one of the gang")
    }

    /// A proposal in its own name.
    pub fn propose(&self, operation: Operation, accepted: bool) -> PeerMessage {
        let proposal =
            SignedProposal::sign(&self.secrets().signing, self.me, self.group.session(), operation, accepted);
        PeerMessage::Proposals(vec![proposal])
    }

    /// Its signed word for any view, at a time that it makes up now and then.
    pub fn statement(&mut self, view: ViewId, refreshes: u64) -> Statement {
        let now = crate::world::unix_ms(self.now);
        let at_ms = *self.dice.pick(&[now, 0, now - 5_000, now + 5_000, u64::MAX]).expect("a fixed list");
        Statement::sign(self.secrets(), self.group, view, refreshes, at_ms)
    }

    /// The other leaders.
    pub fn others(&self) -> Vec<LeaderId> {
        self.group.rules.leaders().filter(|l| *l != self.me).collect()
    }

    /// A member's entry with keys that nobody holds.
    pub fn ghost(&mut self, user: UserName, incarnation: u64) -> MemberEntry {
        let incarnation = ringfort_protocol::Incarnation(incarnation);
        ringfort_protocol::data::Identity::generate(user, incarnation, &mut self.dice.0).entry()
    }
}

/// Something a hostile leader says of its own accord.
pub enum Lie {
    /// To a member, sealed as its notices are.
    Notice(LinkId, LeaderNotice),
    /// To a leader.
    Peer(LeaderId, PeerMessage),
    /// Any bytes to a member.
    Bytes(LinkId, Bytes),
    /// Any bytes to a leader.
    PeerBytes(LeaderId, Bytes),
}

/// One way to be hostile. What is not overridden is what the honest core would do.
pub trait Strategy {
    /// In place of a notice to a member.
    fn notice(&mut self, _den: &mut Den<'_>, _to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        vec![notice]
    }

    /// In place of a message to a leader.
    fn peer(&mut self, _den: &mut Den<'_>, _to: LeaderId, message: PeerMessage) -> Vec<PeerMessage> {
        vec![message]
    }

    /// In place of an answer to a login.
    fn login(&mut self, _den: &mut Den<'_>, _to: LinkId, answer: LoginAnswer) -> Vec<LoginAnswer> {
        vec![answer]
    }

    /// In place of relaying a frame to these links.
    fn relay(&mut self, _den: &mut Den<'_>, links: Vec<LinkId>, frame: Bytes) -> Vec<(LinkId, Bytes)> {
        links.into_iter().map(|link| (link, frame.clone())).collect()
    }

    /// From time to time.
    fn tick(&mut self, _den: &mut Den<'_>) -> Vec<Lie> {
        Vec::new()
    }
}

/// Changes its vice every second.
#[derive(Default)]
struct Everything {
    now: Option<(u64, Box<dyn Strategy>)>,
}

impl Everything {
    fn vice(&mut self, den: &mut Den<'_>) -> &mut dyn Strategy {
        let second = den.now.since_start().as_secs();
        if self.now.as_ref().is_none_or(|(at, _)| *at != second) {
            self.now = None;
        }
        let (_, strategy) = self.now.get_or_insert_with(|| {
            let liars: Vec<Vice> = Vice::ALL
                .into_iter()
                .filter(|v| !matches!(v, Vice::Honest | Vice::CrashReturn | Vice::CrashForget | Vice::Everything))
                .collect();
            let vice = den.dice.pick(&liars).copied().unwrap_or(Vice::Silent);
            (second, vice.strategy().expect("only liars are left"))
        });
        strategy.as_mut()
    }
}

impl Strategy for Everything {
    fn notice(&mut self, den: &mut Den<'_>, to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        self.vice(den).notice(den, to, notice)
    }

    fn peer(&mut self, den: &mut Den<'_>, to: LeaderId, message: PeerMessage) -> Vec<PeerMessage> {
        self.vice(den).peer(den, to, message)
    }

    fn login(&mut self, den: &mut Den<'_>, to: LinkId, answer: LoginAnswer) -> Vec<LoginAnswer> {
        self.vice(den).login(den, to, answer)
    }

    fn relay(&mut self, den: &mut Den<'_>, links: Vec<LinkId>, frame: Bytes) -> Vec<(LinkId, Bytes)> {
        self.vice(den).relay(den, links, frame)
    }

    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        self.vice(den).tick(den)
    }
}
