//! The library end to end: four leaders and their members over real sockets.

mod common;

use std::time::Duration;

use common::{DEADLINE, World, next_message, quick_policy, wait_for, wait_heard, wait_members};
use ringfort::protocol::login::Denial;
use ringfort::protocol::member::Confirmation;
use ringfort::protocol::view::Cause;
use ringfort::{Event, JoinError};
use ringfort_node::folder::{OperatorRequest, drop_request};
use ringfort_node::leader::LeaderOptions;

#[tokio::test(flavor = "multi_thread")]
async fn members_talk_to_all_and_to_some() {
    let world = World::start(&["ana", "ben", "eva"], quick_policy()).await;
    let (ana, mut at_ana) = world.join("ana").await;
    let (ben, mut at_ben) = world.join("ben").await;
    let (eva, mut at_eva) = world.join("eva").await;
    for group in [&ana, &ben, &eva] {
        wait_members(group, &["ana", "ben", "eva"]).await;
    }

    for n in 0..20u32 {
        ana.multicast("chat", &n.to_be_bytes()).await.unwrap();
    }
    for events in [&mut at_ben, &mut at_eva] {
        for n in 0..20u32 {
            let message = next_message(events).await;
            assert_eq!((message.sender.as_str(), &message.payload[..]), ("ana", &n.to_be_bytes()[..]));
        }
    }

    ben.send_to(&["eva".parse().unwrap()], "chat", b"between us").await.unwrap();
    ben.multicast("chat", b"for all").await.unwrap();
    let private = next_message(&mut at_eva).await;
    let public = next_message(&mut at_eva).await;
    let mut seen = [&private.payload[..], &public.payload[..]];
    seen.sort_unstable();
    assert_eq!(seen, [&b"between us"[..], b"for all"]);
    assert_eq!(&next_message(&mut at_ana).await.payload[..], b"for all", "ana never sees the private message");
    assert!(ben.send_to(&["nobody".parse().unwrap()], "chat", b"x").await.is_err());

    assert_eq!(eva.leave().await.unwrap(), Cause::Left);
    wait_members(&ana, &["ana", "ben"]).await;
    assert!(world.join("eva").await.0.members().len() >= 3, "who left can come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_with_one_leader_stopped_and_comes_back_with_it() {
    let mut world = World::start(&["ana", "ben"], quick_policy()).await;
    let (ana, mut at_ana) = world.join("ana").await;
    world.stop(2).await;
    let (ben, mut at_ben) = world.join("ben").await;
    wait_members(&ana, &["ana", "ben"]).await;
    ana.multicast("chat", b"with three leaders").await.unwrap();
    assert_eq!(&next_message(&mut at_ben).await.payload[..], b"with three leaders");

    world.run(2).await;
    let leader = |event| match event {
        Event::LeaderAnswers(id, true) if id.number() == 2 => Some(()),
        _ => None,
    };
    wait_for(&mut at_ana, "leader 2 to confirm again", leader).await;
    world.stop(3).await;
    ben.multicast("chat", b"with another three").await.unwrap();
    assert_eq!(&next_message(&mut at_ana).await.payload[..], b"with another three");
    ben.leave().await.unwrap();
    wait_members(&ana, &["ana"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_leaders_stopped_nobody_joins_and_members_say_so() {
    let mut world = World::start(&["ana", "ben", "eva"], quick_policy()).await;
    let (ana, mut at_ana) = world.join("ana").await;
    let (ben, mut at_ben) = world.join("ben").await;
    wait_members(&ana, &["ana", "ben"]).await;
    // The last leader must know them both before it is alone.
    wait_heard(&ana).await;
    wait_heard(&ben).await;
    let before = ana.snapshot().view;
    world.stop(1).await;
    world.stop(2).await;
    world.stop(3).await;
    for events in [&mut at_ana, &mut at_ben] {
        wait_for(events, "the warning", |event| {
            matches!(event, Event::Confirmation(Confirmation::Unconfirmed)).then_some(())
        })
        .await;
    }
    let joined = world.try_join("eva", "eva's password", Duration::from_secs(3)).await;
    assert!(matches!(joined, Err(JoinError::Timeout { .. })), "{joined:?}");

    ana.multicast("chat", b"still here").await.unwrap();
    assert_eq!(&next_message(&mut at_ben).await.payload[..], b"still here", "under the last key");
    assert_eq!(ana.snapshot().view, before);

    for leader in 1..=3 {
        world.run(leader).await;
    }
    wait_for(&mut at_ana, "the all-clear", |event| {
        matches!(event, Event::Confirmation(Confirmation::Current)).then_some(())
    })
    .await;
    let _eva = world.join("eva").await;
    wait_members(&ana, &["ana", "ben", "eva"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_wrong_passwords_are_refused() {
    let world = World::start(&["ana"], quick_policy()).await;
    for (user, password) in [("ana", "wrong"), ("mallory", "anything")] {
        let refused = world.try_join(user, password, Duration::from_secs(10)).await;
        assert!(matches!(refused, Err(JoinError::NotAuthentic)), "{user}: {refused:?}");
    }
    world.join("ana").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_group_that_restarts_remembers_and_shares_no_key_with_before() {
    let mut world = World::start(&["ana", "ben"], quick_policy()).await;
    let (ana, _events) = world.join("ana").await;
    let before = ana.snapshot().view.unwrap();
    for leader in 1..=4 {
        world.stop(leader).await;
    }
    drop(ana);
    for leader in 1..=4 {
        world.run(leader).await;
    }
    let (ben, mut events) = world.join("ben").await;
    assert_ne!(ben.snapshot().view.unwrap().digest, before.digest);
    // Two leaders that had not heard of ana may come first; all remember her once they have compared.
    wait_for(&mut events, "a view after those of before", |_| {
        ben.snapshot().view.filter(|after| after.epoch > before.epoch && after.digest != before.digest)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_was_never_in_is_kept_out_by_two_operators() {
    let mut world = World::start(&["ana", "dan"], quick_policy()).await;
    let order = OperatorRequest::Expel("dan".parse().unwrap());
    for leader in [1, 2] {
        world.stop(leader).await;
        let options = LeaderOptions { order_patience: Duration::from_millis(200), ..LeaderOptions::default() };
        world.run_with(leader, options).await;
    }
    let (ana, _events) = world.join("ana").await;
    drop_request(&world.folders[0], &order).unwrap();
    drop_request(&world.folders[1], &order).unwrap();
    let waiting = |folder: &std::path::PathBuf| std::fs::read_dir(folder.join("state/inbox")).unwrap().count();
    let taken = async {
        while world.folders.iter().map(waiting).sum::<usize>() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, taken).await.expect("the orders are not taken");
    let refused = world.try_join("dan", "dan's password", DEADLINE).await;
    assert!(matches!(refused, Err(JoinError::Denied(Denial::Expelled(_)))), "{:?}", refused.err());
    assert_eq!(ana.members().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_expel_waits_for_a_leader_that_does_not_know_the_user_yet() {
    let world = World::start(&["ana", "dan"], quick_policy()).await;
    let order = OperatorRequest::Expel("dan".parse().unwrap());
    for folder in &world.folders[..2] {
        drop_request(folder, &order).unwrap();
    }
    // The leaders look at their inboxes twice a second: dan comes after they have.
    let (ana, _events) = world.join("ana").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (_dan, mut events) = world.join("dan").await;
    let cause = wait_for(&mut events, "dan's end", |event| match event {
        Event::Ended(cause) => Some(cause),
        _ => None,
    });
    assert_eq!(cause.await, Cause::Expelled);
    wait_members(&ana, &["ana"]).await;
    for folder in &world.folders[..2] {
        assert_eq!(std::fs::read_dir(folder.join("state/inbox")).unwrap().count(), 0, "the order is carried out");
    }
}
