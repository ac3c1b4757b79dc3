//! Blocks that wait for others, and the questions for those.
//!
//! Nothing is kept that was not asked for, but a bounded number of each author's newest blocks. What is asked for was
//! named by a block that is kept, and that by another one, up to blocks that their authors sent: those authors are its
//! *roots*. Somebody pays for each block that waits: one of its roots other than its author, if there is one, and else
//! the author, who has far less room. So a hacked leader that names only its own blocks fills its own room and nothing
//! else; and since who pays must have needed the block, its room says nothing of what another leader needs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringfort_kernel::{Budget, Time};

use crate::block::Sealed;
use crate::ids::{Author, AuthorSet, Reference};
use crate::limits::{FETCH_MAX, HISTORY_ROUNDS};

/// Second blocks of one author and round that one root may bring: at once, and a second.
const VARIANTS_BURST: u64 = 512;
const VARIANTS_PER_SECOND: u64 = 64;
/// What one root may make wait besides its own blocks, in bytes.
const ROOT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest wait before a block is asked for again.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Questions after which a block is taken to be hard to get.
const STUCK_TRIES: u32 = 4;

#[derive(Clone, Debug)]
struct Waiting {
    sealed: Sealed,
    missing: BTreeSet<Reference>,
    roots: AuthorSet,
    payer: Author,
}

#[derive(Clone, Debug)]
struct Want {
    roots: AuthorSet,
    from: Author,
    next_at: Time,
    tries: u32,
}

/// Blocks that wait, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// How many.
    pub blocks: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl Account {
    fn add(&mut self, bytes: usize) {
        (self.blocks, self.bytes) = (self.blocks.saturating_add(1), self.bytes.saturating_add(bytes));
    }

    fn take(&mut self, bytes: usize) {
        (self.blocks, self.bytes) = (self.blocks.saturating_sub(1), self.bytes.saturating_sub(bytes));
    }
}

/// What one leader pays for.
#[derive(Clone, Debug)]
struct Payer {
    /// Its own blocks, that nobody else's block names.
    own: Account,
    /// Others' blocks.
    others: Account,
    variants: Budget,
}

/// Blocks that wait for others.
#[derive(Clone, Debug)]
pub struct Pending {
    n: u8,
    me: Author,
    retry: Duration,
    waiting: BTreeMap<Reference, Waiting>,
    namers: BTreeMap<Reference, BTreeSet<Reference>>,
    wants: BTreeMap<Reference, Want>,
    payers: Vec<Payer>,
    /// Whose wants come first in the next question.
    turn: usize,
}

impl Pending {
    /// Nothing waits.
    pub fn new(n: u8, me: Author, retry: Duration, now: Time) -> Self {
        let variants = Budget::new(now, VARIANTS_PER_SECOND, VARIANTS_BURST);
        let payer = Payer { own: Account::default(), others: Account::default(), variants };
        let payers = vec![payer; usize::from(n)];
        let (waiting, namers, wants) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Pending { n, me, retry, waiting, namers, wants, payers, turn: 0 }
    }

    /// Whether a block waits here.
    pub fn has(&self, reference: &Reference) -> bool {
        self.waiting.contains_key(reference)
    }

    /// For whose sake a block is asked for, if it is.
    pub fn wanted(&self, reference: &Reference) -> Option<AuthorSet> {
        self.wants.get(reference).map(|want| want.roots)
    }

    /// Who of `roots` has room for one more block of another author; a variant is paid for from a budget besides.
    pub fn payer(&mut self, roots: AuthorSet, bytes: usize, is_variant: bool, now: Time) -> Option<Author> {
        let blocks_max = 2 * usize::from(self.n) * HISTORY_ROUNDS as usize;
        roots.iter().find(|root| {
            self.payers.get_mut(root.index()).is_some_and(|payer| {
                let Account { blocks, bytes: held } = payer.others;
                let has_room = blocks < blocks_max && held.saturating_add(bytes) <= ROOT_BYTES_MAX;
                has_room && (!is_variant || payer.variants.take(now, 1))
            })
        })
    }

    /// Another waiting block of the same author and round.
    pub fn variant(&self, reference: &Reference) -> Option<&Sealed> {
        let round = Reference::lowest(reference.round)..Reference::lowest(reference.round.saturating_add(1));
        let other = |(other, _): &(&Reference, &Waiting)| other.author == reference.author && *other != reference;
        self.waiting.range(round).find(other).map(|(_, waiting)| &waiting.sealed)
    }

    /// Blocks of an author that wait though nobody else's block needs them.
    pub fn own_of(&self, author: Author) -> Account {
        self.payers.get(author.index()).map(|payer| payer.own).unwrap_or_default()
    }

    /// A block waits for `missing`, which are not accepted; whoever sent it is asked first.
    pub fn suspend(&mut self, now: Time, sealed: Sealed, missing: BTreeSet<Reference>, from: Author, payer: Author) {
        let reference = sealed.reference();
        let want = self.wants.remove(&reference);
        let roots = want.map_or(AuthorSet::EMPTY, |want| want.roots).with(reference.author);
        if let Some(account) = self.account(payer, reference.author) {
            account.add(sealed.bytes());
        }
        let waiting = Waiting { sealed, missing: missing.clone(), roots, payer };
        self.waiting.insert(reference, waiting);
        for name in missing {
            self.namers.entry(name).or_default().insert(reference);
            self.need(now, name, roots, from);
        }
    }

    fn account(&mut self, payer: Author, author: Author) -> Option<&mut Account> {
        let of = self.payers.get_mut(payer.index())?;
        Some(if payer == author { &mut of.own } else { &mut of.others })
    }

    /// A block is needed for the sake of `roots`, and so is all that it waits for.
    fn need(&mut self, now: Time, name: Reference, roots: AuthorSet, from: Author) {
        let mut todo = vec![name];
        while let Some(name) = todo.pop() {
            let Some(waiting) = self.waiting.get_mut(&name) else {
                let new = Want { roots: AuthorSet::EMPTY, from, next_at: now, tries: 0 };
                let want = self.wants.entry(name).or_insert(new);
                want.roots = want.roots.or(roots);
                continue;
            };
            if waiting.roots.covers(roots) {
                continue;
            }
            waiting.roots = waiting.roots.or(roots);
            todo.extend(waiting.missing.iter().copied());
            let other = waiting.roots.without(name.author).iter().next();
            if let Some(other) = other.filter(|_| waiting.payer == name.author) {
                let bytes = waiting.sealed.bytes();
                waiting.payer = other;
                self.account(name.author, name.author).into_iter().for_each(|account| account.take(bytes));
                self.account(other, name.author).into_iter().for_each(|account| account.add(bytes));
            }
        }
    }

    /// A block is accepted: returns those that waited for it alone.
    pub fn accepted(&mut self, reference: &Reference) -> Vec<Sealed> {
        self.wants.remove(reference);
        let namers = self.namers.remove(reference).unwrap_or_default();
        let mut ready = Vec::new();
        for namer in namers {
            let Some(waiting) = self.waiting.get_mut(&namer) else { continue };
            waiting.missing.remove(reference);
            if waiting.missing.is_empty() {
                ready.extend(self.remove(&namer).map(|waiting| waiting.sealed));
            }
        }
        ready
    }

    fn remove(&mut self, reference: &Reference) -> Option<Waiting> {
        let waiting = self.waiting.remove(reference)?;
        let account = self.account(waiting.payer, reference.author);
        account.into_iter().for_each(|account| account.take(waiting.sealed.bytes()));
        Some(waiting)
    }

    /// Blocks up to `floor` are needed no more: returns those that waited for such alone.
    pub fn drop_to(&mut self, floor: u64) -> Vec<Sealed> {
        let end = Reference::lowest(floor.saturating_add(1));
        let old: Vec<Reference> = self.waiting.range(..end).map(|(reference, _)| *reference).collect();
        for reference in old {
            self.forget(&reference);
        }
        let names: Vec<Reference> = self.namers.range(..end).map(|(name, _)| *name).collect();
        names.iter().flat_map(|name| self.accepted(name)).collect()
    }

    /// What only these leaders' blocks need is needed no more.
    pub fn drop_of(&mut self, convicted: AuthorSet) {
        let theirs = |(_, waiting): &(&Reference, &Waiting)| convicted.covers(waiting.roots);
        let theirs: Vec<Reference> = self.waiting.iter().filter(theirs).map(|(reference, _)| *reference).collect();
        for reference in theirs {
            self.forget(&reference);
        }
    }

    fn forget(&mut self, reference: &Reference) {
        let Some(waiting) = self.remove(reference) else { return };
        for name in waiting.missing {
            let Some(namers) = self.namers.get_mut(&name) else { continue };
            namers.remove(reference);
            if namers.is_empty() {
                self.namers.remove(&name);
                self.wants.remove(&name);
            }
        }
    }

    /// Whom to ask for what now.
    ///
    /// Roots take turns, each with what has been due for longest, so that one that needs ever so much leaves the others
    /// their share of a question. What finds no place in any is not asked for, and is due again soon.
    pub fn due(&mut self, now: Time, at_once: usize) -> BTreeMap<Author, Vec<Reference>> {
        let mut by_root: BTreeMap<Author, Vec<(Time, Reference)>> = BTreeMap::new();
        for (reference, want) in self.wants.iter().filter(|(_, want)| want.next_at <= now) {
            for root in Author::all(self.n).filter(|root| want.roots.has(*root)) {
                by_root.entry(root).or_default().push((want.next_at, *reference));
            }
        }
        let mut lists: Vec<Vec<(Time, Reference)>> = by_root.into_values().collect();
        if !lists.is_empty() {
            self.turn = self.turn.wrapping_add(1);
            let first = self.turn.checked_rem(lists.len()).unwrap_or(0);
            lists.rotate_left(first);
        }
        lists.iter_mut().for_each(|list| list.sort_unstable_by(|a, b| b.cmp(a)));
        let (mut questions, mut seen) = (BTreeMap::new(), BTreeSet::new());
        while lists.iter().any(|list| !list.is_empty()) {
            for list in &mut lists {
                let next = std::iter::from_fn(|| list.pop()).find(|(_, reference)| seen.insert(*reference));
                if let Some((_, reference)) = next {
                    self.ask(now, at_once, &reference, &mut questions);
                }
            }
        }
        questions
    }

    /// Asks first who sent the block that names it, then those whose blocks name it, then `f + 1` at once.
    fn ask(
        &mut self,
        now: Time,
        at_once: usize,
        reference: &Reference,
        questions: &mut BTreeMap<Author, Vec<Reference>>,
    ) {
        let Some(want) = self.wants.get_mut(reference) else { return };
        let others: Vec<Author> = Author::all(self.n).filter(|author| *author != self.me).collect();
        let peers: AuthorSet = match want.tries {
            0 => AuthorSet::EMPTY.with(want.from),
            1 => {
                let namers = self.namers.get(reference).into_iter().flatten().map(|namer| namer.author);
                namers.chain([reference.author]).collect()
            }
            tries => {
                let start = (tries as usize).saturating_mul(at_once);
                let place = |k: usize| start.wrapping_add(k).checked_rem(others.len()).unwrap_or(0);
                (0..at_once).filter_map(|k| others.get(place(k)).copied()).collect()
            }
        };
        let mut is_asked = false;
        for peer in others.into_iter().filter(|peer| peers.has(*peer)) {
            let question = questions.entry(peer).or_default();
            if question.len() < FETCH_MAX {
                question.push(*reference);
                is_asked = true;
            }
        }
        if is_asked || peers.without(self.me).is_empty() {
            let wait = self.retry.saturating_mul(1 << want.tries.min(5)).min(RETRY_MAX);
            // What was asked for together is not asked for together again.
            let apart = wait.mul_f64(f64::from(reference.digest.0.first().copied().unwrap_or(0)) / 1024.0);
            (want.tries, want.next_at) = (want.tries.saturating_add(1), now + wait + apart);
        } else {
            want.next_at = now + self.retry / 4;
        }
    }

    /// Blocks that are asked for.
    pub fn wanted_blocks(&self) -> impl Iterator<Item = &Reference> {
        self.wants.keys()
    }

    /// The lowest round of a block that was asked for again and again.
    pub fn lowest_stuck(&self) -> Option<u64> {
        self.wants.iter().find(|(_, want)| want.tries >= STUCK_TRIES).map(|(reference, _)| reference.round)
    }

    /// When something is to be asked for.
    pub fn next_at(&self) -> Option<Time> {
        self.wants.values().map(|want| want.next_at).min()
    }

    /// Bytes of waiting blocks.
    pub fn bytes(&self) -> usize {
        self.payers.iter().map(|payer| payer.own.bytes + payer.others.bytes).sum()
    }

    /// Number of waiting blocks and of blocks asked for.
    pub fn len(&self) -> (usize, usize) {
        (self.waiting.len(), self.wants.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Digest;
    use crate::testing::{author, block_of};

    fn name(round: u64, place: u8, digest: u8) -> Reference {
        Reference { round, author: author(place), digest: Digest([digest; 32]) }
    }

    fn pending() -> Pending {
        Pending::new(4, author(0), Duration::from_millis(60), Time::ZERO)
    }

    #[test]
    fn a_block_that_is_needed_is_asked_for_again_whatever_else_is_asked_for() {
        let mut pending = pending();
        for number in 0..16u8 {
            let missing = (0..8).map(|k| name(2, 1, number * 8 + k)).collect();
            pending.suspend(Time::ZERO, block_of(3, 60, u64::from(number)), missing, author(3), author(3));
        }
        let needed = name(59, 2, 255);
        pending.suspend(Time::ZERO, block_of(1, 60, 0), BTreeSet::from([needed]), author(1), author(1));
        let (mut now, mut asked, mut largest) = (Time::ZERO, 0, 0);
        for _ in 0..6000 {
            for names in pending.due(now, 2).values() {
                asked += usize::from(names.contains(&needed));
                largest = largest.max(names.len());
            }
            now = now + Duration::from_millis(10);
        }
        assert!(asked > 30, "in a minute the one block that there is was asked for {asked} times");
        assert_eq!(largest, FETCH_MAX);
    }

    #[test]
    fn what_finds_no_place_in_a_question_has_not_been_asked_for() {
        let mut pending = pending();
        for number in 0..3u8 {
            let missing = (0..40).map(|k| name(2, 1, number * 40 + k)).collect();
            pending.suspend(Time::ZERO, block_of(3, 60, u64::from(number)), missing, author(3), author(3));
        }
        let mut asked = BTreeSet::new();
        for millis in [0, 15, 30] {
            let questions = pending.due(Time::from_start(Duration::from_millis(millis)), 2);
            asked.extend(questions.into_values().flatten());
        }
        assert_eq!(asked.len(), 120, "each once before the first is asked for again");
    }

    #[test]
    fn whoever_needs_a_block_is_a_root_of_all_that_it_waits_for() {
        let mut pending = pending();
        let (liars, deep) = (block_of(3, 60, 1), name(59, 3, 9));
        pending.suspend(Time::ZERO, liars.clone(), BTreeSet::from([deep]), author(3), author(3));
        assert_eq!(pending.wanted(&deep), Some(AuthorSet::EMPTY.with(author(3))));
        assert_eq!(pending.own_of(author(3)).blocks, 1);
        let others = block_of(1, 61, 0);
        pending.suspend(Time::ZERO, others, BTreeSet::from([liars.reference()]), author(1), author(1));
        assert_eq!(pending.wanted(&deep), Some(AuthorSet::EMPTY.with(author(3)).with(author(1))));
        assert_eq!(pending.own_of(author(3)), Account::default(), "who needs it pays for it");
        assert_eq!(pending.bytes(), liars.bytes() + block_of(1, 61, 0).bytes());
        let ready = pending.accepted(&deep);
        assert_eq!(ready.iter().map(Sealed::reference).collect::<Vec<_>>(), [liars.reference()]);
        pending.drop_of(AuthorSet::EMPTY.with(author(3)));
        assert_eq!(pending.len().0, 1);
        pending.drop_of(AuthorSet::EMPTY.with(author(1)));
        assert_eq!((pending.len(), pending.bytes()), ((0, 0), 0));
    }

    #[test]
    fn a_root_has_room_for_so_many_bytes_of_others_and_so_many_variants() {
        let mut pending = pending();
        let root = AuthorSet::EMPTY.with(author(1));
        assert_eq!(pending.payer(AuthorSet::EMPTY, 1, false, Time::ZERO), None);
        assert_eq!(pending.payer(root, ROOT_BYTES_MAX, false, Time::ZERO), Some(author(1)));
        assert_eq!(pending.payer(root, ROOT_BYTES_MAX + 1, false, Time::ZERO), None);
        let taken = (0..2 * VARIANTS_BURST).filter(|_| pending.payer(root, 1, true, Time::ZERO).is_some());
        assert_eq!(taken.count() as u64, VARIANTS_BURST);
        assert_eq!(pending.payer(root, 1, false, Time::ZERO), Some(author(1)));
    }
}
