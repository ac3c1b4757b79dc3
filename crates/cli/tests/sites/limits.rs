//! What one client may take, what a slow one costs the others, and what each is told.

use std::time::Duration;

use ringfort_peer::Service;
use ringfort_site::client::{self, ClientError, Incoming, group};
use ringfort_spread::client::Received;
use ringfort_spread::{LARGE_BYTES_MAX, NAME_BYTES};

use super::process::eventually;
use super::world::World;

/// More than may wait for one client.
const MESSAGES: u64 = 260;
const MESSAGE_BYTES: usize = 100_000;

async fn message(incoming: &mut Incoming) -> Result<Vec<u8>, ClientError> {
    loop {
        if let Received::Message { data, .. } = incoming.next().await? {
            return Ok(data.to_vec());
        }
    }
}

async fn is_in(incoming: &mut Incoming) {
    while !matches!(incoming.next().await.unwrap(), Received::Membership { .. }) {}
}

/// How many rings each site has been in.
fn rings(world: &World) -> Vec<u64> {
    (0..3).map(|n| world.report(n).unwrap().rings).collect()
}

/// Sends numbered messages as fast as the site takes them.
async fn flood(world: &World, site: usize) -> Result<(), ClientError> {
    let (mut sender, mut incoming) = client::connect(&world.door(site), Some("flood")).await?;
    let reading = tokio::spawn(async move { while incoming.next().await.is_ok() {} });
    for number in 0..MESSAGES {
        let mut data = vec![0; MESSAGE_BYTES];
        data[..8].copy_from_slice(&number.to_le_bytes());
        sender.multicast(Service::Agreed, &[group("g")?], false, &data).await?;
    }
    sender.disconnect().await?;
    let _ = reading.await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_slow_holds_its_senders_back_and_loses_nothing() {
    let world = World::running();
    let (mut sender, mut incoming) = client::connect(&world.door(0), Some("slow")).await.unwrap();
    sender.join(group("g").unwrap()).await.unwrap();
    is_in(&mut incoming).await;
    let before = rings(&world);
    let reading = async {
        for number in 0..MESSAGES {
            let data = message(&mut incoming).await.unwrap();
            assert_eq!(data[..8], number.to_le_bytes());
            // Some five megabytes a second.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (sent, ()) = tokio::join!(flood(&world, 2), reading);
    sent.unwrap();
    assert_eq!(world.report(0).unwrap().clients_cut, 0);
    assert_eq!(rings(&world), before, "the token is kept, and not lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_reads_nothing_holds_nobody_back_for_long_and_is_told_why_it_is_cut_off() {
    let world = World::running();
    let (mut sender, mut incoming) = client::connect(&world.door(0), Some("deaf")).await.unwrap();
    sender.join(group("g").unwrap()).await.unwrap();
    is_in(&mut incoming).await;
    let reading = async {
        while world.report(0).is_none_or(|report| report.clients_cut == 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut read = 0;
        loop {
            match message(&mut incoming).await {
                Ok(_) => read += 1,
                Err(error) => return (read, error),
            }
        }
    };
    let (sent, (read, told)) = tokio::join!(flood(&world, 2), reading);
    sent.unwrap();
    assert!(read < MESSAGES, "what waited for it is gone");
    assert!(matches!(told, ClientError::CutOff(_)), "{told:?}");
    assert!(told.to_string().contains("this site has cut this client off: it does not read"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_mebibyte_goes_from_site_to_site_and_a_larger_one_is_refused() {
    let world = World::running();
    let (mut ana, _incoming) = client::connect(&world.door(0), Some("ana")).await.unwrap();
    let (mut ben, mut incoming) = client::connect(&world.door(1), Some("ben")).await.unwrap();
    let to = [group("g").unwrap()];
    ben.join(to[0]).await.unwrap();
    is_in(&mut incoming).await;
    let large: Vec<u8> = (0..LARGE_BYTES_MAX - NAME_BYTES).map(|n| (n % 251) as u8).collect();
    ana.multicast(Service::Safe, &to, true, &large).await.unwrap();
    ana.multicast(Service::Agreed, &to, true, b"behind it").await.unwrap();
    assert!(message(&mut incoming).await.unwrap() == large);
    assert_eq!(message(&mut incoming).await.unwrap(), b"behind it");
    let refused = ana.multicast(Service::Agreed, &to, true, &[&large[..], &[0]].concat()).await.unwrap_err();
    assert!(refused.to_string().contains("this client sends at most 1048576 bytes"), "{refused}");
}

#[test]
fn a_site_that_hangs_up_is_not_said_to_refuse_a_key() {
    let mut world = World::new(None);
    // What listens there takes calls and hangs up: a machine that is starting, or too busy.
    let listener = std::net::TcpListener::bind(world.listen[1]).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    world.start(0);
    eventually("the log to say it", || world.said(0).contains("hangs up before it has said who it is").then_some(()));
    assert!(!world.said(0).contains("does not accept this site's key"), "{}", world.said(0));
}
