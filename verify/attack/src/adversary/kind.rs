//! The attacks, by name.

use ringfort_crypto::threshold::SecretShare;

use super::{Vice, chaos, login, messages, mutate, proposals, shares, spy, torrent, views};

/// What a hacked leader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Kind {
    /// Says nothing to anybody, with all its links open.
    Silent,
    /// Gives shares of the group key that are wrong.
    BadShares,
    /// Gives right shares with proofs that do not verify.
    BadProofs,
    /// Claims views with an invented member, proposes joins of strangers, forges other leaders' proposals.
    Ghost,
    /// Proposes to expel honest members and tells them that their stay has ended.
    Expel,
    /// Tells each leader and each member something else.
    Equivocate,
    /// Claims and confirms an old view, replays old proposals and old heartbeat answers.
    OldView,
    /// Relays to some members only, and supplies nothing that is missing.
    Drop,
    /// Alters, repeats and replays the messages it relays; relays for strangers.
    Tamper,
    /// Refuses every login, signed; evaluates passwords wrongly.
    Deny,
    /// Floods leaders with bogus proposals and members with bogus frames.
    Flood,
    /// Follows the protocol, records everything, and tries all its secrets on it.
    Spy,
    /// All of these in turn.
    Chaos,
    /// Changes, holds, repeats or swallows each of its messages as chance has it.
    Mutate,
    /// Pours 10 MB a second of signed frames on each other leader.
    TorrentLeaders,
    /// Pours 10 MB a second of invented lists on each member.
    TorrentMembers,
    /// Both.
    Torrent,
}

impl Kind {
    /// All that can be told apart by what they do; that leaves out the mutator, which the soak uses, and the torrents of
    /// the hostile load.
    pub const ALL: [Kind; 13] = [
        Kind::Silent,
        Kind::BadShares,
        Kind::BadProofs,
        Kind::Ghost,
        Kind::Expel,
        Kind::Equivocate,
        Kind::OldView,
        Kind::Drop,
        Kind::Tamper,
        Kind::Deny,
        Kind::Flood,
        Kind::Spy,
        Kind::Chaos,
    ];

    /// Its name on the prompt.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Silent => "silent",
            Kind::BadShares => "bad-shares",
            Kind::BadProofs => "bad-proofs",
            Kind::Ghost => "ghost",
            Kind::Expel => "expel",
            Kind::Equivocate => "equivocate",
            Kind::OldView => "old-view",
            Kind::Drop => "drop",
            Kind::Tamper => "tamper",
            Kind::Deny => "deny",
            Kind::Flood => "flood",
            Kind::Spy => "spy",
            Kind::Chaos => "chaos",
            Kind::Mutate => "mutate",
            Kind::TorrentLeaders => "torrent-leaders",
            Kind::TorrentMembers => "torrent-members",
            Kind::Torrent => "torrent",
        }
    }

    /// The attack with a name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What it does, in a line.
    pub fn what(self) -> &'static str {
        match self {
            Kind::Silent => "says nothing to anybody, with all its links open",
            Kind::BadShares => "gives shares of the group key that are wrong",
            Kind::BadProofs => "gives right shares with proofs that do not verify",
            Kind::Ghost => "claims views with an invented member, proposes strangers, forges other leaders' proposals",
            Kind::Expel => "proposes to expel honest members and tells them that their stay has ended",
            Kind::Equivocate => "tells each leader and each member something else",
            Kind::OldView => "claims and confirms an old view, replays old proposals and heartbeat answers",
            Kind::Drop => "relays to some members only, and supplies nothing that is missing",
            Kind::Tamper => "alters, repeats and replays the messages it relays; relays for strangers",
            Kind::Deny => "refuses every login with its signature, evaluates passwords wrongly",
            Kind::Flood => "floods leaders with bogus proposals and members with bogus frames",
            Kind::Spy => "looks honest, records every message, and tries all its secrets on them",
            Kind::Chaos => "all of these in turn",
            Kind::TorrentLeaders => "pours 10 MB a second of signed frames on each other leader",
            Kind::TorrentMembers => "pours 10 MB a second of invented lists on each member",
            Kind::Torrent => "pours 10 MB a second on each leader and each member",
            Kind::Mutate => "changes, holds, repeats or swallows each of its messages as chance has it",
        }
    }

    /// By which words others must name the offence. Empty where nothing can be proven against a
    /// leader: there the attack just has no effect.
    pub fn caught_as(self) -> &'static [&'static str] {
        match self {
            Kind::Silent => &["silent"],
            Kind::BadShares | Kind::BadProofs => &["bad-share"],
            Kind::Ghost => &["bad-proposal"],
            Kind::Equivocate => &["equivocated"],
            Kind::OldView => &["claim-went-back", "stale-heartbeat"],
            Kind::Tamper => &["altered", "malformed"],
            Kind::Deny => &["bad-evaluation"],
            Kind::Flood => &["flooding"],
            Kind::Chaos => &[
                "bad-share",
                "bad-proposal",
                "equivocated",
                "claim-went-back",
                "stale-heartbeat",
                "altered",
                "malformed",
                "flooding",
                "bad-evaluation",
            ],
            Kind::TorrentLeaders | Kind::TorrentMembers | Kind::Torrent => {
                &["cut-off", "flooding", "bad-view", "malformed"]
            }
            Kind::Expel | Kind::Drop | Kind::Spy | Kind::Mutate => &[],
        }
    }

    /// How it is done. `second` is another leader's share, for the spy's comparison.
    pub(super) fn vice(self, second: Option<SecretShare>) -> Box<dyn Vice> {
        match self {
            Kind::Silent => Box::new(messages::Silent),
            Kind::BadShares => Box::<shares::BadShares>::default(),
            Kind::BadProofs => Box::<shares::BadProofs>::default(),
            Kind::Ghost => Box::<views::Ghost>::default(),
            Kind::Expel => Box::<proposals::Expel>::default(),
            Kind::Equivocate => Box::<views::Equivocate>::default(),
            Kind::OldView => Box::<views::OldView>::default(),
            Kind::Drop => Box::new(messages::Drop),
            Kind::Tamper => Box::<messages::Tamper>::default(),
            Kind::Deny => Box::new(login::Deny),
            Kind::Flood => Box::<proposals::Flood>::default(),
            Kind::Spy => Box::new(spy::Spy::with_second(second)),
            Kind::Chaos => Box::<chaos::Chaos>::default(),
            Kind::Mutate => Box::<mutate::Mutate>::default(),
            Kind::TorrentLeaders => Box::new(torrent::Torrent::new(true, false)),
            Kind::TorrentMembers => Box::new(torrent::Torrent::new(false, true)),
            Kind::Torrent => Box::new(torrent::Torrent::new(true, true)),
        }
    }
}
