//! A man in the middle who ends TLS himself: with a key of his own, or with a leader's stolen link key.
//!
//! With the stolen key members take him for the leader, and he reads and writes frames. What he can do with them is
//! what a forwarder can that was given the link key and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use ringfort_crypto::sign::Signature;
use ringfort_link as link;
use ringfort_link::{
    AcceptLimits, ConnectOptions, LinkKey, LinkLimits, LinkPublicKey, LinkReceiver, LinkSender, Listener,
};
use ringfort_protocol::Incarnation;
use ringfort_protocol::login::{Denial, LoginAnswer, WireSignature};
use ringfort_protocol::wire;
use tokio::task::{JoinHandle, JoinSet};

/// Frames kept.
const KEPT_MAX: usize = 256;

/// What he does with what he reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Passes it on to the leader, and the answers back.
    Relay,
    /// Answers with a refusal that the leader did not sign.
    Deny,
}

/// The man in the middle.
#[derive(Debug)]
pub struct Middleman {
    address: String,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    callers: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    frames: Mutex<Vec<Bytes>>,
}

impl Middleman {
    /// Stands between callers and the leader at `target`, with `key` for callers.
    ///
    /// # Errors
    /// No port is free.
    pub async fn stand(
        manner: Manner,
        key: &LinkKey,
        target: String,
        target_key: LinkPublicKey,
    ) -> anyhow::Result<Middleman> {
        let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(any_port, key, [], AcceptLimits::default(), LinkLimits::default());
        let listener = listener.await.context("a port for the man in the middle")?;
        let address = listener.local_addr().to_string();
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn(serve(manner, listener, target, target_key, seen.clone()));
        Ok(Middleman { address, seen, task })
    }

    /// Where callers find him.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Callers who took him for the leader.
    pub fn callers(&self) -> u64 {
        self.seen.callers.load(Ordering::Acquire)
    }

    /// Frames he read, from callers and from the leader.
    pub fn frames(&self) -> (u64, u64) {
        (self.seen.up.load(Ordering::Acquire), self.seen.down.load(Ordering::Acquire))
    }

    /// The first frames of callers, as he read them.
    pub fn heard(&self) -> Vec<Bytes> {
        self.seen.frames.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Middleman {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(manner: Manner, mut listener: Listener, target: String, target_key: LinkPublicKey, seen: Arc<Seen>) {
    let mut pairs = JoinSet::new();
    while let Some(accepted) = listener.accept().await {
        while pairs.try_join_next().is_some() {}
        seen.callers.fetch_add(1, Ordering::AcqRel);
        accepted.link.authenticated();
        let (to_caller, from_caller) = accepted.link.split();
        let (target, seen) = (target.clone(), seen.clone());
        pairs.spawn(async move {
            if manner == Manner::Deny {
                deny(from_caller, &to_caller, &seen).await;
                return;
            }
            let Ok(link) = link::connect(&target, target_key, None, &ConnectOptions::default()).await else { return };
            link.authenticated();
            let (to_leader, from_leader) = link.split();
            tokio::select! {
                () = carry(from_caller, &to_leader, &seen.up, Some(&seen.frames)) => {}
                () = carry(from_leader, &to_caller, &seen.down, None) => {}
            }
            // What is queued still goes out.
            to_leader.close();
            to_caller.close();
        });
    }
}

/// Answers every frame with a denial that looks like a leader's, but for its signature.
async fn deny(mut from: LinkReceiver, to: &LinkSender, seen: &Seen) {
    let signature = WireSignature(Signature::from_bytes([7; 64]));
    let denial = wire::plain(&LoginAnswer::Denied { reason: Denial::Expelled(Incarnation(u64::MAX)), signature });
    while let Ok(Some(_)) = from.recv().await {
        seen.up.fetch_add(1, Ordering::AcqRel);
        if to.send(link::Class::Control, denial.clone()).is_err() {
            return;
        }
    }
}

async fn carry(mut from: LinkReceiver, to: &LinkSender, count: &AtomicU64, kept: Option<&Mutex<Vec<Bytes>>>) {
    while let Ok(Some(frame)) = from.recv().await {
        count.fetch_add(1, Ordering::AcqRel);
        if let Some(kept) = kept {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < KEPT_MAX {
                kept.push(frame.clone());
            }
        }
        if to.send(link::Class::Control, frame).is_err() {
            return;
        }
    }
}
