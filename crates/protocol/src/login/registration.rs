//! Enrolment with no single gatekeeper (A2, K39): one sealed record per leader.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::CryptoRng;
use ringfort_crypto::login_key::UserKey;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::VerifyingKey;
use ringfort_crypto::threshold::{KeyRole, PublicKeySet, SecretShare};
use zeroize::Zeroizing;

use super::{AnnouncedKey, harden_password, leader_key};
use crate::codec::{decode, encode};
use crate::fault::Rejected;
use crate::group::{GroupInfo, LeaderSecrets};
use crate::ids::{LeaderId, UserName, invalid};
use crate::view::SessionVerifyingKey;

/// What one leader stores of one user.
#[derive(Clone)]
pub enum Registration {
    /// What a password comes to at this leader.
    Password(Box<PasswordRegistration>),
    /// The user's public key.
    Key(VerifyingKey),
}

/// One leader's part of a user's password login. It opens nothing at other leaders, and f of them give no offline guess.
#[derive(Clone)]
pub struct PasswordRegistration {
    pub(super) key: Secret32,
    pub(super) share: SecretShare,
    pub(super) announced: AnnouncedKey,
}

impl PasswordRegistration {
    /// `P_a,i`.
    pub fn key(&self) -> &Secret32 {
        &self.key
    }

    /// This leader's share of the user's login key.
    pub fn share(&self) -> &SecretShare {
        &self.share
    }

    /// The user's login key in public.
    pub fn announced(&self) -> &AnnouncedKey {
        &self.announced
    }

    /// Whether the share is this leader's, of the key that is announced, and that is a key of this group's sizes.
    fn fits(&self, group: &GroupInfo, leader: LeaderId) -> bool {
        let n = u16::from(group.rules.n());
        self.share.index() == leader.share_index()
            && self.announced.0.len() == group.rules.login_threshold()
            && PublicKeySet::from_announced(KeyRole::Login, n, &self.announced.0)
                .is_ok_and(|keys| self.share.belongs_to(&keys))
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Registration::Password(_) => "Registration::Password(redacted)",
            Registration::Key(_) => "Registration::Key",
        })
    }
}

/// A code that a user and an operator compare by voice: five groups of five digits.
pub type EnrolmentCode = String;

/// What a user's machine makes for the operators, and what user and operators compare.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// One record for each leader.
    pub records: Vec<EnrolmentRecord>,
    /// The same for all records of this enrolment, and for no other.
    pub code: EnrolmentCode,
}

/// About 83 bits: nobody finds another key with the same code, however long they search for one user of one group.
fn code(group: &GroupInfo, user: &UserName, key: &[u8]) -> EnrolmentCode {
    let digest = ringfort_crypto::hash::digest("ringfort enrolment code", &[&group.id().0, user.as_bytes(), key]);
    let (fours, _) = digest.as_chunks::<4>();
    let groups: Vec<String> =
        fours.iter().take(5).map(|four| format!("{:05}", u32::from_be_bytes(*four) % 100_000)).collect();
    groups.join(" ")
}

impl Registration {
    /// What the user's machine showed when it made this: of the group, the name, and the key that is announced or public. Whoever
    /// has not made the records of this user cannot make others with the same code.
    pub fn code(&self, group: &GroupInfo, user: &UserName) -> EnrolmentCode {
        match self {
            Registration::Password(stored) => code(group, user, &encode(&(STORED_PASSWORD, &stored.announced))),
            Registration::Key(key) => code(group, user, &encode(&(STORED_KEY, SessionVerifyingKey(*key)))),
        }
    }
}

/// The first byte of what is stored: a password of before users had login keys of their own; a public key; a password.
const STORED_OLD_PASSWORD: u8 = 1;
const STORED_KEY: u8 = 2;
const STORED_PASSWORD: u8 = 3;

impl Registration {
    /// The bytes a leader stores. Secret.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Registration::Password(stored) => {
                let PasswordRegistration { key, share, announced } = &**stored;
                let secret = share.to_secret();
                // One allocation: a vector that grows would leave copies of secrets behind.
                let mut bytes = Vec::with_capacity(128 + announced.0.len() * 32);
                borsh::to_writer(
                    &mut bytes,
                    &(STORED_PASSWORD, key.expose(), share.index(), secret.expose(), announced),
                )
                .expect("writing to a vector fails only for lengths above 2^32");
                bytes
            }
            Registration::Key(key) => encode(&(STORED_KEY, SessionVerifyingKey(*key))),
        })
    }

    /// Whether these bytes are a password that was stored before users had login keys of their own: it has to be enrolled again.
    pub fn is_outdated(bytes: &[u8]) -> bool {
        matches!(bytes, [STORED_OLD_PASSWORD, rest @ ..] if rest.len() == 32)
    }

    /// Reads what [`Registration::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, body) = bytes.split_first()?;
        match *kind {
            STORED_KEY => decode::<SessionVerifyingKey>(body).ok().map(|key| Registration::Key(key.0)),
            STORED_PASSWORD => {
                let (key, body) = body.split_first_chunk::<32>()?;
                let (index, body) = body.split_first_chunk::<2>()?;
                let (share, body) = body.split_first_chunk::<32>()?;
                let share = Secret32::new(*share);
                let share = SecretShare::from_secret(KeyRole::Login, u16::from_le_bytes(*index), &share).ok()?;
                let (key, announced) = (Secret32::new(*key), decode(body).ok()?);
                Some(Registration::Password(Box::new(PasswordRegistration { key, share, announced })))
            }
            _ => None,
        }
    }
}

/// A user's wish to be registered, sealed to one leader. What is in it stays secret by whatever means it is sent; whose it is does
/// not show in it: the operator compares its code with the user.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct EnrolmentRecord {
    /// Who asks.
    pub user: UserName,
    /// Which leader can open it.
    pub leader: LeaderId,
    /// The registration, sealed to that leader.
    pub sealed: Vec<u8>,
}

/// A sealed registration has some hundred bytes; room is made for no more than this.
const SEALED_BYTES_MAX: u32 = 1024;

impl BorshDeserialize for EnrolmentRecord {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let (user, leader) = <(UserName, LeaderId)>::deserialize_reader(reader)?;
        let length = u32::deserialize_reader(reader)?;
        if length > SEALED_BYTES_MAX {
            return Err(invalid("sealed registration too long"));
        }
        let mut sealed = vec![0; usize::try_from(length).map_err(|_| invalid("sealed registration too long"))?];
        reader.read_exact(&mut sealed)?;
        Ok(EnrolmentRecord { user, leader, sealed })
    }
}

impl EnrolmentRecord {
    pub(super) fn seal(
        group: &GroupInfo,
        user: &UserName,
        leader: LeaderId,
        registration: &Registration,
        rng: &mut dyn CryptoRng,
    ) -> Option<Self> {
        let key = &group.leader(leader)?.sealing_key;
        let aad = aad(group, user, leader);
        let plain = registration.to_bytes();
        let sealed = ringfort_crypto::kem::seal_to(key, b"ringfort enrolment", &aad, &plain, rng).ok()?;
        Some(EnrolmentRecord { user: user.clone(), leader, sealed })
    }

    /// Opens a record at the leader it was sealed to, and checks the share of the login key in it.
    pub fn open(&self, group: &GroupInfo, secrets: &LeaderSecrets) -> Result<Registration, Rejected> {
        let aad = aad(group, &self.user, self.leader);
        if self.leader != secrets.id {
            return Err(Rejected::BadRecord);
        }
        let plain = secrets.sealing.open(b"ringfort enrolment", &aad, &self.sealed).map_err(|_| Rejected::BadRecord)?;
        let registration = Registration::from_bytes(&Zeroizing::new(plain)).ok_or(Rejected::BadRecord)?;
        match &registration {
            Registration::Password(stored) if !stored.fits(group, self.leader) => Err(Rejected::BadLoginKey),
            Registration::Password(_) | Registration::Key(_) => Ok(registration),
        }
    }
}

fn aad(group: &GroupInfo, user: &UserName, leader: LeaderId) -> Vec<u8> {
    encode(&(group.id(), user, leader))
}

/// Prepares one record per leader for a user who logs in by key. Each operator accepts theirs; f+1 acceptances let the user in.
pub fn enrol_key(group: &GroupInfo, user: &UserName, key: &VerifyingKey, rng: &mut dyn CryptoRng) -> Enrolment {
    let registration = Registration::Key(*key);
    let seal = |leader| EnrolmentRecord::seal(group, user, leader, &registration, rng);
    Enrolment { records: group.rules.leaders().filter_map(seal).collect(), code: registration.code(group, user) }
}

/// The same for a user who logs in by password: deals a login key for this user alone, and forgets it. No leader is asked.
///
/// `None` for a password longer than 65,535 bytes.
///
/// # Security
/// f+1 of the records, opened, permit offline guesses; f do not.
pub fn enrol_password(
    group: &GroupInfo,
    user: &UserName,
    password: &[u8],
    rng: &mut dyn CryptoRng,
) -> Option<Enrolment> {
    let threshold = u16::try_from(group.rules.login_threshold()).ok()?;
    let dealt = UserKey::deal(u16::from(group.rules.n()), threshold, rng).ok()?;
    enrol_dealt(group, user, password, &dealt, rng)
}

/// The same under a login key that is known, or shared.
#[cfg(feature = "mutants")]
pub fn enrol_dealt_for_testing_only(
    group: &GroupInfo,
    user: &UserName,
    password: &[u8],
    dealt: &UserKey,
    rng: &mut dyn CryptoRng,
) -> Option<Enrolment> {
    enrol_dealt(group, user, password, dealt, rng)
}

fn enrol_dealt(
    group: &GroupInfo,
    user: &UserName,
    password: &[u8],
    dealt: &UserKey,
    rng: &mut dyn CryptoRng,
) -> Option<Enrolment> {
    let root = harden_password(group, user, &dealt.evaluate(password, rng)?);
    let announced = AnnouncedKey(dealt.announced());
    let mut records = Vec::new();
    for (leader, share) in group.rules.leaders().zip(dealt.shares()) {
        let (key, share, announced) = (leader_key(&root, user, leader), share.clone(), announced.clone());
        let registration = Registration::Password(Box::new(PasswordRegistration { key, share, announced }));
        records.push(EnrolmentRecord::seal(group, user, leader, &registration, rng)?);
    }
    let code = code(group, user, &encode(&(STORED_PASSWORD, &announced)));
    Some(Enrolment { records, code })
}
