//! The channel of one view: what opens, for whom, how often.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use ringfort_crypto::Secret32;
use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::sign::SigningKey;
use ringfort_peer::{Name, Service};

use super::{Channel, Member, NotOpened};
use crate::ids::MESSAGE_BYTES_MAX;
use crate::keys::robust::ViewKeys;
use crate::rules::Rules;

fn name(text: &str) -> Name {
    Name::new(text.to_owned()).unwrap()
}

/// Channels of three members of one view.
fn channels(root: u8, signed: bool) -> Vec<Channel> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let all: Vec<(Name, SigningKey, KemSecret)> =
        ["a", "b", "c"].map(|text| (name(text), SigningKey::generate(&mut rng), KemSecret::generate(&mut rng))).into();
    let members: BTreeMap<Name, Member> = all
        .iter()
        .map(|(name, key, session)| {
            let key = key.verifying_key().to_bytes();
            (name.clone(), Member { user: String::new(), key, session: session.public().to_bytes() })
        })
        .collect();
    let channel = |(name, key, session): (Name, SigningKey, KemSecret)| {
        let keys = ViewKeys { context: [9; 32], root: Secret32::new([root; 32]) };
        Channel::new(keys, name, members.clone(), session, signed.then_some(key), Rules::all())
    };
    all.into_iter().map(channel).collect()
}

#[test]
fn a_message_opens_once_for_every_member_its_sender_too() {
    for signed in [false, true] {
        let mut all = channels(1, signed);
        let frame = all[0].seal(Service::Agreed, None, b"hello").unwrap();
        for (n, channel) in all.iter_mut().enumerate() {
            assert_eq!(channel.open(&name("a"), frame.clone()).unwrap(), (b"hello".to_vec(), 0), "{n}");
        }
        assert_eq!(all[1].open(&name("a"), frame.clone()), Err(NotOpened::Repeated));
        assert_eq!(all[2].open(&name("b"), frame.clone()), Err(NotOpened::Altered), "not in another's name");
        assert_eq!(all[2].open(&name("x"), frame.clone()), Err(NotOpened::NoMember));
        assert_eq!(channels(2, signed)[1].open(&name("a"), frame), Err(NotOpened::Altered), "not under another key");
    }
}

#[test]
fn what_is_missing_is_told_and_what_is_late_is_refused() {
    let mut all = channels(1, false);
    let frames: Vec<_> = (0..4u8).map(|n| all[0].seal(Service::Fifo, None, &[n]).unwrap()).collect();
    assert_eq!(all[1].open(&name("a"), frames[2].clone()).unwrap(), (vec![2], 2));
    assert_eq!(all[1].open(&name("a"), frames[0].clone()), Err(NotOpened::Repeated));
    assert_eq!(all[1].open(&name("a"), frames[3].clone()).unwrap(), (vec![3], 0));
}

#[test]
fn a_frame_that_does_not_open_uses_up_no_number() {
    let mut all = channels(1, false);
    let frame = all[0].seal(Service::Fifo, None, b"x").unwrap();
    let mut altered = frame.clone();
    altered.sealed[0] ^= 1;
    altered.counter = 1;
    assert_eq!(all[1].open(&name("a"), altered), Err(NotOpened::Altered));
    assert!(all[1].open(&name("a"), frame).is_ok());
}

#[test]
fn a_private_message_is_for_one_member_and_counted_by_itself() {
    let mut all = channels(1, true);
    let to_all = all[0].seal(Service::Agreed, None, b"all").unwrap();
    let private = all[0].seal(Service::Agreed, Some(name("b")), b"one").unwrap();
    assert_eq!((to_all.counter, private.counter), (1, 1));
    assert_eq!(all[1].open(&name("a"), private.clone()).unwrap(), (b"one".to_vec(), 0));
    assert_eq!(all[2].open(&name("a"), private.clone()), Err(NotOpened::Altered));
    assert_eq!(all[1].open(&name("a"), private), Err(NotOpened::Repeated));
    assert!(all[1].open(&name("a"), to_all).is_ok());
    assert!(all[0].seal(Service::Agreed, Some(name("x")), b"one").is_none(), "nobody of that name");
}

#[test]
fn a_message_is_bounded() {
    let mut all = channels(1, false);
    assert!(all[0].seal(Service::Agreed, None, &vec![0; MESSAGE_BYTES_MAX]).is_some());
    assert!(all[0].seal(Service::Agreed, None, &vec![0; MESSAGE_BYTES_MAX + 1]).is_none());
}

#[test]
fn debug_shows_no_key() {
    assert!(!format!("{:?}", channels(171, false)[0]).contains("171"));
}
