//! `Lease`.

use crate::error::Refusal;

use super::*;

#[tokio::test]
async fn keys_last_as_long_as_their_lease() {
    let front = Running::start().await;
    let client = front.client().await;
    let lease = client.grant(0, 10).await.unwrap();
    assert!(lease.id > 0 && lease.ttl == 10);
    client.put(pb::PutRequest { lease: lease.id, ..put("a", "1") }).await.unwrap();
    let shown = client.time_to_live(lease.id, true).await.unwrap();
    assert_eq!((shown.granted_ttl, shown.keys), (10, vec![b"a".to_vec()]));
    assert!((5..=10).contains(&shown.ttl));
    front.memory.put_forward(Duration::from_secs(7));
    let mut alive = client.talk("/etcdserverpb.Lease/LeaseKeepAlive").await.unwrap();
    let mut renew = async |id| {
        alive.asks.send(pb::LeaseRequest { id }).await.unwrap();
        let answer: pb::LeaseKeepAliveResponse = alive.next().await.unwrap();
        (answer.id, answer.ttl)
    };
    assert_eq!(renew(lease.id).await, (lease.id, 10));
    assert_eq!(renew(99).await, (99, 0), "no such lease");
    front.memory.put_forward(Duration::from_secs(7));
    assert_eq!(client.get("a").await.as_deref(), Some("1"), "it was renewed");
    front.memory.put_forward(Duration::from_secs(5));
    assert_eq!(client.get("a").await, None);
    assert_eq!(renew(lease.id).await, (lease.id, 0));
    let gone = client.time_to_live(lease.id, true).await.unwrap();
    assert_eq!((gone.ttl, gone.granted_ttl, gone.keys.len()), (-1, 0, 0));
}

#[tokio::test]
async fn leases_are_named_listed_and_revoked() {
    let front = Running::start().await;
    let client = front.client().await;
    assert_eq!(client.grant(5, 60).await.unwrap().id, 5);
    assert_eq!(refusal(client.grant(5, 60).await), told(Refusal::LeaseExists));
    assert_eq!(refusal(client.grant(6, i64::MAX).await), told(Refusal::LeaseTooLong));
    assert_eq!(refusal(client.revoke(6).await), told(Refusal::LeaseNotFound));
    assert_eq!(refusal(client.revoke(-6).await), told(Refusal::LeaseNotFound));
    client.put(pb::PutRequest { lease: 5, ..put("a", "1") }).await.unwrap();
    client.put(pb::PutRequest { lease: 5, ..put("b", "1") }).await.unwrap();
    let listed: pb::LeaseLeasesResponse = client.ask("/etcdserverpb.Lease/LeaseLeases", pb::Nothing {}).await.unwrap();
    assert_eq!(listed.leases, [pb::LeaseStatus { id: 5 }]);
    let kept = client.put(pb::PutRequest { ignore_lease: true, ..put("a", "2") }).await.unwrap();
    assert_eq!(revision(kept.header), 4);
    assert_eq!(client.set("b", "free").await, 5);
    assert_eq!(revision(client.revoke(5).await.unwrap().header), 6);
    assert_eq!((client.get("a").await, client.get("b").await.as_deref()), (None, Some("free")));
}
