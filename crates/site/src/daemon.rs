//! The task of a site: it owns the core, and moves what goes in and out.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use ringfort_kernel::Time;
use ringfort_peer::site::{Effect, Event, Site, Step};
use ringfort_peer::{Config, RingId, SiteId, SiteSet};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::audit::{Decision, Observe, Observer};
use crate::channel::OVERHEAD_BYTES;
use crate::clients::{Batch, Clients};
use crate::doors::{DoorError, DoorOptions, Doors, bind_unix};
use crate::folder::{Folder, FolderError, status_socket};
use crate::hub::Hub;
use crate::links::{LinkEvent, Links};
use crate::lookup::{Find, Lookup};
use crate::report::{Report, Unreachable, gathering, no_link};
use crate::status;
use crate::transport::{Counts, Transport};

/// Datagrams that are taken before anything else is looked at.
const DATAGRAMS_PER_TURN: usize = 64;
/// Requests of one client before the next client's turn.
const REQUESTS_PER_TURN: usize = 32;
/// What is known of another site at the start.
const NO_LINK_YET: &str = "it has not answered, and has not called, since this site started";
/// How often the report is made anew.
const REPORT_PERIOD: Duration = Duration::from_millis(250);

/// How a site runs.
#[derive(Clone, Default)]
pub struct Options {
    /// Where to listen, if not at the address in the network file.
    pub listen: Option<SocketAddr>,
    /// Where local programs connect.
    pub doors: DoorOptions,
    /// Looks up other sites' names, for a site in a sandbox.
    pub find: Option<Find>,
    /// Is told of what bears on security.
    pub observe: Option<Observe>,
}

/// Ports that the system may choose for datagrams until one is free for links as well.
const PORTS_TRIED: usize = 20;

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
    #[error(
        "cannot listen for other sites at {address}: {cause}. Stop the program that uses the port, or choose another with --listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// The door for local programs.
    #[error(transparent)]
    Doors(#[from] DoorError),
    /// The system.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// A site that has everything open that it will need, and does not run yet.
pub struct Prepared {
    folder: Folder,
    address: SocketAddr,
    socket: UdpSocket,
    doors: Doors,
    status: std::os::unix::net::UnixListener,
    find: Option<Find>,
    observer: Observer,
}

/// Opens what a site will need. `find` can be given later, too.
///
/// # Errors
/// When an address or a socket cannot be had.
pub fn prepare(folder: Folder, options: &Options) -> Result<Prepared, SiteError> {
    let address = listen_address(&folder, options)?;
    let listen = |cause| SiteError::Listen { address, cause };
    let socket = bind(address).map_err(listen)?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let doors = Doors::open(&options.doors)?;
    // The folder is locked: a socket that is there was left behind.
    let _ = std::fs::remove_file(status_socket(folder.path()));
    let status = bind_unix(&status_socket(folder.path()), 0o600)?;
    let observer = Observer(options.observe.clone());
    Ok(Prepared { folder, address, socket, doors, status, find: options.find.clone(), observer })
}

/// Links will use the same port: where the system chooses it for datagrams, it has to be free for them, too.
fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    for _ in 0..PORTS_TRIED {
        let socket = UdpSocket::bind(address)?;
        if address.port() != 0 || std::net::TcpListener::bind(socket.local_addr()?).is_ok() {
            return Ok(socket);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

impl Prepared {
    /// The address for other sites.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The TCP address for local programs.
    pub fn clients_address(&self) -> Option<SocketAddr> {
        self.doors.tcp_address()
    }

    /// Whoever looks up other sites' names from now on.
    pub fn look_up_with(&mut self, find: Find) {
        self.find = Some(find);
    }

    /// Whoever is told of what bears on security from now on.
    pub fn observe_with(&mut self, observe: Observe) {
        self.observer = Observer(Some(observe));
    }

    /// Starts the site.
    ///
    /// # Errors
    /// When the TCP address for other sites cannot be had, or the folder cannot be written.
    pub async fn start(self) -> Result<Running, SiteError> {
        let clients_address = self.clients_address();
        let Prepared { folder, address, socket, doors, status, find, observer } = self;
        let network = Arc::new(folder.network.clone());
        let key = Arc::new(folder.key.clone());
        let me = key.public().0;
        let lookup = Lookup::new(network.clone(), find);
        let started = Links::start(address, key, network.clone(), folder.me, lookup).await;
        let (links, link_events) =
            started.map_err(|cause| SiteError::Listen { address, cause: io::Error::other(cause) })?;
        let transport = Transport::new(socket, me, &network)?;
        let (clients, batches) = Clients::start(doors, &observer)?;

        let now = monotonic();
        let config = Config::new(site_id(folder.me), (0..network.sites().len()).map(site_id).collect());
        let config = config.with_frame_bytes(network.datagram_bytes() - OVERHEAD_BYTES);
        let (site, step) = Site::new(config, folder.durable, now);
        let (report, reported) = watch::channel(Report::default());
        let (stop, stopped) = mpsc::channel(1);
        let hub = Hub::new(folder.site().name.clone(), observer.clone());
        let mut daemon = Daemon {
            unreachable: (0..network.sites().len())
                .map(|place| (place != folder.me).then(|| NO_LINK_YET.to_owned()))
                .collect(),
            state: "looks for others: it has just started".to_owned(),
            folder,
            site,
            hub,
            transport,
            ring: None,
            rings: 0,
            waiting: VecDeque::new(),
            started: now,
            report,
            observer,
        };
        daemon.carry_out(now, step)?;
        daemon.tell();
        info!(site = daemon.folder.site().name, %address, fingerprint = network.fingerprint(), "the site runs");
        let answering = tokio::spawn(status::serve(status, reported.clone()));
        let task = tokio::spawn(daemon.run(links, link_events, clients, batches, stopped));
        Ok(Running { address, clients: clients_address, report: reported, task, answering, stop })
    }
}

/// A site that runs.
#[derive(Debug)]
pub struct Running {
    /// The address for other sites.
    pub address: SocketAddr,
    /// The TCP address for local programs.
    pub clients: Option<SocketAddr>,
    /// How the site is, again and again.
    pub report: watch::Receiver<Report>,
    task: tokio::task::JoinHandle<Result<(), SiteError>>,
    answering: tokio::task::JoinHandle<()>,
    stop: mpsc::Sender<()>,
}

impl Running {
    /// Waits until the site ends by itself, which it does only if something is wrong.
    ///
    /// # Errors
    /// What was wrong.
    pub async fn ended(&mut self) -> Result<(), SiteError> {
        (&mut self.task).await.unwrap_or_else(|error| Err(SiteError::System(io::Error::other(error))))
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

impl Drop for Running {
    fn drop(&mut self) {
        self.answering.abort();
        self.task.abort();
    }
}

struct Daemon {
    folder: Folder,
    site: Site,
    hub: Hub,
    transport: Transport,
    unreachable: Vec<Option<String>>,
    state: String,
    ring: Option<(RingId, SiteSet)>,
    rings: u64,
    waiting: VecDeque<Batch>,
    started: Time,
    report: watch::Sender<Report>,
    observer: Observer,
}

impl Daemon {
    async fn run(
        mut self,
        links: Links,
        link_events: mpsc::Receiver<LinkEvent>,
        clients: Clients,
        batches: mpsc::Receiver<Batch>,
        stop: mpsc::Receiver<()>,
    ) -> Result<(), SiteError> {
        let outcome = self.go_on(link_events, batches, stop).await;
        clients.shutdown().await;
        links.shutdown().await;
        let _ = std::fs::remove_file(status_socket(self.folder.path()));
        outcome
    }

    async fn go_on(
        &mut self,
        mut link_events: mpsc::Receiver<LinkEvent>,
        mut batches: mpsc::Receiver<Batch>,
        mut stop: mpsc::Receiver<()>,
    ) -> Result<(), SiteError> {
        let mut reports = tokio::time::interval(REPORT_PERIOD);
        loop {
            let due = self.until_wakeup();
            let room = self.site.has_room() && !self.waiting.is_empty();
            tokio::select! {
                _ = stop.recv() => return Ok(()),
                Some(event) = link_events.recv() => self.on_link(event)?,
                _ = self.transport.readable() => self.on_datagrams()?,
                Some(batch) = batches.recv() => self.waiting.push_back(batch),
                () = tokio::time::sleep(due) => {}
                () = std::future::ready(()), if room => {}
                _ = reports.tick() => {
                    self.site.pace(self.hub.pace(monotonic()));
                    self.tell();
                }
            }
            self.serve()?;
            self.transport.flush();
            let now = monotonic();
            if self.site.next_wakeup().is_some_and(|time| time <= now) {
                let step = self.site.on_wakeup(now);
                self.carry_out(now, step)?;
                self.transport.flush();
            }
        }
    }

    fn until_wakeup(&self) -> Duration {
        let due = self.site.next_wakeup().map(|time| time.since(monotonic()));
        due.unwrap_or(Duration::from_secs(3600)).min(Duration::from_secs(3600))
    }

    fn on_link(&mut self, event: LinkEvent) -> Result<(), SiteError> {
        let now = monotonic();
        match event {
            LinkEvent::Up(place, secret, address, link) => {
                self.note(place, None);
                self.transport.on_link_up(now, place, &secret, address, link);
            }
            LinkEvent::Frame(place, frame) => {
                if let Some(frame) = self.transport.on_link_frame(now, place, frame) {
                    let step = self.site.on_frame(now, site_id(place), &frame);
                    self.carry_out(now, step)?;
                }
            }
            LinkEvent::Down(place) => {
                if self.transport.on_link_down(place) {
                    self.note(place, Some("the link was cut".to_owned()));
                }
            }
            LinkEvent::Failed(place, why) => self.note(place, Some(no_link(&why))),
        }
        Ok(())
    }

    fn on_datagrams(&mut self) -> Result<(), SiteError> {
        let mut frames = Vec::new();
        let mut taken = 0;
        while taken < DATAGRAMS_PER_TURN {
            let now = monotonic();
            if !self.transport.receive(now, &mut frames)? {
                break;
            }
            taken += frames.len().max(1);
            for (place, frame) in frames.drain(..) {
                let now = monotonic();
                let step = self.site.on_frame(now, site_id(place), &frame);
                self.carry_out(now, step)?;
            }
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
        let told = !step.events.is_empty();
        for event in step.events {
            self.note_event(&event);
            self.hub.on_event(event);
        }
        if told {
            self.hub.relieve();
            self.site.pace(self.hub.pace(now));
        }
        Ok(())
    }

    fn note_event(&mut self, event: &Event) {
        match event {
            Event::Ring(ring, sites) => {
                self.ring = Some((*ring, *sites));
                self.rings += 1;
                "in a ring".clone_into(&mut self.state);
                let absent = self.absent(*sites);
                let sites = self.names(*sites);
                info!(ring = ring.counter, ?sites, ?absent, "in a ring");
                self.observer.tell(&Decision::Ring { number: ring.counter, sites, absent });
                self.tell();
            }
            Event::Gathering(reason) => {
                self.ring = None;
                let why = gathering(*reason, &|place| self.name(place).to_owned());
                info!("looks for others: {why}");
                self.observer.tell(&Decision::LooksForOthers { why: why.clone() });
                self.state = format!("looks for others: {why}");
            }
            Event::Overslept(length) => {
                let ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
                self.observer.tell(&Decision::Overslept { ms });
                warn!(ms, "this site was not scheduled for so long that the others went on without it: it joins again");
            }
            _ => {}
        }
    }

    /// The log says once why a site cannot be reached, and once that it can again.
    fn note(&mut self, place: usize, why: Option<String>) {
        let site = self.name(place).to_owned();
        let Some(known) = self.unreachable.get_mut(place) else { return };
        match (&known, &why) {
            (Some(before), Some(now)) if before == now => return,
            (_, Some(why)) => {
                warn!(site, "no link to a site: {why}");
                self.observer.tell(&Decision::NoLink { other: site, why: why.clone() });
            }
            (_, None) => {
                info!(site, "linked with a site");
                self.observer.tell(&Decision::Linked { other: site });
            }
        }
        *known = why;
    }

    fn name(&self, place: usize) -> &str {
        self.folder.network.sites().get(place).map_or("", |site| site.name.as_str())
    }

    fn names(&self, sites: SiteSet) -> Vec<String> {
        sites.iter().map(|site| self.name(usize::from(site.get())).to_owned()).collect()
    }

    fn absent(&self, sites: SiteSet) -> Vec<String> {
        let all = (0..self.folder.network.sites().len()).filter(|place| !sites.has(site_id(*place)));
        all.map(|place| self.name(place).to_owned()).collect()
    }

    fn tell(&mut self) {
        let (groups, memberships) = self.site.group_sizes();
        let (packets_kept, waiting_bytes) = self.site.queue_sizes();
        let (clients_waiting_bytes, clients_cut) = self.hub.queues();
        let Counts { sent, sent_by_link, dropped, received, refused } = self.transport.counts();
        let unreachable = self
            .unreachable
            .iter()
            .enumerate()
            .filter_map(|(place, why)| Some(Unreachable { site: self.name(place).to_owned(), why: why.clone()? }));
        let sites = self.ring.map(|(_, sites)| sites).unwrap_or(SiteSet::EMPTY.with(site_id(self.folder.me)));
        let report = Report {
            site: self.folder.site().name.clone(),
            network: self.folder.network.name().to_owned(),
            fingerprint: self.folder.network.fingerprint(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: monotonic().since(self.started).as_secs(),
            state: self.state.clone(),
            ring: self.ring.map(|(_, sites)| self.names(sites)).unwrap_or_default(),
            ring_number: self.ring.map(|(ring, _)| ring.counter).unwrap_or_default(),
            absent: self.absent(sites),
            unreachable: unreachable.collect(),
            rings: self.rings,
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
        self.report.send_replace(report);
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
    let found = std::net::ToSocketAddrs::to_socket_addrs(&address).ok().and_then(|mut found| found.next());
    found.ok_or(SiteError::Address(address))
}

/// A clock that goes on while the machine sleeps, so that a site notices that it slept.
fn monotonic() -> Time {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    Time::from_start(seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0)))
}
