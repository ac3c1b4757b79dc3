//! `ringfort kv`: the group's key-value store.

mod serve;
mod transact;

use std::io::{self, IsTerminal, Read, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use data_encoding::BASE64;
use ringfort::kv::{KeyValue, LeaseId, Range, Revision};
use ringfort::{CallError, Group, Kv, KvError};
use serde::Serialize;

use crate::common::{Ending, MemberArgs};
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::{clean, clean_lines, count};
use serve::ServeArgs;
use transact::{TransactArgs, transact};

/// How much of the standard input is read: more than any value has.
const INPUT_BYTES_MAX: u64 = 1024 * 1024;

/// What to do with the group's store.
#[derive(Debug, Subcommand)]
pub enum KvCommand {
    /// Give a key a value
    Put(PutArgs),
    /// Print the value of a key
    ///
    /// Into a pipe or a file go exactly the value's bytes. Exit status 40: there is no such key.
    Get(GetArgs),
    /// Take a key away
    ///
    /// It is no failure if there is no such key.
    Delete(DeleteArgs),
    /// Print keys with their revisions, in order
    List(ListArgs),
    /// Change and read several keys at once, if all conditions hold
    ///
    /// All is done or nothing, at one revision. Exit status 40: a condition does not hold.
    Transact(TransactArgs),
    /// Let clients of etcd use the store, on this machine
    ///
    /// They trust this program alone, and it believes what f+1 leaders reply. Goes on until it is stopped.
    Serve(ServeArgs),
}

/// As whom, and how long to wait.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// Who, where, with what secret.
    #[command(flatten)]
    pub member: MemberArgs,
    /// Give up after this long without a reply of f+1 leaders
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub wait: u64,
    /// Print JSON lines
    #[arg(long)]
    pub json: bool,
}

/// `ringfort kv put`.
#[derive(Debug, Args)]
pub struct PutArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub ask: AskArgs,
    /// Which key
    #[arg(value_name = "KEY")]
    pub name: String,
    /// Its value; `-` or nothing takes the standard input
    #[arg(value_name = "VALUE")]
    pub value: Option<String>,
    /// Only if the key's last change has this revision; 0: if there is no such key
    #[arg(long, value_name = "REVISION")]
    pub expect: Option<Revision>,
}

/// `ringfort kv get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub ask: AskArgs,
    /// Which key
    #[arg(value_name = "KEY")]
    pub name: String,
}

/// `ringfort kv delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub ask: AskArgs,
    /// Which key
    #[arg(value_name = "KEY")]
    pub name: String,
    /// Only if the key's last change has this revision
    #[arg(long, value_name = "REVISION")]
    pub expect: Option<Revision>,
}

/// `ringfort kv list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub ask: AskArgs,
    /// Only keys that begin so
    #[arg(value_name = "PREFIX", default_value = "")]
    pub prefix: String,
}

/// Bytes as text, if they are; as base64 otherwise.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Shown {
    Text(String),
    Base64(String),
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum KvLine {
    Put {
        key: String,
        revision: Revision,
    },
    Entry {
        key: Shown,
        value: Shown,
        created: Revision,
        modified: Revision,
        version: u64,
        lease: LeaseId,
        writer: String,
        time_us: u64,
    },
    Absent {
        key: String,
    },
    Deleted {
        key: String,
        existed: bool,
        revision: Revision,
    },
    Failed {
        key: String,
        modified: Revision,
    },
}

fn shown(bytes: Vec<u8>) -> Shown {
    String::from_utf8(bytes).map_or_else(|error| Shown::Base64(BASE64.encode(error.as_bytes())), Shown::Text)
}

impl From<KeyValue> for KvLine {
    fn from(entry: KeyValue) -> Self {
        let KeyValue { key, value, created, modified, version, lease, writer, time_us } = entry;
        let writer = writer.to_string();
        KvLine::Entry { key: shown(key), value: shown(value), created, modified, version, lease, writer, time_us }
    }
}

/// Runs `ringfort kv`.
///
/// # Errors
/// Everything that keeps a user out, what the store refuses, and too few leaders that reply.
pub async fn run(command: KvCommand) -> Outcome {
    match command {
        KvCommand::Put(args) => {
            let value = value(args.value)?;
            let (key, expect) = (args.name, args.expect);
            let bytes = key.clone();
            let revision =
                asking(&args.ask, |kv| async move { kv.put(bytes.as_bytes(), &value, expect).await }).await?;
            told_put(args.ask.json, &key, revision)
        }
        KvCommand::Get(args) => {
            let (key, json) = (args.name, args.ask.json);
            let bytes = key.clone();
            match asking(&args.ask, |kv| async move { kv.get(bytes.as_bytes()).await }).await? {
                Some(entry) if json => output::json(&KvLine::from(entry)),
                Some(entry) => print(&entry.value),
                None => {
                    if json {
                        output::json(&KvLine::Absent { key: key.clone() })?;
                    }
                    Err(Failure::new(Status::NotThere, format!("the group's store has no key {}", clean(&key))))
                }
            }
        }
        KvCommand::Delete(args) => {
            let (key, expect) = (args.name, args.expect);
            let bytes = key.clone();
            let deleted = asking(&args.ask, |kv| async move { kv.delete(bytes.as_bytes(), expect).await }).await?;
            let (existed, revision) = deleted;
            told_deleted(args.ask.json, &key, existed, revision)
        }
        KvCommand::List(args) => list(args).await,
        KvCommand::Transact(args) => transact(args).await,
        KvCommand::Serve(args) => serve::serve(args).await,
    }
}

fn told_put(json: bool, key: &str, revision: Revision) -> Outcome {
    match json {
        true => output::json(&KvLine::Put { key: key.to_owned(), revision }),
        false => output::line(format!("{} is put, at revision {revision}.", clean(key))),
    }
}

fn told_deleted(json: bool, key: &str, existed: bool, revision: Revision) -> Outcome {
    let told = if existed { "is deleted" } else { "was not there" };
    match json {
        true => output::json(&KvLine::Deleted { key: key.to_owned(), existed, revision }),
        false => output::line(format!("{} {told}.", clean(key))),
    }
}

async fn list(args: ListArgs) -> Outcome {
    let (json, prefix) = (args.ask.json, args.prefix);
    let entries = asking(&args.ask, |kv| async move {
        let (mut entries, mut range): (Vec<KeyValue>, Range) = (Vec::new(), Range::prefix(prefix.as_bytes()));
        loop {
            let page = kv.list(range.clone(), u32::MAX).await?;
            entries.extend(page.entries);
            match entries.last().filter(|_| page.more) {
                Some(last) => range = range.behind(&last.key),
                None => return Ok(entries),
            }
        }
    })
    .await?;
    let number = entries.len();
    for entry in entries {
        if json {
            output::json(&KvLine::from(entry))?;
        } else {
            let (key, bytes) = (String::from_utf8_lossy(&entry.key), entry.value.len());
            let by = format!("{bytes} bytes, revision {}, by {}", entry.modified, entry.writer);
            output::told(format!("{}  ({by})", clean(&key)))?;
        }
    }
    if json { Ok(()) } else { output::line(format!("{}.", count(number, "key"))) }
}

/// Joins, asks, and leaves.
async fn asking<T, F>(args: &AskArgs, ask: impl FnOnce(Kv) -> F) -> Outcome<T>
where
    F: Future<Output = Result<T, KvError>>,
{
    let mut ending = Ending::listen()?;
    // Before anybody is asked for a password.
    if !args.member.group.read()?.policy.order {
        return Err(CallError::NotOrdered.into());
    }
    let (group, events) = args.member.join().await?;
    drop(events);
    let asked = ask(group.kv());
    let outcome = tokio::select! {
        answered = tokio::time::timeout(Duration::from_secs(args.wait), asked) => match answered {
            Ok(answered) => answered.map_err(Failure::from),
            Err(_) => {
                let told = format!(
                    "too few leaders replied within {} s (it takes f+1): whether it was done, nobody knows. Ask again, and \
                     look at the leaders with `ringfort status`",
                    args.wait
                );
                Err(Failure::new(Status::TooFewLeaders, told))
            }
        },
        () = ending.asked() => Err(Failure::new(Status::Other, "stopped before there was a reply")),
    };
    // What the stay ended with says more than that it has ended.
    let ended = group.snapshot().ended.and_then(Failure::ended);
    let outcome = outcome.map_err(|failure| ended.unwrap_or(failure));
    leave(group).await;
    outcome
}

async fn leave(group: Group) {
    if group.snapshot().ended.is_none()
        && let Err(error) = group.leave().await
    {
        output::note(format!("ringfort: {error}"));
    }
}

fn value(given: Option<String>) -> Outcome<Vec<u8>> {
    if let Some(value) = given.filter(|value| value != "-") {
        return Ok(value.into_bytes());
    }
    let mut value = Vec::new();
    let read = io::stdin().lock().take(INPUT_BYTES_MAX).read_to_end(&mut value);
    read.map_err(|error| Failure::io("cannot read the standard input", &error))?;
    Ok(value)
}

/// Exactly the bytes; on a terminal, what is harmless there.
fn print(value: &[u8]) -> Outcome {
    if io::stdout().is_terminal() {
        return output::told(clean_lines(&String::from_utf8_lossy(value)));
    }
    let mut out = io::stdout().lock();
    let written = out.write_all(value).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::closed_output(),
        _ => Failure::io("cannot write to the standard output", &error),
    })
}
