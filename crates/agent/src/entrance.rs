//! Who is logged in, and logging in from the page.
//!
//! One stay at a time. When it has ended, its records can still be read, and the user can log in again; the same user then
//! goes on in the same records. What the user logged in with is kept in memory while the stay lasts, so that a stay that
//! was lost can be taken up again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfort::protocol::GroupInfo;
use ringfort::{Credentials, Events, Group, JoinOptions};
use ringfort_documents as documents;
use ringfort_files::Files;
use tokio::sync::watch;

use crate::Inner;
use crate::door::Token;
use crate::hub::Hub;
use crate::returning;
use crate::wire::{Login, Password};
use crate::words;

/// The stay, if there is or was one.
#[derive(Clone, Debug, Default)]
pub struct Stay {
    /// How many there have been.
    pub count: u64,
    /// What is shared of it.
    pub hub: Option<Arc<Hub>>,
    /// Whether it has ended.
    pub over: bool,
}

/// Who is in, and who is coming in.
#[derive(Debug)]
pub struct Entrance {
    /// The stay.
    pub stay: watch::Sender<Stay>,
    /// The login.
    pub login: watch::Sender<Login>,
}

impl Entrance {
    /// Nobody is in. `user` is who is expected.
    pub fn new(user: Option<String>) -> Self {
        let login = Login { user: user.unwrap_or_default(), ..Login::default() };
        Entrance { stay: watch::Sender::default(), login: watch::Sender::new(login) }
    }
}

/// What the page asks for.
#[derive(Debug)]
pub struct Attempt {
    /// Who.
    pub user: String,
    /// A password, or
    pub password: Option<Password>,
    /// a key in a private file of this machine,
    pub key: Option<PathBuf>,
    /// with a certificate for those whom the group does not know.
    pub certificate: Option<PathBuf>,
}

/// Starts a login; how it goes is told by the entrance.
///
/// # Errors
/// Why it does not start, in words.
pub fn log_in(inner: &Arc<Inner>, attempt: Attempt) -> Result<(), String> {
    let mut started = false;
    // Looked at and set in one step, so that two pages do not log in at once.
    inner.entrance.login.send_if_modified(|login| {
        started = !login.busy && !inner.is_in();
        if started {
            *login = Login { user: attempt.user.clone(), busy: true, why: None, ..login.clone() };
        }
        started
    });
    if !started {
        return Err(if inner.is_in() { "you are in the group already" } else { "a login is going on" }.to_owned());
    }
    let (inner, mut closing) = (inner.clone(), inner.closing.subscribe());
    tokio::spawn(async move {
        let why = tokio::select! {
            outcome = join(&inner, attempt) => outcome.err(),
            _ = closing.wait_for(|closing| *closing) => None,
        };
        inner.entrance.login.send_modify(|login| (login.busy, login.why) = (false, why));
    });
    Ok(())
}

async fn join(inner: &Arc<Inner>, attempt: Attempt) -> Result<(), String> {
    let credentials = credentials(&inner.info, attempt)?;
    let options = JoinOptions { timeout: inner.login_within, log: inner.log.clone(), ..JoinOptions::default() };
    let joined = Group::join_with(inner.info.clone(), credentials.clone(), options).await;
    let joined = joined.map_err(|error| words::login(&error, &inner.info))?;
    enter(inner, Some(credentials), joined).map(drop).map_err(|error| words::sentence(&error.to_string()))
}

fn credentials(group: &GroupInfo, attempt: Attempt) -> Result<Credentials, String> {
    let wrong = |error: &dyn std::fmt::Display| words::sentence(&error.to_string());
    let made = match (attempt.password, attempt.key, attempt.certificate) {
        (Some(Password(password)), None, None) if !password.is_empty() => {
            Credentials::password(&attempt.user, password.as_bytes())
        }
        (None, Some(key), certificate) => {
            let key = documents::read_user_key(&key).map_err(|error| wrong(&error))?;
            match certificate {
                None => Credentials::key(&attempt.user, key),
                Some(path) => {
                    let certificate = documents::read_certificate(Path::new(&path)).map_err(|error| wrong(&error))?;
                    if certificate.user.as_str() != attempt.user {
                        return Err(format!("The certificate is for {}, not for {}.", certificate.user, attempt.user));
                    }
                    Credentials::certificate(key, certificate)
                }
            }
        }
        _ => return Err("A password or a key file is needed.".to_owned()),
    };
    made.map_err(|error| words::login(&error, group))
}

/// Takes over a stay that was joined, and follows it to its end. With credentials, a stay that is lost is taken up again.
///
/// # Errors
/// When the system has no entropy.
pub fn enter(
    inner: &Arc<Inner>,
    credentials: Option<Credentials>,
    (group, events): (Group, Events),
) -> std::io::Result<Arc<Hub>> {
    let before = inner.entrance.stay.borrow().clone();
    let started = inner.files.clone().map(|options| Files::start(group.clone(), options)).transpose();
    let (files, problem) = started.map_or_else(|error| (None, Some(error)), |files| (files, None));
    let stay = (group, files);
    let hub = match before.hub.filter(|before| before.group.user() == stay.0.user()) {
        Some(before) => before.again(stay),
        None => {
            let run = Token::fresh()?.as_str().to_owned();
            Hub::new(stay, run, inner.topics.clone(), inner.bounds, inner.observer.clone())
        }
    };
    if let Some(error) = problem {
        hub.notice(words::sentence(&format!("no files can be exchanged: {error}")), true);
    }
    let (hub, count) = (Arc::new(hub), before.count + 1);
    let (follower, inner, mut closing) = (hub.clone(), inner.clone(), inner.closing.subscribe());
    let entered = hub.clone();
    inner.entrance.stay.send_replace(Stay { count, hub: Some(hub), over: false });
    tokio::spawn(async move {
        let ended = tokio::select! {
            () = follower.follow(events) => true,
            _ = closing.wait_for(|closing| *closing) => false,
        };
        inner.entrance.stay.send_if_modified(|stay| {
            let this = stay.count == count;
            stay.over |= this;
            this
        });
        if let Some(credentials) = credentials.filter(|_| ended && returning::wanted(follower.ended())) {
            returning::begin(&inner, &follower, credentials);
        }
    });
    Ok(entered)
}
