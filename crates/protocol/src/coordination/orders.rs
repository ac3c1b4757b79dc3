//! Who is put out and taken back: operators' orders, and what members and evidence say (A16, A17, A18, A25).

use super::{Coordination, Life, Operation, Output, SUBJECTS_MAX, Subject};
use crate::fault::Rejected;
use crate::ids::{Incarnation, MemberId, UserName};
use crate::rules::Rule;
use crate::view::{Cause, next_incarnation};
use crate::wire::PeerMessage;

/// Periods in which leaders' words that they take a user back may arrive after its stay was accepted.
const DOUBT_PERIODS: u8 = 3;
/// Periods from asking others once to asking them again.
const ASK_PERIODS: u8 = 4;

/// A user who was expelled has come in again, as far as is known here by no more than f leaders' taking it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Return {
    /// From which stay it was expelled.
    pub stay: Incarnation,
    /// For how many periods this has been so.
    pub periods: u8,
    /// Whether this leader has started since: what others said of it is forgotten.
    pub remembered: bool,
}

impl Return {
    fn later(self) -> Self {
        Return { periods: self.periods.wrapping_add(1), ..self }
    }
}

/// What becomes of such a doubt in a period.
enum Judgement {
    /// The others must say again what they think.
    Ask,
    /// They have: from now on all is as if this leader had not started meanwhile.
    Told,
    Wait,
    /// The user is back rightly, or is out; or it is to go again.
    Over(Option<Operation>),
}

impl Coordination {
    /// The members, or evidence, send a member away, now and later.
    pub fn banish(&mut self, user: &UserName) -> Vec<Output> {
        let member = self.members.get(user).map(|entry| entry.id.clone());
        member.map(|member| self.remove(&member, Cause::Expelled)).unwrap_or_default()
    }

    /// This leader's operator wants a user out, now and later.
    pub fn expel(&mut self, user: &UserName) -> Result<Vec<Output>, Rejected> {
        if self.last_incarnation(user) == Incarnation(0) {
            return Err(Rejected::NotAMember(user.clone()));
        }
        let subject = Subject::User(user.clone());
        // The stay that is reached, which all leaders know, and not one that this leader alone has heard of.
        let reached = self.lives.get(&subject).map_or(0, Life::rank).div_ceil(2);
        let first = next_incarnation(self.session().number.base());
        let incarnation = if reached == 0 { first } else { Incarnation(reached) };
        if let Some(life) = self.lives.get_mut(&subject) {
            life.unwanted = true;
            self.unwanted.insert(subject.clone());
            if life.is_taken_back() {
                life.tell_cause(Cause::Left);
            }
        }
        let mut out = vec![Output::Persist(self.record(&subject))];
        out.extend(self.remove(&MemberId { user: user.clone(), incarnation }, Cause::Expelled));
        Ok(out)
    }

    /// This leader's operator wants a user out who was never in, as far as this leader knows: the first stay that it
    /// could have is removed before it begins (A25).
    pub fn revoke(&mut self, user: &UserName) -> Result<Vec<Output>, Rejected> {
        let subject = Subject::User(user.clone());
        if self.last_incarnation(user) != Incarnation(0) {
            return self.expel(user);
        }
        if !self.has_room_for(self.me, &subject) {
            return Err(Rejected::Full(SUBJECTS_MAX));
        }
        self.lives.entry(subject.clone()).or_default().unwanted = true;
        self.unwanted.insert(subject.clone());
        let mut out = vec![Output::Persist(self.record(&subject))];
        let first = next_incarnation(self.session().number.base());
        out.extend(self.remove(&MemberId { user: user.clone(), incarnation: first }, Cause::Expelled));
        Ok(out)
    }

    /// Proposes what the operator ordered, if a crash came between the order and the vote.
    pub fn insist(&mut self) -> Vec<Output> {
        let me = self.me;
        let forgotten = |life: &Life| match &life.accepted {
            Some(Operation::Join(entry)) if life.unwanted => {
                let removal = Operation::Remove(entry.id.clone(), Cause::Expelled);
                let voted = life.ballot(&removal).is_some_and(|b| b.votes.contains_key(&me));
                (!voted).then_some(removal)
            }
            _ => None,
        };
        let wanted_out = self.unwanted.iter().filter_map(|subject| self.lives.get(subject));
        let removals: Vec<Operation> = wanted_out.filter_map(forgotten).collect();
        removals.into_iter().flat_map(|removal| self.propose(removal)).collect()
    }

    /// Before a user's life goes on: whether it is one who was expelled, and not taken back by f+1 leaders.
    ///
    /// What leaders have voted for comes about, since others may have accepted it already. So old votes for a stay, cast before the
    /// expulsion, and a hacked leader's may bring somebody in again. The expulsion then goes on in that stay.
    pub(super) fn doubt(&mut self, subject: &Subject) {
        let Some(life) = self.lives.get(subject) else { return };
        if let Some(stay) = life.expelled_from() {
            self.doubts.insert(subject.clone(), Return { stay, periods: 0, remembered: false });
        } else if let Some(doubted) = self.doubts.get(subject)
            && life.is_back_rightly(doubted.stay, &self.rules)
        {
            self.doubts.remove(subject);
        }
    }

    /// Called in each period: who has come in again after an expulsion, and whom n-f leaders by their own word do not take
    /// back, is expelled from this stay too. Then no more than f take the user back.
    ///
    /// A leader that started meanwhile has its own doubt on disk, and not what others said: it asks them, and waits until n-f
    /// leaders, itself among them, have said whether they take the user back.
    pub fn expel_again(&mut self) -> Vec<Output> {
        let mut out = Vec::new();
        let doubted: Vec<(Subject, Return)> = self.doubts.iter().map(|(s, d)| (s.clone(), *d)).collect();
        for (subject, doubt) in doubted {
            match self.judge(&subject, doubt) {
                Judgement::Ask if doubt.periods.is_multiple_of(ASK_PERIODS) => {
                    out.push(Output::Broadcast(PeerMessage::Buckets(self.buckets.asking_for(&subject))));
                    self.doubts.insert(subject, doubt.later());
                }
                Judgement::Ask | Judgement::Wait => drop(self.doubts.insert(subject, doubt.later())),
                Judgement::Told => {
                    self.doubts.insert(subject, Return { periods: 0, remembered: false, ..doubt });
                }
                Judgement::Over(removal) => {
                    self.doubts.remove(&subject);
                    out.push(Output::Persist(self.record(&subject)));
                    out.extend(removal.into_iter().flat_map(|removal| self.propose(removal)));
                }
            }
        }
        out
    }

    fn judge(&self, subject: &Subject, doubt: Return) -> Judgement {
        let Some(life) = self.lives.get(subject) else { return Judgement::Over(None) };
        let Some(Operation::Join(entry)) = &life.accepted else { return Judgement::Over(None) };
        if life.is_back_rightly(doubt.stay, &self.rules) || !self.rules.enforces(Rule::TakenBack) {
            return Judgement::Over(None);
        }
        let join = Operation::Join(entry.clone());
        let others = || life.ballot(&join).into_iter().flat_map(|b| &b.votes).filter(|(by, _)| **by != self.me);
        if doubt.remembered {
            return if others().count() + 1 < self.rules.accept() { Judgement::Ask } else { Judgement::Told };
        }
        // Too few that are heard take the user back: that says nothing of those whose words are still on their way.
        let against = others().filter(|(_, vote)| vote.takes_back < doubt.stay).count() + 1;
        if self.is_catching_up() || doubt.periods < DOUBT_PERIODS {
            Judgement::Wait
        } else if against < self.rules.accept() {
            Judgement::Ask
        } else {
            Judgement::Over(Some(Operation::Remove(entry.id.clone(), Cause::Expelled)))
        }
    }

    /// The operators take a user back. Local: f+1 of them must, those that expelled it among them.
    pub fn unbar(&mut self, user: &UserName) -> Vec<Output> {
        let subject = Subject::User(user.clone());
        let Some(life) = self.lives.get_mut(&subject) else { return Vec::new() };
        let was_unwanted = std::mem::take(&mut life.unwanted);
        self.unwanted.remove(&subject);
        if !life.barred {
            return if was_unwanted { vec![Output::Persist(self.record(&subject))] } else { Vec::new() };
        }
        self.buckets.take(&subject, life);
        life.barred = false;
        life.tell_cause(Cause::Expelled);
        self.buckets.put(&subject, life);
        self.change(&subject, |life| life.ballots.retain(|b| !b.operation.ends_a_stay()));
        self.tidy(&subject);
        vec![Output::Persist(self.record(&subject))]
    }
}
