//! One leader's part in all attempts since its generation began: orders and frames in, a [`Step`] out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::threshold::SecretShare;
use ringfort_kernel::Budget;
use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::group::LeaderSecrets;
use ringfort_protocol::introduction::Introduction;
use ringfort_protocol::succession::{ATTEMPTS_MAX, Generation};
use ringfort_protocol::{Cx, GroupInfo, LeaderId, Rejected, Time};
use zeroize::Zeroizing;

use super::attempt::Attempt;
#[cfg(test)]
use super::message::Kind;
use super::message::{Body, Plan, Post};
use super::outcome::{PACKAGE_BYTES_MAX, Package};
use super::{Effect, Event, Holding, Limits, Step};

/// The most that is kept for the next start, bytes.
pub const SAVED_BYTES_MAX: usize = 4 * PACKAGE_BYTES_MAX;
/// Posts of one leader that are looked at, at once and per second.
const POSTS_BURST: u64 = 1024;
const POSTS_PER_S: u64 = 64;

/// Why an order cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A group in which every leader has every key.
    #[error("nothing is shared")]
    NothingShared,
    /// The leaders put messages into one order, and their coin would be of two generations while they are started again.
    #[error("the group's leaders put messages into one order")]
    Orders,
    /// The introduction or the coordinator is not of this group, or a key or address of it was here before.
    #[error("it does not fit the group")]
    Unfit,
}

impl From<Refused> for Rejected {
    fn from(refused: Refused) -> Self {
        Rejected::Renewal(match refused {
            Refused::NothingShared => {
                "the keys of a group that tolerates no hacked leader are not shared, so there are no shares to renew"
            }
            Refused::Orders => {
                "the shares of a group whose leaders put messages into one order (policy: order) cannot be renewed yet"
            }
            Refused::Unfit => {
                "the order does not fit: the introduction must be to this group, for a place in it, with fresh keys and an address of its own, and the coordinator must stay"
            }
        })
    }
}

/// Renews shares, as often as operators order it.
pub struct Renewal {
    group: Arc<GroupInfo>,
    secrets: Arc<LeaderSecrets>,
    limits: Limits,
    /// The last order of each leader.
    orders: BTreeMap<LeaderId, (Plan, Post)>,
    attempts: BTreeMap<Generation, Attempt>,
    peers: BTreeMap<LeaderId, bool>,
    budgets: BTreeMap<LeaderId, Budget>,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewal({}, {} attempts)", self.secrets.id, self.attempts.len())
    }
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Saved {
    orders: Vec<Post>,
    attempts: Vec<(Plan, Vec<[u8; 32]>, Vec<Post>)>,
}

/// A certified generation, opened.
pub struct Outcome {
    /// The generation.
    pub group: GroupInfo,
    /// This leader's shares of the group key and the coin.
    pub shares: [SecretShare; 2],
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outcome(generation {}, redacted)", self.group.generation())
    }
}

impl Renewal {
    /// For a leader in this generation. `saved` is what [`Renewal::saved`] gave last; what does not belong here is left out.
    pub fn new(group: Arc<GroupInfo>, secrets: Arc<LeaderSecrets>, saved: &[u8], limits: Limits, now: Time) -> Self {
        let (orders, attempts) = (BTreeMap::new(), BTreeMap::new());
        let (peers, budgets) = (BTreeMap::new(), BTreeMap::new());
        let mut this = Renewal { group, secrets, limits, orders, attempts, peers, budgets };
        let Ok(saved) = decode::<Saved>(saved) else { return this };
        let mut unused = Step::default();
        for (plan, keys, posts) in saved.attempts {
            let secrets: Vec<Secret32> = keys.iter().map(|key| Secret32::new(*key)).collect();
            let Some(own) = this.holding(&plan) else { continue };
            let mut attempt = Attempt::new(plan, secrets, now);
            for post in &posts {
                let _ = attempt.put(now, &own, post, &mut unused);
            }
            this.attempts.insert(attempt.plan.number, attempt);
        }
        for post in saved.orders {
            if let Some(Body::Order(plan)) = post.read() {
                this.orders.insert(post.author, (*plan, post));
            }
        }
        this
    }

    /// What is to be kept for the next start. It holds secrets.
    pub fn saved(&self) -> Zeroizing<Vec<u8>> {
        let one = |attempt: &Attempt| {
            let secrets: Vec<[u8; 32]> = attempt.secrets.iter().map(|secret| *secret.expose()).collect();
            (attempt.plan.clone(), secrets, attempt.posts().cloned().collect())
        };
        let orders = self.orders.values().map(|(_, post)| post.clone()).collect();
        Zeroizing::new(encode(&Saved { orders, attempts: self.attempts.values().map(one).collect() }))
    }

    /// What this leader brings into an attempt, if the plan is one for this generation or the one before.
    fn holding(&self, plan: &Plan) -> Option<Holding> {
        let shares = |secrets: &LeaderSecrets| [secrets.group_share.clone(), secrets.coin_share.clone()];
        let (base, shares) = if plan.base == self.group.generation() {
            (&self.group, Some(shares(&self.secrets)))
        } else {
            (self.group.before()?, None)
        };
        let fits = plan.fits(base) && plan.number > self.group.generation() && plan.base == base.generation();
        let LeaderSecrets { id, signing, sealing, .. } = &*self.secrets;
        let known = base.leader(*id).is_some_and(|info| info.signing_key == signing.verifying_key());
        (fits && known && base.rules.f() > 0 && !base.policy.order).then(|| Holding {
            me: *id,
            base: base.clone(),
            signing: signing.clone(),
            sealing: sealing.clone(),
            shares,
        })
    }

    /// The operator orders new shares for all leaders, and the newcomer in the place of a leader. `attempt` counts from 1.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn on_order(
        &mut self,
        cx: &mut Cx<'_>,
        newcomer: Option<Introduction>,
        coordinator: LeaderId,
        attempt: Generation,
    ) -> Result<Step, Refused> {
        if self.group.rules.f() == 0 {
            return Err(Refused::NothingShared);
        }
        if self.group.policy.order {
            return Err(Refused::Orders);
        }
        let base = self.group.generation();
        let number = base.saturating_add(attempt.clamp(1, ATTEMPTS_MAX));
        let plan = Plan { group: self.group.id().0, base, number, newcomer, coordinator };
        let Some(own) = self.holding(&plan) else { return Err(Refused::Unfit) };
        let mut step = Step::default();
        let digest = plan.digest();
        let post = Post::sign(digest, own.me, &Body::Order(Box::new(plan)), &own.signing);
        self.on_post(cx, own.me, post, &mut step);
        self.advance(cx, &mut step);
        Ok(step)
    }

    /// A link to a leader is up: it is told everything.
    pub fn on_peer_up(&mut self, peer: LeaderId) -> Step {
        self.peers.insert(peer, true);
        let orders = self.orders.values().map(|(_, post)| post);
        let posts = orders.chain(self.attempts.values().flat_map(Attempt::posts));
        let effects = posts.map(|post| Effect::Send(peer, post.to_frame())).collect();
        Step { effects, events: Vec::new() }
    }

    /// The link is gone.
    pub fn on_peer_down(&mut self, peer: LeaderId) {
        self.peers.remove(&peer);
    }

    /// A frame from a leader, which its link has authenticated.
    pub fn on_frame(&mut self, cx: &mut Cx<'_>, from: LeaderId, frame: &[u8]) -> Step {
        let mut step = Step::default();
        let budget = self.budgets.entry(from).or_insert_with(|| Budget::new(cx.now, POSTS_PER_S, POSTS_BURST));
        if !budget.take(cx.now, 1) {
            return step;
        }
        if let Some(post) = Post::from_frame(frame).filter(|post| post.author != self.secrets.id) {
            self.on_post(cx, from, post, &mut step);
            self.advance(cx, &mut step);
        }
        step
    }

    /// Time has passed.
    pub fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step {
        let mut step = Step::default();
        self.advance(cx, &mut step);
        step
    }

    /// When [`Renewal::on_wakeup`] is due.
    pub fn next_wakeup(&self, now: Time) -> Option<Time> {
        let due = |attempt: &Attempt| attempt.next_wakeup(&self.holding(&attempt.plan)?, &self.limits);
        // What was due and came to nothing waits for somebody's word.
        self.attempts.values().filter_map(due).filter(|due| *due > now).min()
    }

    fn on_post(&mut self, cx: &mut Cx<'_>, from: LeaderId, post: Post, step: &mut Step) {
        if let Some(Body::Order(plan)) = post.read() {
            return self.on_ordered(cx, from, *plan, post, step);
        }
        let number = self.attempts.values().find(|attempt| attempt.digest() == post.plan).map(|a| a.plan.number);
        let Some(number) = number else { return };
        let Some(own) = self.attempts.get(&number).and_then(|attempt| self.holding(&attempt.plan)) else { return };
        let Some(attempt) = self.attempts.get_mut(&number) else { return };
        if attempt.put(cx.now, &own, &post, step) {
            self.pass_on(from, &post, step);
        }
    }

    /// f+1 equal orders begin an attempt, unless there is one of that number.
    fn on_ordered(&mut self, cx: &mut Cx<'_>, from: LeaderId, plan: Plan, post: Post, step: &mut Step) {
        let Some(own) = self.holding(&plan) else { return };
        let known = self.orders.get(&post.author).is_some_and(|(_, held)| *held == post);
        if known || post.plan != plan.digest() || !post.is_signed(&own.base) || plan.replaced() == Some(post.author) {
            return;
        }
        step.effects.push(Effect::Persist);
        self.pass_on(from, &post, step);
        step.events.push(Event::Ordered(plan.number, post.author));
        self.orders.insert(post.author, (plan.clone(), post));
        let same: Vec<Post> =
            self.orders.values().filter(|(other, _)| *other == plan).map(|(_, post)| post.clone()).collect();
        if same.len() <= usize::from(self.group.rules.f()) || self.attempts.contains_key(&plan.number) {
            return;
        }
        let mut attempt = Attempt::new(plan, Vec::new(), cx.now);
        step.events.push(Event::Begun(attempt.plan.number));
        for post in &same {
            let _ = attempt.put(cx.now, &own, post, step);
        }
        self.attempts.insert(attempt.plan.number, attempt);
    }

    /// Says what there is to say, each word durable before it is sent.
    fn advance(&mut self, cx: &mut Cx<'_>, step: &mut Step) {
        let plans: Vec<Plan> = self.attempts.values().map(|attempt| attempt.plan.clone()).collect();
        for plan in plans {
            let Some(own) = self.holding(&plan) else { continue };
            while let Some(attempt) = self.attempts.get_mut(&plan.number) {
                let Some(body) = attempt.next_word(cx, &own, &self.limits, step) else { break };
                let post = Post::sign(attempt.digest(), own.me, &body, &own.signing);
                if !attempt.put(cx.now, &own, &post, step) {
                    break;
                }
                step.effects.push(Effect::Persist);
                self.pass_on(own.me, &post, step);
            }
            if let Some(attempt) = self.attempts.get_mut(&plan.number) {
                let before = step.events.len();
                attempt.tell(&own, step);
                if step.events.len() > before {
                    step.effects.push(Effect::Persist);
                }
            }
        }
    }

    fn pass_on(&self, from: LeaderId, post: &Post, step: &mut Step) {
        let frame = post.to_frame();
        let others = self.peers.keys().filter(|peer| **peer != from && **peer != post.author);
        step.effects.extend(others.map(|peer| Effect::Send(*peer, frame.clone())));
    }

    /// The highest generation that is certified, with all that belongs to it: for the newcomer, and for leaders that were away.
    pub fn package(&self) -> Option<Package> {
        let packed = |attempt: &Attempt| attempt.package(&self.holding(&attempt.plan)?);
        self.attempts.values().rev().find_map(packed)
    }

    /// The same for this leader, opened: what it goes on with at its next start.
    pub fn outcome(&self) -> Option<Outcome> {
        let package = self.package()?;
        let attempt = self.attempts.get(&package.certified.succession.number)?;
        let sealing: &KemSecret = &self.secrets.sealing;
        let (group, shares) = package.open(&self.group, self.secrets.id, &attempt.secrets, sealing)?;
        Some(Outcome { group, shares })
    }

    /// The attempts since this generation began: number, what is waited for, and whom.
    pub fn standing(&self) -> Vec<(Generation, &'static str, Vec<LeaderId>)> {
        let mut standing: Vec<(Generation, &'static str, Vec<LeaderId>)> = Vec::new();
        for (plan, _) in self.orders.values().filter(|(plan, _)| !self.attempts.contains_key(&plan.number)) {
            let by = self.orders.iter().filter(|(_, (other, _))| other == plan).map(|(leader, _)| *leader).collect();
            let line = (plan.number, "ordered", by);
            if !standing.contains(&line) && plan.number > self.group.generation() {
                standing.push(line);
            }
        }
        for attempt in self.attempts.values() {
            if let Some(own) = self.holding(&attempt.plan) {
                let (word, missing) = attempt.standing(&own);
                standing.push((attempt.plan.number, word, missing));
            }
        }
        standing
    }

    /// Who has said what so far, for tests.
    #[cfg(test)]
    pub(super) fn authors(&self, number: Generation, kind: Kind) -> usize {
        self.attempts.get(&number).map_or(0, |attempt| attempt.authors(kind).len())
    }
}
