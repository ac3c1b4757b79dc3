//! Members, through the group API and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use ringfort::{Credentials, Event, Events, Group, JoinError, JoinOptions, Message, SendError};
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::fault::Culprit;
use ringfort_protocol::member::Confirmation;
use ringfort_protocol::view::Cause;
use ringfort_protocol::{GroupInfo, UserName};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::PATIENCE;
use super::desk::{Desk, Sight};
use super::ledger::{MessageId, Post, StayId};
use super::stage::Pace;
use super::story::Tone;

/// What people talk on.
pub const CHAT: &str = "chat";
/// Every so many messages one is private.
const PRIVATE_EVERY: u64 = 4;
const WORDS: [&str; 6] = [
    "the bridge holds",
    "water is rising at the mill",
    "two boats are ready",
    "stay north of the river",
    "bread for forty arrived",
    "all lamps out at ten",
];

/// One stay of one member.
pub struct Actor {
    voice: Arc<Voice>,
    stop: watch::Sender<bool>,
    talker: JoinHandle<()>,
    /// None where somebody else takes the events, and tells a [`Witness`].
    listener: Option<JoinHandle<()>>,
}

/// What sends in a member's name, and keeps the books of it.
struct Voice {
    stay: StayId,
    group: Group,
    topic: &'static str,
    to_all: AtomicU64,
    to_some: AtomicU64,
}

/// Tries to join and leaves at once if it works.
pub async fn try_join(info: &Arc<GroupInfo>, name: &str, password: &str, limit: Duration) -> Result<(), JoinError> {
    let options = JoinOptions { timeout: limit, ..JoinOptions::default() };
    let credentials = Credentials::password(name, password)?;
    let (group, _events) = Group::join_with(info.clone(), credentials, options).await?;
    // Whoever asked did not expect this to work; an unacknowledged leave changes nothing.
    let _ = group.leave().await;
    Ok(())
}

/// As [`try_join`], with a key in place of a password.
pub async fn try_join_with_key(
    info: &Arc<GroupInfo>,
    name: &str,
    key: SigningKey,
    limit: Duration,
) -> Result<(), JoinError> {
    let options = JoinOptions { timeout: limit, ..JoinOptions::default() };
    let (group, _events) = Group::join_with(info.clone(), Credentials::key(name, key)?, options).await?;
    let _ = group.leave().await;
    Ok(())
}

impl Actor {
    /// Joins, and starts to talk. Somebody must take the events.
    pub async fn join(
        desk: &Arc<Desk>,
        info: &Arc<GroupInfo>,
        stay: StayId,
        password: &str,
        pace: Pace,
        options: JoinOptions,
    ) -> anyhow::Result<(Self, Events)> {
        let credentials = Credentials::password(&stay.0, password)?;
        let (group, events) = Group::join_with(info.clone(), credentials, options).await?;
        desk.with(|state| {
            state.ledger.open(stay.clone());
            let member = state.members.entry(stay.0.clone()).or_default();
            (member.stay, member.present, member.view) = (stay.1, true, None);
            member.answers.clear();
            member.members.clear();
            member.confirmed = false;
            member.confirmation = Confirmation::Unconfirmed;
        });
        let (to_all, to_some) = (AtomicU64::new(0), AtomicU64::new(0));
        let voice = Arc::new(Voice { stay, group, topic: pace.topic, to_all, to_some });
        let (stop, stopped) = watch::channel(false);
        let talker = tokio::spawn(talk(desk.clone(), voice.clone(), pace.talk, stopped));
        Ok((Actor { voice, stop, talker, listener: None }, events))
    }

    /// Takes the events itself.
    pub fn listen(&mut self, desk: &Arc<Desk>, events: Events, show_talk: bool) {
        self.listener = Some(tokio::spawn(listen(desk.clone(), self.voice.stay.clone(), events, show_talk)));
    }

    /// The stay.
    pub fn group(&self) -> Group {
        self.voice.group.clone()
    }

    /// For whoever takes the events in its place.
    pub fn witness(&self, desk: &Arc<Desk>, show_talk: bool) -> Witness {
        let (stay, group) = (self.voice.stay.clone(), self.voice.group.clone());
        Witness { desk: desk.clone(), stay, group, show_talk }
    }

    /// Leaves, once it has what was sent to it before.
    pub async fn leave(self, desk: &Arc<Desk>) -> anyhow::Result<()> {
        let Actor { voice, stop, talker, listener } = self;
        stop.send_replace(true);
        talker.await?;
        let name = voice.stay.0.clone();
        desk.with(|state| state.ledger.close(&voice.stay));
        let settled = desk.until(PATIENCE, |state| state.ledger.is_settled_for(&name)).await;
        desk.with(|state| {
            if let Some(member) = state.members.get_mut(&name) {
                member.present = false;
            }
        });
        let cause = voice.group.clone().leave().await.context("leaving")?;
        if let Some(listener) = listener {
            listener.await?;
        }
        anyhow::ensure!(settled, "{name} left without some messages that were sent to it");
        anyhow::ensure!(cause == Cause::Left, "{name} wanted to leave, and the leaders said {cause:?}");
        Ok(())
    }

    /// Stops without a word: the member was expelled, or the demo ends.
    pub fn abandon(self, desk: &Arc<Desk>) {
        self.stop.send_replace(true);
        desk.with(|state| {
            state.ledger.close(&self.voice.stay);
            if let Some(member) = state.members.get_mut(&self.voice.stay.0) {
                member.present = false;
            }
        });
        self.talker.abort();
        self.listener.iter().for_each(JoinHandle::abort);
    }

    /// Sends a text to all.
    pub async fn say(&self, desk: &Arc<Desk>, text: &str) -> anyhow::Result<()> {
        Ok(self.voice.say(desk, text).await?)
    }
}

/// Keeps the books of a stay that somebody else leads.
#[derive(Clone)]
pub struct Witness {
    desk: Arc<Desk>,
    stay: StayId,
    group: Group,
    show_talk: bool,
}

impl Witness {
    /// Something happened in the stay.
    pub fn on_event(&self, event: &Event) {
        on_event(&self.desk, &self.stay, event.clone(), self.show_talk);
    }

    /// A message is about to be sent. With `owed`, everybody must get it.
    pub fn on_sending(&self, post: &Post<'_>, owed: bool) {
        let audience = names(&self.group.members());
        self.desk.with(|state| state.ledger.posting(&self.stay, post, audience, owed));
    }

    /// That message was not sent after all.
    pub fn on_unsent(&self, post: &Post<'_>) {
        self.desk.with(|state| state.ledger.unposted(&self.stay, post));
    }
}

impl Voice {
    /// Says something as a page does: without a number of ours.
    async fn say(&self, desk: &Desk, text: &str) -> Result<(), SendError> {
        let post = Post { topic: CHAT, payload: text.as_bytes(), to: BTreeSet::new() };
        desk.with(|state| state.ledger.posting(&self.stay, &post, names(&self.group.members()), true));
        let sent = self.group.multicast(CHAT, text.as_bytes()).await;
        if sent.is_err() {
            desk.with(|state| state.ledger.unposted(&self.stay, &post));
        }
        sent
    }

    async fn multicast(&self, desk: &Desk, text: &str) -> Result<(), SendError> {
        let number = self.to_all.fetch_add(1, Ordering::Relaxed) + 1;
        let id = MessageId { from: self.stay.clone(), private: false, page: false, number };
        let payload = format!("{} {text}", id.text());
        desk.with(|state| state.ledger.sending(id.clone(), names(&self.group.members()), None));
        let sent = self.group.multicast(self.topic, payload.as_bytes()).await;
        if sent.is_err() {
            desk.with(|state| state.ledger.retract(&id));
        }
        sent
    }

    async fn whisper(&self, desk: &Desk, to: &UserName, text: &str) -> Result<(), SendError> {
        let number = self.to_some.fetch_add(1, Ordering::Relaxed) + 1;
        let id = MessageId { from: self.stay.clone(), private: true, page: false, number };
        let payload = format!("{} {text}", id.text());
        let only = Some(names(std::slice::from_ref(to)));
        desk.with(|state| state.ledger.sending(id.clone(), names(&self.group.members()), only));
        let sent = self.group.send_to(std::slice::from_ref(to), self.topic, payload.as_bytes()).await;
        if sent.is_err() {
            desk.with(|state| state.ledger.retract(&id));
        }
        sent
    }
}

fn names(users: &[UserName]) -> BTreeSet<String> {
    users.iter().map(ToString::to_string).collect()
}

async fn talk(desk: Arc<Desk>, voice: Arc<Voice>, period: Duration, mut stopped: watch::Receiver<bool>) {
    let mut clock = tokio::time::interval(period);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut words = WORDS.iter().cycle().skip(usize::try_from(voice.stay.1).unwrap_or(0));
    for turn in 1_u64.. {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return,
            _ = clock.tick() => {}
        }
        if !desk.look(|state| state.talking) {
            continue;
        }
        let text = words.next().copied().unwrap_or_default();
        let others: Vec<UserName> =
            voice.group.members().into_iter().filter(|user| user.as_str() != voice.stay.0).collect();
        let listener = others.get(usize::try_from(turn / PRIVATE_EVERY).unwrap_or(0) % others.len().max(1));
        // What the group refuses is retracted from the books; a stay that ended is told by its events.
        let _ = match listener {
            Some(listener) if turn.is_multiple_of(PRIVATE_EVERY) => voice.whisper(&desk, listener, text).await,
            _ => voice.multicast(&desk, text).await,
        };
    }
}

async fn listen(desk: Arc<Desk>, stay: StayId, mut events: Events, show_talk: bool) {
    while let Some(event) = events.next().await {
        on_event(&desk, &stay, event, show_talk);
    }
}

fn on_event(desk: &Desk, stay: &StayId, event: Event, show_talk: bool) {
    let me = stay.0.as_str();
    match event {
        Event::Message(message) => on_message(desk, stay, &message, show_talk),
        Event::View { view, joined, left } => {
            let members = desk.with(|state| {
                left.iter().for_each(|(user, cause)| state.gone(user.as_str(), *cause));
                let Some(member) = state.members.get_mut(me).filter(|m| m.stay == stay.1) else { return 0 };
                member.members.retain(|name| left.iter().all(|(user, _)| user.as_str() != name));
                member.members.extend(joined.iter().map(ToString::to_string));
                member.view = Some(view);
                member.keys += 1;
                let members = member.members.clone();
                let count = members.len();
                state.ledger.view(view.digest, members);
                count
            });
            if desk.is_news(view.epoch.0) {
                let mut text = format!("view {} of {members} members, new key", view.epoch.0);
                joined
                    .iter()
                    .filter(|_| joined.len() < members)
                    .for_each(|user| text.push_str(&format!(", {user} is in")));
                left.iter().for_each(|(user, cause)| text.push_str(&format!(", {user} is out ({cause:?})")));
                let tone = if joined.is_empty() && left.is_empty() { Tone::Faint } else { Tone::Good };
                desk.story.line("all", tone, &text);
            }
        }
        // What an attacker leaves out is no loss.
        Event::Gap { sender, .. } if desk.look(|state| state.insiders.contains(sender.as_str())) => {}
        Event::Gap { sender, first, count } => {
            desk.with(|state| state.members.entry(me.to_owned()).or_default().gaps += count);
            let text = format!("misses {count} messages of {sender}, from number {first}");
            desk.story.line(me, Tone::Evil, &text);
        }
        Event::UnknownTail { sender } => {
            desk.story.line(me, Tone::Faint, &format!("does not know whether {sender} said more"));
        }
        Event::Missed => desk.story.line(me, Tone::Faint, "may have missed what was said at the end of this stay"),
        Event::Unsent(count) => {
            desk.story.line(me, Tone::Faint, &format!("does not know whether the last {count} messages arrive"));
        }
        Event::Lagged(count) => {
            desk.story.line(me, Tone::Evil, &format!("did not take {count} events in time"));
        }
        Event::Confirmation(now) => {
            desk.with(|state| {
                set(state, stay, |member| (member.confirmed, member.confirmation) = (now.is_current(), now));
            });
            let told = match now {
                Confirmation::Current => None,
                Confirmation::Believed => Some("fewer than n-f leaders confirm the view: others may be in a newer one"),
                Confirmation::Unconfirmed => {
                    Some("too few leaders confirm who is in the group; the last key stays in use")
                }
            };
            told.into_iter().for_each(|told| desk.story.line(me, Tone::Caught, told));
        }
        Event::LeaderAnswers(leader, answers) => {
            let leader = leader.number();
            desk.with(|state| {
                set(state, stay, |member| {
                    member.answers.insert(leader, answers);
                });
            });
            if !answers {
                let text = format!("do not hear leader {leader} confirm the view any more");
                desk.refused("members", Some(leader), "silent", false, &text);
            }
        }
        // No policy of the stage asks members.
        Event::Asked(_) => {}
        Event::Blamed(Culprit::Leader(leader), fault) => {
            desk.saw(Sight::new(me, &format!("leader {}", leader.number()), fault.word()));
            let text = format!("caught leader {}: {}", leader.number(), fault.word());
            desk.refused(me, Some(leader.number()), fault.word(), fault.is_deviation(), &text);
        }
        Event::Blamed(culprit, fault) => {
            let attacker = match &culprit {
                Culprit::Member(member) => desk.look(|state| state.insiders.contains(member.user.as_str())),
                Culprit::Leader(_) | Culprit::Outsider(_) => false,
            };
            if let Culprit::Member(member) = &culprit {
                desk.saw(Sight::new(me, &format!("member {}", member.user), fault.word()));
            }
            if fault.is_deviation() && !attacker {
                desk.with(|state| state.wronged.insert(format!("{me} blamed {culprit}: {}", fault.word())));
            }
        }
        Event::Ended(cause) => {
            desk.with(|state| {
                // Where everybody is put out, nobody is left to see it.
                state.gone(me, cause);
                set(state, stay, |member| member.present = false);
            });
            if cause != Cause::Left {
                desk.story.line(me, Tone::Evil, &format!("is out of the group ({cause:?})"));
            }
        }
    }
}

fn on_message(desk: &Desk, stay: &StayId, message: &Message, show_talk: bool) {
    let text = String::from_utf8_lossy(&message.payload).into_owned();
    let from = message.sender.as_str();
    let numbered = MessageId::parse(&text).filter(|id| id.from.0 == from);
    // What an attacker pours out in its own name is nobody's debt; what it says under a number is.
    if numbered.is_none() && desk.look(|state| state.insiders.contains(from)) {
        return;
    }
    let post = Post { topic: &message.topic, payload: &message.payload, to: names(&message.recipients) };
    let view = Some(message.view.digest);
    // The last delivery completes it, whoever else is reported at the same moment.
    let complete = desk.with(|state| {
        let id = match numbered {
            Some(id) => {
                state.ledger.delivered(stay, Some(id.clone()), view);
                Some(id)
            }
            None => state.ledger.posted(stay, from, &post, view),
        };
        id.and_then(|id| Some((state.ledger.complete(&id)?, id)))
    });
    if let Some((to, id)) = complete.filter(|_| show_talk && message.topic == CHAT) {
        let words = if id.page { text.as_str() } else { text.splitn(5, ' ').last().unwrap_or_default() };
        let how = if id.private { "only " } else { "" };
        desk.story.line(from, Tone::Talk, &format!("{words}  > {how}{}", to.join(", ")));
    }
}

fn set(state: &mut super::desk::State, stay: &StayId, change: impl FnOnce(&mut super::desk::MemberState)) {
    if let Some(member) = state.members.get_mut(&stay.0).filter(|m| m.stay == stay.1) {
        change(member);
    }
}
