//! Who is put out and taken back: operators' orders, and what members and evidence say (A16, A17, A18, A25).

use super::{Coordination, Life, Operation, Output, SUBJECTS_MAX, Subject};
use crate::fault::Rejected;
use crate::ids::{Incarnation, MemberId, UserName};
use crate::view::{Cause, next_incarnation};

impl Coordination {
    /// The members, or evidence, send a member away, now and later.
    pub fn banish(&mut self, user: &UserName) -> Vec<Output> {
        let member = self.members.get(user).map(|entry| entry.id.clone());
        member.map(|member| self.remove(&member, Cause::Expelled)).unwrap_or_default()
    }

    /// This leader's operator wants a user out, now and later.
    pub fn expel(&mut self, user: &UserName) -> Result<Vec<Output>, Rejected> {
        let incarnation = self.last_incarnation(user);
        if incarnation == Incarnation(0) {
            return Err(Rejected::NotAMember(user.clone()));
        }
        let subject = Subject::User(user.clone());
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
        life.ballots.retain(|b| !matches!(b.operation, Operation::Remove(..)));
        self.buckets.put(&subject, life);
        self.tidy(&subject);
        vec![Output::Persist(self.record(&subject))]
    }
}
