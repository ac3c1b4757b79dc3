//! `ringfort site chat`, `send` and `listen`: a program's side of a site, for people and scripts.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use data_encoding::BASE64;
use ringfort_peer::Service;
use ringfort_site::client::{self, Door, Incoming, Sender};
use ringfort_site::folder;
use ringfort_site::trace::{Tracer, cause_word, hash, service_word};
use ringfort_spread::Name;
use ringfort_spread::client::Received;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::common::Ending;
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::{clean, count};

/// The longest line that is sent, bytes; a longer one is cut there.
const LINE_BYTES_MAX: u64 = 100_000;

/// Through which site, as whom.
#[derive(Debug, Args)]
pub struct DoorArgs {
    /// The site: its folder, its socket for clients, or HOST:PORT
    #[arg(value_name = "SITE")]
    pub site: String,
    /// The name to use, up to 10 letters, digits and signs [default: one that the site makes up]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Write a trace to this file, for `ringfort-trace-check`; each message sent must then be another
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Print JSON lines
    #[arg(long)]
    pub json: bool,
}

/// How a message is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ServiceArg {
    /// At most once, in any order
    Unreliable,
    /// Once, as soon as it is there
    Reliable,
    /// In the order of its sender
    Fifo,
    /// After all that its sender had seen
    Causal,
    /// In one order for everybody
    Agreed,
    /// As agreed, and only once every site of the ring holds it
    Safe,
}

impl From<ServiceArg> for Service {
    fn from(service: ServiceArg) -> Self {
        match service {
            ServiceArg::Unreliable => Service::Unreliable,
            ServiceArg::Reliable => Service::Reliable,
            ServiceArg::Fifo => Service::Fifo,
            ServiceArg::Causal => Service::Causal,
            ServiceArg::Agreed => Service::Agreed,
            ServiceArg::Safe => Service::Safe,
        }
    }
}

/// A conversation.
#[derive(Debug, Args)]
pub struct ChatArgs {
    /// Through which site.
    #[command(flatten)]
    pub door: DoorArgs,
    /// The group
    #[arg(long, value_name = "GROUP")]
    pub group: String,
    /// How messages are delivered
    #[arg(long, value_name = "SERVICE", default_value = "agreed")]
    pub service: ServiceArg,
}

/// What to send.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Through which site.
    #[command(flatten)]
    pub door: DoorArgs,
    /// To which group; may be given again. Nobody needs to be in a group to send to it
    #[arg(long = "group", value_name = "GROUP", required = true)]
    pub groups: Vec<String>,
    /// How it is delivered
    #[arg(long, value_name = "SERVICE", default_value = "agreed")]
    pub service: ServiceArg,
    /// The message; `-` or nothing sends each line of the standard input
    #[arg(value_name = "MESSAGE")]
    pub message: Vec<String>,
}

/// What to listen to.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Through which site.
    #[command(flatten)]
    pub door: DoorArgs,
    /// The group to join; may be given again
    #[arg(long = "group", value_name = "GROUP", required = true)]
    pub groups: Vec<String>,
    /// End after this long; with --count it is a failure if fewer messages came
    #[arg(long = "for", value_name = "SECONDS")]
    pub seconds: Option<u64>,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Connected {
        name: String,
    },
    Message {
        groups: Vec<String>,
        sender: String,
        service: &'a str,
        #[serde(flatten)]
        body: Body,
    },
    View {
        group: String,
        id: [u32; 3],
        members: Vec<String>,
        cause: &'a str,
        moved_with_me: Vec<String>,
    },
    Transitional {
        group: String,
    },
    Left {
        group: String,
    },
    Sent {
        messages: usize,
    },
    Disconnected,
}

/// A message as text where it is that.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    Text(String),
    Base64(String),
}

/// A connection and its trace.
struct Talk {
    me: Name,
    tracer: Option<Tracer<BufWriter<File>>>,
    json: bool,
    sent: BTreeSet<u64>,
}

impl Talk {
    async fn open(args: &DoorArgs) -> Outcome<(Self, Sender, Incoming)> {
        let (sender, incoming) = client::connect(&door(&args.site), args.name.as_deref()).await?;
        let me = sender.name();
        let tracer = args.trace.as_deref().map(|path| tracer(path, &me)).transpose()?;
        let talk = Talk { me, tracer, json: args.json, sent: BTreeSet::new() };
        if talk.json {
            output::json(&Line::Connected { name: me.to_string() })?;
        }
        Ok((talk, sender, incoming))
    }

    fn trace(&mut self, what: impl FnOnce(&mut Tracer<BufWriter<File>>) -> std::io::Result<()>) -> Outcome {
        let Some(tracer) = &mut self.tracer else { return Ok(()) };
        what(tracer).map_err(|error| Failure::io("the trace cannot be written", &error))
    }

    async fn join(&mut self, sender: &mut Sender, group: Name) -> Outcome {
        self.trace(|tracer| tracer.join(&group))?;
        Ok(sender.join(group).await?)
    }

    async fn send(&mut self, sender: &mut Sender, service: Service, groups: &[Name], data: &[u8]) -> Outcome {
        if self.tracer.is_some() && !self.sent.insert(hash(data)) {
            let told = "this message was sent before, and the trace could not tell the two apart: send another";
            return Err(Failure::new(Status::Usage, told));
        }
        self.trace(|tracer| tracer.send(service, groups, true, data))?;
        Ok(sender.multicast(service, groups, true, data).await?)
    }

    async fn end(mut self, sender: Sender) -> Outcome {
        self.trace(Tracer::disconnect)?;
        if let Some(tracer) = self.tracer {
            tracer.finish().map_err(|error| Failure::io("the trace cannot be written", &error))?;
        }
        sender.disconnect().await?;
        if self.json { output::json(&Line::Disconnected) } else { Ok(()) }
    }

    fn show(&mut self, received: &Received) -> Outcome {
        self.trace(|tracer| tracer.received(received))?;
        if self.json { self.print_json(received) } else { self.print(received) }
    }

    fn print_json(&self, received: &Received) -> Outcome {
        let strings = |names: &[Name]| names.iter().map(Name::to_string).collect::<Vec<_>>();
        match received {
            Received::Message { kind, sender, groups, data, .. } => {
                let text = std::str::from_utf8(data).map(str::to_owned);
                let body = text.map_or_else(|_| Body::Base64(BASE64.encode(data)), Body::Text);
                let service = service_word(client::service(*kind));
                output::json(&Line::Message { groups: strings(groups), sender: sender.to_string(), service, body })
            }
            Received::Membership { group, cause, id, members, sets, mine } => output::json(&Line::View {
                group: group.to_string(),
                id: [id.time, id.process, id.index],
                members: strings(members),
                cause: cause_word(*cause),
                moved_with_me: sets.get(*mine).map(|set| strings(set)).unwrap_or_default(),
            }),
            Received::Transitional { group, .. } => output::json(&Line::Transitional { group: group.to_string() }),
            Received::SelfLeave(group) => output::json(&Line::Left { group: group.to_string() }),
            _ => Ok(()),
        }
    }

    fn print(&self, received: &Received) -> Outcome {
        match received {
            Received::Message { sender, groups, data, .. } => {
                let text = String::from_utf8_lossy(data);
                let groups: Vec<String> = groups.iter().map(Name::to_string).collect();
                output::told(format!("{sender} → {}: {}", groups.join(", "), clean(&text)))
            }
            Received::Membership { group, cause, members, sets, .. } => {
                let all: Vec<String> = members.iter().map(Name::to_string).collect();
                let why = match (cause_word(*cause), sets.first().and_then(|set| set.first())) {
                    ("network", _) => "sites came or went".to_owned(),
                    (cause, Some(who)) => format!("{cause} of {who}"),
                    (cause, None) => cause.to_owned(),
                };
                output::told(format!("-- {group}: {} ({why})", all.join(", ")))
            }
            Received::Transitional { group, .. } => {
                output::line(format!("-- {group}: sites are lost; what follows may not have reached them"))
            }
            Received::SelfLeave(group) => output::line(format!("-- {group}: left")),
            Received::Rejected { .. } => output::line("-- the site did not take a message: it is too large"),
            _ => Ok(()),
        }
    }
}

/// The site's door: a folder, a socket, or `HOST:PORT`.
pub(crate) fn door(text: &str) -> Door {
    let path = Path::new(text);
    if path.is_dir() {
        Door::Unix(folder::clients_socket(path))
    } else if path.exists() || !text.contains(':') {
        Door::Unix(path.to_owned())
    } else {
        Door::Tcp(text.to_owned())
    }
}

fn tracer(path: &Path, me: &Name) -> Outcome<Tracer<BufWriter<File>>> {
    let failed = |error| Failure::io(path.display(), &error);
    let file = File::options().create(true).append(true).open(path).map_err(failed)?;
    Tracer::start(BufWriter::new(file), me).map_err(failed)
}

fn groups(names: &[String]) -> Outcome<Vec<Name>> {
    names.iter().map(|name| Ok(client::group(name)?)).collect()
}

/// Runs `ringfort site send`.
///
/// # Errors
/// No site, or messages that cannot be sent.
pub async fn send(args: SendArgs) -> Outcome {
    let groups = groups(&args.groups)?;
    let (mut talk, mut sender, mut incoming) = Talk::open(&args.door).await?;
    let sending = async {
        let mut messages = 0;
        if args.message.is_empty() || args.message == ["-"] {
            let mut input = Lines::new();
            while let Some(line) = input.next().await? {
                talk.send(&mut sender, args.service.into(), &groups, &line).await?;
                messages += 1;
            }
        } else {
            talk.send(&mut sender, args.service.into(), &groups, args.message.join(" ").as_bytes()).await?;
            messages += 1;
        }
        Ok::<usize, Failure>(messages)
    };
    // A client that does not read is cut off, also one that has joined nothing.
    let messages = tokio::select! {
        sent = sending => sent?,
        gone = drain(&mut incoming) => return Err(gone),
    };
    if args.door.json {
        output::json(&Line::Sent { messages })?;
    } else {
        output::line(format!("{} sent as {}.", count(messages, "message"), talk.me))?;
    }
    talk.end(sender).await
}

async fn drain(incoming: &mut Incoming) -> Failure {
    loop {
        if let Err(error) = incoming.next().await {
            return error.into();
        }
    }
}

/// Runs `ringfort site listen`.
///
/// # Errors
/// No site, one that ends, too few messages in time.
pub async fn listen(args: ListenArgs) -> Outcome {
    let mut ending = Ending::listen()?;
    let groups = groups(&args.groups)?;
    let (mut talk, mut sender, mut incoming) = Talk::open(&args.door).await?;
    for group in groups {
        talk.join(&mut sender, group).await?;
    }
    let time = tokio::time::sleep(Duration::from_secs(args.seconds.unwrap_or(u64::MAX / 4)));
    tokio::pin!(time);
    let mut messages = 0;
    while args.count.is_none_or(|count| messages < count) {
        tokio::select! {
            received = incoming.next() => {
                let received = received.inspect_err(|_| drop(talk.trace(Tracer::crash)))?;
                messages += u64::from(matches!(received, Received::Message { .. }));
                talk.show(&received)?;
            }
            () = ending.asked() => break,
            () = &mut time => {
                talk.end(sender).await?;
                return match args.count {
                    Some(wanted) => {
                        let told = format!("time is up, and only {messages} of {wanted} messages came");
                        Err(Failure::new(Status::Other, told))
                    }
                    None => Ok(()),
                };
            }
        }
    }
    talk.end(sender).await
}

/// Runs `ringfort site chat`.
///
/// # Errors
/// No site, one that ends, a message that cannot be sent.
pub async fn chat(args: ChatArgs) -> Outcome {
    let mut ending = Ending::listen()?;
    let group = client::group(&args.group)?;
    let (mut talk, mut sender, mut incoming) = Talk::open(&args.door).await?;
    talk.join(&mut sender, group).await?;
    let mut input = Lines::new();
    loop {
        tokio::select! {
            received = incoming.next() => {
                let received = received.inspect_err(|_| drop(talk.trace(Tracer::crash)))?;
                talk.show(&received)?;
            }
            line = input.next() => match line? {
                Some(line) => talk.send(&mut sender, args.service.into(), &[group], &line).await?,
                None => break,
            },
            () = ending.asked() => break,
        }
    }
    talk.end(sender).await
}

/// The lines of the standard input.
pub(crate) struct Lines {
    input: BufReader<tokio::io::Stdin>,
    line: Vec<u8>,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Lines { input: BufReader::new(tokio::io::stdin()), line: Vec::new() }
    }

    /// The next line that is not empty; `None` at the end. Cancel safe.
    pub(crate) async fn next(&mut self) -> Outcome<Option<Vec<u8>>> {
        loop {
            let left = LINE_BYTES_MAX.saturating_sub(self.line.len() as u64);
            let mut bounded = tokio::io::AsyncReadExt::take(&mut self.input, left);
            let read = bounded.read_until(b'\n', &mut self.line).await;
            let ended = read.map_err(|error| Failure::io("the standard input cannot be read", &error))? == 0;
            let mut line = std::mem::take(&mut self.line);
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if !line.is_empty() {
                return Ok(Some(line));
            }
            if ended {
                return Ok(None);
            }
        }
    }
}
