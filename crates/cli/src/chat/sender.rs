//! Sends what was typed, in order, while the screen goes on.

use ringfort::Group;
use ringfort::protocol::UserName;
use tokio::sync::mpsc;

use super::TOPIC;
use crate::exit::Failure;

const WAITING_MAX: usize = 64;

/// A message of this user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    /// Empty for all.
    pub to: Vec<UserName>,
    pub text: String,
}

/// A message that was sent, or why it was not.
pub(super) type Sent = (Own, Result<(), Failure>);

/// Messages go in at one end and come out at the other once they are sent.
pub(super) fn start(group: Group) -> (mpsc::Sender<Own>, mpsc::Receiver<Sent>) {
    let (outbox, mut waiting) = mpsc::channel::<Own>(WAITING_MAX);
    let (done, sent) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        while let Some(own) = waiting.recv().await {
            let outcome = send(&group, &own).await;
            if done.send((own, outcome)).await.is_err() {
                return;
            }
        }
    });
    (outbox, sent)
}

/// Sends one message.
pub(super) async fn send(group: &Group, own: &Own) -> Result<(), Failure> {
    if own.to.is_empty() {
        group.multicast(TOPIC, own.text.as_bytes()).await?;
    } else {
        group.send_to(&own.to, TOPIC, own.text.as_bytes()).await?;
    }
    Ok(())
}
