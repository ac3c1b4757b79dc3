//! Certificates that run out in the middle of a view, windows that open and close, and members who need others.

use std::time::Duration;

use ringfort_crypto::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_peer_keys::admission::{PresenceRule, Window};
use ringfort_peer_keys::flush::OutWhy;
use ringfort_peer_keys::{Admission, Certificate, Event, KeyProtocol, Policy, Ristretto, Rules};

use super::attacks::{PROTOCOLS, count};
use super::checks::check;
use super::choices::Choices;
use super::world::{Seen, UNIX_MS, World, name};

const START_S: u64 = UNIX_MS / 1000;

fn world(protocol: KeyProtocol, admission: impl FnOnce(&World<Ristretto>) -> Admission) -> World<Ristretto> {
    let mut world = World::<Ristretto>::new(&["a", "b", "c"], protocol, Rules::all());
    let admission = admission(&world);
    world.policy = Policy { admission, ..(*world.policy).clone() }.into();
    world
}

fn key(world: &World<Ristretto>, who: &str) -> [u8; 32] {
    world.processes[&name(who)].key.verifying_key().to_bytes()
}

fn join_all(world: &mut World<Ristretto>, choices: &mut Choices) {
    for who in world.names() {
        world.join(&who);
        world.settle(Duration::from_secs(1), choices);
    }
}

fn told(world: &World<Ristretto>, by: &str, who: &str, why: OutWhy) -> usize {
    count(world, by, |seen| matches!(seen, Seen::Other(Event::Out(out, told)) if *out == name(who) && *told == why))
}

fn members(world: &World<Ristretto>, who: &str) -> usize {
    world.secure_view(&name(who)).map_or(0, |view| view.members.len())
}

#[test]
fn a_certificate_that_runs_out_ends_a_stay_and_the_others_go_on_under_another_key() {
    let authority = SigningKey::from_secret(&Secret32::new([9; 32]));
    for protocol in PROTOCOLS {
        let mut choices = Choices::seeded(1);
        let mut world = world(protocol, |_| Admission {
            authorities: [(authority.verifying_key().to_bytes(), "plant".to_owned())].into(),
            ..Admission::default()
        });
        let mut listed = (*world.policy).clone();
        listed.admitted.remove(&key(&world, "c"));
        world.policy = listed.into();
        let unsigned = Certificate {
            group: "talk".to_owned(),
            user: "cy".to_owned(),
            role: String::new(),
            key: key(&world, "c"),
            from_unix_s: START_S,
            until_unix_s: START_S + 60,
            authority: [0; 32],
            signature: [0; 64],
        };
        let certificate = Certificate::issue(&authority, unsigned);
        world.processes.get_mut(&name("c")).unwrap().certificate = Some(certificate);
        join_all(&mut world, &mut choices);
        assert!(world.is_whole(), "{protocol:?}");
        let view = world.secure_view(&name("a")).unwrap().clone();
        assert!(view.members.iter().any(|(_, user)| user == "cy (by plant)"), "{view:?}");
        world.settle(Duration::from_secs(50), &mut choices);
        assert_eq!(world.context(&name("a")), Some(view.context), "{protocol:?}: nothing changes before");
        world.settle(Duration::from_secs(20), &mut choices);
        assert_eq!((members(&world, "a"), told(&world, "a", "c", OutWhy::Expired)), (2, 1), "{protocol:?}");
        assert_eq!(count(&world, "c", |seen| matches!(seen, Seen::Other(Event::PutOut(OutWhy::Expired)))), 1);
        let complaints = check(&world);
        assert!(complaints.is_empty(), "{protocol:?}: {complaints:#?}");
    }
}

#[test]
fn an_observer_is_in_only_while_an_officer_is() {
    for protocol in PROTOCOLS {
        let mut choices = Choices::seeded(2);
        let mut world = world(protocol, |world| Admission {
            roles: [(key(world, "a"), "officer".to_owned()), (key(world, "c"), "observer".to_owned())].into(),
            rules: vec![PresenceRule { role: "observer".to_owned(), only_while: "officer".to_owned(), at_least: 1 }],
            ..Admission::default()
        });
        join_all(&mut world, &mut choices);
        assert!(world.is_whole(), "{protocol:?}");
        for _ in 0..2 {
            world.leave(&name("a"));
            world.settle(Duration::from_secs(3), &mut choices);
            assert_eq!(members(&world, "b"), 1, "{protocol:?}: the observer is out");
            let peer = world.processes[&name("c")].peer.as_ref().expect("it waits");
            assert!(!peer.can_send(), "{protocol:?}");
            world.join(&name("a"));
            world.settle(Duration::from_secs(3), &mut choices);
            assert!(world.is_whole(), "{protocol:?}: with the officer the observer is back");
        }
        assert_eq!((told(&world, "b", "c", OutWhy::NotNow), told(&world, "c", "c", OutWhy::NotNow)), (2, 2));
        let complaints = check(&world);
        assert!(complaints.is_empty(), "{protocol:?}: {complaints:#?}");
    }
}

#[test]
fn a_member_comes_in_when_its_window_opens_and_is_out_when_it_closes() {
    let mut choices = Choices::seeded(3);
    let mut world = world(KeyProtocol::Tgdh, |world| Admission {
        roles: [(key(world, "c"), "night".to_owned())].into(),
        windows: vec![Window { role: "night".to_owned(), from_unix_s: START_S + 100, length_s: 50, every_s: 1000 }],
        ..Admission::default()
    });
    join_all(&mut world, &mut choices);
    assert_eq!((members(&world, "a"), members(&world, "c")), (2, 0), "it waits outside");
    world.settle(Duration::from_secs(90), &mut choices);
    assert_eq!(members(&world, "a"), 2);
    world.settle(Duration::from_secs(10), &mut choices);
    // It has left to come anew, as its driver does at once.
    world.join(&name("c"));
    world.settle(Duration::from_secs(2), &mut choices);
    assert!(world.is_whole(), "the window is open");
    world.settle(Duration::from_secs(60), &mut choices);
    assert_eq!(members(&world, "a"), 2, "it is closed");
}
