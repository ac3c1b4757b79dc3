//! The frame around all key protocols: a view goes in, and a key comes out that every member has confirmed.
//!
//! A new view drops whatever was under way; there is no other answer to a cascade, and none is needed, because a
//! protocol keeps nothing of a view that did not end with a key. What reaches a protocol was signed by a member of this
//! very view, in this very view. When the protocol has a secret, the view's keys are derived from it under the view's
//! context, and the member multicasts a *confirmation*: a tag that only somebody with the key can make, signed. The
//! key is used once all members' tags are there, at the place of the last one in the order; all who move together
//! reach that place together. Confirmations are sent safe: once somebody uses the key outside of a transition, everybody
//! has all of them.
//!
//! Source: Amir, Kim, Nita-Rotaru, Schultz, Stanton, Tsudik 2001 and 2004, of which only the idea was readable: their
//! "basic" algorithm starts over at every change, their "optimised" one goes on from the old key. Here a protocol goes
//! on from its last key with whoever shares it, and from nothing after a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::CryptoRng;
use ringfort_crypto::Secret32;
use ringfort_crypto::kdf::{derive, mac, mac_verify};
use ringfort_crypto::sign::SigningKey;
use ringfort_peer::{Name, Service};

use crate::group::Group;
use crate::ids::{CONTROL_FRAMES_MAX, Context, Round};
use crate::keys::context::Binding;
use crate::keys::{KeyView, Output, Protocol};
use crate::policy::Policy;
use crate::rules::{Rule, Rules};
use crate::wire::{FlushOk, KeyFrame, KeyPayload};

/// The keys of a view. Wiped when dropped.
#[derive(Clone, Debug)]
pub struct ViewKeys {
    /// What names the view.
    pub context: Context,
    /// What all further keys are derived from.
    pub root: Secret32,
}

impl ViewKeys {
    fn new(secret: &Secret32, context: Context) -> Self {
        ViewKeys { context, root: derive(secret.expose(), "peer group key", &[&context]) }
    }

    /// A short public name of the key: the same exactly where the key is.
    pub fn tag(&self) -> [u8; 8] {
        let tag = derive(self.root.expose(), "peer group key tag", &[]);
        let mut short = [0; 8];
        short.iter_mut().zip(tag.expose()).for_each(|(to, from)| *to = *from);
        short
    }

    fn confirmation(&self, member: &Name) -> [u8; 32] {
        mac(&self.confirm_key(), "peer group confirmation", &[&self.context, member.as_bytes()])
    }

    fn confirms(&self, member: &Name, tag: &[u8; 32]) -> bool {
        mac_verify(&self.confirm_key(), "peer group confirmation", &[&self.context, member.as_bytes()], tag)
    }

    fn confirm_key(&self) -> Secret32 {
        derive(self.root.expose(), "peer group confirmation key", &[])
    }
}

/// What the parent has to do.
#[derive(Debug)]
pub enum Outcome {
    /// Send this frame.
    Send(Option<Name>, Service, KeyFrame),
    /// Every member has the key.
    Agreed(ViewKeys),
    /// Some confirmation is of another key than this member has.
    Differs,
    /// This member cannot come to a key in this view.
    Failed,
}

struct Run {
    binding: Binding,
    /// The members and the keys with which they sign.
    members: BTreeMap<Name, [u8; 32]>,
    steps: BTreeMap<Name, u32>,
    sent: u32,
    keys: Option<ViewKeys>,
    confirmed: BTreeMap<Name, [u8; 32]>,
    complained: bool,
}

/// Key agreement of one member, through any cascade of views.
pub struct Robust<G: Group> {
    me: Name,
    key: SigningKey,
    policy: Arc<Policy>,
    rules: Rules,
    protocol: Protocol<G>,
    run: Option<Run>,
}

impl<G: Group> Robust<G> {
    /// The member `me`, before its first view.
    pub fn new(me: Name, key: SigningKey, policy: Arc<Policy>, rules: Rules) -> Self {
        let protocol = Protocol::new(policy.protocol, me.clone(), rules);
        Robust { me, key, policy, rules, protocol, run: None }
    }

    /// The contribution to the next view; a run under way ends.
    pub fn offer(
        &mut self,
        rng: &mut dyn CryptoRng,
        companions: &BTreeSet<Name>,
        afresh: bool,
        refresh: bool,
    ) -> Vec<u8> {
        self.run = None;
        self.protocol.offer(rng, companions, afresh, refresh)
    }

    /// Whether `offer` is one that a view can be begun with: everybody decides that alike.
    pub fn accepts(&self, offer: &[u8]) -> bool {
        self.protocol.accepts(offer)
    }

    /// A view: everybody's answers to the flush.
    pub fn start(&mut self, rng: &mut dyn CryptoRng, round: Round, answers: &BTreeMap<Name, FlushOk>) -> Vec<Outcome> {
        let binding = Binding::new(&self.policy, round, answers, self.rules);
        let Some(me) = answers.keys().position(|name| *name == self.me) else { return Vec::new() };
        let members = answers.iter().map(|(name, ok)| (name, ok.offer.as_slice())).collect();
        let view = KeyView { me, members, attempt: round.attempt, context: binding.context };
        let output = self.protocol.start(rng, &view);
        self.run = Some(Run {
            binding,
            members: answers.iter().map(|(name, ok)| (name.clone(), ok.key)).collect(),
            steps: BTreeMap::new(),
            sent: 0,
            keys: None,
            confirmed: BTreeMap::new(),
            complained: false,
        });
        self.take(output)
    }

    /// The view ends before there is a key.
    pub fn stop(&mut self) {
        self.run = None;
    }

    /// A message of a key protocol, in its place.
    pub fn on_frame(&mut self, rng: &mut dyn CryptoRng, from: &Name, frame: KeyFrame) -> Vec<Outcome> {
        if !self.admit(from, &frame) {
            return Vec::new();
        }
        match frame.payload {
            // What this member sends it knows.
            KeyPayload::Protocol(_) if *from == self.me => Vec::new(),
            KeyPayload::Protocol(message) => {
                let output = self.protocol.on_message(rng, from, &message);
                self.take(output)
            }
            KeyPayload::Confirm(tag) => {
                if let Some(run) = &mut self.run {
                    run.confirmed.entry(from.clone()).or_insert(tag);
                }
                self.conclude()
            }
        }
    }

    /// Whose message is due: of the protocol, or else whose confirmation.
    pub fn awaited(&self) -> BTreeSet<Name> {
        let Some(run) = &self.run else { return BTreeSet::new() };
        let due = self.protocol.awaited();
        if !due.is_empty() {
            return due;
        }
        run.members.keys().filter(|name| !run.confirmed.contains_key(*name)).cloned().collect()
    }

    /// Whether a frame is a message of this view, of the member that is said to have sent it, and not an old one.
    fn admit(&mut self, from: &Name, frame: &KeyFrame) -> bool {
        let Some(run) = &mut self.run else { return false };
        let Some(key) = run.members.get(from) else { return false };
        let last = run.steps.get(from).copied().unwrap_or(0);
        if frame.context != run.binding.context || frame.step <= last || frame.step > CONTROL_FRAMES_MAX {
            return false;
        }
        if self.rules.enforces(Rule::Signature) && !run.binding.verify(key, from, frame) {
            return false;
        }
        run.steps.insert(from.clone(), frame.step);
        true
    }

    fn take(&mut self, output: Output) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        if output.failed {
            outcomes.push(Outcome::Failed);
        }
        for (to, message) in output.messages {
            outcomes.extend(self.send(to, Service::Agreed, KeyPayload::Protocol(message)));
        }
        if let Some(secret) = output.secret
            && let Some(run) = &mut self.run
            && run.keys.is_none()
        {
            let keys = ViewKeys::new(&secret, run.binding.context);
            let tag = keys.confirmation(&self.me);
            run.keys = Some(keys);
            let safe = self.rules.enforces(Rule::SafeConfirmation);
            let service = if safe { Service::Safe } else { Service::Agreed };
            outcomes.extend(self.send(None, service, KeyPayload::Confirm(tag)));
            outcomes.extend(self.conclude());
        }
        outcomes
    }

    fn send(&mut self, to: Option<Name>, service: Service, payload: KeyPayload) -> Option<Outcome> {
        let run = self.run.as_mut()?;
        run.sent += 1;
        Some(Outcome::Send(to, service, run.binding.sign(&self.key, &self.me, run.sent, payload)))
    }

    /// Ends the run when everybody has confirmed.
    fn conclude(&mut self) -> Vec<Outcome> {
        let Some(run) = &mut self.run else { return Vec::new() };
        let Some(keys) = &run.keys else { return Vec::new() };
        let all = run.confirmed.len() == run.members.len() || !self.rules.enforces(Rule::ConfirmBeforeUse);
        let wrong = run.confirmed.iter().any(|(name, tag)| !keys.confirms(name, tag));
        match wrong && self.rules.enforces(Rule::ConfirmBeforeUse) {
            true if !std::mem::replace(&mut run.complained, true) => vec![Outcome::Differs],
            true => Vec::new(),
            false if all => {
                let keys = keys.clone();
                self.run = None;
                self.protocol.commit();
                vec![Outcome::Agreed(keys)]
            }
            false => Vec::new(),
        }
    }
}
