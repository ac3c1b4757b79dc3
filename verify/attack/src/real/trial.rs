//! One attack on the real stage: what was tried, what was seen, and whether the honest went on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ringfort_protocol::view::Cause;

use super::PATIENCE;
use super::desk::{Mode, State};
use super::ledger::Totals;
use super::stage::{N, Stage};
use crate::scenario::Outcome;

/// How long the honest may take to be as before once an attack is over.
const RECOVERY: Duration = Duration::from_secs(60);

/// Time between two looks at what is owed.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// Members that talk on the stage of the scenarios.
pub const HONEST: [&str; 3] = ["ana", "ben", "eva"];

/// An attack under way.
pub struct Trial<'a> {
    /// The stage.
    pub stage: &'a mut Stage,
    books: Books,
    before: Marks,
    late: BTreeSet<String>,
}

/// What an attack tried, what came of it, and what should not have.
#[derive(Debug, Default)]
pub struct Books {
    made: Vec<String>,
    not_made: Vec<String>,
    seen: Vec<String>,
    broken: Vec<String>,
}

impl Books {
    /// So often this was tried: once at least, or the scenario did not come about.
    pub fn made(&mut self, what: &str, count: u64) {
        if count > 0 {
            self.made.push(format!("{count} {what}"));
        } else {
            self.not_made.push(format!("no {what}"));
        }
    }

    /// The refusal that must be seen. Without it the attack succeeded.
    pub fn expect(&mut self, held: bool, what: impl Into<String>) {
        if held {
            self.seen.push(what.into());
        } else {
            self.broken.push(format!("not so: {}", what.into()));
        }
    }

    /// A count that must be zero: what the attack was to bring about.
    pub fn none(&mut self, count: u64, what: &str) {
        self.expect(count == 0, format!("{count} {what}"));
    }

    /// How it came out.
    pub fn outcome(self) -> Outcome {
        let tried = self.made.join(", ");
        if !self.broken.is_empty() {
            Outcome::broken(format!("{tried}: {}", self.broken.join("; ")))
        } else if !self.not_made.is_empty() || self.made.is_empty() {
            Outcome::not_made(self.not_made.join("; "))
        } else {
            Outcome::refused(format!("{tried}: {}", self.seen.join("; ")))
        }
    }
}

fn is_honest_and_put_out((name, cause): &&(String, Cause)) -> bool {
    HONEST.contains(&name.as_str()) && *cause != Cause::Left
}

/// What had happened at one moment.
#[derive(Debug)]
struct Marks {
    totals: Totals,
    wronged: BTreeSet<String>,
    /// Messages told to be lost, by receiver.
    gaps: BTreeMap<String, u64>,
    keys: BTreeMap<String, u64>,
    /// Sent and delivered, by member.
    talk: BTreeMap<String, (u64, u64)>,
    departed: usize,
}

impl Marks {
    fn of(state: &State) -> Self {
        Marks {
            totals: state.ledger.totals(),
            wronged: state.wronged.clone(),
            gaps: state.members.iter().map(|(name, m)| (name.clone(), m.gaps)).collect(),
            keys: state.members.iter().map(|(name, m)| (name.clone(), m.keys)).collect(),
            talk: state.ledger.by_member().clone(),
            departed: state.departed.keys().filter(is_honest_and_put_out).count(),
        }
    }

    /// Whether everybody has sent, received and installed a new key since.
    fn all_went_on(&self, state: &State, names: &BTreeSet<String>) -> bool {
        names.iter().all(|name| {
            let (sent, got) = self.talk.get(name).copied().unwrap_or_default();
            let (sends, gets) = state.ledger.by_member().get(name).copied().unwrap_or_default();
            let keys = self.keys.get(name).copied().unwrap_or_default();
            sends > sent && gets > got && state.members.get(name).is_some_and(|m| m.keys > keys)
        })
    }
}

impl<'a> Trial<'a> {
    /// Begins on a stage where all is well; puts right what an earlier scenario left.
    ///
    /// # Errors
    /// The stage cannot be put right.
    pub async fn begin(stage: &'a mut Stage) -> anyhow::Result<Trial<'a>> {
        stage.put_right().await?;
        let before = stage.desk.look(|state| Marks::of(state));
        Ok(Trial { stage, books: Books::default(), before, late: BTreeSet::new() })
    }

    /// The attack keeps somebody who comes from views that it is in. What was said in them it is told to have lost, or
    /// does not learn of, as SECURITY says; so nothing is owed to it. The others are owed everything.
    pub fn comes_late(&mut self, who: &str) {
        self.late.insert(who.to_owned());
    }

    /// As [`Books::made`].
    pub fn made(&mut self, what: &str, count: u64) {
        self.books.made(what, count);
    }

    /// As [`Books::expect`].
    pub fn expect(&mut self, held: bool, what: impl Into<String>) {
        self.books.expect(held, what);
    }

    /// As [`Books::none`].
    pub fn none(&mut self, count: u64, what: &str) {
        self.books.none(count, what);
    }

    /// Waits until somebody saw this offence of this party; how often it was seen.
    pub async fn caught(&self, whose: &str, offence: &str) -> u64 {
        self.stage.desk.until(PATIENCE, |state| state.seen(whose, offence) > 0).await;
        self.stage.desk.look(|state| state.seen(whose, offence))
    }

    /// Waits until every honest member has sent, received and had a new key since the attack began.
    pub async fn honest_go_on(&mut self) {
        let names = self.stage.present();
        let went_on = self.stage.desk.until(PATIENCE, |state| self.before.all_went_on(state, &names)).await;
        self.expect(went_on, "members talked and had new keys during the attack");
    }

    /// Ends the attack, and says how it came out once the honest are as before: everybody in one view, heard by all
    /// leaders, no message lost, doubled, out of order, forged or leaked, and nobody honest blamed or put out.
    ///
    /// # Errors
    /// A leader's process cannot be started.
    pub async fn end(self) -> anyhow::Result<Outcome> {
        let Trial { stage, mut books, before, late } = self;
        let Books { broken, seen, .. } = &mut books;
        if let Err(error) = stage.put_right().await {
            broken.push(format!("the group is not as before: {error:#}"));
        }
        let now = stage.desk.look(|state| Marks::of(state));
        let went_on = async {
            let names = stage.present();
            let went_on = stage.desk.until(RECOVERY, |state| now.all_went_on(state, &names)).await;
            let moment = Instant::now();
            let missing = stage.all_arrived(moment, RECOVERY, &late).await;
            stage.desk.look(|state| state.ledger.write_off(moment));
            (went_on, missing)
        };
        let (went_on, missing) = went_on.await;
        if !went_on {
            broken.push("the members do not talk and rekey as before".to_owned());
        }
        if missing > 0 {
            broken.push(format!("{missing} messages did not arrive"));
        }
        let after = stage.desk.look(|state| Marks::of(state));
        let gaps = after.gaps.iter().filter(|(name, _)| !late.contains(*name));
        let given_up: u64 = gaps.map(|(name, count)| count - before.gaps.get(name).copied().unwrap_or(0)).sum();
        let counts = [
            ("messages delivered twice", after.totals.duplicated - before.totals.duplicated),
            ("messages out of order", after.totals.out_of_order - before.totals.out_of_order),
            ("forged messages delivered", after.totals.forged - before.totals.forged),
            ("messages leaked", after.totals.leaked.saturating_sub(before.totals.leaked)),
            ("messages given up", given_up),
            ("honest members put out", (after.departed - before.departed) as u64),
        ];
        broken.extend(counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")));
        broken.extend(after.wronged.difference(&before.wronged).map(|text| format!("honest and accused: {text}")));
        let delivered = after.totals.delivered - before.totals.delivered;
        seen.push(format!("{delivered} messages delivered meanwhile, none lost"));
        Ok(books.outcome())
    }
}

impl Stage {
    /// Heals all wires, starts honest leaders where others run, and lets the honest members back in; waits until they
    /// are in one view and hear all leaders.
    ///
    /// # Errors
    /// It does not come to that in good time.
    pub async fn put_right(&mut self) -> anyhow::Result<()> {
        if let Ok(wires) = self.wires() {
            wires.heal();
        }
        for leader in 1..=N {
            let honest = self.desk.look(|state| state.leader(leader).is_some_and(|l| l.mode == Mode::Honest));
            if !honest {
                self.start(leader).await?;
            }
        }
        let present = self.present();
        for name in HONEST.into_iter().filter(|name| !present.contains(*name)) {
            self.join(name, PATIENCE).await?;
        }
        for name in present.iter().filter(|name| !HONEST.contains(&name.as_str())) {
            self.leave(name).await?;
        }
        let names: BTreeSet<String> = self.present();
        let well = |state: &mut State| state.agree_at_least(&names) && (1..=N).all(|leader| state.all_hear(leader));
        anyhow::ensure!(self.desk.until(RECOVERY, well).await, "members in one view, hearing all leaders");
        Ok(())
    }

    /// The honest members leave and join again: they remember nothing of what leaders did before.
    ///
    /// # Errors
    /// They do not get in again.
    pub async fn fresh_stays(&mut self) -> anyhow::Result<()> {
        for name in HONEST {
            self.leave(name).await?;
            self.join(name, PATIENCE).await?;
        }
        self.put_right().await
    }

    /// Waits until every message sent before `moment` is with everybody who must have it, but for some users; how many
    /// are not.
    pub async fn all_arrived(&self, moment: Instant, limit: Duration, excused: &BTreeSet<String>) -> usize {
        let deadline = Instant::now() + limit;
        loop {
            let began = Instant::now();
            let owed = self.desk.look(|state| state.ledger.owed_from_before(moment, excused));
            if owed == 0 || Instant::now() >= deadline {
                return owed;
            }
            // Members wait for the books meanwhile: with thousands of messages owed, a look at each of them takes its time.
            tokio::time::sleep(LOOK_PERIOD.max(began.elapsed() * 10)).await;
        }
    }
}
