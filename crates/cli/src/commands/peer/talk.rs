//! `ringfort peer chat`, `join`, `send` and `listen`: a member, for people and scripts.

use std::time::Duration;

use clap::Args;
use data_encoding::{BASE64, HEXLOWER};
use ringfort_peer::Service;
use ringfort_peer_keys::flush::OutWhy;
use ringfort_peer_keys::peer::SecureView;
use ringfort_peer_keys::{Event, Name as PeerName, Policy};
use ringfort_site::trace::service_word;
use ringfort_site::{SecureError, SecureGroup, Speaker};
use ringfort_spread::Name;
use serde::Serialize;
use tokio::time::Instant;

use super::MemberArgs;
use crate::commands::site::{Lines, ServiceArg};
use crate::common::Ending;
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::{clean, count};

/// A conversation.
#[derive(Debug, Args)]
pub struct ChatArgs {
    /// Who and where.
    #[command(flatten)]
    pub member: MemberArgs,
    /// How messages are delivered
    #[arg(long, value_name = "SERVICE", default_value = "agreed")]
    pub service: ServiceArg,
}

/// A stay.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// Who and where.
    #[command(flatten)]
    pub member: MemberArgs,
}

/// What to send.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Who and where.
    #[command(flatten)]
    pub member: MemberArgs,
    /// Wait until so many others are in the group
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub others: usize,
    /// Give up after this long
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
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
    /// Who and where.
    #[command(flatten)]
    pub member: MemberArgs,
    /// End after this long; with --count it is a failure if fewer messages came
    #[arg(long = "for", value_name = "SECONDS")]
    pub seconds: Option<u64>,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

/// A secure view, for scripts.
#[derive(Serialize)]
pub(super) struct View {
    view: String,
    pub(super) key_tag: String,
    members: Vec<Present>,
    moved_with_me: Vec<String>,
}

#[derive(Serialize)]
struct Present {
    name: String,
    user: String,
}

impl View {
    fn new(view: &SecureView) -> Self {
        let members = view.members.iter().map(|(name, user)| Present { name: text(name), user: user.clone() });
        View {
            view: HEXLOWER.encode(view.context.first_chunk::<8>().unwrap_or(&[0; 8])),
            key_tag: HEXLOWER.encode(&view.tag),
            members: members.collect(),
            moved_with_me: view.moved.iter().map(text).collect(),
        }
    }

    pub(super) fn users(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("{} ({})", member.user, member.name)).collect()
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Connected {
        name: String,
    },
    Secure(View),
    Message {
        sender: String,
        user: String,
        service: &'static str,
        private: bool,
        #[serde(flatten)]
        body: Body,
    },
    Transitional,
    Out {
        name: String,
        why: &'static str,
    },
    PutOut {
        why: &'static str,
    },
    Waiting {
        members: Vec<String>,
    },
    KeysDiffer,
    Crowded {
        present: usize,
    },
    Missed {
        sender: String,
        messages: u64,
    },
    NotOpened {
        sender: String,
        why: String,
    },
    Sent {
        messages: usize,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    Text(String),
    Base64(String),
}

fn text(name: &PeerName) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}

fn word(why: OutWhy) -> &'static str {
    match why {
        OutWhy::Silent => "silent",
        OutWhy::Stranger => "stranger",
        OutWhy::OtherPolicy => "other_policy",
        OutWhy::NoContribution => "no_contribution",
        OutWhy::SameKey => "same_key",
        OutWhy::OwnApplication => "own_application",
    }
}

/// Why somebody who is in the site's group is not in the secure one.
fn sentence(name: &str, why: OutWhy) -> String {
    let name = clean(name);
    match why {
        OutWhy::Silent => format!("{name} is left out: it did not do its part in time"),
        OutWhy::Stranger => format!("{name} is left out: the peer file does not admit its key"),
        OutWhy::OtherPolicy => format!(
            "{name} is left out: it goes by another peer file; compare fingerprints with `ringfort peer status PEERFILE`"
        ),
        OutWhy::NoContribution => format!("{name} is left out: what it brings for the key is no contribution"),
        OutWhy::SameKey => {
            format!("{name} is left out: another program is in the group with the same key; each needs one of its own")
        }
        OutWhy::OwnApplication => format!("{name} is left out: its application did not answer in time"),
    }
}

/// A stay, and how it is told.
struct Talk {
    json: bool,
    others: usize,
    /// Of whom it is known that they go by another peer file.
    other_policies: usize,
    messages: bool,
}

impl Talk {
    async fn open(args: &MemberArgs, messages: bool) -> Outcome<(Self, SecureGroup)> {
        let (group, _) = args.join().await?;
        if args.json {
            output::json(&Line::Connected { name: group.name().to_string() })?;
        }
        Ok((Talk { json: args.json, others: 0, other_policies: 0, messages }, group))
    }

    /// Tells what happened. A member that is alone because all others go by another peer file has nothing to wait for.
    fn on_event(&mut self, event: &Event) -> Outcome {
        match event {
            Event::Out(_, OutWhy::OtherPolicy) => self.other_policies += 1,
            Event::PutOut(why) if why.is_final() => {
                if self.json {
                    self.print_json(event)?;
                }
                return Err(Failure::new(Status::Credentials, sentence("this program", *why)));
            }
            Event::Secure(view) => {
                self.others = view.members.len().saturating_sub(1);
                if self.others == 0 && self.other_policies > 0 {
                    let told = "everybody else in the group goes by another peer file: compare fingerprints with \
                                `ringfort peer status PEERFILE`, and use the same file";
                    return Err(Failure::new(Status::Altered, told));
                }
                self.other_policies = 0;
            }
            _ => {}
        }
        if self.json { self.print_json(event) } else { self.print(event) }
    }

    fn print_json(&self, event: &Event) -> Outcome {
        let line = match event {
            Event::Secure(view) => Line::Secure(View::new(view)),
            Event::Message { from, user, service, private, message } if self.messages => {
                let body = String::from_utf8(message.clone());
                Line::Message {
                    sender: text(from),
                    user: user.clone(),
                    service: service_word(*service),
                    private: *private,
                    body: body.map_or_else(|_| Body::Base64(BASE64.encode(message)), Body::Text),
                }
            }
            Event::Transitional => Line::Transitional,
            Event::Out(name, why) => Line::Out { name: text(name), why: word(*why) },
            Event::PutOut(why) => Line::PutOut { why: word(*why) },
            Event::Waiting(members) => Line::Waiting { members: members.iter().map(text).collect() },
            Event::Crowded(present) => Line::Crowded { present: *present },
            Event::KeysDiffer => Line::KeysDiffer,
            Event::Missed(sender, messages) => Line::Missed { sender: text(sender), messages: *messages },
            Event::NotOpened(sender, why) => Line::NotOpened { sender: text(sender), why: why.to_string() },
            Event::Message { .. } | Event::FlushRequest => return Ok(()),
        };
        output::json(&line)
    }

    fn print(&self, event: &Event) -> Outcome {
        let line = match event {
            Event::Secure(view) => {
                let view = View::new(view);
                format!("-- members: {} (key {})", clean(&view.users().join(", ")), view.key_tag)
            }
            Event::Message { from, user, private, message, .. } if self.messages => {
                let private = if *private { ", to you alone" } else { "" };
                let said = String::from_utf8_lossy(message);
                format!("{} ({}{private}): {}", clean(user), clean(&text(from)), clean(&said))
            }
            Event::Transitional => "-- members are lost; what follows may not have reached them".to_owned(),
            Event::Out(name, why) => format!("-- {}", sentence(&text(name), *why)),
            Event::PutOut(OutWhy::OwnApplication) => {
                "-- put out, because this program was too slow; joining again".to_owned()
            }
            Event::PutOut(why) => format!("-- {}", sentence("this program", *why)),
            Event::Waiting(members) => {
                let members: Vec<String> = members.iter().map(text).collect();
                format!("-- there is no key yet: {} did not do its part in time", clean(&members.join(", ")))
            }
            Event::KeysDiffer => {
                "-- the members' keys differ: somebody contributed wrongly; all begin again".to_owned()
            }
            Event::Crowded(present) => {
                format!("-- {present} programs are in the sites' group, too many: no key until some of them are gone")
            }
            Event::Missed(sender, messages) => {
                let messages = count(usize::try_from(*messages).unwrap_or(usize::MAX), "message");
                format!("-- {messages} of {} never came: a site lost or withheld them", clean(&text(sender)))
            }
            Event::NotOpened(sender, why) => {
                format!("-- a message said to be of {} was not opened: {why}", clean(&text(sender)))
            }
            Event::Message { .. } | Event::FlushRequest => return Ok(()),
        };
        output::told(line)
    }
}

/// Leaves, and waits until the site has said so.
async fn leave(mut group: SecureGroup) -> Outcome {
    group.speaker().leave().await;
    let left = tokio::time::timeout(Duration::from_secs(5), async {
        while group.next().await?.is_some() {}
        Ok::<(), SecureError>(())
    });
    // A site that does not answer keeps nobody.
    left.await.unwrap_or(Ok(())).map_err(Failure::from)
}

/// The next event; that the stay is over is a failure, as nobody asked for it.
async fn next(group: &mut SecureGroup) -> Outcome<Event> {
    Ok(group.next().await?.ok_or(SecureError::Ended)?)
}

/// The present view, seen from within for a moment.
pub(super) async fn look(mut group: SecureGroup, policy: &Policy, timeout: Duration) -> Outcome<View> {
    let deadline = Instant::now() + timeout;
    let mut talk = Talk { json: false, others: 0, other_policies: 0, messages: false };
    loop {
        let Ok(event) = tokio::time::timeout_at(deadline, next(&mut group)).await else {
            let told = format!(
                "group {} has no key after {} s: somebody does not do its part",
                policy.group,
                timeout.as_secs()
            );
            return Err(Failure::new(Status::TooFewLeaders, told));
        };
        match event? {
            Event::Secure(view) => {
                leave(group).await?;
                return Ok(View::new(&view));
            }
            event @ Event::Out(..) => talk.on_event(&event)?,
            _ => {}
        }
    }
}

/// Runs `ringfort peer send`.
///
/// # Errors
/// No site, no others in time, messages that cannot be sent.
pub async fn send(args: SendArgs) -> Outcome {
    let (mut talk, mut group) = Talk::open(&args.member, false).await?;
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    while talk.others < args.others {
        let Ok(event) = tokio::time::timeout_at(deadline, next(&mut group)).await else {
            let told = format!("time is up: {} of {} others are in the group", talk.others, args.others);
            leave(group).await?;
            return Err(Failure::new(Status::TooFewLeaders, told));
        };
        talk.on_event(&event?)?;
    }
    let (speaker, me) = (group.speaker(), group.name());
    let sending = async {
        let mut messages = 0;
        if args.message.is_empty() || args.message == ["-"] {
            let mut input = Lines::new();
            while let Some(line) = input.next().await? {
                speaker.send(args.service.into(), None, line).await?;
                messages += 1;
            }
        } else {
            speaker.send(args.service.into(), None, args.message.join(" ").into_bytes()).await?;
            messages += 1;
        }
        Ok::<usize, Failure>(messages)
    };
    tokio::pin!(sending);
    let (mut sent, mut returned) = (None, 0);
    // A message that came back is in its place in everybody's order.
    while sent.is_none_or(|sent| returned < sent) {
        tokio::select! {
            messages = &mut sending, if sent.is_none() => sent = Some(messages?),
            event = next(&mut group) => {
                let event = event?;
                returned += usize::from(matches!(&event, Event::Message { from, .. } if text(from) == me.to_string()));
                talk.on_event(&event)?;
            }
        }
    }
    leave(group).await?;
    let messages = sent.unwrap_or(0);
    if args.member.json {
        return output::json(&Line::Sent { messages });
    }
    output::line(format!("{} sent as {me}.", count(messages, "message")))
}

/// Runs `ringfort peer join`.
///
/// # Errors
/// No site, or one that ends.
pub async fn join(args: JoinArgs) -> Outcome {
    stay(args.member, None, None, false).await
}

/// Runs `ringfort peer listen`.
///
/// # Errors
/// No site, one that ends, too few messages in time.
pub async fn listen(args: ListenArgs) -> Outcome {
    stay(args.member, args.seconds, args.count, true).await
}

async fn stay(args: MemberArgs, seconds: Option<u64>, wanted: Option<u64>, messages: bool) -> Outcome {
    let mut ending = Ending::listen()?;
    let (mut talk, mut group) = Talk::open(&args, messages).await?;
    let time = tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(u64::MAX / 4)));
    tokio::pin!(time);
    let mut came = 0;
    while wanted.is_none_or(|wanted| came < wanted) {
        tokio::select! {
            event = next(&mut group) => {
                let event = event?;
                came += u64::from(matches!(event, Event::Message { .. }));
                talk.on_event(&event)?;
            }
            () = ending.asked() => break,
            () = &mut time => {
                leave(group).await?;
                return match wanted {
                    Some(wanted) => {
                        let told = format!("time is up, and only {came} of {wanted} messages came");
                        Err(Failure::new(Status::Other, told))
                    }
                    None => Ok(()),
                };
            }
        }
    }
    leave(group).await
}

/// Runs `ringfort peer chat`.
///
/// # Errors
/// No site, one that ends, a message that cannot be sent.
pub async fn chat(args: ChatArgs) -> Outcome {
    let mut ending = Ending::listen()?;
    let (mut talk, mut group) = Talk::open(&args.member, true).await?;
    let speaker = group.speaker();
    let service: Service = args.service.into();
    // Sending waits for a view; receiving goes on meanwhile.
    let saying = async {
        let mut input = Lines::new();
        while let Some(line) = input.next().await? {
            say(&speaker, service, line).await?;
        }
        Ok::<(), Failure>(())
    };
    tokio::pin!(saying);
    loop {
        tokio::select! {
            event = next(&mut group) => talk.on_event(&event?)?,
            said = &mut saying => {
                said?;
                break;
            }
            () = ending.asked() => break,
        }
    }
    leave(group).await
}

async fn say(speaker: &Speaker, service: Service, line: Vec<u8>) -> Outcome {
    let text = String::from_utf8_lossy(&line).into_owned();
    let outcome = match text.strip_prefix('/').map(|command| command.split_once(' ').unwrap_or((command, ""))) {
        Some(("refresh", "")) => speaker.refresh().await,
        Some(("to", rest)) => {
            let (to, said) = rest.split_once(' ').unwrap_or((rest, ""));
            match Name::new(to.as_bytes()) {
                Ok(to) => speaker.send(service, Some(to), said.as_bytes().to_vec()).await,
                Err(_) => return output::told(format!("-- `{}` is no member's name", clean(to))),
            }
        }
        Some((command, _)) => {
            return output::told(format!("-- `/{}` is no command: there are /to and /refresh", clean(command)));
        }
        None => speaker.send(service, None, line).await,
    };
    match outcome {
        // What cannot be sent is told; the conversation goes on.
        Err(SecureError::Rejected(why)) => output::told(format!("-- not sent: {why}")),
        other => Ok(other?),
    }
}
