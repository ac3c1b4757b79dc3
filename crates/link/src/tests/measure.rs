//! Figures, not judgements: run with `--ignored --nocapture`, optimised.

use std::time::Instant;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn round_trip_bulk_and_handshake() {
    let mut listener = listen_default().await;

    let start = Instant::now();
    const HANDSHAKES: u32 = 200;
    for _ in 0..HANDSHAKES {
        let _ = pair(&mut listener).await;
    }
    println!("handshake {:?}", start.elapsed() / HANDSHAKES);

    let (client, server) = pair(&mut listener).await;
    let (client, mut from_server) = client.split();
    let (server, mut from_client) = server.split();
    let echo = tokio::spawn(async move {
        while let Ok(Some(frame)) = from_client.recv().await {
            let _ = server.send(Class::Control, frame);
        }
    });
    const TRIPS: u32 = 10_000;
    let ping = frame(100);
    let start = Instant::now();
    for _ in 0..TRIPS {
        client.send(Class::Control, ping.clone()).unwrap();
        from_server.recv().await.unwrap().unwrap();
    }
    println!("round trip of 100 bytes {:?}", start.elapsed() / TRIPS);
    drop((client, from_server));
    echo.await.unwrap();

    for (length, frames) in [(100, 1_000_000), (1000, 500_000), (16_000, 60_000), (1_000_000, 1000)] {
        let (client, server) = pair(&mut listener).await;
        let (client, _keep) = client.split();
        let (_, mut receiver) = server.split();
        let body = frame(length);
        let sending = tokio::spawn(async move {
            for _ in 0..frames {
                client.ready().await;
                client.send(Class::Data, body.clone()).unwrap();
            }
        });
        let start = Instant::now();
        for _ in 0..frames {
            receiver.recv().await.unwrap().unwrap();
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{length} bytes: {:.0} frames/s, {:.0} MB/s",
            frames as f64 / seconds,
            (length * frames) as f64 / seconds / 1e6
        );
        sending.await.unwrap();
    }
}
