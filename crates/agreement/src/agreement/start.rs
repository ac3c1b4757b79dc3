//! Starting: from nothing, from what was made durable, or without it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ringfort_kernel::{Budget, Cx, Time, codec};

use super::{Agreement, Memory, Own, Peer, Recovery, admitting};
use crate::block::Sealed;
use crate::checkpoint::{Certificate, Checkpoints, Parts, State};
use crate::coin::Coins;
use crate::dag::Dag;
use crate::ids::{Author, AuthorSet};
use crate::keys::Keys;
use crate::limits::Config;
use crate::pace::Pace;
use crate::pending::Pending;
use crate::reached::{Reached, Signer};
use crate::rules::Rule;
use crate::sequence::Log;
use crate::step::{Event, Record, Step};
use crate::verify::Verifier;
use crate::wire::Status;

impl Agreement {
    /// Starts a leader with what it remembers.
    pub fn start(cx: &mut Cx<'_>, config: Config, keys: Arc<dyn Keys>, memory: Memory) -> (Self, Step) {
        let mut core = Self::empty(cx, config, keys);
        match memory {
            Memory::New => {}
            Memory::Lost if !core.config.rules.enforces(Rule::LostDisk) => {}
            Memory::Lost => {
                core.made_up_to(cx, None);
                core.persist(vec![Record::MadeUpTo(None)]);
            }
            Memory::Kept(records) => {
                core.replay(cx, records);
                core.finding = Some(AuthorSet::EMPTY);
            }
        }
        let step = core.settle(cx);
        (core, step)
    }

    fn made_up_to(&mut self, cx: &mut Cx<'_>, made: Option<u64>) {
        let question = cx.rng.next_u64() | 1;
        match made {
            Some(round) => (self.recovering, self.own_round) = (None, self.own_round.max(round)),
            None => self.recovering = Some(Recovery { question, answers: BTreeMap::new() }),
        }
    }

    fn empty(cx: &mut Cx<'_>, config: Config, keys: Arc<dyn Keys>) -> Self {
        let (rules, me, n) = (config.rules, config.me, config.rules.n());
        let rate = config.serve_bytes_per_second;
        let serve = Budget::new(cx.now, rate, rate.max(2 * 1024 * 1024));
        let check = admitting::budget(cx.now);
        let (status, again) = (Status::default(), (u64::MAX, Time::ZERO));
        let peer = || Peer { status: status.clone(), serve, check, again, forged: false, helped: None };
        let peers = Author::all(n).filter(|author| *author != me).map(|author| (author, peer())).collect();
        Agreement {
            verifier: Verifier::new(config.epoch, rules, keys.clone()),
            dag: Dag::new(n),
            pending: Pending::new(n, me, config.timers.fetch_retry, cx.now),
            coins: Coins::new(rules),
            log: Log::default(),
            checkpoints: Checkpoints::new(rules),
            transfer: None,
            pace: Pace::new(n),
            peers,
            own_round: 0,
            recovering: None,
            finding: None,
            quorum_round: 0,
            gap: 0,
            before: Reached::Nothing,
            is_fresh: true,
            own: BTreeMap::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            content: BTreeSet::new(),
            unsequenced: BTreeMap::new(),
            evidence: BTreeMap::new(),
            accused: BTreeMap::new(),
            to_persist: Vec::new(),
            status_at: Time::ZERO,
            status_sent: None,
            step: Step::default(),
            config,
            keys,
        }
    }

    /// Goes through what was made durable. A crash in the midst of writing leaves a shorter list: whatever it is, it has
    /// all own blocks that were sent.
    fn replay(&mut self, cx: &mut Cx<'_>, records: Vec<Record>) {
        let mut blocks = Vec::new();
        for record in records {
            match record {
                Record::Block(block) => blocks.push(block),
                Record::MadeUpTo(made) => self.made_up_to(cx, made),
                Record::Checkpoint { certificate, state, made_up_to, .. } => {
                    self.made_up_to(cx, made_up_to);
                    let newer = certificate.statement.position > self.log.position;
                    let state = codec::decode::<State>(&state).ok().filter(|_| newer);
                    let whole = state.and_then(|state| Some((Parts::of(&state)?, state)));
                    let is_it = |parts: &Parts| parts.digest() == certificate.statement.state;
                    let whole = whole.filter(|(parts, _)| is_it(parts) || !self.config.rules.enforces(Rule::DiskState));
                    if let Some((parts, state)) = whole.filter(|_| self.is_certified(&certificate)) {
                        self.log = state.log.clone();
                        self.coins.drop_below(self.log.next.round);
                        self.step.events.push(Event::Installed {
                            position: self.log.position,
                            index: self.log.index,
                            head: self.log.head,
                            application: state.application,
                        });
                        self.checkpoints.settle(certificate, parts);
                    }
                }
            }
        }
        self.quorum_round = self.past_quorum_round();
        let blocks: Vec<Sealed> =
            blocks.into_iter().map(|block| Sealed::unchecked(Arc::unwrap_or_clone(block))).collect();
        self.before = proven_by(&blocks, self.config.rules.honest_one());
        for block in blocks {
            self.replay_block(cx, block);
        }
        self.gap = self.find_gap();
        self.to_persist.clear();
        let newest = self.own.values().next_back().map(|own| own.sealed.reference());
        if let Some(newest) = newest {
            self.dag.cover(&newest);
        }
    }

    fn is_certified(&self, certificate: &Certificate) -> bool {
        self.verifier.is_certified(certificate) || !self.config.rules.enforces(Rule::DiskCertified)
    }

    fn replay_block(&mut self, cx: &mut Cx<'_>, sealed: Sealed) {
        let reference = sealed.reference();
        let is_own = reference.author == self.config.me;
        if is_own && self.config.rules.enforces(Rule::OneBlockARound) {
            self.own_round = self.own_round.max(reference.round);
        }
        if reference.round <= self.log.floor() || sealed.body().check(&self.config.epoch, &self.config.rules).is_err() {
            return;
        }
        let here = |name| self.dag.has(&name) || self.log.is_past(&name);
        if !sealed.references().all(here) {
            return;
        }
        let is_past = self.log.is_past(&reference);
        self.accept(cx, sealed.clone());
        if is_past {
            self.is_past(&reference);
        }
        if is_own {
            self.own.insert(reference.round, Own { sealed, made_at: Time::ZERO, sequenced: is_past, replayed: true });
        }
    }
}

/// The highest round of which blocks of `enough` authors were made durable, whether or not they can be used now.
fn proven_by(blocks: &[Sealed], enough: usize) -> Reached {
    let mut by_round: BTreeMap<u64, BTreeMap<Author, Signer>> = BTreeMap::new();
    for sealed in blocks {
        let (name, signature) = (sealed.reference(), sealed.block().signature);
        let signer = (name.author, name.digest, signature);
        by_round.entry(name.round).or_default().entry(name.author).or_insert(signer);
    }
    let highest = by_round.into_iter().rev().find(|(_, signers)| signers.len() >= enough);
    highest.map_or(Reached::Nothing, |(round, signers)| {
        let signers = signers.into_values().take(enough).collect();
        Reached::Blocks { round, signers }
    })
}
