//! Asking a running leader how it is, over the socket in its folder.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::http::SOCKET_FILE;
use crate::state::StatusDocument;

/// An answer is no longer than this, bytes.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;
/// A leader that takes longer is no leader that works.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the leader that runs on a folder.
///
/// # Errors
/// `NotFound` or `ConnectionRefused` if none runs there, `InvalidData` if what runs there answers something else.
pub fn ask(folder: &Path) -> io::Result<StatusDocument> {
    let mut stream = UnixStream::connect(folder.join(SOCKET_FILE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    serde_json::from_str(body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
