//! `ringfort send`: joins, sends, leaves.

use std::time::Duration;

use clap::Args;
use ringfort::protocol::{Rejected, Topic, UserName};
use ringfort::{Group, SendError};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::common::{Ending, MemberArgs};
use crate::exit::{Failure, Outcome, Status};
use crate::json::{MemberLine, strings};
use crate::output;
use crate::text::{count, names};

/// How long enough leaders may take to acknowledge what was sent.
const PATIENCE: Duration = Duration::from_secs(15);

/// Lines of the input that may be under way at once.
const UNDER_WAY_MAX: usize = 256;

/// Joins a group, sends, and leaves.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Who, where, with what secret.
    #[command(flatten)]
    pub member: MemberArgs,
    /// Send to these members only, who must be in the group; nobody else can read it
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub to: Vec<UserName>,
    /// What it is about
    #[arg(long, value_name = "TOPIC", default_value = "chat")]
    pub topic: Topic,
    /// Print what was sent as JSON lines
    #[arg(long)]
    pub json: bool,
    /// The message; `-` or nothing sends each line of the standard input
    #[arg(value_name = "MESSAGE")]
    pub message: Vec<String>,
}

/// Runs `ringfort send`.
///
/// # Errors
/// Everything that keeps a user out, messages that cannot be sent, and those that too few leaders acknowledge.
pub async fn run(args: SendArgs) -> Outcome {
    let mut ending = Ending::listen()?;
    // The events are of no interest here, and must not hold the member up.
    let (group, events) = args.member.join().await?;
    drop(events);
    let mut feed = Feed { args: &args, group: &group, under_way: Vec::new(), sent: 0, refused: 0 };
    let outcome = tokio::select! {
        outcome = feed.send_all() => outcome,
        () = ending.asked() => Err(Failure::new(Status::Other, "stopped before everything was sent")),
    };
    let Feed { under_way, sent, refused, .. } = feed;
    let unsent = under_way.len();
    let ended = group.snapshot().ended;
    let left = if ended.is_none() { group.leave().await.map(drop) } else { Ok(()) };
    // What the stay ended with says more than that it has ended.
    let outcome = outcome.map_err(|failure| ended.and_then(Failure::ended).unwrap_or(failure));
    if let Err(failure) = outcome {
        let Failure { status, message } = failure;
        let so_far = if sent + unsent == 0 { String::new() } else { format!("; {}", tally(sent, unsent)) };
        return Err(Failure { status, message: format!("{message}{so_far}") });
    }
    left.unwrap_or_else(|error| output::note(format!("ringfort: {error}")));
    if !args.json {
        let to = if args.to.is_empty() { "the group".to_owned() } else { names(&args.to) };
        output::line(format!("{} sent to {to}.", count(sent, "message")))?;
    }
    if refused > 0 {
        return Err(Failure::new(Status::Usage, format!("{} of the input could not be sent", count(refused, "line"))));
    }
    Ok(())
}

/// How many messages enough leaders have, and of how many that is not known.
fn tally(sent: usize, unsent: usize) -> String {
    let known = format!("{} sent", count(sent, "message"));
    if unsent == 0 { known } else { format!("{known}, and of {unsent} more nobody knows whether they arrive") }
}

/// What goes out, and what of it is acknowledged.
struct Feed<'a> {
    args: &'a SendArgs,
    group: &'a Group,
    /// The sizes of messages that are not acknowledged yet.
    under_way: Vec<usize>,
    sent: usize,
    /// Lines that are no message.
    refused: usize,
}

impl Feed<'_> {
    async fn send_all(&mut self) -> Outcome {
        let sends = self.group.info().policy.role(self.group.user()).sends();
        if self.group.members().len() < 2 && self.args.to.is_empty() && sends {
            output::note("ringfort: nobody else is in the group now");
        }
        let from_input = self.args.message.is_empty() || self.args.message.iter().eq(["-"]);
        if from_input {
            self.send_lines().await?;
        } else {
            self.send(self.args.message.join(" ").as_bytes()).await?;
        }
        self.settle().await
    }

    /// Each line of the standard input. One that is no message is told, and the next ones go out.
    async fn send_lines(&mut self) -> Outcome {
        let mut input = BufReader::new(tokio::io::stdin());
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            let group = self.group;
            let read = tokio::select! {
                read = input.read_until(b'\n', &mut line) => read,
                flushed = group.flush(), if !self.under_way.is_empty() => {
                    flushed?;
                    self.acknowledged()?;
                    continue;
                }
            };
            let end = read.map_err(|error| Failure::io("cannot read the standard input", &error))? == 0;
            number += 1;
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if !text.is_empty() {
                self.send_line(number, text).await?;
            }
            line.clear();
            if end {
                return Ok(());
            }
            if self.under_way.len() >= UNDER_WAY_MAX {
                self.settle().await?;
            }
        }
    }

    async fn send_line(&mut self, number: usize, text: &[u8]) -> Outcome {
        let why = match std::str::from_utf8(text) {
            Ok(_) => match self.group_send(text).await {
                Err(SendError::Rejected(rejected @ Rejected::TooLarge { .. })) => rejected.to_string(),
                sent => return self.queued(text, sent),
            },
            Err(_) => "it is not text in UTF-8".to_owned(),
        };
        self.refused += 1;
        output::note(format!("ringfort: line {number} is not sent: {why}"));
        Ok(())
    }

    async fn send(&mut self, message: &[u8]) -> Outcome {
        let sent = self.group_send(message).await;
        self.queued(message, sent)
    }

    async fn group_send(&self, message: &[u8]) -> Result<(), SendError> {
        let topic = self.args.topic.as_str();
        if self.args.to.is_empty() {
            self.group.multicast(topic, message).await
        } else {
            self.group.send_to(&self.args.to, topic, message).await
        }
    }

    fn queued(&mut self, message: &[u8], sent: Result<(), SendError>) -> Outcome {
        sent?;
        self.under_way.push(message.len());
        Ok(())
    }

    /// Waits until enough leaders have everything.
    async fn settle(&mut self) -> Outcome {
        match tokio::time::timeout(PATIENCE, self.group.flush()).await {
            Ok(flushed) => flushed?,
            Err(_) => {
                let (told, time) = ("too few leaders have acknowledged what was sent within", PATIENCE.as_secs());
                return Err(Failure::new(Status::TooFewLeaders, format!("{told} {time} s")));
            }
        }
        self.acknowledged()
    }

    /// Everything is acknowledged: now it counts as sent.
    fn acknowledged(&mut self) -> Outcome {
        for bytes in std::mem::take(&mut self.under_way) {
            self.sent += 1;
            if self.args.json {
                let (to, topic) = (strings(&self.args.to), self.args.topic.to_string());
                output::json(&MemberLine::Sent { to, topic, bytes })?;
            }
        }
        Ok(())
    }
}
