//! One form for passwords, however they were typed.
//!
//! Systems, browsers and keyboards differ in whether an accent is a character of its own. What people see as one password is one.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// Composed characters take no more bytes than three times those that they are made of.
const GROWTH_MAX: usize = 3;

/// The form that is hashed, at enrolment and at every login: OpaqueString of RFC 8265, section 4.2.
///
/// Spaces of all kinds become the plain one, and the rest is brought to normal form C. Case and width stay. A byte order mark at the
/// start is an editor's, and no part of the password.
pub fn prepare(password: &str) -> Zeroizing<String> {
    // Room for all of it at once: growing would leave copies of a secret behind.
    let mut prepared = Zeroizing::new(String::with_capacity(password.len() * GROWTH_MAX));
    let text = password.strip_prefix('\u{feff}').unwrap_or(password);
    prepared.extend(text.chars().map(plain_space).nfc());
    prepared
}

fn plain_space(c: char) -> char {
    match c {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_is_the_same() {
        let composed = "caf\u{e9}-cr\u{e8}me";
        for other in ["cafe\u{301}-cre\u{300}me", "\u{feff}caf\u{e9}-cr\u{e8}me", composed] {
            assert_eq!(prepare(other).as_str(), composed);
        }
        assert_eq!(prepare("two\u{a0}words\u{3000}more").as_str(), "two words more");
        assert_eq!(prepare("\u{1100}\u{1161}\u{11a8}").as_str(), "\u{ac01}", "Hangul");
    }

    #[test]
    fn what_differs_stays_different() {
        for (one, other) in
            [("Secret-word", "secret-word"), ("\u{ff21}bcdefgh", "Abcdefgh"), ("stra\u{df}e", "strasse")]
        {
            assert_ne!(prepare(one), prepare(other));
        }
        assert_eq!(prepare("plain ascii, as it is").as_str(), "plain ascii, as it is");
    }

    #[test]
    fn it_fits_the_room_made_for_it() {
        // U+1D160 is decomposed by normal form C, and grows.
        for text in ["\u{1d160}", "\u{fb2c}", "\u{958}", "\u{1f82}", "\u{390}"] {
            let many = text.repeat(50);
            assert!(prepare(&many).len() <= many.len() * GROWTH_MAX, "{text:?}");
        }
    }
}
