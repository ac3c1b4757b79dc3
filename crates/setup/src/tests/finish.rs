//! The attacks that want some of the honest to finish and others never, or the honest to name each other.

use super::hostile::own_post;
use super::world::{World, leader};
use crate::Fault;
use crate::message::{Body, Certificate, Hello, Message, Post, Round};

/// The certificate that a participant which withholds its own confirmation can make.
fn certificate_in(heard: &[(ringfort_protocol::LeaderId, Message)]) -> Option<Certificate> {
    let mut confirmations: Vec<Post> = Vec::new();
    for (_, message) in heard {
        if let Message::Post(post) = message
            && matches!(post.read(), Some(Body::Confirm { .. }))
            && !confirmations.iter().any(|held| held.author == post.author)
        {
            confirmations.push(post.clone());
        }
    }
    confirmations.sort_by_key(|post| post.author);
    (confirmations.len() == 4).then_some(Certificate(confirmations))
}

/// Leader 2 confirms to nobody, and holds alone what would let all finish.
fn withheld(seed: u64) -> (World, Certificate) {
    let mut world = World::new(seed, 4, 1);
    world.deviate(
        2,
        Box::new(|hostile, _, message| match &message {
            Message::Done(_) => Vec::new(),
            Message::Post(_) if own_post(hostile, &message).is_some_and(|(_, b)| b.round() == Round::Result) => {
                Vec::new()
            }
            _ => vec![message],
        }),
    );
    world.start_all();
    world.run();
    world.check_blame();
    assert!(world.honest().iter().all(|id| world.failed[id].confirmed), "{:?}", world.failed);
    let certificate = certificate_in(&world.heard).expect("leader 2 has heard all confirmations, and has its own");
    world.confirmed.clear();
    (world, certificate)
}

#[test]
fn a_withheld_confirmation_never_lets_some_finish_and_others_not() {
    for seed in 0..20 {
        let (mut world, certificate) = withheld(seed);
        // The next time it takes part in what the others do, and gives one of them the certificate of the time before.
        world.deviate(
            2,
            Box::new(move |hostile, to, message| match own_post(hostile, &message) {
                Some((_, Body::Shares { .. } | Body::Confirm { .. })) if to == leader(3) => {
                    vec![Message::Done(certificate.clone())]
                }
                Some((_, Body::Confirm { .. })) => Vec::new(),
                _ => vec![message],
            }),
        );
        for _ in 0..3 {
            world.start_all();
            world.run();
            world.check_agreement();
            world.check_blame();
        }
        world.check_all_or_none();
        assert!(world.honest().iter().all(|id| world.confirmed.contains_key(id)), "seed {seed}: {:?}", world.failed);
    }
}

#[test]
fn an_old_start_passed_on_makes_nobody_name_an_honest_one() {
    for seed in 0..20 {
        // Leader 1 was there before, and leader 2 has kept its start of that time.
        let mut before = World::new(seed, 4, 1);
        before.start_all();
        before.run();
        let old = before.heard.iter().find_map(|(_, m)| match m {
            Message::Hello(hello) if hello.author == leader(1) => Some(hello.clone()),
            _ => None,
        });
        let old: Hello = old.unwrap();

        let mut world = World::new(seed, 4, 1);
        world.attempts_from(1);
        let mut has_dealt = false;
        world.deviate(
            2,
            Box::new(move |hostile, _, message| {
                let mut messages = vec![Message::Hello(old.clone()), message];
                if let Some(board) = &hostile.core.board
                    && !has_dealt
                {
                    has_dealt = true;
                    let packages =
                        crate::dkg::deal(hostile.me, hostile.terms.rules(), &mut super::world::rng(7)).unwrap().1;
                    let opening_key =
                        ringfort_crypto::kem::KemSecret::generate(&mut super::world::rng(8)).public().to_bytes();
                    let body = Body::Deal { opening_key, packages };
                    messages.push(Message::Post(Post::sign(
                        hostile.terms,
                        board.session(),
                        hostile.me,
                        &body,
                        &hostile.signing,
                    )));
                }
                messages
            }),
        );
        // Leader 1 comes late.
        world.start_but(leader(1));
        world.run_for(std::time::Duration::from_secs(5));
        world.come(leader(1));
        world.run();
        world.check_agreement();
        world.check_blame();
        world.check_all_or_none();
        for verdict in world.failed.values() {
            assert!(verdict.blames.iter().all(|blame| blame.fault != Fault::Restarted || blame.leader == leader(2)));
        }
    }
}

#[test]
fn where_one_withholds_its_confirmation_the_others_start_nothing_else_and_name_it() {
    for seed in 0..8 {
        let (mut world, _) = withheld(seed);
        let sessions = |world: &World| {
            let session = |(_, message): &(_, Message)| match message {
                Message::Post(post) => Some(post.session),
                _ => None,
            };
            world.heard.iter().filter_map(session).collect::<std::collections::BTreeSet<_>>()
        };
        let before = sessions(&world);
        for _ in 0..2 {
            world.start_all();
            world.run();
            assert_eq!(world.confirmed.keys().filter(|id| **id != leader(2)).count(), 0);
            for id in world.honest() {
                let verdict = &world.failed[&id];
                assert!(verdict.confirmed);
                let blames: Vec<_> = verdict.blames.iter().map(|blame| (blame.leader, blame.fault)).collect();
                assert_eq!(blames, [(leader(2), Fault::Silent)], "seed {seed}");
            }
        }
        assert_eq!(sessions(&world), before, "the same keys make one result at most");
    }
}

#[test]
fn once_all_have_confirmed_a_stop_of_everybody_costs_nothing() {
    let mut open = 0;
    for seed in 0..8 {
        let mut world = World::new(seed, 4, 1);
        world.start_all();
        // All are stopped when the last one has confirmed, and none holds the certificate.
        for ms in 1..10_000 {
            if world.persisted.len() == 4 || !world.confirmed.is_empty() {
                break;
            }
            assert!(ms < 9_999);
            world.run_for(std::time::Duration::from_millis(1));
        }
        open += usize::from(world.confirmed.is_empty());
        world.start_all();
        world.run();
        world.check_agreement();
        assert_eq!(world.confirmed.len(), 4, "seed {seed}: {:?}", world.failed);
    }
    assert!(open > 4, "{open} of 8 were stopped in time");
}

#[test]
fn whoever_gave_up_says_why_to_those_who_had_confirmed() {
    let mut split = 0;
    for seed in 0..60 {
        let mut world = World::new(seed, 4, 1);
        // Leader 2 shares with leader 1 alone, at the last moment before time is up.
        let mut held = Vec::new();
        world.deviate(
            2,
            Box::new(move |hostile, to, message| match own_post(hostile, &message) {
                Some((_, Body::Shares { .. } | Body::Confirm { .. })) => {
                    if to == leader(1) {
                        held.push(message);
                    }
                    Vec::new()
                }
                _ if matches!(message, Message::Done(_)) => Vec::new(),
                _ if to == leader(1) && matches!(message, Message::GaveUp(_)) => std::mem::take(&mut held),
                _ => vec![message],
            }),
        );
        world.start_all();
        world.run();
        let some = world.honest().iter().filter(|id| world.persisted.contains_key(id)).count();
        if some == 0 || some == 3 {
            continue;
        }
        split += 1;
        world.deviate(2, Box::new(|_, _, _| Vec::new()));
        world.start_all();
        world.run();
        world.check_all_or_none();
        world.check_blame();
    }
    assert!(split > 0, "the moment was never met");
}
