//! Two programs of one user that announce the same stay, each with keys of its own: what leaders have voted for stands, and one
//! of the two prevails when the other has been in for a while.

use bytes::Bytes;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::coordination::Operation;
use ringfort_protocol::data::{Identity, KeyedView, Shape, seal_multicast};
use ringfort_protocol::fault::{Culprit, Fault};
use ringfort_protocol::leader::Event;
use ringfort_protocol::policy::{Origin, Policy, Service};
use ringfort_protocol::wire::MemberRequest;
use ringfort_protocol::{LeaderId, Seq};
use ringfort_sim::bench::{Bench, Hands, Route, l, topic, user};

/// Ana's first program is in, and her second one's keys will prevail as soon as what leader 3 voted for gets out.
struct Twins {
    bench: Bench,
    key: SigningKey,
    first: Hands,
    second: Hands,
    ben: usize,
}

impl Twins {
    fn new(change: impl Fn(&mut Policy)) -> Twins {
        let higher = |twins: &Twins| {
            let content = |of: &Hands| Operation::Join(of.me.entry()).content();
            content(&twins.second) > content(&twins.first)
        };
        (1..64).map(|seed| Twins::of(seed, &change)).find(higher).expect("every other pair of keys is in this order")
    }

    fn of(seed: u64, change: impl Fn(&mut Policy)) -> Twins {
        let mut bench = Bench::new(seed, None, |policy| {
            // Hands answer no challenges.
            policy.remove_silent_after_ms = 60_000;
            change(policy);
        });
        let ben = bench.member("ben");
        let key = bench.register("ana");
        bench.hold = Box::new(|route, _| matches!(route, Route::Peer(from, _) if *from == l(3)));
        let second = Hands::log_in_alone(&mut bench, "ana", &key, 1, l(3)).expect("she is registered");
        let first = Hands::log_in(&mut bench, "ana", &key, 1).expect("she is registered");
        bench.pass(700);
        assert!(bench.sees(ben, "ana"), "her first program is in");
        Twins { bench, key, first, second, ben }
    }

    /// What leader 3 voted for gets out, and leader 4 votes for it.
    fn second_prevails(&mut self) {
        self.bench.release();
        let join = Operation::Join(self.second.me.entry());
        let vote = self.bench.vote(l(4), &join, false);
        (1..=3).for_each(|to| self.bench.push_peer(l(4), l(to), &vote));
        self.bench.pass(1_000);
        for id in self.bench.leader_ids().filter(|id| *id != l(4)) {
            let members = self.bench.leader(id).members();
            assert_eq!(members.get(&user("ana")), Some(&self.second.me.entry()), "at {id}");
        }
    }

    fn signed(&self, me: &Identity, seq: u64, words: &[u8]) -> Bytes {
        let (key, view) = (self.bench.key(self.ben).expect("a key"), self.bench.view(self.ben).expect("a view"));
        let mut view = KeyedView::new(view, Secret32::new(key));
        let shape = Shape::of(&self.bench.group.policy);
        seal_multicast(&shape, me, &mut view, (Service::Fifo, Seq(seq), Seq(1)), &topic(), words)
    }

    fn sends(&mut self, link: ringfort_protocol::LinkId, to: LeaderId, frame: &Bytes) {
        self.bench.on_leader(to, |core, cx| core.on_member_frame(cx, link, frame));
        self.bench.pass(300);
    }

    /// Whom honest nodes blame for what only a deviating one does.
    fn blamed(&self) -> Vec<(Culprit, Fault)> {
        let honest = self.bench.leader_ids().filter(|id| *id != l(4));
        let faults = honest.flat_map(|id| self.bench.faults_at(id));
        faults.filter(|(_, fault)| fault.is_deviation()).collect()
    }

    fn convicted(&self) -> bool {
        self.bench.events.iter().any(|(_, event)| matches!(event, Event::Convicted(_)))
    }
}

fn play(origin: Origin) {
    let mut twins = Twins::new(|policy| policy.origin = origin);
    let old = twins.signed(&twins.first.me, 1, b"from the first");
    for to in [1, 2] {
        let link = twins.first.link(l(to));
        twins.sends(link, l(to), &old);
    }
    assert_eq!(twins.bench.times_heard(twins.ben, b"from the first"), 1);
    twins.second_prevails();
    for to in [1, 2] {
        twins.second.log_in_at(&mut twins.bench, l(to), &twins.key).expect("it is a member");
    }
    twins.bench.pass(300);
    // What the first program said comes late once more, from a hacked leader.
    twins.bench.push_down(twins.ben, l(4), &old);
    for seq in 1..=3 {
        let frame = twins.signed(&twins.second.me, seq, format!("from the second, {seq}").as_bytes());
        for to in [1, 2] {
            let link = twins.second.link(l(to));
            twins.sends(link, l(to), &frame);
        }
    }
    twins.bench.push_down(twins.ben, l(4), &old);
    // It is gone long ago, and what the second one said is still known: nothing is forgotten with the first.
    twins.bench.pass(3_000);
    assert_eq!(twins.blamed(), []);
    let heard = twins.bench.heard(twins.ben);
    let heard: Vec<_> = heard.iter().map(|words| String::from_utf8_lossy(words)).collect();
    let second = ["from the second, 1", "from the second, 2", "from the second, 3"];
    assert_eq!(heard, [&["from the first"][..], &second].concat());
}

#[test]
fn whose_keys_prevail_is_heard_and_not_blamed_for_what_the_other_program_said() {
    play(Origin::Signature);
    play(Origin::Group);
}

#[test]
fn who_accuses_a_program_whose_keys_did_not_prevail_is_not_blamed() {
    let mut twins = Twins::new(|policy| policy.expel_on_evidence = true);
    let key = twins.bench.register("cy");
    let mut cy = Hands::log_in(&mut twins.bench, "cy", &key, 1).expect("registered");
    twins.bench.pass(700);
    // Her first program did make two messages of one number, and cy has both.
    let frames = [b"yes".as_slice(), b"no"].map(|words| twins.signed(&twins.first.me, 1, words));
    twins.second_prevails();
    for frame in frames {
        cy.ask(&mut twins.bench, l(1), &MemberRequest::Accuse(frame.to_vec()));
    }
    assert_eq!(twins.blamed(), []);
    assert!(!twins.convicted() && twins.bench.sees(twins.ben, "ana"), "the program that is in did nothing");
}

#[test]
fn two_programs_that_each_made_one_message_of_a_number_convict_nobody() {
    let mut twins = Twins::new(|policy| policy.expel_on_evidence = true);
    let key = twins.bench.register("cy");
    let mut cy = Hands::log_in(&mut twins.bench, "cy", &key, 1).expect("registered");
    twins.bench.pass(700);
    // Both under the view in which the first is in: the second may have the key of it, too.
    let frames = [twins.signed(&twins.first.me, 1, b"yes"), twins.signed(&twins.second.me, 1, b"no")];
    cy.ask(&mut twins.bench, l(1), &MemberRequest::Accuse(frames[0].to_vec()));
    twins.second_prevails();
    cy.ask(&mut twins.bench, l(1), &MemberRequest::Accuse(frames[1].to_vec()));
    assert!(!twins.convicted(), "neither program made two");
    assert_eq!(twins.blamed(), []);
}
