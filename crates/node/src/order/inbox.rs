//! What waits for the thread that orders: frames of each leader in a lane of its own, local messages, changes of links.
//!
//! A lane that is full makes its reader wait, and with it, by TCP, its leader alone. The thread waits on a condition
//! variable, because a round is shorter than the ticks of the timers of tasks.

use std::pin::pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use ringfort_agreement::Author;
use ringfort_agreement::limits::MESSAGE_BYTES_MAX;
use tokio::sync::Notify;

use ringfort_link::LinkSender;

/// What one leader's frames may take before its link is not read, in bytes.
const LANE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What a frame costs beside its bytes.
const FRAME_BYTES: usize = 64;
/// Frames of one leader that are looked at before the next leader's.
const TURN_FRAMES: usize = 64;
/// Local messages that wait for the thread, in bytes.
const SUBMITTED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a message costs beside its bytes.
const MESSAGE_BYTES: usize = 4;

/// Shared by the thread that orders and all that feed it.
#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<State>,
    work: Condvar,
    room: Vec<Notify>,
}

#[derive(Debug, Default)]
struct State {
    lanes: Vec<Lane>,
    links: Vec<Change>,
    submitted: Vec<Vec<u8>>,
    submitted_bytes: usize,
    stop: bool,
}

#[derive(Debug, Default)]
struct Lane {
    frames: std::collections::VecDeque<Bytes>,
    bytes: usize,
}

/// A link to a leader that is there, or gone.
#[derive(Debug)]
pub(super) enum Change {
    Up(Author, LinkSender),
    Down(Author),
}

/// What the thread takes at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub links: Vec<Change>,
    pub frames: Vec<(Author, Bytes)>,
    pub submitted: Vec<Vec<u8>>,
    pub stop: bool,
}

impl State {
    fn has_work(&self, takes_messages: bool) -> bool {
        let frames = self.lanes.iter().any(|lane| !lane.frames.is_empty());
        frames || self.stop || !self.links.is_empty() || takes_messages && !self.submitted.is_empty()
    }
}

impl Inbox {
    pub fn new(leaders: usize) -> Self {
        let lanes = (0..leaders).map(|_| Lane::default()).collect();
        let room = (0..leaders).map(|_| Notify::new()).collect();
        Inbox { state: Mutex::new(State { lanes, ..State::default() }), work: Condvar::new(), room }
    }

    /// Puts a leader's frame in, once there is room in its lane.
    pub async fn push(&self, author: Author, frame: Bytes) {
        let Some(room) = self.room.get(author.index()) else { return };
        loop {
            let mut emptied = pin!(room.notified());
            emptied.as_mut().enable();
            if self.try_push(author, &frame) {
                self.work.notify_one();
                return;
            }
            emptied.await;
        }
    }

    fn try_push(&self, author: Author, frame: &Bytes) -> bool {
        let mut state = self.state();
        let stopped = state.stop;
        let Some(lane) = state.lanes.get_mut(author.index()) else { return true };
        let cost = frame.len() + FRAME_BYTES;
        if !stopped && lane.bytes > 0 && lane.bytes + cost > LANE_BYTES_MAX {
            return false;
        }
        if !stopped {
            lane.bytes += cost;
            lane.frames.push_back(frame.clone());
        }
        true
    }

    /// Takes local messages as far as there is room; the others come back, and those that no block holds.
    pub fn submit(&self, messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut state = self.state();
        let mut refused = Vec::new();
        for message in messages {
            let cost = message.len() + MESSAGE_BYTES;
            let fits = message.len() <= MESSAGE_BYTES_MAX && state.submitted_bytes + cost <= SUBMITTED_BYTES_MAX;
            if state.stop || !fits {
                refused.push(message);
            } else {
                state.submitted_bytes += cost;
                state.submitted.push(message);
            }
        }
        drop(state);
        self.work.notify_one();
        refused
    }

    pub fn change(&self, change: Change) {
        self.state().links.push(change);
        self.work.notify_one();
    }

    /// The thread is to end: nothing is taken any more, and nobody waits.
    pub fn stop(&self) {
        self.state().stop = true;
        self.work.notify_one();
        self.room.iter().for_each(Notify::notify_waiters);
    }

    /// Waits for work, until `due` at the longest, and takes some of every leader's. Local messages stay, and soon find no
    /// room, while the thread has others that the core does not take yet.
    pub fn take(&self, due: Option<Instant>, takes_messages: bool) -> Batch {
        let mut state = self.state();
        while !state.has_work(takes_messages) {
            let Some(due) = due else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut batch = Batch { stop: state.stop, links: std::mem::take(&mut state.links), ..Batch::default() };
        if takes_messages {
            batch.submitted = std::mem::take(&mut state.submitted);
            state.submitted_bytes = 0;
        }
        for ((author, lane), room) in Author::all(u8::MAX).zip(&mut state.lanes).zip(&self.room) {
            let turn = lane.frames.len().min(TURN_FRAMES);
            for frame in lane.frames.drain(..turn) {
                lane.bytes = lane.bytes.saturating_sub(frame.len() + FRAME_BYTES);
                batch.frames.push((author, frame));
            }
            if turn > 0 {
                room.notify_waiters();
            }
        }
        batch
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn author(place: u8) -> Author {
        Author::new(place).unwrap()
    }

    #[tokio::test]
    async fn a_leader_that_fills_its_lane_waits_alone_and_loses_nothing() {
        let inbox = Arc::new(Inbox::new(4));
        let frame = Bytes::from(vec![7; 300_000]);
        let loud = tokio::spawn({
            let (inbox, frame) = (inbox.clone(), frame.clone());
            async move {
                for _ in 0..40 {
                    inbox.push(author(1), frame.clone()).await;
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!loud.is_finished(), "its lane is full");
        tokio::time::timeout(Duration::from_secs(5), inbox.push(author(2), frame.clone())).await.unwrap();
        let mut taken = [0; 4];
        while taken[1] < 40 || taken[2] < 1 {
            let batch = inbox.take(Some(Instant::now()), true);
            batch.frames.iter().for_each(|(from, _)| taken[from.index()] += 1);
            tokio::task::yield_now().await;
        }
        loud.await.unwrap();
        assert_eq!(taken, [0, 40, 1, 0]);
    }

    #[test]
    fn local_messages_have_a_bound_and_what_finds_no_room_comes_back() {
        let inbox = Inbox::new(1);
        assert_eq!(inbox.submit(vec![vec![0; MESSAGE_BYTES_MAX + 1]]).len(), 1, "no block holds it");
        let refused = inbox.submit(vec![vec![0; MESSAGE_BYTES_MAX]; 10]);
        assert_eq!(refused.len(), 2);
        let soon = Instant::now() + Duration::from_millis(3);
        assert!(inbox.take(Some(soon), false).submitted.is_empty() && Instant::now() >= soon, "they are no work then");
        assert_eq!(inbox.submit(vec![vec![0; MESSAGE_BYTES_MAX]]).len(), 1, "and keep their room");
        assert_eq!(inbox.take(None, true).submitted.len(), 8);
        assert!(inbox.submit(refused).is_empty());
        inbox.stop();
        assert_eq!(inbox.submit(vec![vec![1]]), [vec![1]], "who has stopped takes nothing");
    }

    #[test]
    fn waiting_ends_when_it_is_due() {
        let inbox = Inbox::new(1);
        let due = Instant::now() + Duration::from_millis(3);
        let batch = inbox.take(Some(due), true);
        assert!(batch.frames.is_empty() && !batch.stop && Instant::now() >= due);
    }
}
