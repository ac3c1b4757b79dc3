//! Who is put out, and stays out: whatever votes the user left with leaders before.

use super::*;
use crate::data::Identity;
use crate::testing::rng;

/// A stay of mal's with keys that only one leader is shown.
fn own(number: u64, at: u8) -> MemberEntry {
    Identity::generate(user("mal"), Incarnation(number), &mut rng(1_000 * u64::from(at) + number)).entry()
}

impl Cluster {
    /// A hacked leader says something to all others.
    fn say(&mut self, by: u8, operation: &Operation, takes_back: u64) {
        let key = &self.secrets[usize::from(by) - 1].signing;
        let said = SignedProposal::sign(key, leader(by), self.group.session(), operation.clone(), false)
            .taking_back(key, Incarnation(takes_back));
        let message = PeerMessage::Proposals(vec![said]);
        self.mail.extend(self.leaders.keys().map(|to| (leader(by), *to, message.clone())));
    }

    /// How many members each leader has, once all have compared.
    fn settled(&mut self) -> Vec<usize> {
        for _ in 0..5 {
            self.deliver_all();
            for id in self.ids() {
                self.step(id.number(), |state| state.insist());
            }
            self.compare();
        }
        self.leaders.values().map(|state| state.members().len()).collect()
    }

    /// Mal is in, and one more login of his stands at leader 2 alone.
    fn with_a_vote_left_behind() -> Self {
        let mut cluster = Cluster::new(4, 1, 1);
        cluster.admit(&[1, 2, 3], &entry("mal", 1));
        cluster.deliver_all();
        cluster.admit(&[2], &entry("mal", 2));
        cluster.deliver_all();
        cluster
    }

    /// Mal is in and logs in at each leader alone, as often as votes for one user are kept.
    fn with_many_logins() -> Self {
        let mut cluster = Cluster::new(4, 1, 0);
        cluster.admit(&[1, 2, 3, 4], &entry("mal", 1));
        cluster.deliver_all();
        for at in 1..=4 {
            for stay in 0..4 {
                cluster.admit(&[at], &own(2 + 8 * u64::from(at) + stay, at));
                cluster.deliver_all();
            }
        }
        assert!(cluster.leaders.values().all(|state| state.members().len() == 1));
        cluster
    }
}

#[test]
fn whom_the_members_expelled_one_hacked_leader_does_not_bring_back_with_an_older_vote() {
    for takes_back in [0, 1, 2] {
        let mut cluster = Cluster::with_a_vote_left_behind();
        for number in 1..=3 {
            cluster.step(number, |state| state.banish(&user("mal")));
        }
        assert_eq!(cluster.settled(), [0; 3]);
        assert_eq!(cluster.at(2).ended(&entry("mal", 1).id), Some(Cause::Expelled));
        cluster.say(4, &join("mal", 2), takes_back);
        assert_eq!(cluster.settled(), [0; 3], "mal is back for good");
        assert!(matches!(cluster.at(2).standing(&entry("mal", 3)), Err(Denial::Expelled(_))));
    }
}

#[test]
fn leaders_that_restart_while_somebody_is_back_know_that_it_was_expelled() {
    let mut cluster = Cluster::with_a_vote_left_behind();
    for number in 1..=3 {
        cluster.step(number, |state| state.banish(&user("mal")));
    }
    assert_eq!(cluster.settled(), [0; 3]);
    cluster.say(4, &join("mal", 2), 0);
    cluster.deliver_all();
    assert!((1..=3).all(|number| cluster.at(number).members().len() == 1), "in again for a moment");
    (1..=3).for_each(|number| recovery::restart(&mut cluster, number));
    cluster.settled();
    assert_eq!(cluster.settled(), [0; 3], "mal is back for good");
    assert!(matches!(cluster.at(2).standing(&entry("mal", 3)), Err(Denial::Expelled(_))));
}

#[test]
fn a_leader_that_restarts_while_somebody_is_back_rightly_asks_before_it_votes() {
    let mut cluster = Cluster::with_a_vote_left_behind();
    cluster.expel(&[1, 2], "mal");
    assert_eq!(cluster.settled(), [0; 3]);
    for number in [1, 2] {
        cluster.step(number, |state| state.unbar(&user("mal")));
    }
    cluster.admit(&[1, 2], &entry("mal", 3));
    // Leader 3 accepts with what leader 1 says, a hacked one, and itself; then it restarts, and leader 2's word is lost.
    while let Some(place) = cluster.mail.iter().position(|(from, to, _)| (from.number(), to.number()) == (1, 3)) {
        cluster.deliver_at(place);
    }
    cluster.say(4, &join("mal", 3), 0);
    while let Some(place) = cluster.mail.iter().position(|(from, to, _)| (from.number(), to.number()) == (4, 3)) {
        cluster.deliver_at(place);
    }
    assert_eq!(cluster.at(3).members().len(), 1);
    recovery::restart(&mut cluster, 3);
    cluster.settled();
    assert_eq!(cluster.settled(), [1; 3]);
    let votes = cluster.records[&leader(3)].values().flat_map(|life| &life.votes);
    assert_eq!(votes.count(), 0, "and has not voted for what its operators took back");
}

#[test]
fn whom_f_plus_1_operators_expelled_does_not_come_back_for_good() {
    for orders in [&[1u8, 2][..], &[1, 3], &[1, 2, 3]] {
        let mut cluster = Cluster::with_a_vote_left_behind();
        cluster.expel(orders, "mal");
        assert_eq!(cluster.settled(), [0; 3]);
        cluster.say(4, &join("mal", 2), 1);
        assert_eq!(cluster.settled(), [0; 3], "orders at {orders:?}");
    }
}

#[test]
fn an_order_at_one_honest_and_one_hacked_leader_is_not_undone_by_the_hacked_one() {
    let mut cluster = Cluster::with_a_vote_left_behind();
    cluster.expel(&[3], "mal");
    cluster.say(4, &remove("mal", 1, Cause::Expelled), 0);
    assert_eq!(cluster.settled(), [0; 3]);
    cluster.say(4, &join("mal", 2), 1);
    assert_eq!(cluster.settled(), [0; 3]);
}

#[test]
fn a_late_leader_and_a_hacked_one_do_not_bring_back_for_good_who_was_expelled() {
    let mut cluster = Cluster::new(4, 1, 1);
    cluster.admit(&[1, 2, 3], &entry("mal", 1));
    cluster.deliver_all();
    // Leader 3 hears nothing of the expulsion, and mal logs in there.
    cluster.expel(&[1, 2], "mal");
    cluster.say(4, &remove("mal", 1, Cause::Expelled), 0);
    let late = |mail: &VecDeque<(LeaderId, LeaderId, PeerMessage)>| mail.iter().position(|(_, to, _)| *to != leader(3));
    while let Some(place) = late(&cluster.mail) {
        cluster.deliver_at(place);
    }
    let held: Vec<_> = cluster.mail.drain(..).collect();
    assert!(cluster.at(1).members().is_empty() && cluster.at(2).members().is_empty());
    cluster.admit(&[3], &entry("mal", 2));
    cluster.say(4, &join("mal", 2), 1);
    cluster.mail.extend(held);
    assert_eq!(cluster.settled(), [0; 3]);
}

#[test]
fn whom_f_plus_1_operators_take_back_comes_in_again_at_all() {
    let mut cluster = Cluster::with_a_vote_left_behind();
    cluster.expel(&[1, 2], "mal");
    assert_eq!(cluster.settled(), [0; 3]);
    for number in [1, 2] {
        cluster.step(number, |state| state.unbar(&user("mal")));
    }
    cluster.admit(&[1, 2], &entry("mal", 3));
    assert_eq!(cluster.settled(), [1; 3]);
    cluster.assert_same();
}

#[test]
fn one_operator_that_takes_a_user_back_brings_nobody_in() {
    let mut cluster = Cluster::with_a_vote_left_behind();
    cluster.expel(&[1, 2], "mal");
    assert_eq!(cluster.settled(), [0; 3]);
    cluster.step(1, |state| state.unbar(&user("mal")));
    cluster.admit(&[1], &entry("mal", 3));
    assert_eq!(cluster.settled(), [0; 3]);
}

#[test]
fn who_logs_in_often_is_put_out_by_the_members_all_the_same() {
    let mut cluster = Cluster::with_many_logins();
    for number in 1..=4 {
        cluster.step(number, |state| state.banish(&user("mal")));
    }
    assert_eq!(cluster.settled(), [0; 4]);
}

#[test]
fn who_logs_in_often_is_put_out_by_f_plus_1_operators_all_the_same() {
    let mut cluster = Cluster::with_many_logins();
    cluster.expel(&[2, 3], "mal");
    assert_eq!(cluster.settled(), [0; 4]);
    assert_eq!(cluster.at(1).ended(&entry("mal", 1).id), Some(Cause::Expelled));
}

#[test]
fn who_logs_in_often_leaves_expires_and_is_lost_like_others() {
    for cause in [Cause::Left, Cause::Lost, Cause::Expired] {
        let mut cluster = Cluster::with_many_logins();
        cluster.remove(&[1, 2, 3, 4], &entry("mal", 1).id, cause);
        assert_eq!(cluster.settled(), [0; 4], "{cause:?}");
    }
}

#[test]
fn who_comes_again_while_votes_to_expel_are_under_way_is_out_of_the_next_stay_too() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.admit(&[1, 2, 3, 4], &entry("mal", 1));
    cluster.deliver_all();
    for number in 1..=4 {
        cluster.step(number, |state| state.banish(&user("mal")));
    }
    // Before any of these votes arrives, mal is in his next stay.
    let votes: Vec<_> = cluster.mail.drain(..).collect();
    cluster.admit(&[1, 2, 3, 4], &entry("mal", 2));
    cluster.deliver_all();
    cluster.mail.extend(votes);
    assert_eq!(cluster.settled(), [0; 4]);
    assert_eq!(cluster.at(1).ended(&entry("mal", 2).id), Some(Cause::Expelled));
}

#[test]
fn a_late_leader_catches_up_with_whoever_logged_in_often_elsewhere() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.admit(&[1, 2, 3], &entry("mal", 1));
    // Leader 4 hears of logins that stand at the others, and not of the stay that came about.
    cluster.mail.retain(|(_, to, _)| *to != leader(4));
    while let Some(place) = cluster.mail.iter().position(|(_, to, _)| *to != leader(4)) {
        cluster.deliver_at(place);
    }
    cluster.mail.clear();
    for at in 1..=3 {
        for stay in 0..4 {
            cluster.admit(&[at], &own(2 + 8 * u64::from(at) + stay, at));
        }
    }
    assert_eq!(cluster.settled(), [1; 4]);
}

/// Mal was expelled from his first stay, operators of f+1 leaders have taken him back, and he comes in again.
fn taken_back_at_two() -> Cluster {
    let mut cluster = Cluster::with_a_vote_left_behind();
    cluster.expel(&[1, 2], "mal");
    assert_eq!(cluster.settled(), [0; 3]);
    for number in [1, 2] {
        cluster.step(number, |state| state.unbar(&user("mal")));
    }
    cluster.admit(&[1, 2], &entry("mal", 3));
    cluster
}

#[test]
fn a_leader_that_is_behind_does_not_say_that_an_earlier_expulsion_ended_a_later_stay() {
    let mut cluster = taken_back_at_two();
    cluster.mail.clear();
    assert_eq!(cluster.at(3).ended(&entry("mal", 1).id), Some(Cause::Expelled));
    assert_eq!(cluster.at(3).ended(&entry("mal", 3).id), None, "it knows nothing of that one");
}

#[test]
fn a_leader_that_does_not_hear_another_for_a_while_does_not_vote_out_whom_f_plus_1_took_back() {
    let mut cluster = taken_back_at_two();
    // Leader 3 accepts with what leader 1 says, a hacked one, and itself; what leader 2 says is held back.
    let kept = |(from, to, _): &(LeaderId, LeaderId, PeerMessage)| (from.number(), to.number()) == (2, 3);
    let (held, rest): (VecDeque<_>, VecDeque<_>) = cluster.mail.drain(..).partition(kept);
    cluster.mail = rest;
    cluster.say(4, &join("mal", 3), 0);
    while let Some(place) = cluster.mail.iter().position(|(_, to, _)| to.number() == 3) {
        cluster.deliver_at(place);
    }
    assert_eq!(cluster.at(3).members().len(), 1);
    for _ in 0..8 {
        cluster.step(3, Coordination::expel_again);
    }
    cluster.mail.extend(held);
    assert_eq!(cluster.settled(), [1; 3]);
    cluster.say(4, &remove("mal", 3, Cause::Expelled), 0);
    assert_eq!(cluster.settled(), [1; 3], "no operator expelled him from this stay");
}

/// Mal was in and has gone, and all leaders have told all others so: they compared while something else was under way.
fn gone_and_compared() -> Cluster {
    let mut cluster = Cluster::new(4, 1, 1);
    cluster.admit(&[1, 2, 3], &entry("mal", 1));
    cluster.deliver_all();
    cluster.remove(&[1, 2, 3], &entry("mal", 1).id, Cause::Left);
    cluster.deliver_all();
    let mal = Subject::User(user("mal"));
    for id in cluster.ids() {
        let asked = cluster.at(id.number()).buckets.asking_for(&mal);
        cluster.carry_out(id, vec![Output::Broadcast(PeerMessage::Buckets(asked))]);
    }
    assert_eq!(cluster.settled(), [0; 3]);
    cluster
}

fn is_expelled_everywhere(cluster: &mut Cluster) -> bool {
    (1..=3).all(|number| matches!(cluster.at(number).standing(&entry("mal", 2)), Err(Denial::Expelled(_))))
}

#[test]
fn whom_f_plus_1_operators_expel_after_it_has_gone_does_not_come_in_again() {
    let mut cluster = gone_and_compared();
    cluster.expel(&[1, 2], "mal");
    assert_eq!(cluster.settled(), [0; 3]);
    assert!(is_expelled_everywhere(&mut cluster), "f+1 operators ordered it");
}

#[test]
fn an_order_to_expel_who_has_gone_is_said_again_when_it_is_lost_and_after_a_restart() {
    for restarts in [false, true] {
        let mut cluster = gone_and_compared();
        cluster.expel(&[1, 2], "mal");
        cluster.mail.clear();
        if restarts {
            [1, 2].into_iter().for_each(|number| recovery::restart(&mut cluster, number));
        }
        assert_eq!(cluster.settled(), [0; 3]);
        assert!(is_expelled_everywhere(&mut cluster), "restarts: {restarts}");
    }
}
