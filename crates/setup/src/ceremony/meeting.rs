//! The meeting: who is there, and that all hold the same hellos.

use ringfort_protocol::rules::Rule;
use ringfort_protocol::{Cx, LeaderId};

use super::rounds::Stage;
use super::{ATTEMPTS_MAX, Ceremony, Effect, Event, Step};
use crate::board::Board;
use crate::evidence::Evidence;
use crate::message::{Body, Hello, Message, Open, Post, session};
use crate::outcome::{Blame, Fault};
use crate::terms::fingerprint;

impl Ceremony {
    pub(super) fn on_hello(&mut self, cx: &mut Cx<'_>, from: LeaderId, hello: Hello, step: &mut Step) {
        let author = hello.author;
        if hello.terms != self.terms.digest() {
            if author == from && self.others_terms.insert(from) {
                step.events.push(Event::OtherTerms(from, fingerprint(&hello.terms)));
            }
            return;
        }
        let held = self.hellos.get(&author);
        let is_newer = held.is_none_or(|held| held.attempt < hello.attempt) && hello.attempt <= ATTEMPTS_MAX;
        let is_other = held.is_some_and(|held| held.attempt == hello.attempt && held.nonce != hello.nonce);
        let takes_part = author != self.me && !self.is_over() && !matches!(self.stage, Stage::Waiting);
        if !takes_part || !(is_newer || is_other) || !hello.is_signed(&self.terms) {
            return;
        }
        if let (true, Some(held)) = (is_other, held) {
            let evidence = Evidence::Hellos(held.clone(), hello);
            return self.fail_on(cx, evidence, step);
        }
        if !matches!(self.stage, Stage::Meeting) {
            if self.board.as_ref().is_some_and(|board| board.has_said(author)) {
                return self.fail(cx, vec![Blame::of(author, Fault::Restarted)], step);
            }
            self.leave(author, step);
        }
        if self.hellos.insert(author, hello.clone()).is_none() {
            step.events.push(Event::Here(author));
        }
        // Whoever comes at the last moment leaves the others the time to hear of it from each other.
        self.deadline = self.meeting_ends.max(Some(cx.now + self.limits.farewell));
        self.pass_on(from, author, &Message::Hello(hello), step);
        self.meet(step);
    }

    /// Back to the meeting. The one who was started again has said nothing in this session: either its start was an older one
    /// that somebody passed on, and it never was in it, or it was, and has not begun. Nobody is to blame for that.
    fn leave(&mut self, author: LeaderId, step: &mut Step) {
        self.left.extend(self.session());
        self.board = None;
        self.stage = Stage::Meeting;
        step.events.push(Event::MeetAgain(author));
    }

    /// Once all hellos are there, says so, and which.
    fn meet(&mut self, step: &mut Step) {
        let Some((keys, hello)) = self.keys.as_ref().zip(self.hellos.get(&self.me)) else { return };
        if self.hellos.len() < usize::from(self.terms.rules().n()) {
            return;
        }
        let session = session(&self.terms, self.hellos.values());
        self.count += 1;
        let open = Open::sign(&self.terms, hello, self.count, session, &keys.signing);
        self.board = Some(Board::new(session));
        (self.ready, self.opens) =
            std::mem::take(&mut self.opens).into_iter().partition(|(_, open)| open.session == session);
        self.ready.insert(self.me, open);
        let ready: Vec<Open> = self.ready.values().cloned().collect();
        ready.into_iter().for_each(|open| self.pass_on(self.me, open.author, &Message::Open(open), step));
    }

    /// Who is ready for the session held here is known to all soon: what counts is signed, and told on. Of other sessions only
    /// the last word of whoever says it itself is kept.
    pub(super) fn on_open(&mut self, from: LeaderId, open: Open, step: &mut Step) {
        let author = open.author;
        if author == self.me || self.keys.is_none() {
            return;
        }
        let is_ours = self.session() == Some(open.session);
        let is_known = match (is_ours, self.opens.get(&author)) {
            (true, _) => self.ready.contains_key(&author),
            (false, Some(held)) => from != author || (held.attempt, held.count) >= (open.attempt, open.count),
            (false, None) => from != author,
        };
        if is_known || !open.is_signed(&self.terms) {
            return;
        }
        if !is_ours {
            self.opens.insert(author, open);
            return;
        }
        // What was told it of this session before it knew of it was lost on it.
        let ready = self.ready.values().map(|open| Message::Open(open.clone()));
        let posts = self.board.iter().flat_map(Board::posts).map(|post| Message::Post(post.clone()));
        step.effects.extend(ready.chain(posts).map(|message| Effect::Send(author, message.to_frame())));
        self.ready.insert(author, open.clone());
        self.pass_on(from, author, &Message::Open(open), step);
    }

    /// A confirmation of a session that is not the one here: its author is bound to it.
    pub(super) fn on_other_session(&mut self, from: LeaderId, post: &Post, step: &mut Step) {
        let is_confirmed = matches!(post.read(), Some(Body::Confirm { .. }));
        let meets = matches!(self.stage, Stage::Meeting);
        if meets
            && is_confirmed
            && from == post.author
            && !self.bound.contains_key(&from)
            && post.is_signed(&self.terms)
        {
            self.bound.insert(from, post.session);
            step.events.push(Event::Bound(from));
        }
    }

    /// All have said that they hold the same hellos. Nothing else will do: a start may be an old one that somebody passed on,
    /// and only its author knows.
    pub(super) fn is_ready(&self) -> bool {
        let rules = self.terms.rules();
        let all = rules.leaders().all(|leader| self.ready.contains_key(&leader)) || !rules.enforces(Rule::AllReady);
        self.board.is_some() && all
    }

    /// Who did not come, or did not get ready.
    pub(super) fn not_there(&self) -> Vec<Blame> {
        let blame = |leader: LeaderId| match (self.hellos.get(&leader), self.bound.get(&leader)) {
            (None, Some(session)) => Some(self.bound_to(leader, session)),
            (None, None) => Some(Blame::of(leader, Fault::Silent)),
            _ if self.board.is_some() && !self.ready.contains_key(&leader) => Some(Blame::of(leader, Fault::NotReady)),
            _ => None,
        };
        let mut blames: Vec<Blame> = self.terms.others(self.me).filter_map(blame).collect();
        blames.dedup();
        blames
    }

    /// It holds a result that this leader did not confirm; if this leader knows why it did not, that is what to look at.
    fn bound_to(&self, leader: LeaderId, session: &[u8; 32]) -> Blame {
        match self.reason.as_ref().filter(|reason| reason.session == *session) {
            Some(reason) => reason.blame(),
            None => Blame::of(leader, Fault::Bound),
        }
    }
}
