//! A network that is late: bytes go on in order, each so long after it came.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::{BenchError, setup};

const PIECE_BYTES: usize = 64 * 1024;
/// Pieces under way in one direction of one link; TCP holds back what is more.
const PIECES_MAX: usize = 1024;

/// Takes connections at `at` and passes them on to `to`.
pub(super) async fn start(
    tasks: &mut JoinSet<()>,
    at: SocketAddr,
    to: SocketAddr,
    by: Duration,
) -> Result<(), BenchError> {
    let listener = TcpListener::bind(at).await.map_err(setup)?;
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            while open.try_join_next().is_some() {}
            let Ok((near, _)) = listener.accept().await else { continue };
            open.spawn(async move {
                let Ok(far) = TcpStream::connect(to).await else { return };
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let ((a, b), (c, d)) = (near.into_split(), far.into_split());
                tokio::join!(pass(a, d, by), pass(c, b, by));
            });
        }
    });
    Ok(())
}

async fn pass(reader: OwnedReadHalf, writer: OwnedWriteHalf, by: Duration) {
    let (give, take) = mpsc::channel(PIECES_MAX);
    tokio::join!(read(reader, give, by), write(writer, take));
}

async fn read(mut reader: OwnedReadHalf, give: mpsc::Sender<(Instant, Vec<u8>)>, by: Duration) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(bytes @ 1..) = reader.read(&mut buffer).await {
        let piece = buffer.get(..bytes).unwrap_or_default().to_vec();
        if give.send((Instant::now() + by, piece)).await.is_err() {
            return;
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, mut take: mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Some((due, piece)) = take.recv().await {
        tokio::time::sleep_until(due).await;
        if writer.write_all(&piece).await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_in_order_and_late_in_both_directions() {
        let [at, to] = ringfort_loopback::addresses().unwrap();
        let (mut tasks, by) = (JoinSet::new(), Duration::from_millis(100));
        start(&mut tasks, at, to, by).await.unwrap();
        let listener = TcpListener::bind(to).await.unwrap();
        let mut near = TcpStream::connect(at).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4];
        let began = Instant::now();
        near.write_all(b"ab").await.unwrap();
        near.write_all(b"cd").await.unwrap();
        far.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"abcd");
        assert!(began.elapsed() >= by);
        far.write_all(&buffer).await.unwrap();
        near.read_exact(&mut buffer).await.unwrap();
        assert!(began.elapsed() >= 2 * by);
        drop(near);
        assert_eq!(far.read(&mut buffer).await.unwrap(), 0);
    }
}
