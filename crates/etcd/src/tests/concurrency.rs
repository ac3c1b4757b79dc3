//! `Lock` and `Election`.

use crate::error::Refusal;

use super::*;

async fn lock(client: Client, name: &str, lease: i64) -> Result<pb::LockResponse, Status> {
    client.ask("/v3lockpb.Lock/Lock", pb::LockRequest { name: name.into(), lease }).await
}

async fn campaign(client: Client, value: &str, lease: i64) -> Result<pb::CampaignResponse, Status> {
    let asked = pb::CampaignRequest { name: b"e".to_vec(), lease, value: value.into() };
    client.ask("/v3electionpb.Election/Campaign", asked).await
}

/// Whoever waits stands in the queue.
async fn queued(client: &Client, prefix: &str, end: &str, count: i64) {
    loop {
        let found = client.range(pb::RangeRequest { count_only: true, ..between(prefix, end) }).await.unwrap();
        if found.count == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn one_holds_a_lock_at_a_time_in_the_order_of_coming() {
    let front = Running::start().await;
    let client = front.client().await;
    for lease in 1..=3 {
        client.grant(lease, 60).await.unwrap();
    }
    let held = lock(client.clone(), "l", 1).await.unwrap();
    assert_eq!(held.key, b"l/1");
    assert_eq!(lock(client.clone(), "l", 1).await.unwrap().key, held.key, "the same lease has it already");
    let second = tokio::spawn(lock(client.clone(), "l", 2));
    queued(&client, "l/", "l0", 2).await;
    let third = tokio::spawn(lock(client.clone(), "l", 3));
    queued(&client, "l/", "l0", 3).await;
    assert!(!second.is_finished() && !third.is_finished());
    let _: pb::Done = client.ask("/v3lockpb.Lock/Unlock", pb::UnlockRequest { key: held.key }).await.unwrap();
    assert_eq!(second.await.unwrap().unwrap().key, b"l/2");
    assert!(!third.is_finished());
    client.revoke(2).await.unwrap();
    assert_eq!(third.await.unwrap().unwrap().key, b"l/3", "a lease that ends lets the next one in");
    assert_eq!(refusal(lock(client.clone(), "l", 9).await), told(Refusal::LeaseNotFound));
}

#[tokio::test]
async fn who_goes_away_or_whose_lease_ends_waits_no_more() {
    let front = Running::start().await;
    let client = front.client().await;
    for lease in 1..=3 {
        client.grant(lease, 600).await.unwrap();
    }
    lock(client.clone(), "l", 1).await.unwrap();
    let gone = tokio::spawn(lock(client.clone(), "l", 2));
    queued(&client, "l/", "l0", 2).await;
    gone.abort();
    queued(&client, "l/", "l0", 1).await;
    let ended = tokio::spawn(lock(client.clone(), "l", 3));
    queued(&client, "l/", "l0", 2).await;
    client.revoke(3).await.unwrap();
    client.revoke(1).await.unwrap();
    assert_eq!(refusal(ended.await.unwrap()), told(Refusal::SessionExpired));
}

#[tokio::test]
async fn one_is_elected_at_a_time_and_observers_hear_of_each() {
    let front = Running::start().await;
    let client = front.client().await;
    let mut observer = client.talk("/v3electionpb.Election/Observe").await.unwrap();
    observer.asks.send(pb::LeaderRequest { name: b"e".to_vec() }).await.unwrap();
    let mut observed = async || {
        let told: pb::LeaderResponse = observer.next().await.unwrap();
        String::from_utf8(told.kv.unwrap().value).unwrap()
    };
    for lease in 1..=2 {
        client.grant(lease, 60).await.unwrap();
    }
    let leader = || {
        client.ask::<_, pb::LeaderResponse>("/v3electionpb.Election/Leader", pb::LeaderRequest { name: b"e".to_vec() })
    };
    assert_eq!(refusal(leader().await), told(Refusal::NoElectionLeader));
    let first = campaign(client.clone(), "one", 1).await.unwrap().leader.unwrap();
    assert_eq!((first.key.as_slice(), first.lease), (&b"e/1"[..], 1));
    assert_eq!(observed().await, "one");
    let second = tokio::spawn(campaign(client.clone(), "two", 2));
    queued(&client, "e/", "e0", 2).await;
    let proclaim = |leader, value: &str| {
        let asked = pb::ProclaimRequest { leader, value: value.into() };
        client.ask::<_, pb::Done>("/v3electionpb.Election/Proclaim", asked)
    };
    proclaim(Some(first.clone()), "still one").await.unwrap();
    assert_eq!(observed().await, "still one");
    assert_eq!(leader().await.unwrap().kv.unwrap().value, b"still one");
    assert!(!second.is_finished());
    let resign = pb::ProclaimRequest { leader: Some(first.clone()), value: Vec::new() };
    let _: pb::Done = client.ask("/v3electionpb.Election/Resign", resign).await.unwrap();
    let second = second.await.unwrap().unwrap().leader.unwrap();
    assert!(second.rev > first.rev, "a later leader has a higher number: whoever is late can be told");
    assert_eq!(observed().await, "two");
    assert_eq!(refusal(proclaim(Some(first), "late").await), told(Refusal::NotElected));
    assert_eq!(refusal(proclaim(None, "nobody").await), told(Refusal::NoLeaderKey));
}
