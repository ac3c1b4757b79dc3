//! The line that is being typed.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use unicode_width::UnicodeWidthChar;

/// The longest line, in characters.
const CHARS_MAX: usize = 4000;
/// Lines that can be brought back.
const HISTORY_MAX: usize = 100;

/// An edited line with its history. Positions count characters.
#[derive(Debug, Default)]
pub(super) struct Input {
    chars: Vec<char>,
    cursor: usize,
    history: Vec<String>,
    /// How far back in the history.
    back: usize,
}

impl Input {
    /// Takes a key; the line once it is finished.
    pub fn on_key(&mut self, key: KeyEvent) -> Option<String> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Enter => return self.finish(),
            KeyCode::Char('a') if control => self.cursor = 0,
            KeyCode::Char('e') if control => self.cursor = self.chars.len(),
            KeyCode::Char('u') if control => drop(self.chars.drain(..std::mem::take(&mut self.cursor))),
            KeyCode::Char('k') if control => self.chars.truncate(self.cursor),
            // A line's end within a paste that comes as keys.
            KeyCode::Char('j') if control => self.insert(' '),
            KeyCode::Char('w') if control => self.delete_word(),
            KeyCode::Backspace if control || alt => self.delete_word(),
            KeyCode::Char(c) if !control && !alt => self.insert(c),
            KeyCode::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.chars.remove(self.cursor);
            }
            KeyCode::Delete if self.cursor < self.chars.len() => drop(self.chars.remove(self.cursor)),
            KeyCode::Left if control => self.cursor = self.word_before(),
            KeyCode::Right if control => self.cursor = self.word_after(),
            KeyCode::Left => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Right => self.cursor = (self.cursor + 1).min(self.chars.len()),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.chars.len(),
            KeyCode::Up => self.recall(self.back + 1),
            KeyCode::Down => self.recall(self.back.saturating_sub(1)),
            _ => {}
        }
        None
    }

    /// Takes pasted text as one line.
    pub fn paste(&mut self, text: &str) {
        let mut before = ' ';
        for c in text.chars() {
            let end_of_line = before == '\r' && c == '\n';
            before = c;
            if !end_of_line {
                self.insert(if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c });
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.chars.is_empty()
    }

    /// The part of the line to show in `width` columns, and the cursor's column in it.
    pub fn shown(&self, width: usize) -> (String, usize) {
        let columns = |c: &char| c.width().unwrap_or(0);
        let (before, _) = self.chars.split_at(self.cursor);
        // Backwards from the cursor as far as there is room, with a column for the cursor itself.
        let room = width.max(1) - 1;
        let mut cursor = 0;
        let fits = before.iter().rev().take_while(|c| {
            let fits = cursor + columns(c) <= room;
            cursor += if fits { columns(c) } else { 0 };
            fits
        });
        let start = before.len() - fits.count();
        let mut shown = String::new();
        let mut used = 0;
        for c in self.chars.iter().skip(start) {
            used += c.width().unwrap_or(0);
            if used > width {
                break;
            }
            shown.push(*c);
        }
        (shown, cursor)
    }

    fn insert(&mut self, c: char) {
        if self.chars.len() < CHARS_MAX && !c.is_control() {
            self.chars.insert(self.cursor, c);
            self.cursor += 1;
        }
    }

    fn finish(&mut self) -> Option<String> {
        let line: String = std::mem::take(&mut self.chars).into_iter().collect();
        (self.cursor, self.back) = (0, 0);
        if line.trim().is_empty() {
            return None;
        }
        if self.history.last() != Some(&line) {
            self.history.push(line.clone());
        }
        if self.history.len() > HISTORY_MAX {
            self.history.remove(0);
        }
        Some(line)
    }

    fn recall(&mut self, back: usize) {
        if back > self.history.len() {
            return;
        }
        self.back = back;
        let line = self.history.len().checked_sub(back).and_then(|at| self.history.get(at));
        self.chars = line.map(|line| line.chars().collect()).unwrap_or_default();
        self.cursor = self.chars.len();
    }

    fn delete_word(&mut self) {
        let start = self.word_before();
        self.chars.drain(start..self.cursor);
        self.cursor = start;
    }

    fn word_before(&self) -> usize {
        let (before, _) = self.chars.split_at(self.cursor);
        let word_end = before.iter().rposition(|c| !c.is_whitespace()).map_or(0, |at| at + 1);
        let (word, _) = before.split_at(word_end);
        word.iter().rposition(|c| c.is_whitespace()).map_or(0, |at| at + 1)
    }

    fn word_after(&self) -> usize {
        let (_, after) = self.chars.split_at(self.cursor);
        let start = after.iter().position(|c| !c.is_whitespace()).unwrap_or(after.len());
        let (_, word) = after.split_at(start);
        self.cursor + start + word.iter().position(|c| c.is_whitespace()).unwrap_or(word.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(input: &mut Input, keys: &[(KeyCode, KeyModifiers)]) -> Option<String> {
        let mut line = None;
        for (code, modifiers) in keys {
            line = input.on_key(KeyEvent::new(*code, *modifiers)).or(line);
        }
        line
    }

    fn plain(code: KeyCode) -> (KeyCode, KeyModifiers) {
        (code, KeyModifiers::NONE)
    }

    fn control(c: char) -> (KeyCode, KeyModifiers) {
        (KeyCode::Char(c), KeyModifiers::CONTROL)
    }

    #[test]
    fn a_line_is_edited_at_its_cursor() {
        let mut input = Input::default();
        input.paste("hello wörld");
        press(&mut input, &[plain(KeyCode::Home), plain(KeyCode::Delete), plain(KeyCode::Char('H'))]);
        assert_eq!(input.shown(80), ("Hello wörld".into(), 1));
        press(&mut input, &[(KeyCode::Right, KeyModifiers::CONTROL), control('k')]);
        assert_eq!(input.shown(80), ("Hello".into(), 5));
        press(&mut input, &[plain(KeyCode::Backspace), control('a'), plain(KeyCode::Left)]);
        assert_eq!(press(&mut input, &[plain(KeyCode::Enter)]), Some("Hell".into()));
        assert!(input.is_empty());
    }

    #[test]
    fn lines_of_a_paste_are_told_apart_by_one_blank_each() {
        let mut input = Input::default();
        input.paste("one\r\ntwo\nthree");
        press(&mut input, &[control('j'), plain(KeyCode::Char('4'))]);
        assert_eq!(input.shown(80).0, "one two three 4");
    }

    #[test]
    fn words_go_and_lines_come_back() {
        let mut input = Input::default();
        input.paste("one two  ");
        press(&mut input, &[control('w')]);
        assert_eq!(input.shown(80).0, "one ");
        press(&mut input, &[plain(KeyCode::Enter)]);
        input.paste("next");
        press(&mut input, &[plain(KeyCode::Enter), plain(KeyCode::Up), plain(KeyCode::Up), plain(KeyCode::Up)]);
        assert_eq!(input.shown(80).0, "one ");
        press(&mut input, &[plain(KeyCode::Down), plain(KeyCode::Down)]);
        assert!(input.is_empty());
    }

    #[test]
    fn the_cursor_stays_in_sight_whatever_the_width() {
        let mut input = Input::default();
        input.paste("漢字abc漢字");
        for width in 0..12 {
            let (shown, cursor) = input.shown(width);
            assert!(cursor <= width.max(1), "{width}: {shown} {cursor}");
        }
        assert_eq!(input.shown(5), ("漢字".into(), 4));
    }

    #[test]
    fn a_line_has_an_end() {
        let mut input = Input::default();
        input.paste(&"x".repeat(CHARS_MAX + 10));
        input.paste("\u{1b}[2J");
        assert_eq!(input.chars.len(), CHARS_MAX);
    }
}
