//! The task of a site: it owns the core, and moves what goes in and out.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use ringfort::link::LinkError;
use ringfort_kernel::Time;
use ringfort_peer::membership::Reason;
use ringfort_peer::site::{Effect, Event, Site, Step};
use ringfort_peer::{Config, RingId, SiteId, SiteSet};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::channel::OVERHEAD_BYTES;
use crate::clients::{Batch, Clients, Doors};
use crate::folder::{Folder, FolderError};
use crate::hub::Hub;
use crate::links::{LinkEvent, Links};
use crate::transport::{Counts, Transport};

/// Datagrams that are taken before anything else is looked at.
const DATAGRAMS_PER_TURN: usize = 64;
/// Requests of one client before the next client's turn.
const REQUESTS_PER_TURN: usize = 32;
/// How often the report is made anew.
const REPORT_PERIOD: Duration = Duration::from_millis(250);

/// How a site runs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where to listen, if not at the address in the network file.
    pub listen: Option<SocketAddr>,
    /// Where local programs connect.
    pub doors: Doors,
}

/// Why a site stopped or could not start.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The address of the network file means nothing here.
    #[error("the site's address {0} cannot be looked up: check the name, or use --listen HOST:PORT")]
    Address(String),
    /// The address for other sites is taken, or not this machine's.
    #[error("cannot listen for other sites at {address}: {cause}. Stop the program that uses the port, or choose another with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: LinkError,
    },
    /// The socket for datagrams.
    #[error("cannot take datagrams at {address}: {cause}")]
    Datagrams {
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// The door for local programs.
    #[error("cannot listen for local programs: {0}")]
    Doors(io::Error),
}

/// How a site is, for people and programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// This site.
    pub site: String,
    /// The network.
    pub network: String,
    /// The network file's fingerprint: the same at all sites.
    pub fingerprint: String,
    /// `in a ring`, or why it looks for others.
    pub state: String,
    /// The sites in the ring with this one, itself included.
    pub ring: Vec<String>,
    /// Counts rings.
    pub ring_number: u64,
    /// Sites that cannot be reached, and why.
    pub unreachable: Vec<Unreachable>,
    /// Local programs.
    pub clients: usize,
    /// Groups that anybody is in.
    pub groups: usize,
    /// Memberships of clients in groups.
    pub memberships: usize,
    /// Packets kept for other sites.
    pub packets_kept: usize,
    /// Bytes that wait for the token.
    pub waiting_bytes: usize,
    /// Bytes that wait for local programs to read.
    pub clients_waiting_bytes: usize,
    /// Local programs that were cut off for not reading.
    pub clients_cut: u64,
    /// Datagrams, so far.
    pub datagrams_sent: u64,
    /// Frames sent over links, for want of datagrams.
    pub frames_by_link: u64,
    /// Datagrams that the system took no more.
    pub datagrams_dropped: u64,
    /// Datagrams taken.
    pub datagrams_received: u64,
    /// Datagrams that did not open: strangers', altered or repeated.
    pub datagrams_refused: u64,
}

/// A site that cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreachable {
    /// Which.
    pub site: String,
    /// Why, in a sentence.
    pub why: String,
}

/// What [`start`] gives back.
#[derive(Debug)]
pub struct Running {
    /// The address for other sites.
    pub address: SocketAddr,
    /// The TCP address for local programs.
    pub clients: Option<SocketAddr>,
    /// How the site is, again and again.
    pub report: watch::Receiver<Report>,
    task: tokio::task::JoinHandle<Result<(), SiteError>>,
    stop: mpsc::Sender<()>,
}

impl Running {
    /// Waits until the site ends by itself, which it does only if something is wrong.
    ///
    /// # Errors
    /// What was wrong.
    pub async fn ended(&mut self) -> Result<(), SiteError> {
        (&mut self.task).await.unwrap_or(Ok(()))
    }

    /// Ends the site.
    ///
    /// # Errors
    /// When something was wrong before.
    pub async fn stop(mut self) -> Result<(), SiteError> {
        let _ = self.stop.send(()).await;
        self.ended().await
    }
}

/// Starts a site.
///
/// # Errors
/// When an address cannot be had, or the folder cannot be written.
pub async fn start(folder: Folder, options: Options) -> Result<Running, SiteError> {
    let address = listen_address(&folder, &options)?;
    let network = Arc::new(folder.network.clone());
    let key = Arc::new(folder.key.clone());
    let me = key.public().0;
    let (links, link_events) = Links::start(address, key, network.clone(), folder.me)
        .await
        .map_err(|cause| SiteError::Listen { address, cause })?;
    let address = links.address();
    let transport =
        Transport::bind(address, me, &network).await.map_err(|cause| SiteError::Datagrams { address, cause })?;
    let (clients, batches) = Clients::start(&options.doors).await.map_err(SiteError::Doors)?;
    let tcp = clients.tcp_address();

    let now = monotonic();
    let mut config = Config::new(site_id(folder.me), (0..network.sites().len()).map(site_id).collect());
    config.frame_bytes = network.datagram_bytes() - OVERHEAD_BYTES;
    let (site, step) = Site::new(config, folder.durable, now);
    let (report, reported) = watch::channel(Report::default());
    let (stop, stopped) = mpsc::channel(1);
    let hub = Hub::new(folder.site().name.clone());
    let unreachable = vec![None; network.sites().len()];
    let state = "looks for others: it has just started".to_owned();
    let mut daemon =
        Daemon { folder, site, hub, transport, unreachable, state, ring: None, waiting: VecDeque::new(), report };
    daemon.carry_out(now, step)?;
    info!(site = daemon.folder.site().name, %address, fingerprint = network.fingerprint(), "the site runs");
    let task = tokio::spawn(daemon.run(links, link_events, clients, batches, stopped));
    Ok(Running { address, clients: tcp, report: reported, task, stop })
}

struct Daemon {
    folder: Folder,
    site: Site,
    hub: Hub,
    transport: Transport,
    unreachable: Vec<Option<String>>,
    state: String,
    ring: Option<(RingId, SiteSet)>,
    waiting: VecDeque<Batch>,
    report: watch::Sender<Report>,
}

impl Daemon {
    async fn run(
        mut self,
        links: Links,
        mut link_events: mpsc::Receiver<LinkEvent>,
        clients: Clients,
        mut batches: mpsc::Receiver<Batch>,
        mut stop: mpsc::Receiver<()>,
    ) -> Result<(), SiteError> {
        let mut reports = tokio::time::interval(REPORT_PERIOD);
        loop {
            let due = self.until_wakeup();
            let room = self.site.has_room() && !self.waiting.is_empty();
            tokio::select! {
                _ = stop.recv() => break,
                Some(event) = link_events.recv() => self.on_link(event)?,
                _ = self.transport.readable() => self.on_datagrams()?,
                Some(batch) = batches.recv() => self.waiting.push_back(batch),
                () = tokio::time::sleep(due) => {}
                () = std::future::ready(()), if room => {}
                _ = reports.tick() => self.tell(),
            }
            self.serve()?;
            let now = monotonic();
            if self.site.next_wakeup().is_some_and(|time| time <= now) {
                let step = self.site.on_wakeup(now);
                self.carry_out(now, step)?;
            }
        }
        clients.shutdown().await;
        links.shutdown().await;
        Ok(())
    }

    fn until_wakeup(&self) -> Duration {
        let due = self.site.next_wakeup().map(|time| time.since(monotonic()));
        due.unwrap_or(Duration::from_secs(3600)).min(Duration::from_secs(3600))
    }

    fn on_link(&mut self, event: LinkEvent) -> Result<(), SiteError> {
        let now = monotonic();
        match event {
            LinkEvent::Up(place, secret, address, link) => {
                info!(site = self.name(place), "linked");
                self.note(place, None);
                self.transport.on_link_up(now, place, &secret, address, link);
            }
            LinkEvent::Frame(place, frame) => {
                let step = self.site.on_frame(now, site_id(place), &frame);
                self.carry_out(now, step)?;
            }
            LinkEvent::Down(place) => {
                info!(site = self.name(place), "the link is down");
                self.transport.on_link_down(place);
                self.note(place, Some("the link is down".to_owned()));
            }
            LinkEvent::Failed(place, error) => self.note(place, Some(error.to_string())),
        }
        Ok(())
    }

    fn on_datagrams(&mut self) -> Result<(), SiteError> {
        for _ in 0..DATAGRAMS_PER_TURN {
            let now = monotonic();
            let Some((place, frame)) = self.transport.receive(now) else { break };
            let step = self.site.on_frame(now, site_id(place), &frame);
            self.carry_out(now, step)?;
        }
        Ok(())
    }

    /// Takes what clients ask for, some of each in turn, as far as the site has room.
    fn serve(&mut self) -> Result<(), SiteError> {
        for _ in 0..self.waiting.len() {
            let Some(mut batch) = self.waiting.pop_front() else { break };
            for _ in 0..REQUESTS_PER_TURN {
                if !self.site.has_room() {
                    break;
                }
                let Some(request) = batch.inputs.pop_front() else { break };
                let now = monotonic();
                let step = self.hub.on_request(now, batch.connection, request, &mut self.site);
                self.carry_out(now, step)?;
            }
            if !batch.inputs.is_empty() {
                self.waiting.push_back(batch);
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, now: Time, step: Step) -> Result<(), SiteError> {
        for effect in step.effects {
            match effect {
                Effect::Persist(durable) => self.folder.persist(durable)?,
                Effect::Send { to, frame, .. } => {
                    to.iter().for_each(|site| self.transport.send(now, usize::from(site.get()), &frame));
                }
            }
        }
        for event in step.events {
            self.note_event(&event);
            self.hub.on_event(event);
        }
        Ok(())
    }

    fn note_event(&mut self, event: &Event) {
        match event {
            Event::Ring(ring, sites) => {
                self.ring = Some((*ring, *sites));
                "in a ring".clone_into(&mut self.state);
                info!(ring = ring.counter, sites = ?self.names(*sites), "in a ring");
            }
            Event::Gathering(reason) => {
                self.ring = None;
                self.state = format!("looks for others: {}", words(reason));
                info!("looks for others: {}", words(reason));
            }
            Event::Overslept(length) => {
                let ms = length.as_millis();
                warn!(ms, "this site was not scheduled for so long that the others went on without it: it joins again");
            }
            _ => {}
        }
    }

    fn note(&mut self, place: usize, why: Option<String>) {
        if let Some(state) = self.unreachable.get_mut(place) {
            *state = why;
        }
    }

    fn name(&self, place: usize) -> &str {
        self.folder.network.sites().get(place).map_or("", |site| site.name.as_str())
    }

    fn names(&self, sites: SiteSet) -> Vec<String> {
        sites.iter().map(|site| self.name(usize::from(site.get())).to_owned()).collect()
    }

    fn tell(&mut self) {
        let (groups, memberships) = self.site.group_sizes();
        let (packets_kept, waiting_bytes) = self.site.queue_sizes();
        let (clients_waiting_bytes, clients_cut) = self.hub.queues();
        let Counts { sent, sent_by_link, dropped, received, refused } = self.transport.counts();
        let unreachable = self.unreachable.iter().enumerate().filter_map(|(place, why)| {
            Some(Unreachable { site: self.name(place).to_owned(), why: why.clone()? })
        });
        let report = Report {
            site: self.folder.site().name.clone(),
            network: self.folder.network.name().to_owned(),
            fingerprint: self.folder.network.fingerprint(),
            state: self.state.clone(),
            ring: self.ring.map(|(_, sites)| self.names(sites)).unwrap_or_default(),
            ring_number: self.ring.map(|(ring, _)| ring.counter).unwrap_or_default(),
            unreachable: unreachable.collect(),
            clients: self.hub.len(),
            groups,
            memberships,
            packets_kept,
            waiting_bytes,
            clients_waiting_bytes,
            clients_cut,
            datagrams_sent: sent,
            frames_by_link: sent_by_link,
            datagrams_dropped: dropped,
            datagrams_received: received,
            datagrams_refused: refused,
        };
        self.report.send_if_modified(|old| std::mem::replace(old, report) != *old);
    }
}

fn words(reason: &Reason) -> String {
    match reason {
        Reason::Started => "it has just started".to_owned(),
        Reason::Overslept => "it was not scheduled for a while".to_owned(),
        other => format!("{other:?}"),
    }
}

fn site_id(place: usize) -> SiteId {
    u8::try_from(place).ok().and_then(SiteId::new).expect("a network has no more sites than there are numbers")
}

fn listen_address(folder: &Folder, options: &Options) -> Result<SocketAddr, SiteError> {
    if let Some(address) = options.listen {
        return Ok(address);
    }
    let address = folder.site().address.clone();
    let found = address.to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or(SiteError::Address(address))
}

/// A clock that goes on while the machine sleeps, so that a site notices that it slept.
fn monotonic() -> Time {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    Time::from_start(seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0)))
}
