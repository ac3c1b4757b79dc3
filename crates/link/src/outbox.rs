//! What a link still has to send: three bounded queues, their fill level, and how the link ends.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::admission::Slot;
use super::hold::Hold;
use super::{Class, LinkError, LinkLimits, SendError};

/// What a queued frame costs beside its body: header, handle, allocation.
pub(super) const FRAME_OVERHEAD_BYTES: usize = 64;
/// One write to the socket gathers about this much.
pub(super) const BATCH_BYTES_MAX: usize = 64 * 1024;

/// State shared by the handles, the reader and the writer task of one link.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) limits: LinkLimits,
    /// Longest frame the reader accepts now, bytes.
    pub(super) frame_bytes_max: AtomicUsize,
    pub(super) slot: Option<Arc<Slot>>,
    queues: Mutex<Queues>,
    /// A [`Load`], as it was when somebody last looked: what is not light may have become so by time alone.
    load: AtomicU8,
    stage: watch::Sender<Stage>,
    /// Wakes the writer.
    work: Notify,
    /// Wakes `eased`.
    below: Notify,
    /// The reader has seen the end of what the peer sends.
    hung_up: Notify,
}

/// How a link stands with those who send data to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Load {
    /// Below the mark.
    Light,
    /// Above it, and senders wait for it.
    Holding,
    /// Above it, and it has been waited for enough: senders wait only if most of their receivers are above it.
    Behind,
    /// As that, and it has lost data: it does not count among the others.
    Slow,
    /// Stalled or closed: nobody waits for it.
    Out,
}

impl Load {
    fn of(code: u8) -> Self {
        [Self::Light, Self::Holding, Self::Behind, Self::Slow]
            .into_iter()
            .find(|load| *load as u8 == code)
            .unwrap_or(Self::Out)
    }
}

#[derive(Debug)]
struct Queues {
    control: VecDeque<Bytes>,
    data: VecDeque<Bytes>,
    live: VecDeque<Bytes>,
    /// Only what waits; the others include what the writer has taken but not yet written.
    live_bytes: usize,
    control_bytes: usize,
    data_bytes: usize,
    closed: bool,
    stalled: bool,
    /// While data is above the mark: when it rose there or last made progress, and bytes written since.
    window: Option<(Instant, usize)>,
    /// Since when there is no data for the peer at all, neither here nor with the writer.
    dry_since: Option<Instant>,
    hold: Hold,
}

impl Queues {
    fn new(limits: &LinkLimits) -> Self {
        Queues {
            control: VecDeque::new(),
            data: VecDeque::new(),
            live: VecDeque::new(),
            live_bytes: 0,
            control_bytes: 0,
            data_bytes: 0,
            closed: false,
            stalled: false,
            window: None,
            dry_since: Some(Instant::now()),
            hold: Hold::new(limits.hold_max, limits.relays),
        }
    }

    /// Makes room by dropping the oldest; a frame for which there never is room still goes alone.
    fn push_live(&mut self, frame: Bytes, bytes_max: usize) {
        self.live_bytes += cost(&frame);
        self.live.push_back(frame);
        while self.live_bytes > bytes_max && self.live.len() > 1 {
            self.pop_live();
        }
    }

    fn pop_live(&mut self) -> Option<Bytes> {
        let frame = self.live.pop_front()?;
        self.live_bytes = self.live_bytes.saturating_sub(cost(&frame));
        Some(frame)
    }
}

/// The life of a link; only ever moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// Sends what is queued for a short time, then ends.
    Closing(End),
    /// Ends now.
    Aborting(End),
    /// The writer is gone.
    Ended(End),
}

/// Why a link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// `close` was called or the peer said goodbye.
    Goodbye,
    LoginTimeout,
    /// Others needed its place before it had logged in.
    MadeWay,
    NotReading,
    /// The connection broke, or the reader has told its caller what the peer did.
    Broken,
}

impl Stage {
    pub(super) fn end(self) -> Option<End> {
        match self {
            Self::Open => None,
            Self::Closing(end) | Self::Aborting(end) | Self::Ended(end) => Some(end),
        }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Closing(_) => 1,
            Self::Aborting(_) => 2,
            Self::Ended(_) => 3,
        }
    }
}

impl End {
    /// What the reader reports once the link has ended.
    pub(super) fn outcome(self) -> Result<Option<Bytes>, LinkError> {
        match self {
            Self::Goodbye => Ok(None),
            Self::LoginTimeout | Self::MadeWay => Err(LinkError::Timeout),
            Self::NotReading => Err(LinkError::NotReading),
            Self::Broken => Err(LinkError::Closed),
        }
    }
}

/// Frames taken together by the writer.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) frames: Vec<Bytes>,
    control_cost: usize,
    data_cost: usize,
}

impl Outbox {
    pub(super) fn new(limits: LinkLimits, slot: Option<Arc<Slot>>) -> Arc<Self> {
        Arc::new(Self {
            frame_bytes_max: AtomicUsize::new(limits.frame_unauthenticated_bytes_max),
            slot,
            queues: Mutex::new(Queues::new(&limits)),
            limits,
            load: AtomicU8::new(Load::Light as u8),
            stage: watch::Sender::new(Stage::Open),
            work: Notify::new(),
            below: Notify::new(),
            hung_up: Notify::new(),
        })
    }

    pub(super) fn push(&self, class: Class, frame: Bytes) -> Result<(), SendError> {
        let length = frame.len();
        if length == 0 || length > self.limits.frame_authenticated_bytes_max {
            return Err(SendError::Length(length));
        }
        let cost = cost(&frame);
        let mut queues = self.queues();
        if queues.closed {
            return Err(SendError::Closed);
        }
        let was_idle = queues.control.is_empty() && queues.data.is_empty() && queues.live.is_empty();
        match class {
            Class::Control => {
                if queues.control_bytes + cost > self.limits.control_queue_bytes_max {
                    drop(queues);
                    self.advance(Stage::Aborting(End::NotReading));
                    return Err(SendError::Overflow);
                }
                queues.control_bytes += cost;
                queues.control.push_back(frame);
            }
            Class::Data => {
                if queues.data_bytes + cost > self.limits.data_queue_bytes_max {
                    if self.assess(&mut queues) == Load::Behind {
                        queues.hold.lost();
                        self.assess(&mut queues);
                    }
                    return Err(SendError::Full);
                }
                queues.data_bytes += cost;
                queues.data.push_back(frame);
                self.assess(&mut queues);
            }
            Class::Live => queues.push_live(frame, self.limits.live_queue_bytes_max),
        }
        drop(queues);
        if was_idle {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Moves the next frames into `batch`: control first, about `BATCH_BYTES_MAX`, at least one frame
    /// if there is one. False if there is none.
    pub(super) fn take(&self, batch: &mut Batch) -> bool {
        let mut queues = self.queues();
        let mut bytes = 0;
        while bytes < BATCH_BYTES_MAX {
            if let Some(frame) = queues.control.pop_front() {
                bytes += frame.len();
                batch.control_cost += cost(&frame);
                batch.frames.push(frame);
            } else if let Some(frame) = queues.pop_live() {
                bytes += frame.len();
                batch.frames.push(frame);
            } else if let Some(frame) = queues.data.pop_front() {
                bytes += frame.len();
                batch.data_cost += cost(&frame);
                batch.frames.push(frame);
            } else {
                break;
            }
        }
        !batch.frames.is_empty()
    }

    /// The socket took some bytes of the batch in hand.
    pub(super) fn progressed(&self, bytes: usize) {
        let mut queues = self.queues();
        if queues.window.is_none() {
            return;
        }
        self.assess(&mut queues);
        if let Some((since, written)) = &mut queues.window {
            *written = written.saturating_add(bytes);
            if *written >= self.limits.progress_bytes_min {
                (*since, *written) = (Instant::now(), 0);
            }
        }
    }

    /// The whole batch is written; its room is free again.
    pub(super) fn written(&self, batch: &mut Batch) {
        let mut queues = self.queues();
        queues.control_bytes = queues.control_bytes.saturating_sub(batch.control_cost);
        queues.data_bytes = queues.data_bytes.saturating_sub(batch.data_cost);
        self.assess(&mut queues);
        drop(queues);
        batch.frames.clear();
        batch.control_cost = 0;
        batch.data_cost = 0;
    }

    /// Resolves when there may be something to take, or the stage has changed.
    pub(super) async fn work(&self) {
        self.work.notified().await;
    }

    /// For the reader: the peer will send nothing more.
    pub(super) fn set_hung_up(&self) {
        self.hung_up.notify_one();
    }

    /// Resolves when the peer will send nothing more.
    pub(super) async fn hung_up(&self) {
        self.hung_up.notified().await;
    }

    /// Resolves when senders may no longer have to wait for this link: to be asked again in any case.
    pub(super) async fn eased(&self) {
        let mut below = pin!(self.below.notified());
        below.as_mut().enable();
        if let Some(stalls_at) = self.stalls_at() {
            // Either way, the caller looks again: the window may have moved.
            let _ = timeout_at(stalls_at, below).await;
        }
    }

    /// When this link will count as stalled; `None` if nobody waits for it.
    fn stalls_at(&self) -> Option<Instant> {
        let load = self.load();
        let window = self.queues().window.filter(|_| matches!(load, Load::Holding | Load::Behind | Load::Slow));
        window.map(|(since, _)| since + self.limits.patience)
    }

    /// How it stands with those who send data to it.
    pub(super) fn load(&self) -> Load {
        let known = Load::of(self.load.load(Ordering::Acquire));
        if known == Load::Light {
            return known;
        }
        let mut queues = self.queues();
        self.assess(&mut queues)
    }

    /// Since when its peer has had nothing more to read; `None` if there is something.
    pub(super) fn dry_since(&self) -> Option<Instant> {
        self.queues().dry_since
    }

    /// Senders waited for it in this time while others had nothing to read.
    pub(super) fn pay(&self, from: Instant, until: Instant) {
        let mut queues = self.queues();
        queues.hold.pay(from, until);
        self.assess(&mut queues);
    }

    pub(super) fn is_stalled(&self) -> bool {
        let mut queues = self.queues();
        self.assess(&mut queues);
        queues.stalled
    }

    pub(super) fn queued_bytes(&self) -> usize {
        let queues = self.queues();
        queues.control_bytes + queues.data_bytes + queues.live_bytes
    }

    pub(super) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    pub(super) fn watch_stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Moves the link towards its end; a later stage is never undone, and the first reason stays.
    pub(super) fn advance(&self, stage: Stage) {
        let moved = self.stage.send_if_modified(|current| {
            if stage.rank() <= current.rank() {
                return false;
            }
            *current = match (stage, current.end()) {
                (Stage::Aborting(_), Some(first)) => Stage::Aborting(first),
                (Stage::Ended(_), Some(first)) => Stage::Ended(first),
                _ => stage,
            };
            true
        });
        if !moved {
            return;
        }
        let mut queues = self.queues();
        queues.closed = true;
        if !matches!(stage, Stage::Closing(_)) {
            queues.control = VecDeque::new();
            queues.data = VecDeque::new();
            queues.live = VecDeque::new();
            queues.live_bytes = 0;
            queues.control_bytes = 0;
            queues.data_bytes = 0;
        }
        self.assess(&mut queues);
        drop(queues);
        self.work.notify_one();
    }

    /// Brings `stalled`, the window and the load up to date, and wakes who waits for less of it.
    fn assess(&self, queues: &mut Queues) -> Load {
        let above = queues.data_bytes > self.limits.data_mark_bytes();
        let now = Instant::now();
        if above {
            let (since, _) = *queues.window.get_or_insert((now, 0));
            if now.saturating_duration_since(since) >= self.limits.patience {
                queues.stalled = true;
            }
        } else {
            queues.window = None;
            queues.stalled = false;
        }
        if queues.data_bytes <= self.limits.data_mark_bytes() / 2 {
            queues.hold.caught_up();
        }
        queues.dry_since = (queues.data_bytes == 0).then(|| queues.dry_since.unwrap_or(now));
        let load = match above && !queues.stalled && !queues.closed {
            true if queues.hold.loses() => Load::Slow,
            true if queues.hold.holds(now) => Load::Holding,
            true => Load::Behind,
            false if queues.stalled || queues.closed => Load::Out,
            false => Load::Light,
        };
        let before = Load::of(self.load.swap(load as u8, Ordering::AcqRel));
        if before != load && load != Load::Holding {
            self.below.notify_waiters();
        }
        load
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(frame: &Bytes) -> usize {
    frame.len() + FRAME_OVERHEAD_BYTES
}
