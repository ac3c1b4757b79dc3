//! Private messages (C5, K28–K30).

use ringfort_crypto::aead::AeadKey;

use super::*;
use crate::data::keyring::Direction;
use crate::data::seal::{content, nonce};

#[test]
fn the_named_read_it_and_nobody_else() {
    for (protection, origin) in modes() {
        let mut room = Room::new(protection, origin);
        let frame = room.private(&["bo", "cy"], 3, b"between us");
        assert!(!contains(&frame, b"between us") && !contains(&frame, b"chat"), "sealed in every mode");
        assert_eq!(room.read_by_bo(&frame), message(b"between us"), "{protection:?} {origin:?}");
        let cy = posing_as(&room.cy.id, &room.cy);
        let (shape, rules) = (room.shape, room.rules);
        assert_eq!(read(&shape, &rules, &cy, &mut keyed(1), &room.members, &frame), message(b"between us"));
        // Di has the group key, as a relay with enough shares has: neither is named.
        let di = identity("di", 4);
        assert_eq!(read(&shape, &rules, &di, &mut keyed(1), &room.members, &frame), None);
        // Under a recipient's name, but with other session keys.
        for name in [&room.bo.id, &room.cy.id] {
            let nosy = posing_as(name, &di);
            assert_eq!(read(&shape, &rules, &nosy, &mut keyed(1), &room.members, &frame), None);
        }
        let mark = room.private_mark("bo", 4);
        assert_eq!(room.read_by_bo(&mark), Some(Opened::Mark));
        let not_his = room.private_mark("cy", 4);
        assert_eq!(room.read_by_bo(&not_his), None);
    }
}

#[test]
fn every_flipped_bit_is_refused_by_whom_it_concerns() {
    for (protection, origin) in modes() {
        let mut room = Room::new(protection, origin);
        let frame = room.private(&["bo", "cy"], 3, b"between us");
        let body_at = DataFrame::parse(&frame).unwrap().prefix().len();
        let wrap_of_cy = body_at + 48..body_at + 96;
        for at in 0..frame.len() {
            let mut altered = frame.to_vec();
            altered[at] ^= 0x10;
            // The wrap for Cy is for Cy to judge, unless a signature covers it.
            let concerns_bo = origin == Origin::Signature || !wrap_of_cy.contains(&at);
            let read = room.read_by_bo(&altered.into());
            assert_eq!(read.is_none(), concerns_bo, "{protection:?} {origin:?}: byte {at}");
        }
        let mark = room.private_mark("bo", 4);
        for at in 0..mark.len() {
            let mut altered = mark.to_vec();
            altered[at] ^= 0x10;
            assert_eq!(room.read_by_bo(&altered.into()), None, "mark, byte {at}");
        }
    }
}

#[test]
fn nobody_but_the_sender_makes_one_whatever_the_policy() {
    for (protection, origin) in modes() {
        let mut room = Room::new(protection, origin);
        let forger = posing_as(&room.ana.id, &room.cy);
        let bo = room.bo.entry();
        let to = [(&bo, Seq(1), Seq(1))];
        let content = (&topic(), b"I am Ana".as_slice());
        let forged = seal_private(&room.shape, &forger, &mut keyed(1), &to, content, &mut rng(9)).unwrap();
        assert_eq!(room.read_by_bo(&forged), None, "{protection:?} {origin:?}");
        let mark = seal_private_mark(&room.shape, &forger, &mut keyed(1), &bo, (Seq(1), Seq(99))).unwrap();
        assert_eq!(room.read_by_bo(&mark), None, "{protection:?} {origin:?}");
    }
}

#[test]
fn a_recipient_cannot_put_other_words_under_the_shared_key() {
    // Cy opens her wrap, learns the one-time key, and seals other words under the very same header.
    let mut room = Room::new(Protection::Confidential, Origin::Group);
    let frame = DataFrame::parse(&room.private(&["bo", "cy"], 1, b"yes")).unwrap();
    let (wraps, sealed) = frame.body().split_at(96);
    let aad = crate::data::seal::wrap_aad(frame.prefix(), sealed);
    let ana = room.ana.entry();
    let pair = room.view.pair_keys(&room.cy, &ana, Direction::FromPeer).unwrap();
    let key = pair.wrap.open(&nonce(3, Seq(1)), &aad, &wraps[48..]).unwrap();
    let key = AeadKey::new(&Secret32::new(key.try_into().unwrap()));
    assert_eq!(key.seal(&[0; 12], frame.prefix(), &content(&topic(), b"yes")), sealed, "the key is the right one");
    let other = key.seal(&[0; 12], frame.prefix(), &content(&topic(), b"no!"));
    let forged = [frame.prefix(), wraps, &other].concat();
    room.view = keyed(1);
    assert_eq!(room.read_by_bo(&forged.into()), None);
    assert_eq!(room.read_by_bo(frame.bytes()), message(b"yes"));
}

#[test]
fn a_private_message_fits_no_other_view_number_or_direction() {
    let mut room = Room::new(Protection::Confidential, Origin::Group);
    let frame = DataFrame::parse(&room.private(&["bo"], 5, b"x")).unwrap();
    let to = |seq, start| {
        let entry = Recipient { user: "bo".parse().unwrap(), seq: Seq(seq), start: Seq(start) };
        FrameKind::Private { to: Recipients::new(vec![entry]).unwrap() }
    };
    let with = |header: &DataHeader| Bytes::from([header.to_prefix(), frame.body().to_vec()].concat());
    for kind in [to(6, 1), to(5, 2)] {
        let header = DataHeader { kind, ..frame.header().clone() };
        assert_eq!(room.read_by_bo(&with(&header)), None);
    }
    let elsewhere = DataHeader { view: view_id(2).digest, ..frame.header().clone() };
    let read_there = read(&room.shape, &room.rules, &room.bo, &mut keyed(2), &room.members, &with(&elsewhere));
    assert_eq!(read_there, None);
    // Reflected: Bo's own words to Ana, given back to Bo as Ana's.
    let ana = room.ana.entry();
    let to_ana = [(&ana, Seq(1), Seq(1))];
    let content = (&topic(), b"x".as_slice());
    let own = seal_private(&room.shape, &room.bo, &mut room.view, &to_ana, content, &mut rng(3)).unwrap();
    let own = DataFrame::parse(&own).unwrap();
    let header = DataHeader { sender: room.ana.id.clone(), view: view_id(1).digest, kind: to(1, 1) };
    let reflected = [header.to_prefix(), own.body().to_vec()].concat();
    assert_eq!(room.read_by_bo(&reflected.into()), None);
}

#[test]
fn keys_are_of_one_pair_one_way_one_view() {
    let room = Room::new(Protection::Confidential, Origin::Group);
    let (ana, bo) = (room.ana.entry(), room.bo.entry());
    let mark = |epoch, me: &Identity, peer, way| keyed(epoch).pair_keys(me, peer, way).unwrap().mark.clone();
    let key = mark(1, &room.ana, &bo, Direction::ToPeer);
    assert_eq!(key, mark(1, &room.bo, &ana, Direction::FromPeer));
    assert_ne!(key, mark(1, &room.bo, &ana, Direction::ToPeer));
    assert_ne!(key, mark(2, &room.ana, &bo, Direction::ToPeer));
    assert_ne!(key, mark(1, &room.ana, &room.cy.entry(), Direction::ToPeer));
}
