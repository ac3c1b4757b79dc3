//! Coming back by itself after a stay that was lost: the lid was closed, or the network was away.
//!
//! The user has proved to this agent who it is, and has not left. So the agent keeps what the user logged in with while
//! the stay lasts, and for as long as it tries to come back; it is wiped when the user leaves, is put out, or the time
//! is over.

use std::sync::Arc;
use std::time::Duration;

use ringfort::protocol::UserName;
use ringfort::protocol::view::Cause;
use ringfort::{Credentials, Group, JoinError, JoinOptions};
use tokio::time::Instant;

use crate::Inner;
use crate::absence::about;
use crate::entrance;
use crate::hub::Hub;
use crate::wire::Login;

/// How long an agent tries.
const TRIES_FOR: Duration = Duration::from_secs(3_600);
/// Between two tries, at first and at most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Whether a stay that ended so is to be taken up again.
pub fn wanted(cause: Option<Cause>) -> bool {
    cause == Some(Cause::Lost)
}

/// Tries to come back, until it works or somebody else logs in here.
pub fn begin(inner: &Arc<Inner>, hub: &Hub, credentials: Credentials) {
    let user = hub.group.user().clone();
    let away_since = hub.away_since();
    hub.notice(format!("Joining again by itself, for up to {}.", about(TRIES_FOR)), false);
    let mut closing = inner.closing.subscribe();
    let inner = inner.clone();
    inner.entrance.login.send_modify(|login| login.returning = true);
    tokio::spawn(async move {
        let end = tokio::select! {
            end = try_for_long(&inner, &user, &credentials, away_since) => end,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        inner.entrance.login.send_modify(|login| {
            login.returning = false;
            if let Some(why) = end {
                login.why = Some(why);
            }
        });
    });
}

/// `None` when somebody is in again; otherwise why it was given up.
async fn try_for_long(
    inner: &Arc<Inner>,
    user: &UserName,
    credentials: &Credentials,
    away_since: u64,
) -> Option<String> {
    let deadline = Instant::now() + TRIES_FOR;
    let mut pause = PAUSE;
    while Instant::now() < deadline {
        match once(inner, user, credentials, away_since).await {
            Tried::In => return None,
            Tried::Refused(why) => return Some(why),
            Tried::InVain => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    Some(format!("The group could not be reached for {}. Log in when the network is back.", about(TRIES_FOR)))
}

enum Tried {
    /// Somebody is in.
    In,
    /// Too few leaders in reach, or the user logs in by hand at this moment.
    InVain,
    /// It would be refused again.
    Refused(String),
}

async fn once(inner: &Arc<Inner>, user: &UserName, credentials: &Credentials, away_since: u64) -> Tried {
    if inner.is_in() {
        return Tried::In;
    }
    let mut free = false;
    inner.entrance.login.send_if_modified(|login| {
        free = !login.busy;
        if free {
            *login = Login { user: user.to_string(), busy: true, why: None, returning: true };
        }
        free
    });
    if !free {
        return Tried::InVain;
    }
    let options = JoinOptions { timeout: inner.login_within, log: inner.log.clone(), ..JoinOptions::default() };
    let joined = Group::join_with(inner.info.clone(), credentials.clone(), options).await;
    let tried = match joined {
        Ok((group, events)) => match entrance::enter(inner, Some(credentials.clone()), (group, events)) {
            Ok(hub) => {
                hub.was_away(away_since);
                Tried::In
            }
            Err(error) => Tried::Refused(crate::words::sentence(&error.to_string())),
        },
        Err(JoinError::Timeout { .. } | JoinError::Stopped) => Tried::InVain,
        Err(error) => Tried::Refused(crate::words::login(&error, &inner.info)),
    };
    inner.entrance.login.send_modify(|login| login.busy = false);
    tried
}
