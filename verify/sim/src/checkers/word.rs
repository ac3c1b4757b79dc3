//! A crash makes no honest leader forget what it has told another (P10): others may have counted it.

use super::{Checker, End};

/// Judged after each restart, told at the end.
pub struct Word;

impl Checker for Word {
    fn name(&self) -> &'static str {
        "word"
    }

    fn finish(&mut self, end: &End<'_>, wrong: &mut Vec<String>) {
        wrong.extend(end.world.facts.broken_words.iter().map(|said| format!("forgotten in a crash: {said}")));
    }
}
