//! A leader's links to the other leaders, and what each of them may make it do.
//!
//! Up to f of them are hacked, and each has a link that nobody can refuse it. So each has an account, whatever links it
//! makes: it pays for what it sends by size and for every signature that is checked for it. Who asks for more than its
//! share is cut off for growing times. That alone blames nobody, since the network can hold back what an honest leader
//! said in a minute and deliver it at once; an honest leader loses nothing, for it says again what is not settled. Who
//! does on its own link what no honest leader does is blamed for it, and cut off in the same way.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ringfort_kernel::{Budget, Penalty};

use super::{Event, Leader, Step};
use crate::coordination::{Output, SignedProposal, Subject, VOTES_PER_SUBJECT_MAX};
use crate::fault::{CUT_OFF, Culprit, Fault};
use crate::ids::LeaderId;
use crate::rules::Rule;
use crate::time::{Cx, Time};
use crate::wire::{self, PROPOSALS_MAX, PeerMessage, Sorted};

/// What all hacked leaders together may cost, in units a second, of about four microseconds each: half of a core.
const WORK_PER_S: u64 = 131_072;
/// What one of them may cost, however few they are: a twentieth.
const WORK_PER_PEER_S: u64 = 12_288;
/// What may come at once: who was away has much to say. With what comes in ten seconds, it is less than a second of work.
const WORK_BURST: u64 = 122_880;
const _: () = assert!(WORK_BURST + 10 * WORK_PER_PEER_S <= 250_000, "more than a second in ten");
/// What one frame costs whatever is in it, and each part of its length.
const FRAME: u64 = 4;
const PART_BYTES: usize = 64;
/// What checking one signature costs.
const VERIFICATION: u64 = 16;
const _: () =
    assert!(PROPOSALS_MAX as u64 * VERIFICATION <= 512, "one frame keeps others waiting for over two milliseconds");
/// What a deviation costs, so that repeating it cuts the link.
const DEVIATION: u64 = WORK_BURST / 16;
/// What must be left before a leader is asked for what it has accepted: the answer is paid for by who gives it.
const QUESTION: u64 = WORK_BURST / 2;
/// More than any honest leader says: two megabytes a second, on top of what its queue and the network can hold.
const HONEST_PER_S: u64 = 32_768;
const HONEST_BURST: u64 = 524_288;
/// Comparisons are answered and asked for no more often than they are begun.
const COMPARE_SPACING: Duration = Duration::from_millis(400);
/// A leader that has not begun to answer is asked again after this. It may have nothing to tell; if its answers are only slow
/// to come, they are no more than it may say in that time.
const ANSWER_WAIT: Duration = Duration::from_secs(8);

/// What one other leader has left.
#[derive(Debug)]
pub(super) struct Account {
    work: Budget,
    /// What an honest leader can have sent at all.
    honest: Budget,
    penalty: Penalty,
    convicted: bool,
    asked: Option<Time>,
    /// Whether it has still to begin its answer.
    owes: bool,
    answered: Option<Time>,
}

impl Account {
    fn new(now: Time, f: u8) -> Self {
        let share = (WORK_PER_S / u64::from(f).max(1)).min(WORK_PER_PEER_S);
        Account {
            work: Budget::new(now, share, WORK_BURST),
            honest: Budget::new(now, HONEST_PER_S, HONEST_BURST),
            penalty: CUT_OFF,
            convicted: false,
            asked: None,
            owes: false,
            answered: None,
        }
    }

    fn is_cut_off(&self, now: Time) -> bool {
        self.penalty.left(now).is_some()
    }

    /// Whether it may be asked now for what it has accepted: one answer at a time, since it pays for each when that comes, which
    /// over a slow link is long after it was asked. What calls for the next question, it says after all of the answer.
    fn may_ask(&mut self, now: Time) -> bool {
        let wait = if self.owes { ANSWER_WAIT } else { COMPARE_SPACING };
        let may = is_due(self.asked, wait, now) && self.work.left(now) >= QUESTION;
        if may {
            (self.asked, self.owes) = (Some(now), true);
        }
        may
    }

    /// Whether its comparison is answered now.
    fn may_answer(&mut self, now: Time) -> bool {
        let may = is_due(self.answered, COMPARE_SPACING, now);
        if may {
            self.answered = Some(now);
        }
        may
    }
}

fn is_due(last: Option<Time>, wait: Duration, now: Time) -> bool {
    last.is_none_or(|last| now >= last + wait)
}

fn cost(frame: &[u8]) -> u64 {
    FRAME + u64::try_from(frame.len() / PART_BYTES).unwrap_or(u64::MAX)
}

impl Leader {
    /// A link to another leader is up.
    pub fn on_peer_up(&mut self, peer: LeaderId) -> Step {
        self.peers.insert(peer);
        self.accounts.entry(peer).and_modify(|account| account.owes = false);
        self.state.on_peer_up(peer);
        self.unheard.on_link(peer);
        let mut step = Step::default();
        for message in self.state.status() {
            step.tell_peer(peer, &message);
        }
        step
    }

    /// A link to another leader is gone.
    pub fn on_peer_down(&mut self, peer: LeaderId) {
        self.peers.remove(&peer);
    }

    /// A frame from another leader, on a link that proves its key.
    pub fn on_peer_frame(&mut self, cx: &mut Cx<'_>, peer: LeaderId, frame: &Bytes) -> Step {
        let mut step = Step::default();
        let unpaid = self.hear_peer(cx, peer, frame, &mut step);
        let deviates = |event: &Event| matches!(event, Event::Blamed(Culprit::Leader(who), fault) if *who == peer && fault.cuts_link());
        let cut = unpaid || step.events.iter().any(deviates) && self.group.rules.enforces(Rule::PeerBudget);
        if let Some(account) = self.accounts.get_mut(&peer).filter(|account| cut && !account.is_cut_off(cx.now)) {
            step.events.push(Event::CutOff(peer, account.penalty.punish(cx.now)));
        }
        step
    }

    /// Says whether the peer has asked for more than its share.
    fn hear_peer(&mut self, cx: &mut Cx<'_>, peer: LeaderId, frame: &Bytes, step: &mut Step) -> bool {
        let f = self.group.rules.f();
        let account = self.accounts.entry(peer).or_insert_with(|| Account::new(cx.now, f));
        let enforced = self.group.rules.enforces(Rule::PeerBudget);
        if !account.honest.take(cx.now, cost(frame)) && enforced && !std::mem::replace(&mut account.convicted, true) {
            step.blame(Culprit::Leader(peer), Fault::Flooding);
        }
        if account.is_cut_off(cx.now) && enforced {
            return false;
        }
        account.convicted = false;
        if !account.work.take(cx.now, cost(frame)) && enforced {
            return true;
        }
        let (outputs, unpaid) = self.on_peer_message(cx, peer, read(frame));
        self.absorb(cx, outputs, step);
        unpaid
    }

    fn on_peer_message(
        &mut self,
        cx: &mut Cx<'_>,
        peer: LeaderId,
        message: Result<PeerMessage, Fault>,
    ) -> (Vec<Output>, bool) {
        let Some(account) = self.accounts.get_mut(&peer) else { return (Vec::new(), false) };
        let enforced = self.group.rules.enforces(Rule::PeerBudget);
        let mut unpaid = false;
        let mut pay = |work: &mut Budget, units| {
            unpaid |= !work.take(cx.now, units) && enforced;
            !unpaid
        };
        let outputs = match message {
            Ok(PeerMessage::Proposals(list)) if enforced && crowds(&list) => {
                vec![Output::Blame(peer, Fault::Flooding)]
            }
            Ok(PeerMessage::Proposals(list)) => {
                account.owes &= !list.iter().any(|said| said.accepted);
                let work = &mut account.work;
                self.state.on_proposals_within(peer, list, &mut || pay(work, VERIFICATION))
            }
            Ok(PeerMessage::Status(root)) => {
                let outputs = self.state.on_status(peer, root).into_iter();
                let may = |output: &Output| !matches!(output, Output::Tell(..)) || !enforced || account.may_ask(cx.now);
                outputs.filter(may).collect()
            }
            Ok(PeerMessage::Buckets(_)) if !account.may_answer(cx.now) && enforced => Vec::new(),
            Ok(PeerMessage::Buckets(theirs)) => self.state.on_buckets(peer, &theirs),
            Ok(PeerMessage::Unheard(said)) => {
                let paid = pay(&mut account.work, VERIFICATION);
                if paid { self.on_unheard(cx.now, peer, said) } else { Vec::new() }
            }
            Err(fault) => vec![Output::Blame(peer, fault)],
        };
        let deviates =
            |output: &Output| matches!(output, Output::Blame(who, fault) if *who == peer && fault.is_deviation());
        if let Some(account) = self.accounts.get_mut(&peer).filter(|_| outputs.iter().any(deviates)) {
            pay(&mut account.work, DEVIATION);
        }
        (outputs, unpaid)
    }
}

/// Whether there are more votes on one subject than a leader has at any time.
fn crowds(proposals: &[SignedProposal]) -> bool {
    let mut counts = BTreeMap::<Subject, usize>::new();
    proposals.iter().any(|proposal| {
        let count = counts.entry(proposal.operation.subject()).or_default();
        *count += 1;
        *count > VOTES_PER_SUBJECT_MAX
    })
}

/// Length before content: a list that is too long is not decoded.
fn read(frame: &[u8]) -> Result<PeerMessage, Fault> {
    match wire::sort(frame) {
        Ok(Sorted::Plain(body)) if wire::lists_too_many(body) => Err(Fault::Flooding),
        Ok(Sorted::Plain(body)) => wire::decode_plain(body).map_err(|_| Fault::Malformed),
        _ => Err(Fault::Malformed),
    }
}
