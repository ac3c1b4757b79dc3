//! One message of every kind with fixed keys, byte for byte. A change here is a change of the wire
//! format or of a key schedule: leaders and members of different builds would no longer understand each other.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::codec::encode;
use ringfort_protocol::coordination::{LifeRecord, Operation, SignedProposal};
use ringfort_protocol::data::Identity;
use ringfort_protocol::delivery::{Channel, Head, Receipt, RepairRequest, Since, StreamKey, Tail};
use ringfort_protocol::group::{LeaderSecrets, deal_group};
use ringfort_protocol::keys::{Base, TrackerOutput, ViewClaim, ViewTracker, view_point};
use ringfort_protocol::login::{
    AnnouncedKey, Certificate, Credential, Denial, EnrolmentRecord, Hardening, LoginAnswer, LoginClient, LoginRequest,
    LoginServer, LoginServerLink, Method, Registration, WireSignature, enrol_password,
};
use ringfort_protocol::motion::Motion;
use ringfort_protocol::policy::{Policy, Service};
use ringfort_protocol::roles::{Role, RoleRule};
use ringfort_protocol::sealed::{End, SealedChannel};
use ringfort_protocol::statement::Statement;
use ringfort_protocol::time::{Cx, Time};
use ringfort_protocol::unheard::{Doubt, Unheard};
use ringfort_protocol::view::{Cause, Change, MemberSet, SessionVerifyingKey, ViewHasher};
use ringfort_protocol::wire::{BUCKETS, Few, LeaderNotice, MemberRequest, PeerMessage, plain};
use ringfort_protocol::{
    Epoch, GroupInfo, Incarnation, LeaderId, MemberId, Rules, Seq, SessionNumber, UserName, ViewDigest, ViewId,
};

const RECORDED: &str = include_str!("golden.txt");

type Vectors = Vec<(&'static str, Vec<u8>)>;

#[test]
fn messages_are_as_recorded() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let recorded: BTreeMap<&str, &str> = RECORDED.lines().filter_map(|line| line.rsplit_once(": ")).collect();
    let made: BTreeMap<&str, String> = vectors().iter().map(|(name, bytes)| (*name, hex(bytes))).collect();
    // Shown if the test fails: the lines of the new file.
    made.iter().for_each(|(name, hex)| println!("{name}: {hex}"));
    for (name, hex) in &made {
        assert_eq!(recorded.get(name), Some(&hex.as_str()), "{name}");
    }
    assert_eq!(recorded.len(), made.len(), "every recorded message is still made");
}

#[test]
fn a_whole_list_of_classes_is_their_bytes_one_after_the_other() {
    let bytes = encode(&PeerMessage::Buckets((0..=255).map(|i| [i; 32]).collect()));
    let classes = (0..=255u8).flat_map(|i| [i; 32]);
    let expected: Vec<u8> = [3].into_iter().chain(256u32.to_le_bytes()).chain(classes).collect();
    assert_eq!(BUCKETS, 256);
    assert_eq!(bytes, expected);
}

fn vectors() -> Vectors {
    let fixed = Fixed::new();
    [
        fixed.login_messages(),
        fixed.login(),
        fixed.requests(),
        fixed.notices(),
        fixed.peers(),
        fixed.stored(),
        fixed.keys(),
    ]
    .concat()
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

fn leader(number: u8) -> LeaderId {
    LeaderId::new(number).unwrap()
}

/// A group and a member whose keys are always the same.
struct Fixed {
    group: GroupInfo,
    secrets: Vec<LeaderSecrets>,
    ana: Identity,
    signature: WireSignature,
    view: ViewId,
}

impl Fixed {
    fn new() -> Self {
        let policy = Policy { argon2_memory_kib: 8, argon2_passes: 1, ..Policy::default() };
        let addresses: Vec<String> = (1..=4).map(|i| format!("leader-{i}.example:4000")).collect();
        let rules = Rules::new(4, 1, 2).unwrap();
        let (group, secrets) = deal_group("golden", rules, &addresses, policy, &mut rng(1));
        let ana = Identity::generate(user("ana"), Incarnation(258), &mut rng(2));
        let signature = WireSignature(SigningKey::from_secret(&Secret32::new([3; 32])).sign("golden", &[b"x"]));
        let view = ViewId { epoch: Epoch(258), digest: ViewDigest([0xd1; 32]) };
        Fixed { group, secrets, ana, signature, view }
    }

    fn login_messages(&self) -> Vectors {
        let (signature, key) = (self.signature, self.ana.entry().signing);
        let authority = SigningKey::from_secret(&Secret32::new([4; 32]));
        let certificate = Certificate::issue(&self.group, 1, &authority, user("ana"), key, 1_800_000_000);
        let init = |method| {
            let asks = (method != Method::Password).then_some(signature);
            encode(&LoginRequest::Init { user: user("ana"), method, n1: [0x11; 32], asks })
        };
        let entry = self.ana.entry();
        let ack = |identity| {
            let (incarnation, signing, sealing) = (entry.id.incarnation, entry.signing, entry.sealing);
            let (n3, tag, possession) = ([0x13; 32], [0x7a; 32], signature);
            encode(&LoginRequest::Ack { n3, incarnation, signing, sealing, tag, possession, identity })
        };
        let key_dist =
            LoginAnswer::KeyDist { n2: [0x12; 32], last: [2, 1, 0, 0, 0, 0, 0, 0], tag: [0x7a; 32], signature };
        let denied = |reason| encode(&LoginAnswer::Denied { reason, signature });
        let key = AnnouncedKey(vec![[0xa1; 32], [0xa2; 32]]);
        vec![
            ("blind", encode(&LoginRequest::Blind { user: user("ana"), blinded: [0xb1; 32] })),
            ("init by password", init(Method::Password)),
            ("init by key", init(Method::Key)),
            ("init by certificate", init(Method::Certificate(certificate))),
            ("init by session key", init(Method::Session)),
            ("ack", ack(None)),
            ("ack with identity", ack(Some(signature))),
            ("evaluated", encode(&LoginAnswer::Evaluated { evaluation: [0xe5; 128], key })),
            ("key-dist", encode(&key_dist)),
            ("denied, not authentic", denied(Denial::NotAuthentic)),
            ("denied, expelled", denied(Denial::Expelled(Incarnation(258)))),
            ("denied, incarnation", denied(Denial::Incarnation(Incarnation(258)))),
            ("denied, throttled", denied(Denial::Throttled)),
            ("denied, full", denied(Denial::Full)),
            ("denied, closed", denied(Denial::Closed)),
            ("denied, outvoted", denied(Denial::Outvoted)),
            ("denied, no session", denied(Denial::NoSession(Incarnation(258)))),
            ("denied, unsettled", denied(Denial::Unsettled(Incarnation(258)))),
            ("plain frame", plain(&LoginRequest::Blind { user: user("a"), blinded: [0xb1; 32] }).to_vec()),
        ]
    }

    fn records(&self) -> Vec<EnrolmentRecord> {
        enrol_password(&self.group, &user("ana"), b"correct horse", &mut rng(9)).unwrap().records
    }

    fn registration(&self, place: usize) -> Registration {
        self.records()[place].open(&self.group, &self.secrets[place]).unwrap()
    }

    /// The password as leaders 1 and 2 harden it.
    fn hardened(&self) -> Credential {
        let mut hardening = Hardening::start(user("ana"), b"correct horse", &mut rng(12)).unwrap();
        let roots = [0, 1].map(|place| {
            let Registration::Password(stored) = self.registration(place) else { unreachable!() };
            let evaluation = stored.share().evaluate_blinded(&hardening.blinded(), &mut rng(13)).unwrap().to_bytes();
            hardening.on_evaluation(&self.group, self.secrets[place].id, &evaluation, stored.announced()).root
        });
        Credential::Password(roots.into_iter().flatten().next().unwrap().0)
    }

    /// A real login at leader 1, and the first frame each way under its session key.
    fn login(&self) -> Vectors {
        let (group, secrets) = (&self.group, &self.secrets[0]);
        let (credential, exporter) = (self.hardened(), [6; 32]);
        let mut server = LoginServer::new(group);
        server.register(user("ana"), self.registration(0));
        let mut draws = rng(7);
        let mut cx = Cx { now: Time::ZERO, unix_ms: 0, rng: &mut draws };
        let mut link = LoginServerLink::default();

        let ana = user("ana");
        let (mut client, init) = LoginClient::start(group, leader(1), exporter, &ana, &credential, &mut rng(8));
        let LoginRequest::Init { user: name, method, n1, asks } = init.clone() else { unreachable!() };
        let message = (name, method, n1, asks);
        let last = Incarnation(257);
        let answer = server.on_init(&mut cx, group, secrets, &mut link, &exporter, last, message).unwrap();
        client.on_answer(group, &answer).unwrap();
        let (ack, mut channel) = client.acknowledge(group, &credential, &self.ana, &mut rng(10)).unwrap();
        let members = MemberSet::default();
        let mut authenticated =
            server.on_ack(&cx, group, secrets, &mut link, &exporter, &ack, &members).map_err(|_| ()).unwrap();
        vec![
            ("a login: init", encode(&init)),
            ("a login: key-dist", encode(&answer)),
            ("a login: ack", encode(&ack)),
            ("a login: sealed up", channel.seal(b"up").to_vec()),
            ("a login: sealed down", authenticated.channel.seal(b"down").to_vec()),
        ]
    }

    fn repair(&self) -> RepairRequest {
        let sender = self.ana.id.clone();
        RepairRequest::new(StreamKey { sender, channel: Channel::Group(Service::Fifo) }, Seq(258), Seq(259)).unwrap()
    }

    fn head(&self) -> Head {
        let (channel, since) = (Channel::Private(user("bo")), Since::Stay(Incarnation(258)));
        Head { channel, since, start: Seq(1), next: Seq(259), kept: Seq(3) }
    }

    fn requests(&self) -> Vectors {
        let (challenge, answer) = ([0xc1; 16], [0xa1; 16]);
        let beat = |installed| encode(&MemberRequest::Heartbeat { challenge, answer, installed });
        let key = Secret32::new([7; 32]);
        let mut member = SealedChannel::new(&key, End::Member);
        let mut leader = SealedChannel::new(&key, End::Leader);
        vec![
            ("heartbeat", beat(Some(self.view))),
            ("first heartbeat", beat(None)),
            ("ask for claim", encode(&MemberRequest::Claim { have: Some(self.view.digest) })),
            ("ask for successions", encode(&MemberRequest::Successions(258))),
            ("ask a service", encode(&MemberRequest::Service(vec![1, 3, 5]))),
            ("ask for past claim", encode(&MemberRequest::PastClaim(self.view.digest))),
            ("ask for list", encode(&MemberRequest::Snapshot { view: self.view.digest, after: None })),
            ("ask for more", encode(&MemberRequest::Snapshot { view: self.view.digest, after: Some(user("ana")) })),
            ("repair", encode(&MemberRequest::Repair(self.repair()))),
            ("heads", encode(&MemberRequest::Heads { heads: Few::new(vec![self.head()]).unwrap(), complete: true })),
            ("leave", encode(&MemberRequest::Leave)),
            ("vote", encode(&MemberRequest::Vote { motion: Motion::expel(user("b")), yes: true })),
            ("accuse", encode(&MemberRequest::Accuse(vec![1, 3, 5]))),
            ("ask for fates", encode(&MemberRequest::Fates(vec![self.ana.id.clone()]))),
            ("sealed leave", member.seal(&encode(&MemberRequest::Leave)).to_vec()),
            ("sealed by the leader", leader.seal(b"x").to_vec()),
            ("sealed by the leader, second", leader.seal(b"x").to_vec()),
        ]
    }

    fn notices(&self) -> Vectors {
        let entry = self.ana.entry();
        let changes = vec![Change::Added(entry.clone()), Change::Removed(user("bo"), Cause::Expelled)];
        let (view, digest) = (self.view, self.view.digest);
        let statement = Statement::sign(&self.secrets[0], &self.group, view, 3, 1_800_000_000_000);
        let (refreshes, share) = (3, [0x5e; 128]);
        let claim = |base| ViewClaim { number: 258, view, refreshes, base, changes: changes.clone(), share, statement };
        let snapshot =
            LeaderNotice::Snapshot { view: digest, after: Some(user("al")), entries: vec![entry], last: true };
        let answer = LeaderNotice::HeartbeatAnswer { answer: [0xa1; 16], challenge: [0xc1; 16], view };
        let id = self.ana.id.clone();
        let tails = vec![Tail::Stream(id.clone(), self.head()), Tail::Complete(id)];
        let receipt = Receipt { channel: Channel::Group(Service::Reliable), first: Seq(2), last: Seq(258) };
        let past = ViewClaim { changes: vec![], ..claim(Base::Omitted) };
        vec![
            ("claim", encode(&LeaderNotice::Claim(claim(Base::Empty)))),
            ("claim from a view", encode(&LeaderNotice::Claim(claim(Base::View(digest))))),
            ("past claim", encode(&LeaderNotice::PastClaim(past))),
            ("list", encode(&snapshot)),
            ("heartbeat answer", encode(&answer)),
            ("wanted", encode(&LeaderNotice::Wanted(self.repair()))),
            ("ended", encode(&LeaderNotice::Ended { cause: Cause::Lost, epoch: Epoch(258) })),
            ("ended, expired", encode(&LeaderNotice::Ended { cause: Cause::Expired, epoch: Epoch(258) })),
            ("asked", encode(&LeaderNotice::Asked { motion: Motion::admit(user("b")), left_ms: 258 })),
            ("ended, elsewhere", encode(&LeaderNotice::Ended { cause: Cause::Elsewhere, epoch: Epoch(258) })),
            ("tails", encode(&LeaderNotice::Tails(Few::new(tails).unwrap()))),
            ("received", encode(&LeaderNotice::Received(Few::new(vec![receipt]).unwrap()))),
            ("fates", encode(&LeaderNotice::Fates { over: vec![(self.ana.id.clone(), Cause::Lost)], open: vec![] })),
            ("ended, session", encode(&LeaderNotice::Ended { cause: Cause::SessionOver, epoch: Epoch(258) })),
            ("generation", encode(&LeaderNotice::Generation(258))),
            ("service answer", encode(&LeaderNotice::Service(vec![2, 4]))),
            ("no successions", encode(&LeaderNotice::Successions(Few::new(vec![]).unwrap()))),
        ]
    }

    fn proposal(&self, operation: Operation, accepted: bool) -> Vec<u8> {
        let session = self.group.session();
        let proposal = SignedProposal::sign(&self.secrets[1].signing, leader(2), session, operation, accepted);
        encode(&PeerMessage::Proposals(vec![proposal]))
    }

    fn peers(&self) -> Vectors {
        let id: MemberId = self.ana.id.clone();
        vec![
            ("propose join", self.proposal(Operation::Join(self.ana.entry()), false)),
            ("accepted removal", self.proposal(Operation::Remove(id, Cause::Expelled), true)),
            ("propose refresh", self.proposal(Operation::Refresh(258), false)),
            ("propose session", self.proposal(Operation::Session(258), false)),
            ("status", encode(&PeerMessage::Status([0x57; 32]))),
            ("no classes", encode(&PeerMessage::Buckets(vec![]))),
            (
                "unheard",
                encode(&PeerMessage::Unheard(Unheard::sign(
                    &self.secrets[1].signing,
                    leader(2),
                    self.group.session(),
                    258,
                    vec![self.ana.id.clone()],
                    vec![Doubt { stay: self.ana.id.clone(), life: 259, lost: true, found: false }],
                ))),
            ),
        ]
    }

    /// What is kept on disk or sent by other means.
    fn stored(&self) -> Vectors {
        let votes = vec![Operation::Remove(self.ana.id.clone(), Cause::Left)];
        let life = LifeRecord { barred: true, votes, ..LifeRecord::of(Operation::Join(self.ana.entry())) };
        let SessionVerifyingKey(key) = self.ana.entry().signing;
        vec![
            ("life record", encode(&life)),
            ("key record", encode(&LifeRecord::of(Operation::Refresh(258)))),
            ("session record", encode(&LifeRecord::of(Operation::Session(258)))),
            ("enrolment record", encode(&self.records()[0])),
            ("stored password", self.registration(0).to_bytes().to_vec()),
            ("stored key", Registration::Key(key).to_bytes().to_vec()),
            ("policy", self.group.policy.to_bytes()),
            ("policy with roles", self.with_roles().to_bytes()),
        ]
    }

    fn with_roles(&self) -> Policy {
        let rule = |(users, role): (&str, Role)| RoleRule { users: users.parse().unwrap(), role };
        let rules =
            [("press-*", Role::Receiver), ("wire", Role::Sender), ("vault", Role::Archive), ("*", Role::Member)];
        Policy { roles: rules.map(rule).to_vec(), ..self.group.policy.clone() }
    }

    /// What is hashed and derived: group, session, view and key.
    fn keys(&self) -> Vectors {
        let mut members = MemberSet::default();
        members.insert(self.ana.entry());
        members.insert(Identity::generate(user("bo"), Incarnation(1), &mut rng(11)).entry());
        let session = self.group.session();
        let view = ViewHasher::new(&self.group, session).view_id(Epoch(258), 3, members.hash());
        let point = view_point(&self.group, session, view, 3);
        let mut tracker = ViewTracker::new(&self.group, self.ana.id.clone());
        let changes: Vec<_> = members.iter().cloned().map(Change::Added).collect();
        let mut outputs = Vec::new();
        for secrets in &self.secrets[..2] {
            let share = secrets.group_share.evaluate(&point, &mut rng(12)).to_bytes();
            let statement = Statement::sign(secrets, &self.group, view, 3, 0);
            let (base, changes) = (Base::Empty, changes.clone());
            let claim = ViewClaim { number: 1, view, refreshes: 3, base, changes, share, statement };
            outputs = tracker.on_claim(&self.group, secrets.id, claim);
        }
        let Some(TrackerOutput::Installed { key: Some(key), .. }) = outputs.pop() else { panic!("not installed") };
        vec![
            ("group id", self.group.id().0.to_vec()),
            ("session id", session.0.to_vec()),
            ("session id, second", self.group.session_of(SessionNumber::new(2).unwrap()).0.to_vec()),
            ("view digest", view.digest.0.to_vec()),
            ("group key", key.expose().to_vec()),
        ]
    }
}
