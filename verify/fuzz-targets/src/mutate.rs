//! Changes to bytes: those that an input describes, and those that a seed draws.

use arbitrary::Arbitrary;
use bytes::Bytes;
use rand_core::Rng;

use crate::fixture::rng;

/// How a frame is changed on its way, if at all.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Alteration {
    /// Not at all: a replay.
    None,
    /// One byte.
    Byte(u16, u8),
    /// It ends early.
    Cut(u16),
    /// It is followed by this many bytes of this value.
    Longer(u8, u8),
    /// Eight bytes become this number: counters and lengths.
    Number(u16, u64),
}

impl Alteration {
    /// The changed frame.
    pub fn of(self, frame: &Bytes) -> Bytes {
        let mut bytes = frame.to_vec();
        match self {
            Alteration::None => return frame.clone(),
            Alteration::Byte(at, with) => {
                let at = usize::from(at).checked_rem(bytes.len()).unwrap_or(0);
                bytes.iter_mut().skip(at).take(1).for_each(|b| *b ^= with);
            }
            Alteration::Cut(at) => bytes.truncate(usize::from(at).checked_rem(bytes.len()).unwrap_or(0)),
            Alteration::Longer(count, value) => bytes.extend(std::iter::repeat_n(value, count.into())),
            Alteration::Number(at, number) => {
                let at = usize::from(at).checked_rem(bytes.len()).unwrap_or(0);
                bytes.iter_mut().skip(at).zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
            }
        }
        bytes.into()
    }
}

/// `count` changed forms of an input, the same each time.
pub fn mutations(input: &[u8], seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut chance = rng(seed);
    let mut below = |bound: usize| usize::try_from(chance.next_u64() % bound.max(1) as u64).unwrap_or(0);
    let mut made = Vec::with_capacity(count);
    for _ in 0..count {
        let mut bytes = input.to_vec();
        for _ in 0..=below(3) {
            let (at, value) = (below(bytes.len()), u8::try_from(below(256)).unwrap_or(0));
            match below(6) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), value),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => bytes.iter_mut().skip(at).take(1).for_each(|b| *b ^= 1 << (value % 8)),
                4 => bytes.iter_mut().skip(at).take(4).for_each(|b| *b = 0xff),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|b| *b = value),
            }
        }
        made.push(bytes);
    }
    made
}
