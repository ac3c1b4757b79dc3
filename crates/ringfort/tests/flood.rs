//! A hacked leader that floods the others with work: they go on, and nobody honest waits for it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{World, quick_policy, wait_heard, wait_members};
use ringfort::protocol::coordination::{Operation, SignedProposal};
use ringfort::protocol::view::Cause;
use ringfort::protocol::wire::{self, PROPOSALS_MAX, PeerMessage};
use ringfort::protocol::{GroupInfo, Incarnation, MemberId, Policy};
use ringfort_link::{Class, ConnectOptions, LinkKey, LinkPublicKey, connect};
use ringfort_node::folder::LeaderFolder;
use tokio::task::JoinSet;

/// Frames that each cost a leader some two milliseconds: signed proposals about nobody, none of which it knows.
fn costly_frame(group: &GroupInfo, folder: &std::path::Path) -> Bytes {
    let secrets = LeaderFolder::open(folder).unwrap().secrets;
    let nobody = |stay| MemberId { user: "nobody".parse().unwrap(), incarnation: Incarnation(stay) };
    let stays = 2..2 + u64::try_from(PROPOSALS_MAX).unwrap();
    let removals = stays.map(|stay| Operation::Remove(nobody(stay), Cause::Left));
    let sign = |removal| SignedProposal::sign(&secrets.signing, secrets.id, group.session(), removal, false);
    wire::plain(&PeerMessage::Proposals(removals.map(sign).collect()))
}

/// The first leader's machine, in an attacker's hands: it sends what it likes to all others, as fast as they take it.
fn flood(world: &World, frame: &Bytes, sent: &Arc<AtomicU64>) -> JoinSet<()> {
    let mut attackers = JoinSet::new();
    for leader in &world.info.leaders[1..] {
        let key = LinkKey::from_seed(*LeaderFolder::open(&world.folders[0]).unwrap().secrets.link.expose());
        let (address, server) = (leader.address.clone(), LinkPublicKey(leader.link_key));
        let (frame, sent) = (frame.clone(), sent.clone());
        attackers.spawn(async move {
            loop {
                let Ok(link) = connect(&address, server, Some(&key), &ConnectOptions::default()).await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                link.authenticated();
                let (sender, _receiver) = link.split();
                while !sender.is_closed() {
                    sender.ready().await;
                    if sender.send(Class::Data, frame.clone()).is_ok() {
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    attackers
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leader_floods_the_others_and_people_come_and_go_all_the_same() {
    let policy = Policy { confirm_within_ms: 3_000, remove_silent_after_ms: 60_000, ..quick_policy() };
    let mut world = World::start(&["ana", "ben", "dan"], policy).await;
    let began = Instant::now();
    let (ana, _at_ana) = world.join("ana").await;
    let calm = began.elapsed();
    wait_heard(&ana).await;
    world.stop(1).await;
    let frame = costly_frame(&world.info, &world.folders[0]);
    let sent = Arc::new(AtomicU64::new(0));
    let attackers = flood(&world, &frame, &sent);
    tokio::time::sleep(Duration::from_secs(3)).await;

    let began = Instant::now();
    let (ben, _at_ben) = world.join("ben").await;
    let joined = began.elapsed();
    // A busy machine takes longer for everything.
    assert!(joined < Duration::from_secs(5).max(10 * calm), "a join took {joined:?}, and {calm:?} without the flood");
    wait_members(&ana, &["ana", "ben"]).await;
    for leader in &ana.snapshot().leaders[1..] {
        assert!(leader.answers, "leader {} is shown as silent", leader.leader.number());
        assert_eq!(leader.caught, None, "leader {}", leader.leader.number());
    }
    ben.leave().await.unwrap();
    wait_members(&ana, &["ana"]).await;
    assert!(sent.load(Ordering::Relaxed) > 100, "no flood was made");
    drop(attackers);
}
