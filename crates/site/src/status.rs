//! The status socket: whoever may open it reads one report and is done.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::folder::status_socket;
use crate::report::Report;

/// A report is shorter, in bytes.
const REPORT_BYTES_MAX: u64 = 256 * 1024;
/// A site that takes longer to answer does not work, and a reader that does is not served.
const PATIENCE: Duration = Duration::from_secs(3);

/// Answers one after the other; each within bounds.
pub(crate) async fn serve(listener: std::os::unix::net::UnixListener, report: watch::Receiver<Report>) {
    let Ok(listener) = UnixListener::from_std(listener) else { return };
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let text = serde_json::to_vec(&*report.borrow()).unwrap_or_default();
        let told = async {
            stream.write_all(&text).await?;
            stream.shutdown().await
        };
        // Who has gone needs no answer.
        let _ = tokio::time::timeout(PATIENCE, told).await;
    }
}

/// Asks the site that runs on a folder how it is.
///
/// # Errors
/// `NotFound` or `ConnectionRefused` if none runs there, `InvalidData` if what runs there answers something else.
pub fn ask(folder: &Path) -> io::Result<Report> {
    let stream = UnixStream::connect(status_socket(folder))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = Vec::new();
    stream.take(REPORT_BYTES_MAX).read_to_end(&mut answer)?;
    serde_json::from_slice(&answer).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
