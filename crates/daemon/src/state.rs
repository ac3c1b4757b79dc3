//! What is known of the running leader, for those who ask over the status endpoint.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringfort::protocol::GroupInfo;
use ringfort_node::leader::{Report, Told};
use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;
use crate::words::session_asked;

/// A report that is older than this many periods is a leader whose loop does not turn.
const PERIODS_MISSED_MAX: u32 = 5;

/// What does not change while a leader runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its number.
    pub leader: u8,
    /// Links to other leaders that it needs: with itself, n-f.
    pub leaders_needed: usize,
    /// All other leaders.
    pub leaders_other: Vec<u8>,
    /// The group's name.
    pub group: String,
    /// The group's fingerprint.
    pub fingerprint: String,
    /// How the sandbox is, in a word.
    pub sandbox: String,
    /// Between two reports.
    pub report_period: Duration,
}

impl Facts {
    /// The facts of leader `leader` of a group.
    pub fn new(group: &GroupInfo, leader: u8, sandbox: String, report_period: Duration) -> Self {
        let others = group.rules.leaders().map(|id| id.number()).filter(|id| *id != leader);
        Facts {
            leader,
            leaders_needed: usize::from(group.rules.n() - group.rules.f()).saturating_sub(1),
            leaders_other: others.collect(),
            group: group.name.clone(),
            fingerprint: group.fingerprint(),
            sandbox,
            report_period,
        }
    }
}

/// How a leader is, as `ringfort leader status --json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation's, in docs/operators.md")]
pub struct StatusDocument {
    pub leader: u8,
    pub group: String,
    pub fingerprint: String,
    pub version: String,
    /// The libraries that this build computes with.
    #[serde(default)]
    pub back_ends: String,
    /// "starting", "running" or "stopping".
    pub phase: String,
    /// The leader's loop turns.
    pub healthy: bool,
    /// It can do its part: it is healthy and linked to enough other leaders.
    pub ready: bool,
    /// Why it is not, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why_not: Option<String>,
    pub sandbox: String,
    pub uptime_s: u64,
    pub epoch: u64,
    pub view: String,
    /// Of the session: they count from 1.
    #[serde(default)]
    pub session: u64,
    /// Whether it is running. Nobody is in the group, or gets in, when it is not.
    #[serde(default)]
    pub session_open: bool,
    /// What leaders ask for of the session, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session_asked: Option<String>,
    pub members: usize,
    pub members_quiet: usize,
    pub member_quiet_longest_ms: u64,
    pub registered: usize,
    pub links_member: usize,
    pub links_waiting: usize,
    pub queued_bytes: usize,
    pub store_bytes: u64,
    pub audit_lines_lost: u64,
    pub leaders: BTreeMap<u8, LeaderLinkDocument>,
}

/// The link to another leader.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as above")]
pub struct LeaderLinkDocument {
    pub up: bool,
    /// Since its last frame; `null` if there was none.
    pub heard_ms: Option<u64>,
    pub queued_bytes: usize,
}

/// What the endpoint shows.
#[derive(Debug)]
pub struct State {
    facts: Facts,
    /// Counters and figures in Prometheus' form.
    pub metrics: Metrics,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    listening: bool,
    stopping: bool,
    report: Option<(Instant, Report)>,
    audit_lines_lost: u64,
}

impl State {
    /// A leader that is starting.
    pub fn new(facts: Facts) -> Self {
        State { metrics: Metrics::new(&facts), facts, now: Mutex::default() }
    }

    /// Takes in what the leader told.
    pub fn take(&self, told: &Told<'_>) {
        let mut now = self.now();
        match told {
            Told::Listening(_) => now.listening = true,
            Told::Stopping => now.stopping = true,
            Told::Report(report) => now.report = Some((Instant::now(), (*report).clone())),
            _ => {}
        }
        drop(now);
        self.metrics.take(told);
    }

    /// The audit and the hooks as they stand.
    pub fn take_counts(&self, audit_lines_lost: u64, audit_bytes: u64, hooks: (u64, u64)) {
        self.now().audit_lines_lost = audit_lines_lost;
        self.metrics.take_counts(audit_lines_lost, audit_bytes, hooks);
    }

    /// Why the leader's loop cannot be said to turn, if so.
    fn unhealthy(&self, now: &Now) -> Option<String> {
        let limit = self.facts.report_period * PERIODS_MISSED_MAX;
        match &now.report {
            _ if now.stopping => None,
            None if now.listening => None,
            None => Some("the leader does not listen yet".to_owned()),
            Some((at, _)) if at.elapsed() > limit => {
                Some(format!("the leader's loop has not reported for {} s", at.elapsed().as_secs()))
            }
            Some(_) => None,
        }
    }

    fn why_not_ready(&self, now: &Now) -> Option<String> {
        if now.stopping {
            return Some("the leader is stopping".to_owned());
        }
        if let Some(why) = self.unhealthy(now) {
            return Some(why);
        }
        let up = now.report.as_ref().map_or(0, |(_, report)| report.peers.values().filter(|peer| peer.up).count());
        let needed = self.facts.leaders_needed;
        if up < needed {
            return Some(format!("links to {up} other leaders are up, and {needed} are needed"));
        }
        let catching_up = now.report.as_ref().is_some_and(|(_, report)| report.core.catching_up);
        catching_up.then(|| "the leader's memory is an older one: it catches up with the others first".to_owned())
    }

    /// Whether the loop turns; why not, if not.
    pub fn health(&self) -> Result<(), String> {
        self.unhealthy(&self.now()).map_or(Ok(()), Err)
    }

    /// Whether the leader can do its part; why not, if not.
    pub fn readiness(&self) -> Result<(), String> {
        self.why_not_ready(&self.now()).map_or(Ok(()), Err)
    }

    /// All of it.
    pub fn document(&self) -> StatusDocument {
        let now = self.now();
        let why_not = self.why_not_ready(&now);
        let phase = if now.stopping {
            "stopping"
        } else if now.listening {
            "running"
        } else {
            "starting"
        };
        let (facts, healthy) = (&self.facts, self.unhealthy(&now).is_none());
        let mut leaders: BTreeMap<u8, LeaderLinkDocument> =
            facts.leaders_other.iter().map(|leader| (*leader, LeaderLinkDocument::default())).collect();
        let mut document = StatusDocument {
            leader: facts.leader,
            group: facts.group.clone(),
            fingerprint: facts.fingerprint.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            back_ends: ringfort::BACK_ENDS.to_owned(),
            phase: phase.to_owned(),
            healthy,
            ready: why_not.is_none(),
            why_not,
            sandbox: facts.sandbox.clone(),
            uptime_s: 0,
            epoch: 0,
            view: String::new(),
            session: 0,
            session_open: false,
            session_asked: None,
            members: 0,
            members_quiet: 0,
            member_quiet_longest_ms: 0,
            registered: 0,
            links_member: 0,
            links_waiting: 0,
            queued_bytes: 0,
            store_bytes: 0,
            audit_lines_lost: now.audit_lines_lost,
            leaders: BTreeMap::new(),
        };
        if let Some((_, report)) = &now.report {
            for (id, peer) in &report.peers {
                let heard_ms = Some(millis(peer.heard));
                let link = LeaderLinkDocument { up: peer.up, heard_ms, queued_bytes: peer.queued_bytes };
                leaders.insert(id.number(), link);
            }
            let core = &report.core;
            document.uptime_s = report.uptime.as_secs();
            document.epoch = core.view.epoch.0;
            document.view = core.view.digest.to_string();
            document.session = core.session.number.get();
            document.session_open = core.session.open;
            document.session_asked = core.session_asked.map(|asked| session_asked(core.session, asked));
            document.members = core.members;
            document.members_quiet = core.members_quiet;
            document.member_quiet_longest_ms = millis(core.member_quiet_longest);
            document.registered = core.registered;
            document.links_member = core.links_member;
            document.links_waiting = core.links_waiting;
            document.queued_bytes = report.queued_bytes;
            document.store_bytes = report.store_bytes;
        }
        document.leaders = leaders;
        document
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::fixture::{facts, report};

    #[test]
    fn ready_takes_enough_leaders_and_a_turning_loop() {
        let state = State::new(facts());
        assert!(state.health().unwrap_err().contains("does not listen"));
        state.take(&Told::Listening("127.0.0.1:7400".parse().unwrap()));
        assert!(state.health().is_ok());
        assert!(state.readiness().unwrap_err().contains("0 other leaders"));
        state.take(&Told::Report(&report(&[(2, true), (3, false)])));
        assert!(state.readiness().unwrap_err().contains("1 other leaders are up, and 2"));
        state.take(&Told::Report(&report(&[(2, true), (3, true)])));
        assert!(state.readiness().is_ok());
        let mut old = report(&[(2, true), (3, true)]);
        old.core.catching_up = true;
        state.take(&Told::Report(&old));
        assert!(state.health().is_ok() && state.readiness().unwrap_err().contains("catches up"));
        state.take(&Told::Report(&report(&[(2, true), (3, true)])));
        let document = state.document();
        assert_eq!((document.phase.as_str(), document.ready, document.members), ("running", true, 5));
        assert_eq!(document.leaders.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
        assert!(!document.leaders.get(&4).unwrap().up);
        let period = Duration::from_millis(20);
        let state = State::new(Facts { report_period: period, ..facts() });
        state.take(&Told::Listening("127.0.0.1:7400".parse().unwrap()));
        state.take(&Told::Report(&report(&[(2, true), (3, true)])));
        std::thread::sleep(period * 6);
        assert!(state.health().unwrap_err().contains("has not reported"));
        assert!(state.readiness().is_err());
        state.take(&Told::Stopping);
        assert!(state.health().is_ok(), "a stop takes its time");
        assert!(state.readiness().unwrap_err().contains("stopping"));
    }
}
