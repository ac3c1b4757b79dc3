//! `KV`.

use crate::error::Refusal;
use crate::pb::{self, by, is, of, order};

use super::*;

fn names(found: &pb::RangeResponse) -> Vec<&str> {
    found.kvs.iter().map(|kv| std::str::from_utf8(&kv.key).unwrap()).collect()
}

#[tokio::test]
async fn keys_are_put_read_and_deleted_with_etcds_revisions() {
    let front = Running::start().await;
    let client = front.client().await;
    let empty = client.range(range("a")).await.unwrap();
    assert_eq!(empty.header.unwrap(), pb::Header { cluster_id: 7, member_id: 8, revision: 1, raft_term: 1 });
    assert_eq!((client.set("a", "1").await, client.set("a", "2").await, client.set("b", "3").await), (2, 3, 4));
    let found = client.range(range("a")).await.unwrap();
    let kv = &found.kvs[0];
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version, kv.value.as_slice()), (2, 3, 2, &b"2"[..]));
    assert_eq!((found.count, found.more, revision(found.header)), (1, false, 4));
    let before = client.put(pb::PutRequest { prev_kv: true, ..put("a", "4") }).await.unwrap();
    assert_eq!(before.prev_kv.unwrap().value, b"2");
    let gone = pb::DeleteRangeRequest { range_end: b"z".to_vec(), prev_kv: true, ..delete("a") };
    let gone = client.delete(gone).await.unwrap();
    assert_eq!((gone.deleted, gone.prev_kvs.len(), revision(gone.header)), (2, 2, 6));
    assert_eq!(revision(client.delete(delete("a")).await.unwrap().header), 6, "what deletes nothing has no revision");
}

#[tokio::test]
async fn what_etcd_refuses_is_refused_in_its_words() {
    let front = Running::start().await;
    let client = front.client().await;
    client.set("a", "1").await;
    assert_eq!(refusal(client.range(range("")).await), told(Refusal::EmptyKey));
    assert_eq!(refusal(client.put(put("", "")).await), told(Refusal::EmptyKey));
    assert_eq!(refusal(client.delete(delete("")).await), told(Refusal::EmptyKey));
    let bad = [
        (pb::RangeRequest { sort_target: 9, ..range("a") }, Refusal::InvalidSort),
        (pb::RangeRequest { sort_order: -1, ..range("a") }, Refusal::InvalidSort),
        (pb::RangeRequest { revision: 3, ..range("a") }, Refusal::FutureRevision),
    ];
    for (asked, why) in bad {
        assert_eq!(refusal(client.range(asked).await), told(why));
    }
    let bad = [
        (pb::PutRequest { ignore_value: true, ..put("a", "x") }, Refusal::ValueProvided),
        (pb::PutRequest { ignore_lease: true, lease: 5, ..put("a", "x") }, Refusal::LeaseProvided),
        (pb::PutRequest { ignore_value: true, ..put("b", "") }, Refusal::KeyNotFound),
        (pb::PutRequest { lease: 5, ..put("a", "x") }, Refusal::LeaseNotFound),
        (pb::PutRequest { lease: -5, ..put("a", "x") }, Refusal::LeaseNotFound),
        (put("a", &"x".repeat(65 * 1024)), Refusal::TooLarge),
    ];
    for (asked, why) in bad {
        assert_eq!(refusal(client.put(asked).await), told(why));
    }
    let twice = vec![op(pb::Asked::Put(put("k", "1"))), op(pb::Asked::Put(put("k", "2")))];
    let many = vec![op(pb::Asked::Range(range("k"))); 129];
    let bad = [
        (twice, Refusal::DuplicateKey),
        (vec![op(pb::Asked::Put(put("k", "1"))), op(pb::Asked::Delete(delete("k")))], Refusal::DuplicateKey),
        (many, Refusal::TooManyOps),
        (vec![pb::RequestOp { request: None }], Refusal::KeyNotFound),
        (vec![op(pb::Asked::Put(put("", "1")))], Refusal::EmptyKey),
    ];
    for (success, why) in bad {
        assert_eq!(refusal(client.txn(pb::TxnRequest { success, ..pb::TxnRequest::default() }).await), told(why));
    }
    let compact = |revision| client.ask::<_, pb::Done>("/etcdserverpb.KV/Compact", pb::CompactionRequest { revision });
    assert_eq!(refusal(compact(3).await), told(Refusal::FutureRevision));
    assert_eq!(revision(compact(2).await.unwrap().header), 2);
    assert_eq!(client.get("a").await.as_deref(), Some("1"), "nothing was changed");
}

#[tokio::test]
async fn ranges_have_limits_orders_and_filters() {
    let front = Running::start().await;
    let client = front.client().await;
    for (key, value) in [("c", "x"), ("a", "z"), ("b", "y"), ("a", "w"), ("d", "v")] {
        client.set(key, value).await;
    }
    let found = client.range(pb::RangeRequest { limit: 2, ..between("a", "d") }).await.unwrap();
    assert_eq!((names(&found), found.more, found.count), (vec!["a", "b"], true, 3));
    let sorted = |target, order, limit| {
        client.range(pb::RangeRequest { sort_target: target, sort_order: order, limit, ..between("\0", "\0") })
    };
    assert_eq!(names(&sorted(by::KEY, order::DESCEND, 0).await.unwrap()), ["d", "c", "b", "a"]);
    assert_eq!(names(&sorted(by::CREATE, order::ASCEND, 1).await.unwrap()), ["c"]);
    assert_eq!(names(&sorted(by::MOD, order::NONE, 0).await.unwrap()), ["c", "b", "a", "d"]);
    assert_eq!(names(&sorted(by::VALUE, order::ASCEND, 2).await.unwrap()), ["d", "a"]);
    assert_eq!(names(&sorted(by::VERSION, order::DESCEND, 1).await.unwrap()), ["a"]);
    let filtered = pb::RangeRequest { min_mod_revision: 4, max_create_revision: 4, ..between("a", "\0") };
    let found = client.range(filtered).await.unwrap();
    assert_eq!((names(&found), found.count), (vec!["a", "b"], 4), "all are counted");
    let keys = client.range(pb::RangeRequest { keys_only: true, ..between("a", "c") }).await.unwrap();
    assert!(keys.kvs.len() == 2 && keys.kvs.iter().all(|kv| kv.value.is_empty()));
    let count = client.range(pb::RangeRequest { count_only: true, limit: 1, ..between("a", "\0") }).await.unwrap();
    assert_eq!((count.count, count.kvs.len()), (4, 0));
}

#[tokio::test]
async fn a_long_range_is_of_one_moment_while_others_write() {
    let front = Running::start().await;
    let client = front.client().await;
    let (keys, value) = (40, "v".repeat(10_000));
    for key in 0..keys {
        client.set(&format!("k/{key:03}"), &format!("0 {value}")).await;
    }
    let writer = tokio::spawn({
        let client = front.client().await;
        let value = value.clone();
        async move {
            for round in 0..400 {
                let key = |step: usize| format!("k/{:03}", (round * 7 + step) % keys);
                let text = format!("{round} {value}");
                // Two keys at one revision, and one that comes and goes.
                let success = vec![op(pb::Asked::Put(put(&key(0), &text))), op(pb::Asked::Put(put(&key(20), &text)))];
                client.txn(pb::TxnRequest { success, ..pb::TxnRequest::default() }).await.unwrap();
                if round % 2 == 0 {
                    client.set("k/new", "n").await;
                } else {
                    client.delete(delete("k/new")).await.unwrap();
                }
            }
        }
    });
    let (mut rounds, mut moved) = (0, false);
    let mut last = 0;
    while !writer.is_finished() {
        let found = client.range(between("k/", "k0")).await.unwrap();
        let now = revision(found.header);
        assert!(now >= last && found.kvs.iter().all(|kv| kv.mod_revision <= now));
        assert_eq!(found.count as usize, found.kvs.len());
        assert!(names(&found).is_sorted());
        // Keys that are always put together have the same revision.
        let of = |number: usize| {
            let name = format!("k/{number:03}").into_bytes();
            found.kvs.iter().find(|kv| kv.key == name).unwrap().mod_revision
        };
        for number in (0..20).filter(|number| of(*number) > 41) {
            assert_eq!(of(number), of(number + 20), "at revision {now}");
        }
        // The same revision again, from the past.
        let again = client.range(pb::RangeRequest { revision: now, ..between("k/", "k0") }).await;
        match again {
            Ok(again) => {
                assert!(again.kvs == found.kvs, "revision {now} is what it was");
                moved |= revision(again.header) > now;
            }
            Err(status) => assert_eq!(refusal::<()>(Err(status)), told(Refusal::Compacted)),
        }
        (rounds, last) = (rounds + 1, now);
    }
    writer.await.unwrap();
    assert!(rounds > 1 && moved, "the keys changed while they were read");
}

#[tokio::test]
async fn transactions_have_two_branches() {
    let front = Running::start().await;
    let client = front.client().await;
    let txn = |result, target, with, key: &str| pb::TxnRequest {
        compare: vec![pb::Compare { result, target, key: key.into(), with, range_end: Vec::new() }],
        success: vec![op(pb::Asked::Put(put("won", "yes"))), op(pb::Asked::Range(between("a", "\0")))],
        failure: vec![op(pb::Asked::Range(range("a"))), op(pb::Asked::Delete(delete("won")))],
    };
    let absent = txn(is::EQUAL, of::CREATE, Some(pb::With::Create(0)), "a");
    let done = client.txn(absent.clone()).await.unwrap();
    assert_eq!((done.succeeded, done.responses.len(), revision(done.header)), (true, 2, 2));
    let Some(pb::Came::Range(seen)) = &done.responses[1].response else { panic!("{done:?}") };
    assert_eq!(names(seen), ["won"], "what was put before is seen");
    client.set("a", "5").await;
    let done = client.txn(absent).await.unwrap();
    assert!(!done.succeeded);
    let [Some(pb::Came::Range(seen)), Some(pb::Came::Delete(gone))] =
        [&done.responses[0].response, &done.responses[1].response]
    else {
        panic!("{done:?}")
    };
    assert_eq!((names(seen), gone.deleted), (vec!["a"], 1));
    let holds = [
        (is::GREATER, of::VALUE, Some(pb::With::Value(b"4".to_vec())), true),
        (is::LESS, of::VALUE, Some(pb::With::Value(b"5".to_vec())), false),
        (is::NOT_EQUAL, of::LEASE, None, false),
        (is::EQUAL, of::VERSION, Some(pb::With::Version(1)), true),
        (is::GREATER, of::MOD, Some(pb::With::Mod(2)), true),
    ];
    for (result, target, with, wanted) in holds {
        assert_eq!(client.txn(txn(result, target, with, "a")).await.unwrap().succeeded, wanted, "{result} {target}");
    }
    let nested = vec![op(pb::Asked::Txn(pb::TxnRequest::default()))];
    let nested = client.txn(pb::TxnRequest { success: nested, ..pb::TxnRequest::default() }).await;
    assert_eq!(refusal(nested).0, tonic::Code::Unimplemented);
}

#[tokio::test]
async fn a_transaction_that_reads_too_much_says_so() {
    let front = Running::start().await;
    let client = front.client().await;
    for key in ["a", "b", "c"] {
        client.set(key, &"x".repeat(40_000)).await;
    }
    let all = op(pb::Asked::Range(between("a", "\0")));
    let read = client.txn(pb::TxnRequest { success: vec![all.clone()], ..pb::TxnRequest::default() }).await;
    assert_eq!(refusal(read).0, tonic::Code::ResourceExhausted);
    let success = vec![op(pb::Asked::Put(put("d", "1"))), all];
    let done = client.txn(pb::TxnRequest { success, ..pb::TxnRequest::default() }).await.unwrap();
    let Some(pb::Came::Range(seen)) = &done.responses[1].response else { panic!("{done:?}") };
    assert!(seen.more && seen.kvs.len() < 4, "it is done, and there is more to be read");
    assert_eq!(client.get("d").await.as_deref(), Some("1"));
}
