//! The group's key-value store with real leaders, links, journals and members.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering as Atomic};
use std::time::Duration;

use bytes::Bytes;
use common::{DEADLINE, World as Quick, quick_policy, wait_for};
use ringfort::kv::{Change, Condition, Failed, Operation, OperationResult, Put, Range, Read, Refusal, Transaction};
use ringfort::protocol::fault::Culprit;
use ringfort::protocol::leader::{Command, Figures, Leader, Step};
use ringfort::protocol::view::MemberEntry;
use ringfort::protocol::{
    Cx, Fault, GroupInfo, LeaderId, LinkId, MemberId, Policy, Rejected, Rules, Time, codec::decode, codec::encode,
};
use ringfort::{CallError, Credentials, Event, Events, Group, JoinOptions, KvError};
use ringfort_agreement::readings::messages_of;
use ringfort_agreement::sequence::Entry;
use ringfort_documents::{NewSecret, NewUser};
use ringfort_node::folder::{InitOptions, LeaderFolder, init};
use ringfort_node::leader::{LeaderCore, LeaderOptions, Told, run_core, run_leader, run_leader_ordering};
use ringfort_node::order::{Machine, Ordering, Submitter};
use ringfort_services::Answer;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How a leader runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Honest,
    /// Answers every request wrongly.
    Liar,
    /// Answers nobody, and puts what it has seen into the order again, altered and as it was.
    Forger,
}

struct World {
    info: Arc<GroupInfo>,
    folders: Vec<PathBuf>,
    running: BTreeMap<usize, (oneshot::Sender<()>, JoinHandle<()>)>,
    /// Committed blocks that an honest leader has told of.
    position: Arc<AtomicU64>,
    _dir: tempfile::TempDir,
}

impl World {
    async fn start(first: Kind) -> World {
        let dir = tempfile::tempdir().unwrap();
        let addresses = ringfort_loopback::addresses::<4>().unwrap().map(|at| at.to_string()).into();
        let user = |name: &str| NewUser {
            name: name.parse().unwrap(),
            secret: NewSecret::Password(format!("{name}'s password").into()),
        };
        let options = InitOptions {
            name: "test".into(),
            rules: Rules::new(4, 1, 2).unwrap(),
            addresses,
            policy: Policy { order: true, ..quick_policy() },
            users: vec![user("ana"), user("ben")],
        };
        let summary = init(&dir.path().join("group"), options).unwrap();
        let (info, folders, position) = (summary.group, summary.folders, Arc::default());
        let mut world = World { info, folders, running: BTreeMap::new(), position, _dir: dir };
        world.run(1, first);
        (2..=4).for_each(|number| world.run(number, Kind::Honest));
        world
    }

    fn run(&mut self, number: usize, kind: Kind) {
        let folder = LeaderFolder::open(&self.folders[number - 1]).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (options, position) = (LeaderOptions::default(), self.position.clone());
        let task = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            match kind {
                Kind::Honest => {
                    let observe = |told: &Told<'_>| {
                        let order = if let Told::Report(report) = told { report.order } else { None };
                        position.fetch_max(order.map_or(0, |order| order.position), Atomic::Relaxed);
                    };
                    run_leader(folder, options, observe, shutdown).await.unwrap();
                }
                Kind::Liar => {
                    let build = |cx: &mut Cx<'_>, group, secrets, records| -> Box<dyn LeaderCore> {
                        Box::new(Liar(Leader::new(cx, group, secrets, records)))
                    };
                    run_core(folder, options, build, |_| {}, shutdown).await.unwrap();
                }
                Kind::Forger => {
                    let ordering = Ordering::with(|submitter| Box::new(Forger { submitter, forged: 0 }));
                    run_leader_ordering(folder, options, ordering, |_| {}, shutdown).await.unwrap();
                }
            }
        });
        self.running.insert(number, (stop, task));
    }

    async fn stop(&mut self, number: usize) {
        let (stop, task) = self.running.remove(&number).unwrap();
        drop(stop);
        task.await.unwrap();
    }

    async fn join(&self, user: &str) -> (Group, Events) {
        let credentials = Credentials::password(user, format!("{user}'s password")).unwrap();
        let options = JoinOptions { timeout: DEADLINE, ..JoinOptions::default() };
        Group::join_with(self.info.clone(), credentials, options).await.unwrap()
    }
}

/// A leader that is honest but for what it answers.
struct Liar(Leader);

impl LeaderCore for Liar {
    fn on_peer_up(&mut self, _: &mut Cx<'_>, peer: LeaderId) -> Step {
        self.0.on_peer_up(peer)
    }

    fn on_peer_down(&mut self, peer: LeaderId) {
        self.0.on_peer_down(peer);
    }

    fn on_peer_frame(&mut self, cx: &mut Cx<'_>, peer: LeaderId, frame: &Bytes) -> Step {
        self.0.on_peer_frame(cx, peer, frame)
    }

    fn on_link_up(&mut self, link: LinkId, exporter: [u8; 32]) {
        self.0.on_link_up(link, exporter);
    }

    fn on_link_down(&mut self, link: LinkId) {
        self.0.on_link_down(link);
    }

    fn on_member_frame(&mut self, cx: &mut Cx<'_>, link: LinkId, frame: &Bytes) -> Step {
        self.0.on_member_frame(cx, link, frame)
    }

    fn on_command(&mut self, cx: &mut Cx<'_>, command: Command) -> Result<Step, Rejected> {
        self.0.on_command(cx, command)
    }

    fn next_wakeup(&self) -> Option<Time> {
        self.0.next_wakeup()
    }

    fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step {
        self.0.on_wakeup(cx)
    }

    fn figures(&self, now: Time) -> Figures {
        self.0.figures(now)
    }

    fn answer(&mut self, cx: &mut Cx<'_>, member: &MemberId, answer: &Bytes) -> Step {
        let lie = match decode(answer).expect("an honest replica's answer") {
            Answer::Done { key, number, place, mut reply } => {
                reply.iter_mut().for_each(|byte| *byte ^= 1);
                Answer::Done { key, number, place, reply }
            }
            Answer::Later { key, number, place, note } => Answer::Later { key, number, place: place + 1, note },
            Answer::Forgotten { key, number, place, kept } => Answer::Forgotten { key, number, place: place + 1, kept },
        };
        self.0.answer(cx.now, member, &encode(&lie).into())
    }

    fn stays(&self) -> Option<Vec<MemberEntry>> {
        LeaderCore::stays(&self.0)
    }
}

static FORGED: AtomicUsize = AtomicUsize::new(0);

/// Puts each message of others into the order again, as it was and with its last byte altered: the end of a signature.
struct Forger {
    submitter: Submitter,
    forged: usize,
}

impl Machine for Forger {
    fn on_entry(&mut self, entry: &Entry) {
        for (author, message) in messages_of(entry) {
            let mut altered = message.to_vec();
            if let Some(last) = altered.last_mut().filter(|_| author.index() != 0 && self.forged < 200) {
                *last ^= 1;
                self.forged += 2;
                FORGED.fetch_add(2, Atomic::Relaxed);
                drop(self.submitter.submit(vec![altered, message.to_vec()]));
            }
        }
    }

    fn state(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn install(&mut self, _index: u64, _state: Vec<u8>) {}
}

/// Whatever one leader does, in good time.
async fn soon<T>(doing: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, doing).await.expect("it takes no leader's help that is hacked or stopped")
}

async fn write_and_read(ana: &Group, ben: &Group) {
    let (ana, ben) = (ana.kv(), ben.kv());
    let first = soon(ana.put(b"colour", b"red", Some(0))).await.unwrap();
    let found = soon(ben.get(b"colour")).await.unwrap().unwrap();
    assert_eq!((found.value.as_slice(), found.writer.as_str(), found.modified), (&b"red"[..], "ana", first));
    let second = soon(ben.put(b"colour", b"blue", Some(first))).await.unwrap();
    assert!(second > first);
    let conflict = soon(ana.put(b"colour", b"green", Some(first))).await.unwrap_err();
    assert!(matches!(conflict, KvError::Conflict { modified } if modified == second), "{conflict}");
    let page = soon(ana.list(Range::prefix(b"col"), 10)).await.unwrap();
    assert_eq!((page.entries.len(), page.more, page.revision), (1, false, second));
    assert_eq!(page.entries[0].value, b"blue");
    assert_eq!(soon(ana.delete(b"colour", None)).await.unwrap(), (true, second + 1));
    assert_eq!(soon(ben.get(b"colour")).await.unwrap(), None);
}

/// Moves what ana and ben have together from one key to another until it is all there: each move is a read and a transaction that
/// holds only if nobody else has moved in between.
async fn move_all(member: &Group, moves: usize) {
    for _ in 0..moves {
        loop {
            let both = Transaction::of(vec![Operation::Read(Read::all(Range::between(b"from", b"tp")))]);
            let read = soon(member.kv().transact(&both)).await.unwrap();
            let Some([OperationResult::Read { entries, more: false }]) = read.results.as_deref() else {
                panic!("{read:?}")
            };
            let [from, to] = &entries[..] else { panic!("{entries:?}") };
            assert_eq!(from.value[0] + to.value[0], 20, "no moment shows half a move");
            assert_eq!(from.modified, to.modified, "both have one revision");
            let conditions = vec![Condition::revision(b"from", from.modified), Condition::value(b"to", &to.value)];
            let moved = [Operation::put(b"from", &[from.value[0] - 1]), Operation::put(b"to", &[to.value[0] + 1])];
            let transaction = Transaction { conditions, ..Transaction::of(moved.into()) };
            let committed = soon(member.kv().transact(&transaction)).await.unwrap();
            match committed.failed {
                None => {
                    let was_put = OperationResult::Put { existed: true, previous: None };
                    break assert_eq!(committed.results, Some(vec![was_put.clone(), was_put]));
                }
                Some(Failed { condition: 0, modified }) => assert!(modified > from.modified),
                Some(other) => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_keys_change_together_or_not_at_all_with_one_leader_that_answers_wrongly() {
    let world = World::start(Kind::Liar).await;
    let ((ana, _ana_events), (ben, _ben_events)) = tokio::join!(world.join("ana"), world.join("ben"));
    let start = Transaction {
        conditions: vec![Condition::revision(b"from", 0)],
        then: vec![Operation::put(b"from", &[20]), Operation::put(b"to", &[0])],
        otherwise: vec![Operation::get(b"from")],
    };
    let first = soon(ana.kv().transact(&start)).await.unwrap();
    assert_eq!((first.failed, first.revision), (None, 2));
    let second = soon(ben.kv().transact(&start)).await.unwrap();
    assert_eq!((second.failed, second.revision), (Some(Failed { condition: 0, modified: 2 }), 2));
    let Some([OperationResult::Read { entries, .. }]) = second.results.as_deref() else { panic!("{second:?}") };
    assert_eq!(entries[0].value, [20]);
    tokio::join!(move_all(&ana, 10), move_all(&ben, 10));
    let page = soon(ana.kv().list(Range::all(), 10)).await.unwrap();
    assert_eq!((page.revision, &page.entries[0].value, &page.entries[1].value), (22, &vec![0], &vec![20]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_a_store_while_leaders_stop_and_come_back() {
    let mut world = World::start(Kind::Honest).await;
    let ((ana, _ana_events), (ben, _ben_events)) = tokio::join!(world.join("ana"), world.join("ben"));
    write_and_read(&ana, &ben).await;
    world.stop(2).await;
    for count in 0..20u32 {
        soon(ana.kv().put(format!("k{count:02}").as_bytes(), &count.to_be_bytes(), None)).await.unwrap();
    }
    world.run(2, Kind::Honest);
    // Leader 3 is away next: so leader 2 is needed, with all that it missed.
    world.stop(3).await;
    let page = soon(ben.kv().list(Range::prefix(b"k"), 100)).await.unwrap();
    assert_eq!(page.entries.len(), 20);
    world.run(3, Kind::Honest);
    let value = vec![7; 64 * 1024];
    let many = (0..40u32).map(|count| {
        let (kv, value) = (ben.kv(), value.clone());
        async move { kv.put(format!("long{}", count % 8).as_bytes(), &value, None).await.unwrap() }
    });
    let many: Vec<_> = many.map(tokio::spawn).collect();
    let mut revisions = Vec::new();
    for one in many {
        revisions.push(soon(one).await.unwrap());
    }
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 40, "each was done once");
    assert_eq!(soon(ana.kv().get(b"long3")).await.unwrap().unwrap().value, value);
    ana.leave().await.unwrap();
    ben.leave().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_answers_wrongly_changes_no_reply_and_is_named() {
    let world = World::start(Kind::Liar).await;
    let ((ana, mut events), (ben, _ben_events)) = tokio::join!(world.join("ana"), world.join("ben"));
    for _ in 0..5 {
        write_and_read(&ana, &ben).await;
    }
    let named = wait_for(&mut events, "blame", |event| match event {
        Event::Blamed(who, Fault::WrongAnswer) => Some(who),
        _ => None,
    });
    assert_eq!(named.await, Culprit::Leader(LeaderId::new(1).unwrap()));
}

/// Leader 1 answers wrongly, and orders well: so each of two others is needed for every reply.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_away_for_long_comes_back_to_the_others_state_and_answers_as_they_do() {
    let mut world = World::start(Kind::Liar).await;
    let (ana, _events) = world.join("ana").await;
    world.stop(2).await;
    // One after the other: so many committed blocks that the others let go of what leader 2 has not seen.
    for count in 0..150u32 {
        soon(ana.kv().put(format!("k{}", count % 10).as_bytes(), &count.to_be_bytes(), None)).await.unwrap();
    }
    let passed = async {
        while world.position.load(Atomic::Relaxed) < 600 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(passed).await;
    world.run(2, Kind::Honest);
    // What leader 2 lacks it gets from leader 3 too.
    soon(ana.kv().put(b"last", b"word", Some(0))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.stop(3).await;
    let page = soon(ana.kv().list(Range::all(), 100)).await.unwrap();
    assert_eq!((page.entries.len(), page.revision), (11, 152));
    assert_eq!(page.entries[3].value, 143u32.to_be_bytes());
    assert_eq!(soon(ana.kv().put(b"last", b"of all", Some(152))).await.unwrap(), 153);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_forges_and_repeats_what_it_has_seen_does_nothing_in_anybodys_name() {
    let world = World::start(Kind::Forger).await;
    let ((ana, _ana_events), (ben, _ben_events)) = tokio::join!(world.join("ana"), world.join("ben"));
    let before = soon(ana.kv().put(b"count", b"0", None)).await.unwrap();
    for count in 1..=20u64 {
        let revision = soon(ben.kv().put(b"count", &[1], None)).await.unwrap();
        assert_eq!(revision, before + count, "nothing but what members asked was done");
    }
    assert!(FORGED.load(Atomic::Relaxed) > 20, "it has tried");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(soon(ana.kv().get(b"count")).await.unwrap().unwrap().version, 21);
}

/// Of a lock: the key of whoever came first, which goes when its lease is not renewed any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_is_told_what_changes_also_when_a_lease_ends_whose_holder_is_gone() {
    let mut world = World::start(Kind::Liar).await;
    let ((ana, _ana_events), (ben, _ben_events)) = tokio::join!(world.join("ana"), world.join("ben"));
    let mut watch = soon(ben.kv().watch(Range::prefix(b"lock/"), None, true)).await.unwrap();
    let lease = soon(ana.kv().lease_grant(0, 4)).await.unwrap();
    let put = Operation::Put(Put::leased(b"lock/ana", b"held", lease.id));
    let held = soon(ana.kv().transact(&Transaction::of(vec![put]))).await.unwrap().revision;
    soon(ana.kv().put(b"other", b"x", None)).await.unwrap();
    let event = soon(watch.next()).await.unwrap();
    let Change::Put(entry) = event.change else { panic!("{event:?}") };
    assert_eq!((entry.key.as_slice(), entry.lease, entry.modified), (&b"lock/ana"[..], lease.id, held));
    let (revision, info) = soon(ben.kv().lease_info(lease.id, true)).await.unwrap();
    assert_eq!((revision, info.keys, info.user.as_str()), (held + 1, vec![b"lock/ana".to_vec()], "ana"));
    soon(ana.kv().lease_renew(lease.id)).await.unwrap();
    // Each of the other two is needed for every reply from now on, and the watch waits meanwhile.
    let waited = tokio::spawn(async move { (watch.next().await, watch) });
    world.stop(4).await;
    drop(ana);
    let (event, mut watch) = soon(waited).await.unwrap();
    let event = event.unwrap();
    assert_eq!(event.change, Change::Deleted { key: b"lock/ana".to_vec() });
    assert_eq!((event.position.revision, event.previous.unwrap().value), (held + 2, b"held".to_vec()));
    let gone = soon(ben.kv().lease_renew(lease.id)).await.unwrap_err();
    assert!(matches!(gone, KvError::Refused(Refusal::NoLease)), "{gone}");
    let kv = ben.kv();
    let (next, put) = tokio::join!(soon(watch.next()), soon(kv.put(b"lock/ben", b"", Some(0))));
    assert_eq!(next.unwrap().position.revision, put.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_without_an_order_says_so() {
    let world = Quick::start(&["ana"], quick_policy()).await;
    let (ana, _events) = world.join("ana").await;
    let error = ana.kv().get(b"colour").await.unwrap_err();
    assert!(matches!(error, KvError::Call(CallError::NotOrdered)), "{error}");
    assert!(error.to_string().contains("`order = false`") && error.to_string().contains("`order = true`"), "{error}");
}
