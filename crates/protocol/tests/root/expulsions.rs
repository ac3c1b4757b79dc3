//! Whoever is expelled is out, whatever logins it left with leaders before.

use std::time::Duration;

use ringfort_protocol::coordination::{LifeRecord, Operation, SignedProposal};
use ringfort_protocol::data::Identity;
use ringfort_protocol::leader::{Command, Effect, Event};
use ringfort_protocol::login::{Credential, LoginAnswer, LoginClient, Registration};
use ringfort_protocol::policy::{MembersVote, Policy};
use ringfort_protocol::time::Cx;
use ringfort_protocol::view::Cause;
use ringfort_protocol::wire::{self, PeerMessage, Sorted};
use ringfort_protocol::{Incarnation, LinkId, leader, member};

use crate::harness::{World, dealt, key_of, leader_id, user};

/// Ana, Bo and Mal, who is disliked; more than half of the voters decide.
fn joined() -> World {
    let vote = MembersVote { percent: 50, wait_s: 10, silence_is_yes: false };
    let policy = Policy { expulsion_vote: Some(vote), ..Policy::default() };
    let mut world = World::with_policy(policy, &["ana", "bo", "mal"]);
    for name in ["ana", "bo", "mal"] {
        world.start(name);
    }
    world.pass(Duration::from_secs(3));
    assert_eq!(world.agents[0].names(), ["ana", "bo", "mal"]);
    world
}

impl World {
    /// Mal logs in at one leader alone, for a stay that he names.
    fn mal_logs_in_at(&mut self, number: u8, stay: u64) -> Identity {
        let me = self.tries_to_log_in_at("mal", number, stay);
        let came = self.leader_events.iter().rev().find(|(_, event)| matches!(event, Event::Authenticated(_)));
        assert!(came.is_some_and(|(_, event)| matches!(event, Event::Authenticated(id) if *id == me.id)));
        me
    }

    /// A user logs in at one leader alone, with keys of its own making.
    pub fn tries_to_log_in_at(&mut self, name: &str, number: u8, stay: u64) -> Identity {
        let me = Identity::generate(user(name), Incarnation(stay), &mut self.rng);
        let (id, link) = (leader_id(number), LinkId(1_000_000 + 1_000 * u64::from(number) + stay));
        let (exporter, credential) = ([number; 32], Credential::Key(key_of(name)));
        let (mut client, request) =
            LoginClient::start(&self.group, id, exporter, &user(name), &credential, &mut self.rng);
        self.leaders.get_mut(&id).unwrap().on_link_up(link, exporter);
        let step = self.mal_says(number, link, &wire::plain(&request));
        let answer = step.effects.iter().find_map(|effect| match effect {
            Effect::Send(to, _, frame) if *to == link => Some(frame.clone()),
            _ => None,
        });
        let answer = answer.expect("an answer");
        let Ok(Sorted::Plain(body)) = wire::sort(&answer) else { panic!("not plain") };
        let answer: LoginAnswer = wire::decode_plain(body).unwrap();
        client.on_answer(&self.group, &answer).unwrap();
        let (request, _) = client.acknowledge(&self.group, &credential, &me, &mut self.rng).unwrap();
        let step = self.mal_says(number, link, &wire::plain(&request));
        self.carry_out_leader(id, step);
        self.deliver();
        me
    }

    fn mal_says(&mut self, number: u8, link: LinkId, frame: &bytes::Bytes) -> leader::Step {
        let cx = &mut Cx { now: self.now, unix_ms: 0, rng: &mut self.rng };
        self.leaders.get_mut(&leader_id(number)).unwrap().on_member_frame(cx, link, frame)
    }

    fn next_stay_of_mal(&self) -> u64 {
        self.agents[2].member.id().unwrap().incarnation.0 + 1
    }
}

#[test]
fn who_logs_in_often_at_single_leaders_is_expelled_by_the_members_all_the_same() {
    let mut world = joined();
    let next = world.next_stay_of_mal();
    for number in 1..=4 {
        for stay in 0..4 {
            world.mal_logs_in_at(number, next + 8 * u64::from(number) + stay);
        }
    }
    world.vote(0, "mal", true);
    world.vote(1, "mal", true);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.agents[0].names(), ["ana", "bo"]);
}

#[test]
fn who_logs_in_often_at_single_leaders_is_expelled_by_f_plus_1_operators_all_the_same() {
    let mut world = joined();
    let next = world.next_stay_of_mal();
    for number in 1..=4 {
        for stay in 0..4 {
            world.mal_logs_in_at(number, next + 8 * u64::from(number) + stay);
        }
    }
    for number in [2, 4] {
        world.command(number, Command::Expel(user("mal"))).unwrap();
    }
    world.pass(Duration::from_secs(3));
    assert_eq!(world.agents[0].names(), ["ana", "bo"]);
}

#[test]
fn whom_the_members_expelled_a_hacked_leader_does_not_bring_back_for_good_with_an_old_login() {
    let mut world = joined();
    let next = world.next_stay_of_mal();
    // Leader 1 is hacked. Mal logs in once more, at leader 2 alone.
    let me = world.mal_logs_in_at(2, next);
    world.vote(0, "mal", true);
    world.vote(1, "mal", true);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.agents[0].names(), ["ana", "bo"]);
    let key = &dealt().1[0].signing;
    let said = SignedProposal::sign(key, leader_id(1), world.group.session(), Operation::Join(me.entry()), false);
    for to in [2, 3, 4] {
        world.say(1, to, &wire::plain(&PeerMessage::Proposals(vec![said.clone()])));
    }
    world.pass(Duration::from_secs(5));
    assert_eq!(world.agents[0].names(), ["ana", "bo"], "mal is back");
    assert!(world.agents[0].member.confirmation().is_current());
}

#[test]
fn votes_that_leaders_cannot_tell_each_other_are_no_storm_and_blame_nobody() {
    let mut world = joined();
    world.mute.extend((1..=4).map(leader_id));
    world.vote(0, "mal", true);
    world.vote(1, "mal", true);
    world.pass(Duration::from_secs(5));
    let of = |what: fn(&Event) -> bool| world.leader_events.iter().filter(|(_, event)| what(event)).count();
    assert_eq!(of(|event| matches!(event, Event::MotionDecided(..))), 4, "once at each leader");
    assert_eq!(of(|event| matches!(event, Event::Blamed(..))), 0);
}

#[test]
fn one_users_logins_do_not_make_honest_leaders_cut_each_other_off() {
    let mut world = joined();
    let next = world.next_stay_of_mal();
    let before = world.leader_events.len();
    for second in 0..5 {
        for login in 0..700 {
            world.tries_to_log_in_at("mal", 2, next + 700 * second + login);
        }
        world.pass(Duration::from_secs(1));
    }
    let cut = world.leader_events[before..].iter().filter(|(_, event)| matches!(event, Event::CutOff(..)));
    assert_eq!(cut.count(), 0);
    let in_again = world.leader_events[before..].iter().filter(|(_, event)| matches!(event, Event::Authenticated(_)));
    assert!(in_again.count() < 150, "most are told to wait");
    assert_eq!(world.agents[0].names().len(), 3);
}

#[test]
fn an_earlier_expulsion_that_a_leader_knows_of_which_is_behind_ends_no_later_stay() {
    let mut world = World::joined(&["ana", "ben"]);
    let first = world.agents[1].member.id().unwrap().clone();
    for number in [1, 2] {
        world.command(number, Command::Expel(user("ben"))).unwrap();
    }
    world.pass(Duration::from_secs(2));
    assert!(world.agents[1].member.has_ended());
    // Ben is taken back. Leader 4 hears nothing of it for a while.
    world.kept_from.extend([1, 2, 3].map(|from| (leader_id(from), leader_id(4))));
    for number in 1..=3 {
        let registration = Registration::Key(key_of("ben").verifying_key());
        world.command(number, Command::Register(user("ben"), registration)).unwrap();
    }
    let again = world.start("ben");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.agents[again].names(), ["ana", "ben"]);
    // Leader 3 is hacked, and says that he is still out.
    let mut life = LifeRecord::of(Operation::Remove(first, Cause::Expelled));
    life.barred = true;
    world.mute.insert(leader_id(3));
    world.kept_from.extend([1, 2, 4].map(|from| (leader_id(from), leader_id(3))));
    world.restart_with(3, Some(life));
    world.pass(Duration::from_secs(3));
    let ended = world.agents[again].events.iter().find(|event| matches!(event, member::Event::Ended(_)));
    assert!(ended.is_none(), "{ended:?}");
    world.mute.clear();
    world.let_through();
    world.pass(Duration::from_secs(3));
    assert_eq!(world.agents[0].names(), ["ana", "ben"]);
}
