//! How the story is told: one aligned line per event, coloured on a terminal, wrapped to its width.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::told::{Lines, Told};

/// Width of the two columns before the text.
const INDENT: usize = 20;
const WIDTH_DEFAULT: usize = 110;
const WIDTH_MIN: usize = 50;

/// What sort of line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// A new chapter.
    Chapter,
    /// What happens.
    Plain,
    /// What hardly matters.
    Faint,
    /// What members say.
    Talk,
    /// What goes well.
    Good,
    /// What an attacker does.
    Evil,
    /// What was caught or refused.
    Caught,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Tone::Chapter => "1",
            Tone::Plain => "0",
            Tone::Faint => "2",
            Tone::Talk => "36",
            Tone::Good => "32",
            Tone::Evil => "31",
            Tone::Caught => "33",
        }
    }
}

/// The narrator. Lines of different tasks never mix.
pub struct Story {
    started: Instant,
    to_stderr: bool,
    silent: bool,
    coloured: bool,
    width: usize,
    /// Keeps lines whole.
    pen: Mutex<()>,
    told: Mutex<Lines>,
}

impl Story {
    /// Tells on standard output, or on standard error where that is for a machine.
    pub fn new(to_stderr: bool) -> Self {
        let terminal = if to_stderr { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        let coloured = terminal && std::env::var_os("NO_COLOR").is_none();
        let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
        let width = columns.unwrap_or(WIDTH_DEFAULT).max(WIDTH_MIN);
        let (pen, told) = (Mutex::default(), Mutex::default());
        Story { started: Instant::now(), to_stderr, silent: false, coloured, width, pen, told }
    }

    /// Tells nothing, unless the environment variable `RINGFORT_STORY` asks for it on standard error.
    pub fn silent() -> Self {
        Story { silent: std::env::var_os("RINGFORT_STORY").is_none(), ..Story::new(true) }
    }

    /// Time since the story began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The lines behind this number, as far as they are kept.
    pub fn after(&self, n: u64) -> Vec<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).after(n)
    }

    fn keep(&self, who: &str, tone: Tone, text: &str, offence: Option<(u8, String)>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push(self.elapsed(), who, tone, text, offence);
    }

    /// A new chapter.
    pub fn chapter(&self, title: &str) {
        self.keep("", Tone::Chapter, title, None);
        let title = if self.coloured { format!("\x1b[1m{title}\x1b[0m") } else { title.to_owned() };
        self.put(&format!("\n{title}\n"));
    }

    /// Somebody does or says something.
    pub fn line(&self, who: &str, tone: Tone, text: &str) {
        self.keep(who, tone, text, None);
        self.write(who, tone, text);
    }

    /// Somebody caught a leader in an offence.
    pub fn caught(&self, who: &str, leader: u8, offence: &str, text: &str) {
        self.keep(who, Tone::Caught, text, Some((leader, offence.to_owned())));
        self.write(who, Tone::Caught, text);
    }

    fn write(&self, who: &str, tone: Tone, text: &str) {
        let time = format!("{:6.1}s", self.elapsed().as_secs_f64());
        let mut out = String::new();
        for (number, part) in wrap(text, self.width - INDENT).iter().enumerate() {
            let (time, who) = if number == 0 { (time.as_str(), who) } else { ("", "") };
            let lead = format!("{time:>7}  {who:<9}  ");
            if self.coloured {
                out.push_str(&format!("\x1b[2m{lead}\x1b[0m\x1b[{}m{part}\x1b[0m\n", tone.code()));
            } else {
                out.push_str(&format!("{lead}{part}\n"));
            }
        }
        self.put(&out);
    }

    /// A promise, kept or broken.
    pub fn promise(&self, held: bool, text: &str) {
        let (mark, tone) = if held { ("kept", Tone::Good) } else { ("BROKEN", Tone::Evil) };
        self.line(mark, tone, text);
    }

    /// Text as it is.
    pub fn put(&self, text: &str) {
        if self.silent {
            return;
        }
        let _pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        // A reader that has gone away does not stop the story: its outcome is the exit status.
        let _ = if self.to_stderr {
            std::io::stderr().lock().write_all(text.as_bytes())
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped_at_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("", 7), [""]);
        assert_eq!(wrap("unbreakable", 4), ["unbreakable"]);
    }
}
