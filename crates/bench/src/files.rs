//! A file to two receivers beside the bare multicast of the same bytes, and what a chat message waits meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfort::{Event, Events, Group};
use ringfort_files::{Action, Files, FilesOptions, Limits};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::messages::Bed;
use crate::row::{Options, Row, middle};
use crate::{BenchError, setup};

const PATIENCE: Duration = Duration::from_secs(300);
/// The length of a chat message.
const CHAT_BYTES: usize = 100;
/// Between two chat messages.
const CHAT_EVERY: Duration = Duration::from_millis(5);
const TOPIC: &str = "files";

/// Throughput of a file from one sender to two receivers, whose floor is the bare multicast of as many bytes in
/// messages of the same size; and the latency of chat messages with and without it.
///
/// # Errors
/// [`BenchError`] if the group cannot be started or the file does not arrive.
pub async fn measure(options: &Options) -> Result<Vec<Row>, BenchError> {
    let mut bed = Bed::start().await?;
    let piece = usize::try_from(Limits::default().chunk_bytes).unwrap_or(usize::MAX);
    let pieces = (options.messages / 10).max(100);
    let idle = bed.latency(&[7; CHAT_BYTES]).await?;
    let bare = bed.throughput(&vec![7; piece], pieces).await? * piece as f64 / 1e6;

    let dir = tempfile::tempdir().map_err(setup)?;
    let file = dir.path().join("file.bin");
    let content: Vec<u8> = (0..pieces * piece).map(|i| (i ^ (i >> 9)) as u8).collect();
    std::fs::write(&file, &content).map_err(setup)?;
    let (rate, mut waits) = transfer(bed, dir.path(), &file).await?;
    waits.sort_unstable();
    let p99 = waits.get(waits.len() * 99 / 100).copied().unwrap_or_default();
    let (p50, mb) = (middle(waits), content.len() / 1_000_000);
    Ok(vec![
        Row::bytes_rate(format!("file of {mb} MB: one sender, two receivers, beside bare multicast"), rate, Some(bare)),
        Row::time("chat during the file: latency p50, beside an idle group", p50, Some(idle.0)),
        Row::time("chat during the file: latency p99, beside an idle group", p99, Some(idle.1)),
    ])
}

/// Megabytes a second from the first acceptance until the last receiver has the file under its name, and how long
/// each chat message took.
async fn transfer(bed: Bed, dir: &Path, file: &Path) -> Result<(f64, Vec<Duration>), BenchError> {
    let Bed { sender, quiet, receivers, leaders: _leaders, dir: _dir } = bed;
    let mut tasks = JoinSet::new();
    let (told, mut latencies) = mpsc::unbounded_channel();
    let begin = Instant::now();
    let mut all = Vec::new();
    for (number, (group, events)) in [(sender.clone(), quiet)].into_iter().chain(receivers).enumerate() {
        let folder = Some(dir.join(number.to_string()));
        let files = Files::start(group, FilesOptions { folder, ..FilesOptions::default() }).map_err(setup)?;
        let files = Arc::new(files);
        tasks.spawn(follow(files.clone(), events, begin, told.clone()));
        all.push(files);
    }
    drop(told);
    let [from, to @ ..] = all.as_slice() else { return Err(BenchError::Setup("nobody joined".into())) };
    from.send_path(TOPIC, &[], file).map_err(setup)?;
    for files in to {
        until(files, "asked").await?;
    }
    let start = Instant::now();
    for files in to {
        let offered = files.list(TOPIC).last().map(|transfer| transfer.id).unwrap_or_default();
        files.act(TOPIC, offered, Action::Accept).map_err(setup)?;
    }
    let chat = chat(&sender, begin);
    let done = async {
        for files in to {
            until(files, "complete").await?;
        }
        Ok::<Duration, BenchError>(start.elapsed())
    };
    let took = tokio::select! {
        done = done => done?,
        sent = chat => return Err(BenchError::Lost(sent.err().map(|e| e.to_string()).unwrap_or_default())),
    };
    let bytes = std::fs::metadata(file).map_err(setup)?.len();
    // What was said last still arrives.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut waits = Vec::new();
    while let Ok(wait) = latencies.try_recv() {
        waits.push(wait);
    }
    Ok((bytes as f64 / 1e6 / took.as_secs_f64(), waits))
}

/// Says when it is, again and again.
async fn chat(group: &Group, begin: Instant) -> Result<(), ringfort::SendError> {
    loop {
        let now = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut message = vec![0; CHAT_BYTES];
        message.iter_mut().zip(now.to_be_bytes()).for_each(|(to, from)| *to = from);
        group.multicast("chat", &message).await?;
        tokio::time::sleep(CHAT_EVERY).await;
    }
}

/// Takes a member's events, and tells how long each chat message took.
async fn follow(files: Arc<Files>, mut events: Events, begin: Instant, told: mpsc::UnboundedSender<Duration>) {
    while let Some(event) = events.next().await {
        if files.on_event(&event) {
            continue;
        }
        if let Event::Message(message) = event
            && let Some(at) = message.payload.first_chunk::<8>()
        {
            let took = begin.elapsed().saturating_sub(Duration::from_nanos(u64::from_be_bytes(*at)));
            // Nobody counts any more at the end.
            let _ = told.send(took);
        }
    }
}

async fn until(files: &Files, state: &str) -> Result<(), BenchError> {
    let mut changed = files.changed();
    let waiting = async {
        while files.list(TOPIC).last().is_none_or(|transfer| transfer.state != state) {
            // It lasts as long as the files.
            let _ = tokio::time::timeout(Duration::from_millis(5), changed.changed()).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.map_err(|_| BenchError::Lost(format!("the file is not {state}: {:?}", files.list(TOPIC))))
}
