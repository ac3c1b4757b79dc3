//! The auditor: what members' logs say of every moment, read with the group file alone, against what was seen.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use ringfort_documents::read_proof;
use ringfort_protocol::GroupInfo;
use ringfort_protocol::log::{Answer, Log, Verdict, verify};
use serde::Serialize;

use super::plan::Plan;

/// Time between two moments that are asked about.
const STEP_MS: u64 = 50;
/// One bit is altered in so many places, one after the other.
const ALTERED: u64 = 20;

/// What an auditor found.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Audit {
    /// Moments asked about, of one guest each.
    pub moments: u64,
    /// Moments for which the log leaves the answer open: somebody came or went just then.
    pub open: u64,
    /// Logs with one bit altered, all of them refused.
    pub tampered: u64,
}

/// When guests were in or out for sure, by the clock of this machine, in Unix milliseconds.
#[derive(Debug, Default)]
pub(super) struct Visits {
    spans: Vec<Span>,
    since: BTreeMap<String, (u64, bool)>,
}

#[derive(Debug)]
struct Span {
    name: String,
    inside: bool,
    from_ms: u64,
    to_ms: u64,
}

impl Visits {
    /// A guest is about to come or go: what was sure of it ends.
    pub fn changes(&mut self, name: &str) {
        if let Some((from_ms, inside)) = self.since.remove(name) {
            self.spans.push(Span { name: name.to_owned(), inside, from_ms, to_ms: now_ms() });
        }
    }

    /// Everybody has seen it come or go.
    pub fn changed(&mut self, name: &str, inside: bool) {
        self.since.insert(name.to_owned(), (now_ms(), inside));
    }

    /// Nobody comes or goes any more.
    pub fn close(&mut self) {
        for name in self.since.keys().cloned().collect::<Vec<_>>() {
            self.changes(&name);
        }
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Reads a log as somebody does who has the group file and nothing else.
///
/// # Errors
/// It is refused, or silent, or wrong about a moment; or an altered one is not refused.
pub(super) fn audit(file: &Path, group: &GroupInfo, visits: &Visits, plan: &mut Plan) -> anyhow::Result<Audit> {
    let bytes = read_proof(file)?;
    let log = Log::from_bytes(&bytes)?;
    let audited = verify(&log, group)?;
    let mut found = Audit::default();
    for span in &visits.spans {
        let user = span.name.parse()?;
        let right = if span.inside { Verdict::Could } else { Verdict::CouldNot };
        let step = usize::try_from(STEP_MS)?;
        let mut answer: Option<Answer> = None;
        for at_ms in (span.from_ms + 1..span.to_ms).step_by(step) {
            let views = audited.views_at(at_ms).with_context(|| format!("nothing is told of {at_ms}"))?;
            let known = answer.take().filter(|answer| answer.views == views);
            let told = answer.insert(known.unwrap_or_else(|| audited.answer(views))).verdict(&user);
            ensure!(told == right || told == Verdict::Perhaps, "{told:?} of {user} at {at_ms}, in {span:?}");
            found.moments += 1;
            found.open += u64::from(told == Verdict::Perhaps);
        }
    }
    ensure!(found.open * 4 <= found.moments, "{} of {} moments are left open", found.open, found.moments);
    for _ in 0..ALTERED {
        let place = usize::try_from(plan.below(bytes.len() as u64))?;
        let mut altered = bytes.clone();
        if let Some(byte) = altered.get_mut(place) {
            *byte ^= 1 << plan.below(8);
        }
        let refused = Log::from_bytes(&altered).map_or(true, |log| verify(&log, group).is_err());
        ensure!(refused, "with byte {place} altered it is taken for right");
        found.tampered += 1;
    }
    Ok(found)
}
