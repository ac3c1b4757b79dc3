//! The end of a stream: it is told, asked for, and said if it is lost.

use super::*;
use crate::ids::Incarnation;

fn head(room: &Room, service: Service, next: u64) -> Tail {
    let since = Since::View(view_id(1).digest);
    let head = Head { channel: Channel::Group(service), since, start: Seq(1), next: Seq(next), kept: Seq(1) };
    Tail::Stream(room.ana.me.id.clone(), head)
}

/// Ana has said three things; two of them, or none, came.
fn said(heard: usize) -> (Room, Vec<Bytes>) {
    let mut room = Room::sealed();
    let frames: Vec<_> = (0..3).map(|_| room.ana.multicast(at(0), Service::Fifo, b"x")).collect();
    frames.iter().take(heard).for_each(|frame| drop(room.bo(at(0), 1, frame)));
    (room, frames)
}

#[test]
fn the_last_word_is_asked_for_once_enough_leaders_say_that_there_is_one() {
    for heard in [0, 2] {
        let (mut room, frames) = said(heard);
        let head = head(&room, Service::Fifo, 4);
        assert_eq!(room.bo_told(at(100), 3, vec![head.clone()]), []);
        assert_eq!(room.bo_told(at(100), 3, vec![head.clone()]), [], "one leader twice is one leader");
        assert_eq!(room.bo.inbox.next_wakeup(), None, "one leader is not enough");
        assert_eq!(room.bo_told(at(100), 4, vec![head]), []);
        assert_eq!(room.bo_wakes(at(599)), [], "the word of leaders overtakes what is on its way");
        let first = u64::try_from(heard).unwrap() + 1;
        assert_eq!(asked(&room.bo_wakes(at(600))), [(1, first, 3)]);
        let rest: Vec<i64> = frames[heard..].iter().flat_map(|frame| told(&room.bo(at(700), 3, frame))).collect();
        assert_eq!(rest, (i64::try_from(first).unwrap()..=3).collect::<Vec<_>>());
        assert_eq!(room.bo.inbox.next_wakeup(), None);
    }
}

#[test]
fn a_leader_that_lies_makes_nobody_look_for_what_was_never_said() {
    let (mut room, _) = said(3);
    let (high, true_one) = (head(&room, Service::Fifo, 1000), head(&room, Service::Fifo, 4));
    let none = head(&room, Service::Reliable, 50);
    room.bo_told(at(0), 1, vec![high, none]);
    room.bo_told(at(0), 2, vec![true_one.clone()]);
    room.bo_told(at(0), 3, vec![true_one]);
    assert_eq!(room.bo.inbox.next_wakeup(), None);
}

#[test]
fn an_end_that_nobody_can_supply_is_a_gap_and_an_end_that_nobody_knows_is_said() {
    let (mut room, _) = said(2);
    let ana = room.ana.me.id.clone();
    for (from, complete) in [(1, true), (2, false), (3, true)] {
        let head = head(&room, Service::Fifo, 4);
        let last = complete.then(|| Tail::Complete(ana.clone()));
        room.bo_told(at(0), from, std::iter::once(head).chain(last).collect());
    }
    let me = room.bo.me.id.incarnation;
    assert_eq!(room.bo.inbox.forget(&ana, me, (3, 3)).last(), Some(&InboxEvent::UnknownTail(ana.clone())));

    let (mut room, _) = said(2);
    let ana = room.ana.me.id.clone();
    for from in [1, 3] {
        let head = head(&room, Service::Fifo, 4);
        room.bo_told(at(0), from, vec![head, Tail::Complete(ana.clone())]);
    }
    let gap = InboxEvent::Gap { stream: room.group_stream(Service::Fifo), first: Seq(3), count: 1 };
    assert_eq!(room.bo_forgets(&ana), [gap], "how much was said is known, and one word of it is lost");
}

#[test]
fn a_leader_that_hides_how_much_was_said_leaves_a_question_and_no_loss_untold() {
    // Leader 1 has the whole last word. Leader 2 says that there was one, and not how much it was.
    for heard in [0, 2] {
        let (mut room, _) = said(heard);
        let (ana, said) = (room.ana.me.id.clone(), head(&room, Service::Fifo, 4));
        room.bo_told(at(0), 1, vec![said.clone(), Tail::Complete(ana.clone())]);
        room.bo_told(at(0), 2, vec![Tail::Complete(ana.clone())]);
        assert_eq!(room.bo_forgets(&ana), [InboxEvent::UnknownTail(ana.clone())], "{heard} heard");
    }
    // A third has it: then two honest ones do, the loss is known, and nobody can invent more.
    for liar in [None, Some(1000)] {
        let (mut room, _) = said(2);
        let (ana, said) = (room.ana.me.id.clone(), head(&room, Service::Fifo, 4));
        room.bo_told(at(0), 2, vec![Tail::Complete(ana.clone())]);
        for from in [1, 3] {
            room.bo_told(at(0), from, vec![said.clone(), Tail::Complete(ana.clone())]);
        }
        let invented = liar.map(|next| head(&room, Service::Fifo, next));
        room.bo_told(at(0), 4, invented.into_iter().collect());
        let gap = InboxEvent::Gap { stream: room.group_stream(Service::Fifo), first: Seq(3), count: 1 };
        assert_eq!(room.bo_forgets(&ana), [gap], "a liar says {liar:?}");
    }
}

#[test]
fn whose_words_were_all_in_views_that_were_skipped_leaves_a_question() {
    for (since, asks) in [(9, true), (1, false)] {
        let mut room = Room::sealed();
        let ana = room.ana.me.id.clone();
        let said = group_head(&room, since, 3, 3);
        for from in [1, 2] {
            room.bo_told(at(0), from, vec![said.clone(), Tail::Complete(ana.clone())]);
        }
        let question = if asks { vec![InboxEvent::UnknownTail(ana.clone())] } else { Vec::new() };
        assert_eq!(room.bo_forgets(&ana), question);
    }
}

#[test]
fn a_private_word_to_this_very_stay_that_one_leader_alone_knows_of_leaves_a_question() {
    for (to, asks) in [(0, true), (1, false)] {
        let mut room = Room::sealed();
        let (ana, stay) = (room.ana.me.id.clone(), room.bo.me.id.incarnation.0 + to);
        let (silent, private) = (head(&room, Service::Fifo, 1), private_head(&room, stay, 1, 3));
        room.bo_told(at(0), 1, vec![silent.clone(), private, Tail::Complete(ana.clone())]);
        room.bo_told(at(0), 2, vec![silent, Tail::Complete(ana.clone())]);
        let question = if asks { vec![InboxEvent::UnknownTail(ana.clone())] } else { Vec::new() };
        assert_eq!(room.bo_forgets(&ana), question, "to the stay {to} after this one");
    }
}

#[test]
fn who_never_spoke_as_enough_leaders_say_or_was_expelled_leaves_no_question() {
    // Bo was out of reach when leaders told of her end: that she said nothing, one leader alone says, or two do.
    for (leaders, asks) in [(0, true), (1, true), (2, false)] {
        let mut room = Room::sealed();
        let (ana, silent) = (room.ana.me.id.clone(), head(&room, Service::Fifo, 1));
        (1..=leaders).for_each(|from| drop(room.bo_told(at(0), from, vec![silent.clone()])));
        let question = if asks { vec![InboxEvent::UnknownTail(ana.clone())] } else { Vec::new() };
        assert_eq!(room.bo_forgets(&ana), question, "{leaders} leaders");
    }
    let (mut room, _) = said(3);
    let ana = room.ana.me.id.clone();
    assert_eq!(room.bo.inbox.close(&ana), []);
    assert_eq!(room.bo_forgets(&ana), []);
}

fn group_head(room: &Room, view: u64, start: u64, next: u64) -> Tail {
    let (channel, since) = (Channel::Group(Service::Fifo), Since::View(view_id(view).digest));
    let head = Head { channel, since, start: Seq(start), next: Seq(next), kept: Seq(1) };
    Tail::Stream(room.ana.me.id.clone(), head)
}

fn private_head(room: &Room, stay: u64, start: u64, next: u64) -> Tail {
    let since = Since::Stay(Incarnation(stay));
    let head = Head { channel: Channel::Private(name("bo")), since, start: Seq(start), next: Seq(next), kept: Seq(1) };
    Tail::Stream(room.ana.me.id.clone(), head)
}

#[test]
fn what_was_said_before_one_came_is_not_missed() {
    let mut room = Room::sealed();
    let earlier = group_head(&room, 7, 1, 40);
    for from in 1..=4 {
        room.bo_told(at(0), from, vec![earlier.clone()]);
    }
    assert_eq!(room.bo.inbox.next_wakeup(), None, "Bo was not in that view");
    let now = group_head(&room, 1, 40, 42);
    for from in [2, 3] {
        room.bo_told(at(0), from, vec![now.clone()]);
    }
    assert_eq!(asked(&room.bo_wakes(at(500))), [(1, 40, 41)]);
}

#[test]
fn what_was_said_in_a_view_before_is_missed_although_its_sender_has_begun_anew_since() {
    // Ana said three things in a view of Bo's and none in the next one. Whatever a hacked leader says or leaves out, and
    // in whatever order the words come, Bo learns of them.
    let starts = |room: &Room| (group_head(room, 1, 4, 7), group_head(room, 2, 7, 7));
    for (first, rest) in [(1, vec![2]), (4, vec![2, 3])] {
        let mut room = Room::sealed();
        room.bo.keyring.install(keyed(2));
        let (before, now) = starts(&room);
        room.bo_told(at(0), first, if first == 4 { vec![now.clone()] } else { vec![before.clone(), now.clone()] });
        for from in rest {
            room.bo_told(at(0), from, vec![before.clone(), now.clone()]);
        }
        assert_eq!(asked_after(&mut room, 600), [(1, 4, 6)]);
    }
    // One leader alone says it: that is nobody's word.
    let mut room = Room::sealed();
    room.bo.keyring.install(keyed(2));
    let (before, now) = starts(&room);
    room.bo_told(at(0), 4, vec![before, now.clone()]);
    [1, 2, 3].into_iter().for_each(|from| drop(room.bo_told(at(0), from, vec![now.clone()])));
    assert_eq!(room.bo.inbox.next_wakeup(), None);
    // The key of the view is gone: what was said in it is lost, and not unknown.
    let mut room = Room::sealed();
    room.bo.keyring.install(keyed(2));
    let (before, now) = starts(&room);
    let late = at(24 * 3_600_000);
    [1, 2].into_iter().for_each(|from| drop(room.bo_told(late, from, vec![before.clone(), now.clone()])));
    let gap = InboxEvent::Gap { stream: room.group_stream(Service::Fifo), first: Seq(4), count: 3 };
    let ana = room.ana.me.id.clone();
    assert!(room.bo_forgets(&ana).contains(&gap));
}

fn asked_after(room: &mut Room, ms: u64) -> Vec<(u32, u64, u64)> {
    asked(&room.bo_wakes(at(ms)))
}

#[test]
fn one_leader_that_invents_starts_fills_no_memory_but_its_own_share() {
    let (mut room, _) = said(0);
    let mut claims = crate::delivery::claims::Claims::default();
    let from = leader(1);
    for i in 1..=10_000 {
        claims.note(from, group_head(&room, i, i, 20_000), &name("bo"));
    }
    assert_eq!(claims.size(), (1, crate::delivery::heads::STARTS_MAX));
    claims.forget(&room.ana.me.id);
    assert_eq!(claims.size(), (0, 0));
    let (_, now) = (room.bo_wakes(at(1)), head(&room, Service::Fifo, 4));
    claims.note(from, now, &name("bo"));
    assert_eq!(claims.size(), (1, 1));
}

#[test]
fn what_was_said_to_an_earlier_stay_is_not_missed_by_a_later_one() {
    let mut room = Room::sealed();
    let own = room.bo.me.id.incarnation.0;
    let (earlier, now) = (private_head(&room, own - 1, 1, 40), private_head(&room, own, 40, 42));
    for from in 1..=4 {
        room.bo_told(at(0), from, vec![earlier.clone()]);
    }
    assert_eq!(room.bo.inbox.next_wakeup(), None, "Bo has come again since");
    room.bo_told(at(0), 2, vec![now.clone()]);
    assert_eq!(room.bo.inbox.next_wakeup(), None);
    room.bo_told(at(0), 3, vec![now]);
    assert_eq!(asked(&room.bo_wakes(at(500))), [(1, 40, 41)]);
}

#[test]
fn hacked_leaders_make_no_stream_begin_before_its_sender_says() {
    let mut room = Room::sealed();
    let (false_one, true_one) = (group_head(&room, 1, 1, 42), group_head(&room, 1, 40, 42));
    room.bo_told(at(0), 1, vec![false_one]);
    room.bo_told(at(0), 2, vec![true_one.clone()]);
    assert_eq!(room.bo.inbox.next_wakeup(), None, "two leaders, and two words");
    room.bo_told(at(0), 3, vec![true_one]);
    assert_eq!(asked(&room.bo_wakes(at(500))), [(1, 40, 41)]);
}

#[test]
fn a_stream_that_said_nothing_for_long_is_missed_from_its_first_word_on() {
    let mut room = Room::sealed();
    let (quiet, spoke) = (group_head(&room, 1, 1, 1), group_head(&room, 9, 3, 3));
    for from in [1, 2] {
        room.bo_told(at(0), from, vec![quiet.clone()]);
    }
    assert_eq!(room.bo.inbox.next_wakeup(), None);
    // Bo hears nothing while Ana says two things in a view that he never sees, and a new view comes.
    for from in [1, 2] {
        room.bo_told(at(0), from, vec![spoke.clone()]);
    }
    assert_eq!(asked(&room.bo_wakes(at(500))), [(1, 1, 2)]);
}

#[test]
fn a_message_that_the_word_of_leaders_overtakes_is_no_copy() {
    for (service, delivered, expected) in
        [(Service::Fifo, 0, vec![1, 2]), (Service::Reliable, 1, vec![1]), (Service::Fifo, 1, vec![-1])]
    {
        let mut room = Room::sealed();
        let first = room.ana.multicast(at(0), service, b"under way");
        [&mut room.ana, &mut room.bo].into_iter().for_each(|side| side.keyring.install(keyed(2)));
        let second = room.ana.multicast(at(0), service, b"faster");
        let since = Since::View(view_id(2).digest);
        let head = Head { channel: Channel::Group(service), since, start: Seq(2), next: Seq(3), kept: Seq(1) };
        let tail = Tail::Stream(room.ana.me.id.clone(), head);
        [1, 2].into_iter().for_each(|from| drop(room.bo_told(at(1), from, vec![tail.clone()])));
        if delivered == 1 {
            assert_eq!(told(&room.bo(at(2), 1, &second)), [2]);
        }
        let mut events = room.bo(at(3), 2, &first);
        if delivered == 0 {
            events.extend(room.bo(at(4), 1, &second));
        }
        assert_eq!(told(&events), expected, "in order, or told: {service:?}");
        assert_eq!(told(&room.bo(at(5), 1, &first)), [], "a copy is a copy");
    }
}

#[test]
fn who_leaves_is_told_of_what_was_asked_for_in_vain_and_not_of_what_is_on_its_way() {
    for (asks, leaves, expected) in [(0, true, vec![]), (3, true, vec![]), (4, true, vec![-1]), (0, false, vec![-1])] {
        let (mut room, _) = said(2);
        let head = head(&room, Service::Fifo, 4);
        [1, 3].into_iter().for_each(|from| drop(room.bo_told(at(0), from, vec![head.clone()])));
        for (attempt, ms) in [(1, 600), (2, 800), (3, 1200), (4, 2000)].into_iter().take(asks) {
            assert_eq!(asked(&room.bo_wakes(at(ms))), [(attempt, 3, 3)]);
        }
        assert_eq!(told(&room.bo.inbox.end(leaves)), expected);
    }
}

#[test]
fn what_leaders_say_of_somebody_who_is_about_to_come_is_used_then() {
    let (mut room, _) = said(0);
    let ana = room.ana.me.entry();
    room.members.remove(&ana.id.user);
    for from in [1, 2] {
        let head = head(&room, Service::Fifo, 4);
        room.bo_told(at(0), from, vec![head]);
    }
    assert_eq!(room.bo.inbox.next_wakeup(), None);
    room.members.insert(ana.clone());
    room.bo.inbox.on_joined(&ana.id);
    let peers = Peers { current: &room.members, departed: &room.departed };
    let Side { me, keyring, inbox, .. } = &mut room.bo;
    let reading = Reading { me, rules: &room.rules, keyring, peers };
    assert_eq!(inbox.on_members(at(10), 2, &reading), []);
    assert_eq!(asked(&room.bo_wakes(at(510))), [(1, 1, 3)]);
}

#[test]
fn a_sender_says_how_far_it_has_come_and_what_it_still_has() {
    let mut room = Room::sealed();
    room.policy.history_frames_max = 2;
    room.ana.outbox = Outbox::new(&room.policy);
    for _ in 0..3 {
        let _ = room.ana.multicast(at(0), Service::Fifo, b"x");
        let _ = room.ana.multicast(at(0), Service::BestEffort, b"x");
    }
    let me = room.ana.me.id.clone();
    let view = view_id(1).digest;
    let (heads, change) = room.ana.outbox.heads(&me, view, 0, false);
    let numbers: Vec<_> = heads.iter().map(|h| (h.start.0, h.kept.0, h.next.0)).collect();
    assert_eq!((numbers, change), (vec![(1, 1, 1), (1, 2, 4)], 0), "of best effort nothing is repaired");
    let _ = room.private(at(0), &["bo", "cy"], b"x");
    let (heads, change) = room.ana.outbox.heads(&me, view, 0, false);
    assert_eq!((heads.len(), change), (4, 2));
    assert_eq!(room.ana.outbox.heads(&me, view, change, false).0.len(), 2, "a leader is told of private streams once");
}

#[test]
fn who_goes_says_where_its_streams_began_in_the_views_before_too() {
    let mut room = Room::sealed();
    let me = room.ana.me.id.clone();
    for view in 1..=20 {
        room.ana.keyring.install(keyed(view));
        // Nothing is said in every third view.
        (0..view % 3).for_each(|_| drop(room.ana.multicast(at(0), Service::Fifo, b"x")));
        room.ana.outbox.on_view(view_id(view).digest);
    }
    let (now, all) = (view_id(20).digest, |starts| room.ana.outbox.heads(&me, view_id(20).digest, 0, starts).0);
    let fifo = |heads: Vec<Head>| -> Vec<(Since, u64)> {
        let of = heads.into_iter().filter(|head| head.channel == Channel::Group(Service::Fifo));
        of.map(|head| (head.since, head.start.0)).collect()
    };
    let (whole, last) = (fifo(all(true)), fifo(all(false)));
    assert_eq!((last.len(), last[0].0), (1, Since::View(now)));
    assert_eq!(whole.len(), crate::delivery::heads::STARTS_MAX);
    assert_eq!(whole.last(), last.last());
    assert!(whole.windows(2).all(|pair| pair[0].1 < pair[1].1), "each view in which something was said: {whole:?}");
}

#[test]
fn an_earlier_beginning_that_one_leader_alone_knows_is_asked_for_by_nobody_and_not_forgotten() {
    // Ana said three things in a view of Bo's, and three in the next one.
    for (also, lost) in [(None, false), (Some(3), true)] {
        let mut room = Room::sealed();
        room.bo.keyring.install(keyed(2));
        let (ana, before, now) = (room.ana.me.id.clone(), group_head(&room, 1, 4, 10), group_head(&room, 2, 7, 10));
        room.bo_told(at(0), 2, vec![now.clone(), Tail::Complete(ana.clone())]);
        for from in [Some(1), also].into_iter().flatten() {
            room.bo_told(at(0), from, vec![before.clone(), now.clone(), Tail::Complete(ana.clone())]);
        }
        let events = room.bo_forgets(&ana);
        let gap = |first, count| InboxEvent::Gap { stream: room.group_stream(Service::Fifo), first: Seq(first), count };
        let told = if lost { vec![gap(4, 3), gap(7, 3)] } else { vec![gap(7, 3), InboxEvent::UnknownTail(ana)] };
        assert_eq!(events, told, "{also:?}");
    }
}

#[test]
fn two_messages_under_one_number_are_noticed_by_those_who_see_both_and_their_sender_is_named() {
    let mut room = Room::sealed();
    let first = room.ana.multicast(at(0), Service::Fifo, b"meet at noon");
    room.ana.outbox = Outbox::new(&room.policy);
    let second = room.ana.multicast(at(0), Service::Fifo, b"meet at midnight");
    assert_eq!(told(&room.bo(at(1), 1, &first)), [1]);
    assert_eq!(blamed(&room.bo(at(2), 1, &first)), [], "a copy is a copy");
    let events = room.bo(at(3), 2, &second);
    assert_eq!(blamed(&events), [(Culprit::Member(room.ana.me.id.clone()), Fault::Equivocated)]);
    assert!(!events.iter().any(|event| matches!(event, InboxEvent::Conflict(..))), "the policy expels nobody for it");
    let mut altered = first.to_vec();
    *altered.last_mut().unwrap() ^= 1;
    assert_eq!(room.bo(at(500), 3, &altered.into()), [], "without her signature it is not her doing");
}
