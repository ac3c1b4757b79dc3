//! Lies about shares of the group key.

use std::collections::VecDeque;

use ringfort_protocol::LinkId;
use ringfort_protocol::keys::ViewClaim;
use ringfort_protocol::wire::LeaderNotice;

use super::{Den, Strategy};

fn on_claim(notice: LeaderNotice, change: impl FnOnce(&mut ViewClaim)) -> Vec<LeaderNotice> {
    vec![match notice {
        LeaderNotice::Claim(mut claim) => {
            change(&mut claim);
            LeaderNotice::Claim(claim)
        }
        LeaderNotice::PastClaim(mut claim) => {
            change(&mut claim);
            LeaderNotice::PastClaim(claim)
        }
        other => other,
    }]
}

/// Shares that are wrong: another leader's, or noise.
pub struct Bad;

impl Strategy for Bad {
    fn notice(&mut self, den: &mut Den<'_>, _to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        on_claim(notice, |claim| claim.share = den.dice.bytes())
    }
}

/// The right share behind a proof that does not verify.
pub struct BadProof;

impl Strategy for BadProof {
    fn notice(&mut self, den: &mut Den<'_>, _to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        on_claim(notice, |claim| {
            let place = 32 + den.dice.index(96);
            if let Some(byte) = claim.share.get_mut(place) {
                *byte ^= 1;
            }
        })
    }
}

/// A good share with a good proof, of a view before.
#[derive(Default)]
pub struct OtherView {
    old: VecDeque<[u8; 128]>,
}

impl Strategy for OtherView {
    fn notice(&mut self, _den: &mut Den<'_>, _to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        on_claim(notice, |claim| {
            if self.old.back() != Some(&claim.share) {
                self.old.push_back(claim.share);
            }
            if self.old.len() > 3 {
                self.old.pop_front();
            }
            if let Some(old) = self.old.front() {
                claim.share = *old;
            }
        })
    }
}

/// Good to every other link, bad to the rest.
pub struct Partial;

impl Strategy for Partial {
    fn notice(&mut self, den: &mut Den<'_>, to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        if to.0.is_multiple_of(2) { vec![notice] } else { on_claim(notice, |claim| claim.share = den.dice.bytes()) }
    }
}
