//! What came of it: by scenario and by row, for people and for machines.

use std::fmt::Write;

use serde::Serialize;

use crate::catalogue;
use crate::play::{Place, Played};
use crate::rows::{End, ROWS, Row, Shown};
use crate::scenario::{Holds, Scenario};

/// Characters of a line.
const WIDTH: usize = 118;

/// One scenario and its plays.
#[derive(Clone, Debug, Serialize)]
pub struct ScenarioReport {
    /// Its name.
    pub name: &'static str,
    /// Its rows.
    pub rows: &'static [&'static str],
    /// Where the paper states the flaw.
    pub source: &'static str,
    /// The flaw.
    pub flaw: &'static str,
    /// What the attacker holds.
    pub holds: &'static [Holds],
    /// What it does.
    pub attack: &'static str,
    /// What must be observed.
    pub expected: &'static str,
    /// The defences, as rules that can be removed.
    pub defences: Vec<String>,
    /// `refused`, `BROKEN` or `NOT MADE`: the worst of its plays.
    pub outcome: &'static str,
    /// The plays.
    pub plays: Vec<Played>,
}

/// One row and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct RowReport {
    /// Its name.
    pub id: &'static str,
    /// The flaw in a few words.
    pub flaw: &'static str,
    /// Where the paper states it.
    pub source: &'static str,
    /// `refused`, `structural`, `not applicable`, `not yet`; or `BROKEN`, `NOT MADE`, `not played`.
    pub end: &'static str,
    /// The reason, where no scenario is played.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
    /// What shows it, where the design has no place for the flaw.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub shown_by: &'static [Shown],
    /// The scenarios.
    pub scenarios: Vec<&'static str>,
}

/// Everything that was played.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether everything expected was observed.
    pub good: bool,
    /// How long all of it took, milliseconds.
    pub time_ms: u64,
    /// Orders of deliveries on the simulated stage, all plays together.
    pub interleavings: usize,
    /// By row.
    pub rows: Vec<RowReport>,
    /// By scenario.
    pub scenarios: Vec<ScenarioReport>,
}

impl ScenarioReport {
    /// A scenario with those of the plays that are its own.
    pub fn of(scenario: &Scenario, played: &[Played]) -> ScenarioReport {
        let mine = |p: &&Played| match p.stage {
            Place::Simulated => scenario.simulated.contains(&p.name),
            Place::Real => scenario.real.contains(&p.name),
        };
        let plays: Vec<Played> = played.iter().filter(mine).cloned().collect();
        let worst = plays.iter().find(|p| !p.outcome.is_refused()).or(plays.first());
        ScenarioReport {
            name: scenario.name,
            rows: scenario.rows,
            source: scenario.source,
            flaw: scenario.flaw,
            holds: scenario.holds,
            attack: scenario.attack,
            expected: scenario.expected,
            defences: scenario.defences().iter().map(|rule| format!("{rule:?}")).collect(),
            outcome: worst.map_or("not played", |p| p.outcome.word()),
            plays,
        }
    }

    fn interleavings(&self) -> usize {
        self.plays.iter().filter_map(|p| p.explored.as_ref()).map(|e| e.interleavings).sum()
    }

    fn time_ms(&self) -> u64 {
        self.plays.iter().map(|p| p.time_ms).sum()
    }
}

impl RowReport {
    fn of(row: &Row, scenarios: &[ScenarioReport]) -> RowReport {
        let mine: Vec<&ScenarioReport> = scenarios.iter().filter(|s| s.rows.contains(&row.id)).collect();
        let (end, why, shown_by): (_, _, &'static [Shown]) = match row.end {
            End::Refused => {
                let played = || mine.iter().filter(|s| !s.plays.is_empty());
                let worst = played().find(|s| s.outcome != "refused").or(played().next());
                (worst.map_or("not played", |s| s.outcome), None, &[])
            }
            End::Structural(why, shown) => ("structural", Some(why), shown),
            End::NotApplicable(why) => ("not applicable", Some(why), &[]),
            End::NotYet(why) => ("not yet", Some(why), &[]),
        };
        let scenarios = mine.iter().map(|s| s.name).collect();
        RowReport { id: row.id, flaw: row.flaw, source: row.source, end, why, shown_by, scenarios }
    }
}

impl Report {
    /// A report on these scenarios; with all of them, on all rows.
    pub fn new(scenarios: &[&'static Scenario], played: &[Played], time_ms: u64) -> Report {
        let all = scenarios.len() == catalogue::all().count();
        let scenarios: Vec<ScenarioReport> = scenarios.iter().map(|s| ScenarioReport::of(s, played)).collect();
        let concerned = |row: &&Row| all || scenarios.iter().any(|s| s.rows.contains(&row.id));
        let rows = ROWS.iter().filter(concerned).map(|row| RowReport::of(row, &scenarios)).collect();
        Report {
            good: !played.is_empty() && played.iter().all(|p| p.outcome.is_refused()),
            time_ms,
            interleavings: played.iter().filter_map(|p| p.explored.as_ref()).map(|e| e.interleavings).sum(),
            rows,
            scenarios,
        }
    }

    /// One line for each scenario, and more for those that did not end well.
    pub fn brief(&self) -> String {
        let mut text = String::new();
        for scenario in &self.scenarios {
            let _ = writeln!(
                text,
                "{:<8}  {:<24} {:<16} {}",
                scenario.outcome,
                scenario.name,
                short(scenario.rows),
                effort(scenario.plays.len(), scenario.interleavings(), scenario.time_ms()),
            );
            for play in scenario.plays.iter().filter(|p| !p.outcome.is_refused()) {
                text.push_str(&describe(play));
            }
        }
        text.push_str(&self.totals());
        text
    }

    /// Row by row, with what was expected and observed.
    pub fn full(&self) -> String {
        let mut text = String::new();
        let mut told: Vec<(&str, &str)> = Vec::new();
        for row in &self.rows {
            let _ = writeln!(text, "{:<14} {:<15} {} ({})", row.id, row.end, row.flaw, row.source);
            if let Some(why) = row.why {
                text.push_str(&wrap("because", why));
            }
            for shown in row.shown_by {
                text.push_str(&wrap("shown by", &format!("{}: {}", shown.file, shown.text)));
            }
            for scenario in self.scenarios.iter().filter(|s| row.scenarios.contains(&s.name)) {
                if let Some((_, at)) = told.iter().find(|(name, _)| *name == scenario.name) {
                    text.push_str(&wrap("scenario", &format!("{} (see {at})", scenario.name)));
                    continue;
                }
                told.push((scenario.name, row.id));
                text.push_str(&describe_scenario(scenario));
            }
        }
        text.push_str(&self.totals());
        text
    }

    fn totals(&self) -> String {
        let count = |end: &str| self.rows.iter().filter(|row| row.end == end).count();
        let ends = ["refused", "structural", "not applicable", "not yet", "BROKEN", "NOT MADE", "not played"];
        let ends = ends.iter().filter(|end| count(end) > 0).map(|end| format!("{} {end}", count(end)));
        let ends: Vec<String> = ends.collect();
        let plays = |place| {
            let mut names: Vec<&str> =
                self.scenarios.iter().flat_map(|s| &s.plays).filter(|p| p.stage == place).map(|p| p.name).collect();
            names.sort_unstable();
            names.dedup();
            names.len()
        };
        let verdict = if self.good { "every attack was made and refused" } else { "NOT as expected" };
        format!(
            "\nrows: {}\nscenarios: {}, {} plays simulated in {} orders of deliveries, {} against real processes, {}\n{verdict}\n",
            ends.join(", "),
            self.scenarios.len(),
            plays(Place::Simulated),
            self.interleavings,
            plays(Place::Real),
            seconds(self.time_ms),
        )
    }
}

fn describe_scenario(scenario: &ScenarioReport) -> String {
    let holds: Vec<&str> = scenario.holds.iter().map(|h| h.words()).collect();
    let mut text = wrap("scenario", &format!("{} (the attacker holds {})", scenario.name, holds.join(", ")));
    text.push_str(&wrap("attack", scenario.attack));
    text.push_str(&wrap("expected", scenario.expected));
    scenario.plays.iter().for_each(|play| text.push_str(&describe(play)));
    if !scenario.defences.is_empty() {
        text.push_str(&wrap("defended by", &scenario.defences.join(", ")));
    }
    text
}

/// One play: what was observed, how far it went, how to see it again.
fn describe(play: &Played) -> String {
    let stage = match play.stage {
        Place::Simulated => "simulated",
        Place::Real => "real",
    };
    let mut line = format!("{}: {}: {}", play.name, play.outcome.word(), play.outcome.observed());
    if let Some(explored) = &play.explored {
        let orders = match (explored.interleavings, explored.complete) {
            (1, _) => "one order".to_owned(),
            (count, true) => format!("all {count} orders"),
            (count, false) => format!("{count} orders of more, {} by chance", explored.sampled),
        };
        let _ = write!(line, " [{orders}, {}, seed {}]", seconds(play.time_ms), explored.seed);
        if !play.outcome.is_refused() {
            let _ = write!(line, " replay: cargo run --release -- attack run --replay {}", explored.replay);
        }
    } else {
        let _ = write!(line, " [{}]", seconds(play.time_ms));
    }
    wrap(stage, &line)
}

/// What a scenario is, for a list of them.
pub fn introduce(scenario: &Scenario) -> String {
    let holds: Vec<&str> = scenario.holds.iter().map(|h| h.words()).collect();
    let mut text = format!("{:<24} {:<16} {}\n", scenario.name, short(scenario.rows), scenario.source);
    text.push_str(&wrap("flaw", scenario.flaw));
    text.push_str(&wrap("attacker", &holds.join(", ")));
    text.push_str(&wrap("attack", scenario.attack));
    text.push_str(&wrap("expected", scenario.expected));
    text.push_str(&wrap("simulated", &scenario.simulated.join(", ")));
    if !scenario.real.is_empty() {
        text.push_str(&wrap("real", &scenario.real.join(", ")));
    }
    text
}

fn short(rows: &[&str]) -> String {
    rows.join(" ")
}

fn effort(plays: usize, interleavings: usize, time_ms: u64) -> String {
    let plays = if plays == 1 { "1 play".to_owned() } else { format!("{plays} plays") };
    let orders = if interleavings == 1 { "1 order".to_owned() } else { format!("{interleavings} orders") };
    format!("{plays}, {orders}, {}", seconds(time_ms))
}

/// A length of time for people.
pub fn seconds(time_ms: u64) -> String {
    format!("{}.{} s", time_ms / 1000, time_ms % 1000 / 100)
}

/// A labelled text in lines that fit.
pub(crate) fn wrap(label: &str, text: &str) -> String {
    const INDENT: usize = 18;
    let mut lines = String::new();
    let mut line = format!("    {label:<width$}", width = INDENT - 4);
    for word in text.split_whitespace() {
        if line.len() > INDENT && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(line.trim_end());
            lines.push('\n');
            line = " ".repeat(INDENT);
        }
        if line.len() > INDENT {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push_str(line.trim_end());
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Outcome;

    fn played(name: &'static str, outcome: Outcome) -> Played {
        Played { name, stage: Place::Simulated, outcome, time_ms: 1_234, explored: None }
    }

    #[test]
    fn one_broken_play_breaks_its_scenario_its_rows_and_the_report() {
        let scenario = catalogue::named("message-replay").unwrap();
        let good = played("data-replay", Outcome::refused("once"));
        let bad = played("world-replaying-relays", Outcome::broken("twice"));
        let report = Report::new(&[scenario], std::slice::from_ref(&good), 5);
        assert!(report.good && report.rows.iter().all(|row| row.end == "refused"));
        let report = Report::new(&[scenario], &[good, bad], 5);
        assert!(!report.good && report.rows.iter().all(|row| row.end == "BROKEN"));
        assert!(report.full().contains("BROKEN: twice") && report.brief().contains("NOT as expected"));
        let report = Report::new(&[scenario], &[], 5);
        assert!(!report.good && report.rows.iter().all(|row| row.end == "not played"));
    }

    #[test]
    fn lines_fit() {
        let text = wrap("observed", &"word ".repeat(200));
        assert!(text.lines().count() > 5 && text.lines().all(|line| line.chars().count() <= WIDTH));
    }
}
