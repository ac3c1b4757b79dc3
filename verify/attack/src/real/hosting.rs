//! What runs in the leaders' processes: an honest leader, and what all of them share.

use std::io::Write;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use ringfort_node::folder::{LeaderFolder, OpenLeader};
use ringfort_node::leader::{LeaderCore, LeaderOptions, Told, run_core};
use ringfort_protocol::Cx;
use ringfort_protocol::fault::Culprit;
use ringfort_protocol::leader::{Event, Leader};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};

use super::clocks::OffClock;

/// Offences told in a second.
const OFFENCES_PER_S_MAX: u32 = 500;

/// Where this process finds another leader, if not at the address in the group file: `N=HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// The other leader's number.
    pub leader: u8,
    /// Where.
    pub address: String,
}

impl FromStr for Dial {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(n, address)| Some((n.parse().ok()?, address)));
        let (leader, address) = parts.ok_or_else(|| "give N=HOST:PORT".to_owned())?;
        Ok(Dial { leader, address: address.to_owned() })
    }
}

impl std::fmt::Display for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.leader, self.address)
    }
}

/// Opens a leader's folder for a process that finds the others elsewhere. The group stays the same, by its id.
///
/// # Errors
/// The folder cannot be opened, or names no such leader.
pub fn open(folder: &Path, dials: &[Dial]) -> anyhow::Result<OpenLeader> {
    let mut open = LeaderFolder::open(folder)?;
    let mut group = (*open.group).clone();
    for dial in dials {
        let place = usize::from(dial.leader).checked_sub(1);
        let leader = place.and_then(|place| group.leaders.get_mut(place));
        leader.with_context(|| format!("there is no leader {}", dial.leader))?.address.clone_from(&dial.address);
    }
    open.group = Arc::new(group);
    Ok(open)
}

/// Runs an honest leader until its standard input ends; tells on standard output what happens.
///
/// # Errors
/// As a leader's that cannot go on.
pub async fn lead(folder: &Path, dials: &[Dial]) -> anyhow::Result<()> {
    let open = open(folder, dials)?;
    let mut teller = Teller::default();
    let observe = |told: &Told<'_>| {
        if let Told::Event(event) = told {
            teller.tell(event);
        }
    };
    // A file that may not grow is an error to be told, and not the end without a word.
    let _told = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
    let ahead_s = Arc::new(AtomicI64::new(0));
    let shared = ahead_s.clone();
    let build = move |cx: &mut Cx<'_>, group, secrets, records| -> Box<dyn LeaderCore> {
        Box::new(OffClock { leader: Leader::new(cx, group, secrets, records), ahead_s: shared })
    };
    run_core(open, LeaderOptions::default(), build, observe, orders(&ahead_s)).await?;
    Ok(())
}

/// Takes orders from whoever started this process, until it is gone or wants it to end: `clock N` sets the wall clock
/// N seconds ahead.
async fn orders(ahead_s: &AtomicI64) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(ahead) = line.strip_prefix("clock ").and_then(|ahead| ahead.parse().ok()) {
            ahead_s.store(ahead, Ordering::Release);
        }
    }
}

/// Completes when whoever started this process is gone or wants it to end.
pub async fn input_ended() {
    let mut input = tokio::io::stdin();
    let mut bytes = [0; 64];
    while let Ok(1..) = input.read(&mut bytes).await {}
}

/// Completes when somebody wants the demo to end: Ctrl-C, or a kind kill.
pub async fn interrupted() {
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => drop(signals.recv().await),
            // Where signals cannot be had, they end the process by themselves.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}

/// One line of standard output. Whoever reads it may be gone: then there is nobody to tell.
pub fn tell(line: &Value) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Tells what happens; under a flood of offences, not each of them.
#[derive(Default)]
struct Teller {
    second: Option<Instant>,
    offences: u32,
}

impl Teller {
    fn tell(&mut self, event: &Event) {
        if matches!(event, Event::Blamed(..)) {
            if self.second.is_none_or(|second| second.elapsed() >= Duration::from_secs(1)) {
                (self.second, self.offences) = (Some(Instant::now()), 0);
            }
            self.offences += 1;
            if self.offences > OFFENCES_PER_S_MAX {
                return;
            }
        }
        tell(&describe(event));
    }
}

fn describe(event: &Event) -> Value {
    match event {
        Event::Authenticated(member) => json!({ "event": "authenticated", "user": member.user.as_str() }),
        Event::Denied(user, reason) => {
            json!({ "event": "denied", "user": user.as_str(), "reason": reason.to_string() })
        }
        Event::Admitted(member) => json!({ "event": "admitted", "user": member.user.as_str() }),
        Event::Ended(user, cause) => {
            json!({ "event": "ended", "user": user.as_str(), "cause": format!("{cause:?}").to_lowercase() })
        }
        Event::Published(view, members) => {
            json!({ "event": "published", "epoch": view.epoch.0, "view": view.to_string(), "members": members })
        }
        Event::Session(now) => json!({ "event": "session", "session": now.number.get(), "open": now.open }),
        Event::CaughtUp => json!({ "event": "caught_up" }),
        Event::MotionOpened(motion) => json!({ "event": "members_asked", "user": motion.user.as_str() }),
        Event::MotionDecided(motion, passed, _) => {
            json!({ "event": "members_decided", "user": motion.user.as_str(), "passed": passed })
        }
        Event::CutOff(peer, length) => {
            json!({ "event": "cut_off", "peer": peer.number(), "seconds": length.as_secs_f32() })
        }
        Event::Convicted(member) => json!({ "event": "convicted", "user": member.user.as_str() }),
        Event::Blamed(culprit, fault) => {
            let (whom, name) = match culprit {
                Culprit::Leader(leader) => ("leader", leader.number().to_string()),
                Culprit::Member(member) => ("member", member.user.to_string()),
                Culprit::Outsider(user) => ("outsider", user.as_ref().map(ToString::to_string).unwrap_or_default()),
            };
            let proof = fault.is_deviation();
            json!({ "event": "blamed", "whom": whom, "name": name, "fault": fault.word(), "deviation": proof })
        }
    }
}
