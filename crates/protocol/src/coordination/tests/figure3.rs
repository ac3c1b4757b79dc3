//! The rules of Figure 3, each exactly at its threshold (A7, A8).

use super::*;

const SIZES: [(u8, u8); 3] = [(4, 1), (7, 2), (10, 3)];

#[test]
fn authentication_makes_a_leader_propose_and_nothing_more() {
    let mut room = Room::new(4, 1);
    let (already, outputs) = room.me.admit(&entry("ana", 1)).unwrap();
    assert!(!already);
    assert_eq!(proposed(&outputs), vec![join("ana", 1)]);
    assert!(!changed(&outputs) && !room.is_member("ana"));
}

#[test]
fn f_proposals_amplify_nothing_and_f_plus_1_do() {
    for (n, f) in SIZES {
        let mut room = Room::new(n, f);
        for by in 2..2 + f {
            assert_eq!(room.hears(by, &join("ana", 1)), vec![], "n={n}, proposal {by}");
        }
        let outputs = room.hears(2 + f, &join("ana", 1));
        assert_eq!(proposed(&outputs), vec![join("ana", 1)], "n={n}: f+1 contain an honest one");
    }
}

#[test]
fn a_leader_that_repeats_itself_counts_once() {
    let mut room = Room::new(4, 1);
    for accepted in [false, false, true, true] {
        let proposal = room.signed(2, &join("ana", 1), accepted);
        assert_eq!(room.me.on_proposals(leader(2), vec![proposal.clone(), proposal]), vec![]);
    }
}

#[test]
fn n_minus_f_proposals_with_ones_own_accept_and_fewer_do_not() {
    for (n, f) in SIZES {
        let mut room = Room::new(n, f);
        let _ = room.me.admit(&entry("ana", 1)).unwrap();
        for by in 2..n - f {
            assert!(!changed(&room.hears(by, &join("ana", 1))), "n={n}: {by} proposals, own included");
            assert_eq!(room.me.epoch(), Epoch(0));
        }
        assert!(changed(&room.hears(n - f, &join("ana", 1))), "n={n}: n-f proposals");
        assert!(room.is_member("ana"));
        assert_eq!(room.me.epoch(), Epoch(1));
    }
}

#[test]
fn a_leader_proposes_itself_before_it_accepts() {
    for (n, f) in SIZES {
        let mut room = Room::new(n, f);
        let outputs: Vec<Output> = (2..=n).flat_map(|by| room.hears(by, &join("ana", 1))).collect();
        let place = |wanted: &dyn Fn(&Output) -> bool| outputs.iter().position(wanted).unwrap();
        let own = place(&|o| matches!(o, Output::Broadcast(_)));
        let voted = place(&|o| matches!(o, Output::Persist(life) if life.accepted.is_none() && life.votes.len() == 1));
        let accepted = place(&|o| matches!(o, Output::Persist(life) if life.accepted.is_some()));
        let change = place(&|o| matches!(o, Output::Changed(_)));
        assert!(voted < own, "n={n}: the vote is durable, then told");
        assert!(own < accepted && accepted < change, "n={n}: proposed, then durable, then acted on");
    }
}

#[test]
fn n_minus_f_proposals_of_others_alone_do_not_accept() {
    let mut room = Room::new(7, 2);
    // Four later stays of Ana that f+1 others call for leave no room for a proposal of one's own.
    let later = [join("ana", 2), join("ana", 3), join("ana", 4), join("ana", 5)];
    for (operation, by) in later.iter().zip([2..=4, 5..=7, 2..=4, 5..=7]) {
        let outputs: Vec<Output> = by.flat_map(|by| room.hears(by, operation)).collect();
        assert_eq!(proposed(&outputs), vec![operation.clone()]);
    }
    for by in 2..=6 {
        assert!(!changed(&room.hears(by, &join("ana", 1))));
    }
    assert!(!room.is_member("ana"));
}

#[test]
fn f_plus_1_leaders_that_have_accepted_are_caught_up_with_and_f_are_not() {
    for (n, f) in [(7, 2), (10, 3)] {
        let mut room = Room::new(n, f);
        for by in 2..2 + f {
            assert_eq!(room.hears_accepted(by, &join("ana", 1)), vec![]);
        }
        assert!(!changed(&room.hears(2 + f, &join("ana", 1))), "f that accepted and one that only proposes");
        assert!(!room.is_member("ana"));
        assert!(changed(&room.hears_accepted(2 + f, &join("ana", 1))));
        assert!(room.is_member("ana"), "n={n}: though n-f have not proposed");
    }
}

#[test]
fn a_proposals_order_in_the_life_of_a_user_decides_not_the_view_number() {
    let mut room = Room::new(4, 1);
    room.accepts(&join("bo", 1));
    room.accepts(&join("cy", 1));
    // Ana's join is proposed by leaders that have seen fewer views, or more.
    room.accepts(&join("ana", 1));
    assert_eq!(room.me.epoch(), Epoch(3));
}

#[test]
fn an_old_stay_is_never_joined_again() {
    let mut room = Room::new(4, 1);
    room.accepts(&join("ana", 1));
    room.accepts(&remove("ana", 1, Cause::Left));
    for by in 2..=4 {
        assert_eq!(room.hears(by, &join("ana", 1)), vec![], "a replay");
        assert_eq!(room.hears_accepted(by, &join("ana", 1)), vec![], "a replay of an acceptance");
    }
    assert!(!room.is_member("ana"));
    assert_eq!(room.me.admit(&entry("ana", 1)).unwrap_err(), Denial::Incarnation(Incarnation(1)));
}

#[test]
fn a_user_comes_back_with_a_higher_incarnation() {
    let mut room = Room::new(4, 1);
    for stay in 1..=3 {
        assert_eq!(room.me.last_incarnation(&user("ana")), Incarnation(stay - 1));
        let (already, _) = room.me.admit(&entry("ana", stay)).unwrap();
        assert!(!already);
        room.accepts(&join("ana", stay));
        assert_eq!(room.me.admit(&entry("ana", stay)).unwrap(), (true, vec![]), "the same stay is taken up");
        room.accepts(&remove("ana", stay, Cause::Left));
        assert_eq!(room.me.ended(&entry("ana", stay).id), Some(Cause::Left));
    }
    assert_eq!(room.me.epoch(), Epoch(6));
}

#[test]
fn a_new_stay_replaces_one_that_never_ended() {
    let mut room = Room::new(4, 1);
    room.accepts(&join("ana", 1));
    room.accepts(&join("ana", 2));
    assert_eq!(room.me.members().len(), 1);
    assert_eq!(room.me.members().get(&user("ana")), Some(&entry("ana", 2)));
    assert_eq!(room.me.ended(&entry("ana", 1).id), Some(Cause::Elsewhere));
    assert_eq!(room.me.ended(&entry("ana", 2).id), None);
    let late = room.hears(2, &remove("ana", 1, Cause::Lost));
    assert!(late.is_empty(), "the end of the first stay does not touch the second");
    assert_eq!(room.me.epoch(), Epoch(3), "the ranks are those of a life with the removal in it");
}

#[test]
fn a_join_with_other_keys_under_the_same_stay_is_another_operation() {
    let mut room = Room::new(4, 1);
    let mut posing = entry("ana", 1);
    posing.signing = entry("eve", 1).signing;
    let forged = Operation::Join(posing);
    let _ = room.hears(2, &join("ana", 1));
    assert_eq!(room.hears(3, &forged), vec![], "one proposal each is below f+1");
    let _ = room.me.admit(&entry("ana", 1)).unwrap();
    assert!(!changed(&room.hears(3, &forged)));
    assert!(!room.is_member("ana"));
}

#[test]
fn a_refresh_moves_the_epoch_and_nobody() {
    let mut room = Room::new(4, 1);
    room.accepts(&join("ana", 1));
    assert_eq!(proposed(&room.me.refresh()), vec![Operation::Refresh(1)]);
    room.accepts(&Operation::Refresh(1));
    assert_eq!((room.me.refreshes(), room.me.epoch()), (1, Epoch(2)));
    assert!((2..=4).all(|by| room.hears(by, &Operation::Refresh(1)).is_empty()), "a replay");
    assert_eq!(proposed(&room.me.refresh()), vec![Operation::Refresh(2)]);
    assert_eq!(room.me.members().len(), 1);
}

#[test]
fn what_is_not_properly_signed_here_and_now_is_blamed_and_not_counted() {
    let mut room = Room::new(4, 1);
    let good = room.signed(2, &join("ana", 1), false);
    let session = SessionId([9; 32]);
    let key = &room.secrets[1].signing;
    let by_another_key = SignedProposal { signature: room.signed(3, &join("ana", 1), false).signature, ..good.clone() };
    let said_accepted = SignedProposal { accepted: true, ..good.clone() };
    let said_of_bo = SignedProposal { operation: join("bo", 1), ..good.clone() };
    let moved = SignedProposal { session, ..good.clone() };
    let elsewhere = SignedProposal::sign(key, leader(2), session, join("ana", 1), false);
    let before_the_first = SignedProposal::sign(key, leader(2), room.group.session(), join("ana", 0), false);
    let cases = [
        ("another leader's signature", by_another_key, Fault::BadProposal),
        ("made an acceptance", said_accepted, Fault::BadProposal),
        ("another operation", said_of_bo, Fault::BadProposal),
        ("moved to another session", moved, Fault::WrongSession),
        ("truly of another session", elsewhere, Fault::WrongSession),
        ("a stay before the first", before_the_first, Fault::BadProposal),
    ];
    for (what, proposal, fault) in cases {
        let outputs = room.me.on_proposals(leader(2), vec![proposal]);
        assert_eq!(outputs, vec![Output::Blame(leader(2), fault)], "{what}");
    }
    let relayed = room.me.on_proposals(leader(3), vec![good]);
    assert_eq!(relayed, vec![Output::Blame(leader(3), Fault::BadProposal)], "one leader's word from another's link");
    assert!(room.me.lives.is_empty(), "nothing of it was kept");
}

#[test]
fn a_leader_that_does_not_exist_has_no_vote() {
    let mut room = Room::new(4, 1);
    let stranger = SignedProposal { leader: leader(5), ..room.signed(2, &join("ana", 1), false) };
    assert_eq!(blamed(&room.me.on_proposals(leader(5), vec![stranger])), vec![(5, Fault::BadProposal)]);
}

#[test]
fn what_comes_after_a_bad_proposal_in_the_same_message_is_dropped() {
    let mut room = Room::new(4, 1);
    let bad = SignedProposal { leader: leader(3), ..room.signed(2, &join("ana", 1), false) };
    let list = vec![bad, room.signed(2, &join("bo", 1), false)];
    assert_eq!(blamed(&room.me.on_proposals(leader(2), list)), vec![(2, Fault::BadProposal)]);
    assert!(room.me.lives.is_empty());
}

#[test]
fn a_user_cannot_run_its_own_counter_out() {
    let mut room = Room::new(4, 1);
    let last = Denial::Incarnation(Incarnation(0));
    assert_eq!(room.me.admit(&entry("ana", 0)).unwrap_err(), last);
    assert_eq!(room.me.admit(&entry("ana", INCARNATION_JUMP_MAX + 1)).unwrap_err(), last);
    assert_eq!(room.me.admit(&entry("ana", u64::MAX)).unwrap_err(), last);
    assert!(room.me.admit(&entry("ana", INCARNATION_JUMP_MAX)).is_ok());
}

#[test]
fn ranks_at_the_end_of_the_numbers_do_not_overflow() {
    let mut room = Room::new(4, 1);
    for incarnation in [u64::MAX, u64::MAX / 2, u64::MAX / 2 + 1] {
        let _ = room.hears(2, &join("ana", incarnation));
        let _ = room.hears(2, &remove("ana", incarnation, Cause::Left));
        let _ = room.hears(2, &Operation::Refresh(incarnation));
    }
    assert_eq!(room.me.epoch(), Epoch(0));
    assert!(room.me.admit(&entry("ana", 1)).is_ok(), "one leader's wild numbers hold nobody up");
}
