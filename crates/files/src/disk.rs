//! One file in the making: a thread that writes what it is given, in order, and hashes it on the way.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::core::{Job, Part};
use crate::driver::Shared;
use crate::folder::Folder;

/// Read at once from what is there.
const READ_BYTES: usize = 1024 * 1024;

/// What the thread is told. The window of the core bounds how much waits.
#[derive(Debug)]
pub(crate) enum Ask {
    Write(Vec<Bytes>),
    Hash,
    Publish(String),
    Discard,
}

/// Starts the thread of a job. It ends when it is told to, when its channel is closed, or with the disk's first error.
pub(crate) fn start(shared: &Arc<Shared>, job: Job, part: Part, chunk_bytes: u32, asked: UnboundedReceiver<Ask>) {
    let (shared, folder) = (Arc::downgrade(shared), shared.folder.clone());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = run(&shared, &folder, job, &part, chunk_bytes, asked) {
            answer(&shared, |shared| shared.step(|exchange, _| exchange.on_disk_failed(job, error.to_string())));
        }
    });
}

fn run(
    shared: &Weak<Shared>,
    folder: &Folder,
    job: Job,
    part: &Part,
    chunk_bytes: u32,
    mut asked: UnboundedReceiver<Ask>,
) -> io::Result<()> {
    let mut making = Making::open(folder, part, chunk_bytes)?;
    let chunks = u32::try_from(making.bytes.div_ceil(chunk_bytes.into())).unwrap_or(0);
    answer(shared, |shared| shared.step(|exchange, now| exchange.on_opened(now, job, chunks)));
    while let Some(ask) = asked.blocking_recv() {
        match ask {
            Ask::Write(pieces) => {
                pieces.iter().try_for_each(|piece| making.append(piece))?;
                let chunks = u32::try_from(pieces.len()).unwrap_or(0);
                answer(shared, |shared| shared.step(|exchange, now| exchange.on_written(now, job, chunks)));
            }
            Ask::Hash => {
                let root = *making.hasher.finalize().as_bytes();
                answer(shared, |shared| shared.step(|exchange, _| exchange.on_hashed(job, root)));
            }
            Ask::Publish(name) => {
                let path = folder.publish(&making.path, &making.file, &name)?.display().to_string();
                answer(shared, |shared| shared.step(|exchange, _| exchange.on_published(job, path)));
                return Ok(());
            }
            Ask::Discard => return fs::remove_file(&making.path),
        }
    }
    Ok(())
}

fn answer(shared: &Weak<Shared>, tell: impl FnOnce(&Arc<Shared>)) {
    if let Some(shared) = shared.upgrade() {
        tell(&shared);
    }
}

struct Making {
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Making {
    /// Opens the part, cuts it to whole pieces, and hashes what is there.
    fn open(folder: &Folder, part: &Part, chunk_bytes: u32) -> io::Result<Self> {
        let (path, mut file) = folder.open_part(part)?;
        let found = file.metadata()?.len();
        // The last piece may be shorter; a part that is longer than the file is none.
        let bytes = if found == part.bytes { found } else { found - found % u64::from(chunk_bytes.max(1)) };
        let bytes = if bytes > part.bytes { 0 } else { bytes };
        folder.check_room(part.bytes - bytes)?;
        file.set_len(bytes)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; READ_BYTES];
        file.seek(SeekFrom::Start(0))?;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => hasher.update(buffer.get(..n).unwrap_or_default()),
            };
        }
        Ok(Making { path, file, hasher, bytes })
    }

    fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        self.hasher.update(piece);
        Ok(())
    }
}
