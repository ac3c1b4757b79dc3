//! Lies at the door.

use ringfort_crypto::hash::digest;
use ringfort_crypto::login_key::UserKey;
use ringfort_crypto::oprf::OprfClient;
use ringfort_protocol::codec::encode;
use ringfort_protocol::login::{Denial, WireSignature};
use ringfort_protocol::wire::LoginAnswer;
use ringfort_protocol::{Incarnation, LinkId};

use super::{Den, Vice};

/// Lets nobody in: refuses with a signature that holds, and evaluates passwords wrongly.
pub struct Deny;

impl Vice for Deny {
    fn login(&mut self, den: &mut Den<'_>, to: LinkId, answer: LoginAnswer) -> Vec<LoginAnswer> {
        match answer {
            LoginAnswer::Evaluated { evaluation, key } => {
                // A good evaluation of another point, with another key: the password would harden to something else.
                let wrong = UserKey::deal(1, 1, den.rng).ok().and_then(|key| {
                    let (_, other) = OprfClient::blind(b"another password", den.rng)?;
                    key.shares().first()?.evaluate_blinded(&other, den.rng)
                });
                den.tried("wrong evaluations", 1);
                vec![LoginAnswer::Evaluated { evaluation: wrong.map_or(evaluation, |wrong| wrong.to_bytes()), key }]
            }
            LoginAnswer::KeyDist { .. } => {
                den.tried("signed refusals", 1);
                signed_refusal(den, to).into_iter().collect()
            }
            other => vec![other],
        }
    }
}

/// A refusal in the leader's name that its victim must take for genuine.
fn signed_refusal(den: &Den<'_>, to: LinkId) -> Option<LoginAnswer> {
    let door = den.doors.get(&to)?;
    let (user, method, n1) = door.init.as_ref()?;
    let parts: [&[u8]; 7] = [
        &den.group.id().0,
        &den.group.session().0,
        &[den.secrets.id.number()],
        &door.exporter,
        user.as_bytes(),
        &encode(method),
        n1,
    ];
    let transcript = digest("ringfort login", &parts);
    let reason = Denial::Expelled(Incarnation(u64::MAX));
    let signature = den.secrets.signing.sign("ringfort login denied", &[&transcript, &encode(&reason)]);
    Some(LoginAnswer::Denied { reason, signature: WireSignature(signature) })
}
