//! Listening only: every relayed message is recorded, and every secret of the leader tried on it.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand_core::CryptoRng;
use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_crypto::threshold::{Evaluation, SecretShare};
use ringfort_protocol::data::{DataFrame, FrameKind, Identity, KeyedView, Opened, Shape, open};
use ringfort_protocol::group::{GroupInfo, LeaderSecrets};
use ringfort_protocol::keys::{ViewClaim, group_key, view_point};
use ringfort_protocol::view::MemberEntry;
use ringfort_protocol::wire::LeaderNotice;
use ringfort_protocol::{Incarnation, LinkId, MemberId, ViewDigest, ViewId};

use super::shares::any_share;
use super::{Den, Lie, Vice};

/// Messages recorded and not yet tried.
const RECORDED_MAX: usize = 256;
/// Messages tried at each tick.
const TRIED_PER_TICK: usize = 8;

/// Looks honest to everybody.
///
/// The same tools are also given one more leader's share, where there is one: then they must open the
/// messages, which shows that failing with one share is not the tools' fault.
#[derive(Default)]
pub struct Spy {
    second: Option<SecretShare>,
    views: BTreeMap<ViewDigest, (ViewId, u64)>,
    recorded: Vec<(MemberEntry, Bytes)>,
}

impl Spy {
    /// A spy that also holds a second leader's share.
    pub fn with_second(second: Option<SecretShare>) -> Self {
        Spy { second, ..Spy::default() }
    }

    fn note(&mut self, claim: &ViewClaim) {
        if self.views.len() >= RECORDED_MAX {
            self.views.pop_first();
        }
        self.views.insert(claim.view.digest, (claim.view, claim.refreshes));
    }
}

impl Vice for Spy {
    fn notice(&mut self, _den: &mut Den<'_>, _to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        if let LeaderNotice::Claim(claim) | LeaderNotice::PastClaim(claim) = &notice {
            self.note(claim);
        }
        vec![notice]
    }

    fn relay(&mut self, den: &mut Den<'_>, links: Vec<LinkId>, frame: Bytes) -> Vec<(LinkId, Bytes)> {
        let is_message = |parsed: &DataFrame| {
            matches!(parsed.header().kind, FrameKind::Multicast { .. } | FrameKind::Private { .. })
        };
        if let Some(parsed) = DataFrame::parse(&frame).ok().filter(is_message)
            && let Some(sender) = den.members.get_member(&parsed.header().sender)
            && self.recorded.len() < RECORDED_MAX
        {
            self.recorded.push((sender.clone(), frame.clone()));
            den.tried("messages recorded", 1);
        }
        links.into_iter().map(|link| (link, frame.clone())).collect()
    }

    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        let batch: Vec<_> = self.recorded.drain(..self.recorded.len().min(TRIED_PER_TICK)).collect();
        for (sender, frame) in batch {
            let Ok(frame) = DataFrame::parse(&frame) else { continue };
            let Some((view, refreshes)) = self.views.get(&frame.header().view).copied() else { continue };
            let reading = Attempt { group: den.group, view, sender: &sender, frame: &frame };
            let keys = keys_of_one(den.group, den.secrets, view, refreshes, den.rng);
            den.tried("keys tried", keys.len());
            let opened = keys.into_iter().filter(|key| reading.opens(den.secrets, key.clone(), den.rng)).count();
            den.tried("messages opened", opened);
            let is_multicast = matches!(frame.header().kind, FrameKind::Multicast { .. });
            if let Some(second) = self.second.as_ref().filter(|_| is_multicast) {
                let key = key_of_two(den.group, den.secrets, second, view, refreshes, den.rng);
                let opened = key.is_some_and(|key| reading.opens(den.secrets, key, den.rng));
                den.tried("opened with a second leader's share", usize::from(opened));
            }
        }
        Vec::new()
    }
}

struct Attempt<'a> {
    group: &'a GroupInfo,
    view: ViewId,
    sender: &'a MemberEntry,
    frame: &'a DataFrame,
}

impl Attempt<'_> {
    /// Whether a group key, or the leader's own keys in a recipient's place, open the message.
    fn opens(&self, secrets: &LeaderSecrets, key: Secret32, rng: &mut dyn CryptoRng) -> bool {
        let mut keyed = KeyedView::new(self.view, key);
        let names = match &self.frame.header().kind {
            FrameKind::Private { to } => to.names(),
            _ => vec![self.sender.id.user.clone()],
        };
        names.into_iter().any(|user| {
            let me = Identity {
                id: MemberId { user, incarnation: Incarnation(1) },
                signing: SigningKey::generate(rng),
                sealing: KemSecret::from_secret(&secrets.sealing.to_secret()),
            };
            let shape = Shape::of(&self.group.policy);
            let opened = open(&shape, &self.group.rules, &me, &mut keyed, self.sender, self.frame);
            matches!(opened, Ok(Opened::Message { .. }))
        })
    }
}

/// All group keys that one leader can make up out of what it has.
fn keys_of_one(
    group: &GroupInfo,
    secrets: &LeaderSecrets,
    view: ViewId,
    refreshes: u64,
    rng: &mut dyn CryptoRng,
) -> Vec<Secret32> {
    let mut keys = vec![
        secrets.link.clone(),
        secrets.signing.to_secret(),
        secrets.sealing.to_secret(),
        secrets.group_share.to_secret(),
        secrets.coin_share.to_secret(),
    ];
    let point = view_point(group, group.session(), view, refreshes);
    let own = secrets.group_share.evaluate(&point, rng);
    for other in group.rules.leaders().filter(|l| *l != secrets.id) {
        // Its own share under another's number, and guesses at the other's.
        keys.extend(combine(group, secrets, &own, other.share_index(), &own, view, refreshes));
        let guess = any_share(other.share_index(), rng).evaluate(&point, rng);
        keys.extend(combine(group, secrets, &own, other.share_index(), &guess, view, refreshes));
    }
    keys
}

/// The group key that the shares of two leaders make: one more than may be hacked.
fn key_of_two(
    group: &GroupInfo,
    secrets: &LeaderSecrets,
    second: &SecretShare,
    view: ViewId,
    refreshes: u64,
    rng: &mut dyn CryptoRng,
) -> Option<Secret32> {
    let point = view_point(group, group.session(), view, refreshes);
    let own = secrets.group_share.evaluate(&point, rng);
    let other = second.evaluate(&point, rng);
    combine(group, secrets, &own, second.index(), &other, view, refreshes)
}

fn combine(
    group: &GroupInfo,
    secrets: &LeaderSecrets,
    own: &Evaluation,
    other_index: u16,
    other: &Evaluation,
    view: ViewId,
    refreshes: u64,
) -> Option<Secret32> {
    let point = view_point(group, group.session(), view, refreshes);
    let shares = [(secrets.id.share_index(), own), (other_index, other)];
    group.group_keys.combine(&point, &shares).map(|output| group_key(&output, view))
}
