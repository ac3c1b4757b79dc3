//! Every target on its kept corpus, its seeds and seeded mutations of both: bounded, and on the stable toolchain.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ringfort_fuzz_targets::{TARGETS, mutations, seeds, target};

/// Memory is counted for the whole process, so targets take turns.
static TURN: Mutex<()> = Mutex::new(());

/// A debug build on a slow machine stops here; what is left is for `cargo xtask fuzz`.
const TIME_MAX: Duration = Duration::from_secs(3);

/// Inputs of one target that always run, however slow the machine.
const INPUTS_MIN: usize = 10;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn replay(name: &str) {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let target = target(name).unwrap();
    let kept = corpus(name);
    assert!(!kept.is_empty(), "there is no corpus of {name}");
    let (start, mut ran) = (Instant::now(), 0);
    let mut run = |input: &[u8]| {
        if ran < INPUTS_MIN || start.elapsed() < TIME_MAX {
            ran += 1;
            let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
            assert!(outcome.is_ok(), "{name} fails on the {} bytes {}", input.len(), hex(input));
        }
    };
    let inputs: Vec<Vec<u8>> = kept.into_iter().chain(seeds(name)).collect();
    inputs.iter().for_each(|input| run(input));
    for (number, input) in inputs.iter().enumerate() {
        mutations(input, number as u64, target.mutations).iter().for_each(|mutation| run(mutation));
    }
    println!("{name}: {ran} inputs in {:?}", start.elapsed());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

macro_rules! smoke {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_tried() {
            let tried = [$(stringify!($name)),*];
            assert!(TARGETS.iter().all(|target| tried.contains(&target.name)));
            assert_eq!(TARGETS.len(), tried.len());
        }
    };
}

smoke! {
    wire, data_frame, group_file, policy_file, leader_secrets, enrolment, user_files, operator_request, proofs, store,
    leader_ops, member_ops, peer_frame, peer_site, spread_session, ttcb,
}

#[test]
fn every_target_has_its_shim_and_no_shim_is_without_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    let mut shims: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut names: Vec<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    shims.sort();
    names.sort();
    assert_eq!(shims, names);
}

#[test]
fn a_decoder_that_takes_two_encodings_of_one_value_is_noticed() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    ringfort_fuzz_targets::loose_for_testing_only(&[7]);
    assert!(catch_unwind(|| ringfort_fuzz_targets::loose_for_testing_only(&[0x87])).is_err());
}
