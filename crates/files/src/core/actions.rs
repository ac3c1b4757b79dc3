//! What this member's user does about files, and why it may not be possible.

use std::collections::BTreeSet;

use ringfort::protocol::{Time, UserName};

use super::receiver::State;
use super::{Effect, Exchange, Incoming, Job, MESSAGE_BYTES_MIN, Number, Outgoing, Stage, name};

/// What a user does with a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Takes an offer; also once more after it was declined or has failed.
    Accept,
    /// Does not take it.
    Decline,
    /// Stops for a while, on either side.
    Pause,
    /// Goes on.
    Resume,
    /// Ends it, on either side. What came of it is thrown away.
    Cancel,
    /// Takes what is over off the list. Files stay.
    Forget,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Refused {
    #[error("there is no such file here")]
    Unknown,
    #[error("that cannot be done with it now")]
    State,
    #[error("nobody else is in the group")]
    Nobody,
    #[error("{0} is not in the group")]
    NotAMember(UserName),
    #[error("the file is larger than the {0} bytes that are sent and accepted here")]
    TooLarge(u64),
    #[error("{0} files are being sent already: wait for one, or stop one")]
    Outgoing(usize),
    #[error("{0} files are being received already: wait for one, or stop one")]
    Receiving(usize),
    #[error("files being received would take more than {0} bytes of the disk together: wait for one, or stop one")]
    Disk(u64),
    #[error("the same file is being received already")]
    Twice,
    #[error("the messages of this group are too short for files: its policy allows {0} bytes")]
    Messages(u32),
}

impl Exchange {
    /// A file is to be offered, to all or to some; it is read first. Then [`Exchange::on_prepared`].
    ///
    /// # Errors
    /// [`Refused`].
    pub fn prepare(&mut self, topic: &str, to: &[UserName], file: &str, bytes: u64) -> Result<Number, Refused> {
        if self.message_bytes_max < MESSAGE_BYTES_MIN {
            return Err(Refused::Messages(self.message_bytes_max));
        }
        if bytes > self.limits.file_bytes_max {
            return Err(Refused::TooLarge(self.limits.file_bytes_max));
        }
        if self.outgoing.values().filter(|o| !o.is_over()).count() >= self.limits.outgoing_max {
            return Err(Refused::Outgoing(self.limits.outgoing_max));
        }
        if let Some(stranger) = to.iter().find(|user| !self.members.contains(*user)) {
            return Err(Refused::NotAMember(stranger.clone()));
        }
        let to_group = to.is_empty();
        let wanted: BTreeSet<&UserName> = if to_group { self.members.iter().collect() } else { to.iter().collect() };
        let to: Vec<UserName> = wanted.into_iter().filter(|user| **user != self.me).cloned().collect();
        if to.is_empty() {
            return Err(Refused::Nobody);
        }
        let number = self.number();
        let stage = Stage::Preparing { done: 0, to, to_group };
        self.outgoing.insert(number, Outgoing { topic: topic.to_owned(), name: name::safe(file), bytes, stage });
        Ok(number)
    }

    /// The user does something with a transfer of a topic.
    ///
    /// # Errors
    /// [`Refused`]; then nothing changes.
    pub fn act(&mut self, now: Time, topic: &str, number: Number, action: Action) -> Result<Vec<Effect>, Refused> {
        if let Some(outgoing) = self.outgoing.get(&number).filter(|outgoing| outgoing.topic == topic) {
            let over = outgoing.is_over();
            return self.act_on_outgoing(now, number, over, action);
        }
        let incoming = self.incoming.get(&number).filter(|incoming| incoming.topic == topic);
        let state = incoming.ok_or(Refused::Unknown)?.receiver.state;
        match (action, state) {
            (Action::Accept, State::Asked | State::Declined | State::Failed) => self.accept(number),
            (Action::Decline, State::Asked) | (Action::Cancel, State::Asked | State::Interrupted) => {
                Ok(self.stop_receiving(number, State::Declined))
            }
            (Action::Cancel, state) if state.is_open() && state != State::Publishing => {
                Ok(self.stop_receiving(number, State::Declined))
            }
            (Action::Pause, State::Receiving) => Ok(self.turn_receiving(number, State::Paused)),
            (Action::Resume, State::Paused) => Ok(self.turn_receiving(number, State::Receiving)),
            (Action::Forget, state) if state.is_over() => {
                self.forget(number);
                Ok(Vec::new())
            }
            _ => Err(Refused::State),
        }
    }

    fn act_on_outgoing(
        &mut self,
        now: Time,
        number: Number,
        over: bool,
        action: Action,
    ) -> Result<Vec<Effect>, Refused> {
        match action {
            Action::Pause | Action::Resume if !over => {
                self.pause_sending(now, number, action == Action::Pause);
                Ok(Vec::new())
            }
            Action::Cancel if !over => Ok(self.withdraw(number)),
            Action::Forget if over => {
                self.forget(number);
                Ok(vec![Effect::Release(number)])
            }
            _ => Err(Refused::State),
        }
    }

    /// Takes an offer.
    pub(super) fn accept(&mut self, number: Number) -> Result<Vec<Effect>, Refused> {
        let open = |incoming: &&Incoming| incoming.receiver.state.is_open();
        let (count, bytes) = self
            .incoming
            .values()
            .filter(open)
            .fold((0, 0u64), |(count, bytes), i| (count + 1, bytes.saturating_add(i.receiver.offer.bytes)));
        let job = Job(self.number());
        let limits = &self.limits;
        let incoming = self.incoming.get(&number).ok_or(Refused::Unknown)?;
        let (part, size) = (incoming.part(), incoming.receiver.offer.bytes);
        match () {
            () if size > limits.file_bytes_max => return Err(Refused::TooLarge(limits.file_bytes_max)),
            () if count >= limits.receiving_max => return Err(Refused::Receiving(limits.receiving_max)),
            () if bytes.saturating_add(size) > limits.receiving_bytes_max => {
                return Err(Refused::Disk(limits.receiving_bytes_max));
            }
            () if self.incoming.values().filter(open).any(|i| i.part() == part) => return Err(Refused::Twice),
            () => {}
        }
        let incoming = self.incoming.get_mut(&number).ok_or(Refused::Unknown)?;
        incoming.receiver.state = State::Opening;
        incoming.receiver.why = None;
        incoming.job = Some(job);
        self.jobs.insert(job, number);
        Ok(vec![Effect::Open(job, part, incoming.receiver.offer.chunk_bytes)])
    }

    fn stop_receiving(&mut self, number: Number, state: State) -> Vec<Effect> {
        let Some(incoming) = self.incoming.get_mut(&number) else { return Vec::new() };
        incoming.receiver.rest(state);
        incoming.report_due = true;
        let job = incoming.job.take();
        self.trim_past();
        self.end_job(job, Effect::Discard)
    }

    fn turn_receiving(&mut self, number: Number, state: State) -> Vec<Effect> {
        if let Some(incoming) = self.incoming.get_mut(&number) {
            incoming.report_due = true;
            match state {
                State::Receiving => incoming.receiver.state = state,
                _ => incoming.receiver.rest(state),
            }
        }
        Vec::new()
    }

    /// Takes a transfer off the list.
    pub(super) fn forget(&mut self, number: Number) {
        if let Some(Outgoing { stage: Stage::Open(sender) | Stage::Cancelled(sender), .. }) =
            self.outgoing.remove(&number)
        {
            self.sent_ids.remove(&sender.offer.id);
        }
        if let Some(incoming) = self.incoming.remove(&number) {
            self.received_ids.remove(&incoming.key);
            incoming.job.into_iter().for_each(|job| {
                self.jobs.remove(&job);
            });
        }
    }

    /// Only so many that are over stay listed: the oldest go.
    pub(super) fn trim_past(&mut self) {
        let past_in = self.incoming.iter().filter(|(_, i)| i.receiver.state.is_over() && !i.report_due);
        let past_out = self.outgoing.iter().filter(|(_, outgoing)| outgoing.is_over());
        let mut past: Vec<Number> = past_in.map(|(n, _)| *n).chain(past_out.map(|(n, _)| *n)).collect();
        past.sort_unstable();
        let excess = past.len().saturating_sub(self.limits.past_max);
        past.into_iter().take(excess).for_each(|number| self.forget(number));
    }
}
