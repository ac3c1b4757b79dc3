//! Attacks on setting up a group without a dealer. Leader 2 is hacked: it wants one of the honest to finish and the others never,
//! or the honest to name each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::group::LeaderInfo;
use ringfort_protocol::introduction::{Facts, Introduction};
use ringfort_protocol::rules::Rule;
use ringfort_protocol::{Cx, LeaderId, Policy, Rules, Time};
use ringfort_setup::{Ceremony, Certificate, Confirmation, Effect, Event, Keys, Limits, Past, Step, Terms, Verdict};

use super::Attack;
use crate::bench::l;
use crate::dice::Dice;
use crate::explore::{Ended, Stage, kept, made, need};

/// Attacks on ceremonies.
pub const ALL: &[Attack] = &[
    Attack::new(
        "half-finished-setup",
        "a participant withholds its confirmation, and shows one other that all have confirmed once the rest is started again",
        &[Rule::ConfirmedOnce],
        half_finished,
    ),
    Attack::new(
        "old-start-of-a-setup",
        "a participant passes on the start of somebody who is not there yet, from an earlier try",
        &[Rule::AllReady],
        old_start,
    ),
];

const HACKED: u8 = 2;
const LIMITS: Limits =
    Limits { meeting: Duration::from_secs(600), round: Duration::from_secs(20), farewell: Duration::from_secs(10) };
/// Frames of one ceremony: far fewer.
const FRAMES_MAX: usize = 100_000;

/// What a machine keeps on its disk.
#[derive(Default)]
struct Disk {
    attempt: u64,
    confirmed: Option<(Confirmation, [u8; 32])>,
    certificate: Option<Certificate>,
}

/// The machines of a ceremony with what drives them. Frames arrive at once, in the order in which they were sent.
struct Machines {
    terms: Arc<Terms>,
    dice: Dice,
    seed: u64,
    now: Duration,
    running: BTreeMap<LeaderId, Ceremony>,
    disks: BTreeMap<LeaderId, Disk>,
    verdicts: Vec<(LeaderId, Verdict)>,
    wires: VecDeque<(LeaderId, LeaderId, Vec<u8>)>,
    /// Whether the hacked one keeps its confirmation to itself, and all that it would say after it.
    withholds: bool,
    has_confirmed: bool,
    withheld: Vec<(LeaderId, Vec<u8>)>,
}

fn keys(seed: u64, id: LeaderId) -> Keys {
    let mut dice = Dice::new(seed, &format!("keys of {id}"));
    Keys {
        link: Secret32::random(&mut dice.0),
        signing: SigningKey::generate(&mut dice.0),
        sealing: KemSecret::generate(&mut dice.0),
    }
}

fn introduction(seed: u64, number: u8) -> Option<Introduction> {
    let keys = keys(seed, l(number));
    let info = LeaderInfo {
        address: format!("leader-{number}.example:7400"),
        link_key: SigningKey::from_secret(&keys.link).verifying_key().to_bytes(),
        signing_key: keys.signing.verifying_key(),
        sealing_key: keys.sealing.public(),
    };
    let facts = Facts::new(|kind| format!("{} {number}", kind.word())).ok()?;
    Some(Introduction::sign("garden", l(number), info, facts, &keys.signing))
}

impl Machines {
    fn new(stage: &Stage) -> Option<Self> {
        let seed = stage.seed();
        let introductions = (1..=4).map(|number| introduction(seed, number)).collect::<Option<Vec<_>>>()?;
        let rules = Rules::new(4, 1, 2).ok()?;
        let rules = stage.rule().map_or(rules, |rule| rules.mutated_for_testing_only(rule));
        let terms = Arc::new(Terms::new(rules, Policy::default(), introductions).ok()?);
        Some(Machines {
            terms,
            dice: Dice::new(seed, "setup"),
            seed,
            now: Duration::from_secs(1),
            running: BTreeMap::new(),
            disks: BTreeMap::new(),
            verdicts: Vec::new(),
            wires: VecDeque::new(),
            withholds: false,
            has_confirmed: false,
            withheld: Vec::new(),
        })
    }

    fn honest(&self) -> impl Iterator<Item = LeaderId> + use<> {
        LeaderId::all(4).filter(|id| id.number() != HACKED)
    }

    fn has_finished(&self, id: LeaderId) -> bool {
        self.disks.get(&id).is_some_and(|disk| disk.certificate.is_some())
    }

    /// Starts a machine, again if it has run before, with what it holds on its disk; all who run get a link to it.
    fn start(&mut self, id: LeaderId) -> Option<()> {
        self.wires.retain(|(from, to, _)| *from != id && *to != id);
        let disk = self.disks.entry(id).or_default();
        let now = Time::from_start(self.now);
        let (core, step) = match &disk.certificate {
            Some(held) => (Ceremony::over(self.terms.clone(), id, held.clone(), LIMITS, now), Step::default()),
            None => {
                disk.attempt += 1;
                let confirmed = disk.confirmed.as_ref();
                let confirmed = confirmed.and_then(|(held, _)| Confirmation::from_bytes(&held.to_bytes()));
                let past = Past { attempt: disk.attempt, reason: None, confirmed };
                let mut cx = Cx { now, unix_ms: 0, rng: &mut self.dice.0 };
                Ceremony::start(self.terms.clone(), id, keys(self.seed, id), past, LIMITS, &mut cx)?
            }
        };
        self.running.insert(id, core);
        self.carry_out(id, step);
        for other in self.running.keys().copied().filter(|other| *other != id).collect::<Vec<_>>() {
            for (a, b) in [(id, other), (other, id)] {
                let step = self.running.get_mut(&a)?.on_link(b);
                self.carry_out(a, step);
            }
        }
        Some(())
    }

    fn carry_out(&mut self, me: LeaderId, step: Step) {
        for effect in step.effects {
            match effect {
                Effect::Send(to, frame) if self.withholds && self.has_confirmed && me.number() == HACKED => {
                    self.withheld.push((to, frame));
                }
                Effect::Send(to, frame) => self.wires.push_back((me, to, frame)),
                Effect::Persist(result) => {
                    self.has_confirmed |= me.number() == HACKED;
                    let disk = self.disks.entry(me).or_default();
                    disk.confirmed = Some((result.confirmation, result.group.id().0));
                }
                Effect::Remember(_) => {}
                Effect::Confirm(certificate) => {
                    // What it says from now on tells the others that it is over.
                    if me.number() == HACKED {
                        self.withheld.clear();
                    }
                    self.disks.entry(me).or_default().certificate = Some(certificate);
                }
            }
        }
        for event in step.events {
            if let Event::Failed(verdict) = event {
                self.verdicts.push((me, verdict));
            }
        }
    }

    /// Until all frames have arrived.
    fn pump(&mut self) {
        for _ in 0..FRAMES_MAX {
            let Some((from, to, frame)) = self.wires.pop_front() else { return };
            let Some(core) = self.running.get_mut(&to) else { continue };
            let mut cx = Cx { now: Time::from_start(self.now), unix_ms: 0, rng: &mut self.dice.0 };
            let step = core.on_message(&mut cx, from, &frame);
            self.carry_out(to, step);
        }
    }

    /// Lets time pass, and everybody do what is due.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.pump();
            let due = self.running.iter().filter_map(|(id, core)| Some((core.next_wakeup()?, *id))).min();
            let Some((at, id)) = due.filter(|(at, _)| at.since_start() <= until) else { break };
            self.now = self.now.max(at.since_start());
            let Some(core) = self.running.get_mut(&id) else { break };
            let mut cx = Cx { now: at, unix_ms: 0, rng: &mut self.dice.0 };
            let step = core.on_wakeup(&mut cx);
            self.carry_out(id, step);
        }
        self.now = until;
    }

    /// Honest ones that failed name the hacked one, and never each other.
    fn judge(&self) -> Result<(), Ended> {
        for (id, verdict) in self.verdicts.iter().filter(|(id, _)| id.number() != HACKED) {
            let wronged = verdict.blames.iter().find(|blame| {
                let through = blame.reason.map_or(blame.leader, |(about, _)| about);
                through.number() != HACKED
            });
            kept(
                wronged.is_none(),
                format!("{id} names an honest leader: {}", wronged.map_or_else(String::new, |b| b.to_string())),
            )?;
        }
        Ok(())
    }

    /// All of the honest have finished, with one group.
    fn all_finished(&self) -> Result<(), Ended> {
        let never: Vec<String> = self.honest().filter(|id| !self.has_finished(*id)).map(|id| id.to_string()).collect();
        kept(never.is_empty(), format!("another one has finished, and {} cannot any more", never.join(" and ")))?;
        let groups: BTreeSet<[u8; 32]> =
            self.honest().filter_map(|id| self.disks.get(&id)?.confirmed.as_ref().map(|(_, group)| *group)).collect();
        kept(groups.len() == 1, format!("{} groups came out", groups.len()))
    }
}

fn half_finished(stage: &mut Stage) -> Result<String, Ended> {
    let mut machines = need(Machines::new(stage), "the terms of a setup")?;
    machines.withholds = true;
    for id in LeaderId::all(4) {
        need(machines.start(id), "a machine that starts")?;
    }
    machines.pump();
    let confirmed = machines.honest().all(|id| machines.disks.get(&id).is_some_and(|disk| disk.confirmed.is_some()));
    made(
        confirmed && machines.honest().all(|id| !machines.has_finished(id)),
        "all were to confirm, and none to finish",
    )?;
    made(machines.has_finished(l(HACKED)), "the hacked one was to hold all confirmations")?;
    // Two operators lose patience.
    for number in [1, 4] {
        need(machines.start(l(number)), "a machine that is started again")?;
    }
    machines.pass(Duration::from_secs(1));
    // The third is shown that all have confirmed.
    let shown: Vec<_> = std::mem::take(&mut machines.withheld);
    let shown: Vec<_> = shown.into_iter().filter(|(to, _)| *to == l(3)).collect();
    made(!shown.is_empty(), "the hacked one was to have something to show")?;
    machines.wires.extend(shown.into_iter().map(|(to, frame)| (l(HACKED), to, frame)));
    machines.pump();
    made(machines.has_finished(l(3)), "leader 3 was to finish")?;
    // Whoever has not finished is started again, as often as it takes.
    for _ in 0..3 {
        machines.pass(Duration::from_secs(700));
        for id in machines.honest().filter(|id| !machines.has_finished(*id)).collect::<Vec<_>>() {
            need(machines.start(id), "a machine that is started again")?;
        }
        need(machines.start(l(3)), "a machine that is started again")?;
    }
    machines.pass(Duration::from_secs(700));
    machines.all_finished()?;
    Ok("leader 3 finished by a certificate that leader 2 had withheld; so did the others, though started again".into())
}

fn old_start(stage: &mut Stage) -> Result<String, Ended> {
    let mut machines = need(Machines::new(stage), "the terms of a setup")?;
    // Leader 1 was there before, alone with the hacked one.
    for number in [HACKED, 1] {
        need(machines.start(l(number)), "a machine that starts")?;
    }
    let hello = machines.wires.iter().find(|(from, to, _)| (*from, *to) == (l(1), l(HACKED)));
    let hello = need(hello.map(|(_, _, frame)| frame.clone()), "leader 1's start")?;
    machines.running.remove(&l(1));
    machines.running.remove(&l(HACKED));
    machines.wires.clear();
    for number in [HACKED, 3, 4] {
        need(machines.start(l(number)), "a machine that starts")?;
    }
    machines.wires.extend([HACKED, 3, 4].map(|to| (if to == HACKED { l(1) } else { l(HACKED) }, l(to), hello.clone())));
    // Longer than anybody waits for a word in a round, and not as long as all wait for each other.
    machines.pass(Duration::from_secs(60));
    machines.judge()?;
    need(machines.start(l(1)), "leader 1 that comes late")?;
    machines.pass(Duration::from_secs(60));
    machines.judge()?;
    machines.all_finished()?;
    Ok("the old start opened nothing: the others waited for leader 1 itself, and all finished together".into())
}
