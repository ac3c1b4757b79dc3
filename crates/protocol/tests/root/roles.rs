//! Members that do not send, and members that do not read.

use std::time::Duration;

use ringfort_protocol::Rejected;
use ringfort_protocol::leader::{self, Command};
use ringfort_protocol::member::Event;
use ringfort_protocol::policy::Policy;
use ringfort_protocol::roles::{Role, RoleRule};

use crate::harness::World;

const NAMES: [&str; 5] = ["ana", "ben", "rita", "sue", "vault"];
const ANA: usize = 0;
const BEN: usize = 1;
const RITA: usize = 2;
const SUE: usize = 3;
const VAULT: usize = 4;
const READERS: [usize; 4] = [ANA, BEN, RITA, VAULT];

fn policy() -> Policy {
    let rule = |(users, role): (&str, Role)| RoleRule { users: users.parse().unwrap(), role };
    let rules = [("rita", Role::Receiver), ("su*", Role::Sender), ("vault", Role::Archive)];
    Policy { roles: rules.map(rule).to_vec(), ..Policy::default() }
}

/// All are registered, and some of them join.
fn joined(names: &[&str], some: usize) -> World {
    let mut world = World::with_policy(policy(), names);
    for name in &names[..some] {
        world.start(name);
    }
    world.pass(Duration::from_secs(3));
    world
}

fn heard(world: &World, who: usize, payload: &[u8]) -> usize {
    world.agents[who].messages().iter().filter(|(_, heard)| *heard == payload).count()
}

fn nobody_is_blamed(world: &World) {
    let at_leaders = world.leader_events.iter().find(|(_, event)| matches!(event, leader::Event::Blamed(..)));
    assert_eq!(at_leaders, None);
    for agent in &world.agents {
        let blamed: Vec<_> = agent.events.iter().filter(|event| matches!(event, Event::Blamed(..))).collect();
        assert!(blamed.is_empty(), "{blamed:?}");
    }
}

fn is_forbidden(outcome: Result<(), Rejected>, name: &str, role: Role) {
    let Err(Rejected::Role { user, role: told, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!((user.as_str(), told), (name, role));
}

#[test]
fn each_role_does_what_it_may_and_nothing_else() {
    let mut world = joined(&NAMES, 5);
    let view = world.agents[ANA].member.view();
    for agent in &world.agents {
        assert!(view.is_some() && agent.member.view() == view && agent.member.confirmation().is_current());
        assert_eq!(agent.names(), NAMES, "everybody sees everybody");
    }
    let key = |world: &World, who: usize| world.agents[who].member.key_fingerprint();
    assert_eq!(key(&world, SUE), None, "who may not read has no key");
    assert!(READERS.iter().all(|who| key(&world, *who).is_some() && key(&world, *who) == key(&world, ANA)));

    world.multicast(ANA, b"to all").unwrap();
    world.multicast(SUE, b"a tip").unwrap();
    world.send_to(ANA, &["rita"], b"between us").unwrap();
    world.pass(Duration::from_secs(2));
    for who in [BEN, RITA, VAULT] {
        assert_eq!((heard(&world, who, b"to all"), heard(&world, who, b"a tip")), (1, 1), "{who}");
    }
    assert_eq!((heard(&world, ANA, b"a tip"), heard(&world, RITA, b"between us")), (1, 1));
    let tip = world.agents[RITA].deliveries().find(|d| d.payload == b"a tip"[..]).unwrap();
    assert!(!tip.private && tip.recipients.is_empty(), "what goes to all who read is no private message");
    assert!(world.agents[SUE].messages().is_empty());

    is_forbidden(world.multicast(RITA, b"x"), "rita", Role::Receiver);
    is_forbidden(world.send_to(RITA, &["ana"], b"x"), "rita", Role::Receiver);
    is_forbidden(world.multicast(VAULT, b"x"), "vault", Role::Archive);
    is_forbidden(world.send_to(SUE, &["ana"], b"x"), "sue", Role::Sender);
    is_forbidden(world.send_to(ANA, &["ben", "sue"], b"x"), "sue", Role::Sender);
    nobody_is_blamed(&world);
}

#[test]
fn a_sender_is_heard_after_changes_and_losses_by_all_who_read_then() {
    let mut world = joined(&NAMES, 4);
    world.multicast(SUE, b"before").unwrap();
    let vault = world.start("vault");
    world.pass(Duration::from_secs(3));
    for operator in [1, 2] {
        world.command(operator, Command::Refresh).unwrap();
    }
    world.pass(Duration::from_secs(2));
    // Nothing of it arrives, and there is nothing after it: the mark tells that something is missing.
    world.lossy = true;
    world.multicast(SUE, b"lost at first").unwrap();
    world.pass(Duration::from_millis(100));
    world.lossy = false;
    world.pass(Duration::from_secs(5));
    world.multicast(SUE, b"after").unwrap();
    world.pass(Duration::from_secs(1));
    for who in [ANA, BEN, RITA, vault] {
        let before = usize::from(who != vault);
        let counts = [b"before".as_slice(), b"lost at first", b"after"].map(|text| heard(&world, who, text));
        assert_eq!(counts, [before, 1, 1], "{who}");
    }
    assert!(world.agents[SUE].messages().is_empty() && world.agents[SUE].member.key_fingerprint().is_none());
    nobody_is_blamed(&world);
}

#[test]
fn a_sender_reaches_more_members_than_one_private_message_can() {
    let names: Vec<String> = (0..66).map(|i| format!("k{i:02}")).chain(["sue".to_owned()]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = joined(&names, 67);
    for text in [b"one", b"two"] {
        world.multicast(66, text).unwrap();
    }
    world.pass(Duration::from_secs(1));
    for who in 0..66 {
        assert_eq!(world.agents[who].messages(), [("sue", b"one".as_slice()), ("sue", b"two")], "{who}");
    }
    nobody_is_blamed(&world);
}
