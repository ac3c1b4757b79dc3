//! The standard output: lines and JSON lines, to terminals and to pipes that may close.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::exit::{Failure, Outcome};
use crate::text::folded;

/// Prints one line.
///
/// # Errors
/// [`Failure::closed_output`] when the reader has gone away, which ends the program without a word.
pub fn line(text: impl AsRef<str>) -> Outcome {
    write(text.as_ref().as_bytes())
}

/// Prints what may hold the words of others: on a terminal, lines that are too long for it are folded and indented.
///
/// # Errors
/// As [`line()`].
pub fn told(text: impl AsRef<str>) -> Outcome {
    let width = io::stdout().is_terminal().then(|| crossterm::terminal::size().ok()).flatten();
    match width {
        Some((width @ 1.., _)) => line(folded(text.as_ref(), usize::from(width))),
        _ => line(text),
    }
}

/// Prints one JSON object on one line.
///
/// # Errors
/// As [`line()`].
pub fn json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_vec(value).map_err(|error| Failure::io("cannot write JSON", &error.into()))?;
    write(&text)
}

/// Prints one line for people on the standard error, where it does not mix with results.
pub fn note(text: impl AsRef<str>) {
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(io::stderr(), "{}", text.as_ref());
}

fn write(text: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    let written = out.write_all(text).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::closed_output(),
        _ => Failure::io("cannot write to the standard output", &error),
    })
}
