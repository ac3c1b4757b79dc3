//! `docs/attacks.md` leads from each row to the code and to the scenario, and is what the catalogue says.
//!
//! `RINGFORT_WRITE_DOCS=1 cargo test -p ringfort-attack --test page` writes it anew.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use ringfort_attack::catalogue;
use ringfort_attack::rows::{End, ROWS, Row};
use ringfort_attack::scenario::Scenario;
use ringfort_protocol::rules::Rule;

const HEAD: &str = "# From a published flaw to the code and to the attack

Written by the tests of `verify/attack` from its catalogue; change that, not this page.

The papers are cited by number: **seed 000** *The Architecture of a Secure Group Communication System Based on Intrusion
Tolerance* (Correia, Veríssimo, Neves), **001** *The Middleware Architecture of MAFTIA*, **002** *Intrusion-Tolerant Enclaves*
(Dutertre, Crettaz, Stavridou, 2002), **003** *Security Services for Group-Oriented Applications* (Dutertre, 2000), **004** *Secure
Spread*. Rows K1 to K46 are the flaws that 003 finds in Antigone and Enclaves 2.0.

```sh
cargo run --release -- attack list              # every scenario in words
cargo run --release -- attack run message-replay
cargo run --release -- attack run --all         # all of them, on both stages
cargo run --release -- attack report --json     # what became of every row, for a machine
cargo run --release -- attack defences          # every defence removed in turn, and who notices
```

A scenario is played on up to two stages. **Simulated**: the real protocol cores on a bench, the order of deliveries inside a
window enumerated. **Real**: leader processes and members over sockets, through a hostile proxy. A *defence* is a rule of
[rules.rs](../crates/protocol/src/rules.rs) that can be taken out of all honest nodes; the scenario then fails. Attacks on
sites are played on three sites' processes, and in the tests of their own simulator.

";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The Rust files below a folder of the workspace, with their text up to their tests.
fn sources(folder: &str) -> Vec<(String, String)> {
    let (mut open, mut found) = (vec![workspace().join(folder)], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(workspace()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn link(file: &str) -> String {
    format!("[{}](../{file})", file.trim_start_matches("crates/").trim_start_matches("verify/"))
}

fn links(files: impl Iterator<Item = String>) -> String {
    files.map(|file| link(&file)).collect::<Vec<_>>().join(", ")
}

struct Tree {
    protocol: Vec<(String, String)>,
    plays: Vec<(String, String)>,
    real: Vec<(String, String)>,
}

impl Tree {
    fn read() -> Self {
        Tree {
            protocol: [sources("crates/protocol/src"), sources("crates/setup/src")].concat(),
            plays: sources("verify/sim/src/attacks"),
            real: sources("verify/attack/src/real/scenarios"),
        }
    }

    /// Where a rule is in force: in production code that asks for it.
    fn enforced(&self, rule: Rule) -> String {
        let asked = format!("Rule::{rule:?}");
        let asks = |(name, text): &&(String, String)| {
            let threshold = name.ends_with("/rules.rs") && text.contains(&format!("self.weakened({asked},"));
            // Another rule's name may begin like this one's.
            let named = |rest: &str| !rest.starts_with(char::is_alphanumeric);
            let check =
                !name.ends_with("/rules.rs") && !name.contains("/tests") && text.split(&asked).skip(1).any(named);
            threshold || check
        };
        links(self.protocol.iter().filter(asks).map(|(name, _)| name.clone()))
    }

    fn simulated(&self, play: &str) -> String {
        let quoted = format!("\"{play}\"");
        links(self.plays.iter().filter(|(_, text)| text.contains(&quoted)).map(|(name, _)| name.clone()))
    }

    /// The scenarios' table names the module: `"name" => module::function`.
    fn real(&self, play: &str) -> String {
        let (_, table) = self.real.iter().find(|(name, _)| name.ends_with("scenarios/mod.rs")).unwrap();
        let entry = format!("\"{play}\" => ");
        let module = table.split(&entry).nth(1).and_then(|rest| rest.split("::").next()).unwrap();
        link(&format!("verify/attack/src/real/scenarios/{module}.rs"))
    }
}

fn row_line(row: &Row) -> String {
    let became = match row.end {
        End::Refused => {
            let scenarios = catalogue::of_row(row.id);
            let named: Vec<_> = scenarios.iter().map(|s| format!("[{0}](#{0})", s.name)).collect();
            format!("refused: {}", named.join(", "))
        }
        End::Structural(why, shown) => {
            let by: Vec<_> =
                shown.iter().map(|s| format!("{} (`{}`)", link(s.file), s.text.replace('|', "\\|"))).collect();
            format!("no place for it: {why}; {}", by.join(", "))
        }
        End::NotApplicable(why) => format!("not applicable: {why}"),
        End::NotYet(what) => format!("not yet: {what}"),
    };
    format!("| {} | {} | {} | {became} |\n", row.id, row.flaw, row.source)
}

fn chapter(tree: &Tree, scenario: &Scenario) -> String {
    let holds: Vec<_> = scenario.holds.iter().map(|h| h.words()).collect();
    let mut text = format!(
        "### {}\n\nRows {} ({}). {}\n\n",
        scenario.name,
        scenario.rows.join(", "),
        scenario.source,
        scenario.flaw
    );
    writeln!(text, "- *The attacker holds* {}. {}", holds.join(", "), scenario.attack).unwrap();
    writeln!(text, "- *Expected:* {}", scenario.expected).unwrap();
    for rule in scenario.defences() {
        writeln!(text, "- *Defence* `{rule:?}`: {}", tree.enforced(rule)).unwrap();
    }
    for play in scenario.simulated {
        writeln!(text, "- *Simulated* `{play}`: {}", tree.simulated(play)).unwrap();
    }
    for shown in catalogue::sites::elsewhere(scenario.name) {
        writeln!(text, "- *Simulated* `{}`: {}", shown.text.trim_start_matches("fn "), link(shown.file)).unwrap();
    }
    for play in scenario.real {
        writeln!(text, "- *Real* `{play}`: {}", tree.real(play)).unwrap();
    }
    for twin in scenario.twins {
        writeln!(
            text,
            "- *Flawed twin:* without `{:?}`, as in {}, the play `{}` succeeds.",
            twin.without, twin.like, twin.play
        )
        .unwrap();
    }
    text + "\n"
}

fn page() -> String {
    let tree = Tree::read();
    let mut text =
        HEAD.to_owned() + "## Rows\n\n| row | the flaw | stated in | what became of it |\n|---|---|---|---|\n";
    text.extend(ROWS.iter().map(row_line));
    text += "\n## Scenarios\n\n";
    text.extend(catalogue::all().map(|scenario| chapter(&tree, scenario)));
    text.trim_end().to_owned() + "\n"
}

#[test]
fn the_page_is_what_the_catalogue_says() {
    let (path, page) = (workspace().join("docs/attacks.md"), page());
    if std::env::var_os("RINGFORT_WRITE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let command = "RINGFORT_WRITE_DOCS=1 cargo test -p ringfort-attack --test page";
    assert!(written == page, "docs/attacks.md is not what the catalogue says; `{command}` writes it anew");
}

/// What a heading is called in a link: small letters, digits, and hyphens for spaces.
fn anchor_of(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words
        .chars()
        .filter(|c| c.is_alphanumeric() || "- _".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    for document in ["docs/attacks.md", "SECURITY.md", "README.md", "ARCHITECTURE.md"] {
        let path = workspace().join(document);
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let there = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(there.exists(), "{document}: {target}");
            let text = fs::read_to_string(&there).unwrap_or_default();
            let mut headings = text.lines().filter(|line| line.starts_with('#')).map(anchor_of);
            assert!(anchor.is_empty() || headings.any(|of| of == anchor), "{document}: {target}");
        }
    }
}

#[test]
fn every_defence_and_play_leads_to_code() {
    let tree = Tree::read();
    for scenario in catalogue::all() {
        for rule in scenario.defences() {
            assert!(!tree.enforced(rule).is_empty(), "{rule:?} is enforced nowhere");
        }
        assert!(scenario.simulated.iter().all(|play| !tree.simulated(play).is_empty()), "{}", scenario.name);
    }
}
