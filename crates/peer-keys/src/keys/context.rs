//! What a view is bound by, and who says what in it: the one place where messages of key protocols are signed.
//!
//! A context is a digest of the protocol, the group with its policy, the round, and the sorted list of members with
//! their keys and offers. Every member brings something fresh to it with its flush-ok, so no context is ever another
//! view's, whatever ids the sites give to views. Members who were told different views have different contexts, and
//! ignore each other.

use std::collections::BTreeMap;

use ringfort_crypto::hash::digest;
use ringfort_crypto::sign::{Signature, SigningKey, VerifyingKey};
use ringfort_kernel::codec;
use ringfort_peer::Name;

use crate::ids::{Context, Round};
use crate::policy::Policy;
use crate::rules::{Rule, Rules};
use crate::wire::{FlushOk, KeyFrame, KeyPayload};

const KEY_MESSAGE: &str = "peer group: key message";

/// What all members of a view have in common before they have a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// All of it as one digest.
    pub context: Context,
    protocol: &'static str,
    group: String,
    round: Vec<u8>,
    list: [u8; 32],
}

impl Binding {
    /// The binding of a round with these answers.
    pub fn new(policy: &Policy, round: Round, answers: &BTreeMap<Name, FlushOk>, rules: Rules) -> Self {
        if !rules.enforces(Rule::ContextBinding) {
            let (group, list) = (policy.group.clone(), [0; 32]);
            let context = digest("peer group context", &[group.as_bytes()]);
            return Binding { context, protocol: policy.protocol.name(), group, round: Vec::new(), list };
        }
        let entries: Vec<Vec<u8>> =
            answers.iter().map(|(name, ok)| codec::encode(&(name.as_bytes().to_vec(), ok))).collect();
        let parts: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let list = digest("peer group members", &parts);
        let (protocol, round) = (policy.protocol.name(), codec::encode(&round));
        let context = digest(
            "peer group context",
            &[protocol.as_bytes(), policy.group.as_bytes(), &policy.digest(), &round, &list],
        );
        Binding { context, protocol, group: policy.group.clone(), round, list }
    }

    /// A message of `sender` in this view.
    pub fn sign(&self, key: &SigningKey, sender: &Name, step: u32, payload: KeyPayload) -> KeyFrame {
        let signature = self.with_parts(sender, step, &payload, |parts| key.sign(KEY_MESSAGE, parts)).to_bytes();
        KeyFrame { context: self.context, step, payload, signature }
    }

    /// Whether `frame` is a message of `sender`, who has `key`, in this view.
    pub fn verify(&self, key: &[u8; 32], sender: &Name, frame: &KeyFrame) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(key) else { return false };
        let signature = Signature::from_bytes(frame.signature);
        self.with_parts(sender, frame.step, &frame.payload, |parts| key.verify(KEY_MESSAGE, parts, &signature).is_ok())
    }

    fn with_parts<T>(&self, sender: &Name, step: u32, payload: &KeyPayload, use_them: impl FnOnce(&[&[u8]]) -> T) -> T {
        let payload = digest("peer group key payload", &[&codec::encode(payload)]);
        use_them(&[
            self.protocol.as_bytes(),
            self.group.as_bytes(),
            &self.round,
            &self.list,
            &self.context,
            &step.to_le_bytes(),
            sender.as_bytes(),
            &payload,
        ])
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;
    use ringfort_peer::GroupViewId;

    use super::*;
    use crate::policy::KeyProtocol;

    fn name(text: &'static str) -> Name {
        Name::new(text).unwrap()
    }

    fn ok(session: u8) -> FlushOk {
        FlushOk {
            round: Round::default(),
            policy: [1; 32],
            key: [2; 32],
            session: [session; 32],
            previous: None,
            certificate: None,
            unix_s: 0,
            offer: vec![3],
            suspects: Vec::new(),
        }
    }

    #[test]
    fn a_signature_is_good_for_one_message_of_one_sender_in_one_view() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let key = SigningKey::generate(&mut rng);
        let public = key.verifying_key().to_bytes();
        let policy = Policy::new("talk", BTreeMap::new());
        let answers: BTreeMap<Name, FlushOk> = [(name("ana"), ok(1)), (name("ben"), ok(2))].into();
        let binding = Binding::new(&policy, Round::default(), &answers, Rules::all());
        let frame = binding.sign(&key, &name("ana"), 4, KeyPayload::Protocol(vec![9]));
        assert!(binding.verify(&public, &name("ana"), &frame));
        assert!(!binding.verify(&public, &name("ben"), &frame), "another's name");
        assert!(!binding.verify(&public, &name("ana"), &KeyFrame { step: 5, ..frame.clone() }));
        let other = KeyFrame { payload: KeyPayload::Protocol(vec![8]), ..frame.clone() };
        assert!(!binding.verify(&public, &name("ana"), &other));
        let mut fresher = answers.clone();
        fresher.insert(name("ben"), ok(7));
        let next = Round { attempt: 1, view: GroupViewId::default() };
        let others = [
            Binding::new(&policy, next, &answers, Rules::all()),
            Binding::new(&policy, Round::default(), &fresher, Rules::all()),
            Binding::new(
                &Policy { protocol: KeyProtocol::Gdh, ..policy.clone() },
                Round::default(),
                &answers,
                Rules::all(),
            ),
            Binding::new(
                &Policy { group: "walk".to_owned(), ..policy.clone() },
                Round::default(),
                &answers,
                Rules::all(),
            ),
            Binding::new(&Policy { signed: true, ..policy }, Round::default(), &answers, Rules::all()),
        ];
        for other in others {
            assert_ne!(other.context, binding.context);
            assert!(!other.verify(&public, &name("ana"), &frame));
        }
    }
}
