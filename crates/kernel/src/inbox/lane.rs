//! What waits of one peer.

use std::collections::VecDeque;

use super::Urgency;

#[derive(Debug)]
pub(super) struct Lane<T> {
    prompt: VecDeque<(usize, T)>,
    bulk: VecDeque<(usize, T)>,
    /// Of both, with overhead.
    pub bytes: usize,
    /// What it has used of the worker, on its pool's count.
    pub used: u64,
    pub held: bool,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Lane { prompt: VecDeque::new(), bulk: VecDeque::new(), bytes: 0, used: 0, held: false }
    }
}

impl<T> Lane<T> {
    pub fn push(&mut self, urgency: Urgency, bytes: usize, input: T) {
        self.bytes += bytes;
        match urgency {
            Urgency::Prompt => self.prompt.push_back((bytes, input)),
            Urgency::Bulk => self.bulk.push_back((bytes, input)),
        }
    }

    /// The next input that may go, and what it took.
    pub fn pop(&mut self) -> Option<(usize, T)> {
        let bulk = if self.held { None } else { Some(&mut self.bulk) };
        let next = self.prompt.pop_front().or_else(|| bulk?.pop_front())?;
        self.bytes -= next.0;
        Some(next)
    }

    pub fn has_prompt(&self) -> bool {
        !self.prompt.is_empty()
    }

    pub fn has_work(&self) -> bool {
        self.has_prompt() || (!self.held && !self.bulk.is_empty())
    }

    pub fn len(&self) -> usize {
        self.prompt.len() + self.bulk.len()
    }
}
