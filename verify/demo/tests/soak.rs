//! The soak in a short form: one fault after the other, members that come and go, every promise kept.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use ringfort_attack::soak::{SoakArgs, play};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_fault_after_the_other_breaks_no_promise() {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_ringfort-demo"));
    let report = play(&SoakArgs { minutes: 0.75, seed: 1, json: false, keep: false }, program).await.unwrap();
    eprintln!("{report}");
    assert!(report.is_good(), "{report}");
    // How many there are in that time depends on how soon all is well again, so on the machine.
    assert!(report.faults.values().map(|kind| kind.count).sum::<u64>() >= 2, "{report}");
    assert!(report.joins.count > 0 && report.leaves > 0 && report.sent > 100, "{report}");
}
