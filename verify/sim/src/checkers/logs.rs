//! Every member's log verifies and says what was true at each moment; no honest leader ever signs what convicts it
//! (P6, A28).

use std::collections::{BTreeMap, BTreeSet};

use ringfort_protocol::evidence::{State, find};
use ringfort_protocol::leader::Event;
use ringfort_protocol::log::{Audited, Log, verify};
use ringfort_protocol::{LeaderId, MemberId, Time, ViewId};

use super::{Checker, End, Seen, What};
use crate::world::{Facts, User};

/// What honest leaders signed, judged at each view; logs, judged at the end.
#[derive(Default)]
pub struct Logs {
    signed: BTreeMap<LeaderId, Vec<(Time, State)>>,
}

impl Checker for Logs {
    fn name(&self) -> &'static str {
        "provable membership"
    }

    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, wrong: &mut Vec<String>) {
        let What::Leader { id, core: Some(core), event: Event::Published(view, _) } = &seen.what else { return };
        // Where more was accepted in the same step, the list is not that view's.
        if !core.is_published() || core.view() != *view {
            return;
        }
        let state = State::new(*view, core.refreshes_for_testing_only(), core.members().iter());
        if !state.is_possible() {
            wrong.push(format!("{id} signed {view}, which would convict it"));
        }
        let signed = self.signed.entry(*id).or_default();
        // It crashed in that very step, before the view was on disk or told to anybody.
        let is_forgotten = |at: &Time| facts.forgotten.get(id).is_some_and(|crashes| crashes.contains(at));
        while signed.last().is_some_and(|(at, _)| is_forgotten(at)) {
            signed.pop();
        }
        if signed.last().is_some_and(|(_, before)| *before != state && !before.can_lead_to(&state)) {
            wrong.push(format!("{id} signed {view} after a view that cannot have come before it"));
        }
        signed.push((seen.at, state));
    }

    fn finish(&mut self, end: &End<'_>, wrong: &mut Vec<String>) {
        let group = &end.world.group;
        let mut logs = Vec::new();
        for user in &end.world.users {
            match Log::from_bytes(&user.log) {
                Ok(log) => logs.push((user, log)),
                Err(_) if user.truth.iter().all(|(_, view)| view.is_none()) => {}
                Err(refused) => wrong.push(format!("the log of {} is refused: {refused}", user.name)),
            }
        }
        let mut audited = Vec::new();
        for (user, log) in &logs {
            match verify(log, group) {
                Ok(found) => {
                    tells_the_truth(user, &found, usize::from(group.rules.f()), wrong);
                    audited.push(found);
                }
                Err(refused) => wrong.push(format!("the log of {} is refused: {refused}", user.name)),
            }
        }
        for evidence in find(&audited, group) {
            match evidence.verify(group) {
                Ok(conviction) => {
                    for leader in conviction.guilty.iter().filter(|l| !end.world.facts.hostile.contains(l)) {
                        wrong.push(format!("{leader} is honest and convicted: {:?}", evidence.proof));
                    }
                }
                Err(why) => wrong.push(format!("evidence was found that does not convict: {why}")),
            }
        }
    }
}

/// Asks for the start, the middle and the end of each time that the user was in one view, and compares.
fn tells_the_truth(user: &User, log: &Audited<'_>, f: usize, wrong: &mut Vec<String>) {
    let (_, last) = log.covers();
    for pair in user.truth.windows(2) {
        let [(from, Some((view, members))), (to, _)] = pair else { continue };
        for at_ms in [*from, from.midpoint(*to), *to] {
            let name = &user.name;
            let Some(answer) = log.who(at_ms) else {
                // The last moments of a program that crashed are in no log, and the first of a stay begin where
                // the leaders' clocks agree.
                let is_early = came(user, *from) && published_after(log, *view, at_ms, f);
                if !crashed(user, *to) && at_ms <= last && !is_early {
                    wrong.push(format!("the log of {name} does not cover {at_ms}, when it was in {view}"));
                }
                continue;
            };
            let sure: BTreeSet<&MemberId> = answer.readers.iter().collect();
            let all = |id: &MemberId| sure.contains(id) || answer.perhaps.contains(id);
            if let Some(missing) = members.iter().find(|id| !all(id)) {
                wrong.push(format!("the log of {name} leaves {missing} out at {at_ms}"));
            }
            if let Some(more) = sure.iter().find(|id| !members.contains(id)) {
                wrong.push(format!("the log of {name} says at {at_ms} that {more} could read"));
            }
            let edge = at_ms == *from || at_ms == *to;
            if !edge && !answer.views.iter().any(|seen| seen.view == *view) {
                wrong.push(format!("the log of {name} does not know at {at_ms} of {view}"));
            }
        }
    }
}

/// Whether the user was in no view before a moment.
fn came(user: &User, at: u64) -> bool {
    user.truth.iter().take_while(|(from, _)| *from < at).last().is_none_or(|(_, view)| view.is_none())
}

/// Whether more leaders than can lie say that they published a view later than that.
fn published_after(log: &Audited<'_>, view: ViewId, at_ms: u64, f: usize) -> bool {
    let mut seen = log.views.iter().filter(|seen| seen.view == view);
    seen.any(|seen| seen.words.iter().filter(|word| word.statement.at_ms > at_ms).count() > f)
}

/// Whether the user was in no view any more from a moment on.
fn crashed(user: &User, at: u64) -> bool {
    user.truth.iter().any(|(from, view)| *from == at && view.is_none())
}
