//! Files to send: read from a path, or handed over piece by piece and spooled.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use ringfort::protocol::UserName;

use crate::core::Number;
use crate::core::message::OfferId;
use crate::driver::{Files, FilesError, Shared};

/// Read and hashed at once.
const READ_BYTES: usize = 1024 * 1024;

/// A file that is being handed over. Dropped before its end, it is given up.
#[derive(Debug)]
pub struct Upload {
    shared: Arc<Shared>,
    number: Number,
    announced: u64,
    done: u64,
    /// `None` only while a write is under way.
    spool: Option<Spool>,
    over: bool,
}

#[derive(Debug)]
struct Spool {
    file: File,
    hasher: blake3::Hasher,
    waiting: Vec<u8>,
}

impl Files {
    /// Takes a file that somebody hands over, `bytes` long, to be offered on a topic to all (`to` is empty) or to some.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn upload(&self, topic: &str, to: &[UserName], name: &str, bytes: u64) -> Result<Upload, FilesError> {
        let shared = self.shared.clone();
        self.check_roles(to)?;
        let failed = |error| FilesError::Folder(shared.folder.complete().to_owned(), error);
        shared.folder.check_room(bytes).map_err(failed)?;
        let file = shared.folder.spool().map_err(failed)?;
        let number = shared.exchange().prepare(topic, to, name, bytes)?;
        shared.tell();
        let spool = Some(Spool { file, hasher: blake3::Hasher::new(), waiting: Vec::new() });
        Ok(Upload { shared, number, announced: bytes, done: 0, spool, over: false })
    }
}

impl Upload {
    /// Its number.
    pub fn number(&self) -> Number {
        self.number
    }

    /// The next bytes.
    ///
    /// # Errors
    /// [`FilesError`]: too many, a full disk, or nobody wants them any more.
    pub async fn write(&mut self, bytes: &Bytes) -> Result<(), FilesError> {
        self.done = self.done.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.done > self.announced {
            return Err(FilesError::Upload("more came than was announced".to_owned()));
        }
        let spool = self.spool.as_mut().ok_or_else(|| FilesError::Upload("an earlier part was lost".to_owned()))?;
        spool.waiting.extend_from_slice(bytes);
        if spool.waiting.len() >= READ_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// That was all: the file is offered.
    ///
    /// # Errors
    /// [`FilesError`]: less came than was announced, or a full disk.
    pub async fn finish(mut self) -> Result<Number, FilesError> {
        self.flush().await?;
        if self.done != self.announced {
            return Err(FilesError::Upload(format!("{} of {} bytes came", self.done, self.announced)));
        }
        if let Some(Spool { file, hasher, .. }) = self.spool.take() {
            self.over = true;
            offer(&self.shared, self.number, Arc::new(file), self.done, *hasher.finalize().as_bytes());
        }
        Ok(self.number)
    }

    async fn flush(&mut self) -> Result<(), FilesError> {
        let Some(mut spool) = self.spool.take() else { return Ok(()) };
        let written = tokio::task::spawn_blocking(move || {
            spool.file.write_all(&spool.waiting)?;
            spool.hasher.update(&spool.waiting);
            spool.waiting.clear();
            Ok::<Spool, std::io::Error>(spool)
        });
        let spool = written.await.map_err(std::io::Error::other).flatten();
        let failed = |error| FilesError::Folder(self.shared.folder.complete().to_owned(), error);
        self.spool = Some(spool.map_err(failed)?);
        if !self.shared.exchange().on_preparing(self.number, self.done) {
            return Err(FilesError::Upload("it was stopped".to_owned()));
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.over {
            let why = "it was not handed over whole".to_owned();
            self.shared.step(|exchange, _| exchange.on_unprepared(self.number, why));
            self.shared.tell();
        }
    }
}

/// Reads a file to its end for its hash, and offers it.
pub(crate) fn hash(shared: &Arc<Shared>, number: Number, file: &Arc<File>, bytes: u64) {
    let read = || {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; READ_BYTES];
        let mut at = 0;
        while at < bytes {
            let n = file.read_at(&mut buffer, at)?;
            if n == 0 {
                return Err(std::io::Error::other("it has become shorter"));
            }
            hasher.update(buffer.get(..n).unwrap_or_default());
            at += n as u64;
            if !shared.exchange().on_preparing(number, at) {
                return Err(std::io::Error::other("it was stopped"));
            }
        }
        if at == bytes { Ok(*hasher.finalize().as_bytes()) } else { Err(std::io::Error::other("it has grown")) }
    };
    match read() {
        Ok(root) => offer(shared, number, file.clone(), bytes, root),
        Err(error) => shared.step(|exchange, _| exchange.on_unprepared(number, error.to_string())),
    }
    shared.tell();
}

fn offer(shared: &Arc<Shared>, number: Number, file: Arc<File>, bytes: u64, root: [u8; 32]) {
    let mut id = [0; 16];
    if let Err(error) = getrandom::fill(&mut id) {
        return shared.step(|exchange, _| exchange.on_unprepared(number, error.to_string()));
    }
    shared.keep_source(number, file);
    shared.step(|exchange, now| exchange.on_prepared(now, number, OfferId(id), bytes, root));
}
