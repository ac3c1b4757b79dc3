//! FROST's distributed key generation (Komlo, Goldberg 2020, Figure 1), two keys at a time.
//!
//! `frost-ristretto255` stands on another version of the curve library, so everything crosses as canonical encodings of 32 bytes.

use std::collections::BTreeMap;

use frost_ristretto255::keys::dkg::{part1, part2, part3, round1, round2};
use frost_ristretto255::keys::{PublicKeyPackage, SigningShare, VerifiableSecretSharingCommitment};
use frost_ristretto255::{Field, Identifier, RistrettoScalarField, Signature, rand_core as rand_core_06};
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::threshold::{KeyRole, PublicKeySet, SecretShare};
use ringfort_crypto::{CryptoRng, KeyError};
use ringfort_protocol::{LeaderId, Rules};
use zeroize::Zeroizing;

/// The keys that are made, in the order of every list here (P1).
const ROLES: [KeyRole; 2] = [KeyRole::GroupKey, KeyRole::Coin];

const PROOF_BYTES: usize = 64;

/// Bytes of the two shares that one leader deals to another.
pub const SHARES_BYTES: usize = 2 * 32;

/// Two shares for one leader, as they are sealed.
pub type Shares = Zeroizing<[u8; SHARES_BYTES]>;

/// Commitments and proofs that leaders have dealt, for each of the two keys.
pub type Commitments = [round1::Package; 2];

/// How many shares each of the two keys takes.
fn thresholds(rules: &Rules) -> [u16; 2] {
    let small = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    [small(rules.key_threshold()), small(rules.coin_threshold())]
}

pub(crate) fn identifier(leader: LeaderId) -> Identifier {
    Identifier::try_from(leader.share_index()).expect("a leader's number is not zero")
}

/// Two secret polynomials.
pub struct Polynomials([round1::SecretPackage; 2]);

/// What is left of them once the others' shares are computed: one's own.
pub struct OwnShares([round2::SecretPackage; 2]);

/// Draws two polynomials; the bytes are their commitments and proofs, for everybody.
///
/// # Errors
/// Sizes that FROST does not take, which [`crate::Terms`] rules out.
pub fn deal(me: LeaderId, rules: &Rules, rng: &mut dyn CryptoRng) -> Result<(Polynomials, [Vec<u8>; 2]), KeyError> {
    let n = u16::from(rules.n());
    let mut one = |threshold| part1(identifier(me), n, threshold, OldRng(rng)).map_err(|_| KeyError);
    let [group, coin] = thresholds(rules);
    let dealt = [one(group)?, one(coin)?];
    let packages = [to_bytes(&dealt[0].1)?, to_bytes(&dealt[1].1)?];
    Ok((Polynomials(dealt.map(|(secret, _)| secret)), packages))
}

fn to_bytes(package: &round1::Package) -> Result<Vec<u8>, KeyError> {
    let mut bytes = package.commitment().serialize_whole().map_err(|_| KeyError)?;
    bytes.extend(package.proof_of_knowledge().serialize().map_err(|_| KeyError)?);
    Ok(bytes)
}

/// Reads and checks what `dealer` dealt: right degree, no identity, and a proof that it knows its secret.
///
/// Anybody can check this, with nothing but the bytes.
///
/// # Errors
/// When the dealer deviated.
pub fn read_commitments(dealer: LeaderId, rules: &Rules, packages: &[Vec<u8>; 2]) -> Result<Commitments, KeyError> {
    let [group, coin] = thresholds(rules);
    let [a, b] = packages;
    Ok([read_one(dealer, group, a)?, read_one(dealer, coin, b)?])
}

fn read_one(dealer: LeaderId, threshold: u16, bytes: &[u8]) -> Result<round1::Package, KeyError> {
    let commitment_bytes = usize::from(threshold) * 32;
    let (commitment, proof) = bytes.split_at_checked(commitment_bytes).ok_or(KeyError)?;
    if proof.len() != PROOF_BYTES {
        return Err(KeyError);
    }
    let commitment = VerifiableSecretSharingCommitment::deserialize_whole(commitment).map_err(|_| KeyError)?;
    let proof = Signature::deserialize(proof).map_err(|_| KeyError)?;
    let package = round1::Package::new(commitment, proof);
    // FROST checks a proof only on its way to a participant's shares: this is a participant without a secret.
    let zeros = vec![RistrettoScalarField::zero(); usize::from(threshold)];
    let bystander = if dealer.number() == 1 { 2u16 } else { 1 };
    let bystander = Identifier::try_from(bystander).map_err(|_| KeyError)?;
    let nobody = round1::SecretPackage::new(bystander, zeros, package.commitment().clone(), threshold, 2);
    part2(nobody, &BTreeMap::from([(identifier(dealer), package.clone())])).map_err(|_| KeyError)?;
    Ok(package)
}

/// What one holds back and what one deals, once everybody's commitments are known. `others` has everybody but oneself.
///
/// # Errors
/// None once [`read_commitments`] has passed each of `others`.
pub fn shares_for(
    polynomials: Polynomials,
    others: &BTreeMap<LeaderId, Commitments>,
) -> Result<(OwnShares, BTreeMap<LeaderId, Shares>), KeyError> {
    let mut dealt: BTreeMap<LeaderId, Shares> =
        others.keys().map(|leader| (*leader, Zeroizing::new([0; SHARES_BYTES]))).collect();
    let mut one = |key: usize, secret: round1::SecretPackage| {
        let packages: BTreeMap<_, _> =
            others.iter().filter_map(|(leader, c)| Some((identifier(*leader), c.get(key)?.clone()))).collect();
        let (own, for_others) = part2(secret, &packages).map_err(|_| KeyError)?;
        for (leader, shares) in &mut dealt {
            let share = for_others.get(&identifier(*leader)).ok_or(KeyError)?;
            let bytes = Zeroizing::new(share.signing_share().serialize());
            let place = shares.get_mut(key * 32..key * 32 + 32).ok_or(KeyError)?;
            place.copy_from_slice(bytes.get(..32).ok_or(KeyError)?);
        }
        Ok::<_, KeyError>(own)
    };
    let [group, coin] = polynomials.0;
    let own = OwnShares([one(0, group)?, one(1, coin)?]);
    Ok((own, dealt))
}

/// Whether the shares that a dealer gave `to` lie on the polynomials it committed to.
pub fn shares_fit(to: LeaderId, commitments: &Commitments, shares: &Shares) -> bool {
    let fits = |(package, bytes): (&round1::Package, &[u8])| {
        let share = SigningShare::deserialize(bytes).ok()?;
        let secret = frost_ristretto255::keys::SecretShare::new(identifier(to), share, package.commitment().clone());
        secret.verify().ok()
    };
    commitments.iter().zip(shares.chunks_exact(32)).all(|pair| fits(pair).is_some())
}

/// The public keys that come out, from everybody's commitments alone.
///
/// # Errors
/// Once in 2^250 ceremonies, when a key comes out as zero.
pub fn public_keys(
    rules: &Rules,
    commitments: &BTreeMap<LeaderId, Commitments>,
) -> Result<[PublicKeySet; 2], KeyError> {
    let one = |key: usize| {
        let of_key: BTreeMap<_, _> = commitments
            .iter()
            .filter_map(|(leader, c)| Some((identifier(*leader), c.get(key)?.commitment())))
            .collect();
        to_key_set(key, rules, &PublicKeyPackage::from_dkg_commitments(&of_key).map_err(|_| KeyError)?)
    };
    Ok([one(0)?, one(1)?])
}

fn to_key_set(key: usize, rules: &Rules, public: &PublicKeyPackage) -> Result<PublicKeySet, KeyError> {
    let mut keys = Vec::new();
    for leader in rules.leaders() {
        let share = public.verifying_shares().get(&identifier(leader)).ok_or(KeyError)?;
        keys.push(to_array(&share.serialize().map_err(|_| KeyError)?)?);
    }
    let (role, threshold) = (*ROLES.get(key).ok_or(KeyError)?, *thresholds(rules).get(key).ok_or(KeyError)?);
    PublicKeySet::from_bytes(role, threshold, &keys)
}

/// Adds up the shares that everybody else gave: the two shares of `me`, and the public keys of everybody.
///
/// # Errors
/// None once every share fits, except once in 2^250 ceremonies, when a key comes out as zero.
pub fn finish(
    me: LeaderId,
    rules: &Rules,
    own: &OwnShares,
    others: &BTreeMap<LeaderId, Commitments>,
    received: &BTreeMap<LeaderId, Shares>,
) -> Result<([SecretShare; 2], [PublicKeySet; 2]), KeyError> {
    let one = |key: usize| {
        let secret = own.0.get(key).ok_or(KeyError)?;
        let packages: BTreeMap<_, _> =
            others.iter().filter_map(|(leader, c)| Some((identifier(*leader), c.get(key)?.clone()))).collect();
        let shares: BTreeMap<_, _> = received
            .iter()
            .filter_map(|(leader, shares)| {
                let share = SigningShare::deserialize(shares.get(key * 32..key * 32 + 32)?).ok()?;
                Some((identifier(*leader), round2::Package::new(share)))
            })
            .collect();
        let (secret, public) = part3(secret, &packages, &shares).map_err(|_| KeyError)?;
        let keys = to_key_set(key, rules, &public)?;
        let bytes = Zeroizing::new(secret.signing_share().serialize());
        let share = SecretShare::from_secret(keys.role(), me.share_index(), &Secret32::new(to_array(&bytes)?))?;
        if share.belongs_to(&keys) { Ok((share, keys)) } else { Err(KeyError) }
    };
    let [group, coin] = [one(0)?, one(1)?];
    Ok(([group.0, coin.0], [group.1, coin.1]))
}

fn to_array(bytes: &[u8]) -> Result<[u8; 32], KeyError> {
    bytes.try_into().map_err(|_| KeyError)
}

/// Our randomness, for a library that knows an older trait.
pub(crate) struct OldRng<'a>(pub(crate) &'a mut dyn CryptoRng);

impl rand_core_06::RngCore for OldRng<'_> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl rand_core_06::CryptoRng for OldRng<'_> {}
