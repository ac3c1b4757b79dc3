//! The plain mode: one line in, one message out; what happens, line by line. For pipes and simple terminals.

use ringfort::{Event, Events, Group};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::board::Board;
use super::command::{self, HELP, Line};
use super::sender::{self, Act, Own};
use super::{End, TOPIC, leave};
use crate::blames::Blames;
use crate::common::Ending;
use crate::describe;
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::people;

/// Chats until the input ends, the user says so, or a signal does.
pub(super) async fn run(group: Group, mut events: Events, mut ending: Ending) -> Outcome {
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let (mut joined, mut blames) = (false, Blames::default());
    let end = loop {
        tokio::select! {
            event = events.next() => match told(&group, event, &mut joined, &mut blames) {
                Ok(()) => {}
                Err(failure) => break Err(failure),
            },
            line = input.next_line() => match line {
                Ok(Some(line)) => match on_line(&group, &line).await {
                    Ok(None) => {}
                    Ok(Some(end)) => break Ok(end),
                    Err(failure) => break Err(failure),
                },
                Ok(None) => break Ok(End::Leave),
                Err(error) => break Err(Failure::io("cannot read the standard input", &error)),
            },
            () = ending.asked() => break Ok(End::Quit),
        }
    };
    leave(group, *end.as_ref().unwrap_or(&End::Quit)).await;
    end.map(drop)
}

fn told(group: &Group, event: Option<Event>, joined: &mut bool, blames: &mut Blames) -> Outcome {
    match event {
        None => Err(Failure::new(Status::NotAMember, "the stay in the group ended unexpectedly: join again")),
        Some(Event::Message(message)) if message.topic != TOPIC => Ok(()),
        Some(Event::LeaderAnswers(..)) => Ok(()),
        Some(Event::View { joined: members, .. }) if !std::mem::replace(joined, true) => {
            output::line(format!("-- joined; in the group: {}", people(group.info(), &members)))?;
            describe::own_role(group.info(), group.user()).map_or(Ok(()), |role| output::line(format!("-- {role}")))
        }
        Some(event) => {
            blames.line(group.info(), &event).map_or(Ok(()), output::told)?;
            match event {
                Event::Ended(cause) => Failure::ended(cause).map_or(Ok(()), Err),
                _ => Ok(()),
            }
        }
    }
}

async fn on_line(group: &Group, line: &str) -> Outcome<Option<End>> {
    match command::parse(line) {
        Ok(Line::Nothing) => {}
        Ok(Line::Say(text)) => act(group, Act::Say(Own { to: Vec::new(), text })).await,
        Ok(Line::To(to, text)) => act(group, Act::Say(Own { to, text })).await,
        Ok(Line::Vote(motion, yes)) => act(group, Act::Vote(motion, yes)).await,
        Ok(Line::Members) => output::line(format!("-- here: {}", people(group.info(), &group.members())))?,
        Ok(Line::Leaders) => {
            for light in Board::of(&group.snapshot()).leaders {
                output::line(format!("-- leader {}: {}", light.number, light.word))?;
            }
        }
        Ok(Line::Help) => HELP.iter().try_for_each(|line| output::line(format!("-- {line}")))?,
        Ok(Line::Leave) => return Ok(Some(End::Leave)),
        Ok(Line::Quit) => return Ok(Some(End::Quit)),
        Err(wrong) => output::note(format!("ringfort: {wrong}")),
    }
    Ok(None)
}

async fn act(group: &Group, act: Act) {
    if let Err(failure) = sender::send(group, &act).await {
        output::note(format!("ringfort: not sent: {failure}"));
    }
}
