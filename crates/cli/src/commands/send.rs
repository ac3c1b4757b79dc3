//! `ringfort send`: joins, sends, leaves.

use clap::Args;
use ringfort::Group;
use ringfort::protocol::{Topic, UserName};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::common::{Ending, MemberArgs};
use crate::exit::{Failure, Outcome, Status};
use crate::json::{MemberLine, strings};
use crate::output;
use crate::text::{count, names};

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
/// Everything that keeps a user out, and messages that cannot be sent.
pub async fn run(args: SendArgs) -> Outcome {
    let mut ending = Ending::listen()?;
    // The events are of no interest here, and must not hold the member up.
    let (group, events) = args.member.join().await?;
    drop(events);
    let outcome = tokio::select! {
        outcome = send_all(&args, &group) => outcome,
        () = ending.asked() => Err(Failure::new(Status::Other, "stopped before everything was sent")),
    };
    let left = group.leave().await;
    let sent = outcome?;
    left.map(drop).unwrap_or_else(|error| output::note(format!("ringfort: {error}")));
    if !args.json {
        let to = if args.to.is_empty() { "the group".to_owned() } else { names(&args.to) };
        output::line(format!("{} sent to {to}.", count(sent, "message")))?;
    }
    Ok(())
}

async fn send_all(args: &SendArgs, group: &Group) -> Outcome<usize> {
    let sends = group.info().policy.role(group.user()).sends();
    if group.members().len() < 2 && args.to.is_empty() && sends {
        output::note("ringfort: nobody else is in the group now");
    }
    let from_input = args.message.is_empty() || args.message.iter().eq(["-"]);
    if !from_input {
        send(args, group, &args.message.join(" ")).await?;
        return Ok(1);
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut sent = 0;
    loop {
        match lines.next_line().await {
            Ok(Some(line)) if line.is_empty() => {}
            Ok(Some(line)) => {
                send(args, group, &line).await?;
                sent += 1;
            }
            Ok(None) => return Ok(sent),
            Err(error) => return Err(Failure::io("cannot read the standard input", &error)),
        }
    }
}

async fn send(args: &SendArgs, group: &Group, message: &str) -> Outcome {
    let (topic, payload) = (args.topic.as_str(), message.as_bytes());
    if args.to.is_empty() {
        group.multicast(topic, payload).await?;
    } else {
        group.send_to(&args.to, topic, payload).await?;
    }
    if args.json {
        output::json(&MemberLine::Sent { to: strings(&args.to), topic: topic.to_owned(), bytes: payload.len() })?;
    }
    Ok(())
}
