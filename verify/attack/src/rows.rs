//! Every row of the list of attacks, and what became of it. No row is missing, and none is empty.
//!
//! K1 to K46 are the flaws that seed 003 finds in Antigone and in Enclaves 2.0, in the paper's order; the gaps
//! are those of the other papers; J6 and L1 to L9 are attacks and assumptions that the papers state.

use serde::Serialize;

/// A row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in the list.
    pub id: &'static str,
    /// The flaw in a few words.
    pub flaw: &'static str,
    /// Where the paper states it.
    pub source: &'static str,
    /// What became of it.
    pub end: End,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// Scenarios that name it are refused.
    Refused,
    /// The design has no place for it: why, and what shows it.
    Structural(&'static str, &'static [Shown]),
    /// It is no attack on a group like this: why.
    NotApplicable(&'static str),
    /// It belongs to a part that is not built: which.
    NotYet(&'static str),
}

/// What shows that a row has no place here.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shown {
    /// A file of this workspace.
    pub file: &'static str,
    /// What stands in it: a test's name, or a sentence.
    pub text: &'static str,
}

const fn shown(file: &'static str, text: &'static str) -> Shown {
    Shown { file, text }
}

const fn refused(id: &'static str, source: &'static str, flaw: &'static str) -> Row {
    Row { id, flaw, source, end: End::Refused }
}

const fn structural(
    id: &'static str,
    source: &'static str,
    flaw: &'static str,
    why: &'static str,
    by: &'static [Shown],
) -> Row {
    Row { id, flaw, source, end: End::Structural(why, by) }
}

const fn not_yet(id: &'static str, source: &'static str, flaw: &'static str, what: &'static str) -> Row {
    Row { id, flaw, source, end: End::NotYet(what) }
}

const fn not_applicable(id: &'static str, source: &'static str, flaw: &'static str, why: &'static str) -> Row {
    Row { id, flaw, source, end: End::NotApplicable(why) }
}

/// The row with this id.
pub fn named(id: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.id == id)
}

/// All rows.
pub const ROWS: &[Row] = &[
    structural(
        "K1",
        "seed 003 §2.1",
        "double encryption that nobody explains",
        "a message is sealed once, by one AEAD under one key, and leaders relay it as it is",
        &[
            shown("crates/protocol/src/data/tests/vectors.rs", "fn frames_are_as_recorded"),
            shown("crates/protocol/src/data/tests/channel.rs", "fn every_mode_round_trips_and_hides_what_it_should"),
        ],
    ),
    refused("K2", "seed 003 §2.1", "messages can be replayed"),
    refused("K3", "seed 003 §2.1", "origin authentication is not implemented"),
    refused("K4", "seed 003 §2.2.1", "a reply does not name the user: substitution"),
    structural(
        "K5",
        "seed 003 §2.2.1",
        "a pair key that serves no purpose",
        "no third party deals keys: two parties share the secret of one hybrid key exchange",
        &[shown("crates/link/src/tests/handshake.rs", "fn the_key_exchange_is_hybrid_and_the_version_1_3")],
    ),
    refused("K6", "seed 003 §2.2.1", "one key for all sessions: a leak means masquerade"),
    refused("K7", "seed 003 §2.2.3", "which copy of a value is authenticated is easily mistaken"),
    refused("K8", "seed 003 §2.2.3", "whoever holds the group key alters the sequence number"),
    refused("K9", "seed 003 §2.2.3", "the first key may be old"),
    refused("K10", "seed 003 §2.2.3", "how a join is announced is not described"),
    refused("K11", "seed 003 §2.2.3", "a rekey can be replayed, even across sessions"),
    refused("K12", "seed 003 §2.2.4", "a request to leave is hardly fresh"),
    refused("K13", "seed 003 §2.2.4", "a request to eject, under the key of all"),
    refused("K14", "seed 003 §2.2.4", "no rekey after a leave or an ejection"),
    refused("K15", "seed 003 §2.2.5", "a leader's heartbeat can be replayed and hides its crash"),
    refused("K16", "seed 003 §2.2.5", "drop rekeys, replay heartbeats: the old key is kept"),
    refused("K17", "seed 003 §2.2.5", "a counter in the heartbeat: collect and replay"),
    refused("K18", "seed 003 §2.2.5", "a member's heartbeat is not fresh"),
    refused("K19", "seed 003 §2.2.5", "a request for the key is in clear and stale"),
    refused("K20", "seed 003 §2.2.5", "the rules of the sequence number are not given"),
    structural(
        "K21",
        "seed 003 §2.3",
        "the goals of the protocols are not stated",
        "every module states its contract, and the compiler asks for it on every public item",
        &[
            shown("Cargo.toml", "missing_docs = \"warn\""),
            shown(".ci/run", "lint cargo test --workspace"),
            shown("ARCHITECTURE.md", "Inside `crates/protocol/src`"),
        ],
    ),
    refused("K22", "seed 003 §2.3", "interactions between protocols are not checked"),
    refused("K23", "seed 003 §3.2.1", "a refusal before authentication can be forged"),
    refused("K24", "seed 003 §3.1.1", "multicast can be replayed"),
    refused("K25", "seed 003 §3.1.1", "any member forges any sender"),
    refused("K26", "seed 003 §3.1.1", "integrity only if data is not random"),
    refused("K27", "seed 003 §3.1.1", "identities, time and number were dropped from messages"),
    refused("K28", "seed 003 §3.1.2", "private messages can be replayed"),
    refused("K29", "seed 003 §3.1.2", "the leader encrypts private messages again"),
    structural(
        "K30",
        "seed 003 §3.1.2",
        "the code does not do what the document says",
        "golden vectors fix every message and frame, and the documents name the code",
        &[
            shown("crates/protocol/tests/wire/golden.rs", "fn messages_are_as_recorded"),
            shown("crates/protocol/src/data/tests/vectors.rs", "fn frames_are_as_recorded"),
        ],
    ),
    structural(
        "K31",
        "seed 003 §3.2.1",
        "m messages to list m members",
        "the claim of a view holds its list or names its digest, and a long list comes in parts of 1024",
        &[
            shown("verify/attack/tests/simulated.rs", "fn a_list_of_members_comes_in_one_claim"),
            shown("crates/protocol/src/keys/tests/content.rs", "fn a_long_list_comes_in_parts"),
        ],
    ),
    refused("K32", "seed 003 §3.2.1", "mem_added is as fresh as the group key"),
    refused("K33", "seed 003 §3.2.2", "new_key can be replayed across sessions"),
    refused("K34", "seed 003 §3.2.3", "a forged req_close evicts a member"),
    refused("K35", "seed 003 §3.2.3", "mem_removed is not fresh"),
    refused("K36", "seed 003 §3.2.3", "a forged close_connection \"expels\""),
    refused("K37", "seed 003 §3.2.3", "a rekey on removal is optional"),
    refused("K38", "seed 003 §3.3", "no mode of integrity only"),
    refused("K39", "seed 003 §3.2", "the leader knows the passwords"),
    refused("K40", "seed 003 §3.2", "no failure detection"),
    refused("K41", "seed 003 §1.2, §4", "the leader is a single point of failure"),
    refused("K42", "seed 003 §1.2, §4", "nothing checks a leader's abuse"),
    not_yet("K43", "seed 003 §1.2", "a star does not scale", "an overlay of leaders and relays"),
    refused("K44", "seed 003 §4", "misbehaviour is not detected"),
    refused("K45", "seed 003 §1.1", "reliable multicast does not resist attacks"),
    refused("K46", "seed 003 §1.2", "systems based on agreement are complex and slow"),
    structural(
        "gap-cascading",
        "seed 004 §5.4, §8",
        "events in the middle of a rekey are not handled",
        "a new view of the sites drops whatever was under way, and nothing of another view ever reaches a key protocol",
        &[
            shown("crates/peer-keys/tests/secure/exhaustive.rs", "fn a_fault_at_every_move_of_a_join"),
            shown("crates/peer-keys/tests/secure/seeds.rs", "fn whatever_happens_to_a_tree_the_properties_hold"),
            shown(
                "crates/cli/tests/sites/cascades.rs",
                "fn every_part_of_a_network_has_one_key_soon_after_seconds_of_cascades",
            ),
        ],
    ),
    refused("gap-daemons", "seed 004 §5, §8", "the daemons are trusted"),
    refused("gap-membership", "seed 004 §5.4", "membership events are not authenticated"),
    structural(
        "gap-ckd",
        "seed 004 §5.4",
        "CKD does not authenticate members",
        "members sign the fresh keys that they bring, and the controller what it seals, over group, view and member list",
        &[
            shown("crates/peer-keys/tests/secure/attacks.rs", "fn a_stranger_stays_out_and_the_others_go_on"),
            shown(
                "crates/peer-keys/src/keys/ckd/tests.rs",
                "fn each_member_opens_its_own_part_and_nobody_elses_and_only_from_the_controller",
            ),
            shown(
                "crates/peer-keys/tests/secure/members.rs",
                "fn a_controller_that_seals_garbage_for_one_member_loses_its_place_and_not_that_member",
            ),
        ],
    ),
    structural(
        "gap-dealer",
        "seed 002 §3.3",
        "the dealer is trusted",
        "the leaders' machines make the keys together, and none ever holds what belongs to two; a dealer is a choice",
        &[
            shown("crates/cli/tests/cli/setup.rs", "fn four_bare_machines_become_a_group_that_talks"),
            shown("crates/setup/src/tests/hostile.rs", "fn a_bad_share_to_one_is_proven_to_all"),
        ],
    ),
    refused("gap-flooding", "seed 000 §5", "denial of service is not studied"),
    refused("gap-guessing", "seed 002 §3.1", "one leader or an eavesdropper can guess a password offline"),
    refused("gap-origin", "seed 002 §2.1", "members can forge each other"),
    refused("gap-figure-3", "seed 002 Figure 3", "concurrent joins stall"),
    structural(
        "gap-ciphers",
        "seeds 003, 004",
        "DES, 3DES, MD5, SHA-1, 512-bit Diffie-Hellman",
        "one suite, of AES-256-GCM, SHA-256, Ed25519, ristretto255, X25519 and ML-KEM",
        &[
            shown("crates/crypto/Cargo.toml", "curve25519-dalek"),
            shown("verify/attack/tests/rows.rs", "fn no_broken_cipher_is_a_dependency_of_production"),
        ],
    ),
    refused("gap-ring", "seed 004 §2, §5", "datagrams between daemons can be forged and replayed"),
    structural(
        "gap-one-way",
        "seed 004 §2",
        "a link that works one way ends rings for ever",
        "sites tell each other whom they hear, and the largest set that hears itself both ways forms the ring",
        &[
            shown(
                "verify/peer-sim/tests/ring/pitfalls.rs",
                "fn a_link_that_works_one_way_leaves_two_sites_in_a_ring_that_stands",
            ),
            shown("verify/peer-sim/tests/ring/pitfalls.rs", "fn three_sites_with_one_link_down_are_usable"),
        ],
    ),
    refused("gap-site-key", "seed 004 §2, §5", "a machine with another key takes a daemon's place"),
    refused("gap-client-bytes", "seed 004 §2", "a client's bytes crash or block its daemon"),
    refused(
        "gap-half-setup",
        "seed 002 §3.3",
        "keys made without a dealer: one machine finishes, and the others never can",
    ),
    refused("gap-old-start", "seed 002 §3.3", "keys made without a dealer: old words make the honest name each other"),
    structural(
        "gap-names",
        "seed 002 §3.1; seed 003 §3.2",
        "what leaders answer tells which names are registered",
        "names are no secret: leaders say whom they do not know and make nothing up; whether somebody is in is not told",
        &[
            shown("docs/decisions/15-every-user-has-a-login-key.md", "**Names are no secret.**"),
            shown(
                "crates/protocol/src/login/tests/hardening.rs",
                "fn for_a_name_without_a_password_nothing_is_evaluated_and_nothing_is_counted",
            ),
            shown("verify/sim/src/attacks/alone.rs", "\"stays-told-to-strangers\""),
        ],
    ),
    structural(
        "gap-sandbox",
        "seed 000 §3.1; seed 001 §2",
        "a process that was taken over changes what its next start believes, and so leaves its sandbox",
        "what a leader writes lies apart from what it trusts, and a program or file that it could write is refused",
        &[
            shown(
                "crates/daemon/src/sandbox/tests.rs",
                "fn whoever_is_inside_changes_nothing_that_the_next_start_believes",
            ),
            shown("crates/daemon/src/places.rs", "fn what_a_leader_trusts_lies_apart_from_what_it_writes"),
        ],
    ),
    structural(
        "gap-slow-member",
        "seed 000 §5",
        "one member that reads slowly sets everybody's pace",
        "what one receiver may hold up is bounded, at once and over time, at all leaders together; beyond that it alone loses messages",
        &[
            shown("crates/link/src/tests/pressure.rs", "fn one_steady_slow_reader_does_not_set_the_pace_of_the_others"),
            shown(
                "crates/link/src/tests/pressure.rs",
                "fn a_receiver_that_is_slow_again_and_again_holds_others_up_for_a_fifth_of_the_time_at_most",
            ),
            shown("verify/attack/src/load/flood.rs", "Flood::SlowReaders"),
        ],
    ),
    structural(
        "gap-audit",
        "seed 003 §4",
        "whoever makes noise keeps what counts out of a leader's audit, or pushes it out",
        "strangers share one account of lines and each peer has its own; first offences and orders are always written, orders apart",
        &[
            shown("crates/cli/tests/cli/operations.rs", "fn refused_strangers_hide_nobody_who_logs_in"),
            shown(
                "crates/daemon/src/audit/accounts.rs",
                "fn strangers_hide_neither_what_a_leader_did_nor_who_logged_in",
            ),
            shown(
                "crates/daemon/src/audit/accounts.rs",
                "fn a_hacked_leader_and_an_insider_need_weeks_to_push_old_lines_out",
            ),
            shown("crates/daemon/src/audit/tests.rs", "fn orders_are_kept_where_nothing_else_pushes_them_out"),
        ],
    ),
    structural(
        "gap-whiteboard",
        "seed 003 §3.1.1",
        "a member rewrites another's strokes for one reader, each message being authentic",
        "the first stroke of a number that its author sent counts; what others hand over fills gaps, is marked and gives way",
        &[
            shown("crates/agent/tests/agent/plugins.rs", "fn nobody_rewrites_anothers_strokes"),
            shown(
                "plugins/whiteboard/tests/scene.js",
                "What somebody else hands over never replaces what came from its author",
            ),
        ],
    ),
    structural(
        "gap-service-request",
        "seed 001 §4",
        "a hacked leader asks a service in a member's name, or repeats what the member asked",
        "a request has the signature of its member's stay, which n-f leaders name in the order, and each number counts once",
        &[
            shown("crates/services/src/tests/hostile.rs", "fn a_stay_that_hacked_leaders_invent_asks_nothing"),
            shown(
                "crates/services/src/tests/once.rs",
                "fn what_members_ask_is_applied_once_in_one_order_whatever_hacked_leaders_do",
            ),
            shown(
                "crates/ringfort/tests/services.rs",
                "fn a_leader_that_forges_and_repeats_what_it_has_seen_does_nothing_in_anybodys_name",
            ),
        ],
    ),
    structural(
        "gap-service-reply",
        "seed 001 §4",
        "a hacked server lies to a client of a replicated service",
        "a reply counts with equal words of f+1 leaders for one place in the order, and whoever says otherwise is named",
        &[
            shown("crates/services/src/tests/once.rs", "fn f_equal_answers_are_not_enough"),
            shown(
                "crates/ringfort/tests/services.rs",
                "fn a_leader_that_answers_wrongly_changes_no_reply_and_is_named",
            ),
        ],
    ),
    refused("J6", "seed 002 §3.2", "inconsistent shares"),
    refused("L1", "seed 002 §2.3", "f leaders collude, and nothing is on time"),
    not_applicable(
        "L2",
        "seed 002 §5",
        "no compromised member, sound cryptography",
        "an assumption that this design shares: who may read a message can pass it on",
    ),
    not_applicable(
        "L3",
        "seed 000 §2.1; seed 001 §2",
        "attack, vulnerability, intrusion, failure",
        "a way to speak of faults, not an attack",
    ),
    refused("L4", "seed 000 §3", "the network is arbitrary"),
    not_yet(
        "L5",
        "seed 001 §3",
        "timing attacks, hidden timeouts, partial synchrony",
        "the trusted component; a led group's safety depends on no timing",
    ),
    refused("L6", "seed 003 §4; seed 004 §5", "drop, modify, replay, forge, reorder; ex-members; insiders"),
    not_applicable(
        "L7",
        "seed 002 §5; seed 000 §3.2",
        "leaders that all have the same weakness",
        "operators choose machines that differ, and `ringfort group review` warns of what leaders share; the protocol cannot see it",
    ),
    structural(
        "L8",
        "seed 000 §3.1; seed 001 §2",
        "prevention: checked inputs, closed services",
        "every decoder is bounded and canonical, no unsafe code, one port; patches and firewalls are the operators'",
        &[
            shown("Cargo.toml", "unsafe_code = \"forbid\""),
            shown("crates/protocol/tests/wire/canonical.rs", "fn false_lengths_take_no_memory"),
        ],
    ),
    refused("L9", "seed 002 §5; seed 000 §3", "flooding, disclosed keys, misuse of the interface"),
];
