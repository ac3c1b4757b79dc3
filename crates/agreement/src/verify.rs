//! From bytes to frames whose signatures hold. Pure, and apart from the state: a driver may run it on other threads.

use std::sync::Arc;

use crate::block::{Block, Evidence, Sealed, signed_bytes};
use crate::checkpoint::{self, Certificate, Signed};
use crate::fault::Fault;
use crate::ids::{AuthorSet, Digest, Reference};
use crate::keys::{Claim, Keys, Purpose};
use crate::limits::ROUND_MAX;
use crate::reached::{Answer, Reached, Signer};
use crate::rules::{Rule, Rules};
use crate::wire::{Frame, PartName, Status};

/// A frame whose blocks are valid and whose signatures hold.
#[derive(Clone, Debug)]
pub struct Checked(pub(crate) Inner);

#[derive(Clone, Debug)]
pub(crate) enum Inner {
    Block(Sealed),
    Answer(Sealed),
    Fetch(Vec<Reference>),
    Status(Status),
    Statement(Signed),
    Certificate(Certificate),
    Ask(PartName),
    Part(PartName, Vec<u8>),
    Reached(Answer),
}

/// A frame that was read, and whose blocks are valid but for their signatures.
#[derive(Clone, Debug)]
pub struct Opened {
    pub(crate) inner: Inner,
    /// What has to hold; the sender's own signature first.
    claims: Vec<Claim>,
}

impl Opened {
    /// How many signatures are to be checked.
    pub fn signatures(&self) -> usize {
        self.claims.len()
    }
}

/// Checks frames.
#[derive(Clone)]
pub struct Verifier {
    epoch: Digest,
    rules: Rules,
    keys: Arc<dyn Keys>,
}

impl Verifier {
    /// A verifier for one epoch.
    pub fn new(epoch: Digest, rules: Rules, keys: Arc<dyn Keys>) -> Self {
        Verifier { epoch, rules, keys }
    }

    /// Reads one frame and checks its signatures.
    ///
    /// # Errors
    /// The sender's [`Fault`]. An invalid block that its own author signed convicts the author, not the sender.
    pub fn check(&self, bytes: &[u8]) -> Result<Checked, Fault> {
        self.verify(self.open(bytes, |_| false)?)
    }

    /// Checks the signatures of one frame.
    ///
    /// # Errors
    /// [`Fault::BadSignature`].
    pub fn verify(&self, opened: Opened) -> Result<Checked, Fault> {
        self.verify_all(vec![Ok(opened)]).pop().unwrap_or(Err(Fault::BadSignature))
    }

    /// Checks the signatures of many frames: each frame's first in one go, then the others up to the first that is wrong,
    /// so that a frame that is forged costs one. A frame's verdict does not depend on the others.
    pub fn verify_all(&self, frames: Vec<Result<Opened, Fault>>) -> Vec<Result<Checked, Fault>> {
        let first = |opened: &Opened| opened.claims.first().cloned();
        let firsts: Vec<Claim> = frames.iter().flatten().filter_map(first).collect();
        let mut verdicts = self.keys.verify(&firsts).into_iter();
        let holds = |claim: &Claim| self.keys.verify(std::slice::from_ref(claim)) == [true];
        frames
            .into_iter()
            .map(|opened| {
                let Opened { inner, claims } = opened?;
                let is_signed = claims.is_empty() || verdicts.next() == Some(true);
                let is_good = is_signed && claims.iter().skip(1).all(holds);
                if is_good || !self.rules.enforces(Rule::Signature) {
                    Ok(Checked(inner))
                } else {
                    Err(Fault::BadSignature)
                }
            })
            .collect()
    }

    /// Reads a frame. Evidence that is `known` to hold is not to be checked again.
    ///
    /// # Errors
    /// The sender's [`Fault`].
    pub fn open(&self, bytes: &[u8], known: impl Fn(&Evidence) -> bool) -> Result<Opened, Fault> {
        let (inner, claims) = match Frame::decode(bytes)? {
            Frame::Block(block) => {
                let (sealed, claims) = self.open_block(block, known)?;
                (Inner::Block(sealed), claims)
            }
            Frame::Answer(block) => {
                let (sealed, claims) = self.open_block(block, known)?;
                (Inner::Answer(sealed), claims)
            }
            Frame::Statement(signed) => {
                let claims = vec![self.statement_claim(&signed)?];
                (Inner::Statement(signed), claims)
            }
            Frame::Certificate(certificate) => {
                let claims = self.certificate_claims(&certificate)?;
                (Inner::Certificate(certificate), claims)
            }
            Frame::Reached(answer) => {
                let claims = self.reached_claims(&answer.reached)?;
                (Inner::Reached(answer), claims)
            }
            Frame::Fetch(references) => (Inner::Fetch(references), Vec::new()),
            Frame::Status(status) => (Inner::Status(status), Vec::new()),
            Frame::Ask(name) => (Inner::Ask(name), Vec::new()),
            Frame::Part(name, bytes) => (Inner::Part(name, bytes), Vec::new()),
        };
        Ok(Opened { inner, claims })
    }

    /// A block with what has to hold of its signatures: its own, and two for each equivocator it names.
    fn open_block(&self, block: Block, known: impl Fn(&Evidence) -> bool) -> Result<(Sealed, Vec<Claim>), Fault> {
        block.body.check(&self.epoch, &self.rules).map_err(Fault::Invalid)?;
        let sealed = Sealed::unchecked(block);
        let mut claims = vec![self.block_claim(&sealed.reference(), sealed.block().signature)];
        for evidence in sealed.body().evidence.iter().filter(|evidence| !known(evidence)) {
            let signatures = evidence.signed.map(|(_, signature)| signature);
            let pairs = evidence.references().into_iter().zip(signatures);
            claims.extend(pairs.map(|(reference, signature)| self.block_claim(&reference, signature)));
        }
        Ok((sealed, claims))
    }

    fn block_claim(&self, reference: &Reference, signature: [u8; 64]) -> Claim {
        let message = signed_bytes(&self.epoch, reference);
        Claim { author: reference.author, purpose: Purpose::Block, message, signature }
    }

    /// What proves that an honest leader came to a round.
    fn reached_claims(&self, reached: &Reached) -> Result<Vec<Claim>, Fault> {
        let (round, signers) = match reached {
            Reached::Nothing => return Ok(Vec::new()),
            Reached::Checkpoint(certificate) => return self.certificate_claims(certificate),
            Reached::Blocks { round, signers } => (*round, signers),
        };
        let ascending = signers.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        let enough = ascending && signers.len() == self.rules.witnesses();
        if !enough || !(1..ROUND_MAX).contains(&round) {
            return Err(Fault::BadSignature);
        }
        let claim = |(author, digest, signature): &Signer| {
            self.block_claim(&Reference { round, author: *author, digest: *digest }, *signature)
        };
        Ok(signers.iter().map(claim).collect())
    }

    fn statement_claim(&self, signed: &Signed) -> Result<Claim, Fault> {
        let known = signed.author.index() < usize::from(self.rules.n());
        if !known || signed.statement.epoch != self.epoch {
            return Err(Fault::BadSignature);
        }
        Ok(Claim {
            author: signed.author,
            purpose: Purpose::Checkpoint,
            message: checkpoint::signed_bytes(&signed.statement),
            signature: signed.signature,
        })
    }

    fn certificate_claims(&self, certificate: &Certificate) -> Result<Vec<Claim>, Fault> {
        let authors: AuthorSet = certificate.signatures.iter().map(|(author, _)| *author).collect();
        let signers = certificate.signatures.len();
        let distinct = authors.len() == signers || !self.rules.enforces(Rule::CertificateSigners);
        if !distinct || signers < self.rules.statements() {
            return Err(Fault::BadSignature);
        }
        certificate.signed().map(|signed| self.statement_claim(&signed)).collect()
    }

    /// Whether a checkpoint that was kept on disk is still certified.
    pub fn is_certified(&self, certificate: &Certificate) -> bool {
        let claims = self.certificate_claims(certificate);
        claims.is_ok_and(|claims| self.keys.verify(&claims).iter().all(|holds| *holds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{EPOCH, author, first, group, stated, statement};

    fn verifier(keys: &[Arc<dyn Keys>]) -> Verifier {
        let n = u8::try_from(keys.len()).unwrap();
        Verifier::new(EPOCH, Rules::new(n, (n - 1) / 3).unwrap(), keys[0].clone())
    }

    fn certificate(keys: &[Arc<dyn Keys>], signers: &[u8]) -> Certificate {
        let sign = |place: &u8| (author(*place), stated(keys, *place, statement(8, 1)).signature);
        Certificate { statement: statement(8, 1), signatures: signers.iter().map(sign).collect() }
    }

    #[test]
    fn a_certificate_counts_each_signer_once() {
        let keys = group(7, 2);
        let verifier = verifier(&keys);
        let verdict = |signers: &[u8]| {
            let certificate = certificate(&keys, signers);
            assert_eq!(verifier.check(&Frame::Certificate(certificate.clone()).encode()).is_ok(), {
                verifier.is_certified(&certificate)
            });
            verifier.is_certified(&certificate)
        };
        assert!(verdict(&[1, 3, 5]) && verdict(&[5, 1, 3, 0]));
        for signers in [&[1, 3][..], &[3, 3, 3], &[1, 3, 3], &[3, 1, 3], &[1, 3, 5, 5], &[]] {
            assert!(!verdict(signers), "{signers:?}");
        }
        let mut forged = certificate(&keys, &[1, 3, 5]);
        forged.signatures[2].1 = forged.signatures[1].1;
        assert!(!verifier.is_certified(&forged));
    }

    #[test]
    fn what_is_said_of_another_epoch_or_by_nobody_is_refused() {
        let keys = group(4, 1);
        let verifier = verifier(&keys);
        let check = |signed: Signed| verifier.check(&Frame::Statement(signed).encode()).map(|_| ());
        assert_eq!(check(stated(&keys, 2, statement(8, 1))), Ok(()));
        let other = checkpoint::Statement { epoch: Digest([8; 32]), ..statement(8, 1) };
        assert_eq!(check(stated(&keys, 2, other)), Err(Fault::BadSignature));
        assert_eq!(check(Signed { author: author(4), ..stated(&keys, 2, statement(8, 1)) }), Err(Fault::BadSignature));
        let signatures = [1, 2].map(|place| (author(place), stated(&keys, place, other).signature)).to_vec();
        assert!(!verifier.is_certified(&Certificate { statement: other, signatures }));
    }

    #[test]
    fn how_far_a_group_has_come_is_believed_with_the_signatures_of_one_more_than_may_lie() {
        let keys = group(7, 2);
        let verifier = verifier(&keys);
        let signer = |place: u8| {
            let reference = Reference { round: 50, author: author(place), digest: Digest([place; 32]) };
            let signature = keys[usize::from(place)].sign(Purpose::Block, &signed_bytes(&EPOCH, &reference));
            (author(place), Digest([place; 32]), signature)
        };
        let check = |round: u64, signers: &[Signer]| {
            let reached = Reached::Blocks { round, signers: signers.to_vec() };
            verifier.check(&Frame::Reached(Answer { question: 5, reached }).encode()).is_ok()
        };
        assert!(check(50, &[signer(1), signer(3), signer(6)]));
        assert!(!check(51, &[signer(1), signer(3), signer(6)]), "signed for another round");
        assert!(!check(50, &[signer(1), signer(3)]), "too few");
        assert!(!check(50, &[signer(1), signer(3), signer(3)]), "one of them twice");
        let forged = (author(6), Digest([6; 32]), signer(3).2);
        assert!(!check(50, &[signer(1), signer(3), forged]));
        for round in [0, ROUND_MAX, u64::MAX] {
            assert!(!check(round, &[signer(1), signer(3), signer(6)]));
        }
        let of = |certificate| Frame::Reached(Answer { question: 5, reached: Reached::Checkpoint(certificate) });
        assert!(verifier.check(&of(certificate(&keys, &[1, 3, 5])).encode()).is_ok());
        assert!(verifier.check(&of(certificate(&keys, &[3, 3, 3])).encode()).is_err());
    }

    #[test]
    fn evidence_that_is_known_to_hold_is_not_checked_again_and_any_other_is() {
        let keys = group(4, 1);
        let verifier = verifier(&keys);
        let sealed = |message: &[u8]| Sealed::sign(first(3, message), &*keys[3]);
        let evidence = |a: &Sealed, b: &Sealed| {
            let of = |sealed: &Sealed| (sealed.reference(), sealed.block().signature);
            Evidence::of((&of(a).0, of(a).1), (&of(b).0, of(b).1)).unwrap()
        };
        let known = evidence(&sealed(b"a"), &sealed(b"b"));
        let mut forged = known.clone();
        forged.signed[1].1[0] ^= 1;
        let open = |evidence: &Evidence| {
            let block = Sealed::sign(first(1, b"x"), &*keys[1]).body().clone();
            let block = crate::block::Body { evidence: vec![evidence.clone()], ..block };
            let frame = Frame::Block(Sealed::sign(block, &*keys[1]).block().as_ref().clone()).encode();
            verifier.open(&frame, |other| *other == known).unwrap()
        };
        assert_eq!(open(&known).signatures(), 1);
        assert!(verifier.verify(open(&known)).is_ok());
        assert_eq!(open(&forged).signatures(), 3);
        assert_eq!(verifier.verify(open(&forged)).map(|_| ()), Err(Fault::BadSignature));
    }
}
