//! How many lines of the audit somebody can cause: each peer has an account of its own, strangers have one together.

use std::collections::BTreeSet;
use std::fmt;

use ringfort_kernel::Time;

use super::decision::Decision;
use super::purses::Purses;

/// Accounts at once; further peers share one.
const ACCOUNTS_MAX: usize = 4096;
/// First offences of users that are remembered. Those of leaders are counted apart: a group cannot have so many that they fill
/// memory.
const FIRSTS_MAX: usize = 16_384;

/// Whose lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Account {
    /// Whoever has not proved who it is.
    Strangers,
    /// A leader or a user.
    Peer(String),
    /// Peers beyond those that have accounts.
    OtherPeers,
    /// What members do together: views, motions.
    Group,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::Strangers => f.write_str("strangers"),
            Account::Peer(who) => f.write_str(who),
            Account::OtherPeers => f.write_str("others"),
            Account::Group => f.write_str("the group"),
        }
    }
}

/// What is left of each account.
#[derive(Debug)]
pub(super) struct Accounts {
    strangers_per_minute: u64,
    peer_per_minute: u64,
    purses: Purses<Account>,
    firsts: BTreeSet<(Account, &'static str)>,
    leaders_firsts: BTreeSet<(Account, &'static str)>,
}

impl Accounts {
    pub(super) fn new(strangers_per_minute: u64, peer_per_minute: u64) -> Self {
        let (purses, firsts, leaders_firsts) = Default::default();
        Accounts { strangers_per_minute, peer_per_minute, purses, firsts, leaders_firsts }
    }

    /// Whether a decision is written. The first time that a peer deviates in one way always is.
    pub(super) fn admit(&mut self, now: Time, decision: &Decision) -> bool {
        let Some(account) = decision.account() else { return true };
        if let Decision::Blamed { kind, deviation: true, fault, .. } = decision
            && account != Account::Strangers
        {
            let leader = *kind == "leader";
            let firsts = if leader { &mut self.leaders_firsts } else { &mut self.firsts };
            if (leader || firsts.len() < FIRSTS_MAX) && firsts.insert((account.clone(), fault)) {
                return true;
            }
        }
        let full = !self.purses.has_room_for(&account, ACCOUNTS_MAX);
        let account = if full && matches!(account, Account::Peer(_)) { Account::OtherPeers } else { account };
        let per_minute = match account {
            Account::Peer(_) => self.peer_per_minute,
            Account::Strangers | Account::OtherPeers | Account::Group => self.strangers_per_minute,
        };
        self.purses.pay(now, account, per_minute)
    }

    /// What was not written since the last look, once a minute. Accounts that are full again are closed.
    pub(super) fn unsaid(&mut self, now: Time) -> Vec<Decision> {
        let told = self.purses.unsaid(now).into_iter();
        told.map(|(account, count)| Decision::RefusalsNotWritten { about: account.to_string(), count }).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::time::Duration;

    use ringfort::protocol::fault::{Culprit, Fault};
    use ringfort::protocol::{Incarnation, LeaderId, MemberId};

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_start(Duration::from_secs(seconds))
    }

    fn by_leader(number: u8, fault: Fault) -> Decision {
        Decision::blamed(&Culprit::Leader(LeaderId::new(number).unwrap()), fault)
    }

    fn admitted(accounts: &mut Accounts, now: Time, count: u64, decision: &Decision) -> u64 {
        (0..count).map(|_| u64::from(accounts.admit(now, decision))).sum()
    }

    #[test]
    fn a_user_that_comes_and_goes_pays_for_all_its_stays_and_hides_no_leaders_first_offence() {
        let mut accounts = Accounts::new(60, 20);
        let by = |stay: u64, fault| {
            let member = MemberId { user: "mal".parse().unwrap(), incarnation: Incarnation(stay) };
            Decision::blamed(&Culprit::Member(member), fault)
        };
        let stays = (0..20_000).flat_map(|stay| [by(stay, Fault::BadSeal), by(stay, Fault::Malformed)]);
        assert!(stays.filter(|line| accounts.admit(at(0), line)).count() <= 22);
        assert!(accounts.admit(at(0), &by_leader(3, Fault::BadShare)));
    }

    #[test]
    fn strangers_hide_neither_what_a_leader_did_nor_who_logged_in() {
        let mut accounts = Accounts::new(60, 20);
        let refusal = Decision::LoginRefused { user: "ana".to_owned(), reason: "throttled" };
        assert_eq!(admitted(&mut accounts, at(0), 1000, &refusal), 60);
        assert_eq!(admitted(&mut accounts, at(0), 5, &by_leader(3, Fault::BadShare)), 5);
        let login = Decision::LoginAccepted { user: "ana".to_owned(), stay: 1 };
        assert!(accounts.admit(at(0), &login));
        let unsaid = accounts.unsaid(at(60));
        let [Decision::RefusalsNotWritten { about, count: 940 }] = unsaid.as_slice() else { panic!("{unsaid:?}") };
        assert_eq!(about, "strangers");
    }

    #[test]
    fn a_leader_that_deviates_in_another_way_is_told_whatever_it_did_before() {
        let mut accounts = Accounts::new(60, 20);
        let link = Decision::LeaderLink { leader: 3, up: true };
        assert_eq!(admitted(&mut accounts, at(0), 1000, &link), 20);
        assert!(!accounts.admit(at(0), &by_leader(3, Fault::Silent)));
        assert!(accounts.admit(at(0), &by_leader(3, Fault::Equivocated)));
        assert!(accounts.admit(at(0), &by_leader(3, Fault::BadShare)));
        assert!(!accounts.admit(at(0), &by_leader(3, Fault::Equivocated)), "the second time is paid for");
        assert!(accounts.admit(at(0), &by_leader(2, Fault::Equivocated)), "each leader pays for itself");
    }

    #[test]
    fn a_hacked_leader_and_an_insider_need_weeks_to_push_old_lines_out() {
        let mut accounts = Accounts::new(60, 20);
        let noise = [
            Decision::LeaderLink { leader: 3, up: true },
            by_leader(3, Fault::BadShare),
            Decision::LoginAccepted { user: "mal".to_owned(), stay: 1 },
            Decision::Removed { user: "mal".to_owned(), cause: "left" },
            Decision::View { epoch: 1, view: "abcd".to_owned(), members: 3 },
            Decision::MembersAsked { motion: "expel", user: "ana".to_owned() },
            Decision::LoginRefused { user: "ana".to_owned(), reason: "throttled" },
        ];
        let mut lines = 0;
        // Ten of each a second, for a day.
        for second in 0..24 * 3600 {
            lines += accounts.unsaid(at(second)).len() as u64;
            lines += noise.iter().map(|line| admitted(&mut accounts, at(second), 10, line)).sum::<u64>();
        }
        // A line is some 250 bytes, and nine files of 64 MiB are kept.
        let days = 9 * 64 * 1024 * 1024 / (lines * 250);
        assert!(days >= 9, "{lines} lines in a day push everything out in {days} days");
        let order = Decision::OrderUnreadable { why: String::new() };
        assert!(accounts.admit(at(24 * 3600), &order));
    }

    #[test]
    fn many_names_take_no_more_than_so_much_memory() {
        let mut accounts = Accounts::new(60, 20);
        let login = |user: u32| Decision::LoginAccepted { user: format!("user{user}"), stay: 1 };
        let written = (0..20_000).filter(|user| accounts.admit(at(0), &login(*user))).count();
        assert!(accounts.purses.len() <= ACCOUNTS_MAX + 3, "{}", accounts.purses.len());
        assert!(written >= ACCOUNTS_MAX, "{written}");
        accounts.unsaid(at(120));
        assert_eq!(accounts.purses.len(), 0, "accounts that are full again are closed");
    }
}
