//! Honest programs at the three sites: what they send, and what each of them is given.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringfort_peer::Service;
use ringfort_site::client::{self, Incoming, Sender, group};
use ringfort_spread::Name;
use ringfort_spread::client::Received;
use tokio::task::JoinSet;

use super::{NAMES, Sites};
use crate::real::PATIENCE;

/// The group that they are in.
const GROUP: &str = "talk";
/// Between two messages of one program.
const PACE: Duration = Duration::from_millis(5);

/// Who said which number.
type Heard = Arc<Mutex<Vec<(Name, u64)>>>;

/// One program at each site. Each sends numbers to all.
pub struct Talk {
    heard: Vec<Heard>,
    sent: Arc<AtomicU64>,
    foreign: Arc<AtomicU64>,
    goes_on: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

/// What came of a talk that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that somebody was not given.
    pub lost: u64,
    /// Programs that were given them in another order than the first.
    pub other_order: u64,
    /// Messages that none of the programs sent.
    pub forged: u64,
}

impl Talk {
    /// Begins, once all are in one group.
    ///
    /// # Errors
    /// They do not get in.
    pub async fn begin(sites: &Sites) -> anyhow::Result<Self> {
        let mut talk = Talk {
            heard: Vec::new(),
            sent: Arc::default(),
            foreign: Arc::default(),
            goes_on: Arc::new(AtomicBool::new(true)),
            tasks: JoinSet::new(),
        };
        let mut programs = Vec::new();
        for (place, name) in NAMES.iter().enumerate() {
            let (mut sender, incoming) = client::connect(&sites.door(place), Some(name)).await?;
            sender.join(group(GROUP)?).await?;
            programs.push((sender, incoming));
        }
        let names: Vec<Name> = programs.iter().map(|(sender, _)| sender.name()).collect();
        for (sender, mut incoming) in programs {
            tokio::time::timeout(PATIENCE, all_in(&mut incoming)).await.context("programs in one group")??;
            let heard = Heard::default();
            talk.heard.push(heard.clone());
            talk.tasks.spawn(listen(incoming, heard, names.clone(), talk.foreign.clone()));
            talk.tasks.spawn(speak(sender, talk.sent.clone(), talk.goes_on.clone()));
        }
        Ok(talk)
    }

    /// How many messages each was given so far.
    pub fn heard(&self) -> Vec<usize> {
        self.heard.iter().map(|heard| heard.lock().unwrap_or_else(PoisonError::into_inner).len()).collect()
    }

    /// Waits until each of these was given so many messages more.
    ///
    /// # Errors
    /// They are not.
    pub async fn goes_on(&self, places: &[usize], more: usize) -> anyhow::Result<()> {
        let (before, began) = (self.heard(), Instant::now());
        let has = |now: &[usize], place: usize| now.get(place) >= before.get(place).map(|had| had + more).as_ref();
        while !places.iter().all(|place| has(&self.heard(), *place)) {
            ensure!(began.elapsed() < PATIENCE, "the programs at sites {places:?} hear nothing: {:?}", self.heard());
            tokio::time::sleep(PACE).await;
        }
        Ok(())
    }

    /// Nobody says more; waits until all is delivered, and compares.
    pub async fn end(mut self) -> Told {
        self.goes_on.store(false, Ordering::Release);
        let began = Instant::now();
        let mut sent = self.sent.load(Ordering::Acquire);
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = self.sent.load(Ordering::Acquire);
            let all = self.heard().iter().all(|heard| *heard as u64 >= now);
            if (all && now == sent) || began.elapsed() > PATIENCE {
                break;
            }
            sent = now;
        }
        self.tasks.shutdown().await;
        let lists: Vec<Vec<(Name, u64)>> =
            self.heard.iter().map(|heard| heard.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect();
        let first = lists.first().cloned().unwrap_or_default();
        Told {
            sent,
            lost: lists.iter().map(|list| sent.saturating_sub(list.len() as u64)).sum(),
            other_order: lists.iter().filter(|list| **list != first).count() as u64,
            forged: self.foreign.load(Ordering::Acquire),
        }
    }
}

async fn all_in(incoming: &mut Incoming) -> anyhow::Result<()> {
    loop {
        if let Received::Membership { members, .. } = incoming.next().await?
            && members.len() == NAMES.len()
        {
            return Ok(());
        }
    }
}

async fn listen(mut incoming: Incoming, heard: Heard, names: Vec<Name>, foreign: Arc<AtomicU64>) {
    while let Ok(received) = incoming.next().await {
        let Received::Message { sender, data, .. } = received else { continue };
        match <[u8; 8]>::try_from(data.as_ref()) {
            Ok(number) if names.contains(&sender) => {
                let said = (sender, u64::from_le_bytes(number));
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(said);
            }
            _ => drop(foreign.fetch_add(1, Ordering::AcqRel)),
        }
    }
}

async fn speak(mut sender: Sender, sent: Arc<AtomicU64>, goes_on: Arc<AtomicBool>) {
    let Ok(group) = group(GROUP) else { return };
    while goes_on.load(Ordering::Acquire) {
        let number = sent.fetch_add(1, Ordering::AcqRel);
        if sender.multicast(Service::Agreed, &[group], true, &number.to_le_bytes()).await.is_err() {
            return;
        }
        tokio::time::sleep(PACE).await;
    }
    // The connection stays until the books are closed.
    std::future::pending::<()>().await;
}
