//! Scenes in which the lack of one rule shows: for rules that random runs exercise too rarely.

use std::time::Duration;

use ringfort_agreement::block::{Body, Parent, Sealed};
use ringfort_agreement::checkpoint::{self, Certificate, Parts, State, Statement};
use ringfort_agreement::keys::Purpose;
use ringfort_agreement::reached::{Answer, Reached};
use ringfort_agreement::sequence::Log;
use ringfort_agreement::transfer::{Taken, Transfer};
use ringfort_agreement::verify::Verifier;
use ringfort_agreement::wire::{Frame, PartName, Status};
use ringfort_agreement::{Author, AuthorSet, Digest, Record, Reference, Rule, Step, Time, block};

use crate::check::Checks;
use crate::hacked::Strategy;
use crate::keys;
use crate::network::Weather;
use crate::node::Peak;
use crate::run::{EPOCH, Plan, build, run};
use crate::world::World;

/// A plan without faults but those of the scene.
pub const SCENE: Plan = Plan { weather: Some(Weather::Kind), hacked: false, faults: 0, lossy: false, ..Plan::CHAOS };

/// Messages are given to everybody for a while.
pub fn load(world: &mut World, millis: u64, bytes: usize) {
    for _ in 0..millis / 2 {
        for who in world.honest() {
            world.submit(who, bytes);
        }
        world.go(Duration::from_millis(2));
    }
}

/// Whether all honest leaders have everything, in so much time.
pub fn comes_together(world: &mut World, within: Duration) -> bool {
    world.go_until(within, |world| {
        let there: Vec<u64> = world.honest().iter().map(|who| world.checks.application(*who).index).collect();
        world.checks.undelivered() == 0 && there.windows(2).all(|pair| matches!(pair, [a, b] if a == b))
    })
}

/// The most that any honest leader held.
pub fn peak(world: &World) -> Peak {
    let mut most = Peak::default();
    for (_, node) in world.nodes.iter().filter(|(who, _)| world.checks.honest.has(**who)) {
        most.bytes = most.bytes.max(node.peak.bytes);
        most.blocks = most.blocks.max(node.peak.blocks);
        most.waiting = most.waiting.max(node.peak.waiting);
        most.wanted = most.wanted.max(node.peak.wanted);
    }
    most
}

fn violations(checks: &Checks) -> Option<String> {
    checks.violations.first().cloned()
}

/// What a scene about `rule` shows when `weakened` is weakened.
pub fn complaint(rule: Rule, weakened: Option<Rule>) -> Option<String> {
    let plan = Plan { weakened, ..SCENE };
    match rule {
        Rule::RoundWindow => far_rounds(&plan),
        Rule::VariantsAsked => many_variants(&plan),
        Rule::CheckpointQuorum => (7..9).find_map(|seed| away_with(seed, &plan, Strategy::BadCheckpoint)),
        Rule::PartHash => bad_part(&plan),
        Rule::PayloadCap => nothing_decided(&plan),
        Rule::CoinAfterWave => early_coin(&plan),
        Rule::IdleRests | Rule::OneBlockARound | Rule::LostDisk => {
            random(&Plan { hacked: false, weakened, ..Plan::CHAOS })
        }
        Rule::CoinProof => random(&Plan { strategy: Some(Strategy::BadShares), weakened, ..Plan::CHAOS }),
        Rule::MedianTime => random(&Plan { strategy: Some(Strategy::WildClock), weakened, ..Plan::CHAOS }),
        Rule::Signature => random(&Plan { strategy: Some(Strategy::Forge), weakened, ..Plan::CHAOS }),
        Rule::CommonFloor => random(&Plan { weakened, ..Plan::CHAOS }),
        Rule::CertificateSigners => one_signer_twice(&plan),
        Rule::ReachedProof => one_witness(&plan),
        Rule::ForwardOnly => a_state_that_comes_too_late(&plan),
        Rule::DiskCertified | Rule::DiskState => altered_disk(&plan, rule == Rule::DiskCertified),
        Rule::CheckBudget => flood_to_be_checked(&plan),
        Rule::PlaceFirst => given_at_once_after_a_restart(&plan),
        Rule::ParentQuorum | Rule::Certificate | Rule::DirectCommit | Rule::DirectSkip | Rule::AnchorDistance => {
            let play = crate::graph::PLAYS.iter().find(|play| play.rule == rule);
            play.map_or(Some("there is no play".to_owned()), |play| play.complaint(weakened))
        }
    }
}

fn random(plan: &Plan) -> Option<String> {
    (0..60).find_map(|seed| run(seed, plan).complaints.into_iter().next())
}

/// A hacked leader sends one block for each of many far rounds, which name what there is not.
fn far_rounds(plan: &Plan) -> Option<String> {
    let mut world = build(5, plan);
    load(&mut world, 100, 40);
    let (who, liar) = (*world.all().first()?, *world.all().last()?);
    let keys = keys::simulated(5, plan.sizes.0, plan.sizes.1).pop()?;
    let far = world.core(who)?.quorum_round() + 17;
    let fake = |author| Parent { author, digest: Digest([9; 32]) };
    for round in far..far + 1000 {
        let parents = Author::all(3).map(fake).collect();
        let body = Body {
            epoch: EPOCH,
            author: liar,
            round,
            clock_us: 1,
            parents,
            weak: Vec::new(),
            coin: Some([0; 128]),
            evidence: Vec::new(),
            payload: Vec::new(),
        };
        let frame = Frame::Block(Sealed::sign(body, &*keys).block().as_ref().clone()).encode();
        world.act(who, |core, cx| core.on_frame(cx, liar, &frame));
    }
    let most = peak(&world);
    let too_many = most.waiting > 60 || most.wanted > 200;
    too_many.then(|| format!("memory grows: {most:?}")).or(violations(&world.checks))
}

/// A hacked leader sends forty blocks for each round.
fn many_variants(plan: &Plan) -> Option<String> {
    let mut world = build(6, &Plan { hacked: true, strategy: Some(Strategy::Multiply), ..*plan });
    load(&mut world, 1000, 40);
    let most = peak(&world);
    (most.blocks > 6000).then(|| format!("memory grows: {most:?}")).or(violations(&world.checks))
}

/// An honest leader is cut off until the others have let go of what it lacks.
fn away_with(seed: u64, plan: &Plan, strategy: Strategy) -> Option<String> {
    let mut world = build(seed, &Plan { hacked: true, strategy: Some(strategy), ..*plan });
    load(&mut world, 100, 40);
    let away = world.honest().last().copied()?;
    world.network.split(&[away]);
    load(&mut world, 1200, 40);
    world.network.heal();
    let together = comes_together(&mut world, Duration::from_secs(6));
    let apart = (!together).then(|| format!("it does not catch up; {}", crate::run::describe(&world)));
    violations(&world.checks).or(apart)
}

/// A leader that gives another state than the certified one, in parts of the right sizes.
fn bad_part(plan: &Plan) -> Option<String> {
    let state = |position| State { log: Log { position, ..Log::default() }, application: vec![7; 100_000] };
    let (good, bad) = (Parts::of(&state(5))?, Parts::of(&state(6))?);
    let statement = Statement {
        epoch: EPOCH,
        position: 5,
        round: 9,
        index: 0,
        head: Digest::default(),
        state: good.digest(),
        state_bytes: good.bytes().len() as u64,
    };
    let giver = Author::new(1)?;
    let certificate = Certificate { statement, signatures: vec![(giver, [0; 64])] };
    let mut transfer = Transfer::new(Time::ZERO, certificate, plan.rules())?;
    for (part, parts) in [(0, &good), (1, &bad), (2, &good)] {
        let _ = transfer.ask(Time::ZERO, AuthorSet::EMPTY.with(giver));
        let name = PartName { position: 5, part };
        match transfer.take(Time::ZERO, giver, name, parts.part(part)?.to_vec()) {
            Taken::Complete(whole) if whole.0 != state(5) => return Some("another state is installed".to_owned()),
            _ => {}
        }
    }
    None
}

/// Nothing is decided for long: no coin is ever known.
fn nothing_decided(plan: &Plan) -> Option<String> {
    let mut world = build(8, &Plan { no_coins: true, ..*plan });
    load(&mut world, 2000, 1500);
    let most = peak(&world);
    (most.bytes > 5_000_000).then(|| format!("memory grows: {most:?}")).or(violations(&world.checks))
}

/// A scheduler that knows a coin holds back what it names.
fn early_coin(plan: &Plan) -> Option<String> {
    let mut world = build(9, &Plan { weather: Some(Weather::Hostile), ..*plan });
    world.network.hacked = usize::from(plan.sizes.1);
    world.network.hold_ms = 300;
    load(&mut world, 2000, 40);
    let positions = world.honest().iter().map(|who| world.core(*who).map_or(0, |core| core.log().position)).min()?;
    let starves = positions < 200;
    starves.then(|| format!("{positions} blocks are committed in two seconds")).or(violations(&world.checks))
}

/// What a verifier of leader 0 says of a frame that leader 3 made.
fn is_taken(plan: &Plan, frame: &Frame) -> bool {
    let Some(keys) = keys::simulated(1, plan.sizes.0, plan.sizes.1).into_iter().next() else { return false };
    Verifier::new(EPOCH, plan.rules(), keys).check(&frame.encode()).is_ok()
}

/// A hacked leader's own signature as many times as a certificate needs.
fn one_signer_twice(plan: &Plan) -> Option<String> {
    let liar = keys::simulated(1, 4, 1).pop()?;
    let (author, digest) = (Author::new(3)?, Digest::default());
    let statement =
        Statement { epoch: EPOCH, position: 5, round: 9, index: 0, head: digest, state: digest, state_bytes: 1 };
    let signature = liar.sign(Purpose::Checkpoint, &checkpoint::signed_bytes(&statement));
    let certificate = Certificate { statement, signatures: vec![(author, signature); 2] };
    is_taken(plan, &Frame::Certificate(certificate)).then(|| "one leader certifies a state".to_owned())
}

/// A hacked leader alone proves how far the group has come.
fn one_witness(plan: &Plan) -> Option<String> {
    let liar = keys::simulated(1, 4, 1).pop()?;
    let name = Reference { round: 1 << 40, author: Author::new(3)?, digest: Digest::default() };
    let signature = liar.sign(Purpose::Block, &block::signed_bytes(&EPOCH, &name));
    let reached = Reached::Blocks { round: name.round, signers: vec![(name.author, name.digest, signature)] };
    let taken = is_taken(plan, &Frame::Reached(Answer { question: 1, reached }));
    taken.then(|| "one leader keeps another from making blocks for ever".to_owned())
}

/// A leader fetches a state, and gets the blocks before the state has come.
fn a_state_that_comes_too_late(plan: &Plan) -> Option<String> {
    let mut world = build(12, plan);
    load(&mut world, 100, 40);
    let who = world.all().pop()?;
    world.network.split(&[who]);
    load(&mut world, 100, 40);
    let others: Vec<Author> = world.all().into_iter().filter(|other| *other != who).collect();
    // They say, all of them, that they have let go of everything; the newest certificate comes with it.
    for other in &others {
        let name = PartName { position: 1 << 40, part: 0 };
        let frames = world.sent_by(*other, |core, cx| core.on_frame(cx, who, &Frame::Ask(name).encode()));
        let status = Frame::Status(Status { quorum_round: 5, lowest: 1 << 40, ..Status::default() }).encode();
        for frame in frames.into_iter().chain([status]) {
            world.act(who, |core, cx| core.on_frame(cx, *other, &frame));
        }
    }
    if !world.core(who)?.is_catching_up() {
        return Some("no state is fetched: the play is wrong".to_owned());
    }
    world.network.heal();
    let together = comes_together(&mut world, Duration::from_secs(2));
    world.go(Duration::from_secs(1));
    let apart = (!together).then(|| format!("it does not catch up; {}", crate::run::describe(&world)));
    violations(&world.checks).or(apart)
}

/// The state on a leader's disk is another one than was certified; with a statement that fits it, or without.
fn altered_disk(plan: &Plan, fits: bool) -> Option<String> {
    let mut world = build(13, plan);
    load(&mut world, 200, 40);
    let who = world.all().pop()?;
    world.crash(who);
    let mut altered = 0;
    for record in &mut world.nodes.get_mut(&who)?.disk {
        if let Record::Checkpoint { certificate, state, .. } = record {
            let mut other: State = ringfort_agreement::codec::decode(state).ok()?;
            other.application.iter_mut().skip(40).take(1).for_each(|byte| *byte ^= 1);
            let parts = Parts::of(&other)?;
            *state = parts.bytes().clone();
            if fits {
                certificate.statement.state = parts.digest();
            }
            altered += 1;
        }
    }
    world.restart(who);
    let together = comes_together(&mut world, Duration::from_secs(6));
    let apart = (!together || altered == 0).then(|| format!("{altered} altered; {}", crate::run::describe(&world)));
    violations(&world.checks).or(apart)
}

/// A hacked leader sends frames whose signatures are to be checked, as fast as it can.
fn flood_to_be_checked(plan: &Plan) -> Option<String> {
    let mut world = build(14, plan);
    let statement = Statement {
        epoch: EPOCH,
        position: 5,
        round: 9,
        index: 0,
        head: Digest::default(),
        state: Digest::default(),
        state_bytes: 1,
    };
    let signatures = Author::all(4).map(|author| (author, [1; 64])).collect();
    let frame = Frame::Certificate(Certificate { statement, signatures }).encode();
    let (who, liar) = (*world.all().first()?, *world.all().last()?);
    let mut checked = 0;
    for _ in 0..20_000 {
        world.act(who, |core, cx| {
            checked += core.open(cx.now, liar, &frame).map_or(0, |opened| opened.map_or(0, |o| o.signatures()));
            Step::default()
        });
    }
    (checked > 10_000).then(|| format!("{checked} signatures are checked at once"))
}

/// A leader is stopped until the others have let go of what it lacks, and is given messages as soon as it runs again.
fn given_at_once_after_a_restart(plan: &Plan) -> Option<String> {
    let mut world = build(15, plan);
    load(&mut world, 100, 40);
    world.go(Duration::from_secs(1));
    let who = world.all().pop()?;
    let round = world.core(who)?.own_round();
    // It wrote all that it had when it was stopped: its next block stands on that.
    let held: Vec<Record> =
        world.core(who)?.dag().round(round).map(|(_, node)| Record::Block(node.sealed().block().clone())).collect();
    world.nodes.get_mut(&who)?.disk.extend(held);
    world.crash(who);
    load(&mut world, 1200, 40);
    let (excused, installed) = (world.checks.excused.len(), world.checks.installed);
    world.restart(who);
    for _ in 0..20 {
        world.submit(who, 40);
    }
    let together = comes_together(&mut world, Duration::from_secs(6));
    if world.checks.installed == installed {
        return Some("it caught up without a state: the play is wrong".to_owned());
    }
    let apart = (!together).then(|| format!("its messages do not come; {}", crate::run::describe(&world)));
    let lost = world.checks.excused.len() - excused;
    let uncertain = (lost > 0).then(|| format!("{lost} messages given after the restart are uncertain"));
    violations(&world.checks).or(apart).or(uncertain)
}

/// A leader whose disk a backup was put back onto: it is one of the hacked from then on.
pub fn rolled_back(world: &mut World, who: Author, records: usize) {
    world.checks.honest = world.checks.honest.without(who);
    world.roll_back(who, records);
}

/// All leaders lose power at once, and come back.
pub fn power_cut(world: &mut World) {
    for who in world.all() {
        world.crash(who);
    }
    world.go(Duration::from_millis(300));
    for who in world.all() {
        world.restart(who);
    }
}
