//! Dealing one's shares, and looking at what was dealt: verifiable secret sharing after Feldman, by the library of FROST.

use std::collections::BTreeMap;

use frost_ristretto255::SigningKey as FrostKey;
use frost_ristretto255::keys::{
    IdentifierList, SecretShare as Dealt, SigningShare, VerifiableSecretSharingCommitment, split,
};
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::threshold::{PublicKeySet, SecretShare, reshared, reshared_keys};
use ringfort_crypto::{CryptoRng, KeyError};
use ringfort_protocol::{GroupInfo, LeaderId};
use zeroize::Zeroizing;

use crate::dkg::{OldRng, SHARES_BYTES, Shares, identifier};

/// The commitments of one dealer: of each of the two keys, from the constant term on.
pub type Commitments = [Vec<[u8; 32]>; 2];

/// The two keys of a generation.
pub fn key_sets(group: &GroupInfo) -> [&PublicKeySet; 2] {
    [&group.group_keys, &group.coin_keys]
}

/// How many deals there have to be: as many as the key that takes most shares takes.
pub fn dealers_min(group: &GroupInfo) -> usize {
    group.rules.key_threshold().max(group.rules.coin_threshold())
}

/// Shares out two shares among all leaders: the commitments, and what each leader is to get.
///
/// # Errors
/// Sizes that FROST does not take: a key of which one share is enough.
pub fn deal(
    base: &GroupInfo,
    own: &[SecretShare; 2],
    rng: &mut dyn CryptoRng,
) -> Result<(Commitments, BTreeMap<LeaderId, Shares>), KeyError> {
    let mut dealt: BTreeMap<LeaderId, Shares> =
        base.rules.leaders().map(|leader| (leader, Zeroizing::new([0; SHARES_BYTES]))).collect();
    let mut commitments: Commitments = Default::default();
    for (key, (share, set)) in own.iter().zip(key_sets(base)).enumerate() {
        let secret = FrostKey::deserialize(share.to_secret().expose()).map_err(|_| KeyError)?;
        let n = u16::from(base.rules.n());
        let (shares, _) =
            split(&secret, n, set.threshold(), IdentifierList::Default, &mut OldRng(rng)).map_err(|_| KeyError)?;
        for (leader, bytes) in &mut dealt {
            let share: &Dealt = shares.get(&identifier(*leader)).ok_or(KeyError)?;
            let scalar = Zeroizing::new(share.signing_share().serialize());
            let place = bytes.get_mut(key * 32..key * 32 + 32).ok_or(KeyError)?;
            place.copy_from_slice(scalar.get(..32).ok_or(KeyError)?);
        }
        let any: &Dealt = shares.values().next().ok_or(KeyError)?;
        let committed = any.commitment().serialize().map_err(|_| KeyError)?;
        let of_key = commitments.get_mut(key).ok_or(KeyError)?;
        *of_key = committed.iter().map(|bytes| to_array(bytes)).collect::<Result<_, _>>()?;
    }
    Ok((commitments, dealt))
}

/// Whether these are commitments to polynomials of the right degree whose constant terms are the dealer's shares in `base`.
///
/// Anybody can check this.
pub fn is_sound(base: &GroupInfo, dealer: LeaderId, commitments: &Commitments) -> bool {
    commitments.iter().zip(key_sets(base)).all(|(committed, set)| {
        committed.len() == usize::from(set.threshold())
            && committed.first().copied() == set.key(dealer.share_index())
            && read(committed).is_some()
    })
}

fn read(committed: &[[u8; 32]]) -> Option<VerifiableSecretSharingCommitment> {
    VerifiableSecretSharingCommitment::deserialize(committed).ok()
}

/// Whether what was dealt to `to` lies on the polynomials that its dealer committed to.
pub fn fits(to: LeaderId, commitments: &Commitments, shares: &Shares) -> bool {
    commitments.iter().zip(shares.chunks_exact(32)).all(|(committed, bytes)| {
        let share = SigningShare::deserialize(bytes).ok().zip(read(committed));
        share.is_some_and(|(share, committed)| Dealt::new(identifier(to), share, committed).verify().is_ok())
    })
}

/// The verification keys that come of these deals.
///
/// # Errors
/// Too few dealers, or unsound ones.
pub fn new_keys(base: &GroupInfo, deals: &[(LeaderId, &Commitments)]) -> Result<[Vec<[u8; 32]>; 2], KeyError> {
    let mut keys: [Vec<[u8; 32]>; 2] = Default::default();
    for (key, (set, new)) in key_sets(base).into_iter().zip(&mut keys).enumerate() {
        let of_key = |(dealer, commitments): &(LeaderId, &Commitments)| {
            Some((dealer.share_index(), commitments.get(key)?.clone()))
        };
        let dealt: Vec<_> = deals.iter().map(of_key).collect::<Option<_>>().ok_or(KeyError)?;
        *new = reshared_keys(set, &dealt)?.to_bytes();
    }
    Ok(keys)
}

/// The two new shares of `me`, from what each dealer dealt to it.
///
/// # Errors
/// When they are not shares of `keys`.
pub fn new_shares(
    me: LeaderId,
    group: &GroupInfo,
    received: &BTreeMap<LeaderId, Shares>,
) -> Result<[SecretShare; 2], KeyError> {
    let one = |key: usize, set: &PublicKeySet| {
        let dealt: Vec<(u16, Secret32)> = received
            .iter()
            .map(|(dealer, shares)| {
                let bytes = shares.get(key * 32..key * 32 + 32).ok_or(KeyError)?;
                Ok((dealer.share_index(), Secret32::new(to_array(bytes)?)))
            })
            .collect::<Result<_, KeyError>>()?;
        let share = reshared(set.role(), me.share_index(), set.n(), &dealt)?;
        if share.belongs_to(set) { Ok(share) } else { Err(KeyError) }
    };
    let [group, coin] = key_sets(group);
    Ok([one(0, group)?, one(1, coin)?])
}

fn to_array(bytes: &[u8]) -> Result<[u8; 32], KeyError> {
    bytes.try_into().map_err(|_| KeyError)
}
