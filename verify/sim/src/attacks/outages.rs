//! Attacks on what leaders think of now: f hacked leaders and the outages of honest ones.

use ringfort_protocol::coordination::{Operation, SignedProposal};
use ringfort_protocol::leader::Event;
use ringfort_protocol::rules::Rule;
use ringfort_protocol::unheard::{Doubt, Unheard};
use ringfort_protocol::view::Cause;
use ringfort_protocol::wire::{PROPOSALS_MAX, PeerMessage};
use ringfort_protocol::{Incarnation, MemberId};

use super::{Attack, go_on};
use crate::bench::{Bench, Route, l, user};
use crate::explore::{Ended, Stage, kept, made};

/// Attacks with outages, and with work.
pub const ALL: &[Attack] = &[
    Attack::new(
        "old-outage",
        "after outages of two honest leaders, one after the other, a hacked one says that it hears nobody",
        &[Rule::LostTogether, Rule::OpinionExpires],
        old_outage,
    ),
    Attack::new(
        "outage-is-over",
        "two leaders do not hear a member, and a hacked one agrees with one of them; much later it says that the member is lost",
        &[Rule::LostLapses],
        outage_is_over,
    ),
    Attack::new(
        "flood-of-votes",
        "a hacked leader says the same votes again and again, which nobody keeps and everybody must check",
        &[Rule::PeerBudget],
        flood_of_votes,
    ),
];

/// The hacked leader 4 says that it hears nobody.
fn hears_nobody(bench: &mut Bench, number: u64, to: &[u8], doubts: Vec<Doubt>) -> Vec<MemberId> {
    let members: Vec<MemberId> = bench.leader(l(4)).members().iter().map(|entry| entry.id.clone()).collect();
    let (key, session) = (bench.secrets_of(l(4)).signing.clone(), bench.group.session());
    let unheard = PeerMessage::Unheard(Unheard::sign(&key, l(4), session, number, members.clone(), doubts));
    to.iter().for_each(|to| bench.push_peer(l(4), l(*to), &unheard));
    members
}

/// The hacked leader 4 says that it hears nobody, takes all for lost, and votes all out.
fn says_all_are_lost(bench: &mut Bench, number: u64) {
    let stays: Vec<MemberId> = bench.leader(l(4)).members().iter().map(|entry| entry.id.clone()).collect();
    let lost = |stay: &MemberId| {
        let stay = stay.clone();
        [0, 1, u64::MAX].map(|life| Doubt { stay: stay.clone(), life, lost: true, found: false })
    };
    let members = hears_nobody(bench, number, &[1, 2, 3], stays.iter().flat_map(lost).collect());
    for to in [1, 2, 3] {
        for member in &members {
            let vote = bench.vote(l(4), &Operation::Remove(member.clone(), Cause::Lost), false);
            bench.push_peer(l(4), l(to), &vote);
        }
    }
}

fn deaf(bench: &mut Bench, number: u8, hostile: bool) {
    bench.hold = Box::new(move |route, _| matches!(route, Route::Up(_, to) if *to == l(number)));
    for period in 0..10 {
        bench.pass(500);
        if hostile {
            says_all_are_lost(bench, 1_000 + period);
        }
    }
    bench.release();
    bench.pass(4_000);
}

fn old_outage(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let silent = |bench: &Bench, by: u8| {
        let faults = bench.faults_at(l(by));
        faults.iter().any(|(_, fault)| *fault == ringfort_protocol::Fault::Silent)
    };
    deaf(&mut bench, 3, false);
    made(silent(&bench, 3), "leader 3 noticed nothing")?;
    says_all_are_lost(&mut bench, 1);
    bench.pass(500);
    let all_in = |bench: &Bench| (1..=3).all(|number| bench.leader(l(number)).members().len() == 2);
    kept(all_in(&bench), "an old outage of one leader and the word of a hacked one put members out")?;
    deaf(&mut bench, 2, true);
    made(silent(&bench, 2), "leader 2 noticed nothing")?;
    kept(all_in(&bench), "members were put out, though at any time two honest leaders heard them")?;
    go_on(&mut bench, ana, ben)?;
    Ok("two leaders were deaf one after the other and the hacked one agreed with each: nobody was put out".into())
}

fn outage_is_over(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    // The hacked leader tells leader 2 alone that it hears nobody.
    let from_four = |route: &Route| matches!(route, Route::Peer(from, _) if *from == l(4));
    bench.hold =
        Box::new(move |route, _| matches!(route, Route::Up(_, to) if [l(2), l(3)].contains(to)) || from_four(route));
    for period in 0..12 {
        bench.pass(500);
        hears_nobody(&mut bench, 1_000 + period, &[2], Vec::new());
    }
    let silent = bench.faults_at(l(2)).iter().any(|(_, fault)| *fault == ringfort_protocol::Fault::Silent);
    made(silent, "leader 2 noticed nothing")?;
    bench.release();
    bench.pass(10_000);
    let all_in = |bench: &Bench| (1..=3).all(|number| bench.leader(l(number)).members().len() == 2);
    made(all_in(&bench), "members were put out in the outage itself")?;
    for period in 0..4 {
        says_all_are_lost(&mut bench, 10_000 + period);
        bench.pass(500);
    }
    kept(all_in(&bench), "an outage that was over put members out whom all leaders heard")?;
    go_on(&mut bench, ana, ben)?;
    Ok("leader 2 had taken the members for lost; once they were found nothing of it was left".into())
}

fn flood_of_votes(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let ana = bench.member("ana");
    let (key, session) = (bench.secrets_of(l(4)).signing.clone(), bench.group.session());
    let vote = |stay| {
        let nobody = MemberId { user: user("nobody"), incarnation: Incarnation(stay) };
        SignedProposal::sign(&key, l(4), session, Operation::Remove(nobody, Cause::Left), false)
    };
    let votes = PeerMessage::Proposals((2..2 + PROPOSALS_MAX as u64).map(vote).collect());
    let cut = |bench: &Bench| {
        let cut = |(by, event): &(_, Event)| *by == l(1) && matches!(event, Event::CutOff(peer, _) if *peer == l(4));
        bench.events.iter().any(cut)
    };
    for _ in 0..25_600 / PROPOSALS_MAX {
        bench.push_peer(l(4), l(1), &votes);
    }
    kept(cut(&bench), "leader 1 checked 25,600 signatures for leader 4 within a second")?;
    let ben = bench.member("ben");
    kept(bench.sees(ana, "ben"), "a true join did not come through")?;
    go_on(&mut bench, ana, ben)?;
    Ok("leader 1 stopped listening to leader 4, and the others went on".into())
}
