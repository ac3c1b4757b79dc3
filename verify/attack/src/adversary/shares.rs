//! Lies about shares of the group key.

use rand_core::CryptoRng;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::threshold::{KeyRole, SecretShare};
use ringfort_protocol::keys::{Base, ViewClaim, view_point};
use ringfort_protocol::view::ViewHasher;
use ringfort_protocol::wire::LeaderNotice;
use ringfort_protocol::{Epoch, LinkId, ViewId};

use super::{Den, Lie, Vice};

/// Foresees the next view, so that the bad share is there before any good one.
#[derive(Default)]
struct Foresight {
    last: Option<ViewClaim>,
    told: Option<ViewId>,
}

impl Foresight {
    fn note(&mut self, claim: &ViewClaim) {
        self.last = Some(claim.clone());
    }

    /// The claim of the next rekey with nobody coming or going, once per view.
    fn next(&mut self, den: &Den<'_>) -> Option<ViewClaim> {
        let last = self.last.as_ref().filter(|last| last.view == den.view)?;
        if self.told.replace(last.view) == Some(last.view) {
            return None;
        }
        let refreshes = last.refreshes + 1;
        let hasher = ViewHasher::new(den.group, den.group.session());
        let view = hasher.view_id(Epoch(last.view.epoch.0 + 1), refreshes, den.members.hash());
        let base = Base::View(last.view.digest);
        let statement = den.statement(view, refreshes);
        let (number, share) = (last.number + 1, last.share);
        Some(ViewClaim { number, view, refreshes, base, changes: Vec::new(), share, statement })
    }

    fn to_all(den: &Den<'_>, claim: &ViewClaim) -> Vec<Lie> {
        den.links.iter().map(|(link, _)| Lie::Notice(*link, LeaderNotice::Claim(claim.clone()))).collect()
    }
}

fn with_claim(notice: LeaderNotice, change: impl FnOnce(&mut ViewClaim)) -> Vec<LeaderNotice> {
    vec![match notice {
        LeaderNotice::Claim(mut claim) => {
            change(&mut claim);
            LeaderNotice::Claim(claim)
        }
        LeaderNotice::PastClaim(mut claim) => {
            change(&mut claim);
            LeaderNotice::PastClaim(claim)
        }
        other => return vec![other],
    }]
}

/// A leader's share of some other secret.
pub(super) fn any_share(index: u16, rng: &mut dyn CryptoRng) -> SecretShare {
    let mut scalar = [0; 32];
    rng.fill_bytes(&mut scalar);
    // Below 2^252, and so below the order of the group: of all strings of 32 bytes only one in sixteen is a scalar.
    scalar[31] &= 0x0f;
    let share = SecretShare::from_secret(KeyRole::GroupKey, index, &Secret32::new(scalar));
    share.expect("a scalar that is not zero, for a leader's index")
}

/// Shares of another secret, each with a proof that would hold for it.
#[derive(Default)]
pub struct BadShares {
    foresight: Foresight,
}

impl BadShares {
    fn spoil(den: &mut Den<'_>, claim: &mut ViewClaim) {
        let share = any_share(den.secrets.id.share_index(), den.rng);
        let point = view_point(den.group, den.group.session(), claim.view, claim.refreshes);
        claim.share = share.evaluate(&point, den.rng).to_bytes();
        den.tried("wrong shares", 1);
    }
}

impl Vice for BadShares {
    fn notice(&mut self, den: &mut Den<'_>, _to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        with_claim(notice, |claim| {
            self.foresight.note(claim);
            Self::spoil(den, claim);
        })
    }

    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        let Some(mut claim) = self.foresight.next(den) else { return Vec::new() };
        Self::spoil(den, &mut claim);
        Foresight::to_all(den, &claim)
    }
}

/// The right share behind a proof that does not verify.
#[derive(Default)]
pub struct BadProofs {
    foresight: Foresight,
}

impl BadProofs {
    fn spoil(den: &mut Den<'_>, claim: &mut ViewClaim) {
        let point = view_point(den.group, den.group.session(), claim.view, claim.refreshes);
        claim.share = den.secrets.group_share.evaluate(&point, den.rng).to_bytes();
        // Behind the share itself and before the last bytes, which a canonical encoding may exclude.
        let place = 64 + den.below(24);
        if let Some(byte) = claim.share.get_mut(place) {
            *byte ^= 1 << den.below(8);
        }
        den.tried("false proofs", 1);
    }
}

impl Vice for BadProofs {
    fn notice(&mut self, den: &mut Den<'_>, _to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        with_claim(notice, |claim| {
            self.foresight.note(claim);
            Self::spoil(den, claim);
        })
    }

    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        let Some(mut claim) = self.foresight.next(den) else { return Vec::new() };
        Self::spoil(den, &mut claim);
        Foresight::to_all(den, &claim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_share_that_is_invented_is_one() {
        let mut rng = ringfort_documents::os_rng();
        for _ in 0..1_000 {
            assert_eq!(any_share(3, &mut rng).index(), 3);
        }
    }
}
