//! The sockets of pages and programs: hello, the login, records from where the reader stood, the state, and what they ask.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use data_encoding::BASE64;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, watch};

use crate::Inner;
use crate::entrance::{self, Attempt};
use crate::files::{self, Lists};
use crate::hub::{Hub, owner};
use crate::log::Cursor;
use crate::wire::{Ask, GroupFacts, Login, LoginFacts, Tell, VERSION, Welcome};

type Sink = SplitSink<WebSocket, Message>;

/// How long a visitor may take for the hello.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// How long a reader may take for one line before it is given up.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// Answers that wait for a slow reader, which then is not listened to.
const ANSWERS_MAX: usize = 64;
/// A page hears something at least so often: silence means that this program hangs or is suspended.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// Records told before looking for answers again.
const BATCH: usize = 64;

/// What the other side may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: our own page.
    Page,
    /// One topic: a program with a scoped token.
    Topic(String),
}

/// The longest line that is read, for messages of this size.
pub fn line_bytes_max(message_bytes_max: u32) -> usize {
    // Escaped control characters take six bytes each; base64 less.
    usize::try_from(message_bytes_max).unwrap_or(usize::MAX).saturating_mul(6).saturating_add(8 * 1024)
}

/// Serves one socket until either side has had enough, over all stays.
pub async fn serve(inner: Arc<Inner>, scope: Scope, socket: WebSocket) {
    let (mut sink, mut stream) = socket.split();
    let hello = tokio::time::timeout(HELLO_WITHIN, read(&mut stream)).await;
    let (mut seen, nonce) = match hello {
        Ok(Some(Ok(Ask::Hello { version: VERSION, run, after, nonce }))) => (Seen { run, after }, nonce),
        Ok(Some(Ok(Ask::Hello { .. }))) => return close(&mut sink, "this agent speaks version 1").await,
        Ok(None) => return,
        _ => return close(&mut sink, "a hello was expected").await,
    };
    if let (Some(nonce), Scope::Page) = (nonce, &scope)
        && write(&mut sink, &Tell::Proof { proof: inner.door.proof(&nonce) }).await.is_none()
    {
        return;
    }
    let mut stays = inner.entrance.stay.subscribe();
    let mut closing = inner.closing.subscribe();
    loop {
        let stay = stays.borrow_and_update().clone();
        let (answers, answered) = mpsc::channel(ANSWERS_MAX);
        let visitor = Visitor { inner: &inner, scope: &scope, hub: stay.hub.as_deref() };
        tokio::select! {
            () = visitor.listen(&mut stream, answers) => return,
            _ = visitor.tell(&mut sink, &mut seen, answered) => return,
            _ = closing.wait_for(|closing| *closing) => return,
            _ = stays.wait_for(|now| now.count != stay.count) => {}
        }
    }
}

/// What a reader has been told: the records of which run, and up to which number.
struct Seen {
    run: String,
    after: u64,
}

/// A page or a program during one stay, or before the first.
struct Visitor<'a> {
    inner: &'a Arc<Inner>,
    scope: &'a Scope,
    hub: Option<&'a Hub>,
}

impl Visitor<'_> {
    /// `None` once the reader is gone or has stalled.
    async fn tell(&self, sink: &mut Sink, seen: &mut Seen, answers: mpsc::Receiver<Tell>) -> Option<()> {
        match self.hub {
            Some(hub) => self.tell_stay(hub, sink, seen, answers).await,
            None => self.tell_login(sink, answers).await,
        }
    }

    /// Nobody is logged in: the page is told where the login stands, a program waits.
    async fn tell_login(&self, sink: &mut Sink, mut answers: mpsc::Receiver<Tell>) -> Option<()> {
        let mut login = self.inner.entrance.login.subscribe();
        login.mark_changed();
        let mut alive = tokio::time::interval(ALIVE_EVERY);
        loop {
            tokio::select! {
                _ = alive.tick(), if *self.scope == Scope::Page => write(sink, &Tell::Alive).await?,
                answer = answers.recv() => write(sink, &answer?).await?,
                _ = login.changed(), if *self.scope == Scope::Page => self.login(sink, &mut login).await?,
            }
        }
    }

    async fn login(&self, sink: &mut Sink, login: &mut watch::Receiver<Login>) -> Option<()> {
        let login = login.borrow_and_update().clone();
        let group = GroupFacts::of(&self.inner.info);
        write(sink, &Tell::Login(LoginFacts { version: VERSION, group, login })).await
    }

    async fn tell_stay(
        &self,
        hub: &Hub,
        sink: &mut Sink,
        seen: &mut Seen,
        mut answers: mpsc::Receiver<Tell>,
    ) -> Option<()> {
        // Another run numbers its records differently.
        if seen.run != hub.run() {
            *seen = Seen { run: hub.run().to_owned(), after: 0 };
        }
        let topic = if let Scope::Topic(topic) = self.scope { Some(topic.clone()) } else { None };
        let mut cursor = hub.log().cursor(seen.after, topic);
        let (mut head, mut state, mut login) = (hub.head(), hub.state(), self.inner.entrance.login.subscribe());
        state.mark_unchanged();
        // It may have changed while nobody was told.
        login.mark_changed();
        write(sink, &self.welcome(hub, seen.after)).await?;
        let mut lists = Lists::new(hub, self.scope);
        let mut alive = tokio::time::interval(ALIVE_EVERY);
        loop {
            for list in lists.next(self.inner, hub) {
                write(sink, &list).await?;
            }
            if records(hub, sink, &mut cursor, seen).await? {
                // There is more, but answers come first.
                while let Ok(answer) = answers.try_recv() {
                    write(sink, &answer).await?;
                }
                continue;
            }
            tokio::select! {
                _ = alive.tick(), if *self.scope == Scope::Page => write(sink, &Tell::Alive).await?,
                answer = answers.recv() => write(sink, &answer?).await?,
                changed = state.changed() => {
                    changed.ok()?;
                    let now = state.borrow_and_update().clone();
                    write(sink, &Tell::State(now)).await?;
                }
                changed = head.changed() => changed.ok()?,
                () = lists.changed() => {}
                _ = login.changed(), if *self.scope == Scope::Page => self.login(sink, &mut login).await?,
            }
        }
    }

    fn welcome(&self, hub: &Hub, after: u64) -> Tell {
        let (inner, page) = (self.inner, *self.scope == Scope::Page);
        Tell::Welcome(Box::new(Welcome {
            version: VERSION,
            run: hub.run().to_owned(),
            user: hub.group.user().to_string(),
            group: GroupFacts::of(&inner.info),
            message_bytes_max: inner.info.policy.message_bytes_max,
            after,
            head: hub.log().head(),
            topic: if let Scope::Topic(topic) = self.scope { Some(topic.clone()) } else { None },
            plugins: if page { inner.plugin_facts() } else { Vec::new() },
            skipped_plugins: if page { inner.plugins.skipped.clone() } else { Vec::new() },
            files_folder: hub.files.as_ref().filter(|_| page).map(|files| files.folder().display().to_string()),
            state: hub.state().borrow().clone(),
        }))
    }

    async fn listen(&self, stream: &mut SplitStream<WebSocket>, answers: mpsc::Sender<Tell>) {
        loop {
            let answer = match read(stream).await {
                None => return,
                Some(Ok(ask)) => self.on_ask(ask).await,
                Some(Err(why)) => Tell::Closing { why },
            };
            let last = matches!(answer, Tell::Closing { .. });
            if answers.send(answer).await.is_err() {
                return;
            }
            if last {
                // The writer takes what waits, and then finds that nobody asks any more.
                drop(answers);
                return std::future::pending().await;
            }
        }
    }

    async fn on_ask(&self, ask: Ask) -> Tell {
        let page = *self.scope == Scope::Page;
        match (ask, self.hub) {
            (Ask::Hello { .. }, _) => Tell::Closing { why: "one hello is enough" },
            (Ask::Login { id, .. } | Ask::Leave { id } | Ask::Vote { id, .. } | Ask::File { id, .. }, _) if !page => {
                Tell::Failed { id, why: "only the page may do that".to_owned() }
            }
            (Ask::Login { id, user, password, key, certificate }, _) => {
                let attempt = Attempt { user, password, key, certificate };
                done(id, entrance::log_in(self.inner, attempt).map(|()| None))
            }
            (
                Ask::Send { id, .. }
                | Ask::Get { id, .. }
                | Ask::Set { id, .. }
                | Ask::File { id, .. }
                | Ask::Vote { id, .. }
                | Ask::Leave { id },
                None,
            ) => Tell::Failed { id, why: "nobody is logged in".to_owned() },
            (Ask::Send { id, topic, to, text, base64, service }, Some(hub)) => done(
                id,
                match (self.allowed(hub, &topic), payload(text, base64)) {
                    (false, _) => Err(format!("the topic {topic:?} is not yours")),
                    (true, Err(why)) => Err(why),
                    (true, Ok(payload)) => hub.send(&topic, &to, &payload, service).await,
                },
            ),
            (Ask::Get { id, plugin, .. } | Ask::Set { id, plugin, .. }, _) if !self.has_store(&plugin) => {
                Tell::Failed { id, why: format!("{plugin:?} is not yours") }
            }
            (Ask::Get { id, plugin, key }, Some(hub)) => {
                Tell::Value { id, value: hub.with_store(&plugin, |store| store.get(&key).map(str::to_owned)) }
            }
            (Ask::Set { id, plugin, key, value }, Some(hub)) => {
                let set = hub.with_store(&plugin, |store| store.set(&key, value));
                done(id, set.map(|()| None).map_err(|error| error.to_string()))
            }
            (Ask::File { id, topic, file, action }, Some(hub)) => {
                done(id, files::act(self.inner, hub, &topic, file, action).map(|()| None))
            }
            (Ask::Vote { id, motion, user, yes }, Some(hub)) => {
                done(id, hub.vote(motion, &user, yes).await.map(|()| None))
            }
            (Ask::Leave { id }, Some(hub)) => {
                let left = hub.group.clone().leave().await;
                done(id, left.map(|_| None).map_err(|error| error.to_string()))
            }
        }
    }

    fn allowed(&self, hub: &Hub, topic: &str) -> bool {
        let owner = owner(topic);
        match self.scope {
            Scope::Page => !owner.is_empty() && hub.log().keeps(owner),
            Scope::Topic(own) => owner == own,
        }
    }

    /// A program keeps its values apart from a plugin's of the same name.
    fn has_store(&self, name: &str) -> bool {
        match self.scope {
            Scope::Page => self.inner.plugins.get(name).is_some(),
            Scope::Topic(own) => name.strip_prefix("program:") == Some(own),
        }
    }
}

/// Tells a batch of records; whether there were any.
async fn records(hub: &Hub, sink: &mut Sink, cursor: &mut Cursor, seen: &mut Seen) -> Option<bool> {
    let batch = hub.log().next(cursor, BATCH);
    if batch.skipped {
        write(sink, &Tell::Skipped).await?;
    }
    let any = !batch.records.is_empty();
    for record in batch.records {
        write_line(sink, record.line.to_string()).await?;
        seen.after = record.n;
    }
    seen.after = cursor.after();
    Some(any)
}

fn done(id: u64, outcome: Result<Option<u64>, String>) -> Tell {
    match outcome {
        Ok(n) => Tell::Done { id, n },
        Err(why) => Tell::Failed { id, why },
    }
}

/// `None` once the other side is gone; `Some(Err)` for what is no ask.
async fn read(stream: &mut SplitStream<WebSocket>) -> Option<Result<Ask, &'static str>> {
    loop {
        match stream.next().await?.ok()? {
            Message::Text(text) => {
                return Some(serde_json::from_str(&text).map_err(|_| "that is no message of this protocol"));
            }
            Message::Binary(_) => return Some(Err("only text is spoken here")),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return None,
        }
    }
}

fn payload(text: Option<String>, base64: Option<String>) -> Result<Vec<u8>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(base64)) => BASE64.decode(base64.as_bytes()).map_err(|_| "that is no base64".to_owned()),
        _ => Err("a message is either `text` or `base64`".to_owned()),
    }
}

async fn close(sink: &mut Sink, why: &'static str) {
    let _ = write(sink, &Tell::Closing { why }).await;
    let _ = sink.close().await;
}

async fn write(sink: &mut Sink, what: &Tell) -> Option<()> {
    write_line(sink, serde_json::to_string(what).ok()?).await
}

async fn write_line(sink: &mut Sink, line: String) -> Option<()> {
    tokio::time::timeout(STALLED_AFTER, sink.send(Message::Text(line.into()))).await.ok()?.ok()
}
