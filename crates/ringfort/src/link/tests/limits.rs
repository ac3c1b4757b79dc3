//! What strangers can cost.

use std::io::ErrorKind;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// True if the server hangs up on this raw connection within the given time.
async fn is_dropped(stream: &mut TcpStream, within: Duration) -> bool {
    let mut sink = [0; 256];
    let read = async {
        loop {
            match stream.read(&mut sink).await {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    };
    timeout(within, read).await.unwrap_or(false)
}

#[tokio::test]
async fn a_slow_handshake_is_cut_off_even_if_it_moves() {
    let accept = AcceptLimits {
        handshake_timeout: Duration::from_millis(300),
        unauthenticated_per_address_max: 1,
        ..AcceptLimits::default()
    };
    let listener = listen(accept, LinkLimits::default()).await;
    let mut slow = TcpStream::connect(listener.local_addr()).await.unwrap();
    let start = Instant::now();
    // The start of a plausible ClientHello, one byte at a time.
    for byte in [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3].into_iter().chain(std::iter::repeat(0)) {
        if slow.write_all(&[byte]).await.is_err() || start.elapsed() > Duration::from_secs(3) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(dial(&listener, None).await.is_ok(), "its place is free again");
}

#[tokio::test]
async fn login_must_be_over_in_time() {
    let accept = AcceptLimits { login_timeout: Duration::from_millis(300), ..AcceptLimits::default() };
    let mut listener = listen(accept, LinkLimits::default()).await;
    let idle = dial(&listener, None).await.unwrap();
    let (idle_sender, mut idle_receiver) = soon(listener.accept()).await.unwrap().link.split();
    let (client, server) = pair(&mut listener).await;
    assert!(matches!(soon(idle_receiver.recv()).await, Err(LinkError::Timeout)));
    assert!(idle_sender.is_closed());
    let (_, mut idle) = idle.split();
    assert!(matches!(soon(idle.recv()).await, Ok(None) | Err(LinkError::Closed)));
    // The one that logged in is unharmed.
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.sender().send(Class::Control, frame(5)).unwrap();
    let (_, mut receiver) = server.split();
    assert_eq!(soon(receiver.recv()).await.unwrap().unwrap().len(), 5);
}

#[tokio::test]
async fn bytes_before_login_are_limited() {
    let mut listener = listen_default().await;
    let client = dial(&listener, None).await.unwrap();
    let (_, mut receiver) = soon(listener.accept()).await.unwrap().link.split();
    for _ in 0..100 {
        client.sender().send(Class::Data, frame(4000)).unwrap();
    }
    let mut received = 0;
    let error = loop {
        match soon(receiver.recv()).await {
            Ok(Some(frame)) => received += frame.len(),
            Ok(None) => panic!("the link ended without a reason"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LinkError::Protocol(_)), "{error:?}");
    assert!(received <= 64 * 1024, "{received}");
}

#[tokio::test]
async fn one_address_cannot_take_every_place() {
    let accept = AcceptLimits { unauthenticated_per_address_max: 3, ..AcceptLimits::default() };
    let mut listener = listen(accept, LinkLimits::default()).await;
    let mut strangers = Vec::new();
    for _ in 0..2 {
        strangers.push(TcpStream::connect(listener.local_addr()).await.unwrap());
    }
    let client = dial(&listener, None).await.unwrap();
    let server = soon(listener.accept()).await.unwrap().link;
    let mut refused = TcpStream::connect(listener.local_addr()).await.unwrap();
    assert!(is_dropped(&mut refused, Duration::from_secs(1)).await);
    let error = dial(&listener, None).await.unwrap_err();
    assert!(matches!(error, LinkError::Refused), "{error:?}");
    // A login makes room, and so does a stranger that leaves.
    server.authenticated();
    let second = dial(&listener, None).await.unwrap();
    assert!(dial(&listener, None).await.is_err());
    strangers.clear();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(dial(&listener, None).await.is_ok());
    drop((client, second));
}

#[tokio::test]
async fn a_place_is_kept_until_the_socket_is_gone() {
    let accept = AcceptLimits { connections_max: 1, ..AcceptLimits::default() };
    let mut listener = listen(accept, LinkLimits::default()).await;
    let (client, server) = pair(&mut listener).await;
    assert!(dial(&listener, None).await.is_err());
    let sender = server.sender();
    drop((client, server));
    soon(sender.ended()).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(dial(&listener, None).await.is_ok(), "a kept sender keeps no place");
}

#[tokio::test]
async fn shutdown_frees_the_port_and_spares_open_links() {
    let mut listener = listen_default().await;
    let (client, server) = pair(&mut listener).await;
    let mut unfinished = TcpStream::connect(listener.local_addr()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    soon(listener.shutdown()).await;
    assert!(soon(listener.accept()).await.is_none());
    assert!(is_dropped(&mut unfinished, Duration::from_secs(1)).await);
    assert!(TcpStream::connect(listener.local_addr()).await.is_err());
    client.sender().send(Class::Control, frame(5)).unwrap();
    let (_, mut receiver) = server.split();
    assert!(soon(receiver.recv()).await.unwrap().is_some());
}
