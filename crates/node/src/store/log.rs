//! The write-ahead log, before SQLite reads it.
//!
//! SQLite takes the log up to the first frame whose checksum is wrong, and lets the rest go: right for a write that a
//! crash cut, since nothing after it was promised. But where a whole transaction follows, the damage came later, and what
//! was durable would be forgotten without a word. A damaged last transaction cannot be told from a cut one.
//!
//! Source: "Database File Format", §4 (<https://www.sqlite.org/fileformat2.html#walformat>).

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::error::StoreError;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const PAGE_BYTES_MAX: usize = 65_536;

/// A leader that writes its log while it is read can make it look broken, but not for long.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Refuses a log that is broken before its end, where a leader may be writing it.
pub(super) fn check_beside_writer(database: &Path) -> Result<(), StoreError> {
    for _ in 1..LOOKS {
        match check(database) {
            Err(StoreError::Corrupt { .. }) => thread::sleep(BETWEEN_LOOKS),
            other => return other,
        }
    }
    check(database)
}

/// Refuses a log that is broken before its end.
pub(super) fn check(database: &Path) -> Result<(), StoreError> {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    let path = Path::new(&path).to_owned();
    let unusable = |source| StoreError::Unusable { path: path.clone(), source };
    let mut file = match File::open(&path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unusable(error)),
    };
    if is_whole(&mut file).map_err(unusable)? {
        return Ok(());
    }
    let what = "its log is broken before its end".to_owned();
    Err(StoreError::Corrupt { path: database.to_owned(), what })
}

fn word(bytes: &[u8], place: usize, big: bool) -> u32 {
    let bytes = bytes.get(place..place + 4).and_then(|b| b.try_into().ok()).unwrap_or_default();
    if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

/// The checksum of the format: over pairs of words, running on from what came before.
fn sum(bytes: &[u8], big: bool, (mut a, mut b): (u32, u32)) -> (u32, u32) {
    for pair in bytes.chunks_exact(8) {
        a = a.wrapping_add(word(pair, 0, big)).wrapping_add(b);
        b = b.wrapping_add(word(pair, 4, big)).wrapping_add(a);
    }
    (a, b)
}

fn is_whole(log: &mut impl Read) -> io::Result<bool> {
    let mut header = [0; HEADER_BYTES];
    if !fill(log, &mut header)? {
        return Ok(true);
    }
    let (start, told) = header.split_at(24);
    let big = word(&header, 0, true) & 1 == 1;
    let page_bytes = word(&header, 8, true) as usize;
    let mut running = sum(start, big, (0, 0));
    let sound = running == (word(told, 0, true), word(told, 4, true));
    if !(512..=PAGE_BYTES_MAX).contains(&page_bytes) || !page_bytes.is_power_of_two() {
        // With such a header nothing of the log is used: whole only if there is nothing.
        return Ok(!fill(log, &mut [0; FRAME_HEADER_BYTES])?);
    }
    let salts = header.get(16..24).unwrap_or_default();
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    // Whether a broken frame was seen, and whether the transaction that it belongs to has ended.
    let (mut broken, mut ended) = (false, false);
    while fill(log, &mut frame)? {
        let (head, page) = frame.split_at(FRAME_HEADER_BYTES);
        let is_ours = head.get(8..16) == Some(salts);
        // The header is durable before any frame is written.
        if !sound || ended && is_ours {
            return Ok(false);
        }
        running = sum(page, big, sum(head.get(..8).unwrap_or_default(), big, running));
        broken |= !is_ours || running != (word(head, 16, true), word(head, 20, true));
        ended |= broken && is_ours && word(head, 4, true) != 0;
    }
    Ok(true)
}

/// Fills a buffer; false if the log ends before it is full.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
