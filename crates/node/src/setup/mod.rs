//! The driver of a setup without a dealer: moves frames between links and the ceremony, and makes durable what it asks to be.
//!
//! Architecture invariant: no protocol decision is taken here.

mod links;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringfort_protocol::{Cx, GroupInfo, LeaderId};
pub use ringfort_setup::{BadTerms, Blame, Event, Evidence, Fault, Limits, Terms, Verdict};
use ringfort_setup::{Ceremony, Effect, Past, Step};
use tokio::sync::mpsc;
use tracing::debug;

use self::links::{Input, Links};
use crate::folder::Making;
use ringfort_documents::FileError;
use ringfort_documents::os_rng;
use ringfort_link::{Class, LinkError, LinkSender};
use ringfort_runtime::clock::{Clock, unix_ms};

const INPUTS_MAX: usize = 256;
/// How long the last frames may take to get out.
const GOODBYE: Duration = Duration::from_secs(2);

/// How a setup runs.
#[derive(Clone, Debug, Default)]
pub struct SetupOptions {
    /// Where to listen, if not at the address of the introduction.
    pub listen: Option<SocketAddr>,
    /// How long to wait for the others.
    pub limits: Limits,
}

/// How a setup ended.
#[derive(Debug)]
pub enum SetupEnd {
    /// There is a group, and this leader's folder.
    Done(Box<GroupInfo>, PathBuf),
    /// There is none; look at whom it names.
    Failed(Verdict),
    /// It was asked to stop.
    Stopped,
}

/// Why a setup could not run.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Nothing to take part in.
    #[error(
        "these introductions do not have that of {0}, as it is in this folder: give the others' and this one's own"
    )]
    NotMine(LeaderId),
    /// The address is taken, or not this machine's.
    #[error(
        "cannot listen at {address}: {cause}. Stop the program that uses the port, or choose another with --listen"
    )]
    Listen {
        /// The address.
        address: String,
        /// Why.
        cause: LinkError,
    },
    /// The address in the introduction means nothing here.
    #[error("the address {0} of this leader's introduction cannot be resolved: use --listen HOST:PORT")]
    Address(String),
    /// The folder cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Takes part in the ceremony on `terms` until it has ended and the others know, or `stop` completes.
///
/// # Errors
/// When it cannot listen or cannot keep what it makes.
pub async fn run_setup(
    making: &Making,
    terms: Arc<Terms>,
    options: SetupOptions,
    mut observe: impl FnMut(&Event) + Send,
    stop: impl Future<Output = ()>,
) -> Result<SetupEnd, SetupError> {
    let me = making.introduction().leader;
    if terms.introduction(me).map(|i| i.digest()) != Some(making.introduction().digest()) {
        return Err(SetupError::NotMine(me));
    }
    let clock = Clock::start();
    let mut rng = os_rng();
    let (inputs, mut received) = mpsc::channel(INPUTS_MAX);
    let links = Links::start(&terms, making, options.listen, inputs).await?;
    let finished = making.certificate(&terms)?;
    let mut driver = Driver { making, terms: terms.clone(), senders: BTreeMap::new(), end: None };
    let mut ceremony = match finished {
        Some((certificate, group)) => {
            driver.end = Some(SetupEnd::Done(Box::new(group), making.leader_folder()));
            Ceremony::over(terms, me, certificate, options.limits, clock.now())
        }
        None => {
            let mut cx = Cx { now: clock.now(), unix_ms: unix_ms(), rng: &mut rng };
            let (ceremony, step) = begin(making, terms, me, options.limits, &mut cx)?;
            driver.carry_out(step, &mut observe)?;
            ceremony
        }
    };
    tokio::pin!(stop);
    loop {
        let due = ceremony.next_wakeup().map(|time| clock.instant(time));
        let sleep = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let input = tokio::select! {
            biased;
            () = &mut stop => break,
            input = received.recv() => input,
            () = sleep => None,
        };
        let mut cx = Cx { now: clock.now(), unix_ms: unix_ms(), rng: &mut rng };
        let step = match input {
            Some(input) => driver.on_input(&mut ceremony, &mut cx, input),
            None => ceremony.on_wakeup(&mut cx),
        };
        if driver.carry_out(step, &mut observe)? {
            break;
        }
    }
    driver.say_goodbye().await;
    links.shutdown().await;
    Ok(driver.end.unwrap_or(SetupEnd::Stopped))
}

/// Starts with what is on disk; the number of a start counts only as long as nothing is confirmed.
fn begin(
    making: &Making,
    terms: Arc<Terms>,
    me: LeaderId,
    limits: Limits,
    cx: &mut Cx<'_>,
) -> Result<(Ceremony, Step), FileError> {
    let past = match making.confirmation(&terms)? {
        Some(confirmation) => Past { confirmed: Some(confirmation), ..Past::default() },
        None => Past { confirmed: None, attempt: making.next_attempt()?, reason: making.reason()? },
    };
    Ceremony::start(terms, me, making.keys(), past, limits, cx).ok_or_else(|| making.damaged())
}

struct Driver<'a> {
    making: &'a Making,
    terms: Arc<Terms>,
    /// The link to each participant, with its number: an older one's end is no news.
    senders: BTreeMap<LeaderId, (u64, LinkSender)>,
    end: Option<SetupEnd>,
}

impl Driver<'_> {
    fn on_input(&mut self, ceremony: &mut Ceremony, cx: &mut Cx<'_>, input: Input) -> Step {
        match input {
            Input::Up(peer, number, sender) => {
                if let Some((_, old)) = self.senders.insert(peer, (number, sender)) {
                    old.close();
                }
                ceremony.on_link(peer)
            }
            Input::Frame(peer, frame) => ceremony.on_message(cx, peer, &frame),
            Input::Down(peer, number) => {
                if self.senders.get(&peer).is_some_and(|(n, _)| *n == number) {
                    self.senders.remove(&peer);
                }
                Step::default()
            }
        }
    }

    /// Whether it is over.
    fn carry_out(&mut self, step: Step, observe: &mut impl FnMut(&Event)) -> Result<bool, FileError> {
        for effect in step.effects {
            match effect {
                Effect::Send(peer, frame) => {
                    if let Some((_, sender)) = self.senders.get(&peer)
                        && let Err(error) = sender.send(Class::Control, Bytes::from(frame))
                    {
                        debug!(peer = peer.number(), %error, "not sent");
                    }
                }
                Effect::Persist(unconfirmed) => self.making.persist(&self.terms, &unconfirmed)?,
                Effect::Remember(reason) => self.making.remember(&reason)?,
                Effect::Confirm(certificate) => {
                    let group = self.making.confirm(&certificate)?;
                    self.end = Some(SetupEnd::Done(Box::new(group), self.making.leader_folder()));
                }
            }
        }
        let mut is_over = false;
        for event in step.events {
            observe(&event);
            match event {
                Event::Failed(verdict) => {
                    for blame in &verdict.blames {
                        self.making.keep_evidence(blame)?;
                    }
                    self.end = Some(SetupEnd::Failed(verdict));
                }
                Event::Settled => is_over = true,
                _ => {}
            }
        }
        Ok(is_over)
    }

    async fn say_goodbye(&mut self) {
        let senders: Vec<LinkSender> = std::mem::take(&mut self.senders).into_values().map(|(_, s)| s).collect();
        senders.iter().for_each(LinkSender::close);
        let all = async {
            for sender in &senders {
                sender.ended().await;
            }
        };
        // Whoever does not read what it was told in this time does not want to know.
        let _ = tokio::time::timeout(GOODBYE, all).await;
    }
}
