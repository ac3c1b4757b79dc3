//! Strangers, and clients that ask for too much.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::Refusal;

use super::*;

#[tokio::test]
async fn a_port_is_locked_with_a_password() {
    let front = Running::locked("ana", "secret").await;
    let mut client = front.client().await;
    assert_eq!(refusal(client.put(put("a", "1")).await), told(Refusal::NoUser));
    client.token = Some("guess".to_owned());
    assert_eq!(refusal(client.put(put("a", "1")).await), told(Refusal::BadToken));
    assert!(client.talk::<pb::WatchRequest, pb::WatchResponse>("/etcdserverpb.Watch/Watch").await.is_err());
    let authenticate = |client: Client, name: &str, password: &str| {
        let asked = pb::AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
        async move { client.ask::<_, pb::AuthenticateResponse>("/etcdserverpb.Auth/Authenticate", asked).await }
    };
    client.token = None;
    assert_eq!(refusal(authenticate(client.clone(), "ana", "guess").await), told(Refusal::AuthFailed));
    client.token = Some(authenticate(client.clone(), "ana", "secret").await.unwrap().token);
    assert_eq!(client.set("a", "1").await, 2);

    let open = Running::start().await;
    assert_eq!(refusal(authenticate(open.client().await, "ana", "secret").await), told(Refusal::AuthOff));
}

#[tokio::test]
async fn what_is_not_offered_is_said_to_be_so() {
    let front = Running::start().await;
    let client = front.client().await;
    for method in
        ["/etcdserverpb.Maintenance/Snapshot", "/etcdserverpb.Cluster/MemberAdd", "/etcdserverpb.KV/Fly", "/x"]
    {
        let answer = client.ask::<_, pb::Done>(method, pb::Nothing {}).await;
        assert_eq!(refusal(answer).0, tonic::Code::Unimplemented, "{method}");
    }
    let members: pb::MemberListResponse = client.ask("/etcdserverpb.Cluster/MemberList", pb::Nothing {}).await.unwrap();
    assert_eq!(members.members.iter().map(|member| member.id).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let status: pb::StatusResponse = client.ask("/etcdserverpb.Maintenance/Status", pb::Nothing {}).await.unwrap();
    assert_eq!((status.leader, status.version.as_str(), status.raft_index), (8, "3.4.0", 1));
}

#[tokio::test]
async fn requests_and_streams_have_bounds() {
    let front = Running::start().await;
    let client = front.client().await;
    let long = client.put(put("a", &"x".repeat(600 * 1024))).await;
    assert_eq!(refusal(long).0, tonic::Code::OutOfRange, "it is not read");
    let mut streams = Vec::new();
    let refused = loop {
        match client.talk::<pb::WatchRequest, pb::WatchResponse>("/etcdserverpb.Watch/Watch").await {
            Ok(stream) => streams.push(stream),
            Err(status) => break status,
        }
    };
    assert_eq!(refusal::<()>(Err(refused)), told(Refusal::TooManyRequests));
    assert_eq!(streams.len(), 128);
    assert_eq!(client.set("a", "1").await, 2, "requests have room of their own");
    drop(streams);
    loop {
        // Whoever goes makes room.
        if client.talk::<pb::WatchRequest, pb::WatchResponse>("/etcdserverpb.Watch/Watch").await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_stranger_cannot_stay_at_a_locked_port() {
    let front = Running::locked("ana", "secret").await;
    let mut stranger = TcpStream::connect(front.address).await.unwrap();
    stranger.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut read = Vec::new();
    tokio::time::timeout(DEADLINE, stranger.read_to_end(&mut read)).await.unwrap().unwrap();
}

#[tokio::test]
async fn garbage_ends_its_connection_alone() {
    let front = Running::start().await;
    let client = front.client().await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 100],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x01\x00\0\0\0\x01",
    ] {
        let mut stranger = TcpStream::connect(front.address).await.unwrap();
        stranger.write_all(garbage).await.unwrap();
        let mut read = Vec::new();
        // However it ends.
        let _ = tokio::time::timeout(DEADLINE, stranger.read_to_end(&mut read)).await.unwrap();
    }
    assert_eq!(client.set("a", "1").await, 2);
}
