//! What stands around a real ordering core while it is measured: it changes nothing, and counts.

use std::sync::{Arc, Mutex, PoisonError};

use rand_core::CryptoRng;
use ringfort_agreement::agreement::Memory;
use ringfort_agreement::block::messages;
use ringfort_agreement::fault::Fault;
use ringfort_agreement::keys::{Claim, CoinShare, Keys, Purpose, Toss};
use ringfort_agreement::sequence::Entry;
use ringfort_agreement::verify::{Checked, Opened, Verifier};
use ringfort_agreement::{Agreement, Author, Config, Cx, Effect, Record, Step, Time};
use ringfort_node::order::{CoreFigures, Machine, OrderCore, Ordering, Submitter};
use ringfort_runtime::Outside;

use super::meter::{Count, Meter, Stage};

/// What a journal puts before each record.
const RECORD_HEAD_BYTES: u64 = 21;

/// An ordering service that counts, of a leader that has never run. `started` is given the way to submit.
pub(super) fn counting(meter: &Arc<Meter>, started: impl FnOnce(Submitter) + Send + 'static) -> Ordering {
    let config: Arc<Mutex<Option<Config>>> = Arc::default();
    let machine = Counter { meter: meter.clone(), me: None, config: config.clone(), stamps: Vec::new() };
    let mut ordering = Ordering::with(move |submitter| {
        started(submitter);
        Box::new(machine)
    });
    let seen = config.clone();
    ordering.config =
        Box::new(move |config| *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(config.clone()));
    let meter = meter.clone();
    ordering.core = Box::new(move |core, keys| {
        // Begun anew with keys that count. The leader has never run, so nothing is lost by that.
        let config = config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let core = config.map_or(core, |config| {
            let keys = Arc::new(CountingKeys { keys, meter: meter.clone() });
            Agreement::start(&mut Outside::start().cx(), config, keys, Memory::New).0
        });
        Box::new(CountingCore { core, meter })
    });
    ordering
}

struct CountingKeys<K> {
    keys: Arc<K>,
    meter: Arc<Meter>,
}

impl<K> CountingKeys<K> {
    fn at<T>(&self, stage: Stage, act: impl FnOnce(&K) -> T) -> T {
        let before = self.meter.turn(stage);
        let done = act(&self.keys);
        self.meter.turn(before);
        done
    }
}

impl<K: Keys> Keys for CountingKeys<K> {
    fn sign(&self, purpose: Purpose, message: &[u8]) -> [u8; 64] {
        self.meter.count(Count::Signed, 1);
        self.at(Stage::Sign, |keys| keys.sign(purpose, message))
    }

    fn verify(&self, claims: &[Claim]) -> Vec<bool> {
        self.meter.count(Count::Checked, claims.len() as u64);
        self.at(Stage::Check, |keys| keys.verify(claims))
    }

    fn coin_share(&self, round: u64, rng: &mut dyn CryptoRng) -> CoinShare {
        self.at(Stage::Coin, |keys| keys.coin_share(round, rng))
    }

    fn toss(&self, round: u64, shares: &[(Author, CoinShare)], checked: bool) -> Toss {
        self.at(Stage::Coin, |keys| keys.toss(round, shares, checked))
    }
}

struct CountingCore {
    core: Agreement,
    meter: Arc<Meter>,
}

impl CountingCore {
    /// Lets the core do something, and counts what it asks of its driver, which is what comes next.
    fn step<T>(&mut self, act: impl FnOnce(&mut Agreement) -> (Step, T)) -> (Step, T) {
        self.meter.turn(Stage::Core);
        let (step, more) = act(&mut self.core);
        self.meter.turn(Stage::Machine);
        for effect in &step.effects {
            match effect {
                Effect::Persist(records) => {
                    self.meter.count(Count::JournalBytes, records.iter().map(bytes_of).sum());
                }
                Effect::Send { to, frame } => {
                    let (bytes, receivers) = (frame.len() as u64, to.len() as u64);
                    self.meter.count(Count::BytesMade, bytes);
                    self.meter.count(Count::FramesOut, receivers);
                    self.meter.count(Count::BytesOut, bytes * receivers);
                }
            }
        }
        self.meter.turn(Stage::CarryOut);
        (step, more)
    }
}

fn bytes_of(record: &Record) -> u64 {
    let bytes = match record {
        Record::Block(block) => borsh::object_length(block.as_ref()).unwrap_or_default(),
        Record::Checkpoint { state, .. } => state.len(),
        Record::MadeUpTo(_) => 0,
    };
    bytes as u64 + RECORD_HEAD_BYTES
}

impl OrderCore for CountingCore {
    fn open(&mut self, now: Time, from: Author, frame: &[u8]) -> Option<Result<Opened, Fault>> {
        self.meter.count(Count::BytesIn, frame.len() as u64);
        self.meter.turn(Stage::Read);
        let opened = self.core.open(now, from, frame);
        // The signatures of all frames are checked when the last one is read.
        self.meter.turn(Stage::Check);
        opened
    }

    fn verifier(&self) -> Verifier {
        self.core.verifier()
    }

    fn on_many(&mut self, cx: &mut Cx<'_>, frames: Vec<(Author, Result<Checked, Fault>)>) -> Step {
        self.step(|core| (core.on_many(cx, frames), ())).0
    }

    fn submit_all(&mut self, cx: &mut Cx<'_>, messages: Vec<Vec<u8>>) -> (Step, Vec<Vec<u8>>) {
        self.step(|core| core.submit_all(cx, messages))
    }

    fn provide_state(&mut self, cx: &mut Cx<'_>, position: u64, state: Vec<u8>) -> Step {
        self.step(|core| (core.provide_state(cx, position, state), ())).0
    }

    fn on_peer_up(&mut self, cx: &mut Cx<'_>, peer: Author) -> Step {
        self.step(|core| (core.on_peer_up(cx, peer), ())).0
    }

    fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step {
        self.step(|core| (core.on_wakeup(cx), ())).0
    }

    fn next_wakeup(&self) -> Option<Time> {
        self.meter.turn(Stage::Core);
        let next = self.core.next_wakeup();
        self.meter.turn(Stage::Take);
        next
    }

    fn figures(&self) -> CoreFigures {
        let figures = OrderCore::figures(&self.core);
        self.meter.set(Count::Rounds, figures.round);
        figures
    }
}

/// Counts the messages of the log. Each begins with the time at which its leader was given it.
struct Counter {
    meter: Arc<Meter>,
    me: Option<Author>,
    config: Arc<Mutex<Option<Config>>>,
    stamps: Vec<u64>,
}

impl Counter {
    fn me(&mut self) -> Option<Author> {
        if self.me.is_none() {
            self.me = self.config.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|config| config.me);
        }
        self.me
    }
}

impl Machine for Counter {
    fn on_entry(&mut self, entry: &Entry) {
        let before = self.meter.turn(Stage::Machine);
        let is_own = self.me() == Some(entry.block.reference().author);
        self.stamps.clear();
        let mut count = 0;
        for message in messages(&entry.block.body().payload) {
            count += 1;
            if is_own {
                self.stamps.extend(message.first_chunk().map(|stamp| u64::from_le_bytes(*stamp)));
            }
        }
        self.meter.ordered(count, &self.stamps);
        self.meter.turn(before);
    }

    fn state(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn install(&mut self, _index: u64, _state: Vec<u8>) {}
}
