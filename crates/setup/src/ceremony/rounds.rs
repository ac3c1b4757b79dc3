//! The rounds of a ceremony: what a participant does once it has everybody's word of the round before.

use std::collections::BTreeMap;
use std::fmt;

use ringfort_crypto::kem::{KemPublic, KemSecret, seal_to};
use ringfort_protocol::group::LeaderSecrets;
use ringfort_protocol::{Cx, GroupInfo, LeaderId};

use super::{Ceremony, Effect, Event, Step, Unconfirmed};
use crate::board::{Put, group_of};
use crate::dkg::{self, OwnShares, Polynomials, Shares};
use crate::evidence::{Evidence, open_shares};
use crate::message::{Body, Certificate, Confirmation, Message, Post, Round, share_context};
use crate::outcome::{Blame, Fault};

/// How far this participant is, with the secrets that it needs from there. Leaving a stage wipes them.
pub enum Stage {
    Meeting,
    Dealt(Box<Polynomials>, KemSecret),
    Shared(Box<OwnShares>, KemSecret),
    /// It has said its last word: confirmed or complained.
    Told,
    /// It confirmed in an earlier start, and takes part in nothing else.
    Waiting,
    Finished,
    Failed,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Meeting => "meeting",
            Stage::Dealt(..) => "dealt",
            Stage::Shared(..) => "shared",
            Stage::Told => "told",
            Stage::Waiting => "waiting",
            Stage::Finished => "finished",
            Stage::Failed => "failed",
        })
    }
}

impl Ceremony {
    /// Goes on as far as what is there allows.
    pub(super) fn advance(&mut self, cx: &mut Cx<'_>, step: &mut Step) {
        loop {
            self.judge(cx, step);
            self.dispute(step);
            let went_on = match &self.stage {
                Stage::Meeting => self.is_ready() && self.begin(cx, step),
                Stage::Dealt(..) => self.is_complete(Round::Deal) && self.share(cx, step),
                Stage::Shared(..) => self.is_complete(Round::Shares) && self.conclude(cx, step),
                Stage::Told | Stage::Waiting => self.is_complete(Round::Result) && self.certify(cx, step),
                Stage::Finished | Stage::Failed => false,
            };
            if !went_on {
                return;
            }
        }
    }

    /// Everybody's post of a round is there, and everybody saw the same posts before.
    fn is_complete(&self, round: Round) -> bool {
        self.board.as_ref().is_some_and(|board| {
            board.missing(&self.terms, round).is_empty() && board.mismatches(&self.terms, round).is_empty()
        })
    }

    fn post(&mut self, body: &Body, step: &mut Step) -> bool {
        let (Some(keys), Some(session)) = (&self.keys, self.session()) else { return false };
        let post = Post::sign(&self.terms, session, self.me, body, &keys.signing);
        self.say(post, step)
    }

    fn say(&mut self, post: Post, step: &mut Step) -> bool {
        let Some(board) = &mut self.board else { return false };
        let is_new = matches!(board.put(&self.terms, post.clone()), Put::New);
        self.tell_all(&Message::Post(post), step);
        is_new
    }

    fn begin(&mut self, cx: &mut Cx<'_>, step: &mut Step) -> bool {
        let opening = KemSecret::generate(cx.rng);
        let Ok((polynomials, packages)) = dkg::deal(self.me, self.terms.rules(), cx.rng) else { return false };
        self.stage = Stage::Dealt(Box::new(polynomials), opening.clone());
        self.deadline = Some(cx.now + self.limits.round);
        step.events.push(Event::Begun);
        self.post(&Body::Deal { opening_key: opening.public().to_bytes(), packages }, step)
    }

    fn share(&mut self, cx: &mut Cx<'_>, step: &mut Step) -> bool {
        let Some(board) = &self.board else { return false };
        let (session, seen) = (board.session(), board.digests(Round::Deal));
        let opening_keys: BTreeMap<LeaderId, [u8; 32]> = board
            .round(Round::Deal)
            .filter_map(|(post, body)| match body {
                Body::Deal { opening_key, .. } => Some((post.author, *opening_key)),
                _ => None,
            })
            .collect();
        let others = board.commitments_of_others(self.me);
        let Stage::Dealt(polynomials, opening) = std::mem::replace(&mut self.stage, Stage::Told) else { return false };
        let Ok((own, dealt)) = dkg::shares_for(*polynomials, &others) else { return false };
        let mut sealed = Vec::new();
        for leader in self.terms.rules().leaders() {
            let key = opening_keys.get(&leader).and_then(|bytes| KemPublic::from_bytes(bytes).ok());
            sealed.push(match (dealt.get(&leader), key) {
                (Some(shares), Some(key)) => {
                    let context = share_context(&session, self.me, leader);
                    seal_to(&key, &context, &[], shares.as_slice(), cx.rng).unwrap_or_default()
                }
                _ => Vec::new(),
            });
        }
        self.stage = Stage::Shared(Box::new(own), opening);
        self.deadline = Some(cx.now + self.limits.round);
        step.events.push(Event::Dealt);
        self.post(&Body::Shares { seen, sealed }, step)
    }

    /// Opens the shares: confirms if all fit, complains of the first that does not.
    fn conclude(&mut self, cx: &mut Cx<'_>, step: &mut Step) -> bool {
        let Stage::Shared(own, opening) = std::mem::replace(&mut self.stage, Stage::Told) else { return false };
        self.deadline = Some(cx.now + self.limits.round);
        let Some(others) = self.board.as_ref().map(|board| board.commitments_of_others(self.me)) else {
            return false;
        };
        let mut received = BTreeMap::new();
        for (dealer, commitments) in &others {
            let shares = self.shares_from(*dealer, &opening);
            match shares.filter(|shares| dkg::shares_fit(self.me, commitments, shares)) {
                Some(shares) => received.insert(*dealer, shares),
                None => return self.complain(*dealer, &opening, step),
            };
        }
        let Ok((shares, keys)) = dkg::finish(self.me, self.terms.rules(), &own, &others, &received) else {
            // Nobody's fault, and it does not happen: a key came out as zero. All fail alike.
            let nobody = self.terms.others(self.me).map(|leader| Blame::of(leader, Fault::GaveUp)).collect();
            self.fail(cx, nobody, step);
            return false;
        };
        let Some(board) = &self.board else { return false };
        let (session, seen) = (board.session(), board.digests(Round::Shares));
        let Some(group) = group_of(&self.terms, &session, &board.all(Round::Deal), keys) else { return false };
        self.confirm(session, seen, group, shares, step)
    }

    fn shares_from(&self, dealer: LeaderId, opening: &KemSecret) -> Option<Shares> {
        let (post, body) = self.board.as_ref()?.get(Round::Shares, dealer)?;
        let Body::Shares { sealed, .. } = body else { return None };
        open_shares(sealed.get(usize::from(self.me.number()) - 1)?, opening, post, self.me)
    }

    fn complain(&mut self, against: LeaderId, opening: &KemSecret, step: &mut Step) -> bool {
        let digest = |round| self.board.as_ref()?.get(round, against).map(|(post, _)| post.digest());
        let (Some(deal), Some(shares)) = (digest(Round::Deal), digest(Round::Shares)) else { return false };
        let opening_secret = *opening.to_secret().expose();
        // Judged here like anybody's.
        self.post(&Body::Complain { against, posts: [deal, shares], opening_secret }, step)
    }

    fn confirm(
        &mut self,
        session: [u8; 32],
        seen: Vec<[u8; 32]>,
        group: GroupInfo,
        [group_share, coin_share]: [ringfort_crypto::threshold::SecretShare; 2],
        step: &mut Step,
    ) -> bool {
        let id = group.id().0;
        let Some(keys) = &self.keys else { return false };
        let secrets = LeaderSecrets {
            id: self.me,
            link: keys.link.clone(),
            signing: keys.signing.clone(),
            sealing: keys.sealing.clone(),
            group_share,
            coin_share,
        };
        step.events.push(Event::Fits(group.fingerprint()));
        self.unconfirmed = Some((session, id));
        let post = Post::sign(&self.terms, session, self.me, &Body::Confirm { seen, group: id }, &keys.signing);
        let confirmation = Confirmation(post.clone());
        // Whoever reads the confirmation may count on the share for ever.
        step.effects.push(Effect::Persist(Box::new(Unconfirmed { session, group, secrets, confirmation })));
        self.say(post, step)
    }

    /// All have said their last word, and none has complained with reason.
    fn certify(&mut self, cx: &mut Cx<'_>, step: &mut Step) -> bool {
        let (Some(board), Some((_, group))) = (&self.board, self.unconfirmed) else { return false };
        let all_confirm =
            board.round(Round::Result).all(|(_, body)| matches!(body, Body::Confirm { group: g, .. } if *g == group));
        if all_confirm {
            let certificate = Certificate(board.all(Round::Result));
            self.finish(cx, certificate, step);
        }
        false
    }

    /// Looks into every complaint, and into every confirmation of another group.
    fn judge(&mut self, cx: &mut Cx<'_>, step: &mut Step) {
        if self.is_over() {
            return;
        }
        let Some(board) = &self.board else { return };
        let evidence = board.round(Round::Result).find_map(|(post, body)| match body {
            Body::Complain { against, .. } => {
                let get = |round, leader| board.get(round, leader).map(|(post, _)| post.clone());
                let dealt = get(Round::Deal, *against)?;
                let own = get(Round::Deal, post.author)?;
                let shares = get(Round::Shares, *against)?;
                let evidence = Evidence::Complaint(Box::new([dealt, own, shares, post.clone()]));
                evidence.check(&self.terms).map(|_| evidence)
            }
            Body::Confirm { group, .. } if self.unconfirmed.is_some_and(|(_, ours)| ours != *group) => {
                let shares = board.get(Round::Shares, post.author)?.0.clone();
                let evidence = Evidence::Group(board.all(Round::Deal), Box::new([shares, post.clone()]));
                evidence.check(&self.terms).map(|_| evidence)
            }
            _ => None,
        });
        if let Some(evidence) = evidence {
            self.fail_on(cx, evidence, step);
        }
    }

    /// Where somebody saw another post than is held here, everybody is shown this one: two of them prove who has two faces.
    fn dispute(&mut self, step: &mut Step) {
        if self.is_over() {
            return;
        }
        let mut shown = Vec::new();
        for (round, before) in [(Round::Shares, Round::Deal), (Round::Result, Round::Shares)] {
            let Some(board) = &self.board else { return };
            for (_, author) in board.mismatches(&self.terms, round) {
                if let Some((post, _)) = board.get(before, author).filter(|_| self.disputed.insert((before, author))) {
                    shown.push(Message::Post(post.clone()));
                }
            }
        }
        shown.iter().for_each(|post| self.tell_all(post, step));
    }
}
