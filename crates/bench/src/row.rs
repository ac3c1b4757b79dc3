//! One figure and its floor.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Serialize;

/// What to measure, and how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// Sizes of the groups whose changes are measured.
    pub members: Vec<usize>,
    /// Repetitions of an operation; a change is repeated a tenth as often.
    pub repeats: usize,
    /// Messages of one throughput measurement, at the smallest size.
    pub messages: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { members: vec![2, 10, 100, 1000], repeats: 200, messages: 20_000 }
    }
}

/// One figure beside its floor.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// Its floor from the same run, in the same unit.
    pub floor: Option<f64>,
    /// How many times the floor: 1.0 is as good as the machine can.
    pub ratio: Option<f64>,
    /// The unit: `us` or `ns` (lower is better), `msg/s`, `op/s` or `MB/s` (higher is better), or of what else it is a number.
    pub unit: &'static str,
    /// Bytes that crossed the wire for it, where that says something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire_bytes: Option<u64>,
    /// Why there is no figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// All figures of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The figures, in order.
    pub rows: Vec<Row>,
}

impl Row {
    pub(crate) fn time(name: impl Into<String>, value: Duration, floor: Option<Duration>) -> Self {
        let us = |d: Duration| d.as_secs_f64() * 1e6;
        let (value, floor) = (us(value), floor.map(us));
        Row {
            name: name.into(),
            value,
            floor,
            ratio: floor.map(|f| value / f),
            unit: "us",
            wire_bytes: None,
            note: None,
        }
    }

    pub(crate) fn rate(name: impl Into<String>, value: f64, floor: Option<f64>) -> Self {
        Row {
            name: name.into(),
            value,
            floor,
            ratio: floor.filter(|_| value > 0.0).map(|f| f / value),
            unit: "msg/s",
            wire_bytes: None,
            note: None,
        }
    }

    pub(crate) fn bytes_rate(name: impl Into<String>, value: f64, floor: Option<f64>) -> Self {
        Row { unit: "MB/s", ..Row::rate(name, value, floor) }
    }

    /// What one of many things costs, in nanoseconds.
    pub(crate) fn cost(name: impl Into<String>, ns: f64, floor: Option<f64>) -> Self {
        let ratio = floor.filter(|floor| *floor > 0.0).map(|floor| ns / floor);
        Row { value: ns, floor, ratio, unit: "ns", ..Row::rate(name, ns, None) }
    }

    /// Requests a second.
    pub(crate) fn requests(name: impl Into<String>, value: f64) -> Self {
        Row { unit: "op/s", ..Row::rate(name, value, None) }
    }

    /// A figure that is neither good nor bad.
    pub(crate) fn number(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Row { unit, ..Row::rate(name, value, None) }
    }

    /// A figure that could not be had.
    pub(crate) fn none(name: impl Into<String>, why: &str) -> Self {
        Row { note: Some(why.to_owned()), ..Row::rate(name, f64::NAN, None) }
    }

    pub(crate) fn with_wire_bytes(self, bytes: usize) -> Self {
        Row { wire_bytes: Some(u64::try_from(bytes).unwrap_or(u64::MAX)), ..self }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(note) = &self.note {
            return write!(f, "{:<58} {note}", self.name);
        }
        write!(f, "{:<58} {:>12.1} {:<5}", self.name, self.value, self.unit)?;
        if let (Some(floor), Some(ratio)) = (self.floor, self.ratio) {
            write!(f, "  floor {floor:>12.1}  x{ratio:.2}")?;
        }
        match self.wire_bytes {
            Some(bytes) => write!(f, "  {bytes} B"),
            None => Ok(()),
        }
    }
}

/// The median time of one call, over `repeats` calls after a tenth of that to warm up.
pub(crate) fn median<T>(repeats: usize, mut call: impl FnMut() -> T) -> Duration {
    for _ in 0..repeats / 10 {
        black_box(call());
    }
    let times = (0..repeats.max(1)).map(|_| {
        let start = Instant::now();
        black_box(call());
        start.elapsed()
    });
    middle(times.collect())
}

/// The median of some times; zero of none.
pub(crate) fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
