//! What several commands share: the group, who the user is and with what secret, and the signals that end them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ringfort::protocol::{GroupInfo, UserName};
use ringfort::{Credentials, Events, Group, JoinOptions};
use ringfort_documents as documents;
use ringfort_documents::LogOptions;
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use crate::exit::{Failure, Outcome, Status};

/// The variable that may hold the password.
pub const PASSWORD_VARIABLE: &str = "RINGFORT_PASSWORD";

/// Which group.
#[derive(Clone, Debug, Args)]
pub struct GroupArgs {
    /// The group's public file (group.toml)
    #[arg(value_name = "GROUP")]
    pub group: PathBuf,
    /// Go on only if the group has this fingerprint, learned from an operator by other means
    #[arg(long, value_name = "FINGERPRINT")]
    pub fingerprint: Option<String>,
}

impl GroupArgs {
    /// Reads and checks the group file.
    ///
    /// # Errors
    /// An unreadable or altered file, or another group than expected.
    pub fn read(&self) -> Outcome<Arc<GroupInfo>> {
        let path = if self.group.is_dir() { self.group.join(documents::GROUP_FILE) } else { self.group.clone() };
        let group = documents::read_group(&path)?;
        if let Some(expected) = &self.fingerprint {
            documents::check_fingerprint(&group, expected)?;
        }
        Ok(group)
    }
}

/// Where a password comes from.
#[derive(Clone, Debug, Args)]
pub struct PasswordArgs {
    /// Read the password from this private file's first line (otherwise from RINGFORT_PASSWORD, or asked for)
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

impl PasswordArgs {
    /// The password: of the file, of the variable, or typed without echo (twice if it is `new`).
    ///
    /// # Errors
    /// When there is none.
    pub fn read(&self, user: &UserName, new: bool) -> Outcome<Zeroizing<String>> {
        if let Some(path) = &self.password_file {
            return read_secret_line(path);
        }
        if let Ok(password) = std::env::var(PASSWORD_VARIABLE) {
            return not_empty(Zeroizing::new(password), PASSWORD_VARIABLE);
        }
        let ask = |prompt: String| {
            rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|_| {
                let advice = "there is no terminal to ask for the password: use --password-file or RINGFORT_PASSWORD";
                Failure::new(Status::Usage, advice)
            })
        };
        let password = not_empty(ask(format!("Password of {user}: "))?, "the password")?;
        if new && *ask("Repeat it: ".to_owned())? != *password {
            return Err(Failure::new(Status::Usage, "the two passwords differ: start again"));
        }
        Ok(password)
    }
}

/// Refuses a file of a secret that others can read.
///
/// # Errors
/// When they can.
pub fn check_private(path: &Path) -> Outcome {
    let shown = path.display();
    let others = std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o077 != 0);
    if !others {
        return Ok(());
    }
    let told = format!("{shown}: others can read this secret: run `chmod 600 {shown}`, and change the secret");
    Err(Failure::new(Status::Permissions, told))
}

/// The first line of a private file: a password or a passphrase.
///
/// # Errors
/// A file that is missing, empty, or open to others.
pub fn read_secret_line(path: &Path) -> Outcome<Zeroizing<String>> {
    check_private(path)?;
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| {
        Failure::new(Status::Unreadable, format!("{shown}: the password file cannot be read ({error}): check the path"))
    })?;
    // An editor's byte order mark is no part of a secret.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    not_empty(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()), &shown)
}

fn not_empty(password: Zeroizing<String>, place: &str) -> Outcome<Zeroizing<String>> {
    if password.is_empty() {
        return Err(Failure::new(Status::Usage, format!("{place} is empty: a password is needed")));
    }
    Ok(password)
}

/// Which group, as whom, with what secret.
#[derive(Clone, Debug, Args)]
pub struct MemberArgs {
    /// Which group.
    #[command(flatten)]
    pub group: GroupArgs,
    /// Your user name
    #[arg(long, value_name = "NAME")]
    pub user: UserName,
    /// With what secret.
    #[command(flatten)]
    pub secret: SecretArgs,
}

/// With what secret, and how long to try.
#[derive(Clone, Debug, Args)]
pub struct SecretArgs {
    /// Log in with the key in this file instead of a password
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Log in with the key and this certificate, if the group does not know you
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// A password.
    #[command(flatten)]
    pub password: PasswordArgs,
    /// Keep a membership log in this file, and go on with it if it exists: it proves who could read what you sent
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Give up joining after this long
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

impl SecretArgs {
    /// Whether there is one without asking.
    pub fn is_given(&self) -> bool {
        self.key.is_some() || self.password.password_file.is_some() || std::env::var_os(PASSWORD_VARIABLE).is_some()
    }

    /// The user's secret, from where the options say.
    ///
    /// # Errors
    /// Unreadable files, a certificate for somebody else, no password.
    pub fn credentials(&self, user: &UserName) -> Outcome<Credentials> {
        let Some(key) = &self.key else {
            let password = self.password.read(user, false)?;
            return Ok(Credentials::password(user.as_str(), password.as_bytes())?);
        };
        let key = documents::read_user_key(key)?;
        let Some(path) = &self.certificate else {
            return Ok(Credentials::key(user.as_str(), key)?);
        };
        let certificate = documents::read_certificate(path)?;
        if certificate.user != *user {
            let told = format!(
                "{}: the certificate is for {}, not for {}: use the certificate made for this user",
                path.display(),
                certificate.user,
                user
            );
            return Err(Failure::new(Status::Credentials, told));
        }
        Ok(Credentials::certificate(key, certificate)?)
    }

    /// Joins a group that was read before.
    ///
    /// # Errors
    /// As [`MemberArgs::join`].
    pub async fn join(&self, group: Arc<GroupInfo>, credentials: Credentials) -> Outcome<(Group, Events)> {
        let (timeout, log) = (Duration::from_secs(self.timeout), self.log.clone().map(LogOptions::at));
        let options = JoinOptions { timeout, log, ..JoinOptions::default() };
        Ok(Group::join_with(group, credentials, options).await?)
    }
}

impl MemberArgs {
    /// Reads the group file, asks for the secret and joins.
    ///
    /// # Errors
    /// Everything that keeps a user out.
    pub async fn join(&self) -> Outcome<(Group, Events)> {
        let group = self.group.read()?;
        let credentials = self.secret.credentials(&self.user)?;
        self.secret.join(group, credentials).await
    }
}

/// The signals that ask a program to end. One that was ignored when the program was started, as `nohup` and shells arrange
/// it for what runs in the background, stays ignored.
#[derive(Debug)]
pub struct Ending {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
}

impl Ending {
    /// From here on the signals no longer kill the program.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn listen() -> Outcome<Self> {
        Ok(Ending { hangup: on(SignalKind::hangup())?, ..Ending::listen_as_daemon()? })
    }

    /// As [`Ending::listen`], but a hangup is no end: for daemons it has a meaning of its own.
    ///
    /// # Errors
    /// As [`Ending::listen`].
    pub fn listen_as_daemon() -> Outcome<Self> {
        let (interrupt, terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
        Ok(Ending { interrupt, terminate, hangup: None })
    }

    /// Waits for one of them. Cancel safe.
    pub async fn asked(&mut self) {
        tokio::select! {
            () = caught(&mut self.interrupt) => {}
            () = caught(&mut self.terminate) => {}
            () = caught(&mut self.hangup) => {}
        }
    }
}

async fn caught(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

fn on(kind: SignalKind) -> Outcome<Option<Signal>> {
    if is_ignored(kind) {
        return Ok(None);
    }
    signal(kind).map(Some).map_err(|error| Failure::io("cannot listen for signals", &error))
}

/// Whether this program was told to ignore a signal. Only Linux says so without a system call of the unsafe kind; elsewhere
/// signals are always listened for.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored(&status).is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

/// The set of ignored signals in a process's status.
fn ignored(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_which_signals_are_ignored() {
        assert_eq!(ignored("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t02\n"), Some(0x1001));
        assert_eq!(ignored("Name:\tx\n"), None);
        assert!(!is_ignored(SignalKind::terminate()));
    }
}
