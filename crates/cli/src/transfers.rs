//! The progress of files on the terminal, or as JSON lines.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringfort_files::{PeerProgress, Transfer};

use crate::commands::send_file::FileLine;
use crate::exit::Outcome;
use crate::output;
use crate::text::clean;

/// Shows how files stand, each change once.
pub struct Show {
    json: bool,
    bars: MultiProgress,
    shown: BTreeMap<(u64, String), ProgressBar>,
    told: BTreeMap<u64, Transfer>,
}

impl Show {
    /// Nothing was shown so far. Bars are drawn on a terminal only.
    pub fn new(json: bool) -> Self {
        let target = match !json && std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bars = MultiProgress::with_draw_target(target);
        Show { json, bars, shown: BTreeMap::new(), told: BTreeMap::new() }
    }

    /// A file stands like this now.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn tell(&mut self, transfer: &Transfer) -> Outcome {
        if self.told.get(&transfer.id) == Some(transfer) {
            return Ok(());
        }
        self.told.insert(transfer.id, transfer.clone());
        if self.json {
            return output::json(&FileLine::File { transfer });
        }
        if transfer.own {
            transfer.peers.iter().for_each(|peer| self.peer(transfer, peer));
        } else {
            self.draw(transfer, &transfer.from, (transfer.state, transfer.done));
        }
        Ok(())
    }

    fn peer(&mut self, transfer: &Transfer, peer: &PeerProgress) {
        self.draw(transfer, &peer.user, (peer.state, peer.done));
    }

    fn draw(&mut self, transfer: &Transfer, who: &str, (state, done): (&'static str, u64)) {
        let bars = &self.bars;
        let bar = self.shown.entry((transfer.id, who.to_owned())).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(transfer.bytes));
            let template = "{prefix} {bar:24} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_prefix(format!("{} {}", clean(&transfer.name), who));
            bar
        });
        bar.set_position(done);
        bar.set_message(state);
        if matches!(state, "complete" | "declined" | "failed" | "cancelled") {
            bar.abandon();
        }
    }
}
