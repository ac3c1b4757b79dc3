//! A hostile client: somebody who reaches a leader and says what it likes, with or without a login.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use rand_core::Rng;
use ringfort_documents::os_rng;
use ringfort_link as link;
use ringfort_link::{Backoff, ConnectOptions, LinkKey, LinkPublicKey, LinkReceiver, LinkSender};
use ringfort_protocol::login::LoginAnswer;
use ringfort_protocol::wire::{self, Sorted};
use ringfort_protocol::{GroupInfo, LeaderId};

use super::PATIENCE;

/// A link to a leader, without a login.
#[derive(Debug)]
pub struct Door {
    /// Whose.
    pub leader: LeaderId,
    /// Sends any frame.
    pub sender: LinkSender,
    /// Hears what comes.
    pub receiver: LinkReceiver,
    /// The same at both ends of the link.
    pub exporter: [u8; 32],
}

/// What became of frames sent to a leader.
#[derive(Debug, Default)]
pub struct Knock {
    /// Frames sent.
    pub sent: usize,
    /// Frames that came back.
    pub answers: Vec<Bytes>,
    /// Whether the leader ended the link.
    pub refused: bool,
}

/// A leader by its number.
///
/// # Errors
/// There is none.
pub fn leader(number: u8) -> anyhow::Result<LeaderId> {
    LeaderId::new(number).with_context(|| format!("there is no leader {number}"))
}

impl Door {
    /// Opens a link as anybody can.
    ///
    /// # Errors
    /// The leader cannot be reached or does not hold its key.
    pub async fn open(info: &GroupInfo, number: u8) -> anyhow::Result<Door> {
        Self::open_with(info, number, None).await
    }

    /// Opens a link and shows a key.
    ///
    /// # Errors
    /// As [`Door::open`].
    pub async fn open_with(info: &GroupInfo, number: u8, key: Option<&LinkKey>) -> anyhow::Result<Door> {
        let leader = leader(number)?;
        let known = info.leader(leader).context("a leader of the group")?;
        let server_key = LinkPublicKey(known.link_key);
        let link = link::connect(&known.address, server_key, key, &ConnectOptions::default()).await?;
        let exporter = link.exporter();
        let (sender, receiver) = link.split();
        Ok(Door { leader, sender, receiver, exporter })
    }

    /// As [`Door::open`], for a leader that may be just starting or full.
    ///
    /// # Errors
    /// It stays so.
    pub async fn open_patiently(info: &GroupInfo, number: u8) -> anyhow::Result<Door> {
        let mut backoff = Backoff::default();
        let attempts = async {
            loop {
                match Self::open(info, number).await {
                    Ok(door) => return door,
                    Err(_) => tokio::time::sleep(backoff.next(os_rng().next_u64())).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, attempts).await.with_context(|| format!("no link to leader {number}"))
    }

    /// Sends a frame as it is.
    pub fn send(&self, frame: Bytes) -> bool {
        self.sender.send(link::Class::Control, frame).is_ok()
    }

    /// The next answer to a login request.
    ///
    /// # Errors
    /// None comes in time.
    pub async fn answer(&mut self) -> anyhow::Result<LoginAnswer> {
        let heard = tokio::time::timeout(PATIENCE, self.receiver.recv()).await.context("no answer")?;
        let Some(frame) = heard? else { bail!("the leader hung up") };
        let Ok(Sorted::Plain(body)) = wire::sort(&frame) else { bail!("no login answer") };
        Ok(wire::decode_plain(body)?)
    }

    /// Takes what comes until the leader hangs up, for `limit` at most; true if it did.
    pub async fn hear_out(&mut self, limit: Duration, answers: &mut Vec<Bytes>) -> bool {
        let listen = async {
            while let Ok(Some(frame)) = self.receiver.recv().await {
                answers.push(frame);
            }
        };
        tokio::time::timeout(limit, listen).await.is_ok()
    }
}

/// Sends frames over a new link without a login, and waits for the leader to hang up.
///
/// # Errors
/// The leader cannot be reached.
pub async fn knock(info: &GroupInfo, number: u8, frames: Vec<Bytes>, limit: Duration) -> anyhow::Result<Knock> {
    let mut door = Door::open_patiently(info, number).await?;
    let mut knock = Knock::default();
    for frame in frames {
        // The leader may hang up on the first.
        knock.sent += usize::from(door.send(frame));
    }
    knock.refused = door.hear_out(limit, &mut knock.answers).await;
    Ok(knock)
}

/// Whether a leader takes a link from somebody who shows a key of its own making for a leader's.
///
/// # Errors
/// The leader cannot be reached.
pub async fn pose_as_leader(info: &GroupInfo, number: u8, limit: Duration) -> anyhow::Result<bool> {
    let mut seed = [0; 32];
    os_rng().fill_bytes(&mut seed);
    match Door::open_with(info, number, Some(&LinkKey::from_seed(seed))).await {
        // The server judges a client's key last.
        Ok(mut door) => Ok(!door.hear_out(limit, &mut Vec::new()).await),
        Err(error) if error.downcast_ref::<link::LinkError>().is_some_and(is_refusal) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_refusal(error: &link::LinkError) -> bool {
    matches!(error, link::LinkError::Refused | link::LinkError::Protocol(_) | link::LinkError::Closed)
}
