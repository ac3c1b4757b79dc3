//! Lies at the door.

use ringfort_crypto::login_key::UserKey;
use ringfort_crypto::oprf::OprfClient;
use ringfort_protocol::login::{AnnouncedKey, Denial, WireSignature};
use ringfort_protocol::wire::LoginAnswer;
use ringfort_protocol::{Incarnation, LinkId};

use super::{Den, Strategy};

/// Evaluates passwords wrongly: with a good proof of another point, with none, or with a key of its own making.
pub struct BadEvaluations;

impl Strategy for BadEvaluations {
    fn login(&mut self, den: &mut Den<'_>, _to: LinkId, answer: LoginAnswer) -> Vec<LoginAnswer> {
        vec![match answer {
            LoginAnswer::Evaluated { mut evaluation, mut key } => {
                let kind = den.dice.below(3);
                if kind == 0 {
                    evaluation = den.dice.bytes();
                } else {
                    let other = OprfClient::blind(b"another", &mut den.dice.0).expect("hashes to a point").1;
                    let (n, threshold) = (u16::from(den.group.rules.n()), key.0.len());
                    let theirs = UserKey::deal(n, u16::try_from(threshold).unwrap_or(n), &mut den.dice.0);
                    let theirs = theirs.expect("the sizes of a group make a key");
                    let share = theirs.shares().iter().find(|share| share.index() == den.me.share_index());
                    let wrong = share.and_then(|share| share.evaluate_blinded(&other, &mut den.dice.0));
                    evaluation = wrong.map_or(evaluation, |wrong| wrong.to_bytes());
                    if kind == 1 {
                        key = AnnouncedKey(theirs.announced());
                    }
                }
                LoginAnswer::Evaluated { evaluation, key }
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
                    LoginAnswer::Denied { reason: Denial::Expelled(Incarnation(u64::MAX)), signature }
                }
                1 => LoginAnswer::KeyDist { n2, last, tag: [0; 32], signature },
                _ => return Vec::new(),
            },
            other => other,
        }]
    }
}
