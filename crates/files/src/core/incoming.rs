//! Files of others: offers, pieces, what the disk answers, and reports to the sender.

use bytes::Bytes;
use ringfort::protocol::{Time, UserName};

use super::message::{Message, Offer, OfferId, Word};
use super::name;
use super::receiver::{IncomingKey, Receiver, State};
use super::{Effect, Exchange, Incoming, Job, Number, Outbound, Part, To, What};

impl Exchange {
    pub(super) fn on_offer(&mut self, now: Time, from: &UserName, topic: &str, offer: Offer) -> Vec<Effect> {
        let key = IncomingKey { from: from.clone(), id: offer.id };
        if let Some(number) = self.received_ids.get(&key).copied() {
            return self.offered_again(number, topic, &offer);
        }
        let open = |incoming: &&Incoming| !incoming.receiver.state.is_over();
        let of_sender = self.incoming.values().filter(open).filter(|i| i.key.from == *from).count();
        let of_all = self.incoming.values().filter(open).count();
        if of_sender >= self.limits.offers_per_member_max || of_all >= self.limits.offers_max {
            return Vec::new();
        }
        self.forget_interrupted(from, topic, &offer);
        let number = self.number();
        let receiver = Receiver::new(now, offer, self.limits.window_bytes);
        let incoming = Incoming { topic: topic.to_owned(), key: key.clone(), receiver, job: None, report_due: true };
        let part = incoming.part();
        let bytes = incoming.receiver.offer.bytes;
        self.incoming.insert(number, incoming);
        self.received_ids.insert(key, number);
        if self.accepts_unasked(bytes) {
            self.auto_bytes += bytes;
            self.auto_files += 1;
            return self.accept(number).unwrap_or_default();
        }
        vec![Effect::Find(number, part)]
    }

    /// The sender does not know that the offer came, or has come back.
    fn offered_again(&mut self, number: Number, topic: &str, offer: &Offer) -> Vec<Effect> {
        let Some(incoming) = self.incoming.get_mut(&number) else { return Vec::new() };
        if incoming.topic != topic || incoming.receiver.offer != *offer {
            return Vec::new();
        }
        incoming.report_due = true;
        if incoming.receiver.state == State::Interrupted {
            incoming.receiver.state = State::Asked;
            return vec![Effect::Find(number, incoming.part())];
        }
        Vec::new()
    }

    /// The same file, offered anew, takes the place of the one that was interrupted.
    fn forget_interrupted(&mut self, from: &UserName, topic: &str, offer: &Offer) {
        let same = |incoming: &Incoming| {
            let known = &incoming.receiver.offer;
            incoming.receiver.state == State::Interrupted
                && (incoming.key.from == *from && incoming.topic == topic)
                && (known.root, known.bytes) == (offer.root, offer.bytes)
        };
        let old: Vec<Number> = self.incoming.iter().filter(|(_, i)| same(i)).map(|(n, _)| *n).collect();
        old.into_iter().for_each(|number| self.forget(number));
    }

    fn accepts_unasked(&self, bytes: u64) -> bool {
        let limits = &self.limits;
        bytes <= limits.auto_bytes_max
            && limits.auto_bytes_max > 0
            && self.auto_bytes + bytes <= limits.auto_total_bytes_max
            && self.auto_files < limits.auto_total_max
    }

    /// A part of this is on the disk: its user accepted it before, and it goes on.
    pub fn on_found(&mut self, number: Number) -> Vec<Effect> {
        let asked = |incoming: &&Incoming| incoming.receiver.state == State::Asked;
        match self.incoming.get(&number).filter(asked) {
            Some(_) => self.accept(number).unwrap_or_default(),
            None => Vec::new(),
        }
    }

    pub(super) fn on_chunk(
        &mut self,
        now: Time,
        from: &UserName,
        topic: &str,
        id: OfferId,
        index: u32,
        bytes: Bytes,
    ) -> Vec<Effect> {
        let Some(incoming) = self.received(from, topic, id) else { return Vec::new() };
        let (ordered, hole) = incoming.receiver.on_chunk(now, index, bytes);
        incoming.report_due |= hole;
        match incoming.job {
            Some(job) if !ordered.is_empty() => vec![Effect::Write(job, ordered)],
            _ => Vec::new(),
        }
    }

    pub(super) fn on_word(&mut self, now: Time, from: &UserName, topic: &str, id: OfferId, word: Word) -> Vec<Effect> {
        let Some(incoming) = self.received(from, topic, id) else { return Vec::new() };
        incoming.receiver.heard(now);
        match word {
            Word::Running => {
                incoming.receiver.sender_paused = false;
                incoming.report_due = true;
            }
            Word::Paused => incoming.receiver.sender_paused = true,
            // A file that is complete stays, and so does one whose hash is right.
            Word::Cancelled if incoming.receiver.state == State::Publishing => {}
            Word::Cancelled if !incoming.receiver.state.is_over() || incoming.receiver.state == State::Interrupted => {
                incoming.receiver.rest(State::Cancelled);
                let job = incoming.job.take();
                self.trim_past();
                return self.end_job(job, Effect::Discard);
            }
            Word::Cancelled => {}
        }
        Vec::new()
    }

    fn received(&mut self, from: &UserName, topic: &str, id: OfferId) -> Option<&mut Incoming> {
        let number = self.received_ids.get(&IncomingKey { from: from.clone(), id })?;
        self.incoming.get_mut(number).filter(|incoming| incoming.topic == topic)
    }

    pub(super) fn receivers_on_members(&mut self) -> Vec<Effect> {
        let mut ended = Vec::new();
        for incoming in self.incoming.values_mut() {
            let state = incoming.receiver.state;
            let whole = matches!(state, State::Verifying | State::Publishing);
            if !state.is_over() && !whole && !self.members.contains(&incoming.key.from) {
                incoming.receiver.rest(State::Interrupted);
                ended.push(incoming.job.take());
            }
        }
        ended.into_iter().flat_map(|job| self.end_job(job, Effect::Close)).collect()
    }

    pub(super) fn end_job(&mut self, job: Option<Job>, end: fn(Job) -> Effect) -> Vec<Effect> {
        let Some(job) = job else { return Vec::new() };
        self.jobs.remove(&job);
        vec![end(job)]
    }

    /// The part is open, and so many pieces of it are there.
    pub fn on_opened(&mut self, now: Time, job: Job, chunks: u32) -> Vec<Effect> {
        let Some(incoming) = self.of_job(job, State::Opening) else { return Vec::new() };
        incoming.receiver.on_opened(now, chunks);
        incoming.report_due = true;
        incoming.verify_if_whole(job)
    }

    /// So many further pieces are on the disk.
    pub fn on_written(&mut self, now: Time, job: Job, chunks: u32) -> Vec<Effect> {
        let Some(incoming) = self.jobs.get(&job).and_then(|number| self.incoming.get_mut(number)) else {
            return Vec::new();
        };
        // A job that has ended is not in the table.
        incoming.report_due |= incoming.receiver.on_written(now, chunks);
        incoming.verify_if_whole(job)
    }

    /// The hash of what is on the disk: only the right one makes a file of it.
    pub fn on_hashed(&mut self, job: Job, root: [u8; 32]) -> Vec<Effect> {
        let Some(incoming) = self.of_job(job, State::Verifying) else { return Vec::new() };
        if root == incoming.receiver.offer.root {
            incoming.receiver.state = State::Publishing;
            return vec![Effect::Publish(job, name::safe(&incoming.receiver.offer.name))];
        }
        let why = "what came is not what was offered: its hash is wrong, and it was thrown away. Ask for it again";
        self.fail(job, why.to_owned(), Effect::Discard)
    }

    /// The file has its name.
    pub fn on_published(&mut self, job: Job, path: String) -> Vec<Effect> {
        let Some(incoming) = self.of_job(job, State::Publishing) else { return Vec::new() };
        incoming.receiver.rest(State::Complete);
        incoming.receiver.path = Some(path);
        incoming.report_due = true;
        incoming.job = None;
        self.jobs.remove(&job);
        self.trim_past();
        Vec::new()
    }

    /// The disk does not do it. What was written stays for another attempt.
    pub fn on_disk_failed(&mut self, job: Job, why: String) -> Vec<Effect> {
        self.fail(job, why, Effect::Close)
    }

    fn fail(&mut self, job: Job, why: String, end: fn(Job) -> Effect) -> Vec<Effect> {
        let Some(incoming) = self.jobs.remove(&job).and_then(|number| self.incoming.get_mut(&number)) else {
            return Vec::new();
        };
        if incoming.job.take().is_some() {
            incoming.receiver.rest(State::Failed);
            incoming.receiver.why = Some(why);
            incoming.report_due = true;
        }
        vec![end(job)]
    }

    fn of_job(&mut self, job: Job, state: State) -> Option<&mut Incoming> {
        let incoming = self.incoming.get_mut(self.jobs.get(&job)?)?;
        (incoming.job == Some(job) && incoming.receiver.state == state).then_some(incoming)
    }

    pub(super) fn wake_receivers(&mut self, now: Time) {
        for incoming in self.incoming.values_mut() {
            incoming.report_due |= incoming.receiver.next_wakeup().is_some_and(|at| at <= now);
        }
    }

    /// The next report that is due.
    pub(super) fn next_report(&mut self, now: Time) -> Option<Outbound> {
        let due = |incoming: &&mut Incoming| incoming.report_due;
        let incoming = self.incoming.values_mut().find(due)?;
        incoming.report_due = false;
        let report = Message::Report(incoming.receiver.report(now)).to_bytes();
        let to = To::Only(vec![incoming.key.from.clone()]);
        Some(Outbound { topic: incoming.topic.clone(), to, what: What::Message(report) })
    }
}

impl Incoming {
    pub(super) fn part(&self) -> Part {
        let offer = &self.receiver.offer;
        let (from, topic) = (self.key.from.clone(), self.topic.clone());
        Part { from, topic, root: offer.root, bytes: offer.bytes }
    }

    fn verify_if_whole(&mut self, job: Job) -> Vec<Effect> {
        let ready = matches!(self.receiver.state, State::Receiving | State::Paused);
        if !ready || !self.receiver.has_all() || self.job != Some(job) {
            return Vec::new();
        }
        self.receiver.rest(State::Verifying);
        vec![Effect::Hash(job)]
    }
}
