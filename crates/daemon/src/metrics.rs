//! What Prometheus reads. Labels are stable words and leaders' numbers: no names of users, no addresses, and so their number
//! is bounded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use ringfort::protocol::fault::{Culprit, Fault};
use ringfort::protocol::leader::Event;
use ringfort_node::leader::{Report, Told};

use crate::state::Facts;
use crate::words::{cause_word, culprit_kind, denial_word, order_words};

/// What [`Metrics::text`] is, for the header of an answer.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Number = Gauge<f64, AtomicU64>;
type Labels<const N: usize> = [(&'static str, String); N];

type ReadNumber = fn(&Report) -> f64;
type ReadCount = fn(&Report) -> u64;

/// Figures that go up and down: name, help, and where it is in a report.
type Figure = (&'static str, &'static str, ReadNumber);

#[allow(clippy::cast_precision_loss, reason = "no figure here is near 2^52")]
const FIGURES: &[Figure] = &[
    ("uptime_seconds", "Time since the leader listens", |r| r.uptime.as_secs_f64()),
    ("epoch", "Epoch of the view published last", |r| r.core.view.epoch.0 as f64),
    ("view_published", "1 if the published view holds all that is accepted", |r| f64::from(u8::from(r.core.published))),
    ("session", "Number of the session", |r| r.core.session.number.get() as f64),
    ("session_open", "1 if the session is running", |r| f64::from(u8::from(r.core.session.open))),
    ("members", "Members accepted", |r| r.core.members as f64),
    ("members_quiet", "Members not heard for half the time after which they are removed", |r| {
        r.core.members_quiet as f64
    }),
    ("member_heartbeat_age_seconds", "Time since the last heartbeat of the member that is quiet longest", |r| {
        r.core.member_quiet_longest.as_secs_f64()
    }),
    ("users_registered", "Users registered at this leader", |r| r.core.registered as f64),
    ("links_members", "Links whose other end has logged in", |r| r.core.links_member as f64),
    ("links_waiting", "Links whose other end has not logged in", |r| r.core.links_waiting as f64),
    ("queue_bytes", "What waits to be sent to all members", |r| r.queued_bytes as f64),
    ("queue_bytes_largest", "What waits to be sent to the slowest member", |r| r.queued_bytes_largest as f64),
    ("inputs_waiting", "Frames that wait for the leader's loop", |r| r.inputs_waiting as f64),
    ("inputs_waiting_bytes", "What waits for the leader's loop", |r| r.inputs_bytes as f64),
    ("history_frames", "Messages kept for repair", |r| r.core.history_frames as f64),
    ("history_bytes", "What messages kept for repair take", |r| r.core.history_bytes as f64),
    ("store_bytes", "What the leader's store takes on disk", |r| r.store_bytes as f64),
    ("order_entries", "Entries in the log, if the group has an order", |r| r.order.map_or(0.0, |o| o.entries as f64)),
    ("order_bytes", "What the order holds in memory", |r| r.order.map_or(0.0, |o| o.bytes as f64)),
];

/// Figures that only go up: name (a `_total` is added), help, and where it is in a report.
type Total = (&'static str, &'static str, ReadCount);

const TOTALS: &[Total] = &[
    ("member_frames_received", "Frames received from members", |r| r.traffic.member_frames_in),
    ("member_frames_sent", "Frames queued for members", |r| r.traffic.member_frames_out),
    ("member_frames_dropped", "Frames that a member was too slow for", |r| r.traffic.member_frames_dropped),
    ("leader_frames_received", "Frames received from leaders", |r| r.traffic.peer_frames_in),
    ("leader_frames_sent", "Frames queued for leaders", |r| r.traffic.peer_frames_out),
    ("store_commits", "Durable commits of the store", |r| r.traffic.commits),
    ("order_syncs", "Times that the order made something durable", |r| r.order.map_or(0, |o| o.syncs)),
    ("order_frames_received", "Frames of the order from leaders", |r| r.order.map_or(0, |o| o.frames_in)),
    ("order_frames_dropped", "Frames of the order that a leader was too slow for", |r| {
        r.order.map_or(0, |o| o.frames_dropped)
    }),
    ("order_faults", "What leaders did wrong in the order", |r| r.order.map_or(0, |o| o.faults)),
    ("store_commit_microseconds", "Time that the commits took together", |r| {
        u64::try_from(r.traffic.commit_time.as_micros()).unwrap_or(u64::MAX)
    }),
];

/// Counters and figures of one leader.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    figures: Vec<(Number, ReadNumber)>,
    totals: Vec<(Counter, ReadCount)>,
    logins: Counter,
    refused: Family<Labels<1>, Counter>,
    joins: Counter,
    ended: Family<Labels<1>, Counter>,
    views: Counter,
    shares: Counter,
    blamed: Family<Labels<2>, Counter>,
    blamed_leaders: Family<Labels<2>, Counter>,
    cut_off: Family<Labels<1>, Counter>,
    orders: Family<Labels<2>, Counter>,
    peer_up: Family<Labels<1>, Number>,
    peer_heard: Family<Labels<1>, Number>,
    peer_queue: Family<Labels<1>, Number>,
    peer_busy: Family<Labels<1>, Number>,
    audit_lost: Counter,
    audit_bytes: Number,
    hooks: Family<Labels<1>, Counter>,
}

impl Metrics {
    /// All at zero.
    pub fn new(facts: &Facts) -> Self {
        let labels = [("leader".into(), facts.leader.to_string().into())];
        let mut registry = Registry::with_prefix_and_labels("ringfort", labels.into_iter());
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let info = Info::new(vec![
            ("version", version),
            ("back_ends", ringfort::BACK_ENDS.to_owned()),
            ("sandbox", facts.sandbox.clone()),
        ]);
        registry.register("build", "The running software", info);
        let started = Number::default();
        started.set(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()));
        registry.register("start_time_seconds", "When the leader started, since 1970", started);
        let figures = FIGURES.iter().map(|(name, help, read)| {
            let figure = Number::default();
            registry.register(*name, *help, figure.clone());
            (figure, *read)
        });
        let figures = figures.collect();
        let totals = TOTALS.iter().map(|(name, help, read)| {
            let total = Counter::default();
            registry.register(*name, *help, total.clone());
            (total, *read)
        });
        let totals = totals.collect();
        let metrics = Metrics {
            figures,
            totals,
            logins: Counter::default(),
            refused: Family::default(),
            joins: Counter::default(),
            ended: Family::default(),
            views: Counter::default(),
            shares: Counter::default(),
            blamed: Family::default(),
            blamed_leaders: Family::default(),
            cut_off: Family::default(),
            orders: Family::default(),
            peer_up: Family::default(),
            peer_heard: Family::default(),
            peer_queue: Family::default(),
            peer_busy: Family::default(),
            audit_lost: Counter::default(),
            audit_bytes: Number::default(),
            hooks: Family::default(),
            registry,
        };
        metrics.registered(facts)
    }

    fn registered(mut self, facts: &Facts) -> Self {
        let r = &mut self.registry;
        r.register("logins", "Logins accepted", self.logins.clone());
        r.register("logins_refused", "Logins refused, by reason", self.refused.clone());
        r.register("joins", "Members admitted", self.joins.clone());
        r.register("stays_ended", "Stays that ended, by cause", self.ended.clone());
        r.register("views", "Views published", self.views.clone());
        r.register("shares", "Shares of a view's key computed", self.shares.clone());
        r.register("blamed", "Offences by kind of peer", self.blamed.clone());
        r.register("blamed_leader", "Offences of other leaders", self.blamed_leaders.clone());
        let help = "Times that the other leader was cut off for a while";
        r.register("leader_cut_off", help, self.cut_off.clone());
        r.register("orders", "Orders of the operator, by outcome", self.orders.clone());
        r.register("leader_link_up", "1 if there is a link to the other leader", self.peer_up.clone());
        let help = "Time since the other leader's last frame; absent if there was none";
        r.register("leader_heartbeat_age_seconds", help, self.peer_heard.clone());
        r.register("leader_queue_bytes", "What waits to be sent to the other leader", self.peer_queue.clone());
        r.register("leader_work_seconds", "Time spent on what the other leader sent", self.peer_busy.clone());
        r.register("audit_lines_lost", "Lines of the audit that could not be written", self.audit_lost.clone());
        r.register("audit_bytes", "Length of the audit's file", self.audit_bytes.clone());
        r.register("hooks", "Runs of the operator's program, by outcome", self.hooks.clone());
        // What has not happened yet is a zero and not absent: an alert sees the first time.
        for leader in &facts.leaders_other {
            self.peer_up.get_or_create(&[("peer", leader.to_string())]).set(0.0);
            drop(self.cut_off.get_or_create(&[("peer", leader.to_string())]));
            for fault in Fault::ALL {
                let labels = [("peer", leader.to_string()), ("fault", fault.word().to_owned())];
                drop(self.blamed_leaders.get_or_create(&labels));
            }
        }
        for kind in ["leader", "member", "outsider"] {
            for fault in Fault::ALL {
                drop(self.blamed.get_or_create(&labels([("kind", kind), ("fault", fault.word())])));
            }
        }
        let refusals =
            ["not-authentic", "expelled", "incarnation", "throttled", "full", "no-session", "closed", "outvoted"];
        for reason in refusals {
            drop(self.refused.get_or_create(&[("reason", reason.to_owned())]));
        }
        for cause in ["left", "lost", "expelled", "expired", "session-over"] {
            drop(self.ended.get_or_create(&[("cause", cause.to_owned())]));
        }
        self
    }

    /// Takes in what the leader told.
    pub fn take(&self, told: &Told<'_>) {
        match told {
            Told::Event(event) => self.take_event(event),
            Told::Order(order, outcome) => {
                let done = if outcome.is_ok() { "done" } else { "rejected" };
                self.orders.get_or_create(&labels([("order", order_words(order).0), ("outcome", done)])).inc();
            }
            Told::OrderUnreadable(_) => {
                self.orders.get_or_create(&labels([("order", "unreadable"), ("outcome", "rejected")])).inc();
            }
            Told::Report(report) => self.take_report(report),
            _ => {}
        }
    }

    fn take_event(&self, event: &Event) {
        match event {
            Event::Authenticated(_) => {
                self.logins.inc();
            }
            Event::Denied(_, reason) => {
                self.refused.get_or_create(&labels([("reason", denial_word(*reason))])).inc();
            }
            Event::Admitted(_) => {
                self.joins.inc();
            }
            Event::Ended(_, cause) => {
                self.ended.get_or_create(&labels([("cause", cause_word(*cause))])).inc();
            }
            Event::Published(..) => {
                self.views.inc();
                // One share and its proof for each view, whatever the number of members.
                self.shares.inc();
            }
            // Told by the report, for as long as it lasts.
            Event::Session(_) | Event::CaughtUp => {}
            Event::CutOff(peer, _) => {
                self.cut_off.get_or_create(&[("peer", peer.number().to_string())]).inc();
            }
            // What comes of them are joins, refusals and ends.
            Event::MotionOpened(_) | Event::MotionDecided(..) | Event::Convicted(_) => {}
            Event::Blamed(culprit, fault) => {
                let kind = culprit_kind(culprit);
                self.blamed.get_or_create(&labels([("kind", kind), ("fault", fault.word())])).inc();
                if let Culprit::Leader(leader) = culprit {
                    let labels = [("peer", leader.number().to_string()), ("fault", fault.word().to_owned())];
                    self.blamed_leaders.get_or_create(&labels).inc();
                }
            }
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "no queue is near 2^52 bytes")]
    fn take_report(&self, report: &Report) {
        for (figure, read) in &self.figures {
            figure.set(read(report));
        }
        for (total, read) in &self.totals {
            total.inner().store(read(report), Ordering::Relaxed);
        }
        for (leader, peer) in &report.peers {
            let labels = [("peer", leader.number().to_string())];
            self.peer_up.get_or_create(&labels).set(f64::from(u8::from(peer.up)));
            self.peer_heard.get_or_create(&labels).set(peer.heard.as_secs_f64());
            self.peer_queue.get_or_create(&labels).set(peer.queued_bytes as f64);
            self.peer_busy.get_or_create(&labels).set(peer.busy.as_secs_f64());
        }
    }

    /// The audit and the hooks as they stand.
    #[allow(clippy::cast_precision_loss, reason = "no file is near 2^52 bytes")]
    pub fn take_counts(&self, audit_lines_lost: u64, audit_bytes: u64, (run, dropped): (u64, u64)) {
        self.audit_lost.inner().store(audit_lines_lost, Ordering::Relaxed);
        self.audit_bytes.set(audit_bytes as f64);
        for (outcome, count) in [("handed-over", run), ("dropped", dropped)] {
            self.hooks.get_or_create(&labels([("outcome", outcome)])).inner().store(count, Ordering::Relaxed);
        }
    }

    /// All of it as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn labels<const N: usize>(labels: [(&'static str, &str); N]) -> Labels<N> {
    labels.map(|(key, value)| (key, value.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use ringfort::protocol::login::Denial;
    use ringfort::protocol::{LeaderId, UserName};

    use super::*;
    use crate::fixture::{facts, report};

    /// A leader to which everything has happened once.
    fn full() -> Metrics {
        let metrics = Metrics::new(&facts());
        let user: UserName = "mallory".parse().unwrap();
        let leader = LeaderId::new(2).unwrap();
        metrics.take(&Told::Event(&Event::Denied(user.clone(), Denial::Throttled)));
        metrics.take(&Told::Event(&Event::Blamed(Culprit::Leader(leader), Fault::BadShare)));
        metrics.take(&Told::Event(&Event::Blamed(Culprit::Outsider(Some(user)), Fault::LoginFailed)));
        metrics.take(&Told::Order(&ringfort_node::folder::OperatorRequest::Refresh, Ok(())));
        metrics.take(&Told::Report(&report(&[(2, true)])));
        metrics.take_counts(0, 100, (1, 0));
        metrics
    }

    #[test]
    fn the_text_tells_what_happened_and_no_names() {
        let text = full().text();
        for line in [
            "ringfort_members{leader=\"1\"} 5.0",
            "ringfort_leader_link_up{leader=\"1\",peer=\"2\"} 1.0",
            "ringfort_leader_link_up{leader=\"1\",peer=\"4\"} 0.0",
            "ringfort_leader_heartbeat_age_seconds{leader=\"1\",peer=\"2\"} 1.5",
            "ringfort_logins_refused_total{leader=\"1\",reason=\"throttled\"} 1",
            "ringfort_logins_refused_total{leader=\"1\",reason=\"full\"} 0",
            "ringfort_blamed_leader_total{leader=\"1\",peer=\"2\",fault=\"bad-share\"} 1",
            "ringfort_blamed_total{leader=\"1\",kind=\"outsider\",fault=\"login-failed\"} 1",
            "ringfort_orders_total{leader=\"1\",order=\"refresh\",outcome=\"done\"} 1",
            "ringfort_store_commits_total{leader=\"1\"} 8",
            "ringfort_hooks_total{leader=\"1\",outcome=\"handed-over\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert!(!text.contains("mallory"), "{text}");
    }

    #[test]
    fn what_has_not_happened_yet_is_a_zero_so_that_the_first_time_is_seen() {
        let text = Metrics::new(&facts()).text();
        for line in [
            "ringfort_blamed_leader_total{leader=\"1\",peer=\"4\",fault=\"equivocated\"} 0",
            "ringfort_blamed_total{leader=\"1\",kind=\"member\",fault=\"bad-data\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(series("ringfort_blamed_leader_total{"), Fault::ALL.len() * facts().leaders_other.len());
        let words: BTreeSet<&str> = Fault::ALL.iter().map(|fault| fault.word()).collect();
        assert_eq!(words.len(), Fault::ALL.len());
    }

    #[test]
    fn each_metric_has_a_name_of_its_own() {
        let text = full().text();
        let mut names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        names.sort_unstable();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), distinct.len(), "{names:?}");
    }

    #[test]
    fn the_alerts_tell_what_they_should() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/prometheus");
        let words = ["test", "rules", "ringfort.rules.test.yml"];
        let out = match std::process::Command::new("promtool").args(words).current_dir(&folder).output() {
            Ok(out) => out,
            Err(error) => {
                let is_required = std::env::var("RINGFORT_PROMTOOL").is_ok_and(|value| value == "required");
                assert!(!is_required, "RINGFORT_PROMTOOL=required, and promtool does not run: {error}");
                return eprintln!("skipped: there is no promtool here ({error}); Debian's package prometheus has it");
            }
        };
        let told = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(out.status.success() && told.contains("SUCCESS"), "{told}");
    }

    /// The names in a text that begin as ours do.
    fn names(text: &str) -> BTreeSet<String> {
        let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        text.split(|c| !part(c)).filter(|word| word.starts_with("ringfort_")).map(str::to_owned).collect()
    }

    #[test]
    fn dashboard_and_alerts_name_only_what_there_is() {
        let ours = names(&full().text());
        for (file, least) in [("grafana/ringfort.json", 20), ("prometheus/ringfort.rules.yml", 6)] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib").join(file);
            let text = std::fs::read_to_string(path).unwrap();
            let used = names(&text);
            let unknown: Vec<_> = used.difference(&ours).collect();
            assert!(unknown.is_empty(), "{file} names {unknown:?}");
            assert!(used.len() >= least, "{file} names {} metrics only", used.len());
            if file.ends_with(".json") {
                let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
                let panels = dashboard["panels"].as_array().unwrap();
                let asks = |panel: &&serde_json::Value| panel["targets"][0]["expr"].as_str().is_some();
                assert!(panels.iter().filter(asks).count() >= 12);
            }
        }
    }

    #[test]
    fn the_handbook_names_every_metric() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operators.md");
        let book = names(&std::fs::read_to_string(path).unwrap());
        let text = full().text();
        let described = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next());
        for name in described {
            let known = [name.to_owned(), format!("{name}_total"), format!("{name}_info")];
            assert!(known.iter().any(|name| book.contains(name)), "the handbook does not name {name}");
        }
    }
}
