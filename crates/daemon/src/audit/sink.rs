//! Where the audit's lines go: files that are renamed when they are long, or syslog.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::config::Config;

/// Facility `authpriv`, severity `notice`, as RFC 3164 adds them up.
const SYSLOG_PRIORITY: u8 = 10 * 8 + 5;
/// Where syslog daemons and the journal listen.
const SYSLOG_SOCKETS: [&str; 2] = ["/dev/log", "/var/run/syslog"];

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    None,
    Syslog(Syslog),
    File(Box<AuditFile>),
    Files(Box<Files>),
}

/// The file of all lines, and the one of operators' orders, which nobody else's lines push out.
#[derive(Debug)]
pub(super) struct Files {
    all: AuditFile,
    orders: AuditFile,
}

impl Sink {
    /// Opens what the configuration says.
    ///
    /// # Errors
    /// A file that cannot be written, no syslog: as a sentence.
    pub(super) fn open(config: &Config, folder: &Path) -> Result<Self, String> {
        if let Some([all, orders]) = config.audit_files(folder) {
            let audit = &config.audit;
            let open = |path: PathBuf| {
                let failed = |error| unwritable(&path, &error);
                AuditFile::open(path.clone(), audit.file_bytes_max, audit.files_max).map_err(failed)
            };
            return Ok(Sink::Files(Box::new(Files { all: open(all)?, orders: open(orders)? })));
        }
        if config.audit.to == "syslog" {
            return Ok(Sink::Syslog(Syslog::open(&SYSLOG_SOCKETS.map(PathBuf::from)).map_err(no_syslog)?));
        }
        Ok(Sink::None)
    }

    /// Opens one file.
    ///
    /// # Errors
    /// It cannot be written: as a sentence.
    pub(super) fn file(path: &Path, bytes_max: u64, files_max: u64) -> Result<Self, String> {
        let file = AuditFile::open(path.to_owned(), bytes_max, files_max);
        Ok(Sink::File(Box::new(file.map_err(|error| unwritable(path, &error))?)))
    }

    /// Tries what [`Sink::open`] would do, and leaves nothing behind.
    ///
    /// # Errors
    /// As `open`.
    pub(super) fn probe(config: &Config, folder: &Path) -> Result<(), String> {
        for path in config.audit_files(folder).into_iter().flatten() {
            let is_new = path.symlink_metadata().is_err();
            open_private(&path).map_err(|error| unwritable(&path, &error))?;
            if is_new {
                // It was made by the line above, and is empty.
                fs::remove_file(&path).map_err(|error| unwritable(&path, &error))?;
            }
        }
        if config.audit.to == "syslog" {
            Syslog::open(&SYSLOG_SOCKETS.map(PathBuf::from)).map_err(no_syslog)?;
        }
        Ok(())
    }

    /// Writes a line, orders in both files.
    pub(super) fn append(&mut self, line: &str, is_order: bool) -> io::Result<()> {
        match self {
            Sink::None => Ok(()),
            Sink::Syslog(syslog) => {
                syslog.send(&format!("<{SYSLOG_PRIORITY}>ringfort-leader[{}]: {line}", std::process::id()))
            }
            Sink::File(file) => file.append(&format!("{line}\n")),
            Sink::Files(files) => {
                let line = format!("{line}\n");
                let order = if is_order { files.orders.append(&line) } else { Ok(()) };
                files.all.append(&line).and(order)
            }
        }
    }

    /// Opens or connects again, and says what it did.
    pub(super) fn reopen(&mut self) -> io::Result<&'static str> {
        match self {
            Sink::None => Ok("there is no audit"),
            Sink::Syslog(syslog) => syslog.connect().map(|()| "the audit is connected to syslog again"),
            Sink::File(file) => file.reopen().map(|()| "the audit's file was opened again"),
            Sink::Files(files) => {
                files.all.reopen()?;
                files.orders.reopen()?;
                Ok("the audit's files were opened again")
            }
        }
    }

    /// The length of the file of all lines, bytes.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Sink::None | Sink::Syslog(_) => 0,
            Sink::File(file) => file.bytes,
            Sink::Files(files) => files.all.bytes,
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("{}: the audit cannot be written ({error})", path.display())
}

fn no_syslog(error: io::Error) -> String {
    format!("[audit] to = \"syslog\": no syslog socket takes lines ({error}): start a syslog daemon")
}

/// A socket to the syslog daemon. A daemon that starts again makes a new socket of its own under the old name: ours is then
/// connected anew. A leader in its sandbox opens no such socket any more, and may connect the one that it has.
#[derive(Debug)]
pub(super) struct Syslog {
    socket: UnixDatagram,
    places: Vec<PathBuf>,
}

impl Syslog {
    pub(super) fn open(places: &[PathBuf]) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let syslog = Syslog { socket, places: places.to_vec() };
        syslog.connect()?;
        Ok(syslog)
    }

    fn connect(&self) -> io::Result<()> {
        let mut outcome = Err(io::ErrorKind::NotFound.into());
        for place in &self.places {
            outcome = self.socket.connect(place);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn send(&self, line: &str) -> io::Result<()> {
        match self.socket.send(line.as_bytes()) {
            Ok(_) => Ok(()),
            // It is there and has no room: it would have none for a second try either.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Err(_) => {
                self.connect()?;
                self.socket.send(line.as_bytes()).map(|_| ())
            }
        }
    }
}

/// A file that is renamed when it is long.
#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    files_max: u64,
}

impl AuditFile {
    fn open(path: PathBuf, bytes_max: u64, files_max: u64) -> io::Result<Self> {
        let (file, bytes) = open_private(&path)?;
        Ok(AuditFile { path, file, bytes, bytes_max, files_max })
    }

    fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.bytes) = open_private(&self.path)?;
        Ok(())
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64;
        if self.bytes_max > 0 && self.bytes > 0 && self.bytes + length > self.bytes_max {
            self.rotate()?;
        }
        self.file.write_all(line.as_bytes())?;
        self.bytes += length;
        Ok(())
    }

    /// FILE becomes FILE.1, FILE.1 becomes FILE.2, and the last goes.
    fn rotate(&mut self) -> io::Result<()> {
        let older = |number: u64| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.files_max).rev() {
            match fs::rename(older(number), older(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, older(1))?;
        self.reopen()
    }
}

/// Appends, for its owner alone.
fn open_private(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("is not a file"));
    }
    if about.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("others can get at it: run `chmod 600` on it"));
    }
    Ok((file, about.len()))
}
