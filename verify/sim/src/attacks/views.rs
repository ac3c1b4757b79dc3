//! Attacks on views and their keys. Leader 4 is hacked.

use bytes::Bytes;
use ringfort_crypto::threshold::Evaluation;
use ringfort_protocol::coordination::Operation;
use ringfort_protocol::data::Identity;
use ringfort_protocol::fault::Fault;
use ringfort_protocol::keys::{Base, ViewClaim, ViewTracker, group_key, view_point};
use ringfort_protocol::member::Event;
use ringfort_protocol::policy::Service;
use ringfort_protocol::rules::Rule;
use ringfort_protocol::sealed::{End, SealedChannel};
use ringfort_protocol::statement::Statement;
use ringfort_protocol::view::{Cause, Change, MemberSet, ViewHasher};
use ringfort_protocol::wire::{self, LeaderNotice, MemberRequest, Sorted};
use ringfort_protocol::{Epoch, Incarnation, ViewId, codec};

use super::alone::returns_by_a_late_leader;
use super::{Attack, go_on};
use crate::bench::{Bench, Hands, Route, l, user};
use crate::explore::{Ended, Stage, kept, made, need};

/// Attacks on views.
pub const ALL: &[Attack] = &[
    Attack::new(
        "sealed-replay",
        "a leader's old notices repeated by the network, after a rekey",
        &[Rule::SealedReplay],
        sealed_replay,
    ),
    Attack::new("claim-goes-back", "the network lets an old claim arrive last", &[Rule::ClaimForward], claim_forward),
    Attack::new(
        "old-view",
        "a late leader and a hacked one claim the view and the key from before a join",
        &[Rule::EpochForward],
        backward,
    ),
    Attack::new(
        "other-session",
        "notices, messages and claims of the same users' other group, with the same names",
        &[],
        other_session,
    ),
    Attack::new(
        "old-member-returns",
        "a late leader and a hacked one bring back an expelled user",
        &[Rule::Tombstone],
        tombstone,
    ),
    Attack::new("first-key", "a user who comes back is given the view and the key of its stay before", &[], first_key),
    Attack::new(
        "withheld-announcement",
        "a hacked leader and the network keep a join from one member",
        &[],
        withheld_announcement,
    ),
    Attack::new("ghost-view", "a hacked leader announces somebody who is not there", &[], ghost_view),
    Attack::new(
        "forged-notices",
        "views, closings and heartbeat answers made up by a member who holds the group key",
        &[Rule::Seal],
        forged_notices,
    ),
    Attack::new(
        "forged-closing",
        "a hacked leader tells a member that its stay is over",
        &[Rule::Confirm],
        forged_closing,
    ),
    Attack::new(
        "forged-share",
        "a hacked leader gives a wrong share of the group key",
        &[Rule::ShareProof],
        forged_share,
    ),
    Attack::new(
        "inconsistent-shares",
        "leaders in different views: a hacked one gives each member the share of the other view",
        &[],
        inconsistent_shares,
    ),
];

fn refreshed(bench: &mut Bench) {
    bench.refresh();
    bench.pass(500);
}

fn sealed_replay(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let to_ana = bench.is_down_to(ana);
    let old: Vec<_> = bench.sealed_frames(0, &to_ana);
    let by_1: Vec<_> = old.into_iter().filter(|(r, _)| matches!(r, Route::Down(by, _) if *by == l(1))).collect();
    made(by_1.len() > 3, "leader 1 was to have sent some notices")?;
    refreshed(&mut bench);
    let view = bench.view(ana);
    let key = bench.key(ana);
    let count = by_1.len();
    let claims = bench.is_claim_to(ana);
    let (in_window, before): (Vec<_>, Vec<_>) = by_1.into_iter().partition(|(route, frame)| claims(route, frame));
    before.into_iter().for_each(|(_, frame)| bench.push_down(ana, l(1), &frame));
    made(in_window.len() == 2, "leader 1 was to have claimed two views")?;
    in_window.into_iter().for_each(|(route, frame)| bench.inject(0, route, frame));
    bench.refresh();
    stage.window(&mut bench, claims)?;
    bench.pass(300);
    let accused = bench.faults_of(ana, l(1)).into_iter().find(|fault| fault.is_deviation());
    kept(accused.is_none(), format!("a repeated frame made a liar of leader 1: {accused:?}"))?;
    kept(bench.view(ana) > view && bench.key(ana) != key, "ana did not follow the rekey")?;
    go_on(&mut bench, ana, ben)?;
    Ok(format!("{count} old notices came again around a rekey: ignored, nobody honest blamed"))
}

/// Leaders 3 and 4 hear nobody.
pub(super) fn cut_off_3_and_4(bench: &mut Bench) {
    bench.hold = Box::new(|route, _| matches!(route, Route::Peer(a, b) if a.number().max(b.number()) > 2));
}

fn backward(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.remove_silent_after_ms = 60_000);
    let (ana, ben) = (bench.register("ana"), bench.register("ben"));
    let seat = bench.join("ana", &ana);
    let old = bench.key(seat);
    // Leader 4 hears nobody either, but votes for the join.
    cut_off_3_and_4(&mut bench);
    let newcomer = bench.sit("ben", &ben, &[1, 2]);
    bench.pass(700);
    let entry = need(bench.entry(newcomer), "ben was to announce himself")?;
    for to in [1, 2] {
        let vote = bench.vote(l(4), &Operation::Join(entry.clone()), false);
        bench.push_peer(l(4), l(to), &vote);
    }
    bench.pass(500);
    let with_ben = |e: &Event| matches!(e, Event::View { view, .. } if view.epoch == Epoch(2));
    made(bench.seat(seat).events.iter().any(with_ben), "ana was to see ben join")?;
    kept(bench.view(seat).map(|v| v.epoch) == Some(Epoch(2)), "ana is back in the view from before the join")?;
    let (view, key) = (bench.view(seat), bench.key(seat));
    bench.link(seat, l(3));
    bench.link(seat, l(4));
    let to_ana = bench.is_down_to(seat);
    stage.window(&mut bench, to_ana)?;
    bench.pass(2_000);
    kept(bench.key(seat) != old, "ana is back under the key from before the join")?;
    kept(bench.view(seat) == view && bench.key(seat) == key, "ana left the newer view")?;
    let epochs: Vec<Epoch> = bench
        .seat(seat)
        .events
        .iter()
        .filter_map(|e| if let Event::View { view, .. } = e { Some(view.epoch) } else { None })
        .collect();
    kept(epochs.is_sorted(), format!("ana went through the epochs {epochs:?}"))?;
    bench.release();
    go_on(&mut bench, seat, newcomer)?;
    Ok("two leaders claimed the older view with good shares: ana stayed in the newer".into())
}

fn tombstone(stage: &mut Stage) -> Result<String, Ended> {
    returns_by_a_late_leader(stage, |_, _| Ok(()), |_, _| Ok(()))
}

fn claim_forward(stage: &mut Stage) -> Result<String, Ended> {
    let bench = stage.bench(|_| {});
    let group = &bench.group;
    let mut dice = crate::dice::Dice::new(stage.seed(), "claims");
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
        let statement = Statement::sign(bench.secrets_of(l(1)), group, view, number, 0);
        ViewClaim { number, view, refreshes: number, base: Base::Empty, changes, share, statement }
    };
    let (old, new) = (claim(1), claim(2));
    let latest = new.view;
    drop(tracker.on_claim(group, l(1), new));
    drop(tracker.on_claim(group, l(1), old));
    kept(tracker.claimed_by(l(1)) == Some(latest), "a leader's older claim replaced its newer one")?;
    Ok("the leader's newer claim stood".into())
}

fn other_session(stage: &mut Stage) -> Result<String, Ended> {
    // The same users in another group, with the same seats and links; its leader 4 is hacked too.
    let mut other = Bench::new(stage.seed() + 1, None, |_| {});
    let (ana_there, _) = (other.member("ana"), other.member("ben"));
    let from = other.passed.len();
    refreshed(&mut other);
    other.say(ana_there, Service::Fifo, b"in the other group");
    other.pump();
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let (view, key) = (bench.view(ben), bench.key(ben));
    let to_ben_there = other.is_down_to(1);
    let frames: Vec<_> = other.frames(from, |route, frame| to_ben_there(route, frame));
    made(frames.len() > 4, "the other group was to have some traffic")?;
    let count = frames.len();
    for (place, (route, frame)) in frames.into_iter().enumerate() {
        let Route::Down(leader, _) = route else { continue };
        bench.push_down(ben, leader, &frame);
        if place % 6 == 0 {
            let down = need(bench.down(leader, ben), "ben has a link")?;
            bench.inject(0, down, frame);
        }
    }
    // Leader 4 claims the other group's view under its own seal, with the share it gave there.
    let view_there = need(other.view(1), "ben is in the other group")?;
    let list =
        other.seat(1).member.members().into_iter().flat_map(MemberSet::iter).cloned().map(Change::Added).collect();
    let foreign = other.claim_by(l(4), 900, view_there, 1, list);
    bench.inject_notice(1, l(4), ben, &LeaderNotice::Claim(foreign));
    let to_ben = bench.is_down_to(ben);
    bench.say(ana, Service::Fifo, b"in this group");
    stage.window(&mut bench, to_ben)?;
    bench.pass(300);
    kept(bench.view(ben) == view && bench.key(ben) == key, "ben installed another group's view")?;
    kept(bench.times_heard(ben, b"in the other group") == 0, "a message of the other group was delivered")?;
    kept(bench.times_heard(ben, b"in this group") == 1, "a message of this group was not delivered once")?;
    kept(bench.faults_of(ben, l(4)).contains(&Fault::BadView), "leader 4's foreign claim was not noticed")?;
    go_on(&mut bench, ana, ben)?;
    Ok(format!("{count} frames of another session and a foreign claim by leader 4: none opened, none installed"))
}

/// A share as it came in a claim, for somebody who collects them.
pub(super) fn stolen_key(
    bench: &Bench,
    view: ViewId,
    told: &[(ringfort_protocol::LeaderId, LeaderNotice)],
) -> Option<[u8; 32]> {
    let of_view = told.iter().filter_map(|(leader, notice)| match notice {
        LeaderNotice::Claim(claim) | LeaderNotice::PastClaim(claim) if claim.view == view => {
            Some((leader.share_index(), claim.refreshes, Evaluation::from_bytes(claim.share)))
        }
        _ => None,
    });
    let of_view: Vec<_> = of_view.collect();
    let refreshes = of_view.first().map_or(0, |(_, refreshes, _)| *refreshes);
    let evaluations: Vec<(u16, &Evaluation)> = of_view.iter().map(|(index, _, share)| (*index, share)).collect();
    let point = view_point(&bench.group, bench.group.session(), view, refreshes);
    let output = bench.group.group_keys.combine(&point, &evaluations)?;
    Some(*group_key(&output, view).expose())
}

fn first_key(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let ben = bench.member("ben");
    let key = bench.register("ana");
    let mut before = need(Hands::log_in(&mut bench, "ana", &key, 1), "the stay before")?;
    bench.pass(300);
    let told = before.told(&mut bench);
    let old_claim = told.iter().find_map(|(leader, notice)| match notice {
        LeaderNotice::Claim(claim) if *leader == l(4) => Some(claim.clone()),
        _ => None,
    });
    let mut old_claim = need(old_claim, "leader 4 was to claim the view of the stay before")?;
    let old_view = old_claim.view;
    let old_key = need(stolen_key(&bench, old_view, &told), "the key of the stay before")?;
    for leader in bench.leader_ids() {
        before.ask(&mut bench, leader, &MemberRequest::Leave);
    }
    bench.pass(700);
    made(!bench.sees(ben, "ana"), "the stay before was to end")?;
    // Ana comes back; leader 4 claims the old view beside what all leaders claim now.
    let seat = bench.sit("ana", &key, &[1, 2, 3, 4]);
    let to_ana = bench.is_down_to(seat);
    let is_sealed = |frame: &Bytes| matches!(wire::sort(frame), Ok(Sorted::Sealed(_)));
    bench.hold = Box::new(move |route, frame| to_ana(route, frame) && is_sealed(frame));
    bench.pass(100);
    made(bench.held.len() >= 4, "leaders were to claim views to ana")?;
    bench.release();
    for number in [100, 101] {
        old_claim.number = number;
        bench.inject_notice(0, l(4), seat, &LeaderNotice::Claim(old_claim.clone()));
    }
    let claims = bench.is_claim_to(seat);
    stage.window(&mut bench, claims)?;
    bench.pass(1_500);
    let view = need(bench.view(seat), "ana was to get in again")?;
    kept(view != old_view && bench.key(seat) != Some(old_key), "ana was given the key of her stay before")?;
    let stay = bench.entry(seat).map(|entry| entry.id.incarnation);
    kept(stay == Some(Incarnation(2)), "the new stay bears an old number")?;
    kept(bench.key(seat) == bench.key(ben), "ana and ben have different keys")?;
    go_on(&mut bench, seat, ben)?;
    Ok("ana installed the view that holds her new session keys, with a new key; the old claim was no use".into())
}

fn withheld_announcement(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, key) = (bench.member("ana"), bench.register("ben"));
    let to_ana = bench.is_down_to(ana);
    // Leader 4 says nothing of it to ana; the network holds leader 3's word back, then also 1's and 2's for a while.
    bench.hold =
        Box::new(move |route, frame| to_ana(route, frame) && matches!(route, Route::Down(by, _) if by.number() >= 3));
    let ben = bench.sit("ben", &key, &[1, 2, 3, 4]);
    let to_ana = bench.is_down_to(ana);
    stage.window(&mut bench, &to_ana)?;
    bench.pass(700);
    kept(bench.sees(ana, "ben"), "two leaders' word was kept from ana by two others")?;
    bench.hold = Box::new(move |route, frame| to_ana(route, frame));
    let cy = bench.member("cy");
    bench.pass(1_500);
    made(!bench.sees(ana, "cy"), "nothing reaches ana")?;
    let confirmed = bench.seat(ana).member.confirmation().is_current();
    kept(!confirmed, "ana takes a view for current that nobody confirms")?;
    bench.say(cy, Service::Fifo, b"am i announced?");
    bench.pass(100);
    kept(bench.heard(ana).is_empty(), "ana was given a message of somebody she does not see")?;
    bench.release();
    bench.pass(1_500);
    kept(bench.sees(ana, "cy"), "ana does not learn of cy even now")?;
    go_on(&mut bench, ben, ana)?;
    Ok("two leaders were enough for ana to see the join; with none she said that her view is unconfirmed".into())
}

fn ghost_view(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let ghost = bench.ghost("ghost", 1);
    let mut set = bench.seat(ana).member.members().cloned().unwrap_or_default();
    set.insert(ghost.entry());
    let epoch = Epoch(need(bench.view(ana), "ana is in")?.epoch.0 + 1);
    let view = ViewHasher::new(&bench.group, bench.group.session()).view_id(epoch, 0, set.hash());
    let list: Vec<Change> = set.iter().cloned().map(Change::Added).collect();
    for number in [500, 501] {
        let claim = bench.claim_by(l(4), number, view, 0, list.clone());
        made(bench.inject_notice(0, l(4), ana, &LeaderNotice::Claim(claim)), "leader 4 has a link to ana")?;
    }
    bench.refresh();
    let claims = bench.is_claim_to(ana);
    stage.window(&mut bench, claims)?;
    bench.pass(1_000);
    let seen = bench
        .seat(ana)
        .events
        .iter()
        .any(|e| matches!(e, Event::View { changes, .. } if changes.iter().any(|c| c.user() == &user("ghost"))));
    kept(!seen && !bench.sees(ana, "ghost"), "ana saw a ghost")?;
    kept(!bench.admitted(&[1, 2, 3], "ghost"), "an honest leader admitted a ghost")?;
    go_on(&mut bench, ana, ben)?;
    Ok("the view with the ghost, with leader 4's good share, was never installed".into())
}

fn forged_notices(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben, eve) = (bench.member("ana"), bench.member("ben"), bench.member("eve"));
    let (view, key) = (bench.view(ana), bench.key(ana));
    let held = need(bench.key(eve), "eve holds the group key")?;
    let epoch = Epoch(need(view, "ana is in")?.epoch.0);
    let ended = LeaderNotice::Ended { cause: Cause::Expelled, epoch };
    let view = need(view, "ana is in")?;
    let heartbeat = LeaderNotice::HeartbeatAnswer { answer: [0; 16], challenge: [0; 16], view };
    // Under the group key, in clear, and eve's own notices taken from her link.
    let mut channel = SealedChannel::new(&ringfort_crypto::secret::Secret32::new(held), End::Leader);
    let to_eve = bench.is_down_to(eve);
    let eves: Vec<Bytes> = bench.sealed_frames(0, to_eve).into_iter().map(|(_, f)| f).take(4).collect();
    for leader in [1, 2, 3] {
        let down = need(bench.down(l(leader), ana), "ana has a link")?;
        for (seq, notice) in [(1_000, &heartbeat), (1_001, &ended)] {
            let payload = codec::encode(notice);
            bench.push_down(ana, l(leader), &channel.seal(&payload));
            bench.inject(leader, down.clone(), in_clear(&payload, seq));
        }
        eves.iter().for_each(|frame| bench.push_down(ana, l(leader), frame));
    }
    stage.window(&mut bench, |_, _| false)?;
    let ended = bench.seat(ana).events.iter().any(|e| matches!(e, Event::Ended(_)));
    kept(!ended && !bench.seat(ana).member.has_ended(), "ana believed that she was expelled")?;
    kept(bench.view(ana) == Some(view) && bench.key(ana) == key, "ana left her view")?;
    let refused = bench.faults_of(ana, l(1)).iter().filter(|f| **f == Fault::BadSeal).count();
    kept(refused >= 4, format!("{refused} forgeries on leader 1's link were noticed"))?;
    go_on(&mut bench, ana, ben)?;
    Ok(format!("none of {} forgeries opened under ana's session keys", 3 * (4 + eves.len())))
}

/// A frame that has a sealed frame's form and is in clear.
pub(super) fn in_clear(payload: &[u8], seq: u64) -> Bytes {
    let header = [codec::WIRE_VERSION, ringfort_protocol::wire::SEALED_TAG];
    Bytes::from([&header, seq.to_be_bytes().as_slice(), payload, &[0; 16]].concat())
}

fn forged_closing(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let epoch = need(bench.view(ana), "ana is in")?.epoch;
    for cause in [Cause::Expelled, Cause::Left] {
        let lie = LeaderNotice::Ended { cause, epoch: Epoch(epoch.0 + 1) };
        made(bench.inject_notice(0, l(4), ana, &lie), "leader 4 has a link to ana")?;
    }
    bench.refresh();
    let claims = bench.is_claim_to(ana);
    stage.window(&mut bench, claims)?;
    // Leader 4 closes the link, and says it once more on the next.
    bench.link(ana, l(4));
    bench.pass(300);
    let lie = LeaderNotice::Ended { cause: Cause::Expelled, epoch };
    bench.inject_notice(0, l(4), ana, &lie);
    bench.pass(500);
    kept(!bench.seat(ana).member.has_ended(), "one leader's word ended ana's stay")?;
    kept(bench.sees(ben, "ana"), "ana is gone")?;
    go_on(&mut bench, ana, ben)?;
    Ok("three closings by one leader, on two links: the stay went on".into())
}

fn forged_share(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let view = need(bench.view(ana), "ana is in")?;
    let next = next_refresh(&bench, ana, view)?;
    let mut claim = bench.claim_by(l(4), 500, next, 1, Vec::new());
    claim.base = Base::View(view.digest);
    claim.share = bench.dice.bytes();
    let (route, forged) = need(bench.seal_as(l(4), ana, &LeaderNotice::Claim(claim)), "leader 4 has a link to ana")?;
    bench.inject(4, route.clone(), forged);
    // What leader 4's program would say stays at home.
    bench.hold = Box::new(move |r, _| *r == route);
    bench.refresh();
    let to_ana = bench.is_down_to(ana);
    stage.window(&mut bench, to_ana)?;
    bench.held.clear();
    bench.hold = Box::new(|_, _| false);
    bench.pass(1_000);
    made(bench.view(ana).is_some_and(|now| now.epoch > view.epoch), "the rekey was to happen")?;
    kept(bench.key(ana) == bench.key(ben) && bench.key(ana).is_some(), "ana combined a wrong key")?;
    go_on(&mut bench, ana, ben)?;
    Ok("the key was made from good shares only".into())
}

/// The view that follows one by the first refresh.
pub(super) fn next_refresh(bench: &Bench, seat: usize, view: ViewId) -> Result<ViewId, Ended> {
    let members = need(bench.seat(seat).member.members(), "a member")?;
    let hasher = ViewHasher::new(&bench.group, bench.group.session());
    Ok(hasher.view_id(Epoch(view.epoch.0 + 1), 1, members.hash()))
}

fn inconsistent_shares(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let view = need(bench.view(ana), "ana is in")?;
    let next = next_refresh(&bench, ana, view)?;
    let key = bench.register("cy");
    // A refresh and a join at once: leaders may pass through different views. Leader 4 mixes their shares up.
    let cy = bench.sit("cy", &key, &[1, 2, 3, 4]);
    bench.refresh();
    let mut mixed = bench.claim_by(l(4), 500, view, 0, Vec::new());
    mixed.view = next;
    mixed.refreshes = 1;
    mixed.base = Base::View(view.digest);
    bench.inject_notice(4, l(4), ana, &LeaderNotice::Claim(mixed));
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(..)))?;
    bench.pass(1_500);
    let keys = [bench.key(ana), bench.key(ben), bench.key(cy)];
    let views = [bench.view(ana), bench.view(ben), bench.view(cy)];
    kept(views.iter().all(|v| v.is_some() && *v == views[0]), format!("the group did not settle: {views:?}"))?;
    kept(keys.iter().all(|k| k.is_some() && *k == keys[0]), "members of one view have different keys")?;
    // Every message is read or said to be lost: nobody ever held a key of nobody's view.
    go_on(&mut bench, ana, cy)?;
    Ok("whatever views leaders passed through, all members ended in one view under one key".into())
}
