//! Breaking text into lines.

use unicode_width::UnicodeWidthChar;

/// Breaks `text` at spaces, and within words that are too long: the first line has `first` columns, the others `rest`.
pub(super) fn wrap(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let (mut used, mut room) = (0, first.max(1));
    for word in text.split_inclusive(' ') {
        let columns: usize = word.trim_end().chars().map(|c| c.width().unwrap_or(0)).sum();
        if used > 0 && used + columns > room {
            finish(&mut lines, &mut line);
            (used, room) = (0, rest.max(1));
        }
        for c in word.chars() {
            let columns = c.width().unwrap_or(0);
            if used > 0 && used + columns > room {
                if c == ' ' {
                    continue;
                }
                finish(&mut lines, &mut line);
                (used, room) = (0, rest.max(1));
            }
            line.push(c);
            used += columns;
        }
    }
    finish(&mut lines, &mut line);
    lines
}

fn finish(lines: &mut Vec<String>, line: &mut String) {
    let length = line.trim_end().len();
    line.truncate(length);
    lines.push(std::mem::take(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_breaks_at_spaces_and_long_words_anywhere() {
        assert_eq!(wrap("one two three", 8, 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4, 3), ["abcd", "efg", "hij"]);
        assert_eq!(wrap("漢字漢字", 4, 4), ["漢字", "漢字"]);
        assert_eq!(wrap("", 4, 4), [""]);
        assert_eq!(wrap("ab cd", 0, 0), ["a", "b", "c", "d"]);
    }
}
