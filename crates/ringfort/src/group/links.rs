//! A member's links: one task per leader that connects, reads, and connects again.

use std::sync::Arc;

use bytes::Bytes;
use rand_core::Rng;
use ringfort_kernel::inbox::{PoolId, PoolLimits, Urgency};
use ringfort_protocol::{GroupInfo, LeaderId};

use ringfort_documents::os_rng;
use ringfort_link::{Backoff, ConnectOptions, Link, LinkError, LinkPublicKey, LinkSender, connect};
use ringfort_runtime::{Barred, Inputs};

/// What may wait of one leader, bytes: beyond it, one frame more.
const LEADER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What may wait of all of them, bytes.
const LEADERS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What links tell the driver.
pub(super) enum Input {
    Up(LeaderId, u64, [u8; 32], LinkSender),
    Frame(LeaderId, u64, Bytes),
    Down(LeaderId, u64),
    Failed(LeaderId, LinkError),
}

impl Input {
    /// What it brought, bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Input::Frame(_, _, frame) => frame.len(),
            Input::Up(..) | Input::Down(..) | Input::Failed(..) => 0,
        }
    }
}

/// What the driver shares with the tasks that keep links.
#[derive(Clone)]
pub(super) struct Shared {
    pub inputs: Inputs<LeaderId, Input>,
    pub barred: Barred,
}

impl Shared {
    /// A lane for each leader: none of them keeps another waiting.
    pub fn new(group: &GroupInfo) -> Self {
        let limits = PoolLimits { share: 1, lane_bytes_max: LEADER_BYTES_MAX, bytes_max: LEADERS_BYTES_MAX };
        let inputs = Inputs::new([limits]);
        group.rules.leaders().for_each(|leader| inputs.open(leader, PoolId(0)));
        Shared { inputs, barred: Barred::default() }
    }
}

/// Keeps a link to one leader until the driver ends it.
pub(super) async fn keep(
    group: Arc<GroupInfo>,
    leader: LeaderId,
    options: ConnectOptions,
    shared: Shared,
    number: u64,
) {
    let Some(info) = group.leader(leader) else { return };
    let mut backoff = Backoff::default();
    let mut generation = number;
    loop {
        shared.barred.over(leader).await;
        match connect(&info.address, LinkPublicKey(info.link_key), None, &options).await {
            Ok(link) => {
                generation += 1;
                let started = tokio::time::Instant::now();
                read(leader, generation, link, &shared.inputs).await;
                // A link that ends at once (a refusal, say) does not start the back-off over.
                if started.elapsed() > std::time::Duration::from_secs(2) {
                    backoff.reset();
                }
            }
            Err(error) => {
                drop(shared.inputs.push(&leader, Urgency::Bulk, 0, Input::Failed(leader, error)).await);
            }
        }
        tokio::time::sleep(backoff.next(os_rng().next_u64())).await;
    }
}

/// Reads a link until it ends. A lane that is full stops it, and by TCP this leader, alone.
async fn read(leader: LeaderId, generation: u64, link: Link, inputs: &Inputs<LeaderId, Input>) {
    let exporter = link.exporter();
    let (sender, mut receiver) = link.split();
    let up = Input::Up(leader, generation, exporter, sender);
    if inputs.push(&leader, Urgency::Prompt, 0, up).await.is_err() {
        return;
    }
    while let Ok(Some(frame)) = receiver.recv().await {
        if inputs.push_frame(&leader, frame, |frame| Input::Frame(leader, generation, frame)).await.is_err() {
            return;
        }
    }
    // After everything else of it.
    drop(inputs.push(&leader, Urgency::Bulk, 0, Input::Down(leader, generation)).await);
}
