//! Single operations of the threshold key (B2–B4).

use std::hint::black_box;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use ringfort_crypto::threshold::{Evaluation, InputPoint, KeyRole, deal};

use crate::floor::Floor;
use crate::row::{Options, Row, median};

/// Share with proof, verification of one and of f+1, combination, at n = 4 and n = 7.
pub fn measure(options: &Options) -> Vec<Row> {
    [(4u16, 1u16), (7, 2)].into_iter().flat_map(|(n, f)| measure_size(options, n, f)).collect()
}

fn measure_size(options: &Options, n: u16, f: u16) -> Vec<Row> {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let mut floor = Floor::new(options.repeats);
    let Ok((keys, shares)) = deal(KeyRole::GroupKey, n, f + 1, &mut rng) else { return Vec::new() };
    let point = InputPoint::hash(KeyRole::GroupKey, &[b"a view"]);
    let evaluations: Vec<(u16, Evaluation)> =
        shares.iter().map(|s| (s.index(), s.evaluate(&point, &mut rng))).collect();
    let enough: Vec<(u16, &Evaluation)> = evaluations.iter().take(usize::from(f) + 1).map(|(i, e)| (*i, e)).collect();
    let (Some(share), Some((index, evaluation))) = (shares.first(), enough.first()) else { return Vec::new() };

    let repeats = options.repeats;
    let made = median(repeats, || {
        let point = InputPoint::hash(KeyRole::GroupKey, &[b"a view"]);
        share.evaluate(&point, &mut rng)
    });
    let one = median(repeats, || keys.verify(*index, &point, black_box(evaluation)));
    let batch = median(repeats, || keys.verify_batch(&point, black_box(&enough)));
    let combined = median(repeats, || keys.combine(&point, black_box(&enough)));

    let t = enough.len();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let read = floor.decompress();
    let one_floor = read * 3 + floor.sum(2, 4);
    let batch_floor = read * count(3 * t) + floor.sum(1 + t, 1 + 3 * t);
    let combine_floor = read * count(t) + floor.sum(0, t);
    vec![
        Row::time(format!("n={n}: share and proof"), made, Some(floor.share())),
        Row::time(format!("n={n}: verify one share"), one, Some(one_floor)),
        Row::time(format!("n={n}: verify {t} shares at once"), batch, Some(batch_floor)),
        Row::time(format!("n={n}: combine {t} shares"), combined, Some(combine_floor)),
    ]
}
