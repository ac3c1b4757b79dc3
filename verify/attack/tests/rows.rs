//! Every row is accounted for, and what is named exists.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ringfort_attack::catalogue;
use ringfort_attack::real;
use ringfort_attack::rows::{End, ROWS};
use ringfort_protocol::rules::Rule;
use ringfort_sim::attacks;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

#[test]
fn every_row_is_there_once() {
    let ids: Vec<&str> = ROWS.iter().map(|row| row.id).collect();
    let expected: Vec<String> = (1..=46).map(|n| format!("K{n}")).collect();
    assert_eq!(ids.get(..46).unwrap(), expected, "K1 to K46, in order");
    for id in ["J6", "L1", "L2", "L3", "L4", "L5", "L6", "L7", "L8", "L9"] {
        assert!(ids.contains(&id), "{id}");
    }
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "a row stands twice");
}

#[test]
fn a_refused_row_has_scenarios_and_the_others_have_a_reason() {
    for row in ROWS {
        let scenarios = catalogue::of_row(row.id);
        match row.end {
            End::Refused => assert!(!scenarios.is_empty(), "{} has no scenario", row.id),
            End::Structural(why, shown) => assert!(!why.is_empty() && !shown.is_empty(), "{}", row.id),
            End::NotApplicable(why) | End::NotYet(why) => {
                assert!(!why.is_empty() && scenarios.is_empty(), "{}", row.id);
            }
        }
    }
}

#[test]
fn what_shows_a_row_exists() {
    for row in ROWS {
        let End::Structural(_, shown) = row.end else { continue };
        for shown in shown {
            let text = std::fs::read_to_string(workspace().join(shown.file)).unwrap_or_default();
            assert!(text.contains(shown.text), "{}: {} does not hold `{}`", row.id, shown.file, shown.text);
        }
    }
}

#[test]
fn scenarios_name_rows_and_plays_that_exist() {
    let mut names = BTreeSet::new();
    for scenario in catalogue::all() {
        assert!(names.insert(scenario.name), "{} stands twice", scenario.name);
        for row in scenario.rows {
            assert!(ROWS.iter().any(|r| r.id == *row && matches!(r.end, End::Refused)), "{}: {row}", scenario.name);
        }
        assert_eq!(scenario.simulated().len(), scenario.simulated.len(), "{}", scenario.name);
        assert_eq!(scenario.real().len(), scenario.real.len(), "{}", scenario.name);
        // Sites have simulators of their own.
        let elsewhere = catalogue::sites::elsewhere(scenario.name);
        let simulated = !scenario.simulated.is_empty() || !elsewhere.is_empty();
        assert!(simulated, "{} is not played without processes", scenario.name);
        for shown in elsewhere {
            let text = std::fs::read_to_string(workspace().join(shown.file)).unwrap_or_default();
            assert!(text.contains(shown.text), "{}: {} does not hold `{}`", scenario.name, shown.file, shown.text);
        }
        for twin in scenario.twins {
            let play = attacks::named(twin.play).unwrap();
            assert!(scenario.simulated.contains(&twin.play) && play.defences.contains(&twin.without), "{twin:?}");
        }
    }
}

#[test]
fn every_play_belongs_to_a_scenario() {
    for attack in attacks::all() {
        assert!(catalogue::all().any(|s| s.simulated.contains(&attack.name)), "{} simulated", attack.name);
    }
    for (name, _) in real::SCENARIOS {
        assert!(catalogue::all().any(|s| s.real.contains(name)), "{name} real");
    }
}

#[test]
fn every_defence_is_named_by_a_scenario() {
    let named: BTreeSet<Rule> = catalogue::all().flat_map(|s| s.defences()).collect();
    let implied = attacks::all().filter_map(|attack| attack.implied.map(|(rule, _)| rule));
    let all: BTreeSet<Rule> = named.into_iter().chain(implied).collect();
    assert_eq!(all, Rule::ALL.into_iter().collect());
}

/// What the flawed systems used, as crates are called.
const BROKEN: [&str; 8] = ["des", "md5", "md-5", "sha1", "sha-1", "rc4", "blowfish", "openssl"];

#[test]
fn no_broken_cipher_is_a_dependency_of_production() {
    for package in ["crypto", "protocol", "ringfort", "cli"] {
        let manifest = std::fs::read_to_string(workspace().join("crates").join(package).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap();
        let dependencies = dependencies.split("[dev-dependencies]").next().unwrap();
        for line in dependencies.lines() {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(!BROKEN.contains(&name), "{package} depends on {name}");
        }
    }
}
