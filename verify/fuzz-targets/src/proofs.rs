//! Membership logs, receipts and evidence: files from anybody.

use std::sync::OnceLock;

use ringfort_protocol::data::Identity;
use ringfort_protocol::evidence::{Evidence, Proof, Testimony};
use ringfort_protocol::ids::ViewId;
use ringfort_protocol::log::{Audited, Entry, Head, LOG_MAGIC, Log, Opening, Receipt, Segment, What, resume, verify};
use ringfort_protocol::statement::{Statement, Word};
use ringfort_protocol::view::{MemberSet, ViewHasher};
use ringfort_protocol::{Epoch, Incarnation};

use crate::fixture::{fixture, rng, user};
use crate::meter::bounded;

/// When the true log begins.
const AT_MS: u64 = 1_800_000_000_000;

/// Memory that decoding may take.
fn room(bytes: &[u8]) -> usize {
    24 * bytes.len() + 64 * 1024
}

/// What decodes encodes to the same bytes, and nothing but the true log is taken for right.
pub fn proofs(data: &[u8]) {
    let group = &fixture().group;
    let _ = resume(data);
    if let Ok(log) = bounded("decoding a log", room(data), || Log::from_bytes(data)) {
        assert_eq!(log.to_bytes(), data, "a log has one encoding");
        if let Ok(audited) = verify(&log, group) {
            genuine(&audited);
        }
    }
    if let Ok(receipt) = bounded("decoding a receipt", room(data), || Receipt::from_bytes(data)) {
        assert_eq!(receipt.to_bytes(), data, "a receipt has one encoding");
        let _ = receipt.verify(group);
    }
    if let Ok(evidence) = bounded("decoding evidence", room(data), || Evidence::from_bytes(data)) {
        assert_eq!(evidence.to_bytes(), data, "evidence has one encoding");
        if let Ok(conviction) = evidence.verify(group) {
            assert!(conviction.guilty.iter().all(|leader| leader.number() == 4), "only leader 4 ever signed two views");
        }
    }
}

/// Nobody can make a view that the leaders did not sign.
fn genuine(audited: &Audited<'_>) {
    let known: Vec<ViewId> = [&["ana"][..], &["ana", "bo"]].map(|names| signed(names).view).to_vec();
    assert!(
        audited.views.iter().all(|seen| known.contains(&seen.view)),
        "a view that nobody signed was taken for right"
    );
    let (from, to) = audited.covers();
    for at_ms in [0, from, from.midpoint(to), to, u64::MAX] {
        if let Some(receipt) = Receipt::new(audited, at_ms, None) {
            assert!(receipt.verify(&fixture().group).is_ok_and(|answer| answer.is_some()));
        }
    }
}

fn identity(name: &str) -> Identity {
    Identity::generate(user(name), Incarnation(1), &mut rng(name.len() as u64))
}

/// A view with these members, signed by leaders 3 and 4.
fn signed(names: &[&str]) -> Testimony {
    let fixture = fixture();
    let mut members = MemberSet::default();
    names.iter().for_each(|name| members.insert(identity(name).entry()));
    let epoch = Epoch(names.len() as u64);
    let view = ViewHasher::new(&fixture.group, fixture.group.session()).view_id(epoch, 0, members.hash());
    let word = |secrets| Statement::sign(secrets, &fixture.group, view, 0, AT_MS + epoch.0);
    let words = fixture.secrets.iter().skip(2).map(|s| Word { leader: s.id, statement: word(s) }).collect();
    Testimony { view, refreshes: 0, members: members.iter().cloned().collect(), words }
}

/// A true log, a true receipt, and evidence against leader 4.
pub fn proof_seeds() -> Vec<Vec<u8>> {
    static SEEDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let made = || {
        let (group, ana) = (&fixture().group, identity("ana"));
        let mut previous = Head::default();
        let mut entry = |at_ms: u64, what: What| {
            let entry = Entry::sign(&ana.signing, group.id(), &ana.id, previous, AT_MS + at_ms, what);
            previous = entry.head();
            entry
        };
        let view = |names: &[&str], changes| {
            let Testimony { view, refreshes, words, .. } = signed(names);
            What::View { view, refreshes, changes, words }
        };
        let came = ringfort_protocol::view::Change::Added(identity("bo").entry());
        let entries = vec![
            entry(0, view(&["ana"], Vec::new())),
            entry(1_000, view(&["ana", "bo"], vec![came])),
            entry(61_000, What::Kept),
            entry(90_000, What::Closed),
        ];
        let (member, members) = (ana.id.clone(), vec![ana.entry()]);
        let opening = Opening { group: group.id(), member, previous: Head::default(), members };
        let log = Log { segments: vec![Segment { opening, entries }] };
        let audited = verify(&log, group).expect("a true log");
        let receipt = Receipt::new(&audited, AT_MS + 500, Some(user("bo"))).expect("covered");
        let conflicting = {
            let mut other = signed(&["bo"]);
            other.words.retain(|word| word.leader.number() == 4);
            other
        };
        let proof = Proof::Conflict(signed(&["ana"]), conflicting);
        let evidence = Evidence { group: group.id(), proof };
        evidence.verify(group).expect("true evidence");
        vec![log.to_bytes(), receipt.to_bytes(), evidence.to_bytes(), LOG_MAGIC.to_vec()]
    };
    SEEDS.get_or_init(made).clone()
}
