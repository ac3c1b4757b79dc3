//! A store behind the front as it really is: four leaders with their machines, of which the first lies, and a member that believes
//! what two of them answer. The order is there at once, time passes as fast as somebody waits, and answers are lost.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use ringfort::protocol::wire::SERVICE_LABEL;
use ringfort::protocol::{GroupId, Incarnation, LeaderId, MemberId, Policy, Rules, Time};
use ringfort_crypto::sign::SigningKey;
use ringfort_services::kv::{Outcome, Range, WaitNote};
use ringfort_services::{Answer, Call, Caller, Event, Origin, Output, Replica, Stay, Step};
use tokio::sync::oneshot;

use super::*;

const GROUP: GroupId = GroupId([9; 32]);
/// Between two looks at whether there is a reply.
const LOOKS: Duration = Duration::from_millis(2);

/// The four leaders, and who asks them.
#[derive(Clone)]
pub struct Leaders(Arc<Mutex<World>>);

struct World {
    dice: ChaCha8Rng,
    rules: Rules,
    replicas: Vec<Replica<Kv>>,
    /// Entries of the order.
    index: u64,
    begun: Instant,
    forward: Duration,
    /// The member's time, which passes when somebody waits.
    now: Time,
    key: SigningKey,
    stay: Stay,
    caller: Caller,
    pending: BTreeMap<Call, Pending>,
    /// What the first leader has said and could say again.
    heard: Vec<Answer>,
    lies: BTreeMap<&'static str, usize>,
    blamed: usize,
    /// Of the others' answers one in so many is lost.
    lost: u64,
}

enum Pending {
    First(oneshot::Sender<Result<First, Unanswered>>),
    Later(oneshot::Sender<Result<Vec<u8>, Unanswered>>),
}

enum First {
    Replied(Vec<u8>),
    Later(WaitNote, oneshot::Receiver<Result<Vec<u8>, Unanswered>>),
    Forgotten,
}

fn leader(number: usize) -> LeaderId {
    LeaderId::new(u8::try_from(number).unwrap()).unwrap()
}

fn stay_of(incarnation: u64, key: &SigningKey) -> Stay {
    let id = MemberId { user: "ana".parse().unwrap(), incarnation: Incarnation(incarnation) };
    Stay { id, key: key.verifying_key().to_bytes() }
}

impl Leaders {
    pub fn new(seed: u64, lost: u64) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let rules = Rules::new(4, 1, 2).unwrap();
        let key = SigningKey::generate(&mut dice);
        let stay = stay_of(1, &key);
        let replica = |number| Replica::new(leader(number), GROUP, rules.into(), Policy::default());
        let mut world = World {
            dice,
            rules,
            replicas: (1..=4).map(replica).collect(),
            index: 0,
            begun: Instant::now(),
            forward: Duration::ZERO,
            now: Time::ZERO,
            caller: Caller::new(GROUP, rules.into(), stay.clone()),
            key,
            stay,
            pending: BTreeMap::new(),
            heard: Vec::new(),
            lies: BTreeMap::new(),
            blamed: 0,
            lost,
        };
        world.let_in();
        Leaders(Arc::new(Mutex::new(world)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stay is lost, and the member joins again.
    pub fn join_again(&self) {
        let mut world = self.lock();
        world.pending.clear();
        world.key = SigningKey::generate(&mut world.dice);
        world.stay = stay_of(world.stay.id.incarnation.0 + 1, &world.key);
        world.caller = Caller::new(GROUP, world.rules.into(), world.stay.clone());
        world.let_in();
    }

    /// A leader goes on from what another one has.
    pub fn restart(&self, number: usize) {
        let mut world = self.lock();
        let state = world.replicas[2].state();
        let mut replica = Replica::new(leader(number), GROUP, world.rules.into(), Policy::default());
        let mut out = replica.install(&state).unwrap();
        out.extend(replica.on_members([world.stay.clone()]));
        world.replicas[number - 1] = replica;
        world.carry_out(vec![(number, out)]);
    }

    pub fn put_forward(&self, by: Duration) {
        self.lock().forward += by;
    }

    pub fn lies(&self) -> (BTreeMap<&'static str, usize>, usize) {
        let world = self.lock();
        (world.lies.clone(), world.blamed)
    }

    async fn ask_once(&self, request: &KvRequest) -> Result<First, Unanswered> {
        let (reply, mut replied) = oneshot::channel();
        self.lock().call(&encode(request), reply);
        self.wait_for(&mut replied, None).await.unwrap_or(Err(Unanswered::Stopped))
    }

    /// `None` if it takes longer than that.
    async fn wait_for<T>(
        &self,
        replied: &mut oneshot::Receiver<Result<T, Unanswered>>,
        most: Option<Duration>,
    ) -> Option<Result<T, Unanswered>> {
        let begun = Instant::now();
        loop {
            match tokio::time::timeout(LOOKS, &mut *replied).await {
                Ok(came) => return Some(came.unwrap_or(Err(Unanswered::Stopped))),
                Err(_) if most.is_some_and(|most| begun.elapsed() >= most) => return None,
                Err(_) => self.lock().pass_time(),
            }
        }
    }
}

impl World {
    fn let_in(&mut self) {
        let stay = self.stay.clone();
        let all = (1..).zip(&mut self.replicas).map(|(number, replica)| (number, replica.on_members([stay.clone()])));
        let all: Vec<_> = all.collect();
        self.carry_out(all);
    }

    fn reachable(&mut self) -> Vec<LeaderId> {
        let mut all: Vec<LeaderId> = (1..=4).map(leader).collect();
        all.rotate_left(self.below(4));
        all
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.dice.next_u64() % end as u64).unwrap()
    }

    fn call(&mut self, request: &[u8], reply: oneshot::Sender<Result<First, Unanswered>>) {
        let (now, reachable) = (self.now, self.reachable());
        let key = &self.key;
        let sign = |digest: &[u8; 32]| key.sign(SERVICE_LABEL, &[digest]);
        match self.caller.call(now, request, &reachable, sign) {
            Ok((call, step)) => {
                self.pending.insert(call, Pending::First(reply));
                self.on_step(step);
            }
            Err(_) => drop(reply.send(Err(Unanswered::Busy))),
        }
    }

    fn pass_time(&mut self) {
        self.now = self.now + Duration::from_millis(500);
        let (now, reachable) = (self.now, self.reachable());
        let step = self.caller.on_wakeup(now, &reachable);
        self.on_step(step);
    }

    fn on_step(&mut self, step: Step) {
        for (to, request) in step.sends {
            let stay = self.stay.clone();
            let number = usize::from(to.number());
            let out = self.replicas[number - 1].on_request(&stay, &request);
            self.carry_out(vec![(number, out)]);
        }
        for event in step.events {
            match event {
                Event::Done { call, reply, .. } => self.settle(call, reply),
                Event::Forgotten { call, kept: Some(kept), .. } => self.settle(call, kept),
                Event::Forgotten { call, kept: None, .. } => match self.pending.remove(&call) {
                    Some(Pending::First(to)) => drop(to.send(Ok(First::Forgotten))),
                    Some(Pending::Later(_)) | None => {}
                },
                Event::Later { call, note, .. } => {
                    let (later, replied) = oneshot::channel();
                    if let Some(Pending::First(to)) = self.pending.insert(call, Pending::Later(later)) {
                        drop(to.send(Ok(First::Later(decode(&note).unwrap(), replied))));
                    }
                }
                Event::Blamed(who, _) => {
                    assert_eq!(who, leader(1), "nobody else lies");
                    self.blamed += 1;
                }
            }
        }
    }

    fn settle(&mut self, call: Call, reply: Vec<u8>) {
        match self.pending.remove(&call) {
            Some(Pending::First(to)) => drop(to.send(Ok(First::Replied(reply)))),
            Some(Pending::Later(to)) => drop(to.send(Ok(reply))),
            None => {}
        }
    }

    /// What one leader puts into the order, all have at once.
    fn carry_out(&mut self, mut out: Vec<(usize, Vec<Output>)>) {
        while let Some((number, outputs)) = out.pop() {
            for output in outputs {
                match output {
                    Output::Submit(message) => {
                        self.index += 1;
                        let time = self.begun.elapsed() + self.forward;
                        let time_us = u64::try_from(time.as_micros()).unwrap() + 1_000_000;
                        let origin = Origin { index: self.index, time_us, author: leader(number) };
                        let each = (1..).zip(&mut self.replicas);
                        out.extend(each.map(|(number, replica)| (number, replica.on_entry(origin, [&message[..]]))));
                    }
                    Output::Answer(id, answer) if id == self.stay.id => self.answer(number, &answer),
                    Output::Answer(..) => {}
                    Output::Blamed(who, fault) => panic!("{number} blames {who:?} for {fault:?}"),
                }
            }
        }
    }

    fn answer(&mut self, number: usize, answer: &[u8]) {
        let said = match number {
            1 => self.lie(decode(answer).unwrap()),
            _ if self.lost > 0 && self.dice.next_u64().is_multiple_of(self.lost) => Vec::new(),
            _ => vec![answer.to_vec()],
        };
        for answer in said {
            let (now, reachable) = (self.now, self.reachable());
            let step = self.caller.on_answer(now, leader(number), &answer, &reachable);
            self.on_step(step);
        }
    }

    /// What the first leader says in place of an answer.
    fn lie(&mut self, answer: Answer) -> Vec<Vec<u8>> {
        self.heard.push(answer.clone());
        let (heard, other) = (self.heard.len(), self.below(self.heard.len()));
        self.heard.drain(..heard.saturating_sub(200));
        let other = self.heard[other.min(self.heard.len() - 1)].clone();
        let (key, number, place) = match &answer {
            Answer::Done { key, number, place, .. }
            | Answer::Later { key, number, place, .. }
            | Answer::Forgotten { key, number, place, .. } => (*key, *number, *place),
        };
        let (reply, of_another) = (content(&answer), content(&other));
        let bent = |mut bytes: Vec<u8>, at: usize| {
            let length = bytes.len().max(1);
            bytes.get_mut(at % length).into_iter().for_each(|byte| *byte ^= 1);
            bytes
        };
        let at = self.below(1 << 16);
        let changed = encode(&KvReply { revision: 1_000_000, outcome: Outcome::Changed });
        let note = encode(&WaitNote { revision: 1, ends_us: None });
        let done = |reply| Answer::Done { key, number, place, reply };
        let (kind, said) = match self.below(12) {
            0 => ("a bent reply", vec![done(bent(reply, at))]),
            1 => ("another's reply", vec![done(of_another)]),
            2 => ("another's answer", vec![other]),
            3 => ("that it is forgotten", vec![Answer::Forgotten { key, number, place, kept: None }]),
            4 => ("that it comes later", vec![Answer::Later { key, number, place, note }]),
            5 => ("a long reply", vec![done(vec![1; 120 * 1024])]),
            6 => ("nothing", vec![]),
            7 => ("another place", vec![Answer::Done { key, number, place: place + 1, reply }]),
            8 => ("that something changed", vec![done(changed)]),
            9 => ("what is kept", vec![Answer::Forgotten { key, number, place, kept: Some(of_another) }]),
            10 => ("the truth, three times", vec![answer.clone(), answer.clone(), answer]),
            _ => ("the truth", vec![answer]),
        };
        *self.lies.entry(kind).or_default() += 1;
        said.iter().map(encode).collect()
    }
}

fn content(answer: &Answer) -> Vec<u8> {
    match answer {
        Answer::Done { reply, .. } => reply.clone(),
        Answer::Later { note, .. } => note.clone(),
        Answer::Forgotten { kept, .. } => kept.clone().unwrap_or_default(),
    }
}

fn reply_of(bytes: &[u8]) -> Result<KvReply, Unanswered> {
    decode(bytes).map_err(|_| Unanswered::Version)
}

impl Store for Leaders {
    async fn ask(&self, request: KvRequest) -> Result<KvReply, Unanswered> {
        loop {
            match self.ask_once(&request).await? {
                First::Replied(reply) => return reply_of(&reply),
                First::Later(..) => return Err(Unanswered::Version),
                First::Forgotten => {}
            }
        }
    }

    /// As the library does, but that it asks again at least so often.
    async fn changed(&self, after: Revision) -> Result<(), Unanswered> {
        let request = KvRequest::Wait { slot: 0, range: Range::all(), after };
        loop {
            let (note, mut replied) = match self.ask_once(&request).await? {
                First::Replied(reply) => return reply_of(&reply).map(drop),
                First::Later(note, replied) => (note, replied),
                First::Forgotten => continue,
            };
            let ends = note.ends_us.map_or(Duration::from_secs(1), Duration::from_micros);
            if let Some(reply) = self.wait_for(&mut replied, Some(ends.min(Duration::from_millis(50)))).await {
                return reply_of(&reply?).map(drop);
            }
        }
    }
}

/// A front before such leaders.
pub struct Behind {
    pub leaders: Leaders,
    pub address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Behind {
    pub async fn start(seed: u64, lost: u64) -> Self {
        let leaders = Leaders::new(seed, lost);
        let (address, serving) = serve(leaders.clone(), Door::new(None).unwrap()).await;
        Behind { leaders, address, serving }
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }
}

#[tokio::test]
async fn a_leader_that_lies_changes_no_answer_while_others_answers_are_lost_and_leaders_restart() {
    let front = Behind::start(1, 5).await;
    let client = front.client().await;
    let mut watch = client.watch().await;
    let wish = pb::WatchCreateRequest { key: b"k".into(), prev_kv: true, ..pb::WatchCreateRequest::default() };
    watch.asks.send(pb::WatchRequest { request: Some(pb::Wish::Create(wish)) }).await.unwrap();
    assert!(watch.next().await.unwrap().created);
    for step in 0..120 {
        assert_eq!(client.set("k", &step.to_string()).await, step + 2);
        assert_eq!(client.get("k").await, Some(step.to_string()));
        if step % 10 == 0 {
            front.leaders.restart(2 + 2 * usize::try_from(step / 10 % 2).unwrap());
        }
    }
    let mut told = Vec::new();
    while told.len() < 120 {
        told.extend(watch.next().await.unwrap().events);
    }
    let value = |kv: Option<pb::KeyValue>| kv.map(|kv| String::from_utf8(kv.value).unwrap());
    for (step, event) in (0..).zip(told) {
        let before = (step > 0).then(|| (step - 1).to_string());
        assert_eq!((value(event.kv), value(event.prev_kv)), (Some(step.to_string()), before));
    }
    let (lies, blamed) = front.leaders.lies();
    assert!(lies.len() == 12 && blamed > 20, "it has tried everything: {lies:?}, blamed {blamed} times");
}

#[tokio::test]
async fn watches_locks_and_leases_go_on_when_the_front_has_joined_again() {
    let front = Behind::start(2, 0).await;
    let client = front.client().await;
    let mut watch = client.watch().await;
    let wish = pb::WatchCreateRequest { key: b"k".into(), ..pb::WatchCreateRequest::default() };
    watch.asks.send(pb::WatchRequest { request: Some(pb::Wish::Create(wish)) }).await.unwrap();
    assert!(watch.next().await.unwrap().created);
    let mut alive = client.talk::<_, pb::LeaseKeepAliveResponse>("/etcdserverpb.Lease/LeaseKeepAlive").await.unwrap();
    for lease in 1..=2 {
        client.grant(lease, 600).await.unwrap();
    }
    let lock = async |lease| {
        let asked = pb::LockRequest { name: b"l".into(), lease };
        client.ask::<_, pb::LockResponse>("/v3lockpb.Lock/Lock", asked).await
    };
    let held = lock(1).await.unwrap();
    let mut second = std::pin::pin!(lock(2));
    let (mut revision, mut wanted) = (revision(held.header), Vec::new());
    for round in 0..5 {
        assert!(tokio::time::timeout(Duration::from_millis(50), second.as_mut()).await.is_err(), "the first holds it");
        front.leaders.join_again();
        alive.asks.send(pb::LeaseRequest { id: 1 }).await.unwrap();
        assert_eq!(alive.next().await.unwrap().ttl, 600);
        let now = client.set("k", &round.to_string()).await;
        // The second has come to the queue by the first round.
        assert_eq!(now, revision + 1 + i64::from(round == 0), "each put is done once");
        revision = now;
        wanted.push(now);
    }
    let mut told = Vec::new();
    while told.len() < wanted.len() {
        told.extend(watch.next().await.unwrap().events.into_iter().map(|event| event.kv.unwrap().mod_revision));
    }
    assert_eq!(told, wanted);
    let _: pb::Done = client.ask("/v3lockpb.Lock/Unlock", pb::UnlockRequest { key: held.key }).await.unwrap();
    assert_eq!(second.await.unwrap().key, b"l/2");
    front.leaders.put_forward(Duration::from_secs(601));
    assert_eq!(client.range(between("l/", "l0")).await.unwrap().count, 0, "their leases have ended");
}

/// A put of which the reply is lost with the stay is told as not known, and is done once or not at all.
#[tokio::test]
async fn a_put_without_a_reply_is_not_said_to_be_done_or_not_done() {
    let front = Behind::start(3, 2).await;
    let client = front.client().await;
    let (mut known, mut unknown) = (0, 0);
    for step in 0..40 {
        let put = tokio::spawn({
            let client = client.clone();
            async move { client.put(put("k", &step.to_string())).await }
        });
        tokio::time::sleep(Duration::from_millis(step % 7)).await;
        front.leaders.join_again();
        match put.await.unwrap() {
            Ok(_) => known += 1,
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
                unknown += 1;
            }
        }
    }
    let found = client.range(range("k")).await.unwrap();
    let version = found.kvs.first().map_or(0, |kv| kv.version);
    assert_eq!(version, revision(found.header) - 1);
    assert!((known..=known + unknown).contains(&version), "{known} known, {unknown} unknown, {version} done");
    assert!(known > 0 && unknown > 0, "{known} {unknown}");
}
