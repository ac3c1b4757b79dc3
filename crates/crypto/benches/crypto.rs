//! What each operation costs, and beside it, as `floor`, the bare curve or cipher operations it cannot do without.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use curve25519_dalek::ristretto::{CompressedRistretto, VartimeRistrettoPrecomputation};
use curve25519_dalek::traits::{VartimeMultiscalarMul, VartimePrecomputedMultiscalarMul};
use curve25519_dalek::{RistrettoPoint, Scalar, constants::RISTRETTO_BASEPOINT_POINT};
use ed25519_dalek::Signer;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use ringfort_crypto::Secret32;
use ringfort_crypto::aead::AeadKey;
use ringfort_crypto::kem::{KemSecret, seal_to};
use ringfort_crypto::login_key::UserKey;
use ringfort_crypto::oprf::OprfClient;
use ringfort_crypto::set_hash::SetHash;
use ringfort_crypto::sign::SigningKey;
use ringfort_crypto::threshold::{Evaluation, InputPoint, KeyRole, PublicKeySet, deal};

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

/// A 128-bit coefficient, as a batch check uses.
fn half_scalar(rng: &mut ChaCha20Rng) -> Scalar {
    Scalar::from(u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64()))
}

fn evaluated(f: u16) -> (PublicKeySet, InputPoint, Vec<(u16, Evaluation)>) {
    let (keys, shares) = deal(KeyRole::GroupKey, 3 * f + 1, f + 1, &mut rng()).unwrap();
    let input = InputPoint::hash(KeyRole::GroupKey, &[b"view"]);
    let all = shares.iter().take(usize::from(f) + 1);
    (keys, input, all.map(|s| (s.index(), s.evaluate(&input, &mut rng()))).collect())
}

/// The points and scalars of a batch check of `count` shares among `n`, without the hashing.
struct BatchFloor {
    compressed: Vec<CompressedRistretto>,
    input: RistrettoPoint,
    tables: VartimeRistrettoPrecomputation,
    fixed: Vec<Scalar>,
    scalars: Vec<Scalar>,
    lagrange: Vec<Scalar>,
}

impl BatchFloor {
    fn new(n: usize, count: usize) -> Self {
        let rng = &mut rng();
        let points: Vec<RistrettoPoint> = (0..=n).map(|_| RistrettoPoint::random(rng)).collect();
        let mut scalars = Vec::new();
        for _ in 0..count {
            scalars.extend([half_scalar(rng), half_scalar(rng), Scalar::random(rng)]);
        }
        scalars.push(Scalar::random(rng));
        Self {
            compressed: (0..3 * count).map(|_| RistrettoPoint::random(rng).compress()).collect(),
            input: RistrettoPoint::random(rng),
            tables: VartimeRistrettoPrecomputation::new(&points),
            fixed: (0..=count).map(|_| Scalar::random(rng)).collect(),
            scalars,
            lagrange: (0..count).map(|_| Scalar::random(rng)).collect(),
        }
    }

    fn verify(&self) -> RistrettoPoint {
        let mut points: Vec<RistrettoPoint> = self.compressed.iter().map(|c| c.decompress().unwrap()).collect();
        points.push(self.input);
        self.tables.vartime_mixed_multiscalar_mul(&self.fixed, &self.scalars, &points)
    }

    fn combine(&self, decompress_again: bool) -> CompressedRistretto {
        let count = self.lagrange.len();
        let sum = if decompress_again {
            let points = self.compressed[..count].iter().map(|c| c.decompress().unwrap());
            RistrettoPoint::vartime_multiscalar_mul(&self.lagrange, points.collect::<Vec<_>>())
        } else {
            RistrettoPoint::vartime_multiscalar_mul(&self.lagrange, vec![self.input; count])
        };
        sum.compress()
    }
}

fn threshold(c: &mut Criterion) {
    let mut group = c.benchmark_group("share_and_proof");
    let (_, shares) = deal(KeyRole::GroupKey, 4, 2, &mut rng()).unwrap();
    let input = InputPoint::hash(KeyRole::GroupKey, &[b"view"]);
    let mut r = rng();
    group.bench_function("evaluate", |b| b.iter(|| shares[0].evaluate(black_box(&input), &mut r)));
    let (point, x, y) = (RistrettoPoint::random(&mut r), Scalar::random(&mut r), Scalar::random(&mut r));
    group.bench_function("floor", |b| {
        b.iter(|| {
            let points = [black_box(point) * x, RistrettoPoint::mul_base(&y), point * y];
            RistrettoPoint::double_and_compress_batch(&points)
        });
    });
    group.finish();

    for f in [1u16, 2, 5] {
        let (keys, input, evaluations) = evaluated(f);
        let refs: Vec<(u16, &Evaluation)> = evaluations.iter().map(|(i, e)| (*i, e)).collect();
        let floor = BatchFloor::new(usize::from(3 * f + 1), usize::from(f) + 1);
        let mut group = c.benchmark_group(format!("f{f}"));
        if f == 1 {
            let single = BatchFloor::new(4, 1);
            group.bench_function("verify_one", |b| b.iter(|| keys.verify(1, black_box(&input), refs[0].1)));
            group.bench_function("verify_one/floor", |b| b.iter(|| single.verify()));
        }
        group.bench_function("verify_batch", |b| b.iter(|| keys.verify_batch(black_box(&input), &refs)));
        group.bench_function("verify_batch/floor", |b| b.iter(|| floor.verify()));
        group.bench_function("combine_and_key", |b| {
            b.iter(|| keys.combine(black_box(&input), &refs).unwrap().key("bench", &[]));
        });
        group.bench_function("combine_and_key/floor", |b| b.iter(|| floor.combine(true)));
        group.bench_function("verify_and_combine_and_key", |b| {
            b.iter(|| keys.verify_and_combine(black_box(&input), &refs).unwrap().key("bench", &[]));
        });
        group.bench_function("verify_and_combine_and_key/floor", |b| {
            b.iter(|| (floor.verify(), floor.combine(false)));
        });
        let bytes = keys.to_bytes();
        group.bench_function("read_public_keys", |b| {
            b.iter(|| PublicKeySet::from_bytes(KeyRole::GroupKey, f + 1, black_box(&bytes)));
        });
        group.finish();
    }
}

fn hashing(c: &mut Criterion) {
    let mut group = c.benchmark_group("hash");
    group.bench_function("input_point", |b| {
        b.iter(|| InputPoint::hash(KeyRole::GroupKey, black_box(&[b"a view digest of 32 bytes or so.."])));
    });
    group.bench_function("input_point/floor", |b| {
        b.iter(|| RistrettoPoint::from_uniform_bytes(black_box(&[7; 64])).compress());
    });
    let element = SetHash::element(b"member");
    let mut set = SetHash::default();
    group.bench_function("set_element", |b| b.iter(|| SetHash::element(black_box(b"member"))));
    group.bench_function("set_add", |b| b.iter(|| set.add(black_box(&element))));
    group.bench_function("set_digest", |b| b.iter(|| black_box(&set).digest()));
    let mut sum = RISTRETTO_BASEPOINT_POINT;
    group.bench_function("set_add/floor", |b| b.iter(|| sum += black_box(RISTRETTO_BASEPOINT_POINT)));
    group.bench_function("set_digest/floor", |b| b.iter(|| black_box(&sum).compress()));
    group.finish();
}

fn sealing(c: &mut Criterion) {
    let key = AeadKey::new(&Secret32::new([1; 32]));
    let bare = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[1; 32]).unwrap());
    let aad = [3; 64];
    let mut group = c.benchmark_group("aead");
    for bytes in [100, 1024, 16 * 1024] {
        let plaintext = vec![5; bytes];
        let mut out = Vec::with_capacity(bytes + 16);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("seal", bytes), |b| {
            b.iter(|| {
                out.clear();
                key.seal_append(&[2; 12], &aad, black_box(&plaintext), &mut out);
            });
        });
        let sealed = key.seal(&[2; 12], &aad, &plaintext);
        group.bench_function(BenchmarkId::new("open", bytes), |b| {
            b.iter(|| key.open(&[2; 12], &aad, black_box(&sealed)));
        });
        let mut buffer = plaintext.clone();
        group.bench_function(BenchmarkId::new("seal/floor", bytes), |b| {
            b.iter(|| {
                let nonce = Nonce::assume_unique_for_key([2; 12]);
                bare.seal_in_place_separate_tag(nonce, Aad::from(&aad), black_box(&mut buffer))
            });
        });
        let (body, tag) = sealed.split_at(bytes);
        group.bench_function(BenchmarkId::new("open/floor", bytes), |b| {
            b.iter(|| {
                let nonce = Nonce::assume_unique_for_key([2; 12]);
                bare.open_separate_gather(nonce, Aad::from(&aad), body, tag, black_box(&mut buffer))
            });
        });
    }
    group.finish();
}

fn public_key(c: &mut Criterion) {
    let mut group = c.benchmark_group("public_key");
    let key = SigningKey::generate(&mut rng());
    let public = key.verifying_key();
    let message = [9; 200];
    let signature = key.sign("bench", &[&message]);
    let bare = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
    let bare_signature = bare.sign(&message);
    group.bench_function("sign", |b| b.iter(|| key.sign("bench", &[black_box(&message)])));
    group.bench_function("sign/floor", |b| b.iter(|| bare.sign(black_box(&message))));
    group.bench_function("verify", |b| b.iter(|| public.verify("bench", &[black_box(&message)], &signature)));
    group.bench_function("verify/floor", |b| {
        b.iter(|| bare.verifying_key().verify_strict(black_box(&message), &bare_signature));
    });
    let kem = KemSecret::generate(&mut rng());
    let mut r = rng();
    group.bench_function("seal_to", |b| b.iter(|| seal_to(&kem.public(), b"", b"", black_box(&message), &mut r)));
    group.bench_function("agree", |b| b.iter(|| kem.agree(black_box(&kem.public()), "bench", &[])));
    group.finish();
}

/// A password login: what each side adds to it, for 4 leaders and for 13.
fn login(c: &mut Criterion) {
    let mut group = c.benchmark_group("login");
    let mut r = rng();
    group.bench_function("blind", |b| b.iter(|| OprfClient::blind(black_box(b"password"), &mut r)));
    for (n, threshold) in [(4, 2), (13, 5)] {
        let (keys, shares) = deal(KeyRole::Login, n, threshold, &mut rng()).unwrap();
        let (client, blinded) = OprfClient::blind(b"password", &mut r).unwrap();
        let evaluations: Vec<_> =
            shares.iter().map(|share| (share.index(), share.evaluate_blinded(&blinded, &mut r).unwrap())).collect();
        let evaluations: Vec<_> = evaluations.iter().map(|(index, evaluation)| (*index, evaluation)).collect();
        let id = |what: &str| BenchmarkId::new(what, format!("{threshold} of {n}"));
        group.bench_function(id("evaluate"), |b| b.iter(|| shares[0].evaluate_blinded(black_box(&blinded), &mut r)));
        group.bench_function(id("announced key"), |b| {
            b.iter(|| PublicKeySet::from_announced(KeyRole::Login, n, black_box(&keys.announced())));
        });
        group.bench_function(id("finalize"), |b| b.iter(|| client.finalize(&keys, black_box(&evaluations))));
        group.bench_function(id("deal"), |b| b.iter(|| UserKey::deal(n, threshold, &mut r)));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(40)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(800));
    targets = threshold, hashing, sealing, public_key, login
}
criterion_main!(benches);
