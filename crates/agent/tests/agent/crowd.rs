//! Other programs on this machine that only connect, or are slow: the user gets in all the same.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::common::client::{Socket, get, host};
use super::common::{DEADLINE, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let world = World::start(&["ana"]).await;
    let agent = world.agent("ana").await;
    let (mut page, _) = Socket::page(&agent, "", 0).await;
    let address = host(&agent);
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(TcpStream::connect(&address).await.unwrap());
    }
    let url = agent.url();
    assert_eq!(get(&agent, &url[url.find("/?").unwrap()..], &[]).await.status, 303);
    let (mut second, _) = Socket::page(&agent, "", 0).await;
    // Nobody had to wait until their time was up: the last of them are still there.
    let last = crowd.last().unwrap().try_read(&mut [0]);
    assert!(last.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "it waited for the crowd to be closed");
    // Who was there before is there still.
    assert_eq!(page.send("chat", "hello").await["type"], "done");
    second.message("hello").await;
    // The oldest of the crowd were closed to make room.
    let mut byte = [0];
    let closed = tokio::time::timeout(DEADLINE, crowd[0].read(&mut byte)).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_idle_connections_are_closed() {
    let world = World::start(&["ana"]).await;
    let agent = world.agent("ana").await;
    let address = host(&agent);
    let mut silent = TcpStream::connect(&address).await.unwrap();
    let mut slow = TcpStream::connect(&address).await.unwrap();
    let mut idle = TcpStream::connect(&address).await.unwrap();
    idle.write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await.unwrap();
    let started = Instant::now();
    let drip = tokio::spawn(async move {
        for byte in
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".iter()
        {
            if slow.write_all(&[*byte]).await.is_err() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        false
    });
    let mut bytes = Vec::new();
    let within = DEADLINE;
    let closed = tokio::time::timeout(within, silent.read_to_end(&mut bytes)).await;
    assert!(closed.is_ok(), "a silent connection stays open");
    let closed = tokio::time::timeout(within, idle.read_to_end(&mut bytes)).await;
    assert!(closed.is_ok(), "an idle connection stays open");
    assert!(tokio::time::timeout(within, drip).await.expect("a slow one stays open").unwrap());
    assert!(started.elapsed() > Duration::from_secs(3), "there is some patience");
}
