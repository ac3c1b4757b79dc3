//! What one hacked leader sends by hand: repeats, made-up references, numbers from the end of time.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringfort_agreement::block::{Body, Parent, Sealed, push_message};
use ringfort_agreement::limits::STATE_BYTES_MAX;
use ringfort_agreement::wire::{Frame, PartName};
use ringfort_agreement::{Agreement, Author, Config, Cx, Digest, Effect, Event, Memory, Record, Rules, Step, Time};
use ringfort_agreement_sim::keys::simulated;

const EPOCH: Digest = Digest([1; 32]);

fn author(place: u8) -> Author {
    Author::new(place).unwrap()
}

/// Leaders whose frames arrive at once.
struct Table {
    cores: Vec<Agreement>,
    now: Time,
    rng: ChaCha12Rng,
    state_bytes: usize,
    due: usize,
    told: Vec<Event>,
    persisted: BTreeMap<usize, usize>,
}

impl Table {
    fn new(n: u8, f: u8, state_bytes: usize) -> Self {
        let keys = simulated(1, n, f);
        let rules = Rules::new(n, f).unwrap();
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let start = |me: Author, rng: &mut ChaCha12Rng| {
            let config = Config { checkpoint_slots: 8, ..Config::new(me, EPOCH, rules) };
            let mut cx = Cx { now: Time::ZERO, unix_ms: 1, rng };
            Agreement::start(&mut cx, config, keys[me.index()].clone(), Memory::New).0
        };
        let cores = Author::all(n).map(|me| start(me, &mut rng)).collect();
        let (told, persisted) = (Vec::new(), BTreeMap::new());
        Table { cores, now: Time::ZERO, rng, state_bytes, due: 0, told, persisted }
    }

    fn with<T>(&mut self, at: usize, does: impl FnOnce(&mut Agreement, &mut Cx<'_>) -> T) -> T {
        let unix_ms = 1_700_000_000_000 + u64::try_from(self.now.since_start().as_millis()).unwrap();
        let mut cx = Cx { now: self.now, unix_ms, rng: &mut self.rng };
        does(&mut self.cores[at], &mut cx)
    }

    fn carry(&mut self, at: usize, step: Step) {
        let mut work = vec![(at, step)];
        while let Some((at, step)) = work.pop() {
            for event in step.events {
                if let Event::CheckpointDue { position } = event {
                    self.due += 1;
                    let state = vec![0; self.state_bytes];
                    let next = self.with(at, |core, cx| core.provide_state(cx, position, state));
                    work.push((at, next));
                } else if !matches!(event, Event::Sequenced(_) | Event::Certified(_)) {
                    self.told.push(event);
                }
            }
            for effect in step.effects {
                match effect {
                    Effect::Persist(records) => {
                        let bytes = |record: &Record| match record {
                            Record::Checkpoint { state, .. } => state.len(),
                            _ => 0,
                        };
                        *self.persisted.entry(at).or_default() += records.iter().map(bytes).sum::<usize>();
                    }
                    Effect::Send { to, frame } => {
                        for peer in to.iter() {
                            let from = author(u8::try_from(at).unwrap());
                            let next = self.with(peer.index(), |core, cx| core.on_frame(cx, from, &frame));
                            work.push((peer.index(), next));
                        }
                    }
                }
            }
        }
    }

    fn go(&mut self, millis: u64, load: bool) {
        for _ in 0..millis {
            self.now = self.now + Duration::from_millis(1);
            for at in 0..self.cores.len() {
                let step = if load {
                    self.with(at, |core, cx| core.submit(cx, vec![1; 8])).unwrap()
                } else {
                    self.with(at, |core, cx| core.on_wakeup(cx))
                };
                self.carry(at, step);
            }
        }
    }
}

#[test]
fn a_certificate_said_again_makes_nothing_durable_again() {
    let mut table = Table::new(4, 1, 200_000);
    table.go(200, true);
    table.go(500, false);
    assert!(table.due > 4, "checkpoints came: {}", table.due);
    // Leader 3 asks leader 0 for a state that there is not, and gets the newest certificate.
    let ask = Frame::Ask(PartName { position: 1 << 40, part: 0 }).encode();
    let step = table.with(0, |core, cx| core.on_frame(cx, author(3), &ask));
    let certificate = step.effects.iter().find_map(|effect| match effect {
        Effect::Send { frame, .. } if matches!(Frame::decode(frame), Ok(Frame::Certificate(_))) => Some(frame.clone()),
        _ => None,
    });
    let certificate = certificate.expect("a certificate");
    let before = table.persisted[&0];
    for _ in 0..100 {
        let step = table.with(0, |core, cx| core.on_frame(cx, author(3), &certificate));
        table.carry(0, step);
    }
    let written = table.persisted[&0] - before;
    assert_eq!(written, 0, "100 frames of {} bytes make a leader write {written} bytes", certificate.len());
}

#[test]
fn what_one_equivocator_makes_others_keep_is_bounded_in_an_idle_group() {
    let mut table = Table::new(4, 1, 100);
    table.go(60, true);
    table.go(500, false);
    let (rules, liar, liars) = (Rules::new(4, 1).unwrap(), author(3), simulated(1, 4, 1)[3].clone());
    let top = table.cores[0].quorum_round() + 8;
    let lowest = top - 40;
    // As many blocks of a round as those above can name: each names one of the round before, and one of the round before that.
    let mut wanted: BTreeMap<u64, usize> = [(top + 1, 0), (top, 1)].into();
    for round in (lowest..top).rev() {
        wanted.insert(round, (wanted[&(round + 1)] + wanted[&(round + 2)]).min(300));
    }
    let mut made: BTreeMap<u64, Vec<Sealed>> = BTreeMap::new();
    let mut next: BTreeMap<u64, usize> = BTreeMap::new();
    let mut number = 0u32;
    for round in lowest..=top {
        for _ in 0..wanted[&round] {
            let mut take = |at: u64| {
                let place = next.entry(at).or_default();
                *place += 1;
                made.get(&at).and_then(|all| all.get(*place - 1)).map(Sealed::reference)
            };
            let (before, earlier) = (take(round - 1), take(round - 2));
            let fake = |place: u8| Parent { author: author(place), digest: Digest([place + 1; 32]) };
            let own = before.map_or(fake(3), |name| Parent { author: liar, digest: name.digest });
            number += 1;
            let mut payload = Vec::new();
            push_message(&mut payload, &[&number.to_le_bytes()[..], &[0; 400]].concat());
            let body = Body {
                epoch: EPOCH,
                author: liar,
                round,
                clock_us: 5,
                parents: vec![fake(0), fake(1), own],
                weak: earlier.into_iter().collect(),
                coin: rules.coin_due(round).map(|_| [0; 128]),
                evidence: Vec::new(),
                payload,
            };
            made.entry(round).or_default().push(Sealed::sign(body, &*liars));
        }
    }
    // It sends what is asked for without waiting for the question, from the top down, over and over.
    let all: Vec<bytes::Bytes> =
        made.values().rev().flatten().map(|sealed| Frame::Block(sealed.block().as_ref().clone()).encode()).collect();
    let (mut place, mut counts) = (0, Vec::new());
    for second in 0..60u64 {
        for _ in 0..10 {
            table.go(0, false);
            table.now = table.now + Duration::from_millis(100);
            for _ in 0..400 {
                let frame = all[place % all.len()].clone();
                place += 1;
                let step = table.with(0, |core, cx| core.on_frame(cx, liar, &frame));
                table.carry(0, step);
            }
        }
        if second % 10 == 9 {
            counts.push((
                second + 1,
                table.cores[0].waiting().0,
                table.cores[0].bytes(),
                table.cores[0].quorum_round(),
            ));
        }
    }
    let (first, last) = (counts[0].1, counts[counts.len() - 1].1);
    assert!(last <= first * 5 / 4, "(second, waiting, bytes, round): {counts:?}; each block may have 512 KiB");
}

#[test]
fn a_state_that_is_too_large_is_told() {
    let mut table = Table::new(4, 1, STATE_BYTES_MAX + 1);
    table.go(20, true);
    table.go(200, false);
    assert!(table.due > 0);
    let told: Vec<String> = table.told.iter().map(|event| format!("{event:?}")).collect();
    assert!(!told.is_empty(), "{} checkpoints were due, none was ever stated, and nobody is told", table.due);
}

#[test]
fn a_status_from_the_end_of_time_makes_nobody_panic() {
    let mut table = Table::new(4, 1, 100);
    table.go(20, true);
    let status = ringfort_agreement::wire::Status {
        quorum_round: u64::MAX,
        lowest: u64::MAX,
        have: vec![u64::MAX; 64],
        checkpoint: u64::MAX,
        wants_round: u64::MAX,
        question: u64::MAX,
    };
    let frame = Frame::Status(status).encode();
    let step = table.with(0, |core, cx| core.on_frame(cx, author(3), &frame));
    table.carry(0, step);
    table.go(20, true);
}
