//! Signed words that together prove what a participant did, to anybody who has the terms.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::kem::{KemPublic, KemSecret};
use ringfort_crypto::secret::Secret32;
use ringfort_protocol::LeaderId;
use zeroize::Zeroizing;

use crate::dkg::{self, Commitments, SHARES_BYTES, Shares};
use crate::message::{Body, Hello, Post, share_context};
use crate::outcome::Fault;
use crate::terms::Terms;

/// Proof of a deviation. What it shows is for [`Evidence::check`] to say.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Evidence {
    /// Two starts under one number.
    Hellos(#[doc(hidden)] Hello, #[doc(hidden)] Hello) = 1,
    /// Two posts in one round.
    Posts(#[doc(hidden)] Post, #[doc(hidden)] Post) = 2,
    /// A post that nobody following the protocol makes.
    Post(#[doc(hidden)] Post) = 3,
    /// The deals of both, the shares of the accused, and the complaint.
    Complaint(#[doc(hidden)] Box<[Post; 4]>) = 4,
    /// Everybody's deals, the shares of the one who saw them, and its confirmation.
    Group(#[doc(hidden)] Vec<Post>, #[doc(hidden)] Box<[Post; 2]>) = 5,
}

impl Evidence {
    /// Who is proven to have done what, if anybody is.
    ///
    /// Nobody who follows the protocol is ever proven guilty: it signs one word in each place, and deals what it committed to.
    pub fn check(&self, terms: &Terms) -> Option<(LeaderId, Fault)> {
        match self {
            Evidence::Hellos(a, b) => {
                let two = a.author == b.author && a.attempt == b.attempt && a.nonce != b.nonce;
                (two && a.is_signed(terms) && b.is_signed(terms)).then_some((a.author, Fault::Equivocated))
            }
            Evidence::Posts(a, b) => {
                let place = |post: &Post| Some((post.session, post.author, post.read()?.round()));
                let two = a.body != b.body && place(a).is_some() && place(a) == place(b);
                (two && a.is_signed(terms) && b.is_signed(terms)).then_some((a.author, Fault::Equivocated))
            }
            Evidence::Post(post) => {
                let bad = post.is_signed(terms) && read_checked(terms, post).is_none();
                bad.then_some((post.author, Fault::BadDeal))
            }
            Evidence::Complaint(posts) => check_complaint(terms, posts),
            Evidence::Group(deals, posts) => check_group(terms, deals, posts),
        }
    }

    /// The session it belongs to; a start belongs to none.
    pub(crate) fn session(&self) -> Option<[u8; 32]> {
        match self {
            Evidence::Hellos(..) => None,
            Evidence::Posts(a, _) | Evidence::Post(a) => Some(a.session),
            Evidence::Complaint(posts) => posts.first().map(|post| post.session),
            Evidence::Group(_, posts) => posts.first().map(|post| post.session),
        }
    }

    /// For a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        ringfort_protocol::codec::encode(self)
    }

    /// From a file of at most [`crate::FRAME_BYTES_MAX`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > crate::FRAME_BYTES_MAX { None } else { ringfort_protocol::codec::decode(bytes).ok() }
    }
}

/// The body, if it is one that a participant following the protocol can make: what can be seen from it alone.
///
/// Of a deal also what it commits to.
pub(crate) fn read_checked(terms: &Terms, post: &Post) -> Option<(Body, Option<Commitments>)> {
    let body = post.read()?;
    let n = usize::from(terms.rules().n());
    let mut commitments = None;
    let fine = match &body {
        Body::Deal { opening_key, packages } => {
            commitments = dkg::read_commitments(post.author, terms.rules(), packages).ok();
            KemPublic::from_bytes(opening_key).is_ok() && commitments.is_some()
        }
        Body::Shares { seen, sealed } => seen.len() == n && sealed.len() == n,
        Body::Confirm { seen, .. } => seen.len() == n,
        Body::Complain { against, .. } => *against != post.author && against.number() <= terms.rules().n(),
    };
    fine.then_some((body, commitments))
}

/// Everybody's commitments, from deals in order of their leaders.
fn commitments_of(terms: &Terms, deals: &[Post]) -> Option<BTreeMap<LeaderId, Commitments>> {
    let read = |post: &Post| match post.read()? {
        Body::Deal { packages, .. } => {
            Some((post.author, dkg::read_commitments(post.author, terms.rules(), &packages).ok()?))
        }
        _ => None,
    };
    let commitments: BTreeMap<LeaderId, Commitments> = deals.iter().map(read).collect::<Option<_>>()?;
    (commitments.len() == usize::from(terms.rules().n())).then_some(commitments)
}

/// Opens what `dealer` sealed to `to`.
pub(crate) fn open_shares(sealed: &[u8], secret: &KemSecret, post: &Post, to: LeaderId) -> Option<Shares> {
    let context = share_context(&post.session, post.author, to);
    let opened = Zeroizing::new(secret.open(&context, &[], sealed).ok()?);
    let bytes: [u8; SHARES_BYTES] = opened.as_slice().try_into().ok()?;
    Some(Zeroizing::new(bytes))
}

/// Judges a complaint: the dealer's share is looked at by anybody, with the key that the complainer shows.
fn check_complaint(terms: &Terms, [dealt, own, shares, complaint]: &[Post; 4]) -> Option<(LeaderId, Fault)> {
    let all = [dealt, own, shares, complaint];
    let together = all.iter().all(|post| post.session == dealt.session && post.is_signed(terms));
    let Some(Body::Complain { against, posts, opening_secret }) = complaint.read() else { return None };
    let (Body::Deal { packages, .. }, Body::Deal { opening_key, .. }) = (dealt.read()?, own.read()?) else {
        return None;
    };
    let Body::Shares { sealed, .. } = shares.read()? else { return None };
    // A complaint is about what its author got: a dealer with two faces is another matter.
    let of_these = posts == [dealt.digest(), shares.digest()];
    if !together || !of_these || dealt.author != against || shares.author != against || own.author != complaint.author {
        return None;
    }
    let complainer = (complaint.author, Fault::FalseComplaint);
    let secret = KemSecret::from_secret(&Secret32::new(opening_secret));
    if secret.public().to_bytes() != opening_key {
        return Some(complainer);
    }
    let commitments = dkg::read_commitments(against, terms.rules(), &packages).ok()?;
    let sealed = sealed.get(usize::from(complaint.author.number()) - 1)?;
    let fits = open_shares(sealed, &secret, shares, complaint.author)
        .is_some_and(|opened| dkg::shares_fit(complaint.author, &commitments, &opened));
    Some(if fits { complainer } else { (against, Fault::BadShare) })
}

/// Judges a confirmation against the deals that its author said it saw.
fn check_group(terms: &Terms, deals: &[Post], [shares, confirm]: &[Post; 2]) -> Option<(LeaderId, Fault)> {
    let session = confirm.session;
    let authors: Vec<LeaderId> = deals.iter().map(|post| post.author).collect();
    let all_there = authors == terms.rules().leaders().collect::<Vec<_>>();
    let together = deals.iter().chain([shares, confirm]).all(|post| post.session == session && post.is_signed(terms));
    let Body::Shares { seen, .. } = shares.read()? else { return None };
    let Body::Confirm { group, .. } = confirm.read()? else { return None };
    let saw_these = seen == deals.iter().map(Post::digest).collect::<Vec<_>>();
    if !all_there || !together || !saw_these || shares.author != confirm.author {
        return None;
    }
    let commitments = commitments_of(terms, deals)?;
    let made = crate::board::group_of(terms, &session, deals, dkg::public_keys(terms.rules(), &commitments).ok()?)?;
    (made.id().0 != group).then_some((confirm.author, Fault::WrongGroup))
}
