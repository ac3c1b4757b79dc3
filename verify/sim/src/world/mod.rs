//! The world: nodes, links, time, and the order in which things happen.

mod clients;
mod facts;
mod leaders;
mod links;
mod queue;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringfort_protocol::group::{GroupInfo, LeaderSecrets};
use ringfort_protocol::ids::MemberId;
use ringfort_protocol::{LeaderId, LinkId, Time, UserName};

pub use clients::{Client, ClientId, Key, User};
pub use facts::{Facts, Sent};
pub use leaders::{CrashPoint, LeaderNode, Store};
pub use links::LinkState;
pub use queue::{Happening, Queue};
pub use work::{Cost, Ledger, Place, SENT_SHARE_BYTES, WORK_SHARE_NS};

use crate::checkers::{Checkers, Seen, What};
use crate::dice::Dice;
use crate::mutator::script::Tried;
use crate::network::Network;
use crate::setup::{Setup, copy_secrets};
use crate::trace::Trace;
use crate::workload::Workload;

/// Unix time at the start of every run.
pub const UNIX_START_S: u64 = 1_800_000_000;

/// Unix time of a moment of the run, in milliseconds.
pub fn unix_ms(now: Time) -> u64 {
    UNIX_START_S * 1000 + u64::try_from(now.since_start().as_millis()).expect("runs are short")
}

/// Time between two looks of the checkers.
const LOOK_PERIOD: Duration = Duration::from_millis(250);

/// Everything there is in one run.
pub struct World {
    /// Its parameters.
    pub setup: Setup,
    /// The public document.
    pub group: Arc<GroupInfo>,
    /// The time.
    pub now: Time,
    queue: Queue,
    /// The digest of what happened.
    pub trace: Trace,
    /// The network.
    pub network: Network,
    dice: Dice,
    /// All leaders.
    pub leaders: Vec<LeaderNode>,
    /// Every run of a member's program, ended ones included.
    pub clients: Vec<Client>,
    /// The people.
    pub users: Vec<User>,
    links: BTreeMap<LinkId, LinkState>,
    /// Peer links that are up, with their number.
    peers: BTreeMap<(LeaderId, LeaderId), u64>,
    next_link: u64,
    /// What is known to have happened, for the checkers.
    pub facts: Facts,
    /// The properties.
    pub checkers: Checkers,
    pub(crate) workload: Workload,
    /// The secrets of the hostile leaders.
    gang: Vec<LeaderSecrets>,
    /// Every user's name, and names of nobody.
    names: Vec<UserName>,
    /// What mutators did.
    pub tried: Vec<Tried>,
    /// Who made whom work.
    pub ledger: Ledger,
}

impl World {
    /// A world at time zero: leaders up, users registered, nobody in.
    pub fn new(setup: Setup) -> Self {
        let (group, secrets) = setup.deal();
        let mut dice = Dice::new(setup.seed, "world");
        let hostile = hostile_leaders(&setup, &mut dice);
        let gang = secrets.iter().filter(|s| hostile.contains(&s.id)).map(copy_secrets).collect();
        let mut world = World {
            network: Network::new(setup.seed, setup.wire, setup.weather),
            trace: Trace::new(setup.verbose),
            now: Time::from_start(Duration::from_secs(1)),
            queue: Queue::default(),
            leaders: Vec::new(),
            clients: Vec::new(),
            users: Vec::new(),
            links: BTreeMap::new(),
            peers: BTreeMap::new(),
            next_link: 1,
            facts: Facts::default(),
            checkers: Checkers::new(&setup),
            workload: Workload::new(&setup),
            gang,
            names: Vec::new(),
            tried: Vec::new(),
            ledger: Ledger::default(),
            group,
            dice,
            setup,
        };
        world.facts.hostile.extend(hostile.iter().copied());
        world.facts.faults = usize::from(world.setup.f);
        for secrets in secrets {
            let is_hostile = hostile.contains(&secrets.id);
            world.add_leader(secrets, is_hostile);
        }
        world.enrol_users();
        world.connect_peers();
        world.schedule(LOOK_PERIOD, Happening::Look);
        world
    }

    /// The checkers look at everything.
    fn look(&mut self) {
        self.schedule(LOOK_PERIOD * self.setup.pace, Happening::Look);
        let mut checkers = std::mem::take(&mut self.checkers);
        checkers.look(self);
        self.checkers = checkers;
    }

    /// Lets things happen until `until`.
    pub fn run_until(&mut self, until: Time) {
        while let Some((at, happening)) = self.queue.pop_before(until) {
            self.now = self.now.max(at);
            self.happen(happening);
        }
        self.now = self.now.max(until);
    }

    /// Lets things happen for some time.
    pub fn run_for(&mut self, length: Duration) {
        self.run_until(self.now + length);
    }

    /// Puts something into the future.
    pub(crate) fn schedule(&mut self, after: Duration, happening: Happening) {
        self.queue.push(self.now + after, happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ToLeader { leader, link, frame } => self.frame_to_leader(leader, link, &frame),
            Happening::ToClient { link, frame } => self.frame_to_client(link, &frame),
            Happening::ToPeer { from, to, number, frame } => self.frame_to_peer(from, to, number, &frame),
            Happening::Connect { client, leader } => self.connect(client, leader),
            Happening::Arrived { link } => self.arrived(link),
            Happening::DownAtLeader { link } => self.down_at_leader(link),
            Happening::DownAtClient { link } => self.down_at_client(link),
            Happening::WakeLeader { leader } => self.wake_leader(leader),
            Happening::WakeClient { client } => self.wake_client(client),
            Happening::ConnectPeers => self.connect_peers(),
            Happening::Restart { leader, forget } => self.restart(leader, forget),
            Happening::Scheme { leader } => self.scheme(leader),
            Happening::Look => self.look(),
            Happening::Work(work) => crate::workload::perform(self, work),
        }
    }

    /// The leader with a number.
    pub fn leader(&self, id: LeaderId) -> &LeaderNode {
        self.leaders.get(usize::from(id.number()) - 1).expect("leaders are numbered from 1 to n")
    }

    pub(crate) fn leader_mut(&mut self, id: LeaderId) -> &mut LeaderNode {
        self.leaders.get_mut(usize::from(id.number()) - 1).expect("leaders are numbered from 1 to n")
    }

    /// A run of a member's program.
    pub fn client(&self, id: ClientId) -> &Client {
        self.clients.get(id.0).expect("clients are never taken away")
    }

    pub(crate) fn client_mut(&mut self, id: ClientId) -> &mut Client {
        self.clients.get_mut(id.0).expect("clients are never taken away")
    }

    /// Honest leaders, up or down.
    pub fn honest(&self) -> impl Iterator<Item = &LeaderNode> {
        self.leaders.iter().filter(|l| !l.hostile)
    }

    /// The secrets of the hostile leaders.
    pub fn gang(&self) -> &[LeaderSecrets] {
        &self.gang
    }

    pub(crate) fn see(&mut self, what: What<'_>) {
        let seen = Seen { at: self.now, what };
        self.checkers.see(&self.facts, &seen);
    }

    /// Whether all honest leaders are in one view and all who want to be in are in it, under one key.
    pub fn is_settled(&self) -> bool {
        let mut views = self.honest().map(|l| l.core.as_ref().map(ringfort_protocol::leader::Leader::view));
        let Some(Some(view)) = views.next() else { return false };
        if !views.all(|v| v == Some(view)) {
            return false;
        }
        let mut present: Vec<&MemberId> = Vec::new();
        let mut key = None;
        for user in &self.users {
            if !user.is_admissible() || !user.wants_in || self.facts.hacked.contains(&user.name) {
                continue;
            }
            let Some(member) = user.client.and_then(|c| self.client(c).member.as_ref()) else { return false };
            let same_key = *key.get_or_insert(member.key_for_testing_only()) == member.key_for_testing_only();
            if member.view() != Some(view) || !same_key {
                return false;
            }
            present.extend(member.id());
        }
        present.sort();
        self.honest().filter_map(|l| l.core.as_ref()).all(|leader| {
            let all = leader.members().iter().map(|e| &e.id);
            let mut members: Vec<&MemberId> = all.filter(|id| !self.facts.hacked.contains(&id.user)).collect();
            members.sort();
            leader.is_published() && members == present
        })
    }

    /// Runs until the group is settled; how long it took, or `None` after `patience`.
    pub fn settle(&mut self, patience: Duration) -> Option<Duration> {
        let start = self.now;
        while self.now.since(start) < patience {
            if self.is_settled() {
                return Some(self.now.since(start));
            }
            self.run_for(Duration::from_millis(5));
        }
        None
    }
}

fn hostile_leaders(setup: &Setup, dice: &mut Dice) -> Vec<LeaderId> {
    let mut leaders: Vec<LeaderId> = LeaderId::all(setup.n).collect();
    let mut hostile = Vec::new();
    if setup.vice == crate::strategy::Vice::Honest {
        return hostile;
    }
    for _ in 0..setup.f {
        hostile.push(leaders.remove(dice.index(leaders.len())));
    }
    hostile
}
