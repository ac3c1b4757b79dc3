//! Hostile load on real leaders, a short version: bounded memory, and honest members that join and talk.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use ringfort_attack::load::{Flood, LoadArgs, play};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_stay_within_their_bounds_and_the_honest_go_on() {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_ringfort-demo"));
    let args = LoadArgs { json: false, seconds: 2, connections: 1_200, kinds: Flood::ALL.to_vec() };
    let report = play(&args, program).await.unwrap();
    eprintln!("{report}");
    assert!(report.held, "{report}");
    for case in report.cases.iter().filter(|case| case.kind != "calm") {
        assert!(case.attempts > 0 && case.joins.count > 0 && case.messages.count > 0, "{case:?}");
    }
}
