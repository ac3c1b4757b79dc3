//! The sockets of pages and programs: hello, records from where the reader stood, the state, and what they ask.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use data_encoding::BASE64;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::Inner;
use crate::hub::owner;
use crate::log::Cursor;
use crate::wire::{Ask, Tell, VERSION, Welcome};

/// How long a visitor may take for the hello.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// How long a reader may take for one line before it is given up.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// Answers that wait for a slow reader, which then is not listened to.
const ANSWERS_MAX: usize = 64;
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

/// Serves one socket until either side has had enough.
pub async fn serve(inner: Arc<Inner>, scope: Scope, socket: WebSocket) {
    let (mut sink, mut stream) = socket.split();
    let hello = tokio::time::timeout(HELLO_WITHIN, read(&mut stream)).await;
    let (run, after) = match hello {
        Ok(Some(Ok(Ask::Hello { version: VERSION, run, after }))) => (run, after),
        Ok(Some(Ok(Ask::Hello { .. }))) => return close(&mut sink, "this agent speaks version 1").await,
        Ok(None) => return,
        _ => return close(&mut sink, "a hello was expected").await,
    };
    // Another run numbers its records differently.
    let after = if run == inner.run { after } else { 0 };
    let topic = match &scope {
        Scope::Page => None,
        Scope::Topic(topic) => Some(topic.clone()),
    };
    let cursor = inner.hub.log().cursor(after, topic);
    let (answers, answered) = mpsc::channel(ANSWERS_MAX);
    let welcome = welcome(&inner, &scope, after);
    let mut closing = inner.closing.subscribe();
    let writer = Writer { inner: &inner, sink, cursor };
    tokio::select! {
        () = listen(&inner, &scope, &mut stream, answers) => {}
        _ = writer.run(welcome, answered) => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
}

fn welcome(inner: &Inner, scope: &Scope, after: u64) -> Tell {
    let page = *scope == Scope::Page;
    Tell::Welcome(Box::new(Welcome {
        version: VERSION,
        run: inner.run.clone(),
        user: inner.hub.group.user().to_string(),
        group: inner.hub.facts(),
        message_bytes_max: inner.hub.group.info().policy.message_bytes_max,
        after,
        head: inner.hub.log().head(),
        topic: if let Scope::Topic(topic) = scope { Some(topic.clone()) } else { None },
        plugins: if page { inner.plugin_facts() } else { Vec::new() },
        skipped_plugins: if page { inner.plugins.skipped.clone() } else { Vec::new() },
        state: inner.hub.state().borrow().clone(),
    }))
}

struct Writer<'a> {
    inner: &'a Inner,
    sink: SplitSink<WebSocket, Message>,
    cursor: Cursor,
}

impl Writer<'_> {
    /// `None` once the reader is gone or has stalled.
    async fn run(mut self, welcome: Tell, mut answers: mpsc::Receiver<Tell>) -> Option<()> {
        let (mut head, mut state) = (self.inner.hub.head(), self.inner.hub.state());
        state.mark_unchanged();
        tell(&mut self.sink, &welcome).await?;
        loop {
            if self.records().await? {
                // There is more, but answers come first.
                while let Ok(answer) = answers.try_recv() {
                    tell(&mut self.sink, &answer).await?;
                }
                continue;
            }
            tokio::select! {
                answer = answers.recv() => tell(&mut self.sink, &answer?).await?,
                changed = state.changed() => {
                    changed.ok()?;
                    let now = state.borrow_and_update().clone();
                    tell(&mut self.sink, &Tell::State(now)).await?;
                }
                changed = head.changed() => changed.ok()?,
            }
        }
    }

    /// Tells a batch of records; whether there were any.
    async fn records(&mut self) -> Option<bool> {
        let batch = self.inner.hub.log().next(&mut self.cursor, BATCH);
        if batch.skipped {
            tell(&mut self.sink, &Tell::Skipped).await?;
        }
        let any = !batch.records.is_empty();
        for record in batch.records {
            write(&mut self.sink, record.line.to_string()).await?;
        }
        Some(any)
    }
}

async fn listen(inner: &Inner, scope: &Scope, stream: &mut SplitStream<WebSocket>, answers: mpsc::Sender<Tell>) {
    loop {
        let answer = match read(stream).await {
            None => return,
            Some(Ok(ask)) => on_ask(inner, scope, ask).await,
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

async fn on_ask(inner: &Inner, scope: &Scope, ask: Ask) -> Tell {
    match ask {
        Ask::Hello { .. } => Tell::Closing { why: "one hello is enough" },
        Ask::Send { id, topic, to, text, base64, service } => {
            let sent = match (allowed(inner, scope, &topic), payload(text, base64)) {
                (false, _) => Err(format!("the topic {topic:?} is not yours")),
                (true, Err(why)) => Err(why),
                (true, Ok(payload)) => inner.hub.send(&topic, &to, &payload, service).await,
            };
            match sent {
                Ok(n) => Tell::Done { id, n },
                Err(why) => Tell::Failed { id, why },
            }
        }
        Ask::Get { id, plugin, .. } | Ask::Set { id, plugin, .. } if !has_store(inner, scope, &plugin) => {
            Tell::Failed { id, why: format!("{plugin:?} is not yours") }
        }
        Ask::Get { id, plugin, key } => {
            Tell::Value { id, value: inner.hub.with_store(&plugin, |store| store.get(&key).map(str::to_owned)) }
        }
        Ask::Set { id, plugin, key, value } => match inner.hub.with_store(&plugin, |store| store.set(&key, value)) {
            Ok(()) => Tell::Done { id, n: None },
            Err(error) => Tell::Failed { id, why: error.to_string() },
        },
        Ask::Leave { id } if *scope != Scope::Page => Tell::Failed { id, why: "only the page may leave".to_owned() },
        Ask::Leave { id } => match inner.hub.group.clone().leave().await {
            Ok(_) => Tell::Done { id, n: None },
            Err(error) => Tell::Failed { id, why: error.to_string() },
        },
    }
}

fn allowed(inner: &Inner, scope: &Scope, topic: &str) -> bool {
    let owner = owner(topic);
    match scope {
        Scope::Page => !owner.is_empty() && inner.hub.log().keeps(owner),
        Scope::Topic(own) => owner == own,
    }
}

/// A program keeps its values apart from a plugin's of the same name.
fn has_store(inner: &Inner, scope: &Scope, name: &str) -> bool {
    match scope {
        Scope::Page => inner.plugins.get(name).is_some(),
        Scope::Topic(own) => name.strip_prefix("program:") == Some(own),
    }
}

fn payload(text: Option<String>, base64: Option<String>) -> Result<Vec<u8>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(base64)) => BASE64.decode(base64.as_bytes()).map_err(|_| "that is no base64".to_owned()),
        _ => Err("a message is either `text` or `base64`".to_owned()),
    }
}

async fn close(sink: &mut SplitSink<WebSocket, Message>, why: &'static str) {
    let _ = tell(sink, &Tell::Closing { why }).await;
    let _ = sink.close().await;
}

async fn tell(sink: &mut SplitSink<WebSocket, Message>, what: &impl Serialize) -> Option<()> {
    write(sink, serde_json::to_string(what).ok()?).await
}

async fn write(sink: &mut SplitSink<WebSocket, Message>, line: String) -> Option<()> {
    tokio::time::timeout(STALLED_AFTER, sink.send(Message::Text(line.into()))).await.ok()?.ok()
}
