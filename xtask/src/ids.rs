//! Every requirement that the code cites (`A5`, `K16`, `P8`) has a row in a document of this repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The documents whose tables define ids.
const DEFINING: &[&str] = &["docs/requirements.md", "docs/attacks.md", "docs/traces.md"];

/// What does not resolve in the comments of `files`, as complaints.
pub fn check(root: &Path, files: &[std::path::PathBuf], complaints: &mut Vec<String>) {
    let known = defined(root);
    for file in files {
        let text = fs::read_to_string(file).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            let Some((_, comment)) = line.split_once("//") else { continue };
            for id in cited(comment).filter(|id| !known.contains(id)) {
                let name = file.strip_prefix(root).unwrap_or(file).display();
                complaints.push(format!("{name}:{}: `{id}` has no row in {}", number + 1, DEFINING.join(", ")));
            }
        }
    }
}

/// The first cell of every table row, and every id of a range such as `K1 to K46` is a row of its own there.
fn defined(root: &Path) -> BTreeSet<String> {
    let read = |name: &&str| fs::read_to_string(root.join(name)).unwrap_or_default();
    let rows = DEFINING.iter().map(read).flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    rows.filter_map(|line| Some(line.strip_prefix("| ")?.split(" |").next()?.trim().to_owned())).collect()
}

/// Ids in parentheses: `(A5, K16)`, `(K15–K18)`, `(seed 002 §2.3, A10)`. Elsewhere a letter with a digit may be anything.
fn cited(comment: &str) -> impl Iterator<Item = String> + '_ {
    let parenthesised = comment.split('(').skip(1).filter_map(|rest| rest.split(')').next());
    parenthesised.flat_map(|inside| inside.split([',', '–', ' '])).filter(|word| is_id(word)).map(str::to_owned)
}

fn is_id(word: &str) -> bool {
    let Some((letter, number)) = word.split_at_checked(1) else { return false };
    let cites = matches!(letter.as_bytes(), [b'A'..=b'M' | b'P']);
    cites && (1..=2).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_parentheses_are_citations() {
        let of = |text: &str| cited(text).collect::<Vec<_>>();
        assert_eq!(of(" Remembers numbers (K2, K24, P8)."), ["K2", "K24", "P8"]);
        assert_eq!(of(" Challenges (K15–K18)"), ["K15", "K18"]);
        assert_eq!(of(" one honest leader (seed 002 §2.3, A10)"), ["A10"]);
        assert_eq!(of(" a function f(x) of H1(n, M) over nonces (N1, N2)"), Vec::<String>::new());
    }

    #[test]
    fn the_documents_define_what_the_code_may_cite() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
        let known = defined(root);
        for id in ["A5", "B2", "C15", "G10", "K1", "K46", "P10"] {
            assert!(known.contains(id), "{id} has no row");
        }
        assert!(!known.contains("K47"));
    }
}
