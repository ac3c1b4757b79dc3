//! A member's links: one task per leader that connects, reads, and connects again.

use std::sync::Arc;

use bytes::Bytes;
use rand_core::Rng;
use ringfort_protocol::{GroupInfo, LeaderId};
use tokio::sync::mpsc;

use crate::link::{Backoff, ConnectOptions, LinkError, LinkPublicKey, LinkSender, connect};
use crate::os_rng;

/// What links tell the driver.
pub(super) enum Input {
    Up(LeaderId, u64, [u8; 32], LinkSender),
    Frame(LeaderId, u64, Bytes),
    Down(LeaderId, u64),
    Failed(LeaderId, LinkError),
}

/// Keeps a link to one leader until the driver is gone.
pub(super) async fn keep(
    group: Arc<GroupInfo>,
    leader: LeaderId,
    options: ConnectOptions,
    inputs: mpsc::Sender<Input>,
) {
    let Some(info) = group.leader(leader) else { return };
    let mut backoff = Backoff::default();
    let mut generation = 0;
    while !inputs.is_closed() {
        match connect(&info.address, LinkPublicKey(info.link_key), None, &options).await {
            Ok(link) => {
                generation += 1;
                let exporter = link.exporter();
                let (sender, mut receiver) = link.split();
                if inputs.send(Input::Up(leader, generation, exporter, sender)).await.is_err() {
                    return;
                }
                let started = tokio::time::Instant::now();
                while let Ok(Some(frame)) = receiver.recv().await {
                    if inputs.send(Input::Frame(leader, generation, frame)).await.is_err() {
                        return;
                    }
                }
                if inputs.send(Input::Down(leader, generation)).await.is_err() {
                    return;
                }
                // A link that ends at once (a refusal, say) does not start the back-off over.
                if started.elapsed() > std::time::Duration::from_secs(2) {
                    backoff.reset();
                }
            }
            Err(error) => {
                if inputs.send(Input::Failed(leader, error)).await.is_err() {
                    return;
                }
            }
        }
        let pause = backoff.next(os_rng().next_u64());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = inputs.closed() => return,
        }
    }
}
