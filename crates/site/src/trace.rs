//! What a client does and sees, as lines of a trace: docs/traces.md says what they mean.
//!
//! A message is named by its sender and a hash of its bytes, so the messages of one sender must differ.

use std::io::{self, Write};

use ringfort_peer::Service;
use ringfort_spread::client::Received;
use ringfort_spread::reply::GroupId;
use ringfort_spread::{Kind, Name};
use serde::Serialize;

use crate::client::service;

/// Writes the trace of one client.
#[derive(Debug)]
pub struct Tracer<W> {
    out: W,
    me: String,
    /// It has ended its connection, or died: what still comes is nobody's any more.
    is_over: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    p: &'a str,
    #[serde(flatten)]
    event: Event,
}

type ViewId = [u64; 3];

#[derive(Serialize)]
#[serde(tag = "e", rename_all = "lowercase")]
enum Event {
    Connect,
    Join { g: String },
    Leave { g: String },
    Send { m: String, svc: &'static str, groups: Vec<String>, discard: bool, hash: u64 },
    Deliver { m: String, from: String, svc: &'static str, groups: Vec<String>, hash: u64 },
    Trans { g: String, old: ViewId },
    Reg { g: String, id: ViewId, members: Vec<String>, cause: &'static str, sets: Vec<Vec<String>> },
    SelfLeave { g: String },
    Disconnect,
    Crash,
    End,
}

impl<W: Write> Tracer<W> {
    /// The trace of the client that has just connected under this private name.
    ///
    /// # Errors
    /// When it cannot be written; so for all that follow.
    pub fn start(out: W, me: &Name) -> io::Result<Self> {
        let mut tracer = Tracer { out, me: text(me), is_over: false };
        tracer.write(Event::Connect)?;
        Ok(tracer)
    }

    /// It asks to join a group.
    pub fn join(&mut self, group: &Name) -> io::Result<()> {
        self.write(Event::Join { g: text(group) })
    }

    /// It asks to leave a group.
    pub fn leave(&mut self, group: &Name) -> io::Result<()> {
        self.write(Event::Leave { g: text(group) })
    }

    /// It is about to send a message.
    pub fn send(&mut self, svc: Service, groups: &[Name], to_me: bool, data: &[u8]) -> io::Result<()> {
        let hash = hash(data);
        let (m, groups) = (message_name(&self.me, hash), groups.iter().map(text).collect());
        self.write(Event::Send { m, svc: service_word(svc), groups, discard: !to_me, hash })
    }

    /// Something has come.
    pub fn received(&mut self, received: &Received) -> io::Result<()> {
        let event = match received {
            Received::Message { kind, sender, groups, data, .. } => {
                let (from, hash) = (text(sender), hash(data));
                let m = message_name(&from, hash);
                let groups = groups.iter().map(text).collect();
                Event::Deliver { m, from, svc: service_word(service(*kind)), groups, hash }
            }
            Received::Membership { group, cause, id, members, sets, .. } => Event::Reg {
                g: text(group),
                id: view_id(*id),
                members: members.iter().map(text).collect(),
                cause: cause_word(*cause),
                sets: sets.iter().map(|set| set.iter().map(text).collect()).collect(),
            },
            Received::Transitional { group, old } => Event::Trans { g: text(group), old: view_id(*old) },
            Received::SelfLeave(group) => Event::SelfLeave { g: text(group) },
            Received::Methods | Received::Opened(_) | Received::Refused(_) | Received::Rejected { .. } => return Ok(()),
        };
        self.write(event)
    }

    /// It ends its connection. What is under way to it then belongs to no stay, and is not written.
    pub fn disconnect(&mut self) -> io::Result<()> {
        self.write(Event::Disconnect)?;
        self.is_over = true;
        Ok(())
    }

    /// Its site died, or cut it off.
    pub fn crash(&mut self) -> io::Result<()> {
        self.write(Event::Crash)?;
        self.is_over = true;
        Ok(())
    }

    /// It is alive at the end of the trace.
    pub fn end(&mut self) -> io::Result<()> {
        self.write(Event::End)
    }

    /// Writes what is not written yet.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn write(&mut self, event: Event) -> io::Result<()> {
        if self.is_over {
            return Ok(());
        }
        let mut line = serde_json::to_vec(&Line { p: &self.me, event })?;
        line.push(b'\n');
        self.out.write_all(&line)
    }
}

/// What a message's bytes are told by (FNV-1a).
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn message_name(sender: &str, hash: u64) -> String {
    format!("{sender}/{hash:016x}")
}

fn text(name: &Name) -> String {
    name.to_string()
}

fn view_id(id: GroupId) -> ViewId {
    [id.time, id.process, id.index].map(u64::from)
}

/// A service, in a word.
pub fn service_word(service: Service) -> &'static str {
    match service {
        Service::Unreliable => "unreliable",
        Service::Reliable => "reliable",
        Service::Fifo => "fifo",
        Service::Causal => "causal",
        Service::Agreed => "agreed",
        Service::Safe => "safe",
    }
}

/// Why a view came about, in a word.
pub fn cause_word(cause: Kind) -> &'static str {
    if cause.has(Kind::CAUSED_BY_JOIN) {
        "join"
    } else if cause.has(Kind::CAUSED_BY_LEAVE) {
        "leave"
    } else if cause.has(Kind::CAUSED_BY_DISCONNECT) {
        "disconnect"
    } else {
        "network"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_disconnected_sees_nothing_more() {
        let name = |text: &str| Name::new(text.as_bytes()).unwrap();
        let mut tracer = Tracer::start(Vec::new(), &name("#ana#north")).unwrap();
        tracer.join(&name("talk")).unwrap();
        tracer.disconnect().unwrap();
        tracer.received(&Received::SelfLeave(name("talk"))).unwrap();
        tracer.crash().unwrap();
        let trace = String::from_utf8(tracer.finish().unwrap()).unwrap();
        let last = trace.lines().last().unwrap();
        assert!(trace.lines().count() == 3 && last.contains("disconnect"), "{trace}");
    }
}
