//! The leader's side of a login.

use std::collections::BTreeMap;

use ringfort_crypto::oprf::BlindedElement;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::VerifyingKey;

use super::client::check_ack_tag;
use super::message::{Denial, LoginAnswer, LoginRequest, Method, WireSignature};
use super::{Attempts, Registration, Throttle, Transcript, bound, fresh};
use crate::fault::Fault;
use crate::group::{GroupInfo, LeaderSecrets};
use crate::ids::{Incarnation, MemberId, UserName};
use crate::rules::Rule;
use crate::sealed::{End, SealedChannel};
use crate::time::{Cx, Time};
use crate::view::{MemberEntry, MemberSet};

/// Evaluations that one link may ask for: a person's few typing errors.
const EVALUATIONS_PER_LINK_MAX: u8 = 3;
/// Logins that one link may begin. Each costs a signature: a member begins one, and one more when it has hardened its password.
const INITS_PER_LINK_MAX: u8 = 2;

/// Registrations and limits of one leader.
#[derive(Debug)]
pub struct LoginServer {
    users: BTreeMap<UserName, Registration>,
    throttle: Throttle,
}

/// The state of one link that has not logged in yet.
#[derive(Default)]
pub struct LoginServerLink {
    evaluations: u8,
    inits: u8,
    pending: Option<Pending>,
}

struct Pending {
    user: UserName,
    method: Method,
    transcript: Transcript,
    long_term: Secret32,
    n2: [u8; 32],
}

/// A proven member, with the channel to it.
#[derive(Debug)]
pub struct Authenticated {
    /// Who, in which stay, with which keys.
    pub entry: MemberEntry,
    /// The management channel under `K_a,i`.
    pub channel: SealedChannel,
    transcript: Transcript,
}

impl Authenticated {
    /// A signed refusal of a user who has proved who they are.
    pub fn deny(&self, secrets: &LeaderSecrets, reason: Denial) -> LoginAnswer {
        deny(secrets, &self.transcript, reason)
    }
}

impl LoginServer {
    /// A leader's login room.
    pub fn new(group: &GroupInfo) -> Self {
        LoginServer { users: BTreeMap::new(), throttle: Throttle::new(group.policy.login_attempts_per_minute) }
    }

    /// Registers a user, replacing an earlier registration.
    pub fn register(&mut self, user: UserName, registration: Registration) {
        self.users.insert(user, registration);
    }

    /// Whether the user is registered here.
    pub fn is_registered(&self, user: &UserName) -> bool {
        self.users.contains_key(user)
    }

    /// Whether the user is registered here with another password or key than this.
    pub fn differs(&self, group: &GroupInfo, user: &UserName, registration: &Registration) -> bool {
        self.users.get(user).is_some_and(|known| known.code(group, user) != registration.code(group, user))
    }

    /// Number of registered users.
    pub fn registered(&self) -> usize {
        self.users.len()
    }

    /// Takes up what is left of somebody's attempts, as it was on disk.
    pub fn restore(&mut self, now: Time, attempts: Attempts) {
        self.throttle.restore(now, attempts);
    }

    /// Whose attempts need no record any more.
    pub fn forget_attempts(&mut self, now: Time) -> Vec<Attempts> {
        self.throttle.forget_full(now)
    }

    /// Handles `Blind`: one evaluation with the user's key, within the user's limit. What comes with the answer must be
    /// durable before it is sent. Whoever has no password here is refused: which names are registered is no secret.
    #[allow(clippy::too_many_arguments)]
    pub fn on_blind(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupInfo,
        secrets: &LeaderSecrets,
        link: &mut LoginServerLink,
        exporter: &[u8; 32],
        user: &UserName,
        blinded: [u8; 32],
    ) -> Result<(LoginAnswer, Option<Attempts>), Fault> {
        link.evaluations = link.evaluations.saturating_add(1);
        if link.evaluations > EVALUATIONS_PER_LINK_MAX {
            return Err(Fault::Flooding);
        }
        let refuse = |reason| {
            let parts: [&[u8]; 4] = [&group.id().0, exporter, &blinded, &crate::codec::encode(&reason)];
            let signature = WireSignature(secrets.signing.sign("ringfort login not evaluated", &parts));
            Ok((LoginAnswer::Denied { reason, signature }, None))
        };
        let Some(Registration::Password(stored)) = self.users.get(user) else { return refuse(Denial::NotAuthentic) };
        if !self.throttle.allows(cx.now, user) && group.rules.enforces(Rule::LoginThrottle) {
            return refuse(Denial::Throttled);
        }
        let evaluation = stored.share().evaluate_blinded(&BlindedElement(blinded), cx.rng).ok_or(Fault::Malformed)?;
        let key = stored.announced().clone();
        let attempts = self.throttle.take(cx.now, user);
        Ok((LoginAnswer::Evaluated { evaluation: evaluation.to_bytes(), key }, attempts))
    }

    /// Handles message 1, AuthInitReq; `last` is the highest stay known here, accepted or pending.
    #[allow(clippy::too_many_arguments)]
    pub fn on_init(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupInfo,
        secrets: &LeaderSecrets,
        link: &mut LoginServerLink,
        exporter: &[u8; 32],
        last: Incarnation,
        (user, method, n1, asks): (UserName, Method, [u8; 32], Option<WireSignature>),
    ) -> Result<LoginAnswer, Fault> {
        link.inits = link.inits.saturating_add(1);
        if link.inits > INITS_PER_LINK_MAX && group.rules.enforces(Rule::RequestLimit) {
            return Err(Fault::Flooding);
        }
        let mut n2 = [0; 32];
        cx.rng.fill_bytes(&mut n2);
        let transcript = Transcript::new(group, &group.rules, secrets.id, exporter, &user, &method, &n1);
        let long_term = match (&method, self.users.get(&user)) {
            (Method::Password, Some(Registration::Password(stored))) => stored.key().clone(),
            (Method::Password, _) => return Ok(deny(secrets, &transcript, Denial::NotAuthentic)),
            (Method::Key | Method::Certificate(_) | Method::Session, _) => Secret32::new(bound(&group.rules, exporter)),
        };
        let last = if self.may_be_told(cx, group, &user, &method, asks.as_ref(), &transcript) { last.0 } else { 0 };
        let transcript = transcript.asked(asks.as_ref());
        let tag = transcript.distribution_tag(&long_term, &n2, last);
        let last = transcript.mask(&long_term, &n2, last.to_le_bytes());
        let signature =
            WireSignature(secrets.signing.sign("ringfort login key-dist", &[&transcript.digest, &n2, &tag]));
        link.pending = Some(Pending { user, method, transcript, long_term, n2 });
        Ok(LoginAnswer::KeyDist { n2, last, tag, signature })
    }

    /// Whether whoever asks may know of the user's stays. For a password the mask decides: only who knows it can read them.
    fn may_be_told(
        &self,
        cx: &Cx<'_>,
        group: &GroupInfo,
        user: &UserName,
        method: &Method,
        asks: Option<&WireSignature>,
        transcript: &Transcript,
    ) -> bool {
        let by = |key: &VerifyingKey| asks.is_some_and(|asks| transcript.is_asked_by(key, asks));
        match (method, self.users.get(user)) {
            (Method::Password, _) => true,
            (Method::Key, Some(Registration::Key(key))) => by(key),
            (Method::Certificate(certificate), _) => {
                certificate.check(group, user, cx.unix_ms / 1000).is_ok() && by(&certificate.key.0)
            }
            _ => false,
        }
    }

    /// Handles message 3, AuthAckKey; `admitted` are the members accepted here. An error is a refusal to
    /// send, signed.
    #[allow(clippy::too_many_arguments)]
    pub fn on_ack(
        &mut self,
        cx: &Cx<'_>,
        group: &GroupInfo,
        secrets: &LeaderSecrets,
        link: &mut LoginServerLink,
        exporter: &[u8; 32],
        request: &LoginRequest,
        admitted: &MemberSet,
    ) -> Result<Authenticated, (Option<UserName>, Option<LoginAnswer>)> {
        let pending = link.pending.take().ok_or((None, None))?;
        let denied = |reason| {
            let answer = deny(secrets, &pending.transcript, reason);
            (Some(pending.user.clone()), Some(answer))
        };
        let LoginRequest::Ack { n3, incarnation, signing, sealing, tag, possession, identity } = request else {
            return Err(denied(Denial::NotAuthentic));
        };
        let id = MemberId { user: pending.user.clone(), incarnation: *incarnation };
        let entry = MemberEntry { id, signing: *signing, sealing: *sealing };
        let signed = pending.transcript.acknowledgement(&group.rules, &pending.n2, n3, &entry);
        let (exporter, n2) = (bound(&group.rules, exporter), fresh(&group.rules, &pending.n2));
        let session_key = pending.transcript.session_key(&pending.long_term, &exporter, &n2);
        let authentic = check_ack_tag(&session_key, &signed, tag)
            && (entry.signing.0.verify("ringfort login possession", &[&signed], &possession.0).is_ok()
                || !group.rules.enforces(Rule::Possession))
            && self.identity_holds(
                cx,
                group,
                &pending,
                identity.as_ref(),
                &signed,
                admitted.get_member(&entry.id) == Some(&entry),
            );
        if !authentic {
            return Err(denied(Denial::NotAuthentic));
        }
        if pending.method == Method::Password {
            self.throttle.give_back(&pending.user);
        }
        let channel = SealedChannel::new(&session_key, End::Leader);
        Ok(Authenticated { entry, channel, transcript: pending.transcript })
    }

    fn identity_holds(
        &self,
        cx: &Cx<'_>,
        group: &GroupInfo,
        pending: &Pending,
        signature: Option<&WireSignature>,
        signed: &[u8; 32],
        is_admitted: bool,
    ) -> bool {
        let by = |key: &VerifyingKey| {
            signature.is_some_and(|s| key.verify("ringfort login identity", &[signed], &s.0).is_ok())
        };
        match (&pending.method, self.users.get(&pending.user)) {
            (Method::Password, Some(Registration::Password(_))) => signature.is_none(),
            (Method::Key, Some(Registration::Key(key))) => by(key),
            (Method::Certificate(certificate), _) => {
                certificate.check(group, &pending.user, cx.unix_ms / 1000).is_ok() && by(&certificate.key.0)
            }
            // The possession signature is by the session key that n-f leaders have accepted.
            (Method::Session, _) => is_admitted && signature.is_none(),
            _ => false,
        }
    }
}

fn deny(secrets: &LeaderSecrets, transcript: &Transcript, reason: Denial) -> LoginAnswer {
    let reason_bytes = crate::codec::encode(&reason);
    let signature = WireSignature(secrets.signing.sign("ringfort login denied", &[&transcript.digest, &reason_bytes]));
    LoginAnswer::Denied { reason, signature }
}
