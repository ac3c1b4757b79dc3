//! A hacked leader is replaced, while members talk.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{World, quick_policy, wait_heard, wait_members};
use ringfort::protocol::LeaderId;
use ringfort::protocol::introduction::Facts;
use ringfort::{Event, Events, Group};
use ringfort_documents::{GROUP_FILE, read_group};
use ringfort_node::folder::{
    LeaderFolder, Making, NewLeader, OperatorRequest, RenewalOrder, drop_request, pack, take_place,
};
use ringfort_node::leader::{LeaderOptions, Told, run_leader};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

fn leader(number: u8) -> LeaderId {
    LeaderId::new(number).unwrap()
}

/// Says numbers until it is told to stop; gives how many.
fn talk(group: Group, stop: Arc<Mutex<bool>>) -> JoinHandle<u32> {
    tokio::spawn(async move {
        let mut said = 0u32;
        while !*stop.lock().unwrap() {
            group.multicast("chat", &said.to_be_bytes()).await.unwrap();
            said += 1;
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        group.flush().await.unwrap();
        said
    })
}

/// Hears two others say numbers, each in order and with none missing, until both have said so many.
fn hear(mut events: Events, until: Arc<Mutex<Option<u32>>>) -> JoinHandle<Vec<(String, u32)>> {
    tokio::spawn(async move {
        let mut heard: Vec<(String, u32)> = Vec::new();
        loop {
            let all = until.lock().unwrap().is_some_and(|sum| heard.iter().map(|(_, n)| *n).sum::<u32>() >= sum);
            if all {
                return heard;
            }
            match timeout(Duration::from_millis(200), events.next()).await {
                Ok(Some(Event::Message(message))) => {
                    let number = u32::from_be_bytes(message.payload[..].try_into().unwrap());
                    let sender = message.sender.to_string();
                    let place = heard.iter().position(|(name, _)| *name == sender).unwrap_or_else(|| {
                        heard.push((sender, 0));
                        heard.len() - 1
                    });
                    assert_eq!(heard[place].1, number, "from {}", heard[place].0);
                    heard[place].1 += 1;
                }
                Ok(Some(event @ (Event::Gap { .. } | Event::Lagged(_) | Event::Ended(_) | Event::Blamed(..)))) => {
                    panic!("{event:?}")
                }
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => panic!("the stay has ended"),
            }
        }
    })
}

/// Waits until a leader holds the next generation, and gives the file that the new machine needs.
async fn wait_packed(folder: &Path, to: &Path) {
    let packed = async {
        while pack(folder, to).is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), packed).await.expect("no generation was certified");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_is_replaced_while_members_talk_and_nothing_is_lost() {
    let mut world = World::start(&["ana", "ben", "eva", "dan"], quick_policy()).await;
    let (ana, at_ana) = world.join("ana").await;
    let (ben, at_ben) = world.join("ben").await;
    let (eva, at_eva) = world.join("eva").await;
    let groups = [ana.clone(), ben.clone(), eva.clone()];
    for group in &groups {
        wait_members(group, &["ana", "ben", "eva"]).await;
        wait_heard(group).await;
    }
    let (stop, until) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(None)));
    let talking: Vec<_> = groups.iter().map(|group| talk(group.clone(), stop.clone())).collect();
    let hearing: Vec<_> = [at_ana, at_ben, at_eva].into_iter().map(|events| hear(events, until.clone())).collect();

    // A fresh machine for the place of leader 2, at another address.
    let dir = tempfile::tempdir().unwrap();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let new = NewLeader {
        group_name: "test".into(),
        leader: leader(2),
        address: held.local_addr().unwrap().to_string(),
        facts: Facts::default(),
    };
    drop(held);
    Making::create(&dir.path().join("new"), new).unwrap();
    let making = Making::open(&dir.path().join("new")).unwrap();

    // Two operators order it.
    let order =
        RenewalOrder { newcomer: Some(Box::new(making.introduction().clone())), coordinator: leader(1), attempt: 1 };
    for place in [0, 2] {
        drop_request(&world.folders[place], &OperatorRequest::Renew(order.clone())).unwrap();
    }
    for place in [0, 2, 3] {
        wait_packed(&world.folders[place], &dir.path().join(format!("package-{place}"))).await;
    }
    let before = std::fs::read(world.folders[0].join("leader.toml")).unwrap();
    let folder = take_place(&making, &world.folders[0].join(GROUP_FILE), &dir.path().join("package-3")).unwrap();

    // One after the other is started again, and takes up its new shares. Leader 2 runs on as it was.
    let told = Arc::new(Mutex::new(Vec::new()));
    for number in [1usize, 3, 4] {
        world.stop(number).await;
        if number == 4 {
            // This one tells who was refused.
            let open = LeaderFolder::open(&world.folders[3]).unwrap();
            let told = told.clone();
            let observe = move |event: &Told<'_>| {
                if let Told::Retired(leader) = event {
                    told.lock().unwrap().push(*leader);
                }
            };
            let (_hold, stopped) = oneshot::channel::<()>();
            tokio::spawn(async move {
                run_leader(open, LeaderOptions::default(), observe, async { drop(stopped.await) }).await.unwrap();
            });
            std::mem::forget(_hold);
        } else {
            world.run(number).await;
        }
        let confirms = async {
            let confirmed = |group: &Group| group.snapshot().leaders[number - 1].confirms;
            while !groups.iter().all(confirmed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(30), confirms).await.unwrap_or_else(|_| panic!("leader {number} is not believed"));
    }
    assert_ne!(std::fs::read(world.folders[0].join("leader.toml")).unwrap(), before);
    assert!(!world.folders[0].join("state/renewal").exists(), "what opens the shares is gone");
    let now = read_group(&world.folders[0].join(GROUP_FILE)).unwrap();
    assert_eq!((now.id(), now.generation()), (world.info.id(), 1));

    // The new machine comes in, and members believe it.
    let open = LeaderFolder::open(&folder).unwrap();
    let (_hold, stopped) = oneshot::channel::<()>();
    let new = tokio::spawn(async move {
        run_leader(open, LeaderOptions::default(), |_| {}, async { drop(stopped.await) }).await.unwrap();
    });
    for group in &groups {
        wait_heard(group).await;
    }
    // The old one, with its old folder, runs on and is refused and named.
    let named = async {
        while !told.lock().unwrap().contains(&leader(2)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), named).await.expect("the old leader 2 is not named");

    // Whoever was away all the time comes with the group file it had, also while another leader is down.
    world.stop(3).await;
    let (dan, _events) = world.join("dan").await;
    wait_members(&ana, &["ana", "ben", "dan", "eva"]).await;
    wait_members(&dan, &["ana", "ben", "dan", "eva"]).await;

    *stop.lock().unwrap() = true;
    let mut said = Vec::new();
    for task in talking {
        said.push(timeout(Duration::from_secs(30), task).await.unwrap().unwrap());
    }
    // Who talks does not hear itself.
    let all: u32 = said.iter().sum();
    for (task, own) in hearing.into_iter().zip(&said) {
        *until.lock().unwrap() = Some(all - own);
        let heard = timeout(Duration::from_secs(30), task).await.unwrap().unwrap();
        assert_eq!(heard.iter().map(|(_, n)| *n).sum::<u32>(), all - own);
    }
    assert!(said.iter().all(|n| *n > 100), "{said:?}");
    new.abort();
}
