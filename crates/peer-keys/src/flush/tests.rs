//! The flush by itself: who answers, who is waited for, who is out.

use std::collections::BTreeSet;
use std::time::Duration;

use ringfort_kernel::Time;
use ringfort_peer::{GroupViewId, Name, RingId};

use super::{Action, Flush, OutWhy, SiteView};
use crate::ids::Round;
use crate::rules::Rules;
use crate::wire::{FlushOk, Why};

const PATIENCE: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Time {
    Time::from_start(Duration::from_secs(seconds))
}

fn name(text: &str) -> Name {
    Name::new(text.to_owned()).unwrap()
}

fn names(all: &str) -> BTreeSet<Name> {
    all.chars().map(|c| name(&c.to_string())).collect()
}

fn view(counter: u64, members: &str, moved: &str) -> SiteView {
    let id = GroupViewId { ring: RingId { counter, representative: 0 }, index: 1 };
    SiteView { id, members: names(members), moved: names(moved) }
}

fn ok(flush: &Flush, from: &str, suspects: &str) -> FlushOk {
    let key = [from.as_bytes()[0]; 32];
    let suspects = names(suspects).into_iter().collect();
    FlushOk {
        round: flush.round(),
        policy: [0; 32],
        key,
        session: [1; 32],
        previous: None,
        certificate: None,
        unix_s: 0,
        offer: Vec::new(),
        suspects,
    }
}

fn answer(flush: &mut Flush, from: &str) -> Vec<Action> {
    let ok = ok(flush, from, "");
    flush.on_ok(at(1), &name(from), ok, None)
}

fn started(members: &str) -> Flush {
    let mut flush = Flush::new(name("a"), PATIENCE, Rules::all(), at(0));
    assert_eq!(flush.on_view(at(1), view(1, members, "a")), [Action::Answer(flush.round())]);
    flush
}

fn secure(members: &str) -> Flush {
    let mut flush = started(members);
    let mut last = Vec::new();
    for member in members.chars() {
        last = answer(&mut flush, &member.to_string());
    }
    assert_eq!(last, [Action::Install]);
    flush.on_secure(at(2));
    flush
}

#[test]
fn a_view_is_installed_at_the_last_answer_whatever_the_order() {
    for order in ["abc", "cba", "bca"] {
        let mut flush = started("abc");
        let actions: Vec<Vec<Action>> = order.chars().map(|from| answer(&mut flush, &from.to_string())).collect();
        assert_eq!(actions, [vec![], vec![], vec![Action::Install]], "{order}");
    }
}

#[test]
fn answers_to_another_round_or_of_nobody_in_the_view_count_for_nothing() {
    let mut flush = started("ab");
    let stale = FlushOk { round: Round::default(), ..ok(&flush, "b", "") };
    assert_eq!(flush.on_ok(at(1), &name("b"), stale, None), []);
    assert_eq!(answer(&mut flush, "x"), []);
    answer(&mut flush, "a");
    assert_eq!(answer(&mut flush, "b"), [Action::Install]);
}

#[test]
fn the_application_is_asked_once_whatever_comes_meanwhile() {
    let mut flush = secure("ab");
    assert_eq!(flush.on_view(at(3), view(2, "abc", "ab")), [Action::Ask]);
    assert_eq!(flush.on_view(at(3), view(3, "abcd", "abc")), [], "it was asked already");
    assert_eq!(
        flush.on_application(),
        [Action::Answer(Round::first(view(3, "a", "a").id))],
        "one answer, to the newest"
    );
    assert_eq!(flush.on_application(), []);
    assert_eq!(flush.on_view(at(4), view(4, "abc", "abc")), [Action::Answer(Round::first(view(4, "a", "a").id))]);
}

#[test]
fn an_older_view_or_one_without_this_member_is_none() {
    let mut flush = secure("ab");
    let round = flush.round();
    assert_eq!(flush.on_view(at(3), view(1, "abc", "ab")), []);
    assert_eq!(flush.on_view(at(3), view(9, "bc", "b")), []);
    assert_eq!(flush.round(), round);
}

#[test]
fn whoever_was_apart_is_heard_no_more_and_moves_with_nobody() {
    let mut flush = secure("abc");
    assert!(flush.hears(&name("b")) && flush.hears(&name("c")) && !flush.hears(&name("d")));
    flush.on_view(at(3), view(2, "ab", "ab"));
    flush.on_view(at(4), view(3, "abc", "ab"));
    assert!(flush.hears(&name("b")) && !flush.hears(&name("c")));
    flush.on_application();
    answer(&mut flush, "b");
    assert!(!flush.hears(&name("b")), "it has said that it is done");
    answer(&mut flush, "a");
    answer(&mut flush, "c");
    assert_eq!(flush.on_secure(at(5)), names("ab"));
}

#[test]
fn an_application_that_does_not_answer_is_out_in_time_and_the_others_wait_longer() {
    let mut flush = secure("ab");
    flush.on_view(at(3), view(2, "abc", "ab"));
    assert_eq!(flush.next_wakeup(), Some(at(13)));
    assert_eq!(flush.on_wakeup(at(13)), [Action::Out(name("a"), OutWhy::OwnApplication)]);
    let mut other = secure("ab");
    other.on_view(at(3), view(2, "abc", "ab"));
    other.on_application();
    assert_eq!(other.next_wakeup(), Some(at(18)));
    assert_eq!(other.on_wakeup(at(17)), []);
    assert_eq!(
        other.on_wakeup(at(18)),
        [Action::Vote(names("abc").into_iter().collect())],
        "whose answer did not come"
    );
}

#[test]
fn more_than_half_of_those_who_answered_put_a_silent_one_out() {
    let mut flush = started("abcde");
    for from in ["a", "b", "c", "d"] {
        answer(&mut flush, from);
    }
    let round = flush.round();
    let against = [name("e"), name("a")];
    assert_eq!(flush.on_vote(at(2), &name("e"), round, &[name("a")]), [], "one that has not answered has no vote");
    assert_eq!(flush.on_vote(at(2), &name("b"), round, &against), []);
    assert_eq!(flush.on_vote(at(2), &name("b"), round, &against), [], "one vote each");
    assert_eq!(flush.on_vote(at(2), &name("c"), round, &against), []);
    let done = flush.on_vote(at(2), &name("d"), round, &against);
    assert_eq!(done, [Action::Out(name("e"), OutWhy::Silent), Action::Install], "and none against one that answered");
    assert_eq!(flush.answers().len(), 4);
}

#[test]
fn an_answer_brings_the_votes_of_one_that_has_waited_before() {
    let mut flush = started("abc");
    let first = ok(&flush, "a", "c");
    assert_eq!(flush.on_ok(at(1), &name("a"), first, None), [], "one member alone puts nobody out");
    let second = ok(&flush, "b", "c");
    let done = flush.on_ok(at(1), &name("b"), second, None);
    assert_eq!(done, [Action::Out(name("c"), OutWhy::Silent), Action::Install]);
    let mut two = started("ab");
    let first = ok(&two, "a", "b");
    let done = two.on_ok(at(1), &name("a"), first, None);
    assert_eq!(done, [Action::Out(name("b"), OutWhy::Silent), Action::Install], "but where there are only two");
}

#[test]
fn one_that_is_quick_to_answer_puts_nobody_out_who_is_slower() {
    let mut flush = started("abcd");
    let first = ok(&flush, "d", "abc");
    assert_eq!(flush.on_ok(at(1), &name("d"), first, None), []);
    let round = flush.round();
    assert_eq!(flush.on_vote(at(1), &name("d"), round, &["a", "b", "c"].map(name)), []);
    let all: Vec<_> = ["a", "b", "c"].map(|from| answer(&mut flush, from)).concat();
    assert_eq!(all, [Action::Install]);
}

#[test]
fn who_is_refused_is_not_waited_for_and_the_second_with_a_key_is_refused() {
    let mut flush = started("abc");
    answer(&mut flush, "a");
    let stranger = ok(&flush, "b", "");
    let refused = flush.on_ok(at(1), &name("b"), stranger, Some(OutWhy::Stranger));
    assert_eq!(refused, [Action::Out(name("b"), OutWhy::Stranger)]);
    let twin = FlushOk { key: [b'a'; 32], ..ok(&flush, "c", "") };
    let done = flush.on_ok(at(1), &name("c"), twin, None);
    assert_eq!(done, [Action::Out(name("c"), OutWhy::SameKey), Action::Install]);
}

#[test]
fn a_key_that_does_not_come_is_complained_of_twice() {
    let mut flush = started("ab");
    answer(&mut flush, "a");
    answer(&mut flush, "b");
    assert_eq!(flush.next_wakeup(), Some(at(11)));
    assert_eq!(flush.on_wakeup(at(11)), [Action::Overdue { again: false }]);
    assert_eq!(flush.next_wakeup(), Some(at(21)));
    assert_eq!(flush.on_wakeup(at(21)), [Action::Overdue { again: true }]);
    let round = flush.round();
    assert_eq!(flush.on_again(at(21), &name("b"), round, Why::Refresh), [], "there is no key to refresh");
    assert_eq!(flush.on_again(at(21), &name("b"), round, Why::Failed), [], "not at once");
    assert_eq!(flush.round(), round.next());
    let due = flush.next_wakeup().unwrap();
    assert!(due > at(21) && due < at(22));
    assert_eq!(flush.on_wakeup(due), [Action::Answer(round.next())]);
}

#[test]
fn refreshes_that_follow_each_other_wait() {
    let mut flush = secure("ab");
    let round = flush.round();
    assert_eq!(flush.on_again(at(2), &name("b"), round, Why::Refresh), []);
    assert!(flush.is_open(), "the application sends meanwhile");
    assert_eq!(flush.on_wakeup(at(2) + super::REFRESH_PAUSE), [Action::Ask]);
}
