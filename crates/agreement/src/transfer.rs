//! Fetching a certified state in parts, from any leaders: each part is checked by its hash before it is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use ringfort_kernel::codec;

use crate::checkpoint::{Certificate, Parts, State, list_digest, part_digest};
use crate::ids::{Author, AuthorSet, Digest};
use crate::limits::{PART_BYTES, PARTS_ASKED_MAX, STATE_BYTES_MAX};
use crate::rules::{Rule, Rules};
use crate::wire::PartName;
use ringfort_kernel::Time;

/// How long a peer has for a part before another is asked.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long nothing may come before a newer state is fetched instead.
const STALLED: Duration = Duration::from_secs(1);

/// What came of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was not asked for, or is kept.
    Nothing,
    /// Its hash is wrong.
    Bad,
    /// The state is complete.
    Complete(Box<(State, Parts)>),
}

/// One state on its way.
#[derive(Clone, Debug)]
pub struct Transfer {
    certificate: Certificate,
    rules: Rules,
    digests: Option<Vec<Digest>>,
    parts: BTreeMap<u32, Vec<u8>>,
    asked: BTreeMap<u32, (Author, Time)>,
    turn: usize,
    progress: Time,
}

impl Transfer {
    /// Begins; `None` for a state larger than allowed.
    pub fn new(now: Time, certificate: Certificate, rules: Rules) -> Option<Self> {
        (certificate.statement.state_bytes <= STATE_BYTES_MAX as u64).then_some(Transfer {
            certificate,
            rules,
            digests: None,
            parts: BTreeMap::new(),
            asked: BTreeMap::new(),
            turn: 0,
            progress: now,
        })
    }

    /// The checkpoint that it is for.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn is_slow(&self, now: Time) -> bool {
        now.since(self.progress) >= PATIENCE
    }

    /// Whether nothing has come for long: nobody may have this state any more.
    pub fn is_stalled(&self, now: Time) -> bool {
        now.since(self.progress) >= STALLED
    }

    /// Whom to ask for what now: those that signed the checkpoint first, since they have the state, then everybody. They
    /// take turns, so that a silent one costs one wait.
    pub fn ask(&mut self, now: Time, peers: AuthorSet) -> Vec<(Author, PartName)> {
        let expired = |(_, at): &(Author, Time)| now.since(*at) >= PATIENCE;
        self.asked.retain(|_, asked| !expired(asked));
        let lacking: Vec<u32> = match &self.digests {
            None => vec![0],
            Some(digests) => (1..).take(digests.len()).filter(|part| !self.parts.contains_key(part)).collect(),
        };
        let room = PARTS_ASKED_MAX.saturating_sub(self.asked.len());
        let new: Vec<u32> = lacking.into_iter().filter(|part| !self.asked.contains_key(part)).take(room).collect();
        let signers: Vec<Author> = self.certificate.signatures.iter().map(|(author, _)| *author).collect();
        let first: Vec<Author> = peers.iter().filter(|peer| signers.contains(peer)).collect();
        let peers: Vec<Author> = if self.is_slow(now) || first.is_empty() { peers.iter().collect() } else { first };
        let mut asks = Vec::new();
        for part in new {
            self.turn = self.turn.wrapping_add(1);
            let Some(peer) = peers.get(self.turn.checked_rem(peers.len()).unwrap_or(0)) else { continue };
            self.asked.insert(part, (*peer, now));
            asks.push((*peer, PartName { position: self.certificate.statement.position, part }));
        }
        asks
    }

    /// When to ask again.
    pub fn next_at(&self) -> Option<Time> {
        self.asked.values().map(|(_, at)| *at + PATIENCE).min()
    }

    /// A part has come. Kept only from whom it was asked, and only if its hash is the certified one.
    pub fn take(&mut self, now: Time, from: Author, name: PartName, bytes: Vec<u8>) -> Taken {
        let asked = self.asked.get(&name.part).is_some_and(|(peer, _)| *peer == from);
        if name.position != self.certificate.statement.position || !asked {
            return Taken::Nothing;
        }
        self.asked.remove(&name.part);
        let checks = self.rules.enforces(Rule::PartHash);
        if name.part == 0 {
            let digests = codec::decode::<Vec<Digest>>(&bytes).ok();
            let expected = (self.certificate.statement.state_bytes as usize).div_ceil(PART_BYTES);
            let fits = !checks || list_digest(&bytes) == self.certificate.statement.state;
            match digests.filter(|digests| fits && digests.len() == expected) {
                Some(digests) => (self.digests, self.progress) = (Some(digests), now),
                None => return Taken::Bad,
            }
            return Taken::Nothing;
        }
        let wanted = self.digests.as_ref().and_then(|digests| digests.get(name.part as usize - 1));
        if checks && wanted != Some(&part_digest(&bytes)) {
            return Taken::Bad;
        }
        self.parts.insert(name.part, bytes);
        self.progress = now;
        self.complete().map_or(Taken::Nothing, |whole| Taken::Complete(Box::new(whole)))
    }

    fn complete(&self) -> Option<(State, Parts)> {
        let digests = self.digests.as_ref()?;
        if self.parts.len() < digests.len() {
            return None;
        }
        let bytes: Vec<u8> = self.parts.values().flatten().copied().collect();
        let state: State = codec::decode(&bytes).ok()?;
        let parts = Parts::of(&state)?;
        Some((state, parts))
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.parts.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequence::Log;
    use crate::testing::{author, statement};

    #[test]
    fn a_part_counts_only_from_whom_it_was_asked_and_only_for_the_state_that_is_fetched() {
        let state = State { log: Log { position: 8, ..Log::default() }, application: vec![7; 100] };
        let parts = Parts::of(&state).unwrap();
        let mut says = statement(8, 0);
        (says.state, says.state_bytes) = (parts.digest(), parts.bytes().len() as u64);
        let signatures = vec![(author(1), [0; 64]), (author(2), [0; 64])];
        let certificate = Certificate { statement: says, signatures };
        let now = Time::ZERO;
        let mut transfer = Transfer::new(now, certificate, Rules::new(4, 1).unwrap()).unwrap();
        let peers: AuthorSet = (1..4).map(author).collect();
        for part in [0, 1] {
            let asked = transfer.ask(now, peers);
            let [(peer, name)] = asked[..] else { panic!("one part is asked for: {asked:?}") };
            assert_eq!(name, PartName { position: 8, part });
            let bytes = parts.part(part).unwrap().to_vec();
            for other in peers.without(peer).iter() {
                assert_eq!(transfer.take(now, other, name, bytes.clone()), Taken::Nothing, "{other} was not asked");
            }
            let elsewhere = PartName { position: 9, part };
            assert_eq!(transfer.take(now, peer, elsewhere, bytes.clone()), Taken::Nothing);
            assert_eq!(transfer.take(now, peer, PartName { part: 7, ..name }, bytes.clone()), Taken::Nothing);
            assert_eq!((transfer.digests.is_some(), transfer.bytes()), (part == 1, 0), "nothing was kept of those");
            let taken = transfer.take(now, peer, name, bytes.clone());
            match taken {
                Taken::Complete(whole) => assert_eq!((part, whole.0), (1, state.clone())),
                taken => assert_eq!((part, taken), (0, Taken::Nothing)),
            }
            assert_eq!(transfer.take(now, peer, name, bytes), Taken::Nothing, "it was asked for once");
        }
    }
}
