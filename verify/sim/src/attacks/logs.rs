//! Attacks on what proves membership. Leader 4 is hacked.

use ringfort_protocol::Epoch;
use ringfort_protocol::fault::Fault;
use ringfort_protocol::keys::Base;
use ringfort_protocol::log::{Entry, Head, Log, Opening, Segment, What, verify};
use ringfort_protocol::rules::Rule;
use ringfort_protocol::statement::{Statement, Word};
use ringfort_protocol::view::{MemberSet, ViewHasher};
use ringfort_protocol::wire::LeaderNotice;

use super::views::next_refresh;
use super::{Attack, go_on};
use crate::bench::{Bench, Route, l};
use crate::explore::{Ended, Stage, kept, made, need};

/// Attacks on certificates and logs.
pub const ALL: &[Attack] = &[
    Attack::new(
        "unsigned-claim",
        "a hacked leader claims the true view without signing it",
        &[Rule::Statement],
        unsigned_claim,
    ),
    Attack::new(
        "thin-certificate",
        "a member forges a log of a view that one hacked leader alone has signed",
        &[Rule::Certificate],
        thin_certificate,
    ),
];

/// What a seat's log says, checked with the group file alone.
fn log_of(bench: &Bench, seat: usize) -> Result<usize, String> {
    let log = Log::from_bytes(&bench.seat(seat).log).map_err(|refused| refused.to_string())?;
    verify(&log, &bench.group).map(|audited| audited.views.len()).map_err(|refused| refused.to_string())
}

fn unsigned_claim(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let view = need(bench.view(ana), "ana is in")?;
    let next = next_refresh(&bench, ana, view)?;
    let mut claim = bench.claim_by(l(4), 500, next, 1, Vec::new());
    claim.base = Base::View(view.digest);
    claim.statement.at_ms += 1;
    bench.inject_notice(4, l(4), ana, &LeaderNotice::Claim(claim));
    // Of the others, leader 1 alone gets through to ana for now.
    bench.hold = Box::new(move |r, _| matches!(r, Route::Down(by, _) if *by != l(1)));
    bench.refresh();
    let to_ana = bench.is_down_to(ana);
    stage.window(&mut bench, to_ana)?;
    let log = log_of(&bench, ana);
    kept(log.is_ok(), format!("ana installed a view that nobody can prove: {log:?}"))?;
    bench.hold = Box::new(|_, _| false);
    bench.release();
    bench.pass(2_000);
    made(bench.view(ana).is_some_and(|now| now.epoch > view.epoch), "the rekey was to happen")?;
    kept(bench.faults_of(ana, l(4)).contains(&Fault::BadStatement), "leader 4's claim was not noticed")?;
    let views = log_of(&bench, ana).map_err(|refused| Ended::Broken(format!("ana's log is refused: {refused}")))?;
    go_on(&mut bench, ana, ben)?;
    Ok(format!("the claim did not count, and every view in ana's log is certified ({views})"))
}

fn thin_certificate(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let eve = bench.ghost("eve", 1);
    let mut set = MemberSet::default();
    [eve.entry(), bench.ghost("ghost", 1).entry()].into_iter().for_each(|entry| set.insert(entry));
    let view = ViewHasher::new(&bench.group, bench.group.session()).view_id(Epoch(2), 0, set.hash());
    let word = Word { leader: l(4), statement: Statement::sign(bench.secrets_of(l(4)), &bench.group, view, 0, 0) };
    let (group, previous) = (bench.group.id(), Head::default());
    let what = What::View { view, refreshes: 0, changes: Vec::new(), words: vec![word] };
    let entry = Entry::sign(&eve.signing, group, &eve.id, previous, 0, what);
    let opening = Opening { group, member: eve.id.clone(), previous, members: set.iter().cloned().collect() };
    let log = Log { segments: vec![Segment { opening, entries: vec![entry] }] };
    kept(verify(&log, &bench.group).is_err(), "a view that one leader signed was taken as certified")?;
    Ok("the log was refused: f+1 leaders must have signed".into())
}
