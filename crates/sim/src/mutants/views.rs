//! Attacks on views and their keys. Leader 4 is hostile.

use ringfort_crypto::threshold::Evaluation;
use ringfort_protocol::coordination::{Operation, SignedProposal};
use ringfort_protocol::data::Identity;
use ringfort_protocol::keys::{Base, ViewClaim, ViewTracker, group_key, view_point};
use ringfort_protocol::leader::Command;
use ringfort_protocol::member::Event;
use ringfort_protocol::rules::Rule;
use ringfort_protocol::view::{Cause, Change, MemberSet, ViewHasher};
use ringfort_protocol::wire::{LeaderNotice, MemberRequest, PeerMessage};
use ringfort_protocol::{Epoch, Incarnation, LeaderId, ViewId, codec};

use super::bench::{Bench, Route, l, user};
use super::logins::by_hand;

/// Freshness: the network holds every answer back and lets one old answer through now and then (P8, K15–K18).
pub fn heartbeat(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |policy| policy.remove_silent_after_ms = 60_000);
    let ana = bench.register("ana");
    let seat = bench.join("ana", &ana);
    bench.hold = Box::new(|route| matches!(route, Route::Down(..)));
    // For each leader, one second of answers is let through over ten seconds.
    bench.pass(1_000);
    let old = std::mem::take(&mut bench.held);
    bench.pass(3_000);
    for (route, frame) in old {
        bench.held.clear();
        bench.deliver(route, frame);
        bench.pass(200);
    }
    if bench.seat(seat).member.is_confirmed() {
        return vec!["freshness: a view counts as confirmed by answers that are seconds old".into()];
    }
    Vec::new()
}

/// Forward: leaders 3 and 4 claim the view from before a join.
pub fn backward(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |policy| policy.remove_silent_after_ms = 60_000);
    let (ana, ben) = (bench.register("ana"), bench.register("ben"));
    let seat = bench.join("ana", &ana);
    // Leaders 3 and 4 hear nobody; leader 4 is hostile and votes for the join nevertheless.
    bench.hold = Box::new(|route| matches!(route, Route::Peer(a, b) if a.number().max(b.number()) > 2));
    let newcomer = bench.sit("ben", &ben, &[1, 2]);
    bench.pass(700);
    let Some(entry) = bench.seat(newcomer).member.entry_for_testing_only() else { return Vec::new() };
    vote(&mut bench, l(4), &[1, 2], &Operation::Join(entry));
    bench.pass(500);
    let new = bench.seat(seat).member.view();
    bench.link(seat, l(3));
    bench.link(seat, l(4));
    bench.pass(2_000);
    if new.map(|v| v.epoch) != Some(Epoch(2)) {
        return vec!["the scenario did not come about".into()];
    }
    let epochs: Vec<Epoch> = bench
        .seat(seat)
        .events
        .iter()
        .filter_map(|e| if let Event::View { view, .. } = e { Some(view.epoch) } else { None })
        .collect();
    if epochs.is_sorted() { Vec::new() } else { vec![format!("forward: ana went through the epochs {epochs:?}")] }
}

/// Forward: leader 3 has not heard of an expulsion, but of two refreshes; leader 4 says the same.
pub fn tombstone(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |policy| policy.remove_silent_after_ms = 60_000);
    let (ana, eve) = (bench.register("ana"), bench.register("eve"));
    let seat = bench.join("ana", &ana);
    let bad = bench.join("eve", &eve);
    let Some(entry) = bench.seat(bad).member.entry_for_testing_only() else { return Vec::new() };
    bench.hold = Box::new(|route| matches!(route, Route::Peer(a, b) if a.number().max(b.number()) > 2));
    for operator in [1, 2] {
        bench.command(l(operator), Command::Expel(user("eve")));
    }
    vote(&mut bench, l(4), &[1, 2], &Operation::Remove(entry.id.clone(), Cause::Expelled));
    bench.pass(500);
    if bench.seat(seat).member.members().is_none_or(|m| m.get_member(&entry.id).is_some()) {
        return vec!["the scenario did not come about".into()];
    }
    for count in 1..=2 {
        for by in [1, 2, 4] {
            vote(&mut bench, l(by), &[3], &Operation::Refresh(count));
        }
        for by in [1, 2, 3] {
            vote(&mut bench, l(by), &[4], &Operation::Refresh(count));
        }
    }
    bench.pass(2_000);
    if bench.seat(seat).member.members().is_some_and(|m| m.get_member(&entry.id).is_some()) {
        return vec!["forward: ana sees eve again, whose stay had ended".into()];
    }
    Vec::new()
}

fn vote(bench: &mut Bench, by: LeaderId, to: &[u8], operation: &Operation) {
    let session = bench.group.session();
    let proposal = SignedProposal::sign(&bench.secrets_of(by).signing, by, session, operation.clone(), false);
    for to in to {
        bench.push_peer(by, l(*to), &PeerMessage::Proposals(vec![proposal.clone()]));
    }
}

/// No key for those outside: an expelled user stays on its links and asks for the shares of the view after.
pub fn shares(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |_| {});
    let (ana, eve) = (bench.register("ana"), bench.register("eve"));
    let seat = bench.join("ana", &ana);
    let me = Identity::generate(user("eve"), Incarnation(1), &mut bench.dice.0);
    let mut ends = Vec::new();
    for leader in [1, 2, 3, 4] {
        let Some((link, channel)) = by_hand(&mut bench, l(leader), "eve", &eve, &me) else { return Vec::new() };
        ends.push((l(leader), link, channel));
    }
    bench.pass(100);
    for operator in [1, 2] {
        bench.command(l(operator), Command::Expel(user("eve")));
    }
    bench.pass(100);
    let mut shares = Vec::new();
    for (leader, link, channel) in &mut ends {
        let mut frames = bench.mail.remove(link).unwrap_or_default();
        let ask = channel.seal(&codec::encode(&MemberRequest::Claim { have: None }));
        frames.extend(bench.push_up(*leader, *link, &ask));
        for frame in frames {
            if let Ok(payload) = channel.open(&bench.group.rules, &frame)
                && let Ok(LeaderNotice::Claim(claim)) = codec::decode(&payload)
            {
                shares.push((leader.share_index(), claim.view, claim.refreshes, Evaluation::from_bytes(claim.share)));
            }
        }
    }
    let member = &bench.seat(seat).member;
    let (Some(view), Some(key)) = (member.view(), member.key_for_testing_only()) else { return Vec::new() };
    if member.members().is_none_or(|m| m.get(&user("eve")).is_some()) {
        return vec!["the scenario did not come about".into()];
    }
    let of_view: Vec<_> = shares.iter().filter(|(_, v, ..)| *v == view).collect();
    let refreshes = of_view.first().map_or(0, |(_, _, refreshes, _)| *refreshes);
    let evaluations: Vec<(u16, &Evaluation)> = of_view.iter().map(|(index, .., share)| (*index, share)).collect();
    let point = view_point(&bench.group, bench.group.session(), view, refreshes);
    let stolen = bench.group.group_keys.combine(&point, &evaluations).map(|o| *group_key(&o, view).expose());
    if stolen == Some(key) {
        vec!["secrecy: an expelled user has the key of the view after".into()]
    } else {
        Vec::new()
    }
}

/// What a leader claims now never goes back, whatever order its claims arrive in.
pub fn claim_forward(rule: Option<Rule>) -> Vec<String> {
    let bench = Bench::new(rule, |_| {});
    let group = &bench.group;
    let mut dice = crate::dice::Dice::new(7, "claims");
    let me = Identity::generate(user("ana"), Incarnation(1), &mut dice.0);
    let mut tracker = ViewTracker::new(group, me.id.clone());
    let mut set = MemberSet::default();
    set.insert(me.entry());
    let hasher = ViewHasher::new(group, group.session());
    let mut claim = |number: u64| {
        let view: ViewId = hasher.view_id(Epoch(number), number, set.hash());
        let point = view_point(group, group.session(), view, number);
        let share = bench.secrets_of(l(1)).group_share.evaluate(&point, &mut dice.0).to_bytes();
        let changes = vec![Change::Added(me.entry())];
        ViewClaim { number, view, refreshes: number, base: Base::Empty, changes, share }
    };
    let (old, new) = (claim(1), claim(2));
    let latest = new.view;
    drop(tracker.on_claim(group, l(1), new));
    drop(tracker.on_claim(group, l(1), old));
    if tracker.claimed_by(l(1)) != Some(latest) {
        return vec!["forward: a leader's older claim replaced its newer one".into()];
    }
    Vec::new()
}

/// Whether a seat's program reported a message.
pub fn heard(bench: &Bench, seat: usize) -> usize {
    bench.seat(seat).events.iter().filter(|e| matches!(e, Event::Message(_))).count()
}
