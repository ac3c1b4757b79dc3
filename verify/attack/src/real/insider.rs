//! A member in good standing that keeps its keys in its own hands and says what it likes with them.
//!
//! It logs in as everybody does, but over links and sealed channels of its own, so that it can send any request
//! under its session keys and any frame under the group key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use ringfort_documents::os_rng;
use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::data::{Identity, KeyedView, Shape, seal_multicast};
use ringfort_protocol::keys::{Ask, TrackerOutput, ViewTracker};
use ringfort_protocol::login::{Credential, Hardening, LoginAnswer, LoginClient};
use ringfort_protocol::policy::Service;
use ringfort_protocol::sealed::SealedChannel;
use ringfort_protocol::view::next_incarnation;
use ringfort_protocol::wire::{self, LeaderNotice, MemberRequest, Sorted};
use ringfort_protocol::{GroupInfo, Incarnation, LeaderId, MemberId, Seq, UserName};
use tokio::sync::mpsc;

use super::PATIENCE;
use super::client::Door;

/// Frames kept of each link and direction.
const KEPT_MAX: usize = 256;
/// Time between two questions for what is missing.
const ASK_SPACING: Duration = Duration::from_millis(250);

/// The member.
pub struct Insider {
    info: Arc<GroupInfo>,
    /// Its keys of this stay.
    pub me: Identity,
    credential: Credential,
    doors: BTreeMap<LeaderId, Inside>,
    inputs: mpsc::Receiver<(LeaderId, Option<Bytes>)>,
    inputs_from: mpsc::Sender<(LeaderId, Option<Bytes>)>,
    tracker: ViewTracker,
    view: Option<KeyedView>,
    /// Leaders that hung up.
    pub hung_up: BTreeSet<LeaderId>,
    seq: u64,
    asked_at: Instant,
    deaf: Arc<AtomicBool>,
    /// Bytes a second that each of its links reads; zero for as many as come.
    reads: Arc<AtomicU64>,
    answers: u64,
}

/// How fast an insider reads. At first, as fast as it can.
pub struct Tap(Arc<AtomicU64>);

impl Tap {
    /// So many bytes a second from each leader from now on, and no more.
    pub fn limit(&self, bytes_per_s: u64) {
        self.0.store(bytes_per_s, Ordering::Release);
    }

    /// As fast as it can.
    pub fn open(&self) {
        self.limit(0);
    }
}

/// A link that is logged in.
struct Inside {
    door: ringfort_link::LinkSender,
    channel: SealedChannel,
    /// The login's frames, then the sealed ones, as sent.
    sent: Vec<Bytes>,
    /// Sealed frames that came.
    heard: Vec<Bytes>,
    /// The challenge to answer.
    challenge: [u8; 16],
    /// All challenges that were answered.
    answered: Vec<[u8; 16]>,
}

impl Insider {
    /// Logs in with all leaders and waits for its first view.
    ///
    /// # Errors
    /// The leaders do not let it in.
    pub async fn join(info: &Arc<GroupInfo>, name: &str, password: &str) -> anyhow::Result<Insider> {
        let user: UserName = name.parse()?;
        let credential = harden(info, &user, password).await?;
        let mut proved = Vec::new();
        let mut last = Incarnation::default();
        for number in 1..=info.rules.n() {
            let mut door = Door::open_patiently(info, number).await?;
            let (mut client, init) =
                LoginClient::start(info, door.leader, door.exporter, &user, &credential, &mut os_rng());
            let init = wire::plain(&init);
            door.send(init.clone());
            let answer = door.answer().await?;
            match client.on_answer(info, &answer) {
                Ok(reported) => last = last.max(reported),
                Err(failure) => bail!("leader {number} refused {name}: {failure:?}"),
            }
            proved.push((door, client, init));
        }
        let me = Identity::generate(user, next_incarnation(last), &mut os_rng());
        let (inputs_from, inputs) = mpsc::channel(1024);
        let tracker = ViewTracker::new(info, me.id.clone());
        let mut this = Insider {
            info: info.clone(),
            me,
            credential,
            doors: BTreeMap::new(),
            inputs,
            inputs_from,
            tracker,
            view: None,
            hung_up: BTreeSet::new(),
            seq: 0,
            asked_at: Instant::now(),
            deaf: Arc::default(),
            reads: Arc::default(),
            answers: 0,
        };
        for (door, client, init) in proved {
            this.enter(door, &client, init)?;
        }
        if !this.live(PATIENCE, |this| this.view.is_some()).await {
            bail!("{name} was not let in");
        }
        Ok(this)
    }

    fn enter(&mut self, door: Door, client: &LoginClient, init: Bytes) -> anyhow::Result<()> {
        let acknowledged = client.acknowledge(&self.info, &self.credential, &self.me, &mut os_rng());
        let (ack, channel) = acknowledged.context("message 2 came")?;
        let ack = wire::plain(&ack);
        door.send(ack.clone());
        let Door { leader, sender, mut receiver, .. } = door;
        sender.authenticated();
        let (inputs, deaf, reads) = (self.inputs_from.clone(), self.deaf.clone(), self.reads.clone());
        tokio::spawn(async move {
            while let Ok(Some(frame)) = receiver.recv().await {
                if deaf.load(Ordering::Acquire) {
                    // With the link open.
                    return inputs.closed().await;
                }
                let (length, reads) = (frame.len() as f64, reads.load(Ordering::Acquire));
                if inputs.send((leader, Some(frame))).await.is_err() {
                    return;
                }
                if reads > 0 {
                    tokio::time::sleep(Duration::from_secs_f64(length / reads as f64)).await;
                }
            }
            // Nobody may be left to hear it.
            let _ = inputs.send((leader, None)).await;
        });
        let inside = Inside {
            door: sender,
            channel,
            sent: vec![init, ack],
            heard: Vec::new(),
            challenge: [0; 16],
            answered: Vec::new(),
        };
        self.doors.insert(leader, inside);
        Ok(())
    }

    /// Takes what leaders say until `enough` or the time is over.
    pub async fn live(&mut self, limit: Duration, mut enough: impl FnMut(&Self) -> bool) -> bool {
        let deadline = tokio::time::Instant::now() + limit;
        while !enough(self) {
            match tokio::time::timeout_at(deadline, self.inputs.recv()).await {
                Ok(Some((leader, Some(frame)))) => self.hear(leader, &frame),
                Ok(Some((leader, None))) => {
                    self.hung_up.insert(leader);
                }
                Ok(None) | Err(_) => return enough(self),
            }
        }
        true
    }

    fn hear(&mut self, leader: LeaderId, frame: &Bytes) {
        let Ok(Sorted::Sealed(sealed)) = wire::sort(frame) else { return };
        let Some(inside) = self.doors.get_mut(&leader) else { return };
        let Ok(payload) = inside.channel.open(&self.info.rules, sealed) else { return };
        self.answers += 1;
        if inside.heard.len() < KEPT_MAX {
            inside.heard.push(frame.clone());
        }
        let outputs = match decode(&payload) {
            Ok(LeaderNotice::Claim(claim)) => self.tracker.on_claim(&self.info, leader, claim),
            Ok(LeaderNotice::Snapshot { view, after, entries, last }) => {
                self.tracker.on_snapshot(&self.info, leader, view, after.as_ref(), entries, last)
            }
            Ok(LeaderNotice::Fates { over, open }) => self.tracker.on_fates(&self.info, leader, over, open),
            Ok(LeaderNotice::HeartbeatAnswer { challenge, .. }) => {
                inside.challenge = challenge;
                Vec::new()
            }
            _ => Vec::new(),
        };
        for output in outputs {
            if let TrackerOutput::Installed { view, key, .. } = output {
                self.view = key.map(|key| KeyedView::new(view, key));
            }
        }
        let missing = self.tracker.missing(&self.info, 0).filter(|_| self.asked_at.elapsed() >= ASK_SPACING);
        if let Some((leader, ask)) = missing {
            self.asked_at = Instant::now();
            self.request(
                leader,
                &match ask {
                    Ask::Claim(have) => MemberRequest::Claim { have },
                    Ask::Snapshot(view, after) => MemberRequest::Snapshot { view, after },
                    Ask::Fates(stays) => MemberRequest::Fates(stays),
                },
            );
        }
    }

    /// Sends a request under the session key; false if there is no such link.
    pub fn request(&mut self, leader: LeaderId, request: &MemberRequest) -> bool {
        let Some(inside) = self.doors.get_mut(&leader) else { return false };
        let frame = inside.channel.seal(&encode(request));
        if inside.sent.len() < KEPT_MAX {
            inside.sent.push(frame.clone());
        }
        inside.door.send(ringfort_link::Class::Control, frame).is_ok()
    }

    /// A request as it would be sent, not sent.
    pub fn sealed(&mut self, leader: LeaderId, request: &MemberRequest) -> Option<Bytes> {
        Some(self.doors.get_mut(&leader)?.channel.seal(&encode(request)))
    }

    /// Leaves as everybody does, and waits until leaders hang up.
    pub async fn leave(&mut self) {
        let leaders: Vec<LeaderId> = self.doors.keys().copied().collect();
        for leader in &leaders {
            self.request(*leader, &MemberRequest::Leave);
        }
        // Those that do not are not waited for long.
        let quorum = usize::from(self.info.rules.n() - self.info.rules.f());
        self.live(Duration::from_secs(5), |this| this.hung_up.len() >= quorum).await;
        for inside in self.doors.values() {
            inside.door.close();
        }
    }

    /// An honest heartbeat to every leader: the stay goes on.
    pub fn beat(&mut self) {
        let leaders: Vec<LeaderId> = self.doors.keys().copied().collect();
        let installed = self.view.as_ref().map(KeyedView::id);
        for leader in leaders {
            let Some(inside) = self.doors.get_mut(&leader) else { continue };
            let answer = inside.challenge;
            inside.answered.push(answer);
            self.request(leader, &MemberRequest::Heartbeat { challenge: draw(), answer, installed });
        }
    }

    /// A heartbeat with the answer to a challenge of long ago; false if there is none yet.
    pub fn stale_beat(&mut self, leader: LeaderId) -> bool {
        let installed = self.view.as_ref().map(KeyedView::id);
        let Some(inside) = self.doors.get(&leader) else { return false };
        let past =
            inside.answered.iter().rev().skip(1).find(|answer| **answer != [0; 16] && **answer != inside.challenge);
        let Some(answer) = past.copied() else { return false };
        self.request(leader, &MemberRequest::Heartbeat { challenge: draw(), answer, installed })
    }

    /// Sends any bytes; false if there is no such link.
    pub fn send(&self, leader: LeaderId, frame: Bytes) -> bool {
        let sent = self.doors.get(&leader).map(|inside| inside.door.send(ringfort_link::Class::Control, frame));
        sent.is_some_and(|sent| sent.is_ok())
    }

    /// Sends a message to all leaders, as members do; false if the line is full at one of them.
    pub fn relay(&self, frame: &Bytes) -> bool {
        let is_full = |inside: &&Inside| inside.door.send(ringfort_link::Class::Data, frame.clone()).is_err();
        // To all of them, whatever the first ones answer.
        self.doors.values().filter(is_full).count() == 0
    }

    /// The frames of the login and the requests sent to a leader.
    pub fn sent(&self, leader: LeaderId) -> Vec<Bytes> {
        self.doors.get(&leader).map(|inside| inside.sent.clone()).unwrap_or_default()
    }

    /// The sealed frames that came from a leader.
    pub fn heard(&self, leader: LeaderId) -> Vec<Bytes> {
        self.doors.get(&leader).map(|inside| inside.heard.clone()).unwrap_or_default()
    }

    /// Seals a message under the group key in the name of `as_whom`, signed with the insider's own key.
    ///
    /// # Errors
    /// There is no view yet, or the topic is none.
    pub fn message(&mut self, as_whom: Option<&MemberId>, payload: &[u8]) -> anyhow::Result<Bytes> {
        self.seq += 1;
        let view = self.view.as_mut().context("a view")?;
        let signing = ringfort_crypto::sign::SigningKey::from_secret(&self.me.signing.to_secret());
        let sealing = ringfort_crypto::kem::KemSecret::from_secret(&self.me.sealing.to_secret());
        let id = as_whom.unwrap_or(&self.me.id).clone();
        let author = Identity { id, signing, sealing };
        // High numbers in another's name: they are new in that one's stream.
        let seq = Seq(if as_whom.is_some() { 1_000_000 + self.seq } else { self.seq });
        let start = Seq(if as_whom.is_some() { 1_000_000 } else { 1 });
        let shape = Shape::of(&self.info.policy);
        Ok(seal_multicast(&shape, &author, view, (Service::Fifo, seq, start), &"chat".parse()?, payload))
    }

    /// Never sends the message that would be next.
    pub fn leave_out(&mut self) {
        self.seq += 1;
    }

    /// Reads nothing any more, with all links open.
    pub fn go_deaf(&self) {
        self.deaf.store(true, Ordering::Release);
    }

    /// How fast it reads, in somebody else's hand.
    pub fn tap(&self) -> Tap {
        Tap(self.reads.clone())
    }

    /// How often leaders said something to it under its session keys.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// The leaders it is logged in with.
    pub fn leaders(&self) -> Vec<LeaderId> {
        self.doors.keys().copied().collect()
    }

    /// A message in its own name whose signature does not hold.
    ///
    /// # Errors
    /// There is no view yet.
    pub fn noise(&mut self) -> anyhow::Result<Bytes> {
        let mut frame = self.message(None, &[0; 512])?.to_vec();
        if let Some(last) = frame.last_mut() {
            *last ^= 1;
        }
        Ok(frame.into())
    }

    /// The stay of another member, as the view names it.
    pub fn member(&self, name: &str) -> Option<MemberId> {
        let members = &self.tracker.installed()?.members;
        members.iter().find(|entry| entry.id.user.as_str() == name).map(|entry| entry.id.clone())
    }

    /// Who is in its view.
    pub fn members(&self) -> Vec<String> {
        let names = self.tracker.installed().map(|view| view.members.iter().map(|e| e.id.user.to_string()).collect());
        names.unwrap_or_default()
    }

    /// The epoch of its view.
    pub fn epoch(&self) -> u64 {
        self.view.as_ref().map_or(0, |view| view.id().epoch.0)
    }
}

fn draw() -> [u8; 16] {
    use rand_core::Rng;
    let mut bytes = [0; 16];
    os_rng().fill_bytes(&mut bytes);
    bytes
}

/// Hardens a password with f+1 leaders, each over a link of its own.
async fn harden(info: &GroupInfo, user: &UserName, password: &str) -> anyhow::Result<Credential> {
    let mut hardening = Hardening::start(user.clone(), password.as_bytes(), &mut os_rng()).context("a password")?;
    for number in 1..=info.rules.n() {
        let mut door = Door::open_patiently(info, number).await?;
        door.send(wire::plain(&hardening.request()));
        let LoginAnswer::Evaluated { evaluation, key } = door.answer().await? else { continue };
        if let Some((root, _)) = hardening.on_evaluation(info, door.leader, &evaluation, &key).root {
            return Ok(Credential::Password(root));
        }
    }
    bail!("too few evaluations for {user}")
}
