//! What strangers can cost.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// True once the server hangs up on this raw connection.
async fn is_dropped(stream: &mut TcpStream) -> bool {
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
    timeout(DEADLINE, read).await.unwrap_or(false)
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
    // The start of a plausible ClientHello of half a thousand bytes, one byte at a time: some fifteen of them in the time that
    // it has, and fewer on a busy machine.
    let mut bytes = 0;
    for byte in [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3].into_iter().chain(std::iter::repeat(0)) {
        if slow.write_all(&[byte]).await.is_err() {
            break;
        }
        bytes += 1;
        assert!(bytes < 50, "it is not cut off");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(dial(&listener, None).await.is_ok(), "its place is free again");
}

#[tokio::test]
async fn login_must_be_over_in_time() {
    let login_timeout = Duration::from_secs(1);
    let accept = AcceptLimits { login_timeout, ..AcceptLimits::default() };
    let mut listener = listen(accept, LinkLimits::default()).await;
    let idle = dial(&listener, None).await.unwrap();
    let (idle_sender, mut idle_receiver) = soon(listener.accept()).await.unwrap().link.split();
    let (client, server) = pair(&mut listener).await;
    assert!(matches!(soon(idle_receiver.recv()).await, Err(LinkError::Timeout)));
    assert!(idle_sender.is_closed());
    let (_, mut idle) = idle.split();
    assert!(matches!(soon(idle.recv()).await, Ok(None) | Err(LinkError::Closed)));
    // The one that logged in is unharmed.
    tokio::time::sleep(login_timeout).await;
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
async fn frames_before_login_are_limited_however_small() {
    let mut listener = listen_default().await;
    let client = dial(&listener, None).await.unwrap();
    let (sender, mut receiver) = soon(listener.accept()).await.unwrap().link.split();
    for _ in 0..40 {
        client.sender().send(Class::Control, frame(1)).unwrap();
    }
    for _ in 0..32 {
        assert_eq!(soon(receiver.recv()).await.unwrap().unwrap().len(), 1);
    }
    assert!(matches!(soon(receiver.recv()).await, Err(LinkError::Protocol(_))));
    assert!(sender.is_closed());

    let (client, server) = pair(&mut listener).await;
    let (_sender, mut receiver) = server.split();
    for _ in 0..100 {
        client.sender().send(Class::Control, frame(1)).unwrap();
        soon(receiver.recv()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn strangers_make_way_for_who_comes_after_them() {
    let accept = AcceptLimits { unauthenticated_per_address_max: 3, ..AcceptLimits::default() };
    let mut listener = listen(accept, LinkLimits::default()).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(listener.local_addr()).await.unwrap());
    }
    let client = dial(&listener, None).await.unwrap();
    let server = soon(listener.accept()).await.unwrap().link;
    assert!(is_dropped(&mut silent[0]).await, "the oldest makes way");
    // Those that say nothing go first, although the one with a handshake is older by now.
    for _ in 0..2 {
        silent.push(TcpStream::connect(listener.local_addr()).await.unwrap());
    }
    assert!(is_dropped(&mut silent[2]).await);
    assert!(!server.sender().is_closed());
    server.authenticated();
    client.authenticated();
    for _ in 0..4 {
        silent.push(TcpStream::connect(listener.local_addr()).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.sender().send(Class::Control, frame(5)).unwrap();
    let (_, mut receiver) = server.split();
    assert_eq!(soon(receiver.recv()).await.unwrap().unwrap().len(), 5, "who has logged in stays");
}

#[tokio::test]
async fn who_only_shook_hands_makes_way_last() {
    let accept = AcceptLimits { unauthenticated_per_address_max: 2, ..AcceptLimits::default() };
    let mut listener = listen(accept, LinkLimits::default()).await;
    let (first, second) = (dial(&listener, None).await.unwrap(), dial(&listener, None).await.unwrap());
    let (_, mut one) = soon(listener.accept()).await.unwrap().link.split();
    let (two, _two) = soon(listener.accept()).await.unwrap().link.split();
    let third = dial(&listener, None).await.unwrap();
    assert!(matches!(soon(one.recv()).await, Err(LinkError::Timeout)));
    assert!(!two.is_closed());
    drop((first, second, third));
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
    // A kept sender keeps no place.
    soon(async { while dial(&listener, None).await.is_err() {} }).await;
}

#[tokio::test]
async fn shutdown_frees_the_port_and_spares_open_links() {
    let mut listener = listen_default().await;
    let (client, server) = pair(&mut listener).await;
    let mut unfinished = TcpStream::connect(listener.local_addr()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    soon(listener.shutdown()).await;
    assert!(soon(listener.accept()).await.is_none());
    assert!(is_dropped(&mut unfinished).await);
    assert!(TcpStream::connect(listener.local_addr()).await.is_err());
    client.sender().send(Class::Control, frame(5)).unwrap();
    let (_, mut receiver) = server.split();
    assert!(soon(receiver.recv()).await.unwrap().is_some());
}
