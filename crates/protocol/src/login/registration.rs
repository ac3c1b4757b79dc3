//! Enrolment with no single gatekeeper (A2, K39): one sealed record per leader.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::CryptoRng;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::VerifyingKey;
use ringfort_crypto::threshold::SecretShare;
use zeroize::Zeroizing;

use super::{Credential, Hardening, leader_key};
use crate::codec::{decode, encode};
use crate::fault::Rejected;
use crate::group::{GroupInfo, LeaderSecrets};
use crate::ids::{LeaderId, UserName, invalid};
use crate::view::SessionVerifyingKey;

/// What one leader stores of one user.
#[derive(Clone)]
pub enum Registration {
    /// `P_a,i`, which opens nothing at other leaders and gives no offline guess.
    Password(Secret32),
    /// The user's public key.
    Key(VerifyingKey),
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Registration::Password(_) => "Registration::Password(redacted)",
            Registration::Key(_) => "Registration::Key",
        })
    }
}

#[derive(BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
enum Stored {
    Password([u8; 32]) = 1,
    Key(SessionVerifyingKey) = 2,
}

impl Registration {
    /// The bytes a leader stores. Secret.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(encode(&match self {
            Registration::Password(key) => Stored::Password(*key.expose()),
            Registration::Key(key) => Stored::Key(SessionVerifyingKey(*key)),
        }))
    }

    /// Reads what [`Registration::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(match decode(bytes).ok()? {
            Stored::Password(key) => Registration::Password(Secret32::new(key)),
            Stored::Key(key) => Registration::Key(key.0),
        })
    }
}

/// A user's wish to be registered, sealed to one leader. Safe to send by any means.
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
    fn seal(
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

    /// Opens a record at the leader it was sealed to.
    pub fn open(&self, group: &GroupInfo, secrets: &LeaderSecrets) -> Result<Registration, Rejected> {
        let aad = aad(group, &self.user, self.leader);
        if self.leader != secrets.id {
            return Err(Rejected::BadRecord);
        }
        let plain = secrets.sealing.open(b"ringfort enrolment", &aad, &self.sealed).map_err(|_| Rejected::BadRecord)?;
        Registration::from_bytes(&Zeroizing::new(plain)).ok_or(Rejected::BadRecord)
    }
}

fn aad(group: &GroupInfo, user: &UserName, leader: LeaderId) -> Vec<u8> {
    encode(&(group.id(), user, leader))
}

/// Prepares one record per leader. Each operator accepts theirs; f+1 acceptances let the user in.
pub fn enrol(
    group: &GroupInfo,
    user: &UserName,
    credential: &Credential,
    rng: &mut dyn CryptoRng,
) -> Vec<EnrolmentRecord> {
    let registration = |leader| match credential {
        Credential::Password(root) => Registration::Password(leader_key(root, user, leader)),
        Credential::Key(key) | Credential::Certificate(key, _) | Credential::Session(key) => {
            Registration::Key(key.verifying_key())
        }
    };
    group
        .rules
        .leaders()
        .filter_map(|leader| EnrolmentRecord::seal(group, user, leader, &registration(leader), rng))
        .collect()
}

/// Hardens a password with the dealer's own login shares, for users registered at setup.
///
/// # Security
/// Whoever runs the dealer sees these passwords once. Live enrolment has no such moment.
pub fn enrol_as_dealer(
    group: &GroupInfo,
    login_shares: &[&SecretShare],
    user: &UserName,
    password: &[u8],
    rng: &mut dyn CryptoRng,
) -> Option<Credential> {
    let mut hardening = Hardening::start(user.clone(), password, rng)?;
    for (leader, share) in group.rules.leaders().zip(login_shares) {
        let evaluation = share.evaluate_blinded(&hardening.blinded(), rng)?;
        if let Some(root) = hardening.on_evaluation(group, leader, &evaluation.to_bytes()).0 {
            return Some(Credential::Password(root));
        }
    }
    None
}
