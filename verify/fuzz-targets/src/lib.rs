//! What fuzzing looks for in Ringfort.
//!
//! Each target is a plain function of bytes that panics when a promise is broken: what decodes encodes to the
//! same bytes, memory is bounded by the input, nothing is forged, honest state is unharmed. The same functions
//! run under libFuzzer (the folder `fuzz/`) and, on a kept corpus and seeded mutations of it, in the tests of
//! this crate on the stable toolchain. `docs/fuzzing.md` says what each looks for and what has been run.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

mod files;
mod fixture;
mod leader_ops;
mod member_ops;
mod meter;
mod mutate;
mod peer;
mod proofs;
mod seeds;
mod stage;
mod store;
mod ttcb;
mod wire;

pub use files::{enrolment, group_file, leader_secrets, operator_request, policy_file, user_files};
pub use leader_ops::leader_ops;
pub use member_ops::member_ops;
pub use mutate::mutations;
pub use peer::{peer_frame, peer_site, spread_session};
pub use proofs::proofs;
pub use seeds::seeds;
pub use store::store;
pub use ttcb::ttcb;
pub use wire::{data_frame, loose_for_testing_only, wire};

/// One fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of the function, of its binary in `fuzz/` and of its folder of corpus files.
    pub name: &'static str,
    /// The body.
    pub run: fn(&[u8]),
    /// The longest input that says anything new, in bytes.
    pub input_bytes_max: usize,
    /// Mutations of each corpus file in the bounded run of the tests.
    pub mutations: usize,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "wire", run: wire, input_bytes_max: 8192, mutations: 40 },
    Target { name: "data_frame", run: data_frame, input_bytes_max: 4096, mutations: 40 },
    Target { name: "group_file", run: group_file, input_bytes_max: 8192, mutations: 10 },
    Target { name: "policy_file", run: policy_file, input_bytes_max: 4096, mutations: 40 },
    Target { name: "leader_secrets", run: leader_secrets, input_bytes_max: 4096, mutations: 20 },
    Target { name: "enrolment", run: enrolment, input_bytes_max: 4096, mutations: 20 },
    Target { name: "user_files", run: user_files, input_bytes_max: 4096, mutations: 40 },
    Target { name: "operator_request", run: operator_request, input_bytes_max: 4096, mutations: 40 },
    Target { name: "proofs", run: proofs, input_bytes_max: 8192, mutations: 40 },
    Target { name: "store", run: store, input_bytes_max: 2048, mutations: 4 },
    Target { name: "leader_ops", run: leader_ops, input_bytes_max: 2048, mutations: 1 },
    Target { name: "member_ops", run: member_ops, input_bytes_max: 2048, mutations: 1 },
    Target { name: "peer_frame", run: peer_frame, input_bytes_max: 4096, mutations: 20 },
    Target { name: "peer_site", run: peer_site, input_bytes_max: 65_536, mutations: 40 },
    Target { name: "spread_session", run: spread_session, input_bytes_max: 4096, mutations: 40 },
    Target { name: "ttcb", run: ttcb, input_bytes_max: 2048, mutations: 20 },
];

/// A target by its name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
