//! The controller's message: who can open it.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use ringfort_peer::Name;

use super::Ckd;
use crate::group::Ristretto;
use crate::keys::KeyView;
use crate::rules::Rules;

fn name(text: &str) -> Name {
    Name::new(text.to_owned()).unwrap()
}

#[test]
fn each_member_opens_its_own_part_and_nobody_elses_and_only_from_the_controller() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let names = ["a", "b", "c"].map(name);
    let mut members = names.clone().map(|who| Ckd::<Ristretto>::new(who, Rules::all()));
    let offers: Vec<Vec<u8>> = members.iter_mut().map(|ckd| ckd.offer(&mut rng, false)).collect();
    let all: Vec<(&Name, &[u8])> = names.iter().zip(offers.iter().map(Vec::as_slice)).collect();
    let mut outputs = Vec::new();
    for (me, ckd) in members.iter_mut().enumerate() {
        outputs.push(ckd.start(&mut rng, &KeyView { me, members: all.clone(), attempt: 0, context: [7; 32] }));
    }
    let (_, message) = outputs[0].messages[0].clone();
    let secret = outputs[0].secret.clone();
    assert!(secret.is_some() && outputs[1].secret.is_none());
    assert_eq!(members[1].awaited(), [name("a")].into());
    assert!(members[1].on_message(&name("c"), &message).secret.is_none(), "not from another");
    for bad in [&message[..message.len() - 48], &[][..], &[0; 52]] {
        assert!(members[1].on_message(&name("a"), bad).secret.is_none());
    }
    // The parts change places: neither opens the other's.
    let mut swapped = message.clone();
    let (head, parts) = swapped.split_at_mut(4);
    parts.rotate_left(48);
    assert_eq!(head.len(), 4);
    let mut other = Ckd::<Ristretto>::new(name("c"), Rules::all());
    let _ = other.offer(&mut rng, false);
    assert!(members[2].on_message(&name("a"), &swapped).secret.is_none());
    assert_eq!(members[1].on_message(&name("a"), &message).secret, secret);
    assert!(members[1].on_message(&name("a"), &message).secret.is_none(), "once");
}
