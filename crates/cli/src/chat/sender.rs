//! Sends what was typed, in order, while the screen goes on.

use ringfort::Group;
use ringfort::protocol::UserName;
use ringfort::protocol::motion::Motion;
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

/// What this user does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Say(Own),
    Vote(Motion, bool),
}

/// What was done, or why it was not.
pub(super) type Sent = (Act, Result<(), Failure>);

/// Messages and votes go in at one end and come out at the other once they are sent.
pub(super) fn start(group: Group) -> (mpsc::Sender<Act>, mpsc::Receiver<Sent>) {
    let (outbox, mut waiting) = mpsc::channel::<Act>(WAITING_MAX);
    let (done, sent) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        while let Some(act) = waiting.recv().await {
            let outcome = send(&group, &act).await;
            if done.send((act, outcome)).await.is_err() {
                return;
            }
        }
    });
    (outbox, sent)
}

/// Sends one message, or one vote.
pub(super) async fn send(group: &Group, act: &Act) -> Result<(), Failure> {
    match act {
        Act::Say(own) if own.to.is_empty() => group.multicast(TOPIC, own.text.as_bytes()).await?,
        Act::Say(own) => group.send_to(&own.to, TOPIC, own.text.as_bytes()).await?,
        Act::Vote(motion, yes) => group.vote(motion.kind, &motion.user, *yes).await?,
    }
    Ok(())
}
