//! `ringfort listen`: joins and prints what happens.

use std::time::Duration;

use clap::Args;
use ringfort::protocol::Topic;
use ringfort::{Event, Events, Group};

use crate::blames::Blames;
use crate::common::{Ending, MemberArgs};
use crate::exit::{Failure, Outcome, Status};
use crate::json::{MemberLine, roles, strings};
use crate::output;
use crate::text::people;

/// Joins a group and prints its messages and events, until Ctrl-C.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Who, where, with what secret.
    #[command(flatten)]
    pub member: MemberArgs,
    /// Print JSON lines
    #[arg(long)]
    pub json: bool,
    /// Print messages of this topic only
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<Topic>,
    /// Leave after this long; with --count it is a failure if fewer messages came
    #[arg(long = "for", value_name = "SECONDS")]
    pub seconds: Option<u64>,
    /// Leave after so many messages
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

/// Runs `ringfort listen`.
///
/// # Errors
/// Everything that keeps a user out or ends the stay; too few messages in time.
pub async fn run(args: ListenArgs) -> Outcome {
    let mut ending = Ending::listen()?;
    let (group, mut events) = args.member.join().await?;
    let time = Duration::from_secs(args.seconds.unwrap_or(u64::MAX / 4));
    let mut printer = Printer { args: &args, joined: false, messages: 0, blames: Blames::default() };
    let outcome = tokio::select! {
        outcome = printer.print_all(&group, &mut events) => outcome,
        () = ending.asked() => Ok(()),
        () = tokio::time::sleep(time) => printer.enough(),
    };
    if group.snapshot().ended.is_none() {
        let acknowledged = group.leave().await.is_ok();
        if args.json {
            output::json(&MemberLine::Left { acknowledged })?;
        }
    }
    outcome
}

struct Printer<'a> {
    args: &'a ListenArgs,
    joined: bool,
    messages: u64,
    blames: Blames,
}

impl Printer<'_> {
    async fn print_all(&mut self, group: &Group, events: &mut Events) -> Outcome {
        while self.args.count.is_none_or(|count| self.messages < count) {
            let Some(event) = events.next().await else {
                let told = "the stay in the group ended unexpectedly: join again";
                return Err(Failure::new(Status::NotAMember, told));
            };
            self.print(group, &event)?;
            if let Event::Ended(cause) = event {
                return Failure::ended(cause).map_or(Ok(()), Err);
            }
        }
        Ok(())
    }

    fn print(&mut self, group: &Group, event: &Event) -> Outcome {
        if let Event::Message(message) = event {
            if self.args.topic.as_ref().is_some_and(|topic| topic.as_str() != message.topic) {
                return Ok(());
            }
            self.messages += 1;
        }
        let first = !std::mem::replace(&mut self.joined, true);
        match (event, first) {
            (Event::View { view, joined, .. }, true) if self.args.json => output::json(&MemberLine::Joined {
                group: group.info().fingerprint(),
                user: group.user().to_string(),
                epoch: view.epoch.0,
                view: view.digest.to_string(),
                members: strings(joined),
                roles: roles(group.info(), joined),
            }),
            (Event::View { joined, .. }, true) => {
                output::line(format!("-- joined; in the group: {}", people(group.info(), joined)))
            }
            (Event::Blamed(culprit, fault), _) if self.args.json => match self.blames.count(culprit, *fault) {
                Some(times) => output::json(&MemberLine::blamed(culprit, *fault, times)),
                None => Ok(()),
            },
            _ if self.args.json => output::json(&MemberLine::from(event)),
            _ => self.blames.line(group.info(), event).map_or(Ok(()), output::told),
        }
    }

    /// Time is up.
    fn enough(&self) -> Outcome {
        match self.args.count {
            Some(wanted) => {
                let told = format!("time is up, and only {} of {wanted} messages came", self.messages);
                Err(Failure::new(Status::Other, told))
            }
            None => Ok(()),
        }
    }
}
