//! The process that runs on the hacked leader's machine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use ringfort_node::folder::LeaderFolder;
use ringfort_node::leader::{LeaderOptions, run_core};
use serde_json::json;

use super::{Adversary, Kind, Tally};
use crate::real::hosting::{self, Dial};

/// Counters are told this often, when they have changed.
const REPORT_PERIOD: Duration = Duration::from_millis(100);

/// What may wait for one link of a torrent: as much as it likes.
const TORRENT_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Runs an adversary on a leader's folder until its standard input ends; tells on standard output what it tries.
///
/// `second` is the folder of one more leader, for the spy's comparison.
///
/// # Errors
/// As a leader's that cannot go on.
pub async fn run(folder: &Path, kind: Kind, second: Option<&Path>, dials: &[Dial]) -> anyhow::Result<()> {
    let open = hosting::open(folder, dials)?;
    let second = match second {
        Some(folder) => Some(LeaderFolder::open(folder).context("the second leader's folder")?.secrets.group_share),
        None => None,
    };
    let vice = kind.vice(second);
    let mut options = LeaderOptions::default();
    if matches!(kind, Kind::Torrent | Kind::TorrentLeaders | Kind::TorrentMembers) {
        options.link.control_queue_bytes_max = TORRENT_QUEUE_BYTES_MAX;
    }
    let mut reporter = Reporter { told: Tally::new(), at: Instant::now() };
    let report = Box::new(move |tally: &Tally| reporter.report(tally));
    run_core(
        open,
        options,
        |cx, group, secrets, records| Box::new(Adversary::new(cx, group, secrets, records, vice, report)),
        |_| {},
        hosting::input_ended(),
    )
    .await?;
    Ok(())
}

struct Reporter {
    told: Tally,
    at: Instant,
}

impl Reporter {
    fn report(&mut self, tally: &Tally) {
        if *tally != self.told && self.at.elapsed() >= REPORT_PERIOD {
            self.told.clone_from(tally);
            self.at = Instant::now();
            hosting::tell(&json!({ "event": "tried", "counts": tally }));
        }
    }
}
