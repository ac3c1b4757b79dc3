//! A leader's configuration file: every limit and period of its driver, where it says what, and what it may touch.
//!
//! What the group has agreed on is not here: that is the policy in the group file, the same at all leaders.

use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfort::protocol::GroupInfo;
use ringfort_link::{AcceptLimits, LinkLimits};
use ringfort_node::folder::STATE_FOLDER;
use ringfort_node::leader::{InputLimits, LeaderOptions};

use crate::places;
use crate::settings::Allowed::{Form, Range, Words, YesNo};
use crate::settings::{document, sections};

/// The file that is read if none is named: in the leader's folder.
pub const CONFIG_FILE: &str = "config.toml";

/// A configuration file is no longer than this, bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What a frame of a message needs beyond the message itself, bytes.
const FRAME_MARGIN_BYTES: u64 = 4 * 1024;

const HEAD: &str = "\
The configuration of one Ringfort leader.

Every line that may be set is here, with its default behind one `#`. Keep it as config.toml in the leader's folder, or
name it with `ringfort leader FOLDER --config FILE`: anywhere but below state/ in that folder, where the running leader
writes. It is checked as a whole before the leader starts;
`ringfort leader check-config FOLDER` checks it without starting. An unknown line is an error.";

sections! {
    /// Where this leader listens.
    listen: Listen {
        /// If not at the address in the group file, which is what others connect to: behind a forwarder, say.
        address: Option<String> = None, Form("\"HOST:PORT\"");
    }

    /// What members, leaders and strangers may cost.
    limits: Limits {
        /// Connections that have not logged in, of all addresses together. Above it, the oldest of the address with the
        /// most makes way.
        unauthenticated_max: u64 = 256, Range(8, 65_536);
        /// Connections that have not logged in, of one address (IPv6: one /64).
        unauthenticated_per_address_max: u64 = 64, Range(1, 65_536);
        /// All connections. Each takes a file descriptor: see LimitNOFILE of the service.
        connections_max: u64 = 16_384, Range(16, 1_000_000);
        /// From TCP accept to the end of the TLS handshake, milliseconds.
        handshake_timeout_ms: u64 = 5_000, Range(100, 60_000);
        /// From TCP accept to the end of the login, milliseconds. Not below handshake_timeout_ms.
        login_timeout_ms: u64 = 15_000, Range(500, 120_000);
        /// What is read of a connection before it has logged in, bytes.
        unauthenticated_bytes_max: u64 = 65_536, Range(16_384, 1_048_576);
        /// Longest frame before the login, bytes.
        frame_unauthenticated_bytes_max: u64 = 8_192, Range(4_096, 65_536);
        /// Longest frame after the login, bytes. At least the policy's message_bytes_max and 4096.
        frame_bytes_max: u64 = 1_052_672, Range(8_192, 67_108_864);
        /// What the group needs to go on and a peer has not read yet, bytes. Above it, the link is closed.
        control_queue_bytes_max: u64 = 4_194_304, Range(1_048_576, 268_435_456);
        /// Messages that a member has not read yet, bytes. Above it, they are dropped, and repaired later.
        data_queue_bytes_max: u64 = 8_388_608, Range(1_048_576, 1_073_741_824);
        /// What is worth nothing later, such as live sound, and a member has not read yet, bytes. Above it, the oldest goes.
        live_queue_bytes_max: u64 = 262_144, Range(16_384, 67_108_864);
        /// How long a member may hold up the senders without reading progress_bytes_min, milliseconds.
        patience_ms: u64 = 1_000, Range(50, 60_000);
        /// What counts as progress within patience_ms, bytes.
        progress_bytes_min: u64 = 65_536, Range(1, 16_777_216);
        /// How long a link that closes goes on sending what is queued, milliseconds. A stop takes twice this at most.
        close_grace_ms: u64 = 500, Range(10, 10_000);
        /// Frames taken before the login; the one beyond ends the link.
        unauthenticated_frames_max: u64 = 32, Range(8, 1_024);
        /// How long at once a member that reads too slowly may hold up the senders, beside a sixth of the time, milliseconds.
        /// A message goes through several leaders, and each of them has its part of it.
        hold_ms: u64 = 1_000, Range(0, 60_000);
        /// What waits for the leader's loop of one other leader, bytes.
        leader_inputs_bytes_max: u64 = 2_097_152, Range(65_536, 1_073_741_824);
        /// What waits for it of one member, bytes.
        member_inputs_bytes_max: u64 = 1_048_576, Range(65_536, 1_073_741_824);
        /// What waits for it of all members together, bytes.
        members_inputs_bytes_max: u64 = 33_554_432, Range(1_048_576, 1_073_741_824);
        /// What waits for it of all links together that have not logged in, bytes.
        strangers_inputs_bytes_max: u64 = 1_048_576, Range(65_536, 1_073_741_824);
        /// Frames whose records share one durable commit.
        commit_batch_max: u64 = 64, Range(1, 4_096);
    }

    /// How often this leader looks, and tells.
    periods: Periods {
        /// Between two looks at the operator's orders, milliseconds.
        inbox_ms: u64 = 500, Range(50, 60_000);
        /// How long an order to expel somebody waits whom this leader does not know yet, seconds.
        order_patience_s: u64 = 30, Range(1, 3_600);
        /// Between two reports of the leader's loop, milliseconds: how old a figure can be, and how often the
        /// service manager's watchdog is told that all is well.
        report_ms: u64 = 1_000, Range(100, 10_000);
    }

    /// The log, on the standard error. The options -v and --log-format and the variable RUST_LOG go first.
    log: Log {
        /// For people, or one JSON object per line.
        format: String = "text".to_owned(), Words(&["text", "json"]);
        /// What is told.
        level: String = "info".to_owned(), Words(&["error", "warn", "info", "debug"]);
    }

    /// What `ringfort leader status`, probes and Prometheus read: /health, /ready, /metrics, /status. Numbers, no names of
    /// users, no secrets.
    status: StatusAt {
        /// A socket in the leader's folder, for its owner alone.
        socket: bool = true, YesNo;
        /// HTTP at this address and port as well.
        http: Option<String> = None, Form("\"127.0.0.1:9740\", or another ADDRESS:PORT");
        /// Allows an http address that is not this machine's own loopback. Nobody is asked for a password there.
        http_anywhere: bool = false, YesNo;
        /// Names under which it may be asked for, beside IP addresses and localhost: a page in somebody's browser cannot
        /// then read it through a name of its own.
        http_names: Vec<String> = Vec::new(), Form("a list of host names");
        /// Connections at once, of socket and HTTP each. For a further one, the oldest of whoever has the most makes way.
        connections_max: u64 = 16, Range(1, 1_024);
    }

    /// The audit: one JSON line for each security decision.
    audit: AuditTo {
        /// Where it goes.
        to: String = "file".to_owned(), Words(&["file", "syslog", "none"]);
        /// The file, beginning at state/ in the leader's folder. Its folder is one that the leader writes in: nothing
        /// that it trusts may lie there. SIGHUP opens it again.
        file: String = "audit.jsonl".to_owned(), Form("a path");
        /// The file of your orders alone, in the same way: nothing else is written to it, so nothing pushes them out.
        orders_file: String = "orders.jsonl".to_owned(), Form("a path");
        /// Above it, a file is renamed to FILE.1, bytes; 0 leaves that to a program such as logrotate.
        file_bytes_max: u64 = 67_108_864, Range(0, 10_000_000_000);
        /// Older files that are kept.
        files_max: u64 = 8, Range(1, 100);
        /// Lines a minute for what any stranger can cause, such as failed logins, and for views. Further ones are counted
        /// in one line.
        refusals_per_minute_max: u64 = 60, Range(1, 100_000);
        /// Lines a minute about one leader or one user, each for itself. The first offence of each kind is always written.
        peer_lines_per_minute_max: u64 = 20, Range(1, 100_000);
    }

    /// A program of yours that is run on suspicion: it gets the audit's line on its standard input.
    hooks: HooksOn {
        /// The program by its whole path, and its arguments. No shell reads them; the environment is PATH alone.
        on_suspicion: Vec<String> = Vec::new(), Form("[\"/path/to/program\", \"argument\", ...]");
        /// Of whom.
        about: Vec<String> = vec!["leader".to_owned(), "member".to_owned()], Words(&["leader", "member", "outsider"]);
        /// Also what a slow network or an old message can cause: silence, replays.
        every_fault: bool = false, YesNo;
        /// Then it is killed, with all that it started, seconds.
        time_limit_s: u64 = 30, Range(1, 3_600);
        /// At once; further ones are dropped.
        running_max: u64 = 2, Range(1, 64);
        /// In a minute; further ones are dropped.
        per_minute_max: u64 = 6, Range(1, 600);
    }

    /// What the leader takes from itself once it has started (Linux: Landlock and seccomp).
    sandbox: SandboxOn {
        /// With false, as with --no-sandbox, whoever takes this process over has all that its user may do.
        enabled: bool = true, YesNo;
        /// Do not start where the kernel cannot enforce all of it.
        required: bool = false, YesNo;
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and what to do.
    pub what: String,
    /// Whether the file could not be read at all.
    pub unreadable: bool,
}

impl Config {
    /// The documented file, with every default.
    pub fn documented() -> String {
        document(HEAD, &Config::default().sections())
    }

    /// Reads the file that is named, or [`CONFIG_FILE`] of the folder if there is one; gives the defaults if not.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown line, a value that is not allowed.
    pub fn read(folder: &Path, named: Option<&Path>) -> Result<(Config, PathBuf), ConfigError> {
        let path = named.map_or_else(|| folder.join(CONFIG_FILE), Path::to_owned);
        if named.is_none() && path.symlink_metadata().is_err() {
            return Ok((Config::default(), path));
        }
        let mut text = String::new();
        let opened = File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
        match opened {
            Err(error) => {
                let what = format!("the configuration cannot be read ({error}): check the path");
                Err(ConfigError { path, what, unreadable: true })
            }
            Ok(_) if text.len() as u64 > FILE_BYTES_MAX => {
                let what = format!("is longer than the {FILE_BYTES_MAX} bytes of a configuration: check the path");
                Err(ConfigError { path, what, unreadable: true })
            }
            Ok(_) => match Config::parse(&text) {
                Ok(config) => Ok((config, path)),
                Err(what) => Err(ConfigError { path, what, unreadable: false }),
            },
        }
    }

    /// Parses a file's text and checks each value and what they are together.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn parse(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|error| {
            let mistake = error.to_string();
            format!("{}: `ringfort leader config` prints all that there is", mistake.trim_end())
        })?;
        for section in config.sections() {
            if let Some(setting) = section.settings.iter().find(|setting| !setting.fits) {
                let value = setting.value.as_deref().unwrap_or("nothing");
                let allowed = setting.allowed.text();
                return Err(format!("[{}] {} = {value} is not allowed: give {allowed}", section.name, setting.key));
            }
        }
        config.check_together()?;
        Ok(config)
    }

    fn check_together(&self) -> Result<(), String> {
        let limits = &self.limits;
        let wrong = |told: &str| Err(told.to_owned());
        if limits.login_timeout_ms < limits.handshake_timeout_ms {
            return wrong(
                "[limits] login_timeout_ms is below handshake_timeout_ms: the login comes after the handshake",
            );
        }
        if limits.unauthenticated_per_address_max > limits.unauthenticated_max {
            return wrong("[limits] unauthenticated_per_address_max is above unauthenticated_max: lower it");
        }
        if limits.unauthenticated_bytes_max < 2 * limits.frame_unauthenticated_bytes_max {
            return wrong("[limits] unauthenticated_bytes_max is below two frames of frame_unauthenticated_bytes_max");
        }
        if limits.control_queue_bytes_max.min(limits.data_queue_bytes_max) < limits.frame_bytes_max {
            return wrong("[limits] a queue is below frame_bytes_max: no frame of that length could wait in it");
        }
        if self.audit.file == self.audit.orders_file {
            return wrong("[audit] file and orders_file are one file: give orders a file of their own");
        }
        if let Some(program) = self.hooks.on_suspicion.first()
            && !Path::new(program).is_absolute()
        {
            return wrong("[hooks] on_suspicion does not begin with the whole path of a program: begin it with /");
        }
        if let Some(http) = &self.status.http {
            let Ok(address) = http.parse::<SocketAddr>() else {
                return Err(format!(
                    "[status] http = {http:?} is not an address with a port, as in \"127.0.0.1:9740\""
                ));
            };
            if !address.ip().is_loopback() && !self.status.http_anywhere {
                return wrong(
                    "[status] http is not on this machine's loopback: set http_anywhere = true if that is meant",
                );
            }
        }
        Ok(())
    }

    /// Checks what depends on the group and on this machine: for the leader of this folder, with the configuration that
    /// was read from `path`.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn check_for(&self, group: &GroupInfo, path: &Path, folder: &Path) -> Result<(), String> {
        let needed = u64::from(group.policy.message_bytes_max) + FRAME_MARGIN_BYTES;
        if self.limits.frame_bytes_max < needed {
            return Err(format!(
                "[limits] frame_bytes_max is below the {needed} that this group's messages need: raise it"
            ));
        }
        // A good name that cannot be looked up now may be found at the next start.
        if self.listen.address.as_deref().is_some_and(|address| ringfort_documents::check_address(address).is_err()) {
            self.listen_address()?;
        }
        if let Some(program) = self.hooks.on_suspicion.first() {
            crate::hooks::check_program(Path::new(program))?;
        }
        places::check(self, path, folder)
    }

    /// Where to listen, if not at the address in the group file.
    ///
    /// # Errors
    /// A host that cannot be found.
    pub fn listen_address(&self) -> Result<Option<SocketAddr>, String> {
        let Some(address) = &self.listen.address else { return Ok(None) };
        let found = address.to_socket_addrs().map(|mut found| found.next());
        match found {
            Ok(Some(address)) => Ok(Some(address)),
            Ok(None) => Err(format!("[listen] address = {address:?}: no such host")),
            Err(error) => Err(format!("[listen] address = {address:?}: {error}: give HOST:PORT")),
        }
    }

    /// What the driver needs of it.
    pub fn options(&self, listen: Option<SocketAddr>) -> LeaderOptions {
        let limits = &self.limits;
        LeaderOptions {
            listen,
            accept: AcceptLimits {
                unauthenticated_max: size(limits.unauthenticated_max),
                unauthenticated_per_address_max: size(limits.unauthenticated_per_address_max),
                connections_max: size(limits.connections_max),
                handshake_timeout: Duration::from_millis(limits.handshake_timeout_ms),
                login_timeout: Duration::from_millis(limits.login_timeout_ms),
                unauthenticated_bytes_max: size(limits.unauthenticated_bytes_max),
                unauthenticated_frames_max: size(limits.unauthenticated_frames_max),
            },
            link: LinkLimits {
                frame_unauthenticated_bytes_max: size(limits.frame_unauthenticated_bytes_max),
                frame_authenticated_bytes_max: size(limits.frame_bytes_max),
                control_queue_bytes_max: size(limits.control_queue_bytes_max),
                data_queue_bytes_max: size(limits.data_queue_bytes_max),
                live_queue_bytes_max: size(limits.live_queue_bytes_max),
                patience: Duration::from_millis(limits.patience_ms),
                progress_bytes_min: size(limits.progress_bytes_min),
                hold_max: Duration::from_millis(limits.hold_ms),
                relays: LinkLimits::default().relays,
                close_grace: Duration::from_millis(limits.close_grace_ms),
            },
            inputs: InputLimits {
                leader_bytes_max: size(limits.leader_inputs_bytes_max),
                member_bytes_max: size(limits.member_inputs_bytes_max),
                members_bytes_max: size(limits.members_inputs_bytes_max),
                strangers_bytes_max: size(limits.strangers_inputs_bytes_max),
            },
            batch_max: size(limits.commit_batch_max),
            inbox_period: Duration::from_millis(self.periods.inbox_ms),
            order_patience: Duration::from_secs(self.periods.order_patience_s),
            report_period: Duration::from_millis(self.periods.report_ms),
            lookup: None,
        }
    }

    /// The audit's files, if it goes to files: the one of all lines, and the one of orders.
    pub fn audit_files(&self, folder: &Path) -> Option<[PathBuf; 2]> {
        let audit = &self.audit;
        (audit.to == "file").then(|| [&audit.file, &audit.orders_file].map(|file| folder.join(STATE_FOLDER).join(file)))
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
