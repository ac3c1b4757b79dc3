//! The symbolic login is tied to the real one: what the model takes for impossible, the real code refuses.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::data::Identity;
use ringfort_protocol::group::{GroupInfo, LeaderSecrets, deal_group};
use ringfort_protocol::login::{
    Credential, LoginAnswer, LoginClient, LoginRequest, LoginServer, LoginServerLink, Registration,
};
use ringfort_protocol::time::Cx;
use ringfort_protocol::view::MemberSet;
use ringfort_protocol::{Incarnation, LeaderId, Policy, Rules, Time, UserName};

struct Room {
    group: GroupInfo,
    secrets: Vec<LeaderSecrets>,
    servers: Vec<LoginServer>,
    ana: Credential,
    rng: ChaCha12Rng,
}

fn ana() -> UserName {
    "ana".parse().unwrap()
}

impl Room {
    fn new() -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let addresses: Vec<String> = (1..=4).map(|i| format!("leader-{i}:1")).collect();
        let rules = Rules::new(4, 1, 2).unwrap();
        let (group, secrets) = deal_group("tie", rules, &addresses, Policy::default(), &mut rng);
        let key = SigningKey::generate(&mut rng);
        let mut servers: Vec<LoginServer> = secrets.iter().map(|_| LoginServer::new(&group)).collect();
        for server in &mut servers {
            server.register(ana(), Registration::Key(key.verifying_key()));
        }
        Room { group, secrets, servers, ana: Credential::Key(key), rng }
    }

    /// A leader's answer to message 1 on a link.
    fn init(
        &mut self,
        leader: usize,
        link: &mut LoginServerLink,
        exporter: [u8; 32],
        init: &LoginRequest,
    ) -> LoginAnswer {
        let LoginRequest::Init { user, method, n1, asks } = init.clone() else { unreachable!() };
        let mut cx = Cx { now: Time::ZERO, unix_ms: 0, rng: &mut self.rng };
        let secrets = &self.secrets[leader];
        let message = (user, method, n1, asks);
        self.servers[leader].on_init(&mut cx, &self.group, secrets, link, &exporter, Incarnation(0), message).unwrap()
    }

    /// Whether a leader takes message 3 on a link.
    fn ack(&mut self, leader: usize, link: &mut LoginServerLink, exporter: [u8; 32], ack: &LoginRequest) -> bool {
        let cx = Cx { now: Time::ZERO, unix_ms: 0, rng: &mut self.rng };
        let (secrets, nobody) = (&self.secrets[leader], MemberSet::default());
        self.servers[leader].on_ack(&cx, &self.group, secrets, link, &exporter, ack, &nobody).is_ok()
    }

    fn start(&mut self, leader: u8, exporter: [u8; 32]) -> (LoginClient, LoginRequest) {
        let id = LeaderId::new(leader).unwrap();
        LoginClient::start(&self.group, id, exporter, &ana(), &self.ana, &mut self.rng)
    }

    fn acknowledge(&mut self, client: &LoginClient, stay: u64) -> LoginRequest {
        let me = Identity::generate(ana(), Incarnation(stay), &mut self.rng);
        client.acknowledge(&self.group, &self.ana, &me, &mut self.rng).unwrap().0
    }
}

const LINK: [u8; 32] = [1; 32];
const OTHER_LINK: [u8; 32] = [2; 32];

#[test]
fn a_true_login_is_taken_once() {
    let mut room = Room::new();
    let (mut client, init) = room.start(1, LINK);
    let mut link = LoginServerLink::default();
    let answer = room.init(0, &mut link, LINK, &init);
    client.on_answer(&room.group, &answer).unwrap();
    let ack = room.acknowledge(&client, 1);
    assert!(room.ack(0, &mut link, LINK, &ack));
    assert!(!room.ack(0, &mut link, LINK, &ack), "`Act::Authenticate` ends a link's login");
}

/// Where the model's attacker would have to make a tag or a signature, the real leader refuses what was seen.
#[test]
fn what_was_seen_in_one_login_is_good_for_no_other() {
    let mut room = Room::new();
    let (mut client, init) = room.start(1, LINK);
    let mut link = LoginServerLink::default();
    let answer = room.init(0, &mut link, LINK, &init);
    client.on_answer(&room.group, &answer).unwrap();
    let ack = room.acknowledge(&client, 1);
    // The transcript has the leader and the exporter value, and what is signed has N2.
    for (what, leader, exporter) in
        [("another nonce N2", 0, LINK), ("another link", 0, OTHER_LINK), ("another leader", 1, LINK)]
    {
        let mut again = LoginServerLink::default();
        let _ = room.init(leader, &mut again, exporter, &init);
        assert!(!room.ack(leader, &mut again, exporter, &ack), "{what}");
    }
    // What is signed has the stay and its keys.
    let LoginRequest::Ack { n3, signing, sealing, tag, possession, identity, .. } = ack else { unreachable!() };
    let older = LoginRequest::Ack { n3, incarnation: Incarnation(2), signing, sealing, tag, possession, identity };
    assert!(!room.ack(0, &mut link, LINK, &older), "another stay");
}

#[test]
fn an_answer_of_another_login_or_leader_is_not_taken_by_the_member() {
    let mut room = Room::new();
    let (mut client, init) = room.start(1, LINK);
    let answers = [("another leader", 1, LINK), ("another link", 0, OTHER_LINK)];
    for (what, leader, exporter) in answers {
        let answer = room.init(leader, &mut LoginServerLink::default(), exporter, &init);
        assert!(client.on_answer(&room.group, &answer).is_err(), "{what}");
    }
    let (_, other) = room.start(1, LINK);
    let answer = room.init(0, &mut LoginServerLink::default(), LINK, &other);
    assert!(client.on_answer(&room.group, &answer).is_err(), "another nonce N1");
}

#[test]
fn the_rules_of_the_model_are_those_of_the_protocol() {
    let rules = Rules::new(4, 1, 2).unwrap();
    assert_eq!((rules.amplify(), rules.accept(), rules.catch_up(), rules.key_threshold()), (2, 3, 2, 2));
    assert!(Rules::new(4, 1, 1).is_err(), "f leaders alone never make the key");
}
