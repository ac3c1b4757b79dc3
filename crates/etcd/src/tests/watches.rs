//! `Watch`.

use std::collections::BTreeMap;

use super::*;

type Watching = Talk<pb::WatchRequest, pb::WatchResponse>;

fn watch_from(key: &str, end: &str, start_revision: i64) -> pb::WatchCreateRequest {
    let (key, range_end) = (key.into(), end.into());
    pb::WatchCreateRequest { key, range_end, start_revision, ..pb::WatchCreateRequest::default() }
}

impl Watching {
    async fn wish(&self, wish: pb::Wish) {
        self.asks.send(pb::WatchRequest { request: Some(wish) }).await.unwrap();
    }

    /// Begins a watch, and returns its name and the revision.
    async fn create(&mut self, wish: pb::WatchCreateRequest) -> (i64, i64) {
        self.wish(pb::Wish::Create(wish)).await;
        let created = self.next().await.unwrap();
        assert!(created.created && !created.canceled && created.events.is_empty(), "{created:?}");
        (created.watch_id, revision(created.header))
    }

    async fn refused(&mut self, wish: pb::WatchCreateRequest) -> String {
        self.wish(pb::Wish::Create(wish)).await;
        let refused = self.next().await.unwrap();
        assert!(refused.created && refused.canceled && refused.watch_id == -1, "{refused:?}");
        refused.cancel_reason
    }

    /// So many changes: of which watch, what, of which key, at which revision.
    async fn changes(&mut self, count: usize) -> Vec<(i64, i32, String, i64)> {
        let mut found = Vec::new();
        while found.len() < count {
            let told = self.next().await.unwrap();
            let last = revision(told.header);
            for event in told.events {
                let kv = event.kv.unwrap();
                assert!(kv.mod_revision <= last);
                found.push((told.watch_id, event.kind, String::from_utf8(kv.key).unwrap(), kv.mod_revision));
            }
        }
        found
    }
}

fn change(watch: i64, kind: i32, key: &str, revision: i64) -> (i64, i32, String, i64) {
    (watch, kind, key.to_owned(), revision)
}

#[tokio::test]
async fn watches_of_one_stream_are_told_their_changes_each_once() {
    let front = Running::start().await;
    let client = front.client().await;
    client.set("a", "1").await;
    let mut stream = client.watch().await;
    assert_eq!(stream.create(watch_from("a", "", 0)).await, (0, 2), "from now on");
    assert_eq!(stream.create(watch_from("b", "d", 0)).await, (1, 2));
    client.set("a", "2").await;
    client.set("x", "2").await;
    client.set("b", "2").await;
    client.delete(delete("a")).await.unwrap();
    let mut told = stream.changes(3).await;
    told.sort();
    assert_eq!(told, [change(0, pb::PUT, "a", 3), change(0, pb::DELETE, "a", 6), change(1, pb::PUT, "b", 5)]);
    stream.wish(pb::Wish::Cancel(pb::WatchCancelRequest { watch_id: 0 })).await;
    let canceled = stream.next().await.unwrap();
    assert!(canceled.canceled && canceled.watch_id == 0);
    client.set("a", "3").await;
    client.set("c", "3").await;
    assert_eq!(stream.changes(1).await, [change(1, pb::PUT, "c", 8)]);
}

#[tokio::test]
async fn a_watch_begins_in_the_past_or_in_the_future() {
    let front = Running::start().await;
    let client = front.client().await;
    for value in 0..5 {
        client.set("a", &value.to_string()).await;
    }
    let mut stream = client.watch().await;
    let wish = pb::WatchCreateRequest { watch_id: 7, prev_kv: true, ..watch_from("a", "", 3) };
    assert_eq!(stream.create(wish).await, (7, 6));
    let told = stream.next().await.unwrap();
    let values = |event: &pb::Event| {
        let text = |kv: &Option<pb::KeyValue>| kv.as_ref().map(|kv| String::from_utf8(kv.value.clone()).unwrap());
        (text(&event.prev_kv), text(&event.kv))
    };
    let some = |before: &str, now: &str| (Some(before.to_owned()), Some(now.to_owned()));
    let wanted = [some("0", "1"), some("1", "2"), some("2", "3"), some("3", "4")];
    assert_eq!(told.events.iter().map(values).collect::<Vec<_>>(), wanted);
    stream.wish(pb::Wish::Cancel(pb::WatchCancelRequest { watch_id: 7 })).await;
    assert!(stream.next().await.unwrap().canceled);
    let (late, now) = stream.create(watch_from("a", "", 9)).await;
    assert_eq!(now, 6);
    for _ in 7..=9 {
        client.set("a", "x").await;
    }
    assert_eq!(stream.changes(1).await, [change(late, pb::PUT, "a", 9)]);
    let puts_alone = pb::WatchCreateRequest { filters: vec![1], ..watch_from("a", "", 10) };
    let (puts, _) = stream.create(puts_alone).await;
    client.delete(delete("a")).await.unwrap();
    client.set("a", "y").await;
    let mut told = stream.changes(3).await;
    told.sort();
    assert_eq!(
        told,
        [change(late, pb::PUT, "a", 11), change(late, pb::DELETE, "a", 10), change(puts, pb::PUT, "a", 11)]
    );
}

#[tokio::test]
async fn a_lease_that_ends_is_told() {
    let front = Running::start().await;
    let client = front.client().await;
    client.grant(3, 20).await.unwrap();
    client.put(pb::PutRequest { lease: 3, ..put("a", "1") }).await.unwrap();
    let mut stream = client.watch().await;
    let (watch, _) = stream.create(watch_from("a", "", 0)).await;
    front.memory.put_forward(Duration::from_secs(21));
    assert_eq!(stream.changes(1).await, [change(watch, pb::DELETE, "a", 3)]);
}

#[tokio::test]
async fn watches_that_cannot_be_are_refused() {
    let front = Running::start().await;
    let client = front.client().await;
    let mut stream = client.watch().await;
    assert_eq!(stream.refused(watch_from("b", "a", 0)).await, "mvcc: watcher range is empty");
    assert!(stream.refused(watch_from("a", "", -1)).await.contains("compacted"));
    let named = pb::WatchCreateRequest { watch_id: 4, ..watch_from("a", "", 0) };
    assert_eq!(stream.create(named.clone()).await.0, 4);
    assert!(stream.refused(named).await.contains("duplicate watch ID"));
    front.memory.take_role(Role::Sender);
    let mut blind = client.watch().await;
    assert_eq!(blind.refused(watch_from("a", "", 0)).await, crate::error::Refusal::Denied.told().1);
    assert_eq!(refusal(client.range(range("a")).await), told(crate::error::Refusal::Denied));
    assert_eq!(client.set("a", "1").await, 2, "it may write");
}

#[tokio::test]
async fn who_wants_to_know_is_told_how_far_it_is() {
    let front = Running::start().await;
    let client = front.client().await;
    let mut stream = client.watch().await;
    stream.create(watch_from("a", "", 0)).await;
    let now = client.set("b", "1").await;
    loop {
        stream.wish(pb::Wish::Progress(pb::Nothing {})).await;
        let told = stream.next().await.unwrap();
        assert!(told.watch_id == -1 && told.events.is_empty() && !told.canceled);
        if revision(told.header) >= now {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_misses_nothing_and_is_told_if_it_is_too_late() {
    let front = Running::start().await;
    let client = front.client().await;
    let value = "v".repeat(20_000);
    let mut slow = client.watch().await;
    let (watch, _) = slow.create(watch_from("a", "", 0)).await;
    let other = front.client().await;
    let mut quick = other.watch().await;
    quick.create(watch_from("a", "", 0)).await;
    for step in 0..120 {
        assert_eq!(client.set("a", &format!("{step} {value}")).await, step + 2);
        // Whoever reads is not held up.
        quick.changes(1).await;
    }
    let told = slow.changes(120).await;
    assert!(told.iter().map(|told| (told.0, told.3)).eq((2..122).map(|revision| (watch, revision))));

    // More than the store remembers.
    for step in 0..700 {
        client.set("a", &format!("{step} {value}")).await;
    }
    let mut last = 121;
    loop {
        let told = slow.next().await.unwrap();
        if told.canceled {
            assert!(told.watch_id == watch && told.compact_revision > last + 1, "{told:?}");
            break;
        }
        for event in told.events {
            let revision = event.kv.unwrap().mod_revision;
            assert_eq!(revision, last + 1, "no gap");
            last = revision;
        }
    }
    let mut anew = client.watch().await;
    anew.create(watch_from("a", "", 5)).await;
    let told = anew.next().await.unwrap();
    assert!(told.canceled && told.compact_revision > 5);
    let from = told.compact_revision;
    let (watch, _) = anew.create(watch_from("a", "", from)).await;
    assert_eq!(anew.changes(1).await[0], change(watch, pb::PUT, "a", from), "from there on everything is remembered");
}

#[tokio::test]
async fn watches_go_on_when_the_store_answers_again() {
    let front = Running::start().await;
    let client = front.client().await;
    let mut stream = client.watch().await;
    let (watch, _) = stream.create(watch_from("a", "", 0)).await;
    front.memory.fall_silent(true);
    let failed = client.put(put("a", "1")).await;
    assert_eq!(refusal(failed), told(crate::error::Refusal::Stopped));
    front.memory.fall_silent(false);
    client.set("a", "2").await;
    assert_eq!(stream.changes(1).await, [change(watch, pb::PUT, "a", 2)]);
}

#[tokio::test]
async fn one_change_for_many_watches_of_a_stream_is_read_once() {
    let front = Running::start().await;
    let client = front.client().await;
    let mut stream = client.watch().await;
    for _ in 0..500 {
        stream.create(watch_from("a", "", 0)).await;
    }
    let before = front.memory.changes_read();
    for step in 0..3 {
        client.set("a", "1").await;
        let mut told = stream.changes(500).await;
        told.sort();
        assert!(told.into_iter().map(|told| (told.0, told.3)).eq((0..500).map(|watch| (watch, step + 2))));
    }
    let read = front.memory.changes_read() - before;
    assert!(read < 20, "{read} readings of the store for three changes");
}

#[tokio::test]
async fn nothing_is_read_for_a_client_that_does_not_read() {
    let front = Running::start().await;
    let client = front.client().await;
    let value = "v".repeat(20_000);
    let mut stream = client.watch().await;
    for _ in 0..100 {
        stream.create(watch_from("a", "b", 0)).await;
    }
    let before = front.memory.changes_read();
    let other = front.client().await;
    for key in 0..30 {
        other.set(&format!("a{key}"), &value).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let read = front.memory.changes_read() - before;
    assert!(read <= 60, "{read} readings for thirty changes and nobody who reads");
    // It misses nothing when it reads after all.
    let mut told = BTreeMap::new();
    while told.values().sum::<usize>() < 100 * 30 {
        let answer = stream.next().await.unwrap();
        *told.entry(answer.watch_id).or_insert(0) += answer.events.len();
    }
    assert!(told.len() == 100 && told.values().all(|count| *count == 30));
}

#[tokio::test]
async fn a_watch_tells_what_a_key_was_that_was_put_long_ago() {
    let front = Running::start().await;
    let client = front.client().await;
    client.set("old", "1").await;
    for _ in 0..70 {
        let success = (0..128).map(|key| op(pb::Asked::Put(put(&format!("k{key}"), "")))).collect();
        client.txn(pb::TxnRequest { success, ..pb::TxnRequest::default() }).await.unwrap();
    }
    let mut stream = client.watch().await;
    let wish = pb::WatchCreateRequest { prev_kv: true, ..watch_from("old", "", 0) };
    stream.create(wish).await;
    let now = client.set("old", "2").await;
    let told = stream.next().await.unwrap();
    assert_eq!(told.events[0].prev_kv.as_ref().expect("etcd tells it").value, b"1");
    client.delete(delete("old")).await.unwrap();
    let past = |revision| client.range(pb::RangeRequest { revision, ..range("old") });
    assert_eq!(past(now).await.unwrap().kvs[0].value, b"2");
    assert_eq!(past(now - 1).await.unwrap().kvs[0].value, b"1", "the past that is remembered can be read");
}

#[tokio::test]
async fn a_watch_for_a_key_that_cannot_be_is_refused() {
    let front = Running::start().await;
    let client = front.client().await;
    let mut stream = client.watch().await;
    let long = "k".repeat(2000);
    for (key, end) in [(&*long, ""), ("a", &*long), (&*long, "\0")] {
        assert_eq!(stream.refused(watch_from(key, end, 0)).await, crate::error::Refusal::TooLarge.told().1);
    }
}
