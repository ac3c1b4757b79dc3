//! A deterministic network of participants: random delays, no order, crashes, and one participant that may do anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::group::LeaderInfo;
use ringfort_protocol::introduction::{Facts, Introduction};
use ringfort_protocol::{Cx, LeaderId, Policy, Rules, Time};

use crate::message::Message;
use crate::{
    Ceremony, Certificate, Confirmation, Effect, Event, Keys, Limits, Past, Reason, Step, Terms, Unconfirmed, Verdict,
};

pub const LIMITS: Limits =
    Limits { meeting: Duration::from_secs(120), round: Duration::from_secs(20), farewell: Duration::from_secs(10) };

const DELAY_MS_MAX: u64 = 400;

pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub fn leader(number: u8) -> LeaderId {
    LeaderId::new(number).unwrap()
}

pub fn keys(seed: u64, number: u8) -> Keys {
    let mut rng = rng(seed * 1000 + u64::from(number));
    Keys {
        link: Secret32::random(&mut rng),
        signing: SigningKey::generate(&mut rng),
        sealing: KemSecret::generate(&mut rng),
    }
}

pub fn introduction(seed: u64, number: u8) -> Introduction {
    let keys = keys(seed, number);
    let info = LeaderInfo {
        address: format!("leader-{number}.example:7400"),
        link_key: SigningKey::from_secret(&keys.link).verifying_key().to_bytes(),
        signing_key: keys.signing.verifying_key(),
        sealing_key: keys.sealing.public(),
    };
    let facts = Facts::new(|kind| format!("{} {number}", kind.word())).unwrap();
    Introduction::sign("garden", leader(number), info, facts, &keys.signing)
}

pub fn terms(seed: u64, n: u8, f: u8) -> Arc<Terms> {
    let introductions = (1..=n).rev().map(|number| introduction(seed, number)).collect();
    Arc::new(Terms::new(Rules::new(n, f, f + 1).unwrap(), Policy::default(), introductions).unwrap())
}

/// What a hostile participant sends in place of what the protocol makes it send.
pub type Deviation = Box<dyn FnMut(&Hostile<'_>, LeaderId, Message) -> Vec<Message>>;

/// What it works with: everything of one honest-looking participant.
pub struct Hostile<'a> {
    pub terms: &'a Terms,
    pub me: LeaderId,
    pub core: &'a Ceremony,
    pub signing: SigningKey,
    /// All frames that anybody has sent in this world, and before.
    pub heard: &'a [(LeaderId, Message)],
}

pub struct World {
    pub terms: Arc<Terms>,
    seed: u64,
    rng: ChaCha20Rng,
    now_ms: u64,
    order: u64,
    queue: BTreeMap<(u64, u64), (LeaderId, LeaderId, Vec<u8>)>,
    pub nodes: BTreeMap<LeaderId, Ceremony>,
    attempts: BTreeMap<LeaderId, u64>,
    pub persisted: BTreeMap<LeaderId, Unconfirmed>,
    pub reasons: BTreeMap<LeaderId, Reason>,
    pub confirmed: BTreeMap<LeaderId, Certificate>,
    pub failed: BTreeMap<LeaderId, Verdict>,
    pub settled: BTreeSet<LeaderId>,
    pub hostile: Option<LeaderId>,
    deviation: Option<Deviation>,
    pub heard: Vec<(LeaderId, Message)>,
    /// Who crashes, at which message it would handle.
    pub crash: Option<(LeaderId, u32)>,
}

impl World {
    pub fn new(seed: u64, n: u8, f: u8) -> Self {
        World {
            terms: terms(seed, n, f),
            seed,
            rng: rng(seed ^ 0x5eed),
            now_ms: 1,
            order: 0,
            queue: BTreeMap::new(),
            nodes: BTreeMap::new(),
            attempts: BTreeMap::new(),
            persisted: BTreeMap::new(),
            reasons: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            failed: BTreeMap::new(),
            settled: BTreeSet::new(),
            hostile: None,
            deviation: None,
            heard: Vec::new(),
            crash: None,
        }
    }

    pub fn deviate(&mut self, who: u8, deviation: Deviation) {
        self.hostile = Some(leader(who));
        self.deviation = Some(deviation);
    }

    pub fn honest(&self) -> Vec<LeaderId> {
        self.terms.rules().leaders().filter(|id| Some(*id) != self.hostile).collect()
    }

    /// Starts everybody that is not confirmed as a participant, and everybody that is as one that tells so.
    pub fn start_all(&mut self) {
        self.failed.clear();
        self.settled.clear();
        self.queue.clear();
        self.nodes.clear();
        for id in LeaderId::all(self.terms.rules().n()) {
            self.start(id);
        }
        for (a, b) in self.pairs() {
            let step = self.nodes.get_mut(&a).unwrap().on_link(b);
            self.carry_out(a, step);
        }
    }

    /// Starts everybody but one, who comes later.
    pub fn start_but(&mut self, late: LeaderId) {
        for id in LeaderId::all(self.terms.rules().n()).filter(|id| *id != late) {
            self.start(id);
        }
        for (a, b) in self.pairs().into_iter().filter(|(a, b)| *a != late && *b != late) {
            let step = self.nodes.get_mut(&a).unwrap().on_link(b);
            self.carry_out(a, step);
        }
    }

    /// Starts one more, with links to all.
    pub fn come(&mut self, id: LeaderId) {
        self.restart(id);
    }

    /// Until nothing is left to deliver before this much time has passed.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now_ms + u64::try_from(time.as_millis()).unwrap();
        while let Some(key) = self.queue.keys().next().copied().filter(|key| key.0 < until) {
            self.deliver(key);
        }
        self.now_ms = until;
    }

    fn pairs(&self) -> Vec<(LeaderId, LeaderId)> {
        let ids: Vec<LeaderId> = self.terms.rules().leaders().collect();
        ids.iter().flat_map(|a| ids.iter().map(|b| (*a, *b))).filter(|(a, b)| a != b).collect()
    }

    fn start(&mut self, id: LeaderId) {
        let now = Time::from_start(Duration::from_millis(self.now_ms));
        if let Some(certificate) = self.confirmed.get(&id) {
            let core = Ceremony::over(self.terms.clone(), id, certificate.clone(), LIMITS, now);
            self.nodes.insert(id, core);
            return;
        }
        let confirmed = self.persisted.get(&id).map(|held| &held.confirmation);
        let confirmed = confirmed.map(|held| Confirmation::from_bytes(&held.to_bytes()).unwrap());
        let attempt = self.attempts.entry(id).or_default();
        *attempt += u64::from(confirmed.is_none());
        let attempt = *attempt;
        let reason = self.reasons.get(&id).map(|reason| Reason::from_bytes(&reason.to_bytes()).unwrap());
        let keys = keys(self.seed, id.number());
        let mut cx = Cx { now, unix_ms: 0, rng: &mut self.rng };
        let past = Past { confirmed, attempt, reason };
        let (core, step) = Ceremony::start(self.terms.clone(), id, keys, past, LIMITS, &mut cx).unwrap();
        self.nodes.insert(id, core);
        self.carry_out(id, step);
    }

    /// Until nothing happens any more.
    pub fn run(&mut self) {
        for _ in 0..200_000 {
            let wake = self.nodes.iter().filter_map(|(id, core)| Some((core.next_wakeup()?, *id))).min();
            let message = self.queue.keys().next().copied();
            match (message, wake) {
                (None, None) => return,
                (Some((at, _)), Some((wake, id))) if Time::from_start(Duration::from_millis(at)) > wake => {
                    self.wake(id, wake);
                }
                (None, Some((wake, id))) => self.wake(id, wake),
                (Some(key), _) => self.deliver(key),
            }
        }
        panic!("it does not end");
    }

    fn wake(&mut self, id: LeaderId, at: Time) {
        self.now_ms = self.now_ms.max(u64::try_from(at.since_start().as_millis()).unwrap());
        let mut cx = Cx { now: at, unix_ms: 0, rng: &mut self.rng };
        let step = self.nodes.get_mut(&id).unwrap().on_wakeup(&mut cx);
        self.carry_out(id, step);
    }

    fn deliver(&mut self, key: (u64, u64)) {
        let (from, to, frame) = self.queue.remove(&key).unwrap();
        self.now_ms = key.0;
        if let Some((who, left)) = &mut self.crash
            && *who == to
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.crash = None;
                return self.restart(to);
            }
        }
        let now = Time::from_start(Duration::from_millis(self.now_ms));
        let mut cx = Cx { now, unix_ms: 0, rng: &mut self.rng };
        let Some(core) = self.nodes.get_mut(&to) else { return };
        let step = core.on_message(&mut cx, from, &frame);
        self.carry_out(to, step);
    }

    /// Loses everything that is not durable, and all that is under way to it.
    fn restart(&mut self, id: LeaderId) {
        self.queue.retain(|_, (_, to, _)| *to != id);
        self.start(id);
        for other in LeaderId::all(self.terms.rules().n()).filter(|other| *other != id) {
            for (a, b) in [(id, other), (other, id)] {
                let step = self.nodes.get_mut(&a).unwrap().on_link(b);
                self.carry_out(a, step);
            }
        }
    }

    fn carry_out(&mut self, me: LeaderId, step: Step) {
        for effect in step.effects {
            match effect {
                Effect::Send(to, frame) => self.send(me, to, frame),
                Effect::Persist(unconfirmed) => {
                    assert!(
                        self.persisted.insert(me, *unconfirmed).is_none(),
                        "{me} confirmed twice with the same keys"
                    );
                }
                Effect::Remember(reason) => drop(self.reasons.insert(me, reason)),
                Effect::Confirm(certificate) => {
                    let (session, group) = certificate.check(&self.terms).expect("a certificate is checked");
                    let held = self.persisted.get(&me).expect("what is confirmed was persisted");
                    assert_eq!((held.session, held.group.id().0), (session, group));
                    self.confirmed.insert(me, certificate);
                }
            }
        }
        for event in step.events {
            match event {
                Event::Failed(verdict) => drop(self.failed.insert(me, verdict)),
                Event::Settled => drop(self.settled.insert(me)),
                _ => {}
            }
        }
    }

    fn send(&mut self, me: LeaderId, to: LeaderId, frame: Vec<u8>) {
        let message = Message::from_frame(&frame).expect("what is sent can be read");
        self.heard.push((me, message.clone()));
        let messages = match (&mut self.deviation, self.hostile == Some(me)) {
            (Some(deviation), true) => {
                let signing = keys(self.seed, me.number()).signing;
                let core = self.nodes.get(&me);
                match core {
                    Some(core) => {
                        let hostile = Hostile { terms: &self.terms, me, core, signing, heard: &self.heard };
                        deviation(&hostile, to, message)
                    }
                    None => vec![message],
                }
            }
            _ => vec![message],
        };
        for message in messages {
            self.post(me, to, message.to_frame());
        }
    }

    pub fn post(&mut self, from: LeaderId, to: LeaderId, frame: Vec<u8>) {
        self.order += 1;
        let at = self.now_ms + 1 + self.rng.next_u64() % DELAY_MS_MAX;
        self.queue.insert((at, self.order), (from, to, frame));
    }

    /// As if everybody had started so often before.
    pub fn attempts_from(&mut self, attempt: u64) {
        self.attempts = self.terms.rules().leaders().map(|id| (id, attempt)).collect();
    }

    /// Whoever finished has the same group, and a share of it.
    #[track_caller]
    pub fn check_agreement(&self) {
        let mut groups = BTreeSet::new();
        for id in self.honest().iter().filter(|id| self.confirmed.contains_key(id)) {
            let Unconfirmed { group, secrets, .. } = &self.persisted[id];
            groups.insert(group.id());
            assert_eq!(secrets.id, *id);
            assert!(secrets.group_share.belongs_to(&group.group_keys));
            assert!(secrets.coin_share.belongs_to(&group.coin_keys));
        }
        assert!(groups.len() <= 1, "two groups came out: {groups:?}");
    }

    /// All of the honest finished, or none.
    #[track_caller]
    pub fn check_all_or_none(&self) {
        let finished = self.honest().iter().filter(|id| self.confirmed.contains_key(id)).count();
        assert!(finished == 0 || finished == self.honest().len(), "{finished} finished: {:?}", self.failed);
    }

    /// Honest ones that failed name the hostile one, and never each other.
    #[track_caller]
    pub fn check_blame(&self) {
        for (id, verdict) in self.failed.iter().filter(|(id, _)| Some(**id) != self.hostile) {
            assert!(!verdict.blames.is_empty(), "{id} blames nobody");
            for blame in &verdict.blames {
                let through = blame.reason.map(|(about, _)| about);
                assert!(Some(blame.leader) == self.hostile || through == self.hostile, "{id}: {blame}");
                if blame.fault.is_deviation() {
                    assert_eq!(Some(blame.leader), self.hostile, "{id}: {blame}");
                }
                if let Some(evidence) = &blame.evidence {
                    let read = crate::Evidence::from_bytes(&evidence.to_bytes()).unwrap();
                    assert_eq!(read.check(&self.terms), Some((blame.leader, blame.fault)));
                }
            }
        }
    }
}
