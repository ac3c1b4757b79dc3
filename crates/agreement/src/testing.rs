//! What unit tests need: keys of a small group, and blocks and statements that it signs.

use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringfort_crypto::sign::{SigningKey, VerifyingKey};
use ringfort_crypto::threshold::{KeyRole, deal};

use crate::block::{Body, Parent, Sealed, push_message};
use crate::checkpoint::{Signed, Statement, signed_bytes};
use crate::ids::{Author, Digest};
use crate::keys::{Keys, LeaderKeys, Purpose};

/// The epoch of all of it.
pub(crate) const EPOCH: Digest = Digest([3; 32]);

pub(crate) fn author(place: u8) -> Author {
    Author::new(place).unwrap()
}

/// Real keys of a group.
pub(crate) fn group(n: u16, f: u16) -> Vec<Arc<dyn Keys>> {
    let mut rng = ChaCha12Rng::seed_from_u64(7);
    let (coin, shares) = deal(KeyRole::Coin, n, f + 1, &mut rng).unwrap();
    let signing: Vec<SigningKey> = (0..n).map(|_| SigningKey::generate(&mut rng)).collect();
    let verifying: Vec<VerifyingKey> = signing.iter().map(SigningKey::verifying_key).collect();
    let make = |(signing, share)| {
        Arc::new(LeaderKeys::new(EPOCH, signing, verifying.clone(), coin.clone(), share)) as Arc<dyn Keys>
    };
    signing.into_iter().zip(shares).map(make).collect()
}

/// A first block of an author, with a message.
pub(crate) fn first(place: u8, message: &[u8]) -> Body {
    let mut payload = Vec::new();
    push_message(&mut payload, message);
    Body {
        epoch: EPOCH,
        author: author(place),
        round: 1,
        clock_us: 1,
        parents: Vec::new(),
        weak: Vec::new(),
        coin: None,
        evidence: Vec::new(),
        payload,
    }
}

/// A block of a round that names what there is not, and has no signature: number `number` of such.
pub(crate) fn block_of(place: u8, round: u64, number: u64) -> Sealed {
    let parents = (0..3).map(|place| Parent { author: author(place), digest: Digest([9; 32]) }).collect();
    let coin = (round > 5).then_some([0; 128]);
    let body = Body { round, parents, coin, ..first(place, &number.to_le_bytes()) };
    Sealed::unchecked(crate::block::Block { body, signature: [0; 64] })
}

pub(crate) fn statement(position: u64, state: u8) -> Statement {
    let (head, state) = (Digest([2; 32]), Digest([state; 32]));
    Statement { epoch: EPOCH, position, round: 9, index: 3, head, state, state_bytes: 10 }
}

/// A statement as its author signs it.
pub(crate) fn stated(keys: &[Arc<dyn Keys>], place: u8, statement: Statement) -> Signed {
    let signature = keys[usize::from(place)].sign(Purpose::Checkpoint, &signed_bytes(&statement));
    Signed { author: author(place), statement, signature }
}
