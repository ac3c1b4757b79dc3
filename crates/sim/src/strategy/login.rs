//! Lies at the door.

use ringfort_protocol::LinkId;
use ringfort_protocol::login::{Denial, WireSignature};
use ringfort_protocol::wire::LoginAnswer;

use super::{Den, Strategy};

/// Evaluates passwords wrongly, sometimes with a good proof of another point.
pub struct BadEvaluations;

impl Strategy for BadEvaluations {
    fn login(&mut self, den: &mut Den<'_>, _to: LinkId, answer: LoginAnswer) -> Vec<LoginAnswer> {
        vec![match answer {
            LoginAnswer::Evaluated { mut evaluation } => {
                if den.dice.chance(500) {
                    let other = ringfort_crypto::oprf::OprfClient::blind(b"another", &mut den.dice.0);
                    let other = other.expect("hashes to a point").1;
                    let me = den.me;
                    let secrets = den.gang.iter().find(|s| s.id == me).expect("one of the gang");
                    if let Some(wrong) = secrets.login_share.evaluate_blinded(&other, &mut den.dice.0) {
                        evaluation = wrong.to_bytes();
                    }
                } else {
                    evaluation = den.dice.bytes();
                }
                LoginAnswer::Evaluated { evaluation }
            }
            other => other,
        }]
    }
}

/// Denies everybody: sometimes with a signature that means nothing, sometimes not knowing the user.
pub struct Deny;

impl Strategy for Deny {
    fn login(&mut self, den: &mut Den<'_>, _to: LinkId, answer: LoginAnswer) -> Vec<LoginAnswer> {
        vec![match answer {
            LoginAnswer::KeyDist { n2, last, signature, .. } => match den.dice.below(3) {
                0 => {
                    let signature = WireSignature(den.secrets().signing.sign("ringfort login denied", &[b"no"]));
                    LoginAnswer::Denied { reason: Denial::Expelled, signature }
                }
                1 => LoginAnswer::KeyDist { n2, last, tag: [0; 32], signature },
                _ => return Vec::new(),
            },
            other => other,
        }]
    }
}
