//! Attacks on roles. Leader 4 is hacked, and so is the member whose role forbids something.

use ringfort_crypto::secret::Secret32;
use ringfort_crypto::threshold::Evaluation;
use ringfort_protocol::data::{KeyedView, Shape, seal_multicast};
use ringfort_protocol::fault::Fault;
use ringfort_protocol::ids::Seq;
use ringfort_protocol::keys::{ViewClaim, group_key, view_point};
use ringfort_protocol::policy::{Policy, Service};
use ringfort_protocol::roles::{Role, RoleRule};
use ringfort_protocol::rules::Rule;
use ringfort_protocol::wire::{self, LeaderNotice, MemberRequest, Sorted};
use ringfort_protocol::{LeaderId, ViewId};

use super::{Attack, go_on};
use crate::bench::{Bench, Hands, Route, l, topic};
use crate::explore::{Ended, Stage, kept, made, need};

/// Attacks on roles.
pub const ALL: &[Attack] = &[
    Attack::new(
        "receiver-speaks",
        "a member that may only receive seals a message with the group's key, and a hacked leader relays it",
        &[Rule::SenderRole, Rule::RelayRole],
        receiver_speaks,
    ),
    Attack::new(
        "sender-reads",
        "a member that may only send collects shares of the group's key, and a hacked leader gives it its own",
        &[Rule::ShareToReadersOnly, Rule::RelayRole],
        sender_reads,
    ),
];

const HONEST: [u8; 3] = [1, 2, 3];

fn with_roles(policy: &mut Policy) {
    let rule = |(users, role): (&str, Role)| RoleRule { users: users.parse().expect("a name"), role };
    policy.roles = [("rita", Role::Receiver), ("sue", Role::Sender)].map(rule).to_vec();
}

/// The key of a view, from the shares in claims that this user's program was given, and from whom they were.
fn key_of(bench: &Bench, view: ViewId, claims: &[(LeaderId, ViewClaim)]) -> (Vec<LeaderId>, Option<Secret32>) {
    let (mut from, mut shares) = (Vec::new(), Vec::new());
    for (leader, claim) in claims.iter().filter(|(_, claim)| claim.view == view) {
        let point = view_point(&bench.group, bench.group.session(), view, claim.refreshes);
        let share = Evaluation::from_bytes(claim.share);
        let good = bench.group.group_keys.verify(leader.share_index(), &point, &share).is_ok();
        if good && !from.contains(leader) {
            from.push(*leader);
            shares.push((leader.share_index(), share, point));
        }
    }
    let Some((_, _, point)) = shares.first().cloned() else { return (from, None) };
    let shares: Vec<_> = shares.iter().map(|(index, share, _)| (*index, share)).collect();
    let key = bench.group.group_keys.verify_and_combine(&point, &shares).ok().map(|output| group_key(&output, view));
    (from, key)
}

fn claims(hands: &mut Hands, bench: &mut Bench) -> Vec<(LeaderId, ViewClaim)> {
    let told = hands.told(bench).into_iter().filter_map(|(leader, notice)| match notice {
        LeaderNotice::Claim(claim) | LeaderNotice::PastClaim(claim) => Some((leader, claim)),
        _ => None,
    });
    told.collect()
}

fn receiver_speaks(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(with_roles);
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let key = bench.register("rita");
    let mut rita = need(Hands::log_in(&mut bench, "rita", &key, 1), "rita is let in")?;
    bench.pass(500);
    made(bench.sees(ben, "rita"), "rita is in the group")?;
    let view = need(bench.view(ben), "ben is in")?;
    let given = claims(&mut rita, &mut bench);
    let (_, key) = key_of(&bench, view, &given);
    let mut keyed = KeyedView::new(view, need(key, "rita reads, so she has the key")?);
    let shape = Shape::of(&bench.group.policy);
    let numbers = (Service::Fifo, Seq(1), Seq(1));
    let frame = seal_multicast(&shape, &rita.me, &mut keyed, numbers, &topic(), b"rita speaks");
    for leader in HONEST {
        let link = rita.link(l(leader));
        bench.on_leader(l(leader), |core, cx| core.on_member_frame(cx, link, &frame));
    }
    for seat in [ana, ben] {
        let down = need(bench.down(l(4), seat), "they have links")?;
        bench.inject(0, down, frame.clone());
    }
    stage.window(&mut bench, |route, _| matches!(route, Route::Down(..)))?;
    for seat in [ana, ben] {
        kept(bench.times_heard(seat, b"rita speaks") == 0, "a message of a member that may not send was delivered")?;
        let innocent = HONEST.iter().all(|leader| bench.faults_of(seat, l(*leader)).is_empty());
        kept(innocent, "honest leaders relayed it, and were blamed")?;
        kept(bench.faults_of(seat, l(4)).contains(&Fault::BadRelay), "leader 4 relayed it and was not blamed")?;
    }
    let noted = |leader: &&u8| bench.faults_at(l(**leader)).iter().any(|(_, fault)| *fault == Fault::AgainstRole);
    kept(HONEST.iter().filter(noted).count() == 3, "an honest leader did not note it")?;
    go_on(&mut bench, ana, ben)?;
    Ok("no honest leader relayed it and nobody delivered it; rita and leader 4 were blamed".into())
}

fn sender_reads(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(with_roles);
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let key = bench.register("sue");
    let mut sue = need(Hands::log_in(&mut bench, "sue", &key, 1), "sue is let in")?;
    bench.pass(500);
    made(bench.sees(ben, "sue"), "sue is in the group")?;
    let first = need(bench.view(ben), "ben is in")?;
    bench.refresh();
    bench.pass(500);
    let view = need(bench.view(ben), "ben is in")?;
    made(view != first, "there is a new key")?;
    // She asks everybody for this view and for the one before, and leader 4 gives her its own share of each.
    for leader in bench.leader_ids() {
        for request in [MemberRequest::Claim { have: None }, MemberRequest::PastClaim(first.digest)] {
            let frame = sue.seal(leader, &request);
            let link = sue.link(leader);
            bench.on_leader(leader, |core, cx| core.on_member_frame(cx, link, &frame));
        }
    }
    bench.say(ana, Service::Fifo, b"not for sue");
    stage.window(&mut bench, |route, _| matches!(route, Route::Down(..)))?;
    let links: Vec<_> = HONEST.iter().map(|leader| sue.link(l(*leader))).collect();
    let is_data = |frame: &bytes::Bytes| matches!(wire::sort(frame), Ok(Sorted::Data));
    let relayed = links.iter().filter_map(|link| bench.mail.get(link)).flatten().any(is_data);
    kept(!relayed, "an honest leader relayed sealed messages to a member that may not read")?;
    let mut given = claims(&mut sue, &mut bench);
    made(given.iter().any(|(_, claim)| claim.view == view), "sue is told of the view")?;
    let refreshes = |wanted: ViewId| given.iter().find(|(_, c)| c.view == wanted).map(|(_, claim)| claim.refreshes);
    let wanted = [(first, refreshes(first)), (view, refreshes(view))];
    for (wanted, refreshes) in wanted {
        let Some(refreshes) = refreshes else { continue };
        let own = bench.claim_by(l(4), 1, wanted, refreshes, Vec::new());
        given.push((l(4), own));
        let (from, key) = key_of(&bench, wanted, &given);
        made(from.contains(&l(4)), "leader 4's own share is good")?;
        kept(
            from == [l(4)] && key.is_none(),
            format!("{} leaders gave shares to a member that may not read", from.len()),
        )?;
    }
    kept(bench.times_heard(ben, b"not for sue") == 1, "ben was not given ana's message once")?;
    go_on(&mut bench, ana, ben)?;
    Ok("the share of f hacked leaders was all she got, which makes no key".into())
}
