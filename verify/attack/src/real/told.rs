//! The story once more, for those who come later: its last lines, in a form that a page can show.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use super::story::Tone;

/// Lines that are kept.
const TOLD_MAX: usize = 300;

/// A line of the story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Its number, from 1.
    pub n: u64,
    /// When, in milliseconds since the story began.
    pub at_ms: u64,
    /// Who does or says something; empty for a new chapter.
    pub who: String,
    /// What sort of line it is.
    pub tone: Tone,
    /// What was told on the terminal.
    pub text: String,
    /// The leader that was caught, and its offence in a word.
    pub offence: Option<(u8, String)>,
}

/// The last lines.
#[derive(Debug, Default)]
pub struct Lines {
    kept: VecDeque<Told>,
    head: u64,
}

impl Lines {
    /// Takes a line.
    pub fn push(&mut self, at: Duration, who: &str, tone: Tone, text: &str, offence: Option<(u8, String)>) {
        self.head += 1;
        let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.kept.push_back(Told { n: self.head, at_ms, who: who.to_owned(), tone, text: text.to_owned(), offence });
        if self.kept.len() > TOLD_MAX {
            self.kept.pop_front();
        }
    }

    /// The lines behind this one that are still kept.
    pub fn after(&self, n: u64) -> Vec<Told> {
        self.kept.iter().filter(|told| told.n > n).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_in_order() {
        let mut lines = Lines::default();
        for n in 0..TOLD_MAX + 5 {
            lines.push(Duration::ZERO, "ana", Tone::Plain, &n.to_string(), None);
        }
        let all = lines.after(0);
        assert_eq!((all.len(), all[0].n, all[0].text.as_str()), (TOLD_MAX, 6, "5"));
        let last = lines.after(TOLD_MAX as u64 + 4);
        assert_eq!(last.len(), 1);
        assert!(lines.after(last[0].n).is_empty());
    }
}
