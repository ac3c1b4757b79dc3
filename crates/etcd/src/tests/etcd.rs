//! The same programs for the front and for etcd itself, which have to answer the same.
//!
//! etcd is Debian's (`apt-get install etcd-server`); without it the test is skipped, and says so. With `RINGFORT_ETCD=required` it
//! fails then. `RINGFORT_ETCD_SEED` plays one program again, `RINGFORT_ETCD_PROGRAMS` says how many there are.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::error::Refusal;
use crate::pb::{by, is, of, order};

use super::*;

/// Requests of one program.
const STEPS: usize = 120;
const PROGRAMS: u64 = 6;

/// A server of etcd, with an empty store.
struct Etcd {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Etcd {
    async fn start() -> Option<Self> {
        let (folder, address, peers) = (tempfile::tempdir().unwrap(), free(), free());
        let (clients, peers) = (format!("http://{address}"), format!("http://{peers}"));
        let mut command = Command::new("etcd");
        command.args(["--data-dir", folder.path().join("etcd").to_str().unwrap()]);
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}"), "--unsafe-no-fsync"]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        if let Err(error) = &process {
            let required = std::env::var("RINGFORT_ETCD").is_ok_and(|wanted| wanted == "required");
            assert!(!required, "etcd is required and does not start: {error}");
            eprintln!("SKIPPED: there is no etcd on this machine ({error}); apt-get install etcd-server");
        }
        let etcd = Etcd { process: process.ok()?, address, _folder: folder };
        let begun = Instant::now();
        loop {
            if let Ok(channel) = Endpoint::from_shared(clients.clone()).unwrap().connect().await {
                let client = Client { channel, token: None };
                if client.range(range("a")).await.is_ok() {
                    return Some(etcd);
                }
            }
            assert!(begun.elapsed() < DEADLINE, "etcd does not answer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Range(pb::RangeRequest),
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Grant(i64, i64),
    Revoke(i64),
    TimeToLive(i64),
    Leases,
    Compact(i64),
    KeepAlive(i64),
    Leader,
    Proclaim(pb::LeaderKey),
    Resign(pb::LeaderKey),
    Unlock(Vec<u8>),
}

/// What came of a step, without what differs from server to server.
async fn play(client: &Client, step: Step) -> String {
    let told = |status: Status| format!("{:?}: {}", status.code(), status.message());
    let none = |header: &mut Option<pb::Header>| header.as_mut().map_or(0, |header| std::mem::take(header).revision);
    match step {
        Step::Range(asked) => {
            let sorted = asked.sort_target;
            client
                .range(asked)
                .await
                .map_or_else(told, |mut found| format!("{} {:?}", none(&mut found.header), in_any_order(found, sorted)))
        }
        Step::Put(asked) => client
            .put(asked)
            .await
            .map_or_else(told, |mut done| format!("{} {:?}", none(&mut done.header), done.prev_kv)),
        Step::Delete(asked) => client
            .delete(asked)
            .await
            .map_or_else(told, |mut done| format!("{} {} {:?}", none(&mut done.header), done.deleted, done.prev_kvs)),
        Step::Txn(asked) => client.txn(asked).await.map_or_else(told, |mut done| {
            let answers: Vec<String> = done.responses.iter().cloned().map(answer).collect();
            format!("{} {} {answers:?}", none(&mut done.header), done.succeeded)
        }),
        Step::Grant(id, ttl) => {
            client.grant(id, ttl).await.map_or_else(told, |done| format!("{} {}", done.id, done.ttl))
        }
        Step::Revoke(id) => client.revoke(id).await.map_or_else(told, |mut done| format!("{}", none(&mut done.header))),
        Step::TimeToLive(id) => client.time_to_live(id, true).await.map_or_else(told, |mut done| {
            done.keys.sort();
            format!("{} {} {:?}", done.ttl > 0, done.granted_ttl, done.keys)
        }),
        Step::Leases => {
            let found =
                client.ask::<_, pb::LeaseLeasesResponse>("/etcdserverpb.Lease/LeaseLeases", pb::Nothing {}).await;
            found.map_or_else(told, |mut found| {
                found.leases.sort_by_key(|lease| lease.id);
                format!("{:?}", found.leases)
            })
        }
        Step::Compact(revision) => {
            let done = client.ask::<_, pb::Done>("/etcdserverpb.KV/Compact", pb::CompactionRequest { revision }).await;
            done.map_or_else(told, |mut done| format!("{}", none(&mut done.header)))
        }
        more => play_more(client, more).await,
    }
}

/// The calls of leases, locks and elections.
async fn play_more(client: &Client, step: Step) -> String {
    let told = |status: Status| format!("{:?}: {}", status.code(), status.message());
    let done = |outcome: Result<pb::Done, Status>| outcome.map_or_else(told, |done| revision(done.header).to_string());
    match step {
        Step::KeepAlive(id) => {
            let asked = Some(pb::LeaseRequest { id });
            let mut talk = client.begin("/etcdserverpb.Lease/LeaseKeepAlive", asked).await.unwrap();
            let answer: pb::LeaseKeepAliveResponse = talk.next().await.unwrap();
            format!("{} {}", answer.id, answer.ttl)
        }
        Step::Leader => {
            let asked = pb::LeaderRequest { name: b"e".to_vec() };
            let found = client.ask::<_, pb::LeaderResponse>("/v3electionpb.Election/Leader", asked).await;
            found.map_or_else(told, |found| format!("{:?}", found.kv))
        }
        Step::Proclaim(leader) => {
            let asked = pb::ProclaimRequest { leader: Some(leader), value: b"said".to_vec() };
            done(client.ask("/v3electionpb.Election/Proclaim", asked).await)
        }
        Step::Resign(leader) => {
            let asked = pb::ProclaimRequest { leader: Some(leader), value: Vec::new() };
            done(client.ask("/v3electionpb.Election/Resign", asked).await)
        }
        Step::Unlock(key) => done(client.ask("/v3lockpb.Lock/Unlock", pb::UnlockRequest { key }).await),
        other => panic!("{other:?} is played elsewhere"),
    }
}

fn answer(answer: pb::ResponseOp) -> String {
    match answer.response {
        Some(pb::Came::Range(found)) => format!("{:?}", in_any_order(found, by::KEY)),
        Some(pb::Came::Put(done)) => format!("{:?}", done.prev_kv),
        Some(pb::Came::Delete(done)) => format!("{} {:?}", done.deleted, done.prev_kvs),
        None => "nothing".to_owned(),
    }
}

/// In which order etcd has keys that are equal in what they are sorted by is its own affair.
fn in_any_order(found: pb::RangeResponse, sorted: i32) -> (Vec<String>, bool, i64) {
    let shown = |kv: &pb::KeyValue| match sorted {
        by::VERSION => kv.version.to_string(),
        by::CREATE => kv.create_revision.to_string(),
        by::MOD => kv.mod_revision.to_string(),
        by::VALUE => format!("{:?}", kv.value),
        _ => format!("{kv:?}"),
    };
    (found.kvs.iter().map(shown).collect(), found.more, found.count)
}

/// Whether a put names a lease that is not there, and is to keep what a key has that is not there: which of both is told first is
/// not the same here.
fn both_wrong(came: &str, wanted: &str) -> bool {
    let told = [Refusal::LeaseNotFound, Refusal::KeyNotFound].map(|refusal| refusal.told().1);
    let is_told = |text: &str| told.iter().any(|told| text.ends_with(told));
    is_told(came) && is_told(wanted)
}

/// Chance, from a seed.
struct Dice(ChaCha8Rng);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn key(&mut self) -> Vec<u8> {
        match self.below(40) {
            0 => Vec::new(),
            number => vec![b'a' + u8::try_from(number % 6).unwrap()],
        }
    }

    fn end(&mut self) -> Vec<u8> {
        match self.below(6) {
            0 | 1 => Vec::new(),
            2 => vec![0],
            _ => vec![b'a' + u8::try_from(self.below(8)).unwrap()],
        }
    }

    fn lease(&mut self) -> i64 {
        if self.one_in(3) { i64::try_from(1 + self.below(4)).unwrap() } else { 0 }
    }

    fn near(&mut self, now: u64) -> i64 {
        if self.one_in(2) { 0 } else { i64::try_from((now + 3).saturating_sub(self.below(9))).unwrap() }
    }

    fn range(&mut self, now: u64) -> pb::RangeRequest {
        // With a target and no order, etcd sorts what a limit has left.
        let sort_order = [order::NONE, order::ASCEND, order::DESCEND][usize::try_from(self.below(3)).unwrap()];
        let sort_target = if sort_order == order::NONE { by::KEY } else { i32::try_from(self.below(5)).unwrap() };
        pb::RangeRequest {
            key: self.key(),
            range_end: self.end(),
            limit: i64::try_from(self.below(5)).unwrap() - 1,
            sort_order,
            sort_target,
            keys_only: self.one_in(6),
            count_only: self.one_in(8),
            serializable: self.one_in(4),
            min_mod_revision: self.bound(now),
            max_mod_revision: self.bound(now),
            min_create_revision: self.bound(now),
            max_create_revision: self.bound(now),
            revision: 0,
        }
    }

    /// Of a filter by revisions, mostly none.
    fn bound(&mut self, now: u64) -> i64 {
        match self.below(24) {
            0..5 => self.near(now),
            5 => -1,
            _ => 0,
        }
    }

    fn put(&mut self) -> pb::PutRequest {
        let ignore = self.below(10);
        let both = self.one_in(4);
        pb::PutRequest {
            key: self.key(),
            value: if ignore == 0 && !self.one_in(4) {
                Vec::new()
            } else {
                vec![b'0' + u8::try_from(self.below(5)).unwrap()]
            },
            lease: if ignore == 1 && !self.one_in(4) { 0 } else { self.lease() },
            prev_kv: self.one_in(3),
            ignore_value: ignore == 0 || both && ignore == 1,
            ignore_lease: ignore == 1 || both && ignore == 0,
        }
    }

    fn delete(&mut self) -> pb::DeleteRangeRequest {
        let end = if self.one_in(3) { self.end() } else { Vec::new() };
        pb::DeleteRangeRequest { key: self.key(), range_end: end, prev_kv: self.one_in(2) }
    }

    fn compare(&mut self, now: u64) -> pb::Compare {
        let (target, with) = match self.below(6) {
            0 => (of::VERSION, pb::With::Version(i64::try_from(self.below(4)).unwrap())),
            1 => (of::CREATE, pb::With::Create(self.near(now))),
            2 => (of::MOD, pb::With::Mod(self.near(now))),
            3 => (of::LEASE, pb::With::Lease(self.lease())),
            _ => (of::VALUE, pb::With::Value(vec![b'0' + u8::try_from(self.below(5)).unwrap()])),
        };
        let result = [is::EQUAL, is::GREATER, is::LESS, is::NOT_EQUAL][usize::try_from(self.below(4)).unwrap()];
        // What is not given is nothing, or 0.
        let with = (!self.one_in(8)).then_some(with);
        pb::Compare { result, target, key: self.key(), with, range_end: Vec::new() }
    }

    /// A place in an election, which may be a true one.
    fn place(&mut self, now: u64) -> pb::LeaderKey {
        let lease = 1 + i64::try_from(self.below(3)).unwrap();
        pb::LeaderKey { name: b"e".to_vec(), key: format!("e/{lease:x}").into(), rev: self.near(now), lease }
    }

    fn operations(&mut self, now: u64) -> Vec<pb::RequestOp> {
        let (mut found, mut ranges) = (Vec::new(), 0);
        for _ in 0..self.below(4) {
            found.push(op(match self.below(4) {
                // A list has four operations at most that look at all of a range, and in which order equal ones come is not told.
                0 if ranges < 2 => {
                    ranges += 1;
                    pb::Asked::Range(pb::RangeRequest { sort_target: by::KEY, ..self.range(now) })
                }
                1 => {
                    let mut delete = self.delete();
                    // etcd does not see that this deletes what the transaction puts.
                    if delete.range_end == [0] {
                        delete.range_end.clear();
                    }
                    pb::Asked::Delete(delete)
                }
                _ => pb::Asked::Put(self.put()),
            }));
        }
        found
    }

    fn step(&mut self, now: u64) -> Step {
        match self.below(24) {
            0..6 => Step::Put(self.put()),
            6..9 => Step::Range(self.range(now)),
            9 => {
                let revision = self.near(now);
                Step::Range(pb::RangeRequest { revision, ..self.range(now) })
            }
            10..12 => Step::Delete(self.delete()),
            12..16 => {
                let compare = (0..self.below(3)).map(|_| self.compare(now)).collect();
                Step::Txn(pb::TxnRequest { compare, success: self.operations(now), failure: self.operations(now) })
            }
            16 => {
                // Of short ones etcd makes longer ones than the store.
                let ttl = if self.one_in(5) { i64::MAX } else { 3000 };
                Step::Grant(i64::try_from(1 + self.below(4)).unwrap(), ttl)
            }
            17 => Step::Revoke(i64::try_from(1 + self.below(5)).unwrap()),
            18 => Step::TimeToLive(i64::try_from(self.below(6)).unwrap() - 1),
            19 => Step::KeepAlive(i64::try_from(self.below(6)).unwrap() - 1),
            20 => {
                // Somebody stands in the queue of an election.
                let pb::LeaderKey { key, lease, .. } = self.place(now);
                Step::Put(pb::PutRequest { key, lease, value: b"stood".to_vec(), ..pb::PutRequest::default() })
            }
            21 => match self.below(4) {
                0 => Step::Leader,
                1 => Step::Proclaim(self.place(now)),
                2 => Step::Resign(self.place(now)),
                _ => Step::Unlock(self.place(now).key),
            },
            _ if self.one_in(2) => Step::Leases,
            // What is compacted is forgotten in etcd, and not here: only what etcd refuses is played.
            _ => Step::Compact(i64::try_from(now + 1 + self.below(3)).unwrap()),
        }
    }
}

/// Watches of everything from a revision on, with their filters, and what each is told.
async fn follow(client: &Client, wishes: &[pb::WatchCreateRequest], last: i64) -> Vec<Vec<String>> {
    let mut told = vec![Vec::new(); wishes.len()];
    for (wish, told) in wishes.iter().zip(&mut told) {
        let asked = Some(pb::WatchRequest { request: Some(pb::Wish::Create(wish.clone())) });
        let mut talk: Talk<_, pb::WatchResponse> = client.begin("/etcdserverpb.Watch/Watch", asked).await.unwrap();
        let mut upto = 0;
        while upto < last {
            let answer = talk.next().await.unwrap();
            assert!(!answer.canceled, "{answer:?}");
            for event in answer.events {
                upto = upto.max(event.kv.as_ref().unwrap().mod_revision);
                told.push(format!("{event:?}"));
            }
        }
    }
    told
}

impl Dice {
    fn watches(&mut self, now: u64) -> Vec<pb::WatchCreateRequest> {
        let mut wish = |filters: Vec<i32>| pb::WatchCreateRequest {
            key: if self.one_in(2) { vec![0] } else { vec![b'a' + u8::try_from(self.below(5)).unwrap()] },
            range_end: vec![0],
            start_revision: i64::try_from(2 + self.below(now.max(3) - 2)).unwrap(),
            filters,
            prev_kv: self.one_in(2),
            fragment: self.one_in(2),
            ..pb::WatchCreateRequest::default()
        };
        vec![wish(vec![]), wish(vec![]), wish(vec![0]), wish(vec![1])]
    }
}

/// Plays one program on both, and counts the kinds of answers. Both have to tell their watches the same of it.
async fn compare(seed: u64, ours: &Client, kinds: &mut BTreeMap<String, usize>) -> bool {
    let Some(etcd) = Etcd::start().await else { return false };
    let (theirs, mut dice) = (Client::connect(etcd.address).await, Dice(ChaCha8Rng::seed_from_u64(seed)));
    let now = async || u64::try_from(revision(ours.range(range("a")).await.unwrap().header)).unwrap();
    for number in 0..STEPS {
        let step = dice.step(now().await);
        let (wanted, came) = (play(&theirs, step.clone()).await, play(ours, step.clone()).await);
        let came = if both_wrong(&came, &wanted) { wanted.clone() } else { came };
        assert_eq!(came, wanted, "RINGFORT_ETCD_SEED={seed}, step {number}: {step:?}");
        let kind = if wanted.contains("etcdserver: ") { wanted } else { "answered".to_owned() };
        *kinds.entry(kind).or_insert(0) += 1;
    }
    for client in [&theirs, ours] {
        client.set("zzz", "last").await;
        client.delete(delete("zzz")).await.unwrap();
        client.set("zzz", "last of all").await;
        client.delete(delete("zzz")).await.unwrap();
    }
    let wishes = dice.watches(now().await);
    // Whoever wants no deletes is told of the last put last.
    let last = i64::try_from(now().await).unwrap() - 1;
    let (wanted, came) = (follow(&theirs, &wishes, last).await, follow(ours, &wishes, last).await);
    for ((wish, mut wanted), mut came) in wishes.iter().zip(wanted).zip(came) {
        // The last delete may have come or not.
        wanted.truncate(wanted.len().min(came.len()));
        came.truncate(wanted.len());
        assert_eq!(came, wanted, "RINGFORT_ETCD_SEED={seed}: {wish:?}");
    }
    true
}

fn seeds() -> Vec<u64> {
    match std::env::var("RINGFORT_ETCD_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => {
            let programs =
                std::env::var("RINGFORT_ETCD_PROGRAMS").map_or(PROGRAMS, |programs| programs.parse().unwrap());
            (1..=programs).collect()
        }
    }
}

#[tokio::test]
async fn the_front_answers_as_etcd_does() {
    let mut kinds = BTreeMap::new();
    for seed in seeds() {
        let front = Running::start().await;
        if !compare(seed, &front.client().await, &mut kinds).await {
            return;
        }
    }
    eprintln!("{kinds:#?}");
    assert!(kinds.len() > 3, "the programs say little");
}

#[tokio::test]
async fn the_front_answers_as_etcd_does_with_a_leader_that_lies() {
    let mut kinds = BTreeMap::new();
    for seed in seeds().into_iter().take(2) {
        let front = leaders::Behind::start(seed, 20).await;
        if !compare(seed, &front.client().await, &mut kinds).await {
            return;
        }
        let (lies, blamed) = front.leaders.lies();
        assert!(lies.len() > 10 && blamed > 10, "{lies:?}, blamed {blamed} times");
    }
}
