//! What it means that leaders refuse a login: for who is in, and for who would come in.

use std::mem::discriminant;

use super::{Effect, Event, JoinFailure, Member, Phase, Step};
use crate::ids::{Incarnation, LeaderId};
use crate::login::Denial;
use crate::rules::Rule;
use crate::view::Cause;

/// How a leader refused this user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    NotAuthentic,
    Denied(Denial),
}

impl Failed {
    /// The stay that this one would have to come after.
    fn last(self) -> Option<Incarnation> {
        match self {
            Failed::Denied(Denial::Incarnation(last) | Denial::Unsettled(last)) => Some(last),
            _ => None,
        }
    }

    fn reason(self) -> JoinFailure {
        match self {
            Failed::NotAuthentic => JoinFailure::NotAuthentic,
            Failed::Denied(denial) => JoinFailure::Denied(denial),
        }
    }
}

impl JoinFailure {
    /// Whether two leaders say the same but for the stay that they know of.
    fn is_like(&self, other: &JoinFailure) -> bool {
        match (self, other) {
            (JoinFailure::Denied(one), JoinFailure::Denied(other)) => discriminant(one) == discriminant(other),
            _ => self == other,
        }
    }
}

impl Member {
    pub(super) fn on_refused(&mut self, from: LeaderId, failed: Failed, step: &mut Step) {
        self.failed.insert(from, failed);
        if let Some(last) = failed.last() {
            self.reported.insert(from, last);
        }
        match self.phase {
            Phase::Joining => self.on_join_refused(from, failed, step),
            Phase::In | Phase::Leaving => match self.end_that_is_told() {
                Some(cause) => self.end(cause, step),
                None => step.effects.push(Effect::Reconnect(from)),
            },
            Phase::Ended => {}
        }
    }

    /// Only n-f refusals mean that f+1 leaders can no longer let this user in.
    fn on_join_refused(&mut self, from: LeaderId, failed: Failed, step: &mut Step) {
        let own = self.me.as_ref().map(|me| me.id.incarnation);
        let count = |says: &dyn Fn(Failed) -> bool| self.failed.values().filter(|failed| says(**failed)).count();
        let outdated = count(&|failed| failed.last().is_some());
        let too_low = count(&|failed| failed.last().is_some_and(|last| own.is_none_or(|own| last >= own)));
        // Leaders that do not know this user cannot say that there is no session; f+1 that do are believed, and
        // fewer are no reason to take the others' word that the user is wrong.
        let sessionless = count(&|failed| self.says_no_session(failed));
        // A leader that has not heard of this stay's session yet lets nobody into it for the moment.
        let behind = count(&|failed| matches!(failed, Failed::Denied(Denial::NoSession(_)))) - sessionless;
        let none = sessionless >= self.group.rules.confirm();
        let refused = self.failed.len() - outdated - behind - if none { 0 } else { sessionless };
        if refused >= usize::from(self.group.rules.n() - self.group.rules.f()) {
            let reason = self.agreed_reason(none);
            self.phase = Phase::Ended;
            step.events.push(Event::JoinFailed(reason));
            step.effects.extend(self.links.keys().map(|l| Effect::Close(*l)));
        } else if too_low >= self.group.rules.confirm() {
            self.new_stay(step);
        } else if failed == Failed::NotAuthentic && self.me.is_some() {
            step.effects.push(Effect::Reconnect(from));
        }
    }

    /// The reason that most leaders give, if f+1 do: fewer may all be lying. Of the stays that they name with it, one that an
    /// honest leader names or a lower one.
    fn agreed_reason(&self, sessionless: bool) -> JoinFailure {
        let given = self.failed.values().filter(|failed| !sessionless || self.says_no_session(**failed));
        let mut reasons: Vec<JoinFailure> = given.map(|failed| failed.reason()).collect();
        reasons.sort_by(|a, b| b.cmp(a));
        let confirm = self.group.rules.confirm();
        let alike = |reason: &JoinFailure| reasons.iter().filter(|other| other.is_like(reason)).count();
        let Some(most) = reasons.iter().filter(|reason| alike(reason) >= confirm).max_by_key(|reason| alike(reason))
        else {
            return JoinFailure::Refused;
        };
        let same = reasons.iter().filter(|reason| reason.is_like(most));
        same.copied().nth(confirm.saturating_sub(1)).unwrap_or(JoinFailure::Refused)
    }

    /// Why the stay of somebody who is in is over, as f+1 leaders say that refuse it. A refusal that speaks of an earlier stay, or
    /// of another that is not settled, says nothing of this one.
    fn end_that_is_told(&self) -> Option<Cause> {
        let own = self.me.as_ref().map(|me| me.id.incarnation)?;
        let believed = |says: &dyn Fn(Denial) -> bool| {
            let says = |failed: &&Failed| matches!(failed, Failed::Denied(denial) if says(*denial));
            self.failed.values().filter(says).count() >= self.group.rules.confirm()
        };
        let session_is_over = |denial| match denial {
            Denial::NoSession(_) => self.says_no_session(Failed::Denied(denial)),
            Denial::Incarnation(last) => last.session() > own.session(),
            _ => false,
        };
        let is_over = |denial| matches!(denial, Denial::Incarnation(last) if last >= own);
        if believed(&session_is_over) {
            Some(Cause::SessionOver)
        } else if believed(&|denial| matches!(denial, Denial::Expelled(stay) if self.speaks_of(stay >= own))) {
            Some(Cause::Expelled)
        } else if self.phase == Phase::Leaving && believed(&is_over) {
            Some(Cause::Left)
        } else if believed(&|denial| matches!(denial, Denial::Incarnation(last) if last > own)) {
            Some(Cause::Elsewhere)
        } else {
            believed(&is_over).then_some(Cause::Lost)
        }
    }

    /// Whether a leader says that there is no session for this stay: one that has not heard of the stay's session yet knows of the
    /// end of an earlier one only.
    fn says_no_session(&self, failed: Failed) -> bool {
        let own = self.me.as_ref().map(|me| me.id.incarnation.session());
        let of_own = |last: Incarnation| own.is_none_or(|own| self.speaks_of(last.session() >= own));
        matches!(failed, Failed::Denied(Denial::NoSession(last)) if of_own(last))
    }

    /// Whether a refusal that names a stay counts against this one: always in the mutant corpus.
    fn speaks_of(&self, this: bool) -> bool {
        this || !self.group.rules.enforces(Rule::DenialStay)
    }

    /// The highest stay before which leaders have refused this one.
    pub(super) fn said_too_low(&self) -> Option<Incarnation> {
        let own = self.me.as_ref().map(|me| me.id.incarnation)?;
        let above = |last: &Incarnation| *last >= own && last.session() == own.session();
        self.failed.values().filter_map(|failed| failed.last()).filter(above).max()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::Identity;
    use crate::ids::SessionNumber;
    use crate::member::Secret;
    use crate::testing::{group_of, leader, quick_policy, rng, user};
    use crate::time::{Cx, Time};

    fn stay(session: u64, number: u64) -> Incarnation {
        Incarnation(SessionNumber::new(session).unwrap().base().0 + number)
    }

    /// Ana in her third stay of the second session, as one of seven leaders' members, two of which may be hacked.
    fn ana(phase: Phase) -> Member {
        let mut chance = rng(1);
        let mut cx = Cx { now: Time::ZERO, unix_ms: 0, rng: &mut chance };
        let secret = Secret::Password(b"x".to_vec().into());
        let mut ana = Member::new(&mut cx, Arc::new(group_of(7, 2, 3, quick_policy()).0), user("ana"), secret);
        ana.me = Some(Identity::generate(user("ana"), stay(2, 3), &mut rng(2)));
        ana.phase = phase;
        ana
    }

    /// How it ends once leaders have refused, one after the other.
    fn refused(phase: Phase, denials: &[Denial]) -> Option<Event> {
        let (mut ana, mut step) = (ana(phase), Step::default());
        for (by, denial) in (1..).zip(denials) {
            let failed = match denial {
                Denial::NotAuthentic => Failed::NotAuthentic,
                denial => Failed::Denied(*denial),
            };
            ana.on_refused(leader(by), failed, &mut step);
        }
        step.events.into_iter().find(|event| matches!(event, Event::Ended(_) | Event::JoinFailed(_)))
    }

    fn ended(denials: &[Denial]) -> Option<Cause> {
        match refused(Phase::In, denials) {
            Some(Event::Ended(cause)) => Some(cause),
            _ => None,
        }
    }

    fn failed(denials: &[Denial]) -> Option<JoinFailure> {
        match refused(Phase::Joining, denials) {
            Some(Event::JoinFailed(reason)) => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn f_plus_1_refusals_that_speak_of_this_stay_end_it_and_one_of_an_earlier_one_is_none_of_them() {
        let over = [
            (Denial::Expelled(stay(2, 3)), Denial::Expelled(stay(2, 2)), Cause::Expelled),
            (Denial::NoSession(stay(2, 3)), Denial::NoSession(stay(1, 9)), Cause::SessionOver),
            (Denial::Incarnation(stay(2, 3)), Denial::Incarnation(stay(2, 2)), Cause::Lost),
            (Denial::Incarnation(stay(2, 4)), Denial::Incarnation(stay(2, 2)), Cause::Elsewhere),
        ];
        for (of_this, of_earlier, cause) in over {
            assert_eq!(ended(&[of_this; 3]), Some(cause), "{of_this:?}");
            assert_eq!(ended(&[of_this, of_this, of_earlier]), None, "{of_earlier:?}");
        }
        assert_eq!(
            ended(&[Denial::Expelled(stay(2, 5)); 3]),
            Some(Cause::Expelled),
            "a later stay is over, and so is this"
        );
    }

    #[test]
    fn who_is_in_need_not_go_because_another_program_of_the_user_announced_a_stay_that_is_not_settled() {
        for last in [stay(2, 3), stay(2, 4)] {
            let (settled, open) = (Denial::Incarnation(last), Denial::Unsettled(last));
            assert_eq!(ended(&[settled, settled, open, open, open]), None, "{last}");
        }
    }

    #[test]
    fn a_join_is_not_ended_by_leaders_that_know_of_the_end_of_an_earlier_session_only() {
        let (late, wrong) = (Denial::NoSession(stay(1, 9)), Denial::NotAuthentic);
        assert_eq!(failed(&[late, late, late, wrong, wrong, Denial::NoSession(stay(2, 0))]), None);
        let none = Denial::NoSession(stay(2, 0));
        assert_eq!(failed(&[none, none, none, wrong, wrong]), Some(JoinFailure::Denied(none)));
    }

    #[test]
    fn the_reason_that_a_join_failed_for_is_what_f_plus_1_leaders_say_or_none() {
        let (shut, full, wrong) = (Denial::Closed, Denial::Full, Denial::NotAuthentic);
        assert_eq!(failed(&[full, full, shut, shut]), None, "n-f must refuse");
        assert_eq!(failed(&[full, full, shut, shut, wrong]), Some(JoinFailure::Refused), "each pair may be lying");
        assert_eq!(failed(&[full, shut, full, shut, full]), Some(JoinFailure::Denied(full)));
        let expelled = |number| Denial::Expelled(stay(2, number));
        let all = [expelled(900), expelled(800), expelled(2), expelled(2), expelled(1)];
        assert_eq!(failed(&all), Some(JoinFailure::Denied(expelled(2))), "no stay that hacked leaders make up");
    }

    /// Seven leaders have proved that they know Ana, and five of them say which stay she had. What she announces does not get
    /// through to them, and one hacked leader refuses each stay as too low.
    #[test]
    fn what_a_hacked_leader_refuses_on_a_bad_network_takes_no_stay_beyond_what_the_others_let_in() {
        let mut chance = rng(1);
        let mut ana = ana(Phase::Joining);
        ana.reported.extend((1..=5).map(|by| (leader(by), stay(2, 2))));
        ana.reported.extend((6..=7).map(|by| (leader(by), stay(2, 900_000))));
        let mut now = Time::ZERO;
        for round in 0..40 {
            ana.announced_at = Some(now);
            ana.on_refused(leader(7), Failed::Denied(Denial::Incarnation(stay(2, 900_000))), &mut Step::default());
            now = now + std::time::Duration::from_secs(8);
            let mut cx = Cx { now, unix_ms: 0, rng: &mut chance };
            ana.retry_join(&mut cx, &mut Step::default());
            let next = ana.next_incarnation();
            let own = ana.me.get_or_insert_with(|| Identity::generate(user("ana"), next, &mut rng(2))).id.incarnation;
            let beyond = own.0 - stay(2, 2).0;
            assert!(beyond <= crate::coordination::INCARNATION_JUMP_MAX, "{beyond} beyond, in round {round}");
        }
    }
}
