//! One attempt: what was said in it, and what this leader says next.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_crypto::hash::digest;
use ringfort_crypto::kem::{KemPublic, KemSecret, seal_to};
use ringfort_crypto::secret::Secret32;
use ringfort_protocol::codec::encode;
use ringfort_protocol::succession::{Certified, Succession};
use ringfort_protocol::{Cx, LeaderId, Time};
use zeroize::Zeroizing;

use super::dealing::{self, Commitments};
use super::message::{Body, Kind, Plan, Post, share_context};
use super::outcome::Package;
use super::{Event, Holding, Limits, Step};
use crate::dkg::{SHARES_BYTES, Shares};
use crate::outcome::Fault;

/// What is held of one author in one kind: two different words are a proof, and more are worth nothing.
const VARIANTS_MAX: usize = 2;

/// A post that is held.
struct Held {
    post: Post,
    digest: [u8; 32],
    body: Body,
}

/// Everything said under one plan.
pub struct Attempt {
    pub plan: Plan,
    digest: [u8; 32],
    held: BTreeMap<(Kind, LeaderId), Vec<Held>>,
    /// What opens what dealer `i` seals to this leader, at `i - 1`; empty until it is ready.
    pub secrets: Vec<Secret32>,
    /// Who is proven to have deviated.
    bad: BTreeSet<LeaderId>,
    /// Deals looked at, and whether they fit for this leader.
    judged: BTreeMap<[u8; 32], bool>,
    began: Time,
    dealt_at: Time,
    told: bool,
}

/// Commits to the deals that count, in order.
pub fn digest_of(deals: &[[u8; 32]]) -> [u8; 32] {
    digest("ringfort renewal deals", &[&encode(&deals.to_vec())])
}

impl Attempt {
    pub fn new(plan: Plan, secrets: Vec<Secret32>, now: Time) -> Self {
        Attempt {
            digest: plan.digest(),
            plan,
            held: BTreeMap::new(),
            secrets,
            bad: BTreeSet::new(),
            judged: BTreeMap::new(),
            began: now,
            dealt_at: now,
            told: false,
        }
    }

    /// All posts, in the order in which they make sense.
    pub fn posts(&self) -> impl Iterator<Item = &Post> {
        self.held.values().flatten().map(|held| &held.post)
    }

    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Who has said something of a kind.
    pub fn authors(&self, kind: Kind) -> BTreeSet<LeaderId> {
        self.held.keys().filter(|(k, _)| *k == kind).map(|(_, author)| *author).collect()
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (LeaderId, &Held)> {
        let of_kind = self.held.iter().filter(move |((k, _), _)| *k == kind);
        of_kind.flat_map(|((_, author), held)| held.iter().map(move |held| (*author, held)))
    }

    fn first(&self, kind: Kind, author: LeaderId) -> Option<&Held> {
        self.held.get(&(kind, author))?.first()
    }

    fn find(&self, kind: Kind, digest: &[u8; 32]) -> Option<(LeaderId, &Held)> {
        self.of_kind(kind).find(|(_, held)| held.digest == *digest)
    }

    /// Takes up a post; whether it is new, and to be passed on. Its plan is this one.
    pub fn put(&mut self, now: Time, own: &Holding, post: &Post, step: &mut Step) -> bool {
        let digest = post.digest();
        let Some(body) = post.read() else { return false };
        let place = (body.kind(), post.author);
        let most = if place.0 == Kind::Complaint { usize::from(own.base.rules.n()) } else { VARIANTS_MAX };
        let known = self.held.get(&place).map_or(&[][..], Vec::as_slice);
        let crowded = known.len() >= most || known.iter().any(|held| held.digest == digest);
        if crowded || !post.is_signed(&own.base) || !self.may_say(own, post.author, &body) {
            return false;
        }
        if !self.is_sound(own, post.author, &body) {
            self.blame(post.author, Fault::BadDeal, step);
            return false;
        }
        if place.0 == Kind::Deal {
            self.dealt_at = now;
        }
        if !known.is_empty() && place.0 != Kind::Complaint && place.0 != Kind::Order {
            self.blame(post.author, Fault::Equivocated, step);
        }
        let held = Held { post: post.clone(), digest, body };
        self.held.entry(place).or_default().push(held);
        true
    }

    fn blame(&mut self, who: LeaderId, fault: Fault, step: &mut Step) {
        if self.bad.insert(who) {
            step.events.push(Event::Blamed(self.plan.number, who, fault));
        }
    }

    /// Whether such a word is this author's to say at all.
    fn may_say(&self, own: &Holding, author: LeaderId, body: &Body) -> bool {
        if self.plan.replaced() == Some(author) {
            return false;
        }
        match body {
            Body::Order(plan) => **plan == self.plan,
            Body::Start { .. } | Body::Proposal { .. } => author == self.plan.coordinator,
            Body::Vote { succession, signature } => {
                self.is_ours(own, succession) && succession.is_signed(&own.base, author, signature)
            }
            Body::Ready { .. } | Body::Deal { .. } | Body::Complaint { .. } => true,
        }
    }

    fn is_ours(&self, own: &Holding, succession: &Succession) -> bool {
        let of_plan = succession.number == self.plan.number && succession.newcomer == self.plan.newcomer;
        of_plan && succession.follows(&own.base)
    }

    /// Whether somebody following the protocol can say it: what shows from the post alone.
    fn is_sound(&self, own: &Holding, author: LeaderId, body: &Body) -> bool {
        let n = usize::from(own.base.rules.n());
        match body {
            Body::Ready { keys } => keys.len() == n && keys.iter().all(|key| KemPublic::from_bytes(key).is_ok()),
            Body::Start { ready } => ready.len() == n,
            Body::Deal { commitments, sealed, .. } => {
                sealed.len() == n && dealing::is_sound(&own.base, author, commitments)
            }
            Body::Proposal { deals, .. } => deals.len() <= n,
            Body::Order(_) | Body::Complaint { .. } | Body::Vote { .. } => true,
        }
    }

    /// What this leader has to say next, if anything.
    pub fn next_word(&mut self, cx: &mut Cx<'_>, own: &Holding, limits: &Limits, step: &mut Step) -> Option<Body> {
        self.judge_complaints(step);
        let said = |this: &Self, kind| this.first(kind, own.me).is_some();
        if self.plan.replaced() == Some(own.me) || self.votes_for(own).is_some() && said(self, Kind::Vote) {
            return None;
        }
        if !said(self, Kind::Ready) {
            return Some(self.get_ready(cx, own));
        }
        if own.me == self.plan.coordinator && !said(self, Kind::Start) && self.may_start(cx.now, own, limits) {
            let ready = own.base.rules.leaders().map(|leader| self.first(Kind::Ready, leader).map(|held| held.digest));
            return Some(Body::Start { ready: ready.collect() });
        }
        if own.shares.is_some()
            && !said(self, Kind::Deal)
            && let Some(deal) = self.deal(cx, own)
        {
            return Some(deal);
        }
        if let Some(complaint) = self.judge_deals(own) {
            return Some(complaint);
        }
        if own.me == self.plan.coordinator
            && !said(self, Kind::Proposal)
            && let Some(proposal) = self.propose(cx.now, own, limits)
        {
            return Some(proposal);
        }
        if said(self, Kind::Vote) { None } else { self.vote(own) }
    }

    fn participants(&self, own: &Holding) -> impl Iterator<Item = LeaderId> + use<> {
        let replaced = self.plan.replaced();
        LeaderId::all(own.base.rules.n()).filter(move |leader| Some(*leader) != replaced)
    }

    fn get_ready(&mut self, cx: &mut Cx<'_>, own: &Holding) -> Body {
        if self.secrets.is_empty() {
            self.secrets = own.base.rules.leaders().map(|_| KemSecret::generate(cx.rng).to_secret()).collect();
        }
        let keys = self.secrets.iter().map(|secret| KemSecret::from_secret(secret).public().to_bytes()).collect();
        Body::Ready { keys }
    }

    fn may_start(&self, now: Time, own: &Holding, limits: &Limits) -> bool {
        let ready = self.authors(Kind::Ready);
        let all = self.participants(own).all(|leader| ready.contains(&leader));
        all || now >= self.began + limits.ready && ready.len() >= dealing::dealers_min(&own.base)
    }

    /// The start to go by, and all that it goes by, once it is here.
    fn start(&self) -> Option<([u8; 32], Vec<Option<&Held>>)> {
        let held = self.first(Kind::Start, self.plan.coordinator)?;
        self.start_by(&held.digest)
    }

    fn start_by(&self, digest: &[u8; 32]) -> Option<([u8; 32], Vec<Option<&Held>>)> {
        let (_, held) = self.find(Kind::Start, digest)?;
        let Body::Start { ready } = &held.body else { return None };
        let find = |(leader, named): (LeaderId, &Option<[u8; 32]>)| match named {
            None => Some(None),
            Some(digest) => {
                self.find(Kind::Ready, digest).filter(|(author, _)| *author == leader).map(|(_, held)| Some(held))
            }
        };
        let leaders = (1u8..=64).filter_map(LeaderId::new);
        Some((held.digest, leaders.zip(ready).map(find).collect::<Option<_>>()?))
    }

    /// What `dealer` seals to in this start, for each leader.
    fn sealing_keys(&self, own: &Holding, ready: &[Option<&Held>], dealer: LeaderId) -> Option<Vec<KemPublic>> {
        let place = usize::from(dealer.number()) - 1;
        let mut keys = Vec::new();
        for (leader, held) in own.base.rules.leaders().zip(ready) {
            let newcomer = self.plan.newcomer.as_ref().filter(|newcomer| newcomer.leader == leader);
            let key = match (newcomer, held.map(|held| &held.body)) {
                (Some(newcomer), _) => newcomer.info.sealing_key,
                (None, Some(Body::Ready { keys })) => KemPublic::from_bytes(keys.get(place)?).ok()?,
                _ => own.base.leader(leader)?.sealing_key,
            };
            keys.push(key);
        }
        Some(keys)
    }

    fn deal(&self, cx: &mut Cx<'_>, own: &Holding) -> Option<Body> {
        let (start, ready) = self.start()?;
        let keys = self.sealing_keys(own, &ready, own.me)?;
        let (commitments, dealt) = dealing::deal(&own.base, own.shares.as_ref()?, cx.rng).ok()?;
        let mut sealed = Vec::new();
        for ((leader, shares), key) in dealt.iter().zip(&keys) {
            let context = share_context(&self.digest, own.me, *leader);
            sealed.push(seal_to(key, &context, &[], shares.as_slice(), cx.rng).ok()?);
        }
        Some(Body::Deal { start, commitments, sealed })
    }

    /// Looks at each deal once: complains of the first whose share for this leader does not fit.
    fn judge_deals(&mut self, own: &Holding) -> Option<Body> {
        let mut complaint = None;
        let mut judged = Vec::new();
        for (dealer, held) in self.of_kind(Kind::Deal).filter(|(_, held)| !self.judged.contains_key(&held.digest)) {
            let Body::Deal { start, commitments, sealed } = &held.body else { continue };
            let Some((_, ready)) = self.start_by(start) else { continue };
            let place = usize::from(own.me.number()) - 1;
            let fresh = ready.get(place).copied().flatten().filter(|held| held.post.author == own.me);
            let secret = self.secrets.get(usize::from(dealer.number()) - 1);
            let opener = match (fresh, secret) {
                (Some(_), Some(secret)) => KemSecret::from_secret(secret),
                _ => own.sealing.clone(),
            };
            let shares = sealed.get(place).and_then(|sealed| open(&opener, &self.digest, dealer, own.me, sealed));
            let fits = shares.is_some_and(|shares| dealing::fits(own.me, commitments, &shares));
            judged.push((held.digest, fits));
            if let (false, Some(_), Some(secret)) = (fits, fresh, secret) {
                complaint = Some(Body::Complaint { deal: held.digest, secret: *secret.expose() });
                break;
            }
        }
        self.judged.extend(judged);
        complaint
    }

    fn judge_complaints(&mut self, step: &mut Step) {
        let mut found = Vec::new();
        for (author, held) in self.of_kind(Kind::Complaint) {
            let Body::Complaint { deal, secret } = &held.body else { continue };
            if let Some((dealer, fits)) = self.judge(author, deal, secret) {
                found.push(if fits { (author, Fault::FalseComplaint) } else { (dealer, Fault::BadShare) });
            }
        }
        found.into_iter().for_each(|(who, fault)| self.blame(who, fault, step));
    }

    /// Whether what the dealer sealed to the complainer fits after all: anybody can tell. `None` while something is missing.
    fn judge(&self, author: LeaderId, deal: &[u8; 32], secret: &[u8; 32]) -> Option<(LeaderId, bool)> {
        let (dealer, held) = self.find(Kind::Deal, deal)?;
        let Body::Deal { start, commitments, sealed } = &held.body else { return None };
        let (_, ready) = self.start_by(start)?;
        let place = usize::from(author.number()) - 1;
        let Body::Ready { keys } = &ready.get(place).copied().flatten()?.body else { return None };
        let secret = KemSecret::from_secret(&Secret32::new(*secret));
        if keys.get(usize::from(dealer.number()) - 1) != Some(&secret.public().to_bytes()) {
            return Some((dealer, true));
        }
        let shares = sealed.get(place).and_then(|sealed| open(&secret, &self.digest, dealer, author, sealed));
        Some((dealer, shares.is_some_and(|shares| dealing::fits(author, commitments, &shares))))
    }

    /// Deals that fit, by the start given, of dealers that nothing is proven of.
    fn good_deals(&self, start: &[u8; 32]) -> Vec<(LeaderId, [u8; 32])> {
        let good = |(dealer, held): &(LeaderId, &Held)| {
            let of_start = matches!(&held.body, Body::Deal { start: s, .. } if s == start);
            of_start && !self.bad.contains(dealer) && self.judged.get(&held.digest) == Some(&true)
        };
        self.of_kind(Kind::Deal).filter(good).map(|(dealer, held)| (dealer, held.digest)).collect()
    }

    fn propose(&self, now: Time, own: &Holding, limits: &Limits) -> Option<Body> {
        let (start, _) = self.start()?;
        let good = self.good_deals(&start);
        let dealt = self.authors(Kind::Deal);
        let all = self.participants(own).all(|leader| dealt.contains(&leader));
        let enough = good.len() >= dealing::dealers_min(&own.base);
        let waited = all || now >= self.began + limits.ready + limits.deals;
        let heard = now >= self.dealt_at + limits.complaints;
        let deals = good.into_iter().map(|(_, digest)| digest).collect();
        (enough && waited && heard).then_some(Body::Proposal { start, deals })
    }

    /// Signs what the proposal comes to, if every deal in it is here and fits.
    fn vote(&self, own: &Holding) -> Option<Body> {
        let Body::Proposal { start, deals } = &self.first(Kind::Proposal, self.plan.coordinator)?.body else {
            return None;
        };
        let good: BTreeMap<[u8; 32], LeaderId> =
            self.good_deals(start).into_iter().map(|(dealer, digest)| (digest, dealer)).collect();
        let dealers: BTreeSet<LeaderId> = deals.iter().filter_map(|digest| good.get(digest).copied()).collect();
        if dealers.len() != deals.len() || deals.len() < dealing::dealers_min(&own.base) {
            return None;
        }
        let succession = Succession {
            group: self.plan.group,
            base: self.plan.base,
            number: self.plan.number,
            newcomer: self.plan.newcomer.clone(),
            keys: dealing::new_keys(&own.base, &self.committed(deals)?).ok()?,
            deals: digest_of(deals),
        };
        let signature = succession.sign(&own.signing);
        Some(Body::Vote { succession: Box::new(succession), signature })
    }

    fn committed(&self, deals: &[[u8; 32]]) -> Option<Vec<(LeaderId, &Commitments)>> {
        let of = |digest: &[u8; 32]| {
            let (dealer, held) = self.find(Kind::Deal, digest)?;
            match &held.body {
                Body::Deal { commitments, .. } => Some((dealer, commitments)),
                _ => None,
            }
        };
        deals.iter().map(of).collect()
    }

    /// The succession that enough leaders have voted for, if there is one.
    fn votes_for(&self, own: &Holding) -> Option<Certified> {
        let mut tally: BTreeMap<[u8; 32], Certified> = BTreeMap::new();
        for (author, held) in self.of_kind(Kind::Vote) {
            let Body::Vote { succession, signature } = &held.body else { continue };
            let empty = || Certified { succession: (**succession).clone(), votes: Vec::new() };
            let one = tally.entry(succession.digest()).or_insert_with(empty);
            if one.votes.iter().all(|(leader, _)| *leader != author) {
                one.votes.push((author, *signature));
            }
        }
        tally.into_values().find(|one| one.votes.len() >= own.base.rules.succession())
    }

    /// What whoever holds it can go on with, once all of it is here.
    pub fn package(&self, own: &Holding) -> Option<Package> {
        let certified = self.votes_for(own)?;
        let of_proposal = |(_, held): (LeaderId, &Held)| match &held.body {
            Body::Proposal { deals, .. } if digest_of(deals) == certified.succession.deals => Some(deals.clone()),
            _ => None,
        };
        let deals = self.of_kind(Kind::Proposal).find_map(of_proposal)?;
        let find = |digest: &[u8; 32]| self.find(Kind::Deal, digest).map(|(_, held)| held.post.clone());
        let deals = deals.iter().map(find).collect::<Option<Vec<Post>>>()?;
        Some(Package { certified, deals })
    }

    /// Says once that it has come to an end.
    pub fn tell(&mut self, own: &Holding, step: &mut Step) {
        if !self.told && self.package(own).is_some() {
            self.told = true;
            step.events.push(Event::Certified(self.plan.number));
        }
    }

    /// When the coordinator looks again whether it has waited long enough.
    pub fn next_wakeup(&self, own: &Holding, limits: &Limits) -> Option<Time> {
        if own.me != self.plan.coordinator || self.first(Kind::Proposal, own.me).is_some() {
            return None;
        }
        if self.first(Kind::Start, own.me).is_none() {
            return Some(self.began + limits.ready);
        }
        let dealt = self.authors(Kind::Deal);
        let all = self.participants(own).all(|leader| dealt.contains(&leader));
        let heard = self.dealt_at + limits.complaints;
        Some(if all { heard } else { heard.max(self.began + limits.ready + limits.deals) })
    }

    /// What is waited for, in a word, and whom.
    pub fn standing(&self, own: &Holding) -> (&'static str, Vec<LeaderId>) {
        let missing = |kind| {
            let there = self.authors(kind);
            self.participants(own).filter(|leader| !there.contains(leader)).collect::<Vec<_>>()
        };
        if self.package(own).is_some() {
            ("certified", Vec::new())
        } else if self.first(Kind::Start, self.plan.coordinator).is_none() {
            ("meeting", missing(Kind::Ready))
        } else if self.first(Kind::Proposal, self.plan.coordinator).is_none() {
            ("dealing", missing(Kind::Deal))
        } else {
            ("voting", missing(Kind::Vote))
        }
    }
}

/// Opens what `dealer` sealed to `to`.
pub fn open(secret: &KemSecret, plan: &[u8; 32], dealer: LeaderId, to: LeaderId, sealed: &[u8]) -> Option<Shares> {
    let opened = Zeroizing::new(secret.open(&share_context(plan, dealer, to), &[], sealed).ok()?);
    let bytes: [u8; SHARES_BYTES] = opened.as_slice().try_into().ok()?;
    Some(Zeroizing::new(bytes))
}
