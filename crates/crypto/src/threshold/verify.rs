//! A member's side: checking shares together, and combining them.

use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul, VartimePrecomputedMultiscalarMul};
use curve25519_dalek::{RistrettoPoint, Scalar};

use super::{Evaluation, InputPoint, Output, PublicKeySet, decompress};
use crate::hash::digest_wide;
use crate::meter;

/// An evaluation whose proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad share")]
pub struct BadShare;

/// Why shares do not make an output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    /// Fewer than `threshold` different indices.
    #[error("too few shares: {have} of {need}")]
    TooFew {
        /// Different indices given.
        have: usize,
        /// Shares needed.
        need: usize,
    },
    /// These indices sent wrong shares. They are faulty: the links carrying shares are authenticated.
    #[error("bad shares from {0:?}")]
    BadShares(Vec<u16>),
}

/// An evaluation with its points decompressed and its challenge computed; not yet proven.
struct Opened {
    index: u16,
    s: RistrettoPoint,
    u: RistrettoPoint,
    v: RistrettoPoint,
    z: Scalar,
    c: Scalar,
}

impl PublicKeySet {
    /// Checks that an evaluation is the right one, by the leader `index`, at `input`.
    ///
    /// # Errors
    /// [`BadShare`] otherwise; a wrong role, an unknown index and any other encoding included.
    pub fn verify(&self, index: u16, input: &InputPoint, evaluation: &Evaluation) -> Result<(), BadShare> {
        meter::charge(2 * meter::MULTIPLY_NS);
        let opened = self.open(input, index, evaluation).ok_or(BadShare)?;
        if self.hold(input, core::slice::from_ref(&opened)) { Ok(()) } else { Err(BadShare) }
    }

    /// Checks many evaluations at once: a single multiscalar multiplication when all are good.
    ///
    /// # Errors
    /// Exactly the indices with a bad evaluation, in the order given; only then is each checked alone.
    ///
    /// # Security
    /// The equations are weighed with 128-bit coefficients derived from all of them, so bad ones cancel with
    /// probability 2^-128 per attempt. The group has prime order, so batch and single verdicts agree.
    pub fn verify_batch(&self, input: &InputPoint, evaluations: &[(u16, &Evaluation)]) -> Result<(), Vec<u16>> {
        self.open_and_verify(input, evaluations).map(|_| ())
    }

    /// Combines `threshold` evaluations into `g~^a0` by interpolation (Dutertre 2002 §3.3, equation 1).
    ///
    /// Uses the first `threshold` of those given. Verifies nothing: with a wrong share the output is wrong, so call
    /// [`PublicKeySet::verify_batch`] first, or [`PublicKeySet::verify_and_combine`] instead.
    ///
    /// `None` for fewer than `threshold`, for an index that is unknown or given twice, or for values that are
    /// no points.
    pub fn combine(&self, input: &InputPoint, evaluations: &[(u16, &Evaluation)]) -> Option<Output> {
        if input.role != self.role() {
            return None;
        }
        let used = evaluations.get(..usize::from(self.threshold()))?;
        if has_duplicate(evaluations) || evaluations.iter().any(|(index, _)| self.key(*index).is_none()) {
            return None;
        }
        let points = used.iter().map(|(index, e)| Some((*index, decompress(&e.s)?))).collect::<Option<Vec<_>>>()?;
        self.interpolate(&points)
    }

    /// Verifies and combines in one pass, so that each share is decompressed once.
    ///
    /// Looks at the first `threshold` evaluations with different indices and at no others.
    ///
    /// # Errors
    /// [`CombineError`], naming bad shares; drop those and call again with the rest.
    pub fn verify_and_combine(
        &self,
        input: &InputPoint,
        evaluations: &[(u16, &Evaluation)],
    ) -> Result<Output, CombineError> {
        let need = usize::from(self.threshold());
        let mut used: Vec<(u16, &Evaluation)> = Vec::with_capacity(need);
        for &(index, evaluation) in evaluations {
            if used.len() < need && used.iter().all(|(other, _)| *other != index) {
                used.push((index, evaluation));
            }
        }
        if used.len() < need {
            return Err(CombineError::TooFew { have: used.len(), need });
        }
        let opened = self.open_and_verify(input, &used).map_err(CombineError::BadShares)?;
        let points: Vec<(u16, RistrettoPoint)> = opened.iter().map(|o| (o.index, o.s)).collect();
        Ok(self.interpolate(&points).expect("verified indices are known, and different by the loop above"))
    }

    fn open_and_verify(&self, input: &InputPoint, evaluations: &[(u16, &Evaluation)]) -> Result<Vec<Opened>, Vec<u16>> {
        let mut good: Vec<Opened> = Vec::with_capacity(evaluations.len());
        let mut bad: Vec<u16> = Vec::new();
        for (index, evaluation) in evaluations {
            meter::charge(2 * meter::MULTIPLY_NS);
            match self.open(input, *index, evaluation) {
                Some(opened) => good.push(opened),
                None => bad.push(*index),
            }
        }
        if !self.hold(input, &good) {
            let fails = |o: &&Opened| !self.hold(input, core::slice::from_ref(*o));
            bad.extend(good.iter().filter(fails).map(|o| o.index));
        }
        if bad.is_empty() {
            return Ok(good);
        }
        let mut named: Vec<u16> = Vec::with_capacity(bad.len());
        for (index, _) in evaluations {
            if bad.contains(index) && !named.contains(index) {
                named.push(*index);
            }
        }
        Err(named)
    }

    fn open(&self, input: &InputPoint, index: u16, evaluation: &Evaluation) -> Option<Opened> {
        if input.role != self.role() {
            return None;
        }
        let public = self.key(index)?;
        Some(Opened {
            index,
            s: decompress(&evaluation.s)?,
            u: decompress(&evaluation.u)?,
            v: decompress(&evaluation.v)?,
            z: Option::from(Scalar::from_canonical_bytes(evaluation.z))?,
            c: evaluation.challenge(self.role(), index, &public, input),
        })
    }

    /// Whether all proofs hold: `g^z = u g_i^c` and `g~^z = v s^c`, each to a random power, multiplied.
    fn hold(&self, input: &InputPoint, opened: &[Opened]) -> bool {
        let seed = batch_seed(opened);
        let highest = opened.iter().map(|o| usize::from(o.index)).max().unwrap_or(0);
        let mut fixed = vec![Scalar::ZERO; highest + 1]; // g, then g_1 .. g_highest, as in the tables
        let mut scalars = Vec::with_capacity(1 + 3 * opened.len());
        let mut points = Vec::with_capacity(1 + 3 * opened.len());
        let (mut base, mut at_input) = (Scalar::ZERO, Scalar::ZERO);
        for (position, o) in opened.iter().enumerate() {
            let (r, t) = batch_coefficients(&seed, position);
            base -= r * o.z;
            at_input -= t * o.z;
            if let Some(key) = fixed.get_mut(usize::from(o.index)) {
                *key += r * o.c;
            }
            scalars.extend([r, t, t * o.c]);
            points.extend([o.u, o.v, o.s]);
        }
        if let Some(first) = fixed.first_mut() {
            *first = base;
        }
        scalars.push(at_input);
        points.push(input.point);
        self.tables().vartime_mixed_multiscalar_mul(&fixed, &scalars, &points).is_identity()
    }

    fn interpolate(&self, shares: &[(u16, RistrettoPoint)]) -> Option<Output> {
        let indices: Vec<u16> = shares.iter().map(|(index, _)| *index).collect();
        let coefficients = self.inverses().coefficients(&indices)?;
        // Variable time in the coefficients alone, and those are public.
        let sum = RistrettoPoint::vartime_multiscalar_mul(&coefficients, shares.iter().map(|(_, point)| point));
        Some(Output::new(self.role(), sum))
    }
}

/// Commits to every proof: a challenge commits to all of an evaluation but its response.
fn batch_seed(opened: &[Opened]) -> [u8; 64] {
    let parts: Vec<&[u8]> = opened.iter().flat_map(|o| [o.c.as_bytes().as_slice(), o.z.as_bytes()]).collect();
    digest_wide("batch", "seed", &parts)
}

/// Two 128-bit coefficients for the proof at this position.
fn batch_coefficients(seed: &[u8; 64], position: usize) -> (Scalar, Scalar) {
    let wide = digest_wide("batch", "coefficients", &[seed, &(position as u64).to_be_bytes()]);
    let (first, rest) = wide.split_first_chunk::<16>().expect("64 bytes hold 16");
    let (second, _) = rest.split_first_chunk::<16>().expect("48 bytes hold 16");
    (Scalar::from(u128::from_le_bytes(*first)), Scalar::from(u128::from_le_bytes(*second)))
}

fn has_duplicate(evaluations: &[(u16, &Evaluation)]) -> bool {
    let mut indices: Vec<u16> = evaluations.iter().map(|(index, _)| *index).collect();
    indices.sort_unstable();
    indices.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
}
