//! The group's services beside the order: one replica, fed by the thread that orders and by the leader's loop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ringfort_agreement::readings::messages_of;
use ringfort_agreement::sequence::Entry;
use ringfort_protocol::fault::Culprit;
use ringfort_protocol::view::MemberEntry;
use ringfort_protocol::{GroupInfo, LeaderId, MemberId};
use ringfort_services::kv::Kv;
use ringfort_services::{Origin, Output, Replica, Stay};
use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use super::{Machine, Submitter};

/// Answers that wait for the leader's loop. A member whose answer finds no room asks again.
const ANSWERS_MAX: usize = 256;

/// An answer for a member.
pub(crate) type Answered = (MemberId, Bytes);

/// Shared by both threads.
#[derive(Clone)]
struct Shared {
    replica: Arc<Mutex<Replica<Kv>>>,
    submitter: Submitter,
    answers: mpsc::Sender<Answered>,
}

/// The end of the leader's loop.
pub(crate) struct Services {
    shared: Shared,
    answers: mpsc::Receiver<Answered>,
}

/// The end of the thread that orders.
pub(super) struct Applying(Shared);

pub(super) fn start(group: &GroupInfo, me: LeaderId, submitter: Submitter) -> (Applying, Services) {
    let replica = Replica::new(me, group.id(), group.rules.into(), group.policy.clone());
    let (answers, answered) = mpsc::channel(ANSWERS_MAX);
    let shared = Shared { replica: Arc::new(Mutex::new(replica)), submitter, answers };
    (Applying(shared.clone()), Services { shared, answers: answered })
}

impl Services {
    /// A member asks.
    pub fn on_request(&self, member: &MemberEntry, request: &[u8]) {
        self.shared.with(|replica| replica.on_request(&Stay::from(member), request));
    }

    /// The stays that the leader has accepted.
    pub fn on_members(&self, stays: Vec<MemberEntry>) {
        self.shared.with(|replica| replica.on_members(stays.iter().map(Stay::from)));
    }

    /// The next answer; it is not lost if the future is dropped. Waits for ever once nothing is ordered any more.
    pub async fn answer(&mut self) -> Answered {
        match self.answers.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// The next answer, if one waits.
    pub fn try_answer(&mut self) -> Option<Answered> {
        self.answers.try_recv().ok()
    }
}

impl Machine for Applying {
    fn on_entry(&mut self, entry: &Entry) {
        let number = u8::try_from(entry.block.reference().author.share_index()).ok();
        let Some(author) = number.and_then(LeaderId::new) else { return };
        let origin = Origin { index: entry.index, time_us: entry.time_us, author };
        self.0.with(|replica| replica.on_entry(origin, messages_of(entry).map(|(_, message)| message)));
    }

    fn state(&mut self) -> Vec<u8> {
        self.0.replica().state()
    }

    fn install(&mut self, index: u64, state: Vec<u8>) {
        self.0.with(|replica| {
            replica.install(&state).unwrap_or_else(|_| {
                error!(
                    index,
                    "the certified state of the services cannot be read: leaders run different versions. This one answers no \
                     member until it runs the version that the others do"
                );
                Vec::new()
            })
        });
    }

    fn on_uncertain(&mut self, messages: Vec<Vec<u8>>) {
        self.0.with(|replica| {
            replica.on_lost(messages.iter().map(Vec::as_slice));
            replica.on_wakeup()
        });
    }
}

impl Shared {
    fn replica(&self) -> MutexGuard<'_, Replica<Kv>> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, act: impl FnOnce(&mut Replica<Kv>) -> Vec<Output>) {
        let mut replica = self.replica();
        let mut refused = Vec::new();
        for output in act(&mut replica) {
            match output {
                Output::Submit(message) => refused.extend(self.submitter.submit(vec![message])),
                Output::Answer(member, answer) => drop(self.answers.try_send((member, answer.into()))),
                Output::Blamed(Culprit::Leader(leader), fault) => {
                    warn!(leader = leader.number(), fault = fault.word(), "put into the order what no member signed");
                }
                Output::Blamed(culprit, fault) => debug!(%culprit, fault = fault.word(), "asked the services wrongly"),
            }
        }
        // Members ask again.
        replica.on_lost(refused.iter().map(Vec::as_slice));
    }
}
