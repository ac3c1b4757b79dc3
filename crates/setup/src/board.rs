//! The posts of one session, and what follows from them.

use std::collections::BTreeMap;

use ringfort_crypto::hash::digest;
use ringfort_crypto::threshold::PublicKeySet;
use ringfort_protocol::codec::encode;
use ringfort_protocol::{GroupInfo, LeaderId};

use crate::dkg::Commitments;
use crate::evidence::{Evidence, read_checked};
use crate::message::{Body, Post, Round};
use crate::terms::Terms;

/// At most one post of each participant in each round.
pub struct Board {
    session: [u8; 32],
    posts: BTreeMap<(Round, LeaderId), (Post, Body)>,
    /// What the deals commit to.
    commitments: BTreeMap<LeaderId, Commitments>,
}

/// What became of a post.
pub enum Put {
    /// Held now, and to be passed on.
    New,
    /// Held already, or not signed: nothing to do.
    Ignored,
    /// Shows that its author deviates.
    Proof(Box<Evidence>),
}

impl Board {
    pub fn new(session: [u8; 32]) -> Self {
        Board { session, posts: BTreeMap::new(), commitments: BTreeMap::new() }
    }

    pub fn session(&self) -> [u8; 32] {
        self.session
    }

    /// Whether a participant has said anything in this session.
    pub fn has_said(&self, author: LeaderId) -> bool {
        self.posts.keys().any(|(_, leader)| *leader == author)
    }

    pub fn put(&mut self, terms: &Terms, post: Post) -> Put {
        let known = |(held, _): &(Post, Body)| held.author == post.author && held.body == post.body;
        if post.session != self.session || self.posts.values().any(known) || !post.is_signed(terms) {
            return Put::Ignored;
        }
        let Some((body, commitments)) = read_checked(terms, &post) else {
            return Put::Proof(Box::new(Evidence::Post(post)));
        };
        let place = (body.round(), post.author);
        if let Some((held, _)) = self.posts.get(&place) {
            return Put::Proof(Box::new(Evidence::Posts(held.clone(), post)));
        }
        self.commitments.extend(commitments.map(|commitments| (post.author, commitments)));
        self.posts.insert(place, (post, body));
        Put::New
    }

    pub fn get(&self, round: Round, author: LeaderId) -> Option<&(Post, Body)> {
        self.posts.get(&(round, author))
    }

    /// All posts, in order of their rounds.
    pub fn posts(&self) -> impl Iterator<Item = &Post> {
        self.posts.values().map(|(post, _)| post)
    }

    pub fn round(&self, round: Round) -> impl Iterator<Item = (&Post, &Body)> {
        self.posts.iter().filter(move |((r, _), _)| *r == round).map(|(_, (post, body))| (post, body))
    }

    pub fn missing(&self, terms: &Terms, round: Round) -> Vec<LeaderId> {
        terms.rules().leaders().filter(|leader| !self.posts.contains_key(&(round, *leader))).collect()
    }

    /// The digests of a round's posts, in order of their authors; complete only if the round is.
    pub fn digests(&self, round: Round) -> Vec<[u8; 32]> {
        self.round(round).map(|(post, _)| post.digest()).collect()
    }

    pub fn all(&self, round: Round) -> Vec<Post> {
        self.round(round).map(|(post, _)| post.clone()).collect()
    }

    /// What everybody but `me` commits to.
    pub fn commitments_of_others(&self, me: LeaderId) -> BTreeMap<LeaderId, Commitments> {
        let others = self.commitments.iter().filter(|(leader, _)| **leader != me);
        others.map(|(leader, commitments)| (*leader, commitments.clone())).collect()
    }

    /// Who says in `round` that it saw other posts than these, and whose: `(witness, author)`.
    pub fn mismatches(&self, terms: &Terms, round: Round) -> Vec<(LeaderId, LeaderId)> {
        let mut found = Vec::new();
        for (post, body) in self.round(round) {
            let (before, seen) = match body {
                Body::Shares { seen, .. } => (Round::Deal, seen),
                Body::Confirm { seen, .. } => (Round::Shares, seen),
                Body::Deal { .. } | Body::Complain { .. } => continue,
            };
            for (author, seen) in terms.rules().leaders().zip(seen) {
                if self.get(before, author).is_some_and(|(held, _)| held.digest() != *seen) {
                    found.push((post.author, author));
                }
            }
        }
        found
    }
}

/// The group that a session makes: the same for everybody who saw the same deals.
pub fn group_of(terms: &Terms, session: &[u8; 32], deals: &[Post], keys: [PublicKeySet; 2]) -> Option<GroupInfo> {
    let seen: Vec<[u8; 32]> = deals.iter().map(Post::digest).collect();
    let nonce = digest("ringfort setup nonce", &[session, &encode(&seen)]);
    let leaders = terms.introductions().iter().map(|i| i.info.clone()).collect();
    let signed = terms.introductions().iter().map(|i| i.signed.clone()).collect();
    GroupInfo::new(terms.name().to_owned(), nonce, *terms.rules(), leaders, keys, terms.policy().clone())
        .with_introductions(signed)
}
