//! Cliques' invariants, and what does not fit in.

use std::collections::BTreeSet;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use ringfort_peer::Name;

use super::Gdh;
use crate::group::{Group, Ristretto};
use crate::keys::{KeyView, Output};
use crate::rules::Rules;

fn name(text: &str) -> Name {
    Name::new(text.to_owned()).unwrap()
}

struct Members(Vec<(Name, Gdh<Ristretto>)>, ChaCha20Rng);

impl Members {
    /// One view; the messages as they were sent.
    fn rekey(&mut self, garbage: &[Vec<u8>]) -> Vec<(Name, Vec<u8>)> {
        let Members(members, rng) = self;
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        let names: Vec<Name> = members.iter().map(|(name, _)| name.clone()).collect();
        let offers: Vec<Vec<u8>> = members.iter_mut().map(|(_, gdh)| gdh.offer(false, false)).collect();
        let all: Vec<(&Name, &[u8])> = names.iter().zip(offers.iter().map(Vec::as_slice)).collect();
        let mut secrets = Vec::new();
        let mut sent: Vec<(Name, Vec<u8>)> = Vec::new();
        let mut take = |who: &Name, output: Output, sent: &mut Vec<(Name, Vec<u8>)>| {
            secrets.extend(output.secret);
            sent.extend(output.messages.into_iter().map(|(_, bytes)| (who.clone(), bytes)));
        };
        for (me, (who, gdh)) in members.iter_mut().enumerate() {
            let output = gdh.start(rng, &KeyView { me, members: all.clone(), attempt: 0, context: [0; 32] });
            take(who, output, &mut sent);
        }
        let mut at = 0;
        while let Some((from, bytes)) = sent.get(at).cloned() {
            at += 1;
            for (who, gdh) in members.iter_mut().filter(|(who, _)| *who != from) {
                // What is no message, or out of turn, is ignored.
                for bad in garbage {
                    for other in &names {
                        let output = gdh.on_message(rng, other, bad);
                        assert!(output.messages.is_empty() && output.secret.is_none());
                    }
                }
                let output = gdh.on_message(rng, &from, &bytes);
                take(who, output, &mut sent);
            }
        }
        assert_eq!(secrets.len(), names.len(), "all have a secret");
        assert!(secrets.iter().all(|secret| *secret == secrets[0]), "and it is one");
        members.iter_mut().for_each(|(_, gdh)| gdh.commit());
        let controllers: BTreeSet<&Name> = members.iter().filter_map(|(_, gdh)| gdh.controller()).collect();
        assert_eq!(controllers.len(), 1, "all agree who the controller is");
        sent
    }

    fn join(&mut self, text: &str) {
        self.0.push((name(text), Gdh::new(name(text), Rules::all())));
    }

    fn leave(&mut self, text: &str) {
        self.0.retain(|(who, _)| *who != name(text));
    }

    fn controller(&self) -> &Name {
        self.0[0].1.controller().unwrap()
    }
}

#[test]
fn the_newest_member_is_the_controller_whatever_happens() {
    let mut members = Members(Vec::new(), ChaCha20Rng::seed_from_u64(1));
    for (who, expected) in [("m", "m"), ("c", "c"), ("x", "x"), ("a", "a")] {
        members.join(who);
        members.rekey(&[]);
        assert_eq!(*members.controller(), name(expected));
    }
    members.leave("a");
    members.rekey(&[]);
    assert_eq!(*members.controller(), name("x"), "the newest of those who are left");
    members.leave("m");
    members.join("b");
    members.join("d");
    members.rekey(&[]);
    assert_eq!(*members.controller(), name("d"), "the last of several who come at once");
}

#[test]
fn what_is_no_message_or_out_of_turn_changes_nothing() {
    let mut members = Members(Vec::new(), ChaCha20Rng::seed_from_u64(2));
    ["a", "b", "c"].iter().for_each(|who| members.join(who));
    let old = members.rekey(&[]);
    let identity = borsh::to_vec(&super::Message::List(vec![[0; 32]; 4])).unwrap();
    let element = Ristretto::encode(&Ristretto::generator());
    let short = borsh::to_vec(&super::Message::List(vec![element; 3])).unwrap();
    let garbage = vec![Vec::new(), vec![9; 40], identity, short];
    members.join("d");
    members.rekey(&garbage);
    assert!(old.len() > 4, "a token, what comes back, the list");
}
