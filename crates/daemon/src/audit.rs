//! The audit: one JSON line for each security decision, in a file of the leader's or to syslog.
//!
//! A line is written before the leader goes on, and never holds it up for longer than a write takes: what cannot be
//! written is counted, said once in the log, and seen as a gap in `seq`. What any stranger can cause has a budget, so that
//! nobody fills a disk, or pushes an older line out, by failing to log in.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfort::leader::Told;
use ringfort::protocol::fault::{Culprit, Fault};
use ringfort::protocol::leader::Event;
use ringfort::protocol::motion::Count;
use serde::Serialize;
use tracing::warn;

use crate::config::Config;
use crate::words::{cause_word, culprit_kind, denial_word, motion_word, order_session, order_words};

/// Facility `authpriv`, severity `notice`, as RFC 3164 adds them up.
const SYSLOG_PRIORITY: u8 = 10 * 8 + 5;
/// Where syslog daemons and the journal listen.
const SYSLOG_SOCKETS: [&str; 2] = ["/dev/log", "/var/run/syslog"];

/// A security decision.
#[derive(Debug, Serialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are the documentation's, in docs/operators.md")]
pub enum Decision {
    Started {
        version: &'static str,
        sandbox: String,
    },
    Listening {
        address: String,
    },
    LoginAccepted {
        user: String,
        stay: u64,
    },
    LoginRefused {
        user: String,
        reason: &'static str,
    },
    Admitted {
        user: String,
        stay: u64,
    },
    Removed {
        user: String,
        cause: &'static str,
    },
    View {
        epoch: u64,
        view: String,
        members: usize,
    },
    Session {
        session: u64,
        open: bool,
    },
    CaughtUp,
    /// A leader asked for more than its share of this one's work.
    CutOff {
        peer: u8,
        for_ms: u64,
    },
    MembersAsked {
        motion: &'static str,
        user: String,
    },
    MembersDecided {
        motion: &'static str,
        user: String,
        passed: bool,
        yes: usize,
        no: usize,
        of: usize,
    },
    Convicted {
        user: String,
        stay: u64,
    },
    Blamed {
        who: String,
        kind: &'static str,
        fault: &'static str,
        deviation: bool,
    },
    Order {
        order: &'static str,
        user: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<u64>,
        done: bool,
        why_not: Option<String>,
    },
    OrderUnreadable {
        why: String,
    },
    LeaderLink {
        leader: u8,
        up: bool,
    },
    LeaderCutOff {
        leader: u8,
        fault: &'static str,
        seconds: u64,
    },
    RefusalsNotWritten {
        count: u64,
    },
    Stopping,
}

impl Decision {
    /// The decision behind something that was told, if it is one.
    pub fn of(told: &Told<'_>) -> Option<Decision> {
        Some(match told {
            Told::Listening(address) => Decision::Listening { address: address.to_string() },
            Told::Event(event) => Decision::of_event(event),
            Told::PeerUp(leader) => Decision::LeaderLink { leader: leader.number(), up: true },
            Told::PeerDown(leader) => Decision::LeaderLink { leader: leader.number(), up: false },
            Told::CutOff(leader, fault, length) => {
                Decision::LeaderCutOff { leader: leader.number(), fault: fault.word(), seconds: length.as_secs() }
            }
            Told::Order(order, outcome) => {
                let (word, user) = order_words(order);
                let why_not = outcome.as_ref().err().map(ToString::to_string);
                let user = user.map(ToString::to_string);
                Decision::Order { order: word, user, session: order_session(order), done: outcome.is_ok(), why_not }
            }
            Told::OrderUnreadable(error) => Decision::OrderUnreadable { why: error.to_string() },
            Told::Stopping => Decision::Stopping,
            _ => return None,
        })
    }

    fn of_event(event: &Event) -> Decision {
        match event {
            Event::Authenticated(id) => Decision::LoginAccepted { user: id.user.to_string(), stay: id.incarnation.0 },
            Event::Denied(user, reason) => {
                Decision::LoginRefused { user: user.to_string(), reason: denial_word(*reason) }
            }
            Event::Admitted(id) => Decision::Admitted { user: id.user.to_string(), stay: id.incarnation.0 },
            Event::Ended(user, cause) => Decision::Removed { user: user.to_string(), cause: cause_word(*cause) },
            Event::Published(view, members) => {
                Decision::View { epoch: view.epoch.0, view: view.digest.to_string(), members: *members }
            }
            Event::Session(now) => Decision::Session { session: now.number.get(), open: now.open },
            Event::CaughtUp => Decision::CaughtUp,
            Event::CutOff(peer, length) => {
                let for_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
                Decision::CutOff { peer: peer.number(), for_ms }
            }
            Event::MotionOpened(motion) => {
                Decision::MembersAsked { motion: motion_word(motion), user: motion.user.to_string() }
            }
            Event::MotionDecided(motion, passed, Count { yes, no, of }) => {
                let (word, user) = (motion_word(motion), motion.user.to_string());
                Decision::MembersDecided { motion: word, user, passed: *passed, yes: *yes, no: *no, of: *of }
            }
            Event::Convicted(id) => Decision::Convicted { user: id.user.to_string(), stay: id.incarnation.0 },
            Event::Blamed(culprit, fault) => Decision::blamed(culprit, *fault),
        }
    }

    /// The decision that somebody did wrong.
    pub fn blamed(culprit: &Culprit, fault: Fault) -> Decision {
        Decision::Blamed {
            who: culprit.to_string(),
            kind: culprit_kind(culprit),
            fault: fault.word(),
            deviation: fault.is_deviation(),
        }
    }

    /// Whether anybody who can reach the leader can cause any number of these.
    fn is_cheap(&self) -> bool {
        matches!(self, Decision::LoginRefused { .. } | Decision::Blamed { .. } | Decision::LoginAccepted { .. })
    }
}

/// A line of the audit.
#[derive(Serialize)]
struct Line<'a> {
    at: String,
    leader: u8,
    group: &'a str,
    /// Counts from 1 in each run of the leader: what is missing was not written.
    seq: u64,
    #[serde(flatten)]
    decision: &'a Decision,
}

/// Writes the audit.
#[derive(Debug)]
pub struct Audit {
    leader: u8,
    group: String,
    seq: u64,
    sink: Sink,
    budget: Budget,
    lost: u64,
}

#[derive(Debug)]
enum Sink {
    None,
    Syslog(UnixDatagram),
    File(AuditFile),
}

impl Audit {
    /// Opens what the configuration says, for the leader with this number of the group with this short name.
    ///
    /// # Errors
    /// A file that cannot be written, no syslog.
    pub fn open(config: &Config, folder: &Path, leader: u8, group: &str) -> Result<Self, String> {
        let sink = match (config.audit_file(folder), config.audit.to.as_str()) {
            (Some(path), _) => {
                let failed = |error| format!("{}: the audit cannot be written ({error})", path.display());
                let file = AuditFile::open(path.clone(), config.audit.file_bytes_max, config.audit.files_max);
                Sink::File(file.map_err(failed)?)
            }
            (None, "syslog") => Sink::Syslog(syslog().map_err(|error| {
                format!("[audit] to = \"syslog\": no syslog socket takes lines ({error}): start a syslog daemon")
            })?),
            (None, _) => Sink::None,
        };
        let budget = Budget::new(config.audit.refusals_per_minute_max);
        Ok(Audit { leader, group: group.to_owned(), seq: 0, sink, budget, lost: 0 })
    }

    /// Writes a decision, or counts it if its kind has used up its budget.
    pub fn write(&mut self, decision: &Decision) {
        if let Some(count) = self.budget.refused_before(Instant::now()) {
            self.put(&Decision::RefusalsNotWritten { count });
        }
        if !decision.is_cheap() || self.budget.take() {
            self.put(decision);
        }
    }

    /// Opens the file again under its name: after something else has moved it away.
    pub fn reopen(&mut self) {
        if let Sink::File(file) = &mut self.sink
            && let Err(error) = file.reopen()
        {
            warn!(%error, "the audit's file cannot be opened again: it goes on in the old one");
        }
    }

    /// Lines that could not be written.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The file's length, bytes.
    pub fn bytes(&self) -> u64 {
        match &self.sink {
            Sink::File(file) => file.bytes,
            Sink::Syslog(_) | Sink::None => 0,
        }
    }

    fn put(&mut self, decision: &Decision) {
        self.seq += 1;
        let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let line = Line { at, leader: self.leader, group: &self.group, seq: self.seq, decision };
        let written = serde_json::to_string(&line).map_err(io::Error::from).and_then(|line| match &mut self.sink {
            Sink::None => Ok(()),
            Sink::Syslog(socket) => {
                let name = format!("<{SYSLOG_PRIORITY}>ringfort-leader[{}]: {line}", std::process::id());
                socket.send(name.as_bytes()).map(|_| ())
            }
            Sink::File(file) => file.append(&format!("{line}\n")),
        });
        if let Err(error) = written {
            if self.lost == 0 {
                warn!(%error, "the audit loses lines");
            }
            self.lost += 1;
        }
    }
}

fn syslog() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    let mut outcome = Err(io::ErrorKind::NotFound.into());
    for path in SYSLOG_SOCKETS {
        outcome = socket.connect(path);
        if outcome.is_ok() {
            break;
        }
    }
    outcome.map(|()| socket)
}

/// A file that is renamed when it is long.
#[derive(Debug)]
struct AuditFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    files_max: u64,
}

impl AuditFile {
    fn open(path: PathBuf, bytes_max: u64, files_max: u64) -> io::Result<Self> {
        let (file, bytes) = open_private(&path)?;
        Ok(AuditFile { path, file, bytes, bytes_max, files_max })
    }

    fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.bytes) = open_private(&self.path)?;
        Ok(())
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64;
        if self.bytes_max > 0 && self.bytes > 0 && self.bytes + length > self.bytes_max {
            self.rotate()?;
        }
        self.file.write_all(line.as_bytes())?;
        self.bytes += length;
        Ok(())
    }

    /// FILE becomes FILE.1, FILE.1 becomes FILE.2, and the last goes.
    fn rotate(&mut self) -> io::Result<()> {
        let older = |number: u64| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.files_max).rev() {
            match fs::rename(older(number), older(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, older(1))?;
        self.reopen()
    }
}

/// Appends, for its owner alone.
fn open_private(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("is not a file"));
    }
    if about.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("others can get at it: run `chmod 600` on it"));
    }
    Ok((file, about.len()))
}

/// So many lines a minute.
#[derive(Debug)]
struct Budget {
    per_minute: u64,
    since: Instant,
    used: u64,
}

impl Budget {
    fn new(per_minute: u64) -> Self {
        Budget { per_minute, since: Instant::now(), used: 0 }
    }

    /// Begins a new minute when it is time; how many were refused in the one before.
    fn refused_before(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.since) < Duration::from_secs(60) {
            return None;
        }
        let refused = self.used.saturating_sub(self.per_minute);
        (self.since, self.used) = (now, 0);
        (refused > 0).then_some(refused)
    }

    fn take(&mut self) -> bool {
        self.used += 1;
        self.used <= self.per_minute
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use ringfort::protocol::LeaderId;

    use super::*;

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn audit(folder: &Path, settings: &str) -> Audit {
        let config = Config::parse(&format!("[audit]\n{settings}")).unwrap();
        Audit::open(&config, folder, 2, "abcd").unwrap()
    }

    fn refusal() -> Decision {
        Decision::LoginRefused { user: "ana".to_owned(), reason: "throttled" }
    }

    #[test]
    fn a_line_says_when_who_and_what() {
        let folder = tempfile::tempdir().unwrap();
        let mut audit = audit(folder.path(), "");
        audit.write(&refusal());
        audit.write(&Decision::blamed(&Culprit::Leader(LeaderId::new(3).unwrap()), Fault::Equivocated));
        let path = folder.path().join("audit.jsonl");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let lines = lines(&path);
        assert_eq!((&lines[0]["seq"], &lines[0]["leader"], &lines[0]["group"]), (&1.into(), &2.into(), &"abcd".into()));
        assert_eq!((&lines[0]["decision"], &lines[0]["reason"]), (&"login-refused".into(), &"throttled".into()));
        assert!(lines[0]["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{}", lines[0]);
        assert_eq!((&lines[1]["who"], &lines[1]["deviation"]), (&"leader 3".into(), &true.into()));
    }

    #[test]
    fn strangers_cannot_fill_it_and_do_not_displace_what_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut audit = audit(folder.path(), "refusals_per_minute_max = 5");
        (0..1000).for_each(|_| audit.write(&refusal()));
        audit.write(&Decision::Stopping);
        assert_eq!(lines(&folder.path().join("audit.jsonl")).len(), 6);
        audit.budget.since -= Duration::from_secs(61);
        audit.write(&Decision::Stopping);
        let lines = lines(&folder.path().join("audit.jsonl"));
        assert_eq!((&lines[6]["decision"], &lines[6]["count"]), (&"refusals-not-written".into(), &995.into()));
    }

    #[test]
    fn it_is_bounded_and_follows_a_file_that_was_moved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut audit = audit(folder.path(), "file_bytes_max = 400\nfiles_max = 2");
        (0..40).for_each(|_| audit.write(&Decision::Stopping));
        let mut names: Vec<String> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]);
        assert!(fs::metadata(&path).unwrap().len() <= 400);
        fs::rename(&path, folder.path().join("moved")).unwrap();
        audit.reopen();
        audit.write(&Decision::Stopping);
        assert_eq!(lines(&path).len(), 1);
        assert_eq!((audit.lost(), audit.bytes()), (0, fs::metadata(&path).unwrap().len()));
    }

    #[test]
    fn an_audit_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Audit::open(&Config::default(), folder.path(), 1, "g").unwrap_err().contains("chmod 600"));
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let mut audit = audit(Path::new("/tmp"), "to = \"none\"");
        let (one, other) = UnixDatagram::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        audit.sink = Sink::Syslog(one);
        audit.write(&refusal());
        let mut line = [0; 512];
        let length = other.recv(&mut line).unwrap();
        let line = std::str::from_utf8(&line[..length]).unwrap();
        assert!(line.starts_with("<85>ringfort-leader[") && line.ends_with("\"reason\":\"throttled\"}"), "{line}");
        drop(other);
        audit.write(&refusal());
        assert_eq!(audit.lost(), 1);
    }
}
