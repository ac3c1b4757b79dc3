//! How fast something goes.

use std::time::Duration;

use ringfort::protocol::Time;

/// A new figure this often.
const STEP: Duration = Duration::from_millis(500);
/// Nothing for so long is a standstill.
const STILL: Duration = Duration::from_secs(3);

/// The speed of a growing number of bytes, smoothed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    from: Option<(Time, u64)>,
    per_s: Option<u64>,
    moved: Time,
}

impl Rate {
    /// The number is this now.
    pub fn note(&mut self, now: Time, bytes: u64) {
        let Some((at, before)) = self.from.filter(|(_, before)| *before <= bytes) else {
            *self = Rate { from: Some((now, bytes)), per_s: None, moved: now };
            return;
        };
        if bytes > before {
            self.moved = now;
        }
        let elapsed = now.since(at);
        if elapsed >= STEP {
            let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            let fresh = (bytes - before).saturating_mul(1000) / elapsed_ms.max(1);
            self.per_s = Some(self.per_s.map_or(fresh, |old| old / 2 + fresh / 2));
            self.from = Some((now, bytes));
        }
    }

    /// Bytes a second; 0 at a standstill.
    pub fn per_s(&self, now: Time) -> u64 {
        if now.since(self.moved) > STILL { 0 } else { self.per_s.unwrap_or(0) }
    }

    /// It stands still on purpose.
    pub fn stop(&mut self) {
        *self = Rate::default();
    }
}
