//! What the machine charges for the operations that ordering so many messages took, and nothing else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use ringfort_agreement::Digest;

use super::meter::{Count, Counted};
use crate::floor::Floor as Bare;
use crate::row::median;
use crate::{BenchError, setup};

/// What is signed of a block: its name and its group's.
const SIGNED_BYTES: usize = 73;
const REPEATS: usize = 200;
/// What a thread sends over loopback before it reads it itself: no more than the system buffers.
const PIECE_BYTES: usize = 32 * 1024;

/// CPU time in seconds, of all leaders together, but for `sync`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    /// Signatures checked.
    pub check: f64,
    /// Signatures made.
    pub sign: f64,
    /// Others' blocks hashed, to be named and to be kept, and own ones.
    pub read: f64,
    pub hash: f64,
    /// Frames sealed and opened.
    pub seal: f64,
    /// Frames sent over loopback TCP and received.
    pub tcp: f64,
    /// What one leader waits for its disk, at the mean.
    pub sync: f64,
}

impl Floor {
    /// Measures the bare operations. `sum` is over all `leaders`; files go into `folder`.
    pub fn of(sum: &Counted, leaders: usize, folder: &Path) -> Result<Self, BenchError> {
        let count = |what: Count| sum.get(what) as f64;
        let mean = |bytes: Count, of: Count| (count(bytes) / count(of).max(1.0)).ceil().max(1.0) as usize;
        let mut bare = Bare::new(REPEATS);
        let (sign, check) = bare.sign_and_verify(SIGNED_BYTES);
        let frame = mean(Count::BytesOut, Count::FramesOut);
        let block = vec![7; frame];
        let per_byte = median(REPEATS, || Digest::of("ringfort bench", &block)).as_secs_f64() / frame as f64;
        let seal = bare.seal(frame) + bare.open(frame);
        let hashed = count(Count::BytesIn) + count(Count::BytesMade) + count(Count::JournalBytes);
        let write = sync(folder, mean(Count::JournalBytes, Count::Syncs))?;
        Ok(Floor {
            check: count(Count::Checked) * check.as_secs_f64(),
            sign: count(Count::Signed) * sign.as_secs_f64(),
            read: count(Count::BytesIn) * per_byte,
            hash: hashed * per_byte,
            seal: count(Count::FramesOut) * seal.as_secs_f64(),
            tcp: count(Count::FramesOut) * tcp(frame)?.as_secs_f64(),
            sync: count(Count::Syncs) * write.as_secs_f64() / leaders.max(1) as f64,
        })
    }

    /// What all of it takes at the least: the cores work while each leader waits for its disk.
    pub fn whole(&self, cores: f64) -> f64 {
        ((self.check + self.sign + self.hash + self.tcp) / cores).max(self.sync)
    }
}

/// The CPU time of one frame over loopback TCP, sent and received.
fn tcp(bytes: usize) -> Result<Duration, BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(setup)?;
    let mut from = TcpStream::connect(listener.local_addr().map_err(setup)?).map_err(setup)?;
    let (mut to, _) = listener.accept().map_err(setup)?;
    from.set_nodelay(true).map_err(setup)?;
    let (frame, mut buffer) = (vec![7; bytes], vec![0; PIECE_BYTES]);
    let mut passes = true;
    let time = median(REPEATS, || {
        for piece in frame.chunks(PIECE_BYTES) {
            let there = buffer.get_mut(..piece.len()).unwrap_or_default();
            passes &= from.write_all(piece).is_ok() && to.read_exact(there).is_ok();
        }
    });
    if passes { Ok(time) } else { Err(setup("loopback TCP does not pass bytes")) }
}

/// The time until so many bytes more are durable in a file.
fn sync(folder: &Path, bytes: usize) -> Result<Duration, BenchError> {
    let mut file = tempfile::tempfile_in(folder).map_err(setup)?;
    let more = vec![7; bytes];
    let mut writes = true;
    let time = median(REPEATS / 4, || writes &= file.write_all(&more).is_ok() && file.sync_data().is_ok());
    if writes { Ok(time) } else { Err(setup("the disk does not take what is to be durable")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_operations_take_some_time_and_longer_for_more() {
        let dir = tempfile::tempdir().unwrap();
        assert!(sync(dir.path(), 100).unwrap() > Duration::ZERO);
        let (little, much) = (tcp(100).unwrap(), tcp(400_000).unwrap());
        assert!(Duration::ZERO < little && little < much, "{little:?} {much:?}");
    }
}
