//! The driver of a member: one task that owns the protocol core.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfort_protocol::fault::Fault;
use ringfort_protocol::log::{Chunk, Head};
use ringfort_protocol::member::{self, Class, Confirmation, Effect, JoinFailure, Member, Secret, Step};
use ringfort_protocol::motion::Motion;
use ringfort_protocol::policy::Service;
use ringfort_protocol::time::earliest;
use ringfort_protocol::view::Cause;
use ringfort_protocol::{GroupInfo, LeaderId, Rejected, Topic, UserName};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::calls::{Called, Calls};
use super::event::{Event, Events, LeaderState, Message, Snapshot};
use super::links::{Input, Shared};
use super::{JoinError, SendError};
use ringfort_documents::LogFile;
use ringfort_link::{LinkError, LinkLimits, LinkSender};
use ringfort_runtime::{Outside, SERVE_BYTES, SERVE_FOR, cost_since};

const COMMANDS_MAX: usize = 256;
/// Inputs served before everything else is looked at.
const SERVE_MAX: usize = 64;
/// Events waiting for the program.
const EVENTS_MAX: usize = 4096;
/// How long a program that does not take its events holds up the member.
const EVENT_PATIENCE: Duration = Duration::from_millis(500);

/// The relays that took a message.
pub(super) type Sent = Result<Vec<LinkSender>, Rejected>;

/// What a program holds of its member.
pub(super) struct Started {
    pub commands: mpsc::Sender<Command>,
    pub joined: Joined,
    pub state: watch::Receiver<Snapshot>,
    pub room: watch::Receiver<bool>,
    pub events: Events,
}

enum Woken {
    Time,
    Inputs,
    Command(Option<Command>),
}

pub(super) enum Command {
    Multicast { service: Service, topic: Topic, payload: Vec<u8>, reply: oneshot::Sender<Sent> },
    SendTo { to: Vec<UserName>, topic: Topic, payload: Vec<u8>, reply: oneshot::Sender<Sent> },
    Vote { motion: Motion, yes: bool, reply: oneshot::Sender<Sent> },
    Flush { reply: oneshot::Sender<u64> },
    CountUnderWay { reply: oneshot::Sender<u64> },
    Leave { reply: oneshot::Sender<Cause> },
    Call { request: Vec<u8>, reply: oneshot::Sender<Called> },
}

type Joined = oneshot::Receiver<Result<(), JoinError>>;

pub(super) fn start(
    info: Arc<GroupInfo>,
    user: UserName,
    secret: Secret,
    limits: LinkLimits,
    log: Option<(LogFile, Head)>,
) -> Started {
    let (commands, commanded) = mpsc::channel(COMMANDS_MAX);
    let (events, received) = mpsc::channel(EVENTS_MAX);
    let (joined, on_joined) = oneshot::channel();
    let snapshot = Snapshot {
        view: None,
        members: Arc::default(),
        confirmation: Confirmation::Unconfirmed,
        key_fingerprint: None,
        installed: None,
        leaders: info.rules.leaders().map(LeaderState::new).collect(),
        motions: Vec::new(),
        awaits_vote: false,
        ended: None,
    };
    let (state, on_state) = watch::channel(snapshot);
    let (room, on_room) = watch::channel(true);
    let mut outside = Outside::start();
    let mut member = Member::new(&mut outside.cx(), info.clone(), user, secret);
    let log = log.map(|(file, head)| {
        member.keep_log(head);
        file
    });
    let driver = Driver {
        outside,
        member,
        shared: Shared::new(&info),
        links: BTreeMap::new(),
        events,
        lagged: 0,
        state,
        room,
        joined: Some(joined),
        leaving: Vec::new(),
        flushes: Vec::new(),
        tasks: JoinSet::new(),
        keeping: BTreeMap::new(),
        info,
        limits,
        log,
        calls: Calls::default(),
    };
    tokio::spawn(driver.run(commanded));
    Started { commands, joined: on_joined, state: on_state, room: on_room, events: Events { received } }
}

pub(super) struct Driver {
    pub(super) outside: Outside,
    pub(super) member: Member,
    pub(super) shared: Shared,
    pub(super) links: BTreeMap<LeaderId, (u64, LinkSender)>,
    events: mpsc::Sender<Event>,
    lagged: u64,
    state: watch::Sender<Snapshot>,
    /// Whether more should be sent now.
    room: watch::Sender<bool>,
    joined: Option<oneshot::Sender<Result<(), JoinError>>>,
    leaving: Vec<oneshot::Sender<Cause>>,
    /// Who waits until all messages up to a place are acknowledged, and how many were lost sight of before.
    flushes: Vec<(u64, u64, oneshot::Sender<u64>)>,
    /// The tasks that keep links, and how each is ended.
    pub(super) tasks: JoinSet<()>,
    pub(super) keeping: BTreeMap<LeaderId, AbortHandle>,
    pub(super) info: Arc<GroupInfo>,
    pub(super) limits: LinkLimits,
    log: Option<LogFile>,
    pub(super) calls: Calls,
}

impl Driver {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.keep_links();
        while !self.member.has_ended() {
            let wakeup = self.member.next_wakeup(self.outside.clock.now());
            let due = self.outside.due(earliest(wakeup, self.calls.next_wakeup()));
            let woken = tokio::select! {
                () = tokio::time::sleep_until(due) => Woken::Time,
                () = self.shared.inputs.ready() => Woken::Inputs,
                command = commands.recv() => Woken::Command(command),
            };
            match woken {
                Woken::Time => {
                    let step = self.member.on_wakeup(&mut self.outside.cx());
                    self.carry_out(step).await;
                    self.tend_calls().await;
                }
                Woken::Inputs => self.serve().await,
                Woken::Command(Some(command)) => {
                    let step = self.on_command(command);
                    self.carry_out(step).await;
                }
                // Nobody holds the group any more: leave, without waiting for an answer.
                Woken::Command(None) => break,
            }
            self.answer_flushes();
            self.show_room();
            self.show();
            tokio::task::consume_budget().await;
        }
        for (_, _, reply) in self.flushes.drain(..) {
            let _ = reply.send(self.member.under_way());
        }
        if !self.member.has_ended() {
            let step = self.member.leave();
            self.carry_out(step).await;
        }
        let step = self.member.close_log(&mut self.outside.cx());
        self.carry_out(step).await;
        // Closing flushes what is queued; the links' tasks end with this one.
        let senders: Vec<LinkSender> = self.links.values().map(|(_, sender)| sender.clone()).collect();
        for sender in senders {
            sender.close();
            sender.ended().await;
        }
    }

    /// Serves what leaders sent, in turn, for a few milliseconds at most.
    async fn serve(&mut self) {
        let (began, mut bytes) = (Instant::now(), 0);
        for _ in 0..SERVE_MAX {
            let next = if self.member.has_ended() { None } else { self.shared.inputs.pop() };
            let Some((leader, input)) = next else { return };
            bytes += input.bytes();
            let started = Instant::now();
            let step = self.on_input(input);
            let cut = cut_off(&step);
            self.shared.inputs.charge(&leader, cost_since(started));
            self.carry_out(step).await;
            if let Some((leader, fault, length)) = cut {
                self.cut_off(leader, fault, length).await;
            }
            if bytes >= SERVE_BYTES || began.elapsed() >= SERVE_FOR {
                return;
            }
        }
    }

    /// A leader that the core has cut off has no link meanwhile: what it sends costs nothing at all.
    async fn cut_off(&mut self, leader: LeaderId, fault: Fault, length: Duration) {
        let Some((_, sender)) = self.links.remove(&leader) else { return };
        sender.close();
        self.shared.barred.bar(leader, length);
        tracing::warn!(
            leader = leader.number(),
            fault = fault.word(),
            seconds = length.as_secs(),
            "the link to a leader is cut"
        );
        self.note(leader, false, Some(&LinkError::Deviated { fault: fault.word(), length }));
        let step = self.member.on_link_down(self.outside.clock.now(), leader);
        self.carry_out(step).await;
    }

    fn on_input(&mut self, input: Input) -> Step {
        match input {
            Input::Up(leader, _, _, sender) if self.shared.barred.left(leader).is_some() => {
                sender.close();
                Step::default()
            }
            Input::Up(leader, generation, exporter, sender) => {
                self.links.insert(leader, (generation, sender));
                self.note(leader, true, None);
                self.member.on_link_up(&mut self.outside.cx(), leader, exporter)
            }
            Input::Frame(leader, generation, frame) if self.is_current(leader, generation) => {
                self.member.on_frame(&mut self.outside.cx(), leader, &frame)
            }
            Input::Down(leader, generation) if self.is_current(leader, generation) => {
                self.links.remove(&leader);
                self.note(leader, false, None);
                self.member.on_link_down(self.outside.clock.now(), leader)
            }
            Input::Frame(..) | Input::Down(..) => Step::default(),
            Input::Failed(leader, error) => {
                self.note(leader, false, Some(&error));
                Step::default()
            }
        }
    }

    fn is_current(&self, leader: LeaderId, generation: u64) -> bool {
        self.links.get(&leader).is_some_and(|(current, _)| *current == generation)
    }

    pub(super) fn note(&self, leader: LeaderId, reached: bool, error: Option<&LinkError>) {
        self.state.send_if_modified(|snapshot| {
            let state = snapshot.leaders.iter_mut().find(|l| l.leader == leader);
            if let Some(state) = state {
                state.reached = reached;
                state.error = error.map(ToString::to_string);
                state.wrong_key = matches!(error, Some(LinkError::WrongKey));
                state.wrong_version = matches!(error, Some(LinkError::Version));
            }
            true
        });
    }

    fn on_command(&mut self, command: Command) -> Step {
        let cx = &mut self.outside.cx();
        let (outcome, reply) = match command {
            Command::Multicast { service, topic, payload, reply } => {
                (self.member.multicast(cx, service, &topic, &payload), reply)
            }
            Command::SendTo { to, topic, payload, reply } => (self.member.send_to(cx, &to, &topic, &payload), reply),
            Command::Vote { motion, yes, reply } => (self.member.vote(cx.now, motion, yes), reply),
            Command::Flush { reply } => {
                let newest = self.member.newest_message();
                self.flushes.push((newest, self.member.is_settled(newest).1, reply));
                return Step::default();
            }
            Command::CountUnderWay { reply } => {
                let _ = reply.send(self.member.under_way());
                return Step::default();
            }
            Command::Leave { reply } => {
                self.leaving.push(reply);
                return self.member.leave();
            }
            Command::Call { request, reply } => return self.on_call(&request, reply),
        };
        match outcome {
            Ok(step) => {
                // Whoever sends what is live waits for nobody: what there is no room for takes the place of the oldest.
                let relays = step.effects.iter().filter_map(|effect| match effect {
                    Effect::Send(leader, Class::Data, _) => self.links.get(leader).map(|(_, sender)| sender.clone()),
                    _ => None,
                });
                self.show_room();
                let _ = reply.send(Ok(relays.collect()));
                step
            }
            Err(rejected) => {
                let _ = reply.send(Err(rejected));
                Step::default()
            }
        }
    }

    /// Tells those who wait for it that what was sent is acknowledged, or that it was lost sight of.
    fn answer_flushes(&mut self) {
        let member = &self.member;
        self.flushes.retain_mut(|(up_to, before, reply)| {
            let (settled, lost_sight) = member.is_settled(*up_to);
            if settled {
                let (unused, _) = oneshot::channel();
                let _ = std::mem::replace(reply, unused).send(lost_sight.saturating_sub(*before));
            }
            !settled && !reply.is_closed()
        });
    }

    pub(super) async fn carry_out(&mut self, step: Step) {
        for effect in step.effects {
            match effect {
                Effect::Send(leader, class, frame) => {
                    if let Some((_, sender)) = self.links.get(&leader) {
                        // What a stalled relay does not take, receivers get from another or ask for.
                        let _ = sender.send(class, frame);
                    }
                }
                Effect::Authenticated(leader) => {
                    if let Some((_, sender)) = self.links.get(&leader) {
                        sender.authenticated();
                    }
                }
                Effect::Reconnect(leader) | Effect::Close(leader) => {
                    if let Some((_, sender)) = self.links.get(&leader) {
                        sender.close();
                    }
                }
                Effect::Log(chunk) => self.keep(&chunk),
            }
        }
        for event in step.events {
            self.on_event(event).await;
        }
    }

    /// Appends to the membership log. One that cannot be written is given up, and the member goes on without.
    fn keep(&mut self, chunk: &Chunk) {
        let Some(log) = &mut self.log else { return };
        match log.append(chunk) {
            Ok(()) if log.is_full() => self.member.start_log_segment(),
            Ok(()) => {}
            Err(error) => {
                tracing::error!("no membership log is kept any more: {error}");
                self.log = None;
                self.member.stop_log();
            }
        }
    }

    async fn on_event(&mut self, event: member::Event) {
        match event {
            member::Event::View { view, changes } => {
                let before = self.state.borrow().members.clone();
                self.on_view(!changes.is_empty());
                self.tell(Event::view(view, changes, &before)).await;
            }
            member::Event::Message(delivery) => {
                let message = Message {
                    sender: delivery.sender.user,
                    topic: delivery.topic.as_str().to_owned(),
                    payload: delivery.payload,
                    view: delivery.view,
                    seq: delivery.seq.0,
                    recipients: delivery.recipients,
                };
                self.tell(Event::Message(message)).await;
            }
            member::Event::Gap { sender, first, count } => {
                self.tell(Event::Gap { sender: sender.user, first: first.0, count }).await;
            }
            member::Event::UnknownTail(sender) => self.tell(Event::UnknownTail { sender: sender.user }).await,
            member::Event::Missed => self.tell(Event::Missed).await,
            member::Event::Unsent(count) => self.tell(Event::Unsent(count)).await,
            member::Event::Confirmation(now) => self.tell(Event::Confirmation(now)).await,
            member::Event::LeaderAnswers(leader, answers) => self.tell(Event::LeaderAnswers(leader, answers)).await,
            // Who is not in yet is told by the state.
            member::Event::Asked(motion) if self.joined.is_none() => self.tell(Event::Asked(motion)).await,
            member::Event::Asked(_) => {}
            member::Event::Answered(leader, answer) => self.on_answer(leader, &answer).await,
            member::Event::Blamed(culprit, fault) => self.tell(Event::Blamed(culprit, fault)).await,
            // Done when the step is carried out; people see the blame, and the state of the leader.
            member::Event::CutOff(..) => {}
            member::Event::Succeeded(group) => self.on_succession(group).await,
            member::Event::JoinFailed(failure) => {
                let error = match failure {
                    JoinFailure::NotAuthentic => JoinError::NotAuthentic,
                    JoinFailure::Denied(denial) => JoinError::Denied(denial),
                    JoinFailure::Refused => JoinError::Refused,
                };
                if let Some(joined) = self.joined.take() {
                    let _ = joined.send(Err(error));
                }
            }
            member::Event::Ended(cause) => {
                self.state.send_modify(|snapshot| snapshot.ended = Some(cause));
                for reply in self.leaving.drain(..) {
                    let _ = reply.send(cause);
                }
                self.tell(Event::Ended(cause)).await;
            }
        }
    }

    /// A new view: the list of members is made anew once, here, for everybody who asks, and only if it has changed.
    fn on_view(&mut self, changed: bool) {
        let members = changed.then(|| Arc::new(self.member.member_names()));
        let (view, key) = (self.member.view(), self.member.key_fingerprint());
        self.state.send_modify(|snapshot| {
            snapshot.view = view;
            if let Some(members) = members {
                snapshot.members = members;
            }
            snapshot.key_fingerprint = key;
            snapshot.installed = Some(Instant::now());
        });
        if let Some(joined) = self.joined.take() {
            let _ = joined.send(Ok(()));
        }
    }

    /// Lets those go on who wait with their next message, or makes them wait.
    fn show_room(&self) {
        let has_room = self.member.has_room();
        self.room.send_if_modified(|shown| std::mem::replace(shown, has_room) != has_room);
    }

    /// Shows what changed of the leaders.
    fn show(&self) {
        let now = self.outside.clock.now();
        let confirmation = self.member.confirmation();
        let standings = self.member.leaders(now);
        let (motions, awaits_vote) = (self.member.motions(now), self.member.awaits_vote(now));
        self.state.send_if_modified(|snapshot| {
            let mut modified = std::mem::replace(&mut snapshot.confirmation, confirmation) != confirmation;
            modified |= (&snapshot.motions, snapshot.awaits_vote) != (&motions, awaits_vote);
            (snapshot.motions, snapshot.awaits_vote) = (motions, awaits_vote);
            for (state, standing) in snapshot.leaders.iter_mut().zip(&standings) {
                let new = (standing.answers, standing.confirms, standing.linked, standing.caught);
                modified |= new != (state.answers, state.confirms, state.linked, state.caught);
                (state.answers, state.confirms, state.linked, state.caught) = new;
            }
            modified
        });
    }

    /// A program that is behind holds the member up for a moment; then it misses events, and is told.
    pub(super) async fn tell(&mut self, event: Event) {
        if self.lagged > 0 && self.events.try_send(Event::Lagged(self.lagged)).is_ok() {
            self.lagged = 0;
        }
        let patience = if self.lagged > 0 { Duration::ZERO } else { EVENT_PATIENCE };
        if self.events.send_timeout(event, patience).await.is_err() {
            self.lagged += 1;
        }
    }
}

/// The leader that the core has cut off in this step, why, and for how long.
fn cut_off(step: &Step) -> Option<(LeaderId, Fault, Duration)> {
    step.events.iter().find_map(|event| match event {
        member::Event::CutOff(leader, fault, length) => Some((*leader, *fault, *length)),
        _ => None,
    })
}

impl From<oneshot::error::RecvError> for SendError {
    fn from(_: oneshot::error::RecvError) -> Self {
        SendError::Ended
    }
}
