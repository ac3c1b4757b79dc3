//! One participant does anything: the others never disagree, and name it.

use rand_core::Rng;
use ringfort_crypto::kem::{KemPublic, seal_to};

use super::world::{Deviation, Hostile, World, leader, rng};
use crate::ceremony::rounds::Stage;
use crate::evidence::Evidence;
use crate::message::{Body, GaveUp, Hello, Message, Post, share_context};
use crate::outcome::Blame;
use crate::{Fault, dkg};

/// Plays a deviation of leader 2 under several orders of deliveries, with 4 and with 7.
fn play(expected: &[Fault], make: impl Fn(u64) -> Deviation) {
    for seed in 0..12 {
        let (n, f) = if seed % 6 == 5 { (7, 2) } else { (4, 1) };
        let mut world = World::new(seed, n, f);
        let mut deviation = make(seed);
        let fails = !expected.is_empty();
        // Its own core has not deviated, and would give the others the certificate that they lack.
        world.deviate(
            2,
            Box::new(move |hostile, to, message| match message {
                Message::Done(_) if fails => Vec::new(),
                message => deviation(hostile, to, message),
            }),
        );
        world.start_all();
        world.run();
        world.check_agreement();
        world.check_all_or_none();
        world.check_blame();
        let honest: Vec<_> = world.honest();
        if expected.is_empty() {
            assert!(honest.iter().all(|id| world.confirmed.contains_key(id)), "seed {seed}: {:?}", world.failed);
            continue;
        }
        assert!(world.confirmed.keys().all(|id| Some(*id) == world.hostile), "seed {seed}: some finished");
        for id in honest {
            let verdict = &world.failed[&id];
            for blame in &verdict.blames {
                let fault = blame.reason.map_or(blame.fault, |(_, fault)| fault);
                assert!(expected.contains(&fault), "seed {seed}, {id}: {blame}");
                let proven = matches!(
                    blame.fault,
                    Fault::Equivocated | Fault::BadDeal | Fault::BadShare | Fault::FalseComplaint | Fault::WrongGroup
                );
                assert_eq!(blame.evidence.is_some(), proven, "seed {seed}, {id}: {blame}");
            }
        }
    }
}

/// Its own post, if the message is one, with what it says.
pub fn own_post(hostile: &Hostile<'_>, message: &Message) -> Option<(Post, Body)> {
    match message {
        Message::Post(post) if post.author == hostile.me => Some((post.clone(), post.read()?)),
        _ => None,
    }
}

/// Changes what its own posts say, as it likes for each receiver, and signs them anew.
fn rewrite(mut change: impl FnMut(&Hostile<'_>, u8, &mut Body) + 'static) -> Deviation {
    Box::new(move |hostile, to, message| {
        let Some((post, mut body)) = own_post(hostile, &message) else { return vec![message] };
        change(hostile, to.number(), &mut body);
        vec![Message::Post(Post::sign(hostile.terms, post.session, hostile.me, &body, &hostile.signing))]
    })
}

fn drop_if(mut unwanted: impl FnMut(&Hostile<'_>, u8, &Message) -> bool + 'static) -> Deviation {
    Box::new(
        move |hostile, to, message| {
            if unwanted(hostile, to.number(), &message) { Vec::new() } else { vec![message] }
        },
    )
}

#[test]
fn silence_at_every_step_is_named() {
    play(&[Fault::Silent], |_| drop_if(|_, _, _| true));
    play(&[Fault::NotReady], |_| drop_if(|_, _, m| !matches!(m, Message::Hello(_))));
    for round in [crate::message::Round::Deal, crate::message::Round::Shares, crate::message::Round::Result] {
        play(&[Fault::Silent], move |_| {
            drop_if(move |h, _, m| own_post(h, m).is_some_and(|(_, body)| body.round() >= round))
        });
    }
}

#[test]
fn what_it_tells_one_only_reaches_all() {
    play(&[], |_| drop_if(|h, to, m| to != 1 && own_post(h, m).is_some()));
    play(&[], |_| drop_if(|h, _, m| matches!(m, Message::Post(post) if post.author != h.me)));
    // It begins with some only, and nobody is left behind.
    play(&[], |_| drop_if(|_, to, m| to == 3 && matches!(m, Message::Open(_))));
}

#[test]
fn two_faces_are_proven_in_every_round() {
    let second = |to: u8| to > 2;
    play(&[Fault::Equivocated], move |_| {
        rewrite(move |h, to, body| {
            if let (true, Body::Deal { packages, .. }) = (second(to), body) {
                *packages = dkg::deal(h.me, h.terms.rules(), &mut rng(7)).unwrap().1;
            }
        })
    });
    // Whoever gets the other face first sees that its share is bad.
    play(&[Fault::Equivocated, Fault::BadShare], move |_| {
        rewrite(move |_, to, body| {
            if let (true, Body::Shares { sealed, .. }) = (second(to), body) {
                sealed[0][40] ^= 1;
            }
        })
    });
    play(&[Fault::Equivocated], move |_| {
        Box::new(move |hostile, to, message| match message {
            Message::Hello(hello) if hello.author == hostile.me && second(to.number()) => {
                let other = Hello::sign(hostile.terms, hostile.me, hello.attempt, [7; 32], &hostile.signing);
                vec![Message::Hello(other)]
            }
            other => vec![other],
        })
    });
}

#[test]
fn bad_deals_are_proven_by_themselves() {
    type Change = fn(&Hostile<'_>, &mut [u8; 32], &mut [Vec<u8>; 2]);
    let changes: [Change; 9] = [
        // Wrong degrees.
        |_, _, p| drop(p[0].drain(32..64)),
        |_, _, p| {
            let again = p[1][..32].to_vec();
            drop(p[1].splice(64..64, again));
        },
        |_, _, p| p[1].clear(),
        // The identity, as constant term and above.
        |_, _, p| p[0][..32].fill(0),
        |_, _, p| p[1][32..64].fill(0),
        // A key made to cancel the others', or somebody else's: no proof that it is known.
        |h, _, p| {
            let other = h.heard.iter().find_map(|(_, m)| match m {
                Message::Post(post) if post.author == leader(1) => post.read(),
                _ => None,
            });
            match other {
                Some(Body::Deal { packages, .. }) => *p = packages,
                _ => p[0].swap(0, 32),
            }
        },
        |_, _, p| {
            let tail = p[0].len() - 1;
            p[0][tail] ^= 1;
        },
        // Proofs of two keys exchanged.
        |_, _, p| p.swap(0, 1),
        |_, key, _| key.fill(0),
    ];
    for change in changes {
        play(&[Fault::BadDeal], move |_| {
            rewrite(move |h, _, body| {
                if let Body::Deal { opening_key, packages } = body {
                    let before = packages.clone();
                    change(h, opening_key, packages);
                    // With equal thresholds an exchange of whole packages is no deviation: exchange the proofs.
                    if packages[0] == before[1] && packages[1] == before[0] {
                        let (a, b) = (before[0].len() - 64, before[1].len() - 64);
                        *packages = before.clone();
                        drop(packages[0].splice(a.., before[1][b..].to_vec()));
                    }
                }
            })
        });
    }
}

#[test]
fn a_bad_share_to_one_is_proven_to_all() {
    play(&[Fault::BadShare], |_| {
        rewrite(|_, _, body| {
            if let Body::Shares { sealed, .. } = body {
                sealed[2][40] ^= 1;
            }
        })
    });
    play(&[Fault::BadShare], |_| {
        rewrite(|_, _, body| {
            if let Body::Shares { sealed, .. } = body {
                sealed[3].clear();
            }
        })
    });
    // Sealed as it has to be, but off the polynomial.
    play(&[Fault::BadShare], |_| {
        rewrite(|h, _, body| {
            let deal = h.heard.iter().rev().find_map(|(_, m)| match m {
                Message::Post(post) if post.author == leader(1) => match post.read()? {
                    Body::Deal { opening_key, .. } => Some((post.session, opening_key)),
                    _ => None,
                },
                _ => None,
            });
            if let (Body::Shares { sealed, .. }, Some((session, key))) = (body, deal) {
                let context = share_context(&session, h.me, leader(1));
                let key = KemPublic::from_bytes(&key).unwrap();
                sealed[0] = seal_to(&key, &context, &[], &[3; dkg::SHARES_BYTES], &mut rng(1)).unwrap();
            }
        })
    });
}

#[test]
fn a_false_complaint_falls_back_on_its_author() {
    for honest_key in [true, false] {
        play(&[Fault::FalseComplaint], move |_| {
            let mut opening = [9; 32];
            Box::new(move |hostile, _, message| {
                if let (Stage::Dealt(_, secret) | Stage::Shared(_, secret), true) = (&hostile.core.stage, honest_key) {
                    opening = *secret.to_secret().expose();
                }
                let Some((post, Body::Confirm { .. })) = own_post(hostile, &message) else { return vec![message] };
                let of_one = |round| hostile.core.board.as_ref().unwrap().get(round, leader(1)).unwrap().0.digest();
                let posts = [of_one(crate::message::Round::Deal), of_one(crate::message::Round::Shares)];
                let body = Body::Complain { against: leader(1), posts, opening_secret: opening };
                vec![Message::Post(Post::sign(hostile.terms, post.session, hostile.me, &body, &hostile.signing))]
            })
        });
    }
    // Of posts that nobody made.
    play(&[Fault::Unfounded], |_| {
        rewrite(|_, _, body| {
            if let Body::Confirm { .. } = body {
                *body = Body::Complain { against: leader(1), posts: [[1; 32]; 2], opening_secret: [1; 32] };
            }
        })
    });
}

#[test]
fn lies_about_what_was_seen_or_made_are_named() {
    play(&[Fault::WrongGroup], |_| {
        rewrite(|_, _, body| {
            if let Body::Confirm { group, .. } = body {
                group[5] ^= 1;
            }
        })
    });
    for author in 0..4 {
        play(&[Fault::Unfounded], move |_| {
            rewrite(move |_, _, body| {
                if let Body::Shares { seen, .. } = body {
                    seen[author][5] ^= 1;
                }
            })
        });
        play(&[Fault::Unfounded], move |_| {
            rewrite(move |_, _, body| {
                if let Body::Confirm { seen, .. } = body {
                    seen[author][5] ^= 1;
                }
            })
        });
    }
    play(&[Fault::BadDeal], |_| {
        rewrite(|_, _, body| {
            if let Body::Shares { seen, .. } = body {
                seen.pop();
            }
        })
    });
}

#[test]
fn whoever_takes_back_its_word_stops_nobody_or_everybody() {
    for seed in 0..20 {
        let mut world = World::new(seed, 4, 1);
        // Some get another confirmation first; its own core sends all the certificate.
        world.deviate(
            2,
            rewrite(|_, to, body| {
                if let (3.., Body::Confirm { group, .. }) = (to, body) {
                    group[0] ^= 1;
                }
            }),
        );
        world.start_all();
        world.run();
        world.check_agreement();
        world.check_all_or_none();
        world.check_blame();
    }
}

#[test]
fn giving_up_names_who_gave_up() {
    // A third of the others would blame it for what they can check; this cannot be checked.
    play(&[Fault::BadShare], |_| {
        Box::new(|hostile, _, message| match own_post(hostile, &message) {
            Some((post, Body::Confirm { .. })) => {
                let why = Blame::of(leader(1), Fault::BadShare);
                vec![Message::GaveUp(GaveUp::sign(hostile.terms, post.session, hostile.me, &why, &hostile.signing))]
            }
            _ => vec![message],
        })
    });
}

#[test]
fn starting_again_in_the_middle_is_named() {
    // Where its start overtakes all that it said in the session, the others meet again; it is not there, and gives up on them.
    play(&[Fault::Restarted, Fault::Silent], |_| {
        Box::new(|hostile, _, message| match own_post(hostile, &message) {
            Some((_, Body::Shares { .. })) => {
                vec![Message::Hello(Hello::sign(hostile.terms, hostile.me, 99, [1; 32], &hostile.signing))]
            }
            _ => vec![message],
        })
    });
}

#[test]
fn words_of_an_earlier_ceremony_change_nothing() {
    for seed in 0..12 {
        let mut first = World::new(seed, 4, 1);
        first.start_all();
        first.run();
        assert_eq!(first.confirmed.len(), 4);
        let old = first.heard.clone();
        // The same machines again, who have lost what they made; one floods them with every word of the first time.
        let mut again = World::new(seed, 4, 1);
        again.attempts_from(1);
        let mut at = 0;
        again.deviate(
            2,
            Box::new(move |_, _, message| {
                let few: Vec<Message> = old.iter().skip(at).take(9).map(|(_, m)| m.clone()).collect();
                at = (at + 9) % old.len();
                let certificate = old.iter().rev().find(|(_, m)| matches!(m, Message::Done(_))).map(|(_, m)| m.clone());
                few.into_iter().chain(certificate).chain([message]).collect()
            }),
        );
        again.start_all();
        again.run();
        again.check_agreement();
        assert!(again.failed.is_empty(), "seed {seed}: {:?}", again.failed);
        assert_eq!(again.confirmed.len(), 4);
        let group = |world: &World| world.persisted[&leader(1)].group.id();
        assert_ne!(group(&first), group(&again), "every ceremony makes another group");
    }
}

#[test]
fn any_bytes_at_all_break_nothing() {
    for seed in 0..40 {
        let mut world = World::new(seed, 4, 1);
        let mut noise = rng(seed);
        world.deviate(
            2,
            Box::new(move |hostile, _, message| {
                if !noise.next_u64().is_multiple_of(4) {
                    return vec![message];
                }
                // One byte of a signed body, signed again; or of any frame.
                if let Some((mut post, _)) = own_post(hostile, &message) {
                    let at = noise.next_u64() as usize % post.body.len();
                    post.body[at] ^= 1 << (noise.next_u64() % 8);
                    let parts: [&[u8]; 4] = [&hostile.terms.digest(), &post.session, &[2], &post.body];
                    post.signature = hostile.signing.sign("ringfort setup post", &parts).to_bytes();
                    return vec![Message::Post(post)];
                }
                let mut frame = message.to_frame();
                let at = 1 + noise.next_u64() as usize % (frame.len() - 1);
                frame[at] ^= 1 << (noise.next_u64() % 8);
                Message::from_frame(&frame).into_iter().collect()
            }),
        );
        world.start_all();
        world.run();
        world.check_agreement();
        world.check_all_or_none();
        world.check_blame();
    }
}

#[test]
fn frames_that_are_no_message_are_ignored() {
    let mut world = World::new(1, 4, 1);
    world.start_all();
    let long = vec![1; crate::FRAME_BYTES_MAX + 1];
    for frame in [&b""[..], b"\x01", b"\x02\x01", b"\x01\x09", &[0xff; 100], &long] {
        for to in 1..=4 {
            world.post(leader(if to == 1 { 2 } else { 1 }), leader(to), frame.to_vec());
        }
    }
    world.run();
    assert_eq!(world.confirmed.len(), 4);
}

#[test]
fn evidence_proves_nothing_against_who_is_honest() {
    let mut world = World::new(3, 4, 1);
    world.start_all();
    world.run();
    let posts: Vec<Post> = world
        .heard
        .iter()
        .filter_map(|(_, m)| match m {
            Message::Post(post) => Some(post.clone()),
            _ => None,
        })
        .collect();
    let mut noise = rng(4);
    let mut any = || posts[noise.next_u64() as usize % posts.len()].clone();
    for _ in 0..300 {
        assert_eq!(Evidence::Posts(any(), any()).check(&world.terms), None);
        assert_eq!(Evidence::Post(any()).check(&world.terms), None);
        assert_eq!(Evidence::Complaint(Box::new([any(), any(), any(), any()])).check(&world.terms), None);
    }
    let round = |wanted| -> Vec<Post> {
        let board = world.nodes[&leader(1)].board.as_ref().unwrap();
        board.all(wanted)
    };
    use crate::message::Round;
    let (deals, shares, results) = (round(Round::Deal), round(Round::Shares), round(Round::Result));
    for shares in &shares {
        for result in &results {
            let two = Box::new([shares.clone(), result.clone()]);
            assert_eq!(Evidence::Group(deals.clone(), two).check(&world.terms), None);
        }
    }
}

#[test]
fn giving_up_over_anothers_silence_before_its_time_names_who_gave_up() {
    for seed in 0..12 {
        let mut world = World::new(seed, 4, 1);
        world.deviate(
            2,
            Box::new(|hostile, _, message| match own_post(hostile, &message) {
                Some((post, _)) => {
                    let why = Blame::of(leader(3), Fault::Silent);
                    vec![Message::GaveUp(GaveUp::sign(hostile.terms, post.session, hostile.me, &why, &hostile.signing))]
                }
                None => vec![message],
            }),
        );
        world.start_all();
        world.run();
        world.check_blame();
    }
}
