//! Every quorum and every freshness rule, in one place.
//!
//! All thresholds of the protocols are computed here and nowhere else, so that a
//! simulation can weaken each of them by one and show that the suite notices.

use crate::ids::{LEADERS_MAX, LeaderId};

/// The sizes of a group and what follows from them.
///
/// Source: Dutertre 2002 §2.3 (`3f + 1 <= n`) and Figure 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    n: u8,
    f: u8,
    key_threshold: u8,
    #[cfg(feature = "mutants")]
    mutation: Option<Mutation>,
}

/// Sizes that make no group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    /// Too few or too many leaders for the faults to be tolerated.
    #[error("{n} leaders cannot tolerate {f} hacked ones: at least {} are needed, at most {LEADERS_MAX} allowed", 3 * u16::from(*.f) + 1)]
    Leaders {
        /// Leaders asked for.
        n: u8,
        /// Faults asked for.
        f: u8,
    },
    /// A key threshold outside `f+1 ..= n-f`.
    #[error(
        "the key threshold {threshold} is outside {lowest} to {highest}: below, hacked leaders could read; above, they could block"
    )]
    KeyThreshold {
        /// Asked for.
        threshold: u8,
        /// f + 1.
        lowest: u8,
        /// n - f.
        highest: u8,
    },
}

impl Rules {
    /// A group of `n` leaders of which `f` may be hacked, and whose key takes `key_threshold` shares (P3).
    pub fn new(n: u8, f: u8, key_threshold: u8) -> Result<Self, BadRules> {
        if n == 0 || n > LEADERS_MAX || u16::from(f) * 3 + 1 > u16::from(n) {
            return Err(BadRules::Leaders { n, f });
        }
        let (lowest, highest) = (f + 1, n - f);
        if !(lowest..=highest).contains(&key_threshold) {
            return Err(BadRules::KeyThreshold { threshold: key_threshold, lowest, highest });
        }
        Ok(Rules {
            n,
            f,
            key_threshold,
            #[cfg(feature = "mutants")]
            mutation: None,
        })
    }

    /// Number of leaders.
    pub fn n(&self) -> u8 {
        self.n
    }

    /// Leaders that may be hacked.
    pub fn f(&self) -> u8 {
        self.f
    }

    /// All leaders.
    pub fn leaders(&self) -> impl Iterator<Item = LeaderId> + Clone {
        LeaderId::all(self.n)
    }

    /// `f+1` proposals contain an honest one: a leader joins in (Figure 3, second rule).
    pub fn amplify(&self) -> usize {
        self.weakened(Rule::Amplify, usize::from(self.f) + 1)
    }

    /// `n-f` proposals, one's own among them, accept an operation (Figure 3, third rule).
    pub fn accept(&self) -> usize {
        self.weakened(Rule::Accept, usize::from(self.n - self.f))
    }

    /// `f+1` leaders that say they have accepted contain an honest one: catch-up (P5).
    pub fn catch_up(&self) -> usize {
        self.weakened(Rule::CatchUp, usize::from(self.f) + 1)
    }

    /// `f+1` consistent leader messages before a member acts (seed 002 §2.3, A10).
    pub fn confirm(&self) -> usize {
        self.weakened(Rule::Confirm, usize::from(self.f) + 1)
    }

    /// `n-f` leaders that confirm a view now before a member takes it for current: any two such sets share an honest
    /// leader, as two of `f+1` need not. With `f` leaders stopped there are `n-f`.
    pub fn current(&self) -> usize {
        self.weakened(Rule::Current, usize::from(self.n - self.f))
    }

    /// `f+1` leaders' signatures certify a view: one of them is honest (P6).
    pub fn certificate(&self) -> usize {
        self.weakened(Rule::Certificate, usize::from(self.f) + 1)
    }

    /// More than `(n+f)/2` leaders name the next generation: any two such sets share an honest leader, so there is one of each
    /// number, and no `f` leaders make any.
    pub fn succession(&self) -> usize {
        usize::from(self.n + self.f) / 2 + 1
    }

    /// `2f+1` leaders that have a member's last word: `f+1` of them are honest, and say how much it was.
    pub fn last_word(&self) -> usize {
        2 * usize::from(self.f) + 1
    }

    /// `n-f` leaders that do not hear a member, all at once, before one of them takes it for lost; and as many that take it
    /// for lost before one of them votes.
    pub fn lost(&self) -> usize {
        usize::from(self.n - self.f)
    }

    /// Shares that make the group key.
    pub fn key_threshold(&self) -> usize {
        usize::from(self.key_threshold)
    }

    /// Shares that make a value of the common coin: always `f+1`.
    pub fn coin_threshold(&self) -> usize {
        usize::from(self.f) + 1
    }

    /// Evaluations that harden a password: always `f+1`.
    pub fn login_threshold(&self) -> usize {
        usize::from(self.f) + 1
    }

    /// Leaders a message is sent through, so that one of them is honest (P9).
    pub fn relays(&self) -> usize {
        usize::from(self.f) + 1
    }

    /// Whether a freshness or authenticity rule is in force: always, outside the mutant corpus.
    #[inline]
    pub fn enforces(&self, rule: Rule) -> bool {
        #[cfg(feature = "mutants")]
        if self.mutation == Some(Mutation(rule)) {
            return false;
        }
        let _ = rule;
        true
    }

    fn weakened(&self, rule: Rule, threshold: usize) -> usize {
        if self.enforces(rule) { threshold } else { threshold.saturating_sub(1) }
    }

    /// The same sizes with one rule weakened.
    #[cfg(feature = "mutants")]
    pub fn mutated_for_testing_only(mut self, rule: Rule) -> Self {
        self.mutation = Some(Mutation(rule));
        self
    }
}

#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mutation(Rule);

/// The rules that the mutant corpus weakens, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// f+1 to join in a proposal.
    Amplify,
    /// n-f to accept.
    Accept,
    /// One's own proposal is among the n-f.
    AcceptOwn,
    /// f+1 accepted claims to catch up.
    CatchUp,
    /// f+1 leaders before a member acts.
    Confirm,
    /// n-f leaders that confirm a view before it counts as current.
    Current,
    /// A proposal's signature is checked.
    ProposalSignature,
    /// A proposal names this session.
    ProposalSession,
    /// A login's incarnation is above all that went before (P5).
    Incarnation,
    /// A login is bound to its link's exporter value (P4).
    Exporter,
    /// A login answers this leader's nonce N2.
    LoginNonce,
    /// Password evaluations are limited per user.
    LoginThrottle,
    /// Whoever announces session keys holds them.
    Possession,
    /// A sealed frame's sequence number is new (P8).
    SealedReplay,
    /// A data frame's sequence number is new (K2, K24).
    DataReplay,
    /// A heartbeat answer names the latest challenge (K15–K18).
    HeartbeatNonce,
    /// A leader confirms the view that it names, and no later one.
    ConfirmedView,
    /// A share's proof is checked (B4).
    ShareProof,
    /// A view's content hashes to the claimed digest.
    ViewDigest,
    /// What is so already is no change, whoever says it: the digest does not see it.
    TrueChanges,
    /// What a leader claims never goes back (K11).
    ClaimForward,
    /// The installed epoch never falls (K11).
    EpochForward,
    /// A stay that a member saw end does not come back.
    Tombstone,
    /// A leader gives a view's share only to members of that view.
    ShareToMembersOnly,
    /// A leader relays a member's frames in that member's name only.
    RelaySender,
    /// A data frame is signed by its sender where policy says so (K3, K25).
    OriginSignature,
    /// Views whose overlap has ended read no more messages.
    OverlapEnds,
    /// A request or a notice counts only if it opens under the session key (K8, K34, K36).
    Seal,
    /// A login's transcript names both parties (K4).
    LoginNames,
    /// A refused login is signed by the leader (K23).
    DenialSignature,
    /// A refusal that speaks of an earlier stay or session ends no later one.
    DenialStay,
    /// What a member asks, and how many logins one link begins, is limited (K19, L9).
    RequestLimit,
    /// How many stays a user may begin at one leader in a second is limited: other leaders hear of each.
    ArrivalLimit,
    /// What one leader may propose before anything of it is accepted is limited (L9).
    PendingLimit,
    /// What one leader may make another do is limited (L9).
    PeerBudget,
    /// A leader takes a member for lost only while n-f leaders do not hear it.
    LostTogether,
    /// That leaders took a member for lost is over once n-f of them agree that it is found again.
    LostLapses,
    /// That a leader does not hear a member is forgotten when it is not said again.
    OpinionExpires,
    /// Who was expelled comes back for good only if f+1 leaders take the user back, and not by older votes.
    TakenBack,
    /// A message that anybody may read is altered by nobody (K26, K38).
    DataTag,
    /// A leader's own vote is durable before it is sent (P10).
    VoteDurable,
    /// A claim counts only with its leader's signature: what is installed is certified (P6).
    Statement,
    /// f+1 leaders' signatures before a view is taken as certified in a log or a receipt (P6).
    Certificate,
    /// A leader relays no frame that its sender's role forbids, and none to who may not read.
    RelayRole,
    /// A receiver takes no frame that its sender's role forbids.
    SenderRole,
    /// A leader gives no share of the group key to who may not read.
    ShareToReadersOnly,
    /// Nobody comes in outside the times that policy names (A25).
    AdmissionWindow,
    /// A stay ends after the time that policy names (A18).
    StayLimit,
    /// Nobody comes in whom the members did not let in, where policy asks them (A24).
    AdmissionVote,
    /// Two messages that were shown convict a member only with its signature under both, and one number (A18).
    Accusation,
    /// The end of a session ends every stay in it, and lets nobody in (A22).
    SessionEnds,
    /// Leaders tell members how far streams go (P9).
    HeadsTold,
    /// A stream counts from where its sender says that it began for this stay of the receiver.
    StreamSince,
    /// What a member asks to be repaired is limited, for each sender and in all (L9).
    RepairBudget,
    /// Whoever has confirmed a setup takes part in no other with the same keys.
    ConfirmedOnce,
    /// A setup begins once all have signed that they hold the same starts.
    AllReady,
}

impl Rule {
    /// All of them, for the corpus.
    pub const ALL: [Rule; 56] = [
        Rule::Amplify,
        Rule::Accept,
        Rule::AcceptOwn,
        Rule::CatchUp,
        Rule::Confirm,
        Rule::Current,
        Rule::ProposalSignature,
        Rule::ProposalSession,
        Rule::Incarnation,
        Rule::Exporter,
        Rule::LoginNonce,
        Rule::LoginThrottle,
        Rule::Possession,
        Rule::SealedReplay,
        Rule::DataReplay,
        Rule::HeartbeatNonce,
        Rule::ConfirmedView,
        Rule::ShareProof,
        Rule::ViewDigest,
        Rule::TrueChanges,
        Rule::ClaimForward,
        Rule::EpochForward,
        Rule::Tombstone,
        Rule::ShareToMembersOnly,
        Rule::RelaySender,
        Rule::OriginSignature,
        Rule::OverlapEnds,
        Rule::Seal,
        Rule::LoginNames,
        Rule::DenialSignature,
        Rule::DenialStay,
        Rule::RequestLimit,
        Rule::ArrivalLimit,
        Rule::PendingLimit,
        Rule::PeerBudget,
        Rule::LostTogether,
        Rule::LostLapses,
        Rule::OpinionExpires,
        Rule::TakenBack,
        Rule::DataTag,
        Rule::VoteDurable,
        Rule::Statement,
        Rule::Certificate,
        Rule::RelayRole,
        Rule::SenderRole,
        Rule::ShareToReadersOnly,
        Rule::AdmissionWindow,
        Rule::StayLimit,
        Rule::AdmissionVote,
        Rule::Accusation,
        Rule::SessionEnds,
        Rule::HeadsTold,
        Rule::StreamSince,
        Rule::RepairBudget,
        Rule::ConfirmedOnce,
        Rule::AllReady,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_that_make_no_group_are_refused() {
        for (n, f, t) in [(0, 0, 1), (3, 1, 2), (6, 2, 3), (4, 1, 1), (4, 1, 4), (65, 1, 2)] {
            assert!(Rules::new(n, f, t).is_err(), "{n} {f} {t}");
        }
        for (n, f, t) in [(1, 0, 1), (4, 1, 2), (4, 1, 3), (7, 2, 3), (7, 2, 5)] {
            assert!(Rules::new(n, f, t).is_ok(), "{n} {f} {t}");
        }
    }

    proptest! {
        /// Quorum intersection: what the proofs of Figure 3 need, for every allowed size.
        #[test]
        fn quorums_intersect_in_an_honest_leader(f in 0u8..21, spare in 0u8..3) {
            let n = 3 * f + 1 + spare;
            let rules = Rules::new(n, f, f + 1).unwrap();
            let (n, f) = (usize::from(n), usize::from(f));
            prop_assert!(rules.amplify() > f && rules.amplify() - 1 <= f);
            prop_assert!(rules.catch_up() > f && rules.confirm() > f);
            prop_assert!(rules.last_word() >= rules.confirm() + f, "enough of those that have a last word are honest");
            prop_assert!(rules.last_word() <= n - f, "honest leaders alone settle how much was said");
            prop_assert!(rules.current() <= n - f, "honest leaders alone confirm");
            prop_assert!(2 * rules.current() > n + f, "two current views share an honest leader");
            prop_assert!(rules.accept() <= n - f, "honest leaders alone can accept");
            prop_assert!(2 * rules.accept() > n + f, "two quorums share an honest leader");
            prop_assert!(rules.accept() - f >= rules.amplify(), "honest proposers of an accepted operation amplify it everywhere");
        }
    }
}
