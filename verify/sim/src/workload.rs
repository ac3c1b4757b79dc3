//! What users and operators do.

use std::time::Duration;

use ringfort_protocol::coordination::SessionOrder;
use ringfort_protocol::leader::{Command, Leader};
use ringfort_protocol::member::Member;
use ringfort_protocol::policy::Service;
use ringfort_protocol::{LeaderId, SessionNumber, UserName};

use crate::dice::Dice;
use crate::setup::Setup;
use crate::world::{ClientId, CrashPoint, Happening, LeaderNode, World};

/// One thing that users or operators do.
#[derive(Clone, Debug)]
pub enum Work {
    /// Something, drawn when its time comes.
    Something,
    /// Somebody sends a message.
    Talk,
    /// A user whose stay ended comes back.
    Return(usize),
    /// A user leaves, perhaps to come back at once.
    Leave(usize, bool),
    /// Operators end the session, or restart it.
    EndSession,
    /// Operators start the next session, if the one before it is over.
    StartSession,
    /// A link is reset in the middle of everything, if it is the time of faults.
    Reset,
    /// A leader is cut off from all members, or a member's machine sleeps, if it is the time of faults.
    Outage,
    /// The leader is reached again.
    OutageOver(usize),
    /// The machine wakes up.
    WakeUp(ClientId),
}

/// Runs in which sessions end, of a thousand.
const SESSIONS_PER_MILLE: u64 = 350;
/// How soon operators look again whether the session that they want is there.
const LOOK_AGAIN: Duration = Duration::from_millis(700);

/// The people's dice.
pub struct Workload {
    dice: Dice,
    weather: Dice,
    talking: bool,
}

impl Workload {
    /// For one run.
    pub fn new(setup: &Setup) -> Self {
        let (dice, weather) = (Dice::new(setup.seed, "workload"), Dice::new(setup.seed, "weather of the run"));
        Workload { dice, weather, talking: false }
    }
}

/// Plans `operations` over the time to come, and talk all along.
pub fn plan(world: &mut World, operations: usize, length: Duration) {
    let micros = u64::try_from(length.as_micros()).expect("phases are short");
    for _ in 0..operations {
        let after = Duration::from_micros(world.workload.dice.below(micros));
        world.schedule(after, Happening::Work(Work::Something));
    }
    if !std::mem::replace(&mut world.workload.talking, true) {
        world.schedule(Duration::from_millis(100), Happening::Work(Work::Talk));
    }
}

/// In some runs, plans ends of sessions over the time to come. By dice of their own: other runs are as they would be
/// without.
pub fn plan_sessions(world: &mut World, length: Duration) {
    let mut dice = Dice::new(world.setup.seed, "sessions");
    if !dice.chance(SESSIONS_PER_MILLE) {
        return;
    }
    let micros = u64::try_from(length.as_micros()).expect("phases are short");
    for _ in 0..=dice.below(3) {
        world.schedule(Duration::from_micros(dice.below(micros)), Happening::Work(Work::EndSession));
    }
}

/// Plans the resets and outages of a run's weather. By dice of their own, as sessions.
pub fn plan_weather(world: &mut World) {
    let weather = world.setup.weather;
    if weather.reset_every_ms > 0 {
        world.schedule(Duration::from_millis(weather.reset_every_ms), Happening::Work(Work::Reset));
    }
    if weather.outage_every_ms > 0 {
        world.schedule(Duration::from_millis(weather.outage_every_ms / 3), Happening::Work(Work::Outage));
    }
}

/// Nobody starts a conversation any more.
pub fn hush(world: &mut World) {
    world.workload.talking = false;
}

/// Does one thing.
pub fn perform(world: &mut World, work: Work) {
    match work {
        Work::Something => something(world),
        Work::Talk => {
            if world.workload.talking {
                talk(world);
                let wait = world.workload.dice.between_ms(20, 120);
                world.schedule(wait * world.setup.pace, Happening::Work(Work::Talk));
            }
        }
        Work::Leave(user, back) => {
            if let Some(person) = world.users.get_mut(user) {
                person.wants_in = back;
            }
            if let Some(client) = world.users.get(user).and_then(|u| u.client) {
                world.leave(client);
            }
        }
        Work::EndSession => end_session(world),
        Work::StartSession => start_session(world),
        Work::Reset => reset(world),
        Work::Outage => outage(world),
        Work::OutageOver(port) => drop(world.network.deaf.remove(&port)),
        Work::WakeUp(client) => world.wake_up(client),
        Work::Return(user) => {
            if world.users.get(user).is_some_and(|u| u.wants_in) {
                world.start_client(user);
            }
        }
    }
}

fn something(world: &mut World) {
    let user = world.workload.dice.index(world.users.len());
    let Some(person) = world.users.get_mut(user) else { return };
    let roll = world.workload.dice.below(100);
    match person.client {
        None => {
            if !person.expelled {
                person.wants_in = true;
                world.start_client(user);
            }
        }
        Some(client) if roll < 25 => {
            person.wants_in = false;
            world.leave(client);
        }
        Some(client) if roll < 40 => {
            // Comes back, or is lost for good.
            let back = world.workload.dice.chance(600);
            person.wants_in = back;
            world.crash_client(client);
            if back {
                let wait = world.workload.dice.between_ms(50, 5_000);
                world.schedule(wait, Happening::Work(Work::Return(user)));
            }
        }
        Some(_) if roll < 50 => expel(world, user),
        Some(_) if roll < 60 => refresh(world),
        Some(client) if roll < 75 && !world.facts.stable && world.setup.faults => trouble(world, client),
        Some(_) => burst(world),
    }
}

/// f+1 honest operators expel a user.
fn expel(world: &mut World, user: usize) {
    let operators = some_operators(world);
    let Some(person) = world.users.get_mut(user) else { return };
    let name = person.name.clone();
    // Operators can only expel somebody of whom their leader has heard.
    let known = operators
        .iter()
        .all(|id| world.leader(*id).core.as_ref().is_some_and(|core| core.members().get(&name).is_some()));
    if !known {
        return;
    }
    if let Some(person) = world.users.get_mut(user) {
        person.expelled = true;
        person.wants_in = false;
    }
    world.facts.expelled.insert(name.clone());
    world.trace.line(world.now, &format_args!("operators expel {name}"));
    operators.into_iter().for_each(|id| world.command(id, Command::Expel(name.clone())));
}

fn refresh(world: &mut World) {
    some_operators(world).into_iter().for_each(|id| world.command(id, Command::Refresh));
}

/// f+1 honest operators end the session, and start another then or some time later.
fn end_session(world: &mut World) {
    let operators = some_operators(world);
    let restart = world.workload.dice.chance(500);
    let session = |world: &World, id: &LeaderId| world.leader(*id).core.as_ref().map(Leader::session);
    let Some(now) = operators.first().and_then(|id| session(world, id)).filter(|now| now.open) else { return };
    if !operators.iter().all(|id| session(world, id) == Some(now)) {
        return;
    }
    let number = now.number;
    let order = if restart { SessionOrder::Restart(number) } else { SessionOrder::End(number) };
    world.facts.sessions_over.insert(number);
    world.facts.last_operation = world.now;
    world.trace.line(world.now, &format_args!("operators order {order:?}"));
    operators.into_iter().for_each(|id| world.command(id, Command::Session(order)));
    let wait = world.workload.dice.between_ms(10, 2_000);
    world.schedule(wait, Happening::Work(Work::StartSession));
}

/// Honest operators start the next session wherever the one before it is over; they look again until the one that they
/// ended is.
fn start_session(world: &mut World) {
    let closed = |l: &&LeaderNode| l.core.as_ref().is_some_and(|core| !core.session().open);
    let number = |l: &LeaderNode| l.core.as_ref().map(|core| core.session().number);
    let over = world.facts.sessions_over.last().copied();
    if world.honest().all(|l| !closed(&l) && number(l) > over) {
        return;
    }
    let next = world.honest().filter(closed).filter_map(number).max();
    let ready: Vec<LeaderId> = world.honest().filter(closed).filter(|l| number(l) == next).map(|l| l.id).collect();
    if let Some(next) = next.and_then(|now| SessionNumber::new(now.get() + 1)) {
        world.trace.line(world.now, &format_args!("operators start session {next}"));
        ready.into_iter().for_each(|id| world.command(id, Command::Session(SessionOrder::Start(next))));
    }
    world.schedule(LOOK_AGAIN, Happening::Work(Work::StartSession));
}

fn some_operators(world: &mut World) -> Vec<LeaderId> {
    let mut honest: Vec<LeaderId> = world.honest().map(|l| l.id).collect();
    let mut chosen = Vec::new();
    for _ in 0..=world.setup.f {
        let place = world.workload.dice.index(honest.len());
        chosen.push(honest.remove(place));
    }
    chosen
}

/// A fault of the network or of an honest leader's machine.
fn trouble(world: &mut World, client: ClientId) {
    let honest: Vec<LeaderId> = world.honest().map(|l| l.id).collect();
    let Some(leader) = world.workload.dice.pick(&honest).copied() else { return };
    match world.workload.dice.below(4) {
        0 => {
            let effects = u32::try_from(world.workload.dice.below(12)).expect("below twelve");
            let node = world.leader_mut(leader);
            // Anywhere, or just before or just after a record is made durable.
            match effects % 3 {
                0 => node.crash_after = Some(effects),
                side => node.crash_at = Some(CrashPoint { after: effects / 4, kept: side == 1 }),
            }
        }
        1 => {
            let port = world.port(client);
            world.part(leader, port);
        }
        2 => {
            let other = world.workload.dice.index(world.leaders.len());
            if other + 1 != usize::from(leader.number()) {
                world.part(leader, other);
            }
        }
        _ => world.network.heal(),
    }
}

/// One link ends, of a member or between leaders, with all that is under way in it.
fn reset(world: &mut World) {
    if world.facts.stable {
        return;
    }
    let links = world.links_where(|_| true);
    let peers = world.linked_peers();
    let place = world.workload.weather.index(links.len() + peers.len());
    match (links.get(place), peers.get(place.saturating_sub(links.len()))) {
        (Some(link), _) => world.reset_link(*link),
        (None, Some((a, b))) => world.cut_peers(*a, *b),
        (None, None) => {}
    }
    let every = world.setup.weather.reset_every_ms;
    let wait = world.workload.weather.between_ms(every / 2, every * 3 / 2);
    world.schedule(wait, Happening::Work(Work::Reset));
}

/// A minute to an hour without one leader, or without one member; before the next, all is well for some minutes.
fn outage(world: &mut World) {
    if world.facts.stable {
        return;
    }
    let length = match world.workload.weather.below(10) {
        0 => Duration::from_secs(3_600),
        1..4 => world.workload.weather.between_ms(120_000, 1_200_000),
        _ => world.workload.weather.between_ms(65_000, 75_000),
    };
    let clients = present(world);
    if world.workload.weather.chance(300)
        && let Some(client) = world.workload.weather.pick(&clients).copied()
    {
        world.put_to_sleep(client, length);
    } else {
        let honest: Vec<LeaderId> = world.honest().map(|l| l.id).collect();
        let Some(leader) = world.workload.weather.pick(&honest).copied() else { return };
        world.trace.line(world.now, &format_args!("no member reaches {leader} for {length:?}"));
        let port = World::leader_port(leader);
        world.network.deaf.insert(port);
        let links = world.links_where(|state| state.leader == leader);
        links.into_iter().for_each(|link| world.reset_link(link));
        world.schedule(length, Happening::Work(Work::OutageOver(port)));
    }
    let every = world.setup.weather.outage_every_ms;
    let wait = length + world.workload.weather.between_ms(every / 3, every * 2);
    world.schedule(wait, Happening::Work(Work::Outage));
}

fn present(world: &World) -> Vec<ClientId> {
    let clients = world.users.iter().filter_map(|u| u.client);
    clients.filter(|c| world.client(*c).member.as_ref().is_some_and(|m| m.view().is_some())).collect()
}

fn talk(world: &mut World) {
    let clients = present(world);
    let Some(client) = world.workload.dice.pick(&clients).copied() else { return };
    let services = [Service::Fifo, Service::Fifo, Service::Reliable, Service::BestEffort];
    let service = *world.workload.dice.pick(&services).expect("a fixed list");
    let mut to = None;
    if world.workload.dice.chance(250) {
        let names: Vec<UserName> = world.client(client).member.as_ref().map(Member::member_names).unwrap_or_default();
        let chosen: Vec<UserName> = names.into_iter().filter(|_| world.workload.dice.chance(500)).collect();
        to = Some(chosen);
    }
    world.say(client, service, to, false);
}

fn burst(world: &mut World) {
    for _ in 0..20 {
        talk(world);
    }
}

/// Every member says something that every other member must hear.
///
/// Not of those whose end has not reached them yet.
pub fn probe(world: &mut World) {
    let clients: Vec<ClientId> =
        world.users.iter().filter(|u| u.is_admissible() && u.wants_in).filter_map(|u| u.client).collect();
    let clients: Vec<ClientId> = clients.into_iter().filter(|client| !world.is_hacked(*client)).collect();
    for client in clients {
        for service in [Service::Fifo, Service::Reliable] {
            world.say(client, service, None, true);
        }
    }
}
