//! Tests of login: who gets in, who does not, and what nobody can tell or alter on the way.

mod asking;
mod credentials;
mod enrolment;
mod hardening;
mod tampering;

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;

use super::*;
use crate::codec::{decode, encode};
use crate::data::Identity;
use crate::fault::Fault;
use crate::group::LeaderSecrets;
use crate::ids::Incarnation;
use crate::sealed::SealedChannel;
use crate::testing::{group_of, group_of_four, identity, leader, quick_policy, rng, user};
use crate::time::{Cx, Time};
use crate::view::MemberSet;

const UNIX_S: u64 = 1_800_000_000;

/// Leaders of one group, each with its login room.
struct Room {
    group: GroupInfo,
    secrets: Vec<LeaderSecrets>,
    servers: Vec<LoginServer>,
    /// What users with passwords have prepared for their leaders.
    records: BTreeMap<String, Vec<EnrolmentRecord>>,
    admitted: MemberSet,
    now: Time,
    rng: ChaCha20Rng,
}

/// One login, as the member sees it; by default the leader sees the same.
struct Attempt<'a> {
    user: &'a str,
    credential: &'a Credential,
    leader: u8,
    exporter: [u8; 32],
    /// The stay; drawn here unless given.
    me: Option<Identity>,
    /// The group as the member knows it, if it is another.
    group: Option<&'a GroupInfo>,
    /// What arrives instead of message 1, 2 or 3.
    alter: &'a mut dyn FnMut(u8, Vec<u8>) -> Vec<u8>,
}

/// Where a login stopped.
#[derive(Debug, PartialEq)]
enum Stopped {
    AtMember(LoginFailure),
    AtLeader(Denial),
    /// The bytes were no message, or none that was expected.
    Unread,
}

type Outcome = Result<(SealedChannel, Authenticated), Stopped>;

fn unaltered(_: u8, bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

impl Room {
    fn new() -> Self {
        Room::of(group_of_four())
    }

    fn of((group, secrets): (GroupInfo, Vec<LeaderSecrets>)) -> Self {
        let servers = secrets.iter().map(|_| LoginServer::new(&group)).collect();
        let (records, admitted) = (BTreeMap::new(), MemberSet::default());
        Room { group, secrets, servers, records, admitted, now: Time::ZERO, rng: rng(1) }
    }

    fn server(&mut self, number: u8) -> &mut LoginServer {
        &mut self.servers[usize::from(number) - 1]
    }

    /// Registers a user at all leaders: by password as it was prepared, or by key.
    fn register(&mut self, name: &str, credential: &Credential) {
        let records = match credential.signing_key() {
            Some(key) => enrol_key(&self.group, &user(name), &key.verifying_key(), &mut self.rng).records,
            None => self.records[name].clone(),
        };
        self.accept(records);
    }

    /// The operators of these leaders accept their records.
    fn accept(&mut self, records: impl IntoIterator<Item = EnrolmentRecord>) {
        for record in records {
            let place = usize::from(record.leader.number()) - 1;
            let registration = record.open(&self.group, &self.secrets[place]).unwrap();
            self.servers[place].register(record.user, registration);
        }
    }

    /// Asks one leader for an evaluation over a link of its own.
    fn blind(&mut self, number: u8, name: &str, blinded: [u8; 32]) -> Result<LoginAnswer, Fault> {
        self.blind_on(&mut LoginServerLink::default(), number, name, blinded)
    }

    fn blind_on(
        &mut self,
        link: &mut LoginServerLink,
        number: u8,
        name: &str,
        blinded: [u8; 32],
    ) -> Result<LoginAnswer, Fault> {
        let place = usize::from(number) - 1;
        let mut cx = Cx { now: self.now, unix_ms: UNIX_S * 1000, rng: &mut self.rng };
        let (server, secrets) = (&mut self.servers[place], &self.secrets[place]);
        server
            .on_blind(&mut cx, &self.group, secrets, link, &exporter(number), &user(name), blinded)
            .map(|(answer, _)| answer)
    }

    /// Whether a leader says that it knows no password of that name.
    fn refuses(&mut self, number: u8, name: &str, blinded: [u8; 32]) -> bool {
        let answer = self.blind(number, name, blinded);
        matches!(answer, Ok(LoginAnswer::Denied { reason: Denial::NotAuthentic, .. }))
    }

    /// Hardens a password with the leaders of these numbers.
    fn harden(&mut self, name: &str, password: &[u8], numbers: &[u8]) -> Option<Credential> {
        let mut hardening = Hardening::start(user(name), password, &mut self.rng).unwrap();
        let blinded = hardening.blinded().0;
        numbers.iter().find_map(|number| {
            let Ok(LoginAnswer::Evaluated { evaluation, key }) = self.blind(*number, name, blinded) else {
                return None;
            };
            let hardened = hardening.on_evaluation(&self.group, leader(*number), &evaluation, &key);
            assert!(hardened.caught.is_empty(), "honest leaders are not caught");
            hardened.root.map(|(root, _)| Credential::Password(root))
        })
    }

    /// A registered user with a password.
    fn with_password(&mut self, name: &str, password: &[u8]) -> Credential {
        let enough: Vec<u8> = (1..=self.group.rules.f() + 1).collect();
        let records = enrol_password(&self.group, &user(name), password, &mut self.rng).unwrap().records;
        self.records.insert(name.to_owned(), records.clone());
        self.accept(records);
        self.harden(name, password, &enough).unwrap()
    }

    /// An honest login at one leader.
    fn login(&mut self, number: u8, name: &str, credential: &Credential) -> Outcome {
        let exporter = exporter(number);
        self.attempt(Attempt { leader: number, exporter, ..Attempt::of(name, credential, &mut unaltered) })
    }

    /// One whole login at leader `attempt.leader`, whose link has the exporter value of that leader.
    fn attempt(&mut self, attempt: Attempt<'_>) -> Outcome {
        let number = attempt.leader;
        self.attempt_at(number, exporter(number), attempt)
    }

    /// One whole login; what the member meant for one leader and link arrives at another.
    fn attempt_at(&mut self, number: u8, at_exporter: [u8; 32], attempt: Attempt<'_>) -> Outcome {
        let Attempt { user: name, credential, leader: to, exporter, me, group, alter } = attempt;
        let place = usize::from(number) - 1;
        let (server, secrets) = (&mut self.servers[place], &self.secrets[place]);
        let known = group.unwrap_or(&self.group);
        let mut link = LoginServerLink::default();

        let (mut client, init) =
            LoginClient::start(known, leader(to), exporter, &user(name), credential, &mut self.rng);
        let LoginRequest::Init { user: claimed, method, n1, asks } = read(&alter(1, encode(&init)))? else {
            return Err(Stopped::Unread);
        };
        let mut cx = Cx { now: self.now, unix_ms: UNIX_S * 1000, rng: &mut self.rng };
        let message = (claimed, method, n1, asks);
        let answer =
            server.on_init(&mut cx, &self.group, secrets, &mut link, &at_exporter, Incarnation(0), message).unwrap();
        let answer: LoginAnswer = read(&alter(2, encode(&answer)))?;
        client.on_answer(known, &answer).map_err(Stopped::AtMember)?;

        let me = me.unwrap_or_else(|| identity(name, 1));
        let (ack, channel) = client.acknowledge(known, credential, &me, cx.rng).unwrap();
        let ack: LoginRequest = read(&alter(3, encode(&ack)))?;
        match server.on_ack(&cx, &self.group, secrets, &mut link, &at_exporter, &ack, &self.admitted) {
            Ok(authenticated) => Ok((channel, authenticated)),
            Err((_, Some(denial))) => match client.on_answer(known, &denial) {
                Err(LoginFailure::Denied(reason)) => Err(Stopped::AtLeader(reason)),
                other => panic!("a leader's denial is genuine: {other:?}"),
            },
            Err((_, None)) => Err(Stopped::Unread),
        }
    }
}

impl<'a> Attempt<'a> {
    fn of(user: &'a str, credential: &'a Credential, alter: &'a mut dyn FnMut(u8, Vec<u8>) -> Vec<u8>) -> Attempt<'a> {
        Attempt { user, credential, leader: 1, exporter: exporter(1), me: None, group: None, alter }
    }
}

/// The exporter value of the link to a leader.
fn exporter(number: u8) -> [u8; 32] {
    [number; 32]
}

fn read<T: borsh::BorshDeserialize>(bytes: &[u8]) -> Result<T, Stopped> {
    decode(bytes).map_err(|_| Stopped::Unread)
}

/// Whether both ends of a login speak under the same key.
fn speak(room: &Room, outcome: Outcome) {
    let (mut member, mut authenticated) = outcome.unwrap();
    let frame = member.seal(b"up");
    assert_eq!(authenticated.channel.open(&room.group.rules, &frame).unwrap(), b"up");
    let frame = authenticated.channel.seal(b"down");
    assert_eq!(member.open(&room.group.rules, &frame).unwrap(), b"down");
}

fn denied(outcome: Outcome) -> bool {
    outcome.err() == Some(Stopped::AtLeader(Denial::NotAuthentic))
}
