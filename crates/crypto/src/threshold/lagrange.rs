//! Lagrange coefficients at zero, without inverting anything at run time.
//!
//! `b_i = prod_{j != i} j / (j - i)` has only small differences in its denominators, so the inverses of
//! `1 ..= n`, computed once in a batch, give every coefficient by multiplication.

use curve25519_dalek::Scalar;

/// The inverses of `1 ..= n` in the scalar field.
#[derive(Clone)]
pub(super) struct Inverses(Vec<Scalar>);

impl Inverses {
    pub(super) fn up_to(n: u16) -> Self {
        let mut inverses: Vec<Scalar> = (1..=n).map(Scalar::from).collect();
        Scalar::invert_batch_alloc(&mut inverses); // every entry is nonzero: n is far below the group order
        Self(inverses)
    }

    /// `1 / k`, for `1 <= k <= n`.
    fn of(&self, k: u16) -> Option<&Scalar> {
        self.0.get(usize::from(k).checked_sub(1)?)
    }

    /// `b_i` for each of `indices`, in order. `None` if two are equal, or one is 0 or above `n`.
    pub(super) fn coefficients(&self, indices: &[u16]) -> Option<Vec<Scalar>> {
        indices.iter().map(|&i| self.coefficient(i, indices)).collect()
    }

    fn coefficient(&self, i: u16, indices: &[u16]) -> Option<Scalar> {
        self.of(i)?;
        let mut seen_itself = false;
        let mut b = Scalar::ONE;
        for &j in indices {
            if j == i {
                if seen_itself {
                    return None;
                }
                seen_itself = true;
                continue;
            }
            let over = Scalar::from(j) * self.of(j.abs_diff(i))?;
            b *= if j > i { over } else { -over };
        }
        Some(b)
    }

    /// Coefficients of a check that points `1 ..= n` in the exponent lie on a polynomial of degree below
    /// `threshold`: `q(i) / prod_{j != i} (i - j)`, for the `q` given by `n - threshold` coefficients.
    ///
    /// Source: the dual code of Reed-Solomon, as in SCRAPE (Cascudo, David 2017) §2.1.
    pub(super) fn degree_check(&self, q: &[Scalar]) -> Vec<Scalar> {
        let n = self.0.len();
        let mut inverse_factorials = Vec::with_capacity(n + 1);
        let mut last = Scalar::ONE;
        inverse_factorials.push(last);
        for inverse in &self.0 {
            last *= inverse;
            inverse_factorials.push(last);
        }
        // Position i - 1 has (i - 1)! below it and (-1)^(n - i) (n - i)! above it.
        (0..n)
            .zip(inverse_factorials.iter().zip(inverse_factorials.iter().take(n).rev()))
            .map(|(below, (low, high))| {
                let x = Scalar::from(below as u64 + 1);
                let value = q.iter().rev().fold(Scalar::ZERO, |sum, a| sum * x + a) * low * high;
                if (n - 1 - below).is_multiple_of(2) { value } else { -value }
            })
            .collect()
    }
}
