//! Whole clusters: whatever the order, the loss and one arbitrary leader, the same state (A8, A12, P5).

use proptest::prelude::*;

use super::*;

/// Something that happens at honest leaders.
#[derive(Clone, Debug)]
enum Deed {
    /// All honest leaders authenticate this stay of this user.
    Join(usize, u64),
    /// The user asks all honest leaders to end this stay.
    Leave(usize, u64),
    /// Leaders 1 to f+1 notice that the user is gone.
    Lose(usize, u64),
    /// A refresh is due everywhere.
    Refresh,
    /// The message at this place is delivered, or delivered and kept.
    Deliver(usize, bool),
}

const NAMES: [&str; 3] = ["ana", "bo", "cy"];

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => (0usize..3, 1u64..4).prop_map(|(who, stay)| Deed::Join(who, stay)),
        1 => (0usize..3, 1u64..4).prop_map(|(who, stay)| Deed::Leave(who, stay)),
        1 => (0usize..3, 1u64..4).prop_map(|(who, stay)| Deed::Lose(who, stay)),
        1 => Just(Deed::Refresh),
        12 => (any::<usize>(), any::<bool>()).prop_map(|(place, keep)| Deed::Deliver(place, keep)),
    ]
}

fn perform(cluster: &mut Cluster, deed: &Deed) {
    let all: Vec<u8> = cluster.ids().iter().map(|id| id.number()).collect();
    let few = &all[..usize::from(cluster.group.rules.f()) + 1];
    match deed {
        Deed::Join(who, stay) => cluster.admit(&all, &entry(NAMES[*who], *stay)),
        Deed::Leave(who, stay) => cluster.remove(&all, &entry(NAMES[*who], *stay).id, Cause::Left),
        Deed::Lose(who, stay) => cluster.remove(few, &entry(NAMES[*who], *stay).id, Cause::Lost),
        Deed::Refresh => all.iter().for_each(|number| cluster.step(*number, Coordination::refresh)),
        Deed::Deliver(place, keep) => {
            if cluster.mail.is_empty() {
                return;
            }
            let place = place % cluster.mail.len();
            if *keep {
                let copy = cluster.mail[place].clone();
                cluster.mail.push_back(copy);
            }
            cluster.deliver_at(place);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Joins that all leaders authenticate at once are all accepted, in any order of delivery.
    #[test]
    fn concurrent_joins_are_all_accepted(
        seven: bool,
        deliveries in prop::collection::vec((any::<usize>(), any::<bool>()), 0..120),
    ) {
        let (n, f) = if seven { (7, 2) } else { (4, 1) };
        let mut cluster = Cluster::new(n, f, f); // f leaders never answer
        (0..3).for_each(|who| perform(&mut cluster, &Deed::Join(who, 1)));
        deliveries.iter().for_each(|(place, keep)| perform(&mut cluster, &Deed::Deliver(*place, *keep)));
        cluster.deliver_all();
        cluster.assert_same();
        prop_assert_eq!(cluster.at(1).members().len(), 3);
        prop_assert_eq!(cluster.at(1).epoch(), Epoch(3));
        prop_assert_eq!(&cluster.blames, &vec![]);
    }

    /// Whatever is asked, and however messages are delayed and repeated, honest leaders agree in the end.
    #[test]
    fn honest_leaders_converge(deeds in prop::collection::vec(deed(), 1..80)) {
        let mut cluster = Cluster::new(4, 1, 0);
        deeds.iter().for_each(|deed| perform(&mut cluster, deed));
        cluster.deliver_all();
        (0..3).for_each(|_| cluster.compare());
        cluster.assert_same();
        prop_assert_eq!(&cluster.blames, &vec![]);
    }

    /// Messages that are lost are made up for by comparison, with f leaders absent.
    #[test]
    fn loss_is_made_up_for(
        deeds in prop::collection::vec(deed(), 1..60),
        lost in prop::collection::vec(any::<bool>(), 64),
    ) {
        let mut cluster = Cluster::new(4, 1, 1);
        for (deed, lose) in deeds.iter().zip(lost.iter().cycle()) {
            perform(&mut cluster, deed);
            if *lose {
                cluster.mail.pop_front();
            }
        }
        cluster.mail.clear();
        (0..6).for_each(|_| cluster.compare());
        cluster.assert_same();
    }

    /// One leader says anything to anybody: the others agree all the same, and on nothing that none of them saw.
    #[test]
    fn one_arbitrary_leader_changes_nothing(
        deeds in prop::collection::vec(deed(), 1..40),
        lies in prop::collection::vec((lie(), 1u8..4, any::<usize>()), 1..40),
    ) {
        let mut cluster = Cluster::new(4, 1, 1);
        let mut lies = lies.into_iter();
        for deed in &deeds {
            perform(&mut cluster, deed);
            if let Some(((operation, accepted), to, place)) = lies.next() {
                let key = &cluster.secrets[3].signing;
                let said = SignedProposal::sign(key, leader(4), cluster.group.session(), operation, accepted);
                let place = place % (cluster.mail.len() + 1);
                cluster.mail.insert(place, (leader(4), leader(to), PeerMessage::Proposals(vec![said])));
            }
        }
        cluster.deliver_all();
        (0..6).for_each(|_| cluster.compare());
        cluster.assert_same();
        for entry in cluster.at(1).members().clone().iter() {
            let asked = deeds.iter().any(|deed| matches!(
                deed, Deed::Join(who, stay) if entry == &super::entry(NAMES[*who], *stay)
            ));
            prop_assert!(asked, "{} was authenticated by nobody", entry.id);
        }
        prop_assert!(cluster.blames.iter().all(|(culprit, _)| *culprit == leader(4)));
    }
}

/// What a hacked leader may say.
fn lie() -> impl Strategy<Value = (Operation, bool)> {
    let operation = (0usize..3, 1u64..5, 0u8..5).prop_map(|(who, stay, kind)| match kind {
        0 => join(NAMES[who], stay),
        1 => Operation::Join(MemberEntry { id: entry(NAMES[who], stay).id, ..entry("eve", 1) }),
        2 => remove(NAMES[who], stay, Cause::Expelled),
        3 => remove(NAMES[who], stay, Cause::Left),
        _ => Operation::Refresh(stay),
    });
    (operation, any::<bool>())
}

/// A user that shows different keys to different leaders harms nobody but itself.
#[test]
fn a_user_with_two_faces_ends_up_with_one() {
    let mut cluster = Cluster::new(4, 1, 0);
    let (one, other) = (entry("ana", 1), MemberEntry { id: entry("ana", 1).id, ..entry("eve", 1) });
    cluster.admit(&[1, 2], &one);
    cluster.admit(&[3, 4], &other);
    cluster.deliver_all();
    cluster.assert_same();
    assert_eq!(cluster.at(1).members().len(), 1);
    assert_eq!(cluster.at(1).epoch(), Epoch(1));
}

/// The second face is accepted by one leader, and the votes for it to the two others are lost.
#[test]
fn two_faces_are_settled_even_if_votes_are_lost() {
    let (one, other) = (entry("ana", 1), MemberEntry { id: entry("ana", 1).id, ..entry("eve", 1) });
    let content = |entry: &MemberEntry| Operation::Join(entry.clone()).content();
    let (low, high) = if content(&one) < content(&other) { (one, other) } else { (other, one) };
    let mut cluster = Cluster::new(4, 1, 1);
    cluster.admit(&[1, 2], &low);
    cluster.admit(&[3], &high);
    // Leader 3's vote for the second face reaches leader 2 and never leader 1.
    cluster.mail.retain(|(from, to, _)| !(from.number() == 3 && to.number() == 1));
    cluster.deliver_all();
    let kept = |cluster: &mut Cluster, number: u8| cluster.at(number).members().get(&user("ana")).cloned();
    assert_eq!((1..=3).map(|number| kept(&mut cluster, number)).collect::<Vec<_>>(), vec![Some(low); 3]);

    let key = &cluster.secrets[3].signing;
    let session = cluster.group.session();
    let by_the_hacked = SignedProposal::sign(key, leader(4), session, Operation::Join(high.clone()), false);
    cluster.step(2, |state| state.on_proposals(leader(4), vec![by_the_hacked]));
    assert_eq!(kept(&mut cluster, 2), Some(high.clone()), "3 votes: its own, leader 3's and the hacked one's");
    cluster.mail.clear();
    (0..4).for_each(|_| cluster.compare());
    cluster.assert_same();
    assert_eq!(kept(&mut cluster, 1), Some(high));
}
