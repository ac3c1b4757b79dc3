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
    let here = format!("http://{}", front.address);
    let come_back = members.members.iter().all(|member| member.client_urls == [here.clone()]);
    assert!(come_back, "clients that go on with the members' addresses come back: {members:?}");
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

/// Requests of a stranger that are under way until they are dropped.
fn guesses(client: &Client, count: usize) -> Vec<JoinHandle<()>> {
    let guess = |client: Client| async move {
        let asked = pb::AuthenticateRequest { name: "ana".to_owned(), password: "guess".to_owned() };
        drop(client.ask::<_, pb::AuthenticateResponse>("/etcdserverpb.Auth/Authenticate", asked).await);
    };
    (0..count).map(|_| tokio::spawn(guess(client.clone()))).collect()
}

async fn authenticated(front: &Running) -> Client {
    let mut client = front.client().await;
    let asked = pb::AuthenticateRequest { name: "ana".to_owned(), password: "secret".to_owned() };
    let login = client.ask::<_, pb::AuthenticateResponse>("/etcdserverpb.Auth/Authenticate", asked).await;
    client.token = Some(login.expect("who is right waits for nobody").token);
    client
}

#[tokio::test]
async fn who_guesses_takes_no_room_from_who_knows_the_password() {
    let front = Running::locked("ana", "secret").await;
    let mut guessing = Vec::new();
    for _ in 0..4 {
        guessing.extend(guesses(&front.client().await, 200));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let client = authenticated(&front).await;
    assert_eq!(client.set("a", "1").await, 2);
    guessing.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn strangers_at_a_locked_port_keep_nobody_out() {
    let front = Running::locked("ana", "secret").await;
    let begun = Instant::now();
    let mut strangers = Vec::new();
    for _ in 0..200 {
        strangers.push(TcpStream::connect(front.address).await.unwrap());
    }
    assert_eq!(authenticated(&front).await.set("a", "1").await, 2);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let known = authenticated(&front).await;
    for _ in 0..200 {
        strangers.push(TcpStream::connect(front.address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(known.set("a", "2").await, 3, "who is known stays");
}

#[tokio::test]
async fn deep_wide_and_wrong_messages_are_refused_and_hurt_nobody() {
    let front = Running::start().await;
    let client = front.client().await;
    let within = |inner, _| pb::TxnRequest { success: vec![op(pb::Asked::Txn(inner))], ..pb::TxnRequest::default() };
    for depth in [1, 20, 150] {
        let code = refusal(client.txn((0..depth).fold(pb::TxnRequest::default(), within)).await).0;
        assert!(matches!(code, tonic::Code::Unimplemented | tonic::Code::Internal), "{depth} deep: {code:?}");
    }
    let success = vec![pb::RequestOp { request: None }; 250_000];
    let wide = client.txn(pb::TxnRequest { success, ..pb::TxnRequest::default() }).await;
    assert_eq!(refusal(wide), told(Refusal::TooManyOps));
    // A number where bytes are wanted.
    let wrong = pb::Header { cluster_id: u64::MAX, ..pb::Header::default() };
    for method in ["/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put", "/v3lockpb.Lock/Lock", "/etcdserverpb.KV/Txn"] {
        assert!(client.ask::<_, pb::Done>(method, wrong).await.is_err(), "{method}");
    }
    let mut talk = client.talk::<pb::Header, pb::WatchResponse>("/etcdserverpb.Watch/Watch").await.unwrap();
    talk.asks.send(wrong).await.unwrap();
    assert!(!matches!(talk.answers.message().await, Ok(Some(_))));
    assert_eq!(client.set("a", "1").await, 2);
}
