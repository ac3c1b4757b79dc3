//! Frames arrive whole, in order, within their limits, and links end cleanly.

use tokio::io::AsyncWriteExt;

use super::*;

/// The server's receiver for a client that writes these plain bytes, framing included.
async fn receiving(bytes: &[u8]) -> (LinkReceiver, RawTls, Listener) {
    let mut listener = listen_default().await;
    let mut client = soon(raw_tls(&listener, member_config())).await.unwrap();
    let (_, receiver) = soon(listener.accept()).await.unwrap().link.split();
    client.write_all(bytes).await.unwrap();
    client.flush().await.unwrap();
    (receiver, client, listener)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_frames_keep_their_order() {
    let mut listener = listen_default().await;
    let (client, server) = pair(&mut listener).await;
    let (sender, _keep) = client.split();
    let (_, mut receiver) = server.split();
    let length = |number: usize| match number {
        _ if number % 1000 == 7 => 700_000,
        _ if number % 100 == 3 => 20_000,
        _ => 4 + number % 300,
    };
    let sending = tokio::spawn(async move {
        for number in 0..10_000 {
            let mut body = vec![number as u8; length(number)];
            body[..4].copy_from_slice(&(number as u32).to_be_bytes());
            sender.ready().await;
            sender.send(Class::Data, body.into()).unwrap();
        }
    });
    for number in 0..10_000 {
        let body = soon(receiver.recv()).await.unwrap().unwrap();
        assert_eq!(body.len(), length(number));
        assert_eq!(body[..4], (number as u32).to_be_bytes());
        assert!(body[4..].iter().all(|byte| *byte == number as u8));
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn control_goes_before_data_and_each_stays_in_order() {
    let mut listener = listen_default().await;
    let (client, server) = pair(&mut listener).await;
    let (_, mut receiver) = client.split();
    for number in 0..100_u8 {
        server.sender().send(Class::Data, Bytes::from(vec![1, number])).unwrap();
        server.sender().send(Class::Control, Bytes::from(vec![0, number])).unwrap();
    }
    for class in 0..2 {
        for number in 0..100 {
            assert_eq!(soon(receiver.recv()).await.unwrap().unwrap()[..], [class, number]);
        }
    }
}

#[tokio::test]
async fn an_oversize_frame_is_refused_before_it_costs_anything() {
    let (mut receiver, _client, _listener) = receiving(&u32::MAX.to_be_bytes()).await;
    let before = receiver.buffer_bytes();
    let error = soon(receiver.recv()).await.unwrap_err();
    let LinkError::FrameTooLarge { length, limit } = error else {
        panic!("{error:?}");
    };
    assert_eq!((length, limit), (u32::MAX as usize, 8 * 1024));
    assert!(before == 0 && receiver.buffer_bytes() <= 64 * 1024);
    assert!(matches!(soon(receiver.recv()).await, Err(LinkError::Closed)));
}

#[tokio::test]
async fn the_frame_limit_rises_with_login_and_stops_there() {
    let limits = LinkLimits::default();
    for (authenticated, length, fits) in [
        (false, limits.frame_unauthenticated_bytes_max, true),
        (false, limits.frame_unauthenticated_bytes_max + 1, false),
        (true, limits.frame_authenticated_bytes_max, true),
        (true, limits.frame_authenticated_bytes_max + 1, false),
    ] {
        let mut listener = listen_default().await;
        let mut client = soon(raw_tls(&listener, member_config())).await.unwrap();
        let link = soon(listener.accept()).await.unwrap().link;
        if authenticated {
            link.authenticated();
        }
        let (_sender, mut receiver) = link.split();
        tokio::spawn(async move {
            let _ = client.write_all(&(length as u32).to_be_bytes()).await;
            let _ = client.write_all(&vec![1; length]).await;
            let _ = client.flush().await;
            std::future::pending::<()>().await;
        });
        match soon(receiver.recv()).await {
            Ok(Some(frame)) => assert!(fits && frame.len() == length),
            Err(LinkError::FrameTooLarge { .. }) => assert!(!fits),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn memory_follows_what_was_received_not_what_was_announced() {
    let (mut receiver, mut client, _listener) = receiving(&1_000_000_u32.to_be_bytes()).await;
    receiver.raise_limit();
    client.write_all(&[1; 100]).await.unwrap();
    client.flush().await.unwrap();
    assert!(timeout(Duration::from_millis(100), receiver.recv()).await.is_err());
    assert!(receiver.buffer_bytes() <= 16 * 1024, "{}", receiver.buffer_bytes());
    client.write_all(&[1; 999_900]).await.unwrap();
    client.flush().await.unwrap();
    // `recv` was cancelled half way above; nothing was lost.
    assert_eq!(soon(receiver.recv()).await.unwrap().unwrap().len(), 1_000_000);
}

#[tokio::test]
async fn an_empty_frame_breaks_the_link() {
    let (mut receiver, _client, _listener) = receiving(&[0, 0, 0, 1, 42, 0, 0, 0, 0]).await;
    assert_eq!(soon(receiver.recv()).await.unwrap().unwrap()[..], [42]);
    assert!(matches!(soon(receiver.recv()).await, Err(LinkError::Protocol(_))));
}

#[tokio::test]
async fn a_goodbye_in_the_middle_of_a_frame_is_no_goodbye() {
    let (mut receiver, mut client, _listener) = receiving(&[0, 0, 0, 9, 1, 2]).await;
    client.shutdown().await.unwrap();
    assert!(matches!(soon(receiver.recv()).await, Err(LinkError::Closed)));
}

#[tokio::test]
async fn a_cut_connection_is_no_goodbye() {
    let (mut receiver, client, _listener) = receiving(&[0, 0, 0, 1, 1]).await;
    drop(client.into_inner().0);
    assert!(soon(receiver.recv()).await.unwrap().is_some());
    assert!(matches!(soon(receiver.recv()).await, Err(LinkError::Closed)));
}

#[tokio::test]
async fn close_delivers_what_was_queued_and_ends_both_sides() {
    let mut listener = listen_default().await;
    let (client, server) = pair(&mut listener).await;
    let (client_sender, mut client_receiver) = client.split();
    let (server_sender, mut server_receiver) = server.split();
    // The other side is talking too, which must not cost it our last words.
    for _ in 0..100 {
        client_sender.send(Class::Data, frame(1000)).unwrap();
    }
    for _ in 0..20 {
        server_sender.send(Class::Data, frame(100_000)).unwrap();
    }
    let ended = server_sender.ended();
    server_sender.close();
    assert_eq!(server_sender.send(Class::Control, frame(1)), Err(SendError::Closed));
    for _ in 0..20 {
        assert_eq!(soon(client_receiver.recv()).await.unwrap().unwrap().len(), 100_000);
    }
    assert!(soon(client_receiver.recv()).await.unwrap().is_none());
    while let Some(frame) = soon(server_receiver.recv()).await.unwrap() {
        assert_eq!(frame.len(), 1000);
    }
    soon(ended).await;
    soon(client_sender.ended()).await;
    assert!(client_sender.is_closed() && client_sender.queued_bytes() == 0);
    assert_eq!(client_sender.send(Class::Control, frame(1)), Err(SendError::Closed));
}

/// The tail waits in the sender's kernel when the socket is about to be closed, with bytes unread.
#[tokio::test]
async fn last_words_reach_a_peer_that_is_slow_and_talking() {
    let mut listener = listen_default().await;
    for length in (50_000..500_000).step_by(50_000) {
        let (client, server) = pair(&mut listener).await;
        client.sender().send(Class::Data, frame(5000)).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let (sender, unread) = server.split();
        sender.send(Class::Data, frame(length)).unwrap();
        sender.close();
        drop(unread);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (_, mut receiver) = client.split();
        assert_eq!(soon(receiver.recv()).await.unwrap().unwrap().len(), length);
        assert!(soon(receiver.recv()).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn dropping_the_receiver_ends_the_link() {
    let mut listener = listen_default().await;
    let (client, server) = pair(&mut listener).await;
    let (_, mut receiver) = client.split();
    let (sender, dropped) = server.split();
    sender.send(Class::Data, frame(10)).unwrap();
    drop(dropped);
    assert!(soon(receiver.recv()).await.unwrap().is_some());
    assert!(soon(receiver.recv()).await.unwrap().is_none());
    soon(sender.ended()).await;
}

#[tokio::test]
async fn what_cannot_be_framed_is_not_sent() {
    let mut listener = listen_default().await;
    let (client, _server) = pair(&mut listener).await;
    let max = LinkLimits::default().frame_authenticated_bytes_max;
    assert_eq!(client.sender().send(Class::Data, Bytes::new()), Err(SendError::Length(0)));
    let long = client.sender().send(Class::Data, frame(max + 1));
    assert_eq!(long, Err(SendError::Length(max + 1)));
}
