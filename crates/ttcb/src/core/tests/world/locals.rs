//! What local processes do and are told, and what has to hold of that.

use std::collections::BTreeMap;

use rand_chacha::rand_core::Rng;
use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::secret::Secret32;
use ringfort_kernel::Cx;

use super::{Known, ROUND_US, SLACK_US, World};
use crate::core::asking::greeted;
use crate::core::call::{CALL_BYTES, Call, Kind, Reply, Verdict, clear};
use crate::core::entities::{Direction, key_name};
use crate::core::frame::Proposals;
use crate::core::ids::{Block, COMPONENTS_MAX, Decision, Entity, Epoch, Index, Tag};
use crate::core::instance::{Outcome, Terms};
use crate::core::rules::LIFETIME;

impl World {
    /// Sends a request of a local process, and opens the answer.
    fn ask(&mut self, index: Index, call: &Call) -> Option<Reply> {
        let now = self.local(index);
        let host = &mut self.hosts[index.place()];
        let component = host.component.as_mut()?;
        let mut cx = Cx { now, unix_ms: 0, rng: &mut self.rng };
        if host.session.is_none() {
            let place = component.connected(now, 1000)?;
            let challenge = *Secret32::random(cx.rng).expose();
            let hello = clear(Kind::Hello, 0, &[&host.entity.public().to_bytes(), &challenge]);
            let answer = component.on_request(&mut cx, place, &hello);
            let (who, epoch, channel) = greeted(&self.group, &host.entity, &challenge, &answer)?;
            assert_eq!((who, epoch.0), (index, host.epoch));
            host.session = Some((place, channel, 0));
        }
        let (place, channel, number) = host.session.as_mut()?;
        *number += 1;
        let request = channel.seal(Direction::Request, *number, &call.encode());
        let answer = component.on_request(&mut cx, *place, &request);
        Reply::decode(&channel.open(Direction::Answer, &answer)?)
    }

    pub fn status(&mut self, index: Index) -> crate::core::call::Status {
        let now = self.local(index);
        self.hosts[index.place()].component.as_mut().unwrap().status(now)
    }

    /// What an honest entity does: it proposes in each agreement that it is in, and asks what came of it.
    pub(super) fn entity(&mut self, index: Index) {
        let Some(group_us) = self.group_us() else { return };
        // The first when components have had the time to hear each other.
        if self.now_us > 1_400_000 && group_us > self.last_made_us + 300_000 {
            self.make(group_us);
        }
        for tag in self.order.clone() {
            let Some(known) = self.known.get(&tag) else { continue };
            let terms = known.terms;
            if terms.entities[index.place()] != self.entity_of(index) || !terms.listed.has(index) {
                continue;
            }
            if group_us > terms.start_us + LIFETIME.as_micros() as u64 / 2 {
                continue;
            }
            let done = known.told_late.contains_key(&index.get());
            if !known.proposed.contains_key(&index.get()) && !done && self.below(4) > 0 {
                self.propose(index, tag, terms);
            } else if !done {
                self.decide(index, tag, &terms);
            }
        }
    }

    fn entity_of(&self, index: Index) -> Entity {
        let host = &self.hosts[index.place()];
        Entity { epoch: Epoch(host.epoch), key: key_name(&host.entity.public()) }
    }

    /// A new agreement among entities, which learn of it in other ways.
    fn make(&mut self, group_us: u64) {
        self.last_made_us = group_us;
        let mut entities = [Entity::default(); COMPONENTS_MAX];
        let listed = self.group.indices().collect();
        for index in self.group.indices() {
            entities[index.place()] = self.entity_of(index);
        }
        let decision = match self.below(4) {
            0 => Decision::Majority,
            1 => Decision::Collect,
            2 => Decision::Of(Index::new(self.below(self.weather.components as u64) as usize).unwrap()),
            _ => Decision::Equality,
        };
        let terms =
            Terms { decision, start_us: group_us + 40_000 + self.below(120_000), name: group_us, listed, entities };
        let tag = terms.tag(self.group.id());
        let deadline_us = terms.start_us + crate::core::rules::AGREE_ROUNDS * ROUND_US;
        let deadline_real_us = self.now_us + deadline_us.saturating_sub(group_us);
        let known =
            Known { terms, deadline_real_us, proposed: BTreeMap::new(), verdict: None, told_late: BTreeMap::new() };
        self.known.insert(tag, known);
        self.order.push_back(tag);
        if self.order.len() > 24 {
            self.order.pop_front();
        }
    }

    fn propose(&mut self, index: Index, tag: Tag, terms: Terms) {
        // Mostly the same block; now and then another about the same, or one about something else.
        let block = match self.below(8) {
            0 => [&[7; 8][..], &[index.get(); 24]].concat(),
            1 => vec![index.get() + 1; 32],
            _ => vec![7; 32],
        };
        let block: Block = block.try_into().unwrap();
        for block in [block, [0x55; 32]] {
            let reply = self.ask(index, &Call::Propose(terms, block));
            if reply == Some(Reply::Proposed(tag)) {
                let known = self.known.get_mut(&tag).unwrap();
                if known.proposed.insert(index.get(), block).is_some_and(|before| before != block) {
                    return self.broken(format!("two proposals of {index:?} were taken"));
                }
            }
            if !self.weather.hostile_entities {
                return;
            }
        }
    }

    fn decide(&mut self, index: Index, tag: Tag, terms: &Terms) {
        let before = self.group_us().unwrap_or_default();
        let deadline = terms.start_us + crate::core::rules::AGREE_ROUNDS * ROUND_US;
        match self.ask(index, &Call::Decide(tag)) {
            Some(Reply::Pending) if before > deadline + SLACK_US => {
                self.broken(format!("{index:?} says that an agreement is pending after its deadline"));
            }
            Some(Reply::TimingFailure) => self.timing_failures += 1,
            Some(Reply::Decided(verdict, signature)) => {
                let epoch = Epoch(self.hosts[index.place()].epoch);
                let words = crate::core::signed::verdict(&self.group, index, epoch, &verdict);
                assert_eq!(words.verify(&signature), Ok(()));
                self.decided += 1;
                self.in_time += usize::from(!verdict.late);
                self.known.get_mut(&tag).unwrap().told_late.insert(index.get(), verdict.late);
                self.check_verdict(tag, verdict);
            }
            _ => {}
        }
    }

    /// One result for one tag, and one that follows from what was proposed.
    fn check_verdict(&mut self, tag: Tag, verdict: Verdict) {
        let known = self.known.get_mut(&tag).unwrap();
        let same = Verdict { late: false, latency_us: 0, ..verdict };
        if *known.verdict.get_or_insert(same) != same {
            let first = known.verdict;
            return self.broken(format!("two results for one tag: {first:?} and {same:?}"));
        }
        let mut counted = Proposals::default();
        for index in verdict.proposed_any.iter() {
            match known.proposed.get(&index.get()) {
                Some(block) => counted.insert(index, *block),
                None => return self.broken(format!("a proposal of {index:?} counts that it did not make")),
            }
        }
        let expected = Outcome::of(known.terms.decision, known.terms.listed, &counted);
        let masks = [expected.proposed_ok, expected.deviant, expected.elsewhere, expected.silent];
        if expected.block != verdict.block
            || masks != [verdict.proposed_ok, verdict.deviant, verdict.elsewhere, verdict.silent]
        {
            self.broken(format!("the result does not follow from the proposals: {verdict:?}"));
        }
    }

    /// Other processes on the same host: they flood, guess, propose in others' agreements and open their own.
    pub(super) fn hostile_entity(&mut self, index: Index) {
        let now = self.local(index);
        let open = self.order.back().and_then(|tag| self.known.get(tag)).map(|known| known.terms);
        let mut noise = [0; CALL_BYTES];
        self.rng.fill_bytes(&mut noise);
        let host = &mut self.hosts[index.place()];
        let Some(component) = host.component.as_mut() else { return };
        let mut cx = Cx { now, unix_ms: 0, rng: &mut self.rng };
        if host.hostile.is_none() {
            let Some(place) = component.connected(now, 666) else { return };
            let secret = KemSecret::generate(cx.rng);
            let hello = clear(Kind::Hello, 0, &[&secret.public().to_bytes(), &[1; 32]]);
            let answer = component.on_request(&mut cx, place, &hello);
            let Some((_, _, channel)) = greeted(&self.group, &secret, &[1; 32], &answer) else { return };
            host.hostile = Some((place, secret, channel, 0));
        }
        let Some((place, secret, channel, number)) = host.hostile.as_mut() else { return };
        let own = Entity { epoch: Epoch(host.epoch), key: key_name(&secret.public()) };
        let mut calls = Vec::new();
        if let Some(mut terms) = open {
            calls.push((Call::Propose(terms, [0x66; 32]), true));
            terms.entities[index.place()] = own;
            terms.name = *number;
            calls.push((Call::Propose(terms, [0x66; 32]), false));
        }
        for (call, forbidden) in calls {
            *number += 1;
            let request = channel.seal(Direction::Request, *number, &call.encode());
            let answer = component.on_request(&mut cx, *place, &request);
            let reply = channel.open(Direction::Answer, &answer).and_then(|body| Reply::decode(&body));
            if forbidden && matches!(reply, Some(Reply::Proposed(_))) {
                return self.broken(format!("a stranger's proposal is taken at {index:?}"));
            }
        }
        component.on_request(&mut cx, *place, &noise);
    }

    /// What is decided now was decided in time, if the component says so: by the world's own time, too.
    pub(super) fn look(&mut self, index: Index) {
        let mut wrong = None;
        let epoch = self.hosts[index.place()].epoch;
        let Some(component) = &self.hosts[index.place()].component else { return };
        for (tag, known) in self.order.iter().filter_map(|tag| Some((tag, self.known.get(tag)?))) {
            let Some(decided) = component.agreements.get(tag).and_then(|instance| instance.decided()) else { continue };
            let news = self.seen.insert((*tag, index.get(), epoch));
            if news && !decided.late && self.now_us > known.deadline_real_us + SLACK_US {
                wrong = Some(format!("{index:?} decided late and does not say so"));
            }
        }
        if let Some(wrong) = wrong {
            self.broken(wrong);
        }
    }

    /// A clock that states a bound differs from a majority's clocks by no more.
    pub(super) fn check_clock(&mut self, index: Index) {
        let raw_us = crate::core::micros(self.local(index));
        let Some(component) = self.hosts[index.place()].component.as_mut() else { return };
        let mine = component.clock.now(raw_us);
        let Some(error) = component.clock.error_us(raw_us) else { return };
        let component = self.hosts[index.place()].component.as_ref().unwrap();
        // Of those that were started again since it heard them, it says nothing.
        let known = |other: &Index| component.peers.epoch_of(*other) == Some(Epoch(self.hosts[other.place()].epoch));
        let close = |other: &Index| self.reading(*other).is_none_or(|theirs| theirs.abs_diff(mine) <= error);
        let close = |other: &Index| !known(other) || close(other);
        let count = self.group.indices().filter(close).count();
        if count < self.weather.components / 2 + 1 {
            self.broken(format!("{index:?} says that its clock is within {error} us, and it is not"));
        }
    }
}
