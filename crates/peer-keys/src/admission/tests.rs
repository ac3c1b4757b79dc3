//! Each way of being admitted at its very edge.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::ids::Round;

const NOW: u64 = 1_800_000_000;

fn key(n: u64) -> SigningKey {
    SigningKey::generate(&mut ChaCha20Rng::seed_from_u64(n))
}

fn public(n: u64) -> [u8; 32] {
    key(n).verifying_key().to_bytes()
}

fn certificate(user: &str, role: &str, n: u64) -> Certificate {
    let unsigned = Certificate {
        group: "talk".to_owned(),
        user: user.to_owned(),
        role: role.to_owned(),
        key: public(n),
        from_unix_s: NOW - 100,
        until_unix_s: NOW + 100,
        authority: [0; 32],
        signature: [0; 64],
    };
    Certificate::issue(&key(9), unsigned)
}

fn policy() -> Policy {
    let mut policy = Policy::new("talk", [(public(1), "ana".to_owned()), (public(2), "ben".to_owned())].into());
    policy.admission.authorities.insert(public(9), "plant".to_owned());
    policy.admission.roles.insert(public(2), "officer".to_owned());
    policy
}

fn ok(n: u64, certificate: Option<Certificate>, unix_s: u64) -> FlushOk {
    FlushOk {
        round: Round::default(),
        policy: [0; 32],
        key: public(n),
        session: [0; 32],
        previous: None,
        certificate,
        unix_s,
        offer: Vec::new(),
        suspects: Vec::new(),
    }
}

fn answers(all: &[(&'static str, FlushOk)]) -> BTreeMap<Name, FlushOk> {
    all.iter().map(|(name, ok)| (Name::new(*name).unwrap(), ok.clone())).collect()
}

fn out(policy: &Policy, own: u64, all: &[(&'static str, FlushOk)]) -> Vec<(String, OutWhy)> {
    let out = judge(policy, own, &answers(all));
    out.into_iter().map(|(name, why)| (String::from_utf8_lossy(name.as_bytes()).into_owned(), why)).collect()
}

#[test]
fn a_certificate_counts_for_its_key_its_group_and_a_named_authority_alone() {
    let good = certificate("eve", "observer", 3);
    let who = identify(&policy(), &public(3), Some(&good)).unwrap();
    assert_eq!((who.user.as_str(), who.role.as_str()), ("eve (by plant)", "observer"));
    assert_eq!(identify(&policy(), &public(4), Some(&good)), Err(OutWhy::Stranger), "another key");
    assert_eq!(identify(&policy(), &public(3), None), Err(OutWhy::Stranger));
    let other_group = Policy { group: "walk".to_owned(), ..policy() };
    assert_eq!(identify(&other_group, &public(3), Some(&good)), Err(OutWhy::Stranger));
    let unnamed = Certificate::issue(&key(8), good.clone());
    assert_eq!(identify(&policy(), &public(3), Some(&unnamed)), Err(OutWhy::Stranger), "nobody's authority");
    for altered in [
        Certificate { user: "ana".to_owned(), ..good.clone() },
        Certificate { role: "officer".to_owned(), ..good.clone() },
        Certificate { until_unix_s: NOW * 2, ..good.clone() },
        Certificate { from_unix_s: 0, ..good.clone() },
    ] {
        assert_eq!(identify(&policy(), &public(3), Some(&altered)), Err(OutWhy::Stranger), "{altered:?}");
    }
    let mut revoking = policy();
    revoking.admission.revoked.insert(good.id());
    assert_eq!(identify(&revoking, &public(3), Some(&good)), Err(OutWhy::Revoked));
    let another = certificate("eve", "observer", 4);
    assert!(identify(&revoking, &public(4), Some(&another)).is_ok(), "only that one");
}

#[test]
fn a_certificate_begins_and_ends_at_its_times() {
    let eve = |now| ("e", ok(3, Some(certificate("eve", "", 3)), now));
    let at = |now| out(&policy(), now, &[("a", ok(1, None, now)), ("b", ok(2, None, now)), eve(now)]);
    assert_eq!(at(NOW - 101), [("e".to_owned(), OutWhy::NotNow)]);
    assert_eq!(at(NOW - 100), []);
    assert_eq!(at(NOW + 100), []);
    assert_eq!(at(NOW + 101), [("e".to_owned(), OutWhy::Expired)]);
}

#[test]
fn nobody_talks_the_time_into_a_member() {
    let late = NOW + 200;
    let eve = |says| ("e", ok(3, Some(certificate("eve", "", 3)), says));
    let expired = [("e".to_owned(), OutWhy::Expired)];
    // One against one: the stricter clock counts.
    assert_eq!(out(&policy(), late, &[("a", ok(1, None, late)), eve(NOW + 90)]), expired);
    // Two liars against one: their time is too far from its own, which it goes by.
    let liars = [("a", ok(1, None, late)), eve(NOW), ("f", ok(4, Some(certificate("fay", "", 4)), NOW))];
    assert_eq!(out(&policy(), late, &liars).len(), 2);
    // Who says that it is later does not end others' times.
    let hurried = [("a", ok(1, None, NOW)), ("b", ok(2, None, NOW + 5000)), eve(NOW)];
    assert_eq!(out(&policy(), NOW, &hurried), []);
}

#[test]
fn a_window_opens_and_closes_again_and_again() {
    let mut policy = policy();
    let role = "officer".to_owned();
    policy.admission.windows.push(Window { role, from_unix_s: NOW, length_s: 10, every_s: 100 });
    let at = |now| out(&policy, now, &[("a", ok(1, None, now)), ("b", ok(2, None, now))]).len();
    let seen: Vec<usize> =
        [NOW - 1, NOW, NOW + 9, NOW + 10, NOW + 99, NOW + 100, NOW + 109, NOW + 110].into_iter().map(at).collect();
    assert_eq!(seen, [1, 0, 0, 1, 1, 0, 0, 1]);
    assert_eq!(policy.admission.opens("officer", NOW - 7), Some(NOW));
    assert_eq!(policy.admission.opens("officer", NOW + 50), Some(NOW + 100));
    let all = answers(&[("b", ok(2, None, NOW))]);
    assert_eq!(next_end(&policy, NOW + 103, &all), Some(NOW + 110));
    assert_eq!(next_end(&policy, NOW + 50, &all), None);
}

#[test]
fn who_needs_others_is_in_only_while_they_are() {
    let mut policy = policy();
    let rule = |role: &str, only_while: &str, at_least| PresenceRule {
        role: role.to_owned(),
        only_while: only_while.to_owned(),
        at_least,
    };
    policy.admission.rules = vec![rule("observer", "officer", 1), rule("guest", "observer", 2)];
    let observer = |name, n| (name, ok(n, Some(certificate("o", "observer", n)), NOW));
    let guest = ("g", ok(7, Some(certificate("g", "guest", 7)), NOW));
    let (ana, ben) = (("a", ok(1, None, NOW)), ("b", ok(2, None, NOW)));
    assert_eq!(out(&policy, NOW, &[ana.clone(), observer("o", 3)]).len(), 1, "no officer");
    assert_eq!(out(&policy, NOW, &[ben.clone(), observer("o", 3)]), []);
    let two = [ben, observer("o", 3), observer("p", 4), guest.clone()];
    assert_eq!(out(&policy, NOW, &two), []);
    assert_eq!(out(&policy, NOW, &two[..2].iter().chain([&guest]).cloned().collect::<Vec<_>>()).len(), 1);
    // With the officer all of them go, one after the other.
    assert_eq!(out(&policy, NOW, &[&[ana][..], &two[1..]].concat()).len(), 3);
}
