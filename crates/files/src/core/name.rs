//! File names that are nothing but names, whatever somebody else called the file.

/// The longest name, in bytes: what the usual file systems allow, less room for a number.
pub const NAME_BYTES_MAX: usize = 200;

/// Names that mean devices on some systems.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];

/// A safe name for a file: no folder, no hidden file, no control or direction character, no device, not empty, not too
/// long; its ending stays. Idempotent.
pub fn safe(name: &str) -> String {
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let trimmed = plain.trim_matches(|c: char| c == '.' || c.is_whitespace());
    let short = shorten(trimmed);
    let short = short.trim_matches(|c: char| c == '.' || c.is_whitespace());
    let stem = short.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let device = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    match () {
        () if short.is_empty() => "file".to_owned(),
        () if DEVICES.contains(&device) => shorten(&format!("_{short}")),
        () => short.to_owned(),
    }
}

/// The name for the `number`th file of this name: `a.txt`, `a (2).txt`.
pub fn numbered(name: &str, number: u32) -> String {
    if number <= 1 {
        return name.to_owned();
    }
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => format!("{stem} ({number}).{ending}"),
        _ => format!("{name} ({number})"),
    }
}

fn is_plain(c: char) -> bool {
    let steers = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}');
    !c.is_control() && !steers && !r#"/\:*?"<>|"#.contains(c)
}

/// Cuts the middle, so that the ending stays.
fn shorten(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let ending = name.rsplit_once('.').map(|(_, ending)| ending).filter(|ending| ending.len() <= 16);
    let ending = ending.map(|ending| format!(".{ending}")).unwrap_or_default();
    let room = NAME_BYTES_MAX - ending.len();
    let cut = (0..=room).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{ending}", name.get(..cut).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        for (name, safe_name) in [
            ("../../etc/passwd", "_.._etc_passwd"),
            ("..", "file"),
            ("", "file"),
            (".bashrc", "bashrc"),
            ("a/b\\c:d", "a_b_c_d"),
            ("  report.pdf ", "report.pdf"),
            ("gnp.\u{202e}exe", "gnp._exe"),
            ("line\nbreak\0", "line_break_"),
            ("COM1.txt", "_COM1.txt"),
            ("nul", "_nul"),
            ("console.txt", "console.txt"),
            ("Übergabe – 1.odt", "Übergabe – 1.odt"),
        ] {
            assert_eq!(safe(name), safe_name);
        }
    }

    #[test]
    fn a_long_name_keeps_its_ending() {
        let name = safe(&format!("{}.tar", "ö".repeat(300)));
        assert!(name.len() <= NAME_BYTES_MAX && name.ends_with("ö.tar"), "{name}");
    }

    #[test]
    fn a_second_file_gets_a_number() {
        assert_eq!(numbered("a.txt", 1), "a.txt");
        assert_eq!(numbered("a.txt", 2), "a (2).txt");
        assert_eq!(numbered("README", 3), "README (3)");
    }

    proptest! {
        #[test]
        fn any_name_becomes_one_safe_component(name in "\\PC{0,300}|[./\\\\a-z]{0,40}") {
            let made = safe(&name);
            prop_assert!((1..=NAME_BYTES_MAX).contains(&made.len()));
            prop_assert!(!made.starts_with('.') && !made.contains(['/', '\\', '\0']));
            let path = std::path::Path::new(&made);
            let components: Vec<_> = path.components().collect();
            prop_assert!(matches!(components.as_slice(), [std::path::Component::Normal(_)]));
            prop_assert_eq!(safe(&made), made);
        }
    }
}
