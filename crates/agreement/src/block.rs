//! The one message of the protocol: a signed block, and what makes one invalid whoever looks at it.
//!
//! Validity depends on the block alone: never on what its receiver holds, on its clock or on what it has let go. So no
//! two honest leaders disagree on whether a block is valid, and none names a block that another must refuse.

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_kernel::codec;

use crate::fault::Invalid;
use crate::ids::{Author, AuthorSet, Digest, Reference};
use crate::keys::{CoinShare, Keys, Purpose};
use crate::limits::{EVIDENCE_MAX, HISTORY_ROUNDS, PAYLOAD_BYTES_MAX, ROUND_MAX};
use crate::rules::Rules;

const DIGEST_PURPOSE: &str = "ringfort agreement block v1";

/// A block of the round before, by who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Parent {
    /// Who made it.
    pub author: Author,
    /// Its hash.
    pub digest: Digest,
}

/// What an author signs.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Body {
    /// The group and the time that it is for.
    pub epoch: Digest,
    /// Who makes it.
    pub author: Author,
    /// From 1.
    pub round: u64,
    /// The author's clock, Unix time in microseconds. No rule compares it with a receiver's.
    pub clock_us: u64,
    /// Blocks of the round before, by ascending author: a quorum of them, none in round 1.
    pub parents: Vec<Parent>,
    /// Blocks of earlier rounds that the author's last block did not reach, by ascending author.
    pub weak: Vec<Reference>,
    /// The share of the coin whose wave ended in the round before.
    pub coin: Option<CoinShare>,
    /// Equivocators, by ascending author.
    pub evidence: Vec<Evidence>,
    /// Messages, each after its length; see [`messages`].
    pub payload: Vec<u8>,
}

/// A body with its author's signature.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Block {
    /// What is signed.
    pub body: Body,
    /// The author's signature of the block's reference.
    pub signature: [u8; 64],
}

/// Proof that an author signed two blocks for one round.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Evidence {
    /// Who did.
    pub author: Author,
    /// The round.
    pub round: u64,
    /// Two hashes, ascending, and the signature of each.
    pub signed: [(Digest, [u8; 64]); 2],
}

/// A block whose hash is known. What comes from a peer becomes one only by [`crate::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    block: Arc<Block>,
    reference: Reference,
    bytes: usize,
}

/// What the signature of a block covers.
pub fn signed_bytes(epoch: &Digest, reference: &Reference) -> Vec<u8> {
    codec::encode(&(epoch, reference))
}

impl Sealed {
    /// Hashes a block; the signature is not looked at.
    pub(crate) fn unchecked(block: Block) -> Self {
        let (digest, bytes) = Digest::of_value(DIGEST_PURPOSE, &block.body);
        let reference = Reference { round: block.body.round, author: block.body.author, digest };
        Sealed { block: Arc::new(block), reference, bytes: bytes.saturating_add(64) }
    }

    /// Signs a body.
    pub fn sign(body: Body, keys: &dyn Keys) -> Self {
        let mut sealed = Self::unchecked(Block { body, signature: [0; 64] });
        let signature = keys.sign(Purpose::Block, &signed_bytes(&sealed.body().epoch, &sealed.reference));
        Arc::get_mut(&mut sealed.block).expect("nobody else has it yet").signature = signature;
        sealed
    }

    /// What was signed.
    pub fn body(&self) -> &Body {
        &self.block.body
    }

    /// The block as it travels.
    pub fn block(&self) -> &Arc<Block> {
        &self.block
    }

    /// The block's name.
    pub fn reference(&self) -> Reference {
        self.reference
    }

    /// Bytes of its encoding.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All blocks that it names, parents first.
    pub fn references(&self) -> impl Iterator<Item = Reference> + '_ {
        self.body().references()
    }
}

impl Body {
    /// The parents' full names.
    pub fn parents(&self) -> impl Iterator<Item = Reference> + '_ {
        let round = self.round.saturating_sub(1);
        self.parents.iter().map(move |parent| Reference { round, author: parent.author, digest: parent.digest })
    }

    /// All blocks that it names, parents first.
    pub fn references(&self) -> impl Iterator<Item = Reference> + '_ {
        self.parents().chain(self.weak.iter().copied())
    }

    /// Whether there is something in it that has to be put into the log.
    pub fn has_content(&self) -> bool {
        !self.payload.is_empty() || !self.evidence.is_empty()
    }

    /// What makes it invalid for everybody. The signature is not looked at here, nor the coin share's proof.
    ///
    /// # Errors
    /// [`Invalid`], naming the first rule that it breaks.
    pub fn check(&self, epoch: &Digest, rules: &Rules) -> Result<(), Invalid> {
        let refuse_unless = |holds: bool, rule: Invalid| if holds { Ok(()) } else { Err(rule) };
        let n = rules.n();
        let exists = |author: Author| author.index() < usize::from(n);
        refuse_unless(self.epoch == *epoch, Invalid::Epoch)?;
        refuse_unless(exists(self.author), Invalid::Author)?;
        refuse_unless(self.round >= 1 && self.round < ROUND_MAX, Invalid::Round)?;

        let authors: AuthorSet = self.parents.iter().map(|parent| parent.author).collect();
        let ascending = self.parents.windows(2).all(|pair| matches!(pair, [a, b] if a.author < b.author));
        let enough = if self.round == 1 { authors.is_empty() } else { authors.len() >= rules.parents() };
        let known = self.parents.iter().all(|parent| exists(parent.author));
        refuse_unless(known && enough && ascending, Invalid::Parents)?;

        let lowest = self.round.saturating_sub(HISTORY_ROUNDS).max(1);
        let in_bounds = |weak: &Reference| {
            exists(weak.author) && weak.round >= lowest && weak.round.saturating_add(2) <= self.round
        };
        let ascending = self.weak.windows(2).all(|pair| matches!(pair, [a, b] if a.author < b.author));
        refuse_unless(self.weak.iter().all(in_bounds) && ascending, Invalid::Weak)?;

        refuse_unless(self.coin.is_some() == rules.coin_due(self.round).is_some(), Invalid::CoinShare)?;

        let ascending = self.evidence.windows(2).all(|pair| matches!(pair, [a, b] if a.author < b.author));
        let proves = |evidence: &Evidence| exists(evidence.author) && evidence.is_well_formed();
        let evidence = self.evidence.len() <= EVIDENCE_MAX && ascending && self.evidence.iter().all(proves);
        refuse_unless(evidence, Invalid::Evidence)?;

        refuse_unless(self.payload.len() <= PAYLOAD_BYTES_MAX && is_framed(&self.payload), Invalid::Payload)
    }
}

impl Evidence {
    /// The proof that two blocks are; `None` if they are not by one author for one round, or are one block.
    pub fn of(a: (&Reference, [u8; 64]), b: (&Reference, [u8; 64])) -> Option<Self> {
        let same = (a.0.round, a.0.author) == (b.0.round, b.0.author) && a.0.digest != b.0.digest;
        let ((low, low_signature), (high, high_signature)) = if a.0.digest < b.0.digest { (a, b) } else { (b, a) };
        let signed = [(low.digest, low_signature), (high.digest, high_signature)];
        same.then_some(Evidence { author: low.author, round: low.round, signed })
    }

    /// The two blocks.
    pub fn references(&self) -> [Reference; 2] {
        self.signed.map(|(digest, _)| Reference { round: self.round, author: self.author, digest })
    }

    fn is_well_formed(&self) -> bool {
        let [(low, _), (high, _)] = &self.signed;
        low < high && (1..ROUND_MAX).contains(&self.round)
    }
}

/// Appends a message to a payload.
pub fn push_message(payload: &mut Vec<u8>, message: &[u8]) {
    let length = u32::try_from(message.len()).expect("messages are bounded when they are submitted");
    payload.extend_from_slice(&length.to_le_bytes());
    payload.extend_from_slice(message);
}

/// The messages of a valid payload, in order.
pub fn messages(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (message, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = after;
        Some(message)
    })
}

fn is_framed(payload: &[u8]) -> bool {
    messages(payload).map(|message| message.len() + 4).sum::<usize>() == payload.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest([byte; 32])
    }

    fn author(place: u8) -> Author {
        Author::new(place).unwrap()
    }

    fn parent(place: u8) -> Parent {
        Parent { author: author(place), digest: digest(place) }
    }

    fn weak(place: u8, round: u64) -> Reference {
        Reference { round, author: author(place), digest: digest(place) }
    }

    fn valid() -> Body {
        Body {
            epoch: digest(9),
            author: author(1),
            round: 40,
            clock_us: 5,
            parents: vec![parent(0), parent(1), parent(3)],
            weak: vec![weak(2, 38)],
            coin: Some([0; 128]),
            evidence: Vec::new(),
            payload: Vec::new(),
        }
    }

    fn verdict(change: impl FnOnce(&mut Body)) -> Result<(), Invalid> {
        let mut body = valid();
        change(&mut body);
        body.check(&digest(9), &Rules::new(4, 1).unwrap())
    }

    fn evidence(place: u8, low: u8, high: u8) -> Evidence {
        Evidence { author: author(place), round: 3, signed: [(digest(low), [0; 64]), (digest(high), [0; 64])] }
    }

    #[test]
    fn a_valid_block_is_valid_and_each_rule_refuses_what_breaks_it() {
        assert_eq!(verdict(|_| {}), Ok(()));
        assert_eq!(verdict(|b| b.weak = vec![weak(0, 1), weak(1, 20), weak(2, 38)]), Ok(()));
        assert_eq!(verdict(|b| b.epoch = digest(8)), Err(Invalid::Epoch));
        assert_eq!(verdict(|b| b.author = author(4)), Err(Invalid::Author));
        for round in [0, ROUND_MAX, 1 << 63, u64::MAX] {
            assert_eq!(verdict(|b| b.round = round), Err(Invalid::Round));
        }
        let parents: [Vec<u8>; 6] = [vec![], vec![0, 1], vec![0, 1, 1], vec![1, 0, 3], vec![0, 1, 4], vec![0, 1, 2, 2]];
        for places in parents {
            let of = |b: &mut Body| b.parents = places.iter().map(|place| parent(*place)).collect();
            assert_eq!(verdict(of), Err(Invalid::Parents), "{places:?}");
        }
        let weaks = [vec![weak(2, 39)], vec![weak(2, 40)], vec![weak(2, 0)], vec![weak(2, 3), weak(2, 4)]];
        let more = [vec![weak(2, 3), weak(1, 3)], vec![weak(5, 3)], vec![weak(2, u64::MAX)]];
        for references in weaks.into_iter().chain(more) {
            assert_eq!(verdict(|b| b.weak = references.clone()), Err(Invalid::Weak), "{references:?}");
        }
        assert_eq!(verdict(|b| (b.round, b.weak) = (900, vec![weak(2, 900 - HISTORY_ROUNDS - 1)])), Err(Invalid::Weak));
        assert_eq!(verdict(|b| b.coin = None), Err(Invalid::CoinShare));
        assert_eq!(verdict(|b| b.evidence = vec![evidence(0, 1, 2), evidence(3, 1, 2)]), Ok(()));
        let proofs = [vec![evidence(0, 2, 1)], vec![evidence(0, 1, 1)], vec![evidence(7, 1, 2)]];
        for proofs in
            proofs.into_iter().chain([vec![evidence(0, 1, 2); 2], (0..4).map(|_| evidence(3, 1, 2)).collect()])
        {
            assert_eq!(verdict(|b| b.evidence = proofs.clone()), Err(Invalid::Evidence));
        }
        for payload in [vec![1], vec![2, 0, 0, 0, 7], vec![255; 40], vec![0; PAYLOAD_BYTES_MAX + 4]] {
            assert_eq!(verdict(|b| b.payload = payload.clone()), Err(Invalid::Payload));
        }
    }

    #[test]
    fn a_first_block_has_no_parents_and_no_share() {
        let first = |b: &mut Body| (b.round, b.weak, b.coin) = (1, Vec::new(), None);
        assert_eq!(verdict(first), Err(Invalid::Parents));
        assert_eq!(
            verdict(|b| {
                first(b);
                b.parents.clear();
            }),
            Ok(())
        );
    }

    #[test]
    fn a_payload_gives_back_its_messages() {
        let mut payload = Vec::new();
        let list: [&[u8]; 4] = [b"one", b"", b"three", &[7; 1000]];
        list.iter().for_each(|message| push_message(&mut payload, message));
        assert_eq!(messages(&payload).collect::<Vec<_>>(), list);
        assert_eq!(verdict(|b| b.payload = payload.clone()), Ok(()));
    }

    #[test]
    fn the_hash_of_a_block_is_the_one_that_was_written_down() {
        let sealed = Sealed::unchecked(Block { body: valid(), signature: [1; 64] });
        let other = Sealed::unchecked(Block { body: valid(), signature: [2; 64] });
        assert_eq!(sealed.reference(), other.reference(), "a block is what is signed, not how it was signed");
        let hex: String = sealed.reference().digest.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "cfed9d561c5636d9e3b3e740a2a8077ab24a10ba6171abf1ded982e51883d40a");
    }
}
