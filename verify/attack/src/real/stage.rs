//! The stage: a group in a temporary folder, its leaders' processes and its members.
//!
//! The demonstration plays on it, and so do the scenarios, which want a hostile wire between any two parties.

mod harm;
mod logs;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rand_core::Rng;
use ringfort::{Events, Group, JoinOptions};
use ringfort_crypto::sign::SigningKey;
use ringfort_documents::{GROUP_FILE, LogOptions, NewSecret, NewUser, read_group};
use ringfort_link::LinkKey;
use ringfort_node::folder::{InitOptions, OperatorRequest, drop_request, init};
use ringfort_protocol::{GroupInfo, Policy, Rules, UserName};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::PATIENCE;
use super::desk::{Desk, Mode};
use super::machines::Machine;
use super::members::{self, Actor, CHAT, Witness};
pub use super::outcast::Outcast;
use super::story::Story;
use super::wires::Wires;
use crate::adversary::Kind;

/// Leaders.
pub const N: u8 = 4;
/// Leaders that may be hacked at once.
pub const F: u8 = 1;
/// Users registered from the start.
pub const USERS: [&str; 5] = ["ana", "ben", "dan", "eva", "zoe"];
/// Users whom attackers are, or go for, where the members above must be left in peace.
const EXTRAS: [&str; 12] = ["mal", "moe", "max", "gil", "kim", "kay", "liv", "lou", "ned", "pat", "ray", "sue"];
/// Users that get expelled, one after the other.
const SPARE: [&str; 8] = ["kim", "kay", "liv", "lou", "ned", "pat", "ray", "sue"];

/// How lively the group is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time between two messages of a member.
    pub talk: Duration,
    /// Time between two keys.
    pub rekey: Duration,
    /// Whether what is said on the topic of chat is shown.
    pub show_talk: bool,
    /// What members talk on by themselves.
    pub topic: &'static str,
}

/// A join that has come to its end.
pub struct Joined {
    name: String,
    outcome: anyhow::Result<(Actor, Events)>,
}

impl Joined {
    /// Who joined, or tried to.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A join under way.
pub struct Joining {
    name: String,
    task: tokio::task::JoinHandle<anyhow::Result<(Actor, Events)>>,
}

impl Joining {
    /// Whether it has come to an end, good or bad.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for its end.
    pub async fn wait(self) -> Joined {
        let outcome = self.task.await.unwrap_or_else(|error| Err(error.into()));
        Joined { name: self.name, outcome }
    }
}

/// A stay that somebody else leads.
pub struct Watched {
    /// Whose.
    pub name: String,
    /// The stay.
    pub group: Group,
    /// What happens in it.
    pub events: Events,
    /// Who must be told of it.
    pub witness: Witness,
}

/// Everything that runs.
pub struct Stage {
    /// What is known.
    pub desk: Arc<Desk>,
    /// The group.
    pub info: Arc<GroupInfo>,
    dir: TempDir,
    passwords: BTreeMap<String, String>,
    machines: Vec<Machine>,
    actors: BTreeMap<String, Actor>,
    stays: u64,
    pace: Pace,
    wires: Option<Wires>,
    spent: usize,
    stolen: usize,
    /// Members that keep a log.
    logged: BTreeSet<String>,
}

impl Stage {
    /// Deals a group in a new temporary folder; its leaders will be processes of this very program.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn set(story: Story, pace: Pace) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own file")?;
        Self::deal(story, pace, program, &USERS, fast_policy(pace))
    }

    /// Deals a group with these users under this policy; `program` knows the hidden commands of leaders.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn deal(story: Story, pace: Pace, program: PathBuf, names: &[&str], policy: Policy) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("ringfort-demo-").tempdir().context("a temporary folder")?;
        let mut passwords = BTreeMap::new();
        let mut users = Vec::new();
        for name in names {
            let password = new_password();
            let secret = NewSecret::Password(Zeroizing::new(password.clone()));
            users.push(NewUser { name: name.parse()?, secret });
            passwords.insert((*name).to_owned(), password);
        }
        let rules = Rules::new(N, F, F + 1)?;
        let addresses = ringfort_loopback::addresses::<{ N as usize }>()?.map(|at| at.to_string()).into();
        let options = InitOptions { name: "demo".to_owned(), rules, addresses, policy, users };
        let summary = init(&dir.path().join("group"), options)?;
        let info = read_group(&dir.path().join("group").join(GROUP_FILE))?;
        let desk = Desk::new(N, story);
        let machine = |(folder, number)| Machine::new(number, folder, program.clone());
        let machines = summary.folders.into_iter().zip(1..).map(machine).collect();
        Ok(Stage {
            desk,
            info,
            dir,
            passwords,
            machines,
            actors: BTreeMap::new(),
            stays: 0,
            pace,
            wires: None,
            spent: 0,
            stolen: 0,
            logged: BTreeSet::new(),
        })
    }

    /// A group with a hostile wire between any two parties, three members that talk, and all leaders at work.
    ///
    /// # Errors
    /// The leaders cannot be started, or the members do not get in.
    pub async fn open(program: PathBuf) -> anyhow::Result<Stage> {
        let pace =
            Pace { talk: Duration::from_millis(120), rekey: Duration::from_secs(1), show_talk: false, topic: CHAT };
        // Long enough that a busy machine takes nobody for lost.
        let policy = Policy { remove_silent_after_ms: 60_000, ..fast_policy(pace) };
        let mut stage = Stage::wired(Story::silent(), pace, program, policy).await?;
        stage.begin().await?;
        Ok(stage)
    }

    /// A group with a hostile wire between any two parties, in which nothing runs yet.
    ///
    /// # Errors
    /// There is no room for it.
    pub async fn wired(story: Story, pace: Pace, program: PathBuf, policy: Policy) -> anyhow::Result<Stage> {
        let mut stage = Stage::deal(story, pace, program, &Stage::all_users(), policy)?;
        let wires = Wires::lay(&stage.info).await?;
        for (number, machine) in (1..).zip(&mut stage.machines) {
            machine.dials = wires.dials(number);
        }
        stage.wires = Some(wires);
        Ok(stage)
    }

    /// All users that a stage for scenarios has.
    pub fn all_users() -> Vec<&'static str> {
        [&USERS[..], &EXTRAS].concat()
    }

    /// Starts the leaders, lets three members join, and waits until they hear all leaders and talk.
    ///
    /// # Errors
    /// It does not come to that.
    pub async fn begin(&mut self) -> anyhow::Result<()> {
        for leader in 1..=N {
            self.start(leader).await?;
        }
        for name in ["ana", "ben", "eva"] {
            self.join(name, PATIENCE).await?;
        }
        for leader in 1..=N {
            anyhow::ensure!(self.heard(leader).await, "the members do not hear leader {leader}");
        }
        anyhow::ensure!(self.agreed(&[]).await, "the members are not in one view");
        self.desk.with(|state| state.talking = true);
        Ok(())
    }

    /// The hostile wires.
    ///
    /// # Errors
    /// This stage has none.
    pub fn wires(&self) -> anyhow::Result<&Wires> {
        self.wires.as_ref().context("this stage has no hostile wires")
    }

    /// The group as a member finds it: over its own wires, where there are such.
    async fn group_for(&mut self, name: &str) -> anyhow::Result<Arc<GroupInfo>> {
        match &mut self.wires {
            Some(wires) => wires.group_for(&self.info, name).await,
            None => Ok(self.info.clone()),
        }
    }

    /// The process of a leader.
    pub fn pid(&self, leader: u8) -> Option<u32> {
        let place = usize::from(leader).checked_sub(1);
        place.and_then(|place| self.machines.get(place)).and_then(Machine::pid)
    }

    /// Where all files are.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Leaves the folder behind for inspection.
    pub fn keep_folder(&mut self) {
        self.dir.disable_cleanup(true);
    }

    fn machine(&mut self, leader: u8) -> anyhow::Result<&mut Machine> {
        let place = usize::from(leader).checked_sub(1);
        place.and_then(|p| self.machines.get_mut(p)).with_context(|| format!("there are leaders 1 to {N}"))
    }

    /// Starts the honest leader on this machine in place of whatever runs there.
    pub async fn start(&mut self, leader: u8) -> anyhow::Result<()> {
        let desk = self.desk.clone();
        let machine = self.machine(leader)?;
        machine.kill().await;
        machine.start_honest(&desk)
    }

    /// Takes a machine over: the leader's process is killed, the attacker's runs on its folder.
    pub async fn attack(&mut self, leader: u8, kind: Kind) -> anyhow::Result<()> {
        let second = (kind == Kind::Spy).then(|| self.steal_second(leader)).transpose()?;
        let desk = self.desk.clone();
        let machine = self.machine(leader)?;
        machine.kill().await;
        machine.start_hacked(&desk, kind, second)
    }

    /// Switches a machine off.
    pub async fn stop(&mut self, leader: u8) -> anyhow::Result<()> {
        let desk = self.desk.clone();
        let machine = self.machine(leader)?;
        machine.kill().await;
        desk.with(|state| state.set_mode(leader, Mode::Stopped));
        Ok(())
    }

    /// A copy of another leader's folder, whose secrets the spy's tools are tried on for comparison.
    fn steal_second(&mut self, leader: u8) -> anyhow::Result<PathBuf> {
        let other = leader % N + 1;
        let from = self.machine(other)?.folder().to_owned();
        self.stolen += 1;
        let to = self.dir.path().join(format!("stolen-{}", self.stolen));
        ringfort_node::folder::back_up(&from, &to)?;
        Ok(to)
    }

    /// Leaves a request with the operators of these leaders.
    pub fn ask_operators(&mut self, leaders: &[u8], request: &OperatorRequest) -> anyhow::Result<()> {
        for leader in leaders {
            drop_request(self.machine(*leader)?.folder(), request)?;
        }
        Ok(())
    }

    /// Who is in, by the demo's own books.
    pub fn present(&self) -> BTreeSet<String> {
        self.actors.keys().cloned().collect()
    }

    /// Waits until all members are in one confirmed view with exactly these members in it.
    pub async fn agreed(&self, also: &[&str]) -> bool {
        let mut names = self.present();
        names.extend(also.iter().map(|name| (*name).to_owned()));
        self.desk.until(PATIENCE, |state| state.agree(&names)).await
    }

    /// Waits until every member hears this leader confirm its view.
    pub async fn heard(&self, leader: u8) -> bool {
        self.desk.until(PATIENCE, |state| state.all_hear(leader)).await
    }

    /// Waits until every message sent so far is with everybody who must have it.
    pub async fn settled(&self) -> bool {
        self.desk.until(PATIENCE, |state| state.ledger.owed().is_empty()).await
    }

    /// A user's password.
    pub fn password(&self, name: &str) -> anyhow::Result<&str> {
        self.passwords.get(name).map(String::as_str).with_context(|| format!("{name} is not registered"))
    }

    /// Lets a registered user join and talk.
    pub async fn join(&mut self, name: &str, limit: Duration) -> anyhow::Result<()> {
        if self.actors.contains_key(name) {
            bail!("{name} is in already");
        }
        let password = self.password(name)?.to_owned();
        self.stays += 1;
        let stay = (name.to_owned(), self.stays);
        let info = self.group_for(name).await?;
        let log = self.logged.contains(name).then(|| LogOptions::at(self.log_of(name)));
        let options = JoinOptions { timeout: limit, log, ..JoinOptions::default() };
        let (mut actor, events) = Actor::join(&self.desk, &info, stay, &password, self.pace, options).await?;
        actor.listen(&self.desk, events, self.pace.show_talk);
        self.actors.insert(name.to_owned(), actor);
        Ok(())
    }

    /// Lets a registered user begin to join, however long it takes.
    pub fn begin_join(&mut self, name: &str, limit: Duration) -> anyhow::Result<Joining> {
        let password = self.password(name)?.to_owned();
        self.stays += 1;
        let stay = (name.to_owned(), self.stays);
        let (desk, info, pace) = (self.desk.clone(), self.info.clone(), self.pace);
        let options = JoinOptions { timeout: limit, ..JoinOptions::default() };
        let task = tokio::spawn(async move { Actor::join(&desk, &info, stay, &password, pace, options).await });
        Ok(Joining { name: name.to_owned(), task })
    }

    /// Waits until a join that was begun is done.
    pub async fn finish_join(&mut self, joining: Joining) -> anyhow::Result<()> {
        self.admit(joining.wait().await).map(drop)
    }

    /// Takes in who has joined; says who it is.
    pub fn admit(&mut self, joined: Joined) -> anyhow::Result<String> {
        let (mut actor, events) = joined.outcome.with_context(|| format!("{} did not get in", joined.name))?;
        actor.listen(&self.desk, events, self.pace.show_talk);
        self.actors.insert(joined.name.clone(), actor);
        Ok(joined.name)
    }

    /// Takes in who has joined, for somebody who leads the stay and tells the witness of it.
    pub fn admit_watched(&mut self, joined: Joined) -> anyhow::Result<Watched> {
        let (actor, events) = joined.outcome.with_context(|| format!("{} did not get in", joined.name))?;
        let witness = actor.witness(&self.desk, self.pace.show_talk);
        let group = actor.group();
        self.actors.insert(joined.name.clone(), actor);
        Ok(Watched { name: joined.name, group, events, witness })
    }

    /// Somebody tries to join with a name and a password; what comes of it.
    pub async fn try_join(&self, name: &str, password: &str, limit: Duration) -> Result<(), ringfort::JoinError> {
        members::try_join(&self.info, name, password, limit).await
    }

    /// As [`Stage::try_join`], with a key.
    ///
    /// # Errors
    /// What the group says.
    pub async fn try_join_with_key(
        &self,
        name: &str,
        key: SigningKey,
        limit: Duration,
    ) -> Result<(), ringfort::JoinError> {
        members::try_join_with_key(&self.info, name, key, limit).await
    }

    /// A user that no scenario has spent yet.
    ///
    /// # Errors
    /// All are spent.
    pub fn spare_user(&mut self) -> anyhow::Result<String> {
        let name = SPARE.get(self.spent).context("all spare users are expelled")?;
        self.spent += 1;
        Ok((*name).to_owned())
    }

    /// A leader's link key, as somebody steals it who gets at nothing else.
    ///
    /// # Errors
    /// There is no such leader.
    pub fn link_key(&mut self, leader: u8) -> anyhow::Result<LinkKey> {
        let file = self.machine(leader)?.folder().join(ringfort_node::folder::SECRETS_FILE);
        let text = std::fs::read_to_string(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix("link = ")).context("a link key")?;
        let seed = data_encoding::HEXLOWER.decode(line.trim_matches('"').as_bytes())?;
        let seed: [u8; 32] = seed.try_into().ok().context("a seed of 32 bytes")?;
        Ok(LinkKey::from_seed(seed))
    }

    /// Lets a member leave, once it has what was sent to it before.
    pub async fn leave(&mut self, name: &str) -> anyhow::Result<()> {
        let actor = self.actors.remove(name).with_context(|| format!("{name} is not in"))?;
        actor.leave(&self.desk).await
    }

    /// Lets a member leave, as [`Stage::leave`], without waiting for it.
    pub fn begin_leave(&mut self, name: &str) -> anyhow::Result<tokio::task::JoinHandle<anyhow::Result<()>>> {
        let actor = self.actors.remove(name).with_context(|| format!("{name} is not in"))?;
        let desk = self.desk.clone();
        Ok(tokio::spawn(async move { actor.leave(&desk).await }))
    }

    /// A member was expelled: its books are closed.
    pub fn forget(&mut self, name: &str) {
        if let Some(actor) = self.actors.remove(name) {
            actor.abandon(&self.desk);
        }
    }

    /// Sends a text in a member's name.
    pub async fn say(&mut self, name: &str, text: &str) -> anyhow::Result<()> {
        let actor = self.actors.get(name).with_context(|| format!("{name} is not in"))?;
        actor.say(&self.desk, text).await
    }

    /// A member whose machine is in its own hands: it keeps all it ever saw.
    pub async fn join_outcast(&mut self, name: &str) -> anyhow::Result<Outcast> {
        self.stays += 1;
        let stay = (name.to_owned(), self.stays);
        let password = self.password(name)?.to_owned();
        Outcast::join(self.desk.clone(), self.info.clone(), stay, &password).await
    }

    /// Ends all processes.
    pub async fn close(mut self) {
        for (_, actor) in std::mem::take(&mut self.actors) {
            actor.abandon(&self.desk);
        }
        for machine in &mut self.machines {
            machine.kill().await;
        }
    }
}

/// Short periods, so that a viewer sees what takes minutes elsewhere.
pub fn fast_policy(pace: Pace) -> Policy {
    Policy {
        heartbeat_ms: 300,
        confirm_within_ms: 1_500,
        overlap_ms: 8_000,
        rekey_period_ms: u32::try_from(pace.rekey.as_millis()).unwrap_or(5_000),
        remove_silent_after_ms: 10_000,
        members_max: 64,
        message_bytes_max: 16 * 1024,
        login_attempts_per_minute: 60,
        ..Policy::default()
    }
}

fn new_password() -> String {
    let mut bytes = [0; 12];
    ringfort_documents::os_rng().fill_bytes(&mut bytes);
    data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase()
}

/// A user's name out of the demo's own lists.
pub fn user(name: &str) -> anyhow::Result<UserName> {
    Ok(name.parse()?)
}
