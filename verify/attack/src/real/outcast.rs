//! A member that will be expelled, and does not take it well: it keeps every frame and every key.
//!
//! Its machine is its own: before the expulsion it stops listening, so that its protocol core goes on with
//! the session keys and the group key it had. Then it tries them all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use rand_core::Rng;
use ringfort_documents::os_rng;
use ringfort_link as link;
use ringfort_link::{Backoff, ConnectOptions, LinkPublicKey, LinkReceiver, LinkSender};
use ringfort_protocol::data::DATA_TAG;
use ringfort_protocol::member::{Effect, Event, Member, Secret, Step};
use ringfort_protocol::policy::Service;
use ringfort_protocol::wire::{LOGIN_TAG, SEALED_TAG};
use ringfort_protocol::{Cx, GroupInfo, LeaderId, Time, Topic};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::PATIENCE;
use super::desk::Desk;
use super::ledger::{MessageId, StayId};

/// How long a leader may take to hang up.
const HANG_UP_WITHIN: Duration = Duration::from_secs(5);
/// Frames kept of each sort and leader.
const KEPT_MAX: usize = 16;

/// The member, its core and its records.
pub struct Outcast {
    desk: Arc<Desk>,
    info: Arc<GroupInfo>,
    stay: StayId,
    core: Member,
    started: Instant,
    links: BTreeMap<LeaderId, LinkSender>,
    inputs: mpsc::Receiver<(LeaderId, Bytes)>,
    inputs_from: mpsc::Sender<(LeaderId, Bytes)>,
    /// What it sent, by leader and tag of the frame.
    kept: BTreeMap<(LeaderId, u8), Vec<Bytes>>,
    said: u64,
}

/// What the outcast tried at one leader, and whether the leader hung up on it.
#[derive(Debug)]
pub struct Strike {
    /// What it tried.
    pub what: &'static str,
    /// Where.
    pub leader: u8,
    /// Frames sent.
    pub frames: usize,
    /// Whether the leader ended the link.
    pub refused: bool,
}

impl Outcast {
    /// Joins over links of its own.
    pub async fn join(desk: Arc<Desk>, info: Arc<GroupInfo>, stay: StayId, password: &str) -> anyhow::Result<Self> {
        let started = Instant::now() - Duration::from_millis(1);
        let secret = Secret::Password(Zeroizing::new(password.as_bytes().to_vec()));
        let core = {
            let mut rng = os_rng();
            let mut cx = Cx { now: Time::from_start(started.elapsed()), unix_ms: 0, rng: &mut rng };
            Member::new(&mut cx, info.clone(), stay.0.parse()?, secret)
        };
        let (inputs_from, inputs) = mpsc::channel(1024);
        let (links, kept) = (BTreeMap::new(), BTreeMap::new());
        let mut this = Outcast { desk, info, stay, core, started, links, inputs, inputs_from, kept, said: 0 };
        let leaders: Vec<LeaderId> = this.info.rules.leaders().collect();
        for leader in leaders {
            this.connect(leader).await?;
        }
        let joined = this.listen(PATIENCE, |events| events.iter().any(|e| matches!(e, Event::View { .. }))).await;
        if !joined {
            bail!("{} could not join", this.stay.0);
        }
        Ok(this)
    }

    async fn connect(&mut self, leader: LeaderId) -> anyhow::Result<()> {
        let (sender, mut receiver, exporter) = open_link_patiently(&self.info, leader).await?;
        let inputs = self.inputs_from.clone();
        tokio::spawn(async move {
            while let Ok(Some(frame)) = receiver.recv().await {
                if inputs.send((leader, frame)).await.is_err() {
                    return;
                }
            }
        });
        self.links.insert(leader, sender);
        let step = self.step(|core, cx| core.on_link_up(cx, leader, exporter));
        self.carry_out(step);
        Ok(())
    }

    fn step<T>(&mut self, input: impl FnOnce(&mut Member, &mut Cx<'_>) -> T) -> T {
        let mut rng = os_rng();
        let mut cx = Cx { now: Time::from_start(self.started.elapsed()), unix_ms: 0, rng: &mut rng };
        input(&mut self.core, &mut cx)
    }

    fn carry_out(&mut self, step: Step) -> Vec<Event> {
        for effect in step.effects {
            match effect {
                Effect::Send(leader, class, frame) => {
                    let tag = frame.get(1).copied().unwrap_or_default();
                    let kept = self.kept.entry((leader, tag)).or_default();
                    if kept.len() < KEPT_MAX {
                        kept.push(frame.clone());
                    }
                    if let Some(sender) = self.links.get(&leader) {
                        // A link that ended is part of the story.
                        let _ = sender.send(class, frame);
                    }
                }
                Effect::Authenticated(leader) => {
                    if let Some(sender) = self.links.get(&leader) {
                        sender.authenticated();
                    }
                }
                Effect::Reconnect(_) | Effect::Close(_) | Effect::Log(_) => {}
            }
        }
        step.events
    }

    /// Lives as a member until `enough` or the time is over.
    async fn listen(&mut self, limit: Duration, mut enough: impl FnMut(&[Event]) -> bool) -> bool {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let now = Time::from_start(self.started.elapsed());
            let wakeup = self.core.next_wakeup(now).unwrap_or(now);
            let due = tokio::time::Instant::from_std(self.started + wakeup.since_start()).min(deadline);
            let step = tokio::select! {
                input = self.inputs.recv() => match input {
                    Some((leader, frame)) => self.step(|core, cx| core.on_frame(cx, leader, &frame)),
                    None => return false,
                },
                () = tokio::time::sleep_until(due) => self.step(|core, cx| core.on_wakeup(cx)),
            };
            let events = self.carry_out(step);
            if enough(&events) {
                return true;
            }
            if tokio::time::Instant::now() >= deadline {
                return false;
            }
        }
    }

    /// Says something as a member in good standing, and lives on for a moment.
    pub async fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.said += 1;
        let id = MessageId { from: self.stay.clone(), private: false, page: false, number: self.said };
        let audience: BTreeSet<String> = self.core.member_names().iter().map(ToString::to_string).collect();
        self.desk.with(|state| state.ledger.sending(id.clone(), audience, None));
        let payload = format!("{} {text}", id.text());
        let step = self.speak(payload.as_bytes())?;
        self.carry_out(step);
        self.listen(Duration::from_millis(400), |_| false).await;
        Ok(())
    }

    fn speak(&mut self, payload: &[u8]) -> anyhow::Result<Step> {
        let topic: Topic = "chat".parse()?;
        Ok(self.step(|core, cx| core.multicast(cx, Service::Fifo, &topic, payload))?)
    }

    /// After the expulsion: everything it kept, and everything its old keys can still make, at these leaders.
    pub async fn strike(&mut self, leaders: &[u8]) -> anyhow::Result<Vec<Strike>> {
        let mut strikes = Vec::new();
        // Its core was not told: it seals with the old session keys and the old group key.
        let step = self.speak(b"out but still here")?;
        let fresh_data: Vec<Bytes> = frames(&step, None);
        self.started -= Duration::from_secs(1);
        let heartbeats = self.step(|core, cx| core.on_wakeup(cx));
        for number in leaders {
            let leader = LeaderId::new(*number).context("a leader's number")?;
            let kept = |tag| self.kept.get(&(leader, tag)).cloned().unwrap_or_default();
            let mut data = kept(DATA_TAG);
            data.extend(fresh_data.iter().cloned());
            for (what, frames) in [
                ("its recorded login", kept(LOGIN_TAG)),
                ("its recorded requests", kept(SEALED_TAG)),
                ("new requests under its old session key", frames(&heartbeats, Some(leader))),
                ("old and new messages under its old group key", data),
            ] {
                let count = frames.len();
                let refused = knock(&self.info, leader, frames, true).await?;
                strikes.push(Strike { what, leader: *number, frames: count, refused });
            }
        }
        Ok(strikes)
    }

    /// The same messages through a hacked leader, which relays them for it.
    pub async fn strike_through(&mut self, accomplice: u8) -> anyhow::Result<usize> {
        let leader = LeaderId::new(accomplice).context("a leader's number")?;
        let fresh = self.speak(b"out but with friends")?;
        let mut data: Vec<Bytes> =
            self.kept.iter().filter(|((_, tag), _)| *tag == DATA_TAG).flat_map(|(_, kept)| kept.clone()).collect();
        data.extend(frames(&fresh, None));
        let count = data.len();
        knock(&self.info, leader, data, false).await?;
        Ok(count)
    }

    /// Whether all its old links are gone.
    pub async fn was_hung_up_on(&self, leaders: &[u8]) -> bool {
        let numbers = leaders.iter().filter_map(|n| LeaderId::new(*n));
        for sender in numbers.filter_map(|leader| self.links.get(&leader)) {
            if tokio::time::timeout(HANG_UP_WITHIN, sender.ended()).await.is_err() {
                return false;
            }
        }
        true
    }
}

fn frames(step: &Step, to: Option<LeaderId>) -> Vec<Bytes> {
    let mut frames = Vec::new();
    for effect in &step.effects {
        if let Effect::Send(leader, _, frame) = effect
            && to.is_none_or(|to| to == *leader)
            && !frames.contains(frame)
        {
            frames.push(frame.clone());
        }
    }
    frames
}

async fn open_link(info: &GroupInfo, leader: LeaderId) -> anyhow::Result<(LinkSender, LinkReceiver, [u8; 32])> {
    let known = info.leader(leader).context("a leader of the group")?;
    let link = link::connect(&known.address, LinkPublicKey(known.link_key), None, &ConnectOptions::default()).await?;
    let exporter = link.exporter();
    let (sender, receiver) = link.split();
    Ok((sender, receiver, exporter))
}

/// As [`open_link`], for a leader that may be just starting.
async fn open_link_patiently(
    info: &GroupInfo,
    leader: LeaderId,
) -> anyhow::Result<(LinkSender, LinkReceiver, [u8; 32])> {
    let mut backoff = Backoff::default();
    let started = Instant::now();
    loop {
        match open_link(info, leader).await {
            Err(_) if started.elapsed() < PATIENCE => tokio::time::sleep(backoff.next(os_rng().next_u64())).await,
            outcome => return outcome,
        }
    }
}

/// Sends frames over a new link, and waits for the leader to hang up. True if it did.
async fn knock(info: &GroupInfo, leader: LeaderId, frames: Vec<Bytes>, expect_refusal: bool) -> anyhow::Result<bool> {
    let (sender, mut receiver, _) = open_link(info, leader).await?;
    for frame in frames {
        // The leader may hang up on the first.
        let _ = sender.send(link::Class::Control, frame);
    }
    let hung_up = async { while let Ok(Some(_)) = receiver.recv().await {} };
    let limit = if expect_refusal { HANG_UP_WITHIN } else { Duration::from_millis(500) };
    Ok(tokio::time::timeout(limit, hung_up).await.is_ok())
}
