//! What came of it: a table for people, one JSON object for programs.

use std::collections::BTreeMap;
use std::fmt;

use ringfort_node::leader::LeaderOptions;
use ringfort_protocol::Policy;
use serde::Serialize;

use super::measure::{Cpu, Times};

/// Memory of a connection that has not logged in, beside the bytes it may have sent: TLS, buffers, tasks.
const CONNECTION_BYTES: u64 = 96 * 1024;
/// Honest members in the command's own process.
const OWN_MEMBERS: u64 = 4;
/// What an allocator may keep beside what is in use.
const SLACK_BYTES: u64 = 24 * 1024 * 1024;

/// What a leader may use above what it uses at rest, and out of which limits it follows.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bound {
    /// Connections that have not logged in, all addresses, with as many that make way for others.
    pub unauthenticated_max: u64,
    /// Bytes each of them may have sent, with what a connection costs beside them.
    pub unauthenticated_bytes_each: u64,
    /// Members that may attack at once on this stage.
    pub members: u64,
    /// All queues of a member's link.
    pub queues_bytes_each: u64,
    /// The other leaders.
    pub leaders: u64,
    /// What may wait to be sent to each of them.
    pub leader_queue_bytes_each: u64,
    /// What may wait for the leader's core, of everybody together.
    pub inputs_bytes: u64,
    /// Frames that links are reading.
    pub reading_bytes: u64,
    /// Messages kept for repair.
    pub history_bytes: u64,
    /// What an allocator may keep.
    pub slack_bytes: u64,
    /// What the process of this command may use above its rest: four members.
    pub own_kib: u64,
    /// The sum.
    pub total_kib: u64,
}

impl Bound {
    /// Out of the limits in force.
    pub fn of(options: &LeaderOptions, policy: &Policy, members: usize, leaders: usize) -> Self {
        let LeaderOptions { accept, link, inputs, .. } = options;
        let unauthenticated_max = 2 * accept.unauthenticated_max as u64;
        let unauthenticated_bytes_each = accept.unauthenticated_bytes_max as u64 + CONNECTION_BYTES;
        let queues_bytes_each =
            (link.control_queue_bytes_max + link.data_queue_bytes_max + link.live_queue_bytes_max) as u64;
        let leader_queue_bytes_each = link.control_queue_bytes_max as u64;
        let inputs_bytes = (leaders * inputs.leader_bytes_max
            + inputs.members_bytes_max.min(members * inputs.member_bytes_max)
            + inputs.strangers_bytes_max) as u64;
        let reading_bytes = (2 * (members + leaders) * link.frame_authenticated_bytes_max) as u64;
        let leaders = leaders as u64;
        // To and from every leader.
        let each =
            queues_bytes_each + options.inputs.leader_bytes_max as u64 + 2 * link.frame_authenticated_bytes_max as u64;
        let member = (leaders + 1) * each;
        let history_bytes = u64::from(policy.history_bytes_max);
        let members = members as u64;
        let total = unauthenticated_max * unauthenticated_bytes_each
            + members * queues_bytes_each
            + leaders * leader_queue_bytes_each
            + inputs_bytes
            + reading_bytes
            + history_bytes
            + SLACK_BYTES;
        Bound {
            unauthenticated_max,
            unauthenticated_bytes_each,
            members,
            queues_bytes_each,
            leaders,
            leader_queue_bytes_each,
            inputs_bytes,
            reading_bytes,
            history_bytes,
            slack_bytes: SLACK_BYTES,
            own_kib: (OWN_MEMBERS * member + SLACK_BYTES) / 1024,
            total_kib: total / 1024,
        }
    }
}

/// One kind of load.
#[derive(Clone, Debug, Serialize)]
pub struct CaseReport {
    /// Its name.
    pub kind: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Attempts made.
    pub attempts: u64,
    /// Attempts that a leader did work for.
    pub served: u64,
    /// Attempts that a leader refused or ended.
    pub refused: u64,
    /// The most that one leader used before, KiB.
    pub rss_before_kib: u64,
    /// The most that one leader used meanwhile, KiB.
    pub rss_peak_kib: u64,
    /// The most that one leader used when it was over, KiB.
    pub rss_after_kib: u64,
    /// What this process used before, with the members in it, KiB.
    pub own_before_kib: u64,
    /// The most that it used meanwhile, KiB.
    pub own_peak_kib: u64,
    /// How long honest joins took meanwhile.
    pub joins: Times,
    /// Joins that failed.
    pub joins_failed: u64,
    /// How long messages between honest members were under way.
    pub messages: Times,
    /// The same before the attack, while somebody came and went as meanwhile; not measured for every kind.
    pub messages_calm: Times,
    /// Who used how much of the processors meanwhile.
    pub cpu: Cpu,
    /// The same before the attack; not measured for every kind.
    pub cpu_calm: Cpu,
    /// Messages a second to those that do read, before and after the attack (the lower of both) and meanwhile.
    pub rates: Option<(f64, f64)>,
    /// By which words others named the attacker, and how often.
    pub named: BTreeMap<String, u64>,
    /// Messages that did not arrive, came twice or out of order, or were given up.
    pub messages_wrong: u64,
    /// What went wrong: somebody honest was harmed, or the attacker not named, or memory went beyond its bound.
    pub complaints: Vec<String>,
    /// What took longer than it may.
    pub delays: Vec<String>,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What a leader may use above its rest.
    pub bound: Bound,
    /// How long each kind lasted at least.
    pub seconds: u64,
    /// The kinds.
    pub cases: Vec<CaseReport>,
    /// Whether all held.
    pub held: bool,
}

impl Report {
    /// Judges the cases.
    pub fn of(bound: Bound, seconds: u64, mut cases: Vec<CaseReport>) -> Self {
        // The rest is that of the first case: a leak from case to case counts.
        let rest = cases.first().map_or(0, |case| case.rss_before_kib);
        let own_rest = cases.first().map_or(0, |case| case.own_before_kib);
        for case in &mut cases {
            let above = case.rss_peak_kib.saturating_sub(rest);
            if above > bound.total_kib {
                case.complaints.push(format!("{above} KiB above rest, the bound is {} KiB", bound.total_kib));
            }
            let above = case.own_peak_kib.saturating_sub(own_rest);
            if above > bound.own_kib {
                let what = "the members' process used";
                case.complaints.push(format!("{what} {above} KiB above rest, the bound is {} KiB", bound.own_kib));
            }
        }
        let held = !cases.is_empty() && cases.iter().all(|case| case.complaints.is_empty() && case.delays.is_empty());
        Report { bound, seconds, cases, held }
    }
}

impl CaseReport {
    /// What does not fit the table.
    fn extras(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.messages_calm.count > 0 {
            let (calm, used) = (self.messages_calm.p99_ms, self.own_peak_kib / 1024);
            let times = self.messages.p99_ms / calm.max(f64::MIN_POSITIVE);
            writeln!(
                f,
                "    p99 before: {calm:.1} ms, meanwhile {times:.1} times that; the members' process used {used} MiB at most"
            )?;
            let (now, calm) = (self.cpu, self.cpu_calm);
            writeln!(
                f,
                "    of one processor: the hacked leader {:.0} %; honest leaders together {:.0} %, {:.0} % before; the members' \
                 process {:.0} %, {:.0} % before",
                now.hacked, now.honest, calm.honest, now.own, calm.own
            )?;
        }
        if let Some((calm, now)) = self.rates {
            writeln!(f, "    {calm:.0} messages of 12 KiB a second before and after, {now:.0} meanwhile")?;
        }
        if !self.named.is_empty() {
            let words: Vec<_> = self.named.iter().map(|(word, count)| format!("{word} {count}")).collect();
            writeln!(f, "    the attacker is named: {}", words.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |kib: u64| kib as f64 / 1024.0;
        writeln!(
            f,
            "{:<14} {:>9} {:>9} {:>9}  {:>6} {:>6} {:>6}  {:>5} {:>7} {:>7}  {:>6} {:>7} {:>7}",
            "load",
            "attempts",
            "served",
            "refused",
            "before",
            "peak",
            "after",
            "joins",
            "p50",
            "max",
            "msgs",
            "p50",
            "p99"
        )?;
        writeln!(
            f,
            "{:<14} {:>9} {:>9} {:>9}  {:>6} {:>6} {:>6}  {:>5} {:>7} {:>7}  {:>6} {:>7} {:>7}",
            "", "", "", "", "MiB", "MiB", "MiB", "", "ms", "ms", "", "ms", "ms"
        )?;
        for case in &self.cases {
            writeln!(
                f,
                "{:<14} {:>9} {:>9} {:>9}  {:>6.1} {:>6.1} {:>6.1}  {:>5} {:>7.0} {:>7.0}  {:>6} {:>7.1} {:>7.1}",
                case.kind,
                case.attempts,
                case.served,
                case.refused,
                mib(case.rss_before_kib),
                mib(case.rss_peak_kib),
                mib(case.rss_after_kib),
                case.joins.count,
                case.joins.p50_ms,
                case.joins.max_ms,
                case.messages.count,
                case.messages.p50_ms,
                case.messages.p99_ms,
            )?;
            case.extras(f)?;
            case.complaints.iter().try_for_each(|text| writeln!(f, "    NOT HELD: {text}"))?;
            case.delays.iter().try_for_each(|text| writeln!(f, "    TOO SLOW: {text}"))?;
        }
        let bound = &self.bound;
        writeln!(
            f,
            "\nA leader may use {:.1} MiB above its rest: {} connections before login of {} KiB each, {} members' queues of \
             {} MiB each, {} leaders' of {} MiB each, {} MiB that wait for its core, {} MiB being read, {} MiB of messages \
             kept for repair, {} MiB that the allocator may keep.",
            mib(bound.total_kib),
            bound.unauthenticated_max,
            bound.unauthenticated_bytes_each / 1024,
            bound.members,
            bound.queues_bytes_each >> 20,
            bound.leaders,
            bound.leader_queue_bytes_each >> 20,
            bound.inputs_bytes >> 20,
            bound.reading_bytes >> 20,
            bound.history_bytes >> 20,
            bound.slack_bytes >> 20,
        )?;
        writeln!(f, "{}", if self.held { "All bounds held." } else { "NOT all held." })
    }
}
