use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LEADERS: PoolId = PoolId(0);
const MEMBERS: PoolId = PoolId(1);

fn limits(share: u32) -> PoolLimits {
    PoolLimits { share, lane_bytes_max: 4_000, bytes_max: 10_000 }
}

/// Inputs are numbers; peers too.
fn inbox() -> Inbox<u8, u64> {
    let mut inbox = Inbox::new([limits(1), limits(1)]);
    (0..4).for_each(|peer| inbox.open(peer, LEADERS));
    (10..16).for_each(|peer| inbox.open(peer, MEMBERS));
    inbox
}

/// Serves for `time`, and says what each peer used of it. Those in `loud` always have something waiting.
fn serve(inbox: &mut Inbox<u8, u64>, time: u64, loud: &[u8], cost: impl Fn(u8) -> u64) -> BTreeMap<u8, u64> {
    let mut used = BTreeMap::new();
    let mut spent = 0;
    while spent < time {
        for peer in loud {
            while inbox.push(peer, Urgency::Bulk, 500, 0).is_ok() {}
        }
        let Some((peer, _)) = inbox.pop() else { break };
        inbox.charge(&peer, cost(peer));
        spent += cost(peer);
        *used.entry(peer).or_default() += cost(peer);
    }
    used
}

#[test]
fn time_is_shared_and_not_inputs() {
    // One frame of peer 0 costs what a thousand of the others do.
    let cost = |peer| if peer == 0 { 20_000 } else { 20 };
    let used = serve(&mut inbox(), 4_000_000, &[0, 1, 2, 3], cost);
    for peer in 0..4 {
        let share = used[&peer];
        assert!((950_000..=1_050_000).contains(&share), "peer {peer} has had {share} of a million");
    }
}

#[test]
fn pools_share_as_they_were_told_and_lend_what_they_do_not_need() {
    let mut inbox = Inbox::new([limits(3), limits(1)]);
    (0..4).for_each(|peer| inbox.open(peer, LEADERS));
    inbox.open(10, MEMBERS);
    let used = serve(&mut inbox, 400_000, &[0, 1, 2, 3, 10], |_| 10);
    assert!((99_000..=101_000).contains(&used[&10]), "a quarter, however many the others are: {used:?}");
    let used = serve(&mut inbox, 100_000, &[10], |_| 10);
    assert!(used[&10] > 99_000, "everything, while nobody else wants it: {used:?}");
}

#[test]
fn a_debt_is_not_forgotten_by_being_quiet_and_nothing_is_saved_up() {
    let mut inbox = inbox();
    inbox.push(&0, Urgency::Bulk, 10, 1).unwrap();
    assert_eq!(inbox.pop(), Some((0, 1)));
    inbox.charge(&0, 1_000);
    // Peer 1 comes for the first time now, and peer 0 after it.
    let used = serve(&mut inbox, 900, &[0, 1], |_| 10);
    assert_eq!(used.get(&0), None, "it has had its share in advance: {used:?}");
    // Peer 2 was never here, and no member: both go on from now, and get no more than their share.
    serve(&mut inbox, 1_000_000, &[0, 1], |_| 10);
    let used = serve(&mut inbox, 100_000, &[0, 2], |_| 10);
    assert!(used[&0] > 48_000, "{used:?}");
    let used = serve(&mut inbox, 100_000, &[0, 10], |_| 10);
    assert!(used[&0] > 48_000, "{used:?}");
}

#[test]
fn signs_of_life_go_before_everybodys_bulk_but_not_without_end() {
    let mut inbox = inbox();
    for peer in [0, 1, 2] {
        for n in 0..3 {
            inbox.push(&peer, Urgency::Bulk, 10, n).unwrap();
        }
    }
    inbox.push(&3, Urgency::Bulk, 10, 8).unwrap();
    inbox.push(&3, Urgency::Prompt, 10, 9).unwrap();
    assert_eq!(inbox.pop(), Some((3, 9)));
    inbox.charge(&3, 10);
    (0..20).for_each(|n| inbox.push(&3, Urgency::Prompt, 10, n).unwrap());
    let next: Vec<u8> = (0..4)
        .filter_map(|_| {
            let (peer, _) = inbox.pop()?;
            inbox.charge(&peer, 10);
            Some(peer)
        })
        .collect();
    assert_eq!(next, [0, 1, 2, 3], "who has had more than others waits, however urgent");
}

#[test]
fn a_full_lane_refuses_its_own_peer_alone_and_an_empty_one_never_does() {
    let mut inbox = inbox();
    while inbox.push(&0, Urgency::Bulk, 436, 0).is_ok() {}
    assert_eq!(inbox.bytes_of(&0), 4_000);
    assert_eq!(inbox.push(&0, Urgency::Prompt, 1, 7), Err(Refused::Full(7)));
    while inbox.push(&1, Urgency::Bulk, 436, 0).is_ok() {}
    while inbox.push(&2, Urgency::Bulk, 436, 0).is_ok() {}
    assert_eq!(inbox.bytes(), 10_000, "the pool is full");
    assert_eq!(inbox.push(&3, Urgency::Bulk, 100_000, 5), Ok(()), "more than a lane holds goes alone");
    assert_eq!(inbox.push(&3, Urgency::Bulk, 1, 5), Err(Refused::Full(5)));
    assert_eq!(inbox.push(&10, Urgency::Bulk, 1, 5), Ok(()), "another pool");
    assert_eq!(inbox.push(&99, Urgency::Bulk, 1, 5), Err(Refused::NoLane(5)));
}

#[test]
fn what_is_held_waits_and_what_is_prompt_does_not() {
    let mut inbox = inbox();
    inbox.push(&10, Urgency::Bulk, 10, 1).unwrap();
    inbox.hold(&10);
    assert!(!inbox.has_work() && inbox.waiting() == 1);
    inbox.push(&10, Urgency::Prompt, 10, 2).unwrap();
    assert_eq!(inbox.pop(), Some((10, 2)));
    assert_eq!(inbox.pop(), None);
    inbox.release(&10);
    assert_eq!(inbox.pop(), Some((10, 1)));
}

#[test]
fn who_logs_in_takes_along_what_waits_and_who_goes_leaves_nothing() {
    let mut inbox = inbox();
    inbox.push(&0, Urgency::Bulk, 10, 1).unwrap();
    inbox.charge(&0, 1_000_000);
    inbox.open(0, MEMBERS);
    inbox.push(&10, Urgency::Bulk, 10, 2).unwrap();
    assert_eq!(inbox.pop(), Some((0, 1)), "what it owed among the others is theirs");
    inbox.close(&10);
    assert_eq!((inbox.pop(), inbox.bytes(), inbox.waiting(), inbox.has_work()), (None, 0, 0, false));
}

#[derive(Clone, Debug)]
enum Act {
    Push(u8, Urgency, usize),
    Pop(u64),
    Hold(u8),
    Release(u8),
    Reopen(u8),
    Move(u8, bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let peer = || prop_oneof![0u8..4, 10u8..16];
    let urgency = prop_oneof![1 => Just(Urgency::Prompt), 3 => Just(Urgency::Bulk)];
    let act = prop_oneof![
        12 => (peer(), urgency, 0usize..3_000).prop_map(|(p, u, b)| Act::Push(p, u, b)),
        8 => (0u64..5_000).prop_map(Act::Pop),
        1 => peer().prop_map(Act::Hold),
        1 => peer().prop_map(Act::Release),
        1 => peer().prop_map(Act::Reopen),
        1 => (peer(), any::<bool>()).prop_map(|(p, up)| Act::Move(p, up)),
    ];
    prop::collection::vec(act, 1..400)
}

proptest! {
    /// Against a plain model: what goes in comes out once and in order, and bytes are bounded and counted right.
    #[test]
    fn order_is_kept_and_bytes_are_bounded(acts in acts()) {
        let mut inbox = inbox();
        let mut model: BTreeMap<(u8, Urgency), Vec<(usize, u64)>> = BTreeMap::new();
        let mut number = 0;
        for act in acts {
            match act {
                Act::Push(peer, urgency, bytes) => {
                    number += 1;
                    let was = inbox.bytes_of(&peer);
                    match inbox.push(&peer, urgency, bytes, number) {
                        Ok(()) => model.entry((peer, urgency)).or_default().push((bytes + INPUT_OVERHEAD_BYTES, number)),
                        Err(refused) => {
                            prop_assert_eq!(refused, Refused::Full(number));
                            prop_assert!(was > 0, "an empty lane was refused");
                        }
                    }
                }
                Act::Pop(cost) => if let Some((peer, number)) = inbox.pop() {
                    let prompt = model.get(&(peer, Urgency::Prompt)).is_some_and(|queue| !queue.is_empty());
                    let urgency = if prompt { Urgency::Prompt } else { Urgency::Bulk };
                    let queue = model.get_mut(&(peer, urgency)).unwrap();
                    prop_assert_eq!(queue.remove(0).1, number);
                    inbox.charge(&peer, cost);
                },
                Act::Hold(peer) => inbox.hold(&peer),
                Act::Release(peer) => inbox.release(&peer),
                Act::Reopen(peer) => {
                    inbox.close(&peer);
                    inbox.open(peer, if peer < 4 { LEADERS } else { MEMBERS });
                    model.retain(|(of, _), _| *of != peer);
                }
                Act::Move(peer, up) => inbox.open(peer, if up { LEADERS } else { MEMBERS }),
            }
            let all = || model.values().flatten();
            prop_assert_eq!(inbox.bytes(), all().map(|(bytes, _)| bytes).sum::<usize>());
            prop_assert_eq!(inbox.waiting(), all().count());
            for peer in (0..4).chain(10..16) {
                let largest = 3_000 + INPUT_OVERHEAD_BYTES;
                prop_assert!(inbox.bytes_of(&peer) <= 4_000.max(largest));
            }
            prop_assert!(inbox.bytes() <= 2 * 10_000 + 10 * (3_000 + INPUT_OVERHEAD_BYTES));
        }
        (0..4).chain(10..16).for_each(|peer| inbox.release(&peer));
        let left = inbox.waiting();
        let served = std::iter::from_fn(|| inbox.pop()).count();
        prop_assert_eq!(served, left, "something was never served");
    }

    /// However loud the others are and whatever their inputs cost: a peer that comes back waits for one input of each
    /// other peer of its pool, and no more of its pool's time than those cost.
    #[test]
    fn nobody_waits_for_the_loud(
        costs in prop::collection::vec(1_000u64..1_000_000, 10),
        visits in prop::collection::vec((0usize..200, any::<bool>()), 1..20),
    ) {
        let mut inbox = inbox();
        let peers: Vec<u8> = (0..4).chain(10..16).collect();
        let cost = |peer: u8| costs[peers.iter().position(|p| *p == peer).unwrap()];
        let loud = [1u8, 2, 3, 10, 11, 12, 13, 14, 15];
        let fill = |inbox: &mut Inbox<u8, u64>| for peer in &loud {
            let urgency = if peer % 2 == 0 { Urgency::Prompt } else { Urgency::Bulk };
            while inbox.push(peer, urgency, 300, 0).is_ok() {}
        };
        for (between, prompt) in visits {
            for _ in 0..between {
                fill(&mut inbox);
                let (peer, _) = inbox.pop().unwrap();
                inbox.charge(&peer, cost(peer));
            }
            let owes = is_in_debt(&inbox);
            inbox.push(&0, if prompt { Urgency::Prompt } else { Urgency::Bulk }, 100, 7).unwrap();
            let (mut turns, mut others) = (BTreeMap::<u8, u32>::new(), 0);
            // Waiting is counted in what the others cost, not in how many inputs that is: cheap ones are many.
            let all_leaders: u64 = (1..4).map(cost).sum();
            let most = costs.iter().max().unwrap();
            loop {
                let is_late = others > all_leaders + 2 * most + 10 || turns.values().any(|turns| *turns > 1);
                prop_assert!(owes || !is_late, "never served: {turns:?}, {others}");
                fill(&mut inbox);
                let (peer, _) = inbox.pop().unwrap();
                if peer == 0 { break; }
                inbox.charge(&peer, cost(peer));
                if peer < 4 { *turns.entry(peer).or_default() += 1; } else { others += cost(peer); }
            }
            inbox.charge(&0, 1);
            if !owes {
                prop_assert!(turns.values().all(|turns| *turns == 1), "{turns:?}");
                // The members' pool has the same share: what ours had, and one input more on either side.
                let ours: u64 = turns.keys().map(|peer| cost(*peer)).sum();
                prop_assert!(others <= ours + 2 * most + 10, "{others} beside {ours}");
            }
        }
    }
}

/// Whether peer 0 has used more than those who are served now.
fn is_in_debt(inbox: &Inbox<u8, u64>) -> bool {
    let pool = &inbox.pools[0];
    pool.lanes[&0].used > pool.clock
}
