//! How everything is at one moment, as members and honest leaders report it, for the page.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ringfort_attack::real::told::Told;
use ringfort_protocol::view::Cause;
use serde::Serialize;

use super::words::{self, capital, crowd};
use super::{House, SHOWN};
use crate::attack::Kind;
use crate::desk::{LeaderState, Mode, State};
use crate::stage::{N, USERS};
use crate::story::Tone;

/// A delivery that is owed for longer is lost.
const LOST_AFTER: Duration = Duration::from_secs(15);

/// Everything.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    ready: bool,
    talks: bool,
    /// Whether somebody wrote or drew in a member's place.
    wrote: bool,
    leaders: Vec<Leader>,
    members: Vec<Member>,
    /// Leaders that are hacked or stopped.
    bad: usize,
    counts: Counts,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Counts {
    sent: u64,
    delivered: u64,
    on_the_way: usize,
    lost: usize,
    /// Messages that nobody sent, or that were for others, and that somebody was given.
    forged: u64,
    /// Attempts that somebody refused.
    refused: u64,
    /// Strangers that were in a view.
    strangers: usize,
    /// Times that somebody honest was accused.
    wronged: usize,
    keys: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Leader {
    number: u8,
    /// `honest`, `hacked` or `stopped`: what really runs there.
    runs: &'static str,
    /// The last attack, in words.
    attack: Option<&'static str>,
    does: Option<&'static str>,
    /// `fine`, `hidden`, `caught`, `silent`, `off` or `waking`: for the colour.
    mood: &'static str,
    word: &'static str,
    tried: u64,
    tries: BTreeMap<String, u64>,
    seen: Vec<Seen>,
    /// What came of it, where nothing is proven against it.
    outcome: Option<String>,
    /// Which members hear it confirm their view.
    heard: BTreeMap<String, bool>,
}

/// An offence that was seen.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Seen {
    by: String,
    what: &'static str,
    times: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Member {
    name: String,
    /// The address of its page, once it is there.
    url: Option<String>,
    present: bool,
    /// Whether it was put out for good.
    expelled: bool,
    epoch: Option<u64>,
    confirmed: bool,
}

impl Facts {
    /// Of now.
    pub fn of(house: &House) -> Self {
        let (pages, talks, wrote) = {
            let shown = house.shown();
            (shown.pages.clone(), shown.talks, shown.wrote)
        };
        house.desk.look(|state| {
            let counts = counts(state);
            let state = &*state;
            let member = |name: &str| {
                let known = state.members.get(name);
                Member {
                    name: name.to_owned(),
                    url: pages.get(name).cloned(),
                    present: known.is_some_and(|m| m.present),
                    expelled: state.departed.contains_key(&(name.to_owned(), Cause::Expelled)),
                    epoch: known.and_then(|m| m.view).map(|view| view.epoch.0),
                    confirmed: known.is_some_and(|m| m.confirmed),
                }
            };
            let leader = |number| Some(leader(number, state.leader(number)?, state, counts.lost));
            Facts {
                ready: pages.len() == SHOWN.len(),
                talks,
                wrote,
                leaders: (1..=N).filter_map(leader).collect(),
                members: SHOWN.into_iter().map(member).collect(),
                bad: state.leaders.iter().filter(|l| l.mode != Mode::Honest).count(),
                counts,
            }
        })
    }
}

fn counts(state: &mut State) -> Counts {
    let totals = state.ledger.totals();
    let owed = state.ledger.owed().len();
    let lost =
        Instant::now().checked_sub(LOST_AFTER).map_or(0, |then| state.ledger.owed_from_before(then, &BTreeSet::new()));
    let strangers: BTreeSet<&String> =
        state.ledger.views().flatten().filter(|name| !USERS.contains(&name.as_str())).collect();
    Counts {
        sent: totals.sent,
        delivered: totals.delivered,
        on_the_way: owed.saturating_sub(lost),
        lost,
        forged: totals.forged + totals.leaked,
        refused: state.refusals.values().sum(),
        strangers: strangers.len(),
        wronged: state.wronged.len(),
        keys: state.members.values().map(|m| m.keys).max().unwrap_or(0),
    }
}

fn leader(number: u8, known: &LeaderState, state: &State, lost: usize) -> Leader {
    let heard = state.present().map(|(name, m)| (name.clone(), m.answers.get(&number) == Some(&true)));
    let heard: BTreeMap<String, bool> = heard.collect();
    // Where everybody is out, nobody waits for it.
    let by_all = heard.values().all(|hears| *hears) && (!heard.is_empty() || state.talking);
    let by_none = heard.values().all(|hears| !hears);
    let kind = match known.mode {
        Mode::Hacked(kind) => Some(kind),
        Mode::Honest | Mode::Stopped => None,
    };
    let (mood, word) = match (known.mode, known.fresh.is_empty()) {
        (Mode::Stopped, _) => ("off", "switched off"),
        (Mode::Hacked(_), false) => ("caught", "caught cheating"),
        (Mode::Hacked(_), true) if by_none => ("silent", "nobody hears it"),
        (Mode::Hacked(_), true) => ("hidden", "looks honest"),
        (Mode::Honest, _) if !by_all => ("waking", "starting"),
        (Mode::Honest, false) => ("fine", "honest again"),
        (Mode::Honest, true) => ("fine", "fine"),
    };
    let seen = known.fresh.iter().map(|(offence, by)| Seen {
        by: crowd(by.keys().map(String::as_str)),
        what: words::offence(offence),
        times: by.values().sum(),
    });
    let mut seen: Vec<Seen> = seen.collect();
    seen.sort_by_key(|seen| std::cmp::Reverse(seen.times));
    Leader {
        number,
        runs: match known.mode {
            Mode::Honest => "honest",
            Mode::Hacked(_) => "hacked",
            Mode::Stopped => "stopped",
        },
        attack: kind.map(words::title),
        does: kind.map(words::does),
        mood,
        word,
        tried: known.tried.iter().filter(|(what, _)| !what.contains("opened")).map(|(_, count)| count).sum(),
        tries: known.tried.clone(),
        seen,
        outcome: kind.and_then(|kind| outcome(kind, known, state, lost)),
        heard,
    }
}

/// What came of an attack that leaves no proof.
fn outcome(kind: Kind, known: &LeaderState, state: &State, lost: usize) -> Option<String> {
    let tried = |what: &str| known.tried.get(what).copied().unwrap_or_default();
    match kind {
        Kind::Spy => Some(format!(
            "It recorded {} messages, tried {} keys on them, and opened {}. With a second leader's secrets it would have \
             opened {}: no single leader has the key.",
            tried("messages recorded"),
            tried("keys tried"),
            tried("messages opened"),
            tried("opened with a second leader's share"),
        )),
        Kind::Drop | Kind::Tamper if tried("messages withheld") + tried("altered messages") == 0 => {
            Some("So far nobody passes messages through it: they avoid whoever they have caught before.".to_owned())
        }
        Kind::Drop => {
            let came = match lost {
                0 => "Everybody has them from another leader.".to_owned(),
                lost => format!("{lost} are lost."),
            };
            Some(format!("It swallowed {} messages. {came}", tried("messages withheld")))
        }
        Kind::Expel => {
            let since = known.taken_over;
            let out = state.departed.iter().filter(|((name, cause), when)| {
                *cause == Cause::Expelled && SHOWN.contains(&name.as_str()) && since.is_none_or(|since| **when >= since)
            });
            let out: Vec<String> = out.map(|((name, _), _)| capital(name)).collect();
            let came = if out.is_empty() {
                "One leader's word is not enough: nobody is out.".to_owned()
            } else {
                format!("Out of the group, by the word of more leaders than may be hacked: {}.", out.join(", "))
            };
            Some(format!("It ordered {} expulsions. {came}", tried("proposed expulsions")))
        }
        Kind::Silent => Some("The others go on without it.".to_owned()),
        Kind::Deny if known.fresh.is_empty() => Some("Dan will try to join in spite of it.".to_owned()),
        _ => None,
    }
}

/// A line of the story for the page.
#[derive(Debug, Serialize)]
pub struct Line {
    n: u64,
    at_ms: u64,
    who: String,
    tone: Tone,
    text: String,
}

impl Line {
    /// `None` for what belongs on the terminal only: what members say they show themselves, and every new key.
    pub fn of(told: &Told) -> Option<Line> {
        if matches!(told.tone, Tone::Talk | Tone::Faint) {
            return None;
        }
        let text = match &told.offence {
            Some((leader, word)) if word == "silent" => format!("Leader {leader} is not heard any more."),
            Some((leader, word)) => format!("Leader {leader} {}.", words::offence(word)),
            None if told.who.is_empty() => capital(&told.text),
            None => told.text.clone(),
        };
        Some(Line { n: told.n, at_ms: told.at_ms, who: capital(&told.who), tone: told.tone, text })
    }
}
