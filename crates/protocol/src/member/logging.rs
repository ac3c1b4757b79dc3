//! The membership log that a member keeps, if it is asked to (P6, A28).

use super::{Effect, Member, Step};
use crate::log::{Chunk, Head, Keeper};
use crate::statement::Word;
use crate::time::Cx;
use crate::view::Change;

impl Member {
    /// Keeps a log from the first view on, which goes on after `head`: the last entry of what there is, or the
    /// default. To be called before any link is up.
    pub fn keep_log(&mut self, head: Head) {
        self.log = Some(Keeper::new(head));
    }

    /// The driver cannot write any more: no log is better than one with a hole that nobody is told of.
    pub fn stop_log(&mut self) {
        self.log = None;
    }

    /// The next view starts a segment of the log, so that the driver can begin a new file.
    pub fn start_log_segment(&mut self) {
        if let Some(log) = &mut self.log {
            log.start_segment();
        }
    }

    /// The program ends: nothing is said of what comes after.
    pub fn close_log(&mut self, cx: &mut Cx<'_>) -> Step {
        let mut step = Step::default();
        if let (Some(log), Some(me)) = (&mut self.log, &self.me) {
            keep(log.on_end(cx, &self.group, me, self.ended.take()), &mut step);
        }
        step
    }

    /// A view was installed.
    pub(super) fn log_view(
        &mut self,
        cx: &mut Cx<'_>,
        view: (Vec<Change>, Vec<Word>),
        late: Vec<Word>,
        step: &mut Step,
    ) {
        let installed = self.tracker.as_ref().and_then(|tracker| tracker.installed());
        if let (Some(log), Some(me), Some(installed)) = (&mut self.log, &self.me, installed) {
            keep(log.on_words(cx, &self.group, me, late), step);
            keep(Some(log.on_installed(cx, &self.group, me, installed, view)), step);
        }
    }

    /// The stay has ended.
    pub(super) fn log_end(&mut self, cx: &mut Cx<'_>, step: &mut Step) {
        if let (Some(log), Some(me), Some(cause)) = (&mut self.log, &self.me, self.ended.take()) {
            keep(log.on_end(cx, &self.group, me, Some(cause)), step);
        }
    }

    /// Time has passed.
    pub(super) fn tend_log(&mut self, cx: &mut Cx<'_>, step: &mut Step) {
        let (Some(log), Some(me), Some(tracker)) = (&mut self.log, &self.me, &mut self.tracker) else { return };
        let mut blamed = Vec::new();
        if log.wants_words(cx.now) {
            let (words, outputs) = tracker.take_late_words(&self.group);
            blamed = outputs;
            keep(log.on_words(cx, &self.group, me, words), step);
        }
        keep(log.on_wakeup(cx, &self.group, me), step);
        for output in blamed {
            if let crate::keys::TrackerOutput::Blame(leader, fault) = output {
                self.blame_leader(leader, fault, step);
            }
        }
    }
}

fn keep(chunk: Option<Chunk>, step: &mut Step) {
    step.effects.extend(chunk.map(Effect::Log));
}
