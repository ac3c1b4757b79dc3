//! From bytes to frames whose signatures hold. Pure, and apart from the state: a driver may run it on other threads.

use std::sync::Arc;

use crate::block::{Block, Sealed, signed_bytes};
use crate::checkpoint::{self, Certificate, Signed};
use crate::fault::Fault;
use crate::ids::{AuthorSet, Digest, Reference};
use crate::keys::{Claim, Keys, Purpose};
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

    /// Checks one frame.
    ///
    /// # Errors
    /// The sender's [`Fault`]. An invalid block that its own author signed convicts the author, not the sender.
    pub fn check(&self, bytes: &[u8]) -> Result<Checked, Fault> {
        self.check_all(&[bytes]).pop().unwrap_or(Err(Fault::BadSignature))
    }

    /// Checks many frames, with all their signatures in one go. A frame's verdict does not depend on the others.
    pub fn check_all(&self, frames: &[&[u8]]) -> Vec<Result<Checked, Fault>> {
        let opened: Vec<Result<(Inner, Vec<Claim>), Fault>> = frames.iter().map(|bytes| self.open(bytes)).collect();
        let claims: Vec<Claim> = opened.iter().flatten().flat_map(|(_, claims)| claims.iter().cloned()).collect();
        let mut verdicts = self.keys.verify(&claims).into_iter();
        opened
            .into_iter()
            .map(|opened| {
                let (inner, claims) = opened?;
                // All verdicts of the frame are taken before any is looked at.
                let held = claims.iter().filter(|_| verdicts.next() == Some(true)).count();
                let holds = held == claims.len() || !self.rules.enforces(Rule::Signature);
                if holds { Ok(Checked(inner)) } else { Err(Fault::BadSignature) }
            })
            .collect()
    }

    fn open(&self, bytes: &[u8]) -> Result<(Inner, Vec<Claim>), Fault> {
        Ok(match Frame::decode(bytes)? {
            Frame::Block(block) => {
                let (sealed, claims) = self.open_block(block)?;
                (Inner::Block(sealed), claims)
            }
            Frame::Answer(block) => {
                let (sealed, claims) = self.open_block(block)?;
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
            Frame::Fetch(references) => (Inner::Fetch(references), Vec::new()),
            Frame::Status(status) => (Inner::Status(status), Vec::new()),
            Frame::Ask(name) => (Inner::Ask(name), Vec::new()),
            Frame::Part(name, bytes) => (Inner::Part(name, bytes), Vec::new()),
        })
    }

    /// A block with what has to hold of its signatures: its own, and two for each equivocator it names.
    fn open_block(&self, block: Block) -> Result<(Sealed, Vec<Claim>), Fault> {
        block.body.check(&self.epoch, &self.rules).map_err(Fault::Invalid)?;
        let sealed = Sealed::unchecked(block);
        let claim = |reference: &Reference, signature: [u8; 64]| Claim {
            author: reference.author,
            purpose: Purpose::Block,
            message: signed_bytes(&self.epoch, reference),
            signature,
        };
        let mut claims = vec![claim(&sealed.reference(), sealed.block().signature)];
        for evidence in &sealed.body().evidence {
            let signatures = evidence.signed.map(|(_, signature)| signature);
            claims.extend(evidence.references().iter().zip(signatures).map(|(r, signature)| claim(r, signature)));
        }
        Ok((sealed, claims))
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
        let enough = authors.len() == certificate.signatures.len() && authors.len() >= self.rules.statements();
        if !enough {
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
