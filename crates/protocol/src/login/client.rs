//! The member's side of a login.

use ringfort_crypto::CryptoRng;
use ringfort_crypto::kdf::{mac, mac_verify};
use ringfort_crypto::secret::Secret32;

use super::message::{Denial, LoginAnswer, LoginRequest, WireSignature};
use super::{Credential, Transcript, bound, fresh, leader_key};
use crate::codec::encode;
use crate::data::Identity;
use crate::fault::Fault;
use crate::group::GroupInfo;
use crate::ids::{Incarnation, LeaderId, UserName};
use crate::rules::Rule;
use crate::sealed::{End, SealedChannel};
use crate::view::MemberEntry;

/// Why a login with one leader stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFailure {
    /// The leader refused, and signed it.
    Denied(Denial),
    /// The leader could not prove that it knows the user's key: either it is bad, or the password is.
    NoProof,
    /// The answer makes no sense here, or is not by this leader.
    Fault(Fault),
}

/// One login with one leader over one link.
pub struct LoginClient {
    leader: LeaderId,
    exporter: [u8; 32],
    long_term: Secret32,
    transcript: Transcript,
    answer: Option<([u8; 32], Incarnation)>,
}

impl LoginClient {
    /// Message 1, AuthInitReq.
    pub fn start(
        group: &GroupInfo,
        leader: LeaderId,
        exporter: [u8; 32],
        user: &UserName,
        credential: &Credential,
        rng: &mut dyn CryptoRng,
    ) -> (Self, LoginRequest) {
        let mut n1 = [0; 32];
        rng.fill_bytes(&mut n1);
        let method = credential.method();
        let long_term = match credential {
            Credential::Password(root) => leader_key(root, user, leader),
            Credential::Key(_) | Credential::Certificate(..) | Credential::Session(_) => {
                Secret32::new(bound(&group.rules, &exporter))
            }
        };
        let transcript = Transcript::new(group, &group.rules, leader, &exporter, user, &method, &n1);
        let asks = credential.signing_key().map(|key| transcript.ask(key));
        let transcript = transcript.asked(asks.as_ref());
        let client = LoginClient { leader, exporter, long_term, transcript, answer: None };
        (client, LoginRequest::Init { user: user.clone(), method, n1, asks })
    }

    /// Message 2, AuthKeyDist, or a refusal. Returns the highest stay that the leader knows of.
    pub fn on_answer(&mut self, group: &GroupInfo, answer: &LoginAnswer) -> Result<Incarnation, LoginFailure> {
        let key = &group.leader(self.leader).ok_or(LoginFailure::Fault(Fault::Malformed))?.signing_key;
        match answer {
            LoginAnswer::KeyDist { n2, last, tag, signature } => {
                key.verify("ringfort login key-dist", &[&self.transcript.digest, n2, tag], &signature.0)
                    .map_err(|_| LoginFailure::Fault(Fault::BadLoginProof))?;
                let last = u64::from_le_bytes(self.transcript.mask(&self.long_term, n2, *last));
                if !self.transcript.distribution_tag_holds(&self.long_term, n2, last, tag) {
                    return Err(LoginFailure::NoProof);
                }
                self.answer = Some((*n2, Incarnation(last)));
                Ok(Incarnation(last))
            }
            LoginAnswer::Denied { reason, signature } => {
                let reason_bytes = crate::codec::encode(reason);
                let parts: [&[u8]; 2] = [&self.transcript.digest, &reason_bytes];
                let signed = key.verify("ringfort login denied", &parts, &signature.0).is_ok();
                if !signed && group.rules.enforces(Rule::DenialSignature) {
                    return Err(LoginFailure::Fault(Fault::BadLoginProof));
                }
                Err(LoginFailure::Denied(*reason))
            }
            LoginAnswer::Evaluated { .. } => Err(LoginFailure::Fault(Fault::Malformed)),
        }
    }

    /// Message 3, AuthAckKey, and the channel under `K_a,i`. `None` before message 2.
    pub fn acknowledge(
        &self,
        group: &GroupInfo,
        credential: &Credential,
        me: &Identity,
        rng: &mut dyn CryptoRng,
    ) -> Option<(LoginRequest, SealedChannel)> {
        self.acknowledge_as(group, credential, me, me.entry(), rng)
    }

    /// Message 3 by somebody who announces keys that it does not hold.
    #[cfg(feature = "mutants")]
    pub fn acknowledge_as_for_testing_only(
        &self,
        group: &GroupInfo,
        credential: &Credential,
        me: &Identity,
        stolen: &MemberEntry,
        rng: &mut dyn CryptoRng,
    ) -> Option<LoginRequest> {
        let entry = MemberEntry { id: me.id.clone(), ..stolen.clone() };
        self.acknowledge_as(group, credential, me, entry, rng).map(|(request, _)| request)
    }

    fn acknowledge_as(
        &self,
        group: &GroupInfo,
        credential: &Credential,
        me: &Identity,
        entry: MemberEntry,
        rng: &mut dyn CryptoRng,
    ) -> Option<(LoginRequest, SealedChannel)> {
        let (n2, _) = self.answer?;
        let mut n3 = [0; 32];
        rng.fill_bytes(&mut n3);
        let (exporter, fresh_n2) = (bound(&group.rules, &self.exporter), fresh(&group.rules, &n2));
        let session_key = self.transcript.session_key(&self.long_term, &exporter, &fresh_n2);
        let signed = self.transcript.acknowledgement(&group.rules, &n2, &n3, &entry);
        let identity =
            credential.signing_key().map(|key| WireSignature(key.sign("ringfort login identity", &[&signed])));
        let request = LoginRequest::Ack {
            n3,
            incarnation: entry.id.incarnation,
            signing: entry.signing,
            sealing: entry.sealing,
            tag: mac(&session_key, "ringfort login ack", &[&signed]),
            possession: WireSignature(me.signing.sign("ringfort login possession", &[&signed])),
            identity,
        };
        Some((request, SealedChannel::new(&session_key, End::Member)))
    }
}

/// Whether a refusal to evaluate a blinded password is the leader's own.
pub(crate) fn refusal_is_genuine(
    group: &GroupInfo,
    leader: LeaderId,
    exporter: &[u8; 32],
    blinded: &[u8; 32],
    (reason, signature): (Denial, &WireSignature),
) -> bool {
    group.leader(leader).is_some_and(|info| {
        let parts: [&[u8]; 4] = [&group.id().0, exporter, blinded, &encode(&reason)];
        info.signing_key.verify("ringfort login not evaluated", &parts, &signature.0).is_ok()
    })
}

/// Checks a tag made by the other end of a login.
pub(crate) fn check_ack_tag(session_key: &Secret32, signed: &[u8; 32], tag: &[u8; 32]) -> bool {
    mac_verify(session_key, "ringfort login ack", &[signed], tag)
}
