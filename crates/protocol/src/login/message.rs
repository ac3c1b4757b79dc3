//! The messages of a login, inside a link that is already bound to the leader's key.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::sign::Signature;

use crate::ids::{Incarnation, LEADERS_MAX, UserName, bytes_codec, invalid};
use crate::view::{SessionSealingKey, SessionVerifyingKey};

/// A signature on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireSignature(pub Signature);
bytes_codec!(WireSignature(Signature), 64, Signature::to_bytes, |b| Some(Signature::from_bytes(b)));

/// How a user proves who they are.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Method {
    /// By the key `P_a,i` that the password and the threshold OPRF give (A6).
    Password = 1,
    /// By a registered public key.
    Key = 2,
    /// By a public key that an authority of the policy certified (A20).
    Certificate(Certificate) = 3,
    /// By the session key of a stay that the leaders have accepted already.
    Session = 4,
}

/// An authority's word that a key belongs to a user of this group.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certificate {
    /// Whom it names.
    pub user: UserName,
    /// The user's long-term key.
    pub key: SessionVerifyingKey,
    /// The end of its validity, Unix seconds.
    pub expires_unix_s: u64,
    /// Which of the policy's authorities signed.
    pub authority: u8,
    /// Its signature.
    pub signature: WireSignature,
}

/// Member to leader.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum LoginRequest {
    /// Asks for one evaluation of a blinded password (2HashTDH).
    Blind {
        /// Whose password: evaluated with this user's key, and counted against this user.
        user: UserName,
        /// The blinded password.
        blinded: [u8; 32],
    } = 1,
    /// AuthInitReq (seed 002 §3.1, message 1).
    Init {
        /// Who logs in.
        user: UserName,
        /// How.
        method: Method,
        /// The member's nonce.
        n1: [u8; 32],
        /// For logins with a key: by that key, over the link and all of the above. Only to whoever can sign, the leader says of
        /// which stays it knows.
        asks: Option<WireSignature>,
    } = 2,
    /// AuthAckKey (message 3), with what the other leaders must agree on: the stay and its keys.
    Ack {
        /// The member's second nonce.
        n3: [u8; 32],
        /// The stay.
        incarnation: Incarnation,
        /// Verifies what the member signs during the stay.
        signing: SessionVerifyingKey,
        /// Private messages are sealed to it.
        sealing: SessionSealingKey,
        /// Shows that the member holds `K_a,i`, over the whole transcript.
        tag: [u8; 32],
        /// By the session signing key: it is the member's own.
        possession: WireSignature,
        /// By the long-term key, for logins with a key or a certificate.
        identity: Option<WireSignature>,
    } = 3,
}

/// A user's login key in public: its first f+1 verification keys, which determine those of all leaders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize)]
pub struct AnnouncedKey(pub Vec<[u8; 32]>);

/// f+1 for the largest f that [`LEADERS_MAX`] leaders tolerate.
const ANNOUNCED_MAX: u32 = (LEADERS_MAX as u32 - 1) / 3 + 1;

impl BorshDeserialize for AnnouncedKey {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let count = u32::deserialize_reader(reader)?;
        if count > ANNOUNCED_MAX {
            return Err(invalid("a login key of too many parts"));
        }
        (0..count).map(|_| <[u8; 32]>::deserialize_reader(reader)).collect::<io::Result<_>>().map(AnnouncedKey)
    }
}

/// Leader to member.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum LoginAnswer {
    /// The evaluation, with its proof and the key it was made with. A name that is nobody's has a key too.
    Evaluated {
        /// Evaluation and proof.
        evaluation: [u8; 128],
        /// The user's key. Believed from f+1 leaders.
        key: AnnouncedKey,
    } = 1,
    /// AuthKeyDist (message 2). An unknown user gets one too, under a key nobody has.
    KeyDist {
        /// The leader's nonce.
        n2: [u8; 32],
        /// The highest stay of this user that the leader knows of, zero for none, under a mask of `P_a,i` (for key logins, of the
        /// link's own secret, and zero for who has not signed): whoever only asks learns nothing of it.
        last: [u8; 8],
        /// Shows that the leader holds `P_a,i`; for key logins, a tag under the link's own secret.
        tag: [u8; 32],
        /// By the leader's signing key.
        signature: WireSignature,
    } = 2,
    /// A refusal, signed: nobody else can deny in a leader's name (K23).
    Denied {
        /// Why.
        reason: Denial,
        /// By the leader's signing key, over the link and the request.
        signature: WireSignature,
    } = 3,
}

/// Why a leader refuses a login. One leader's word: a member believes f+1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Denial {
    /// The proof of identity is wrong, or the user is unknown: not told which.
    NotAuthentic = 1,
    /// Operators expelled the user: from this stay, the last that the leader knows to be over so.
    Expelled(Incarnation) = 2,
    /// The stay is over, or was never one: not newer than this one, to which the leader has come.
    Incarnation(Incarnation) = 3,
    /// Too many password evaluations; try again later.
    Throttled = 4,
    /// The group is full.
    Full = 5,
    /// Policy lets nobody in at this time.
    Closed = 6,
    /// The members voted against it.
    Outvoted = 7,
    /// The session of this stay, the last that the leader knows of the user, is over, and operators have not started another.
    NoSession(Incarnation) = 8,
    /// Another stay of the user, this one, was announced here: not older, or as old and with other keys. The leader has come to
    /// none of them, so it does not say that the refused one is over.
    Unsettled(Incarnation) = 9,
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Denial::NotAuthentic => "wrong name, password or key",
            Denial::Expelled(_) => "expelled by the operators",
            Denial::Incarnation(_) | Denial::Unsettled(_) => "an older login of this user is still being settled",
            Denial::Throttled => "too many attempts for this user: wait a minute",
            Denial::Full => "the group is full",
            Denial::Closed => "the group's policy lets nobody in at this time",
            Denial::Outvoted => "the members voted against it",
            Denial::NoSession(_) => "the session is over, and the operators have not started another",
        })
    }
}
