//! Tables 2 to 4 of "Secure Group Communication in Asynchronous Networks with Failures" (seed 004): what joins and leaves
//! cost in serial exponentiations, for every size up to fifty.
//!
//! The paper counts its own protocols, in which long-term keys are exponents. They are run here as the paper has them,
//! on the counting group, and every cell must come out. Then the protocols of this crate are counted: they cost what
//! is left of the table without long-term keys.

use std::collections::BTreeMap;

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringfort_peer::Name;
use ringfort_peer_keys::keys::{KeyView, Output, Protocol};
use ringfort_peer_keys::{Group, KeyProtocol, Rules};

use super::counting::{self, Counting};
use super::world::name;

type Exponent = <Counting as Group>::Exponent;
type Element = <Counting as Group>::Element;

const SIZES: std::ops::RangeInclusive<usize> = 2..=50;

/// What one member computes, and for what.
#[derive(Debug, Default, PartialEq, Eq)]
struct Costs(BTreeMap<&'static str, usize>);

impl Costs {
    fn raise(&mut self, what: &'static str, base: &Element, exponent: &Exponent) -> Element {
        counting::take();
        let result = Counting::raise(base, exponent);
        *self.0.entry(what).or_default() += counting::take().values().sum::<usize>();
        result
    }

    fn total(&self) -> usize {
        self.0.values().sum()
    }
}

/// A member of the paper's protocols.
struct Member {
    long_term: Exponent,
    public: Element,
    share: Exponent,
}

/// A group as Cliques has it: each member's partial is raised to the long-term keys that it has with whoever sent it on.
struct Cliques {
    members: Vec<Member>,
    /// The generator to all shares but the member's own, and to what blinds it.
    partials: Vec<Element>,
    /// What blinds a member's partial: long-term keys, all of which that member has.
    blinds: Vec<Exponent>,
    controller: usize,
}

fn fresh(rng: &mut ChaCha12Rng) -> Exponent {
    *Counting::random(rng)
}

fn member(rng: &mut ChaCha12Rng) -> Member {
    let long_term = fresh(rng);
    Member { public: Counting::generate(&long_term), long_term, share: fresh(rng) }
}

fn long_term_key(costs: &mut Costs, mine: &Member, other: &Member) -> Exponent {
    *Counting::to_exponent(&costs.raise("long-term key", &other.public, &mine.long_term))
}

impl Cliques {
    /// One member, who is the controller.
    fn new(rng: &mut ChaCha12Rng) -> Self {
        let (partials, blinds) = (vec![Counting::generator()], vec![Exponent::ONE]);
        Cliques { members: vec![member(rng)], partials, blinds, controller: 0 }
    }

    /// §4.1. What the controller and the newcomer compute.
    fn join(&mut self, rng: &mut ChaCha12Rng) -> (Costs, Costs) {
        let (mut controller, mut newcomer) = (Costs::default(), Costs::default());
        let (old, joins) = (self.controller, member(rng));
        // The controller redraws its share, and brings every partial up to date: n-1 of them, the newcomer's too.
        let redrawn = fresh(rng);
        let change = Counting::ratio(&redrawn, &self.members[old].share);
        for place in (0..self.members.len()).filter(|place| *place != old) {
            self.partials[place] = controller.raise("update of shares", &self.partials[place], &change);
        }
        let common = long_term_key(&mut controller, &self.members[old], &joins);
        let factor = redrawn * common * *Counting::inverse(&self.blinds[old]);
        let for_newcomer = controller.raise("update of shares", &self.partials[old], &factor);
        self.members[old].share = redrawn;
        // The newcomer puts in its share and the long-term key that it has with each, by one exponentiation.
        for place in 0..self.members.len() {
            let with = long_term_key(&mut newcomer, &joins, &self.members[place]);
            let factor = joins.share * with;
            self.partials[place] = newcomer.raise("encryption of the session key", &self.partials[place], &factor);
            self.blinds[place] *= with;
        }
        self.partials.push(for_newcomer);
        self.blinds.push(common);
        self.members.push(joins);
        self.controller = self.members.len() - 1;
        let session = self.session(self.controller, &mut newcomer);
        assert_eq!(self.session(old, &mut controller), session);
        (controller, newcomer)
    }

    /// §4.3. A member leaves; where it is the controller, the newest of the others takes over, with the list it holds.
    fn leave(&mut self, leaver: usize, rng: &mut ChaCha12Rng) -> Costs {
        let mut costs = Costs::default();
        self.members.remove(leaver);
        self.partials.remove(leaver);
        self.blinds.remove(leaver);
        let now = self.members.len() - 1;
        let redrawn = fresh(rng);
        let change = Counting::ratio(&redrawn, &self.members[now].share);
        let without = Counting::inverse(&self.blinds[now]);
        self.partials[now] = costs.raise("removal of the long-term key", &self.partials[now], &without);
        self.blinds[now] = Exponent::ONE;
        for place in 0..now {
            self.partials[place] = costs.raise("encryption of the session key", &self.partials[place], &change);
        }
        self.members[now].share = redrawn;
        self.controller = now;
        let _ = self.session(now, &mut costs);
        costs
    }

    /// The session key as a member computes it.
    fn session(&self, place: usize, costs: &mut Costs) -> Element {
        let without = Counting::inverse(&self.blinds[place]);
        costs.raise("session key", &self.partials[place], &(self.members[place].share * *without))
    }

    fn have_one_key(&self) -> bool {
        let key = self.session(0, &mut Costs::default());
        (1..self.members.len()).all(|place| self.session(place, &mut Costs::default()) == key)
    }
}

#[test]
fn cliques_costs_what_tables_2_to_4_say() {
    for n in SIZES {
        let mut rng = ChaCha12Rng::seed_from_u64(n as u64);
        let mut group = Cliques::new(&mut rng);
        while group.members.len() < n - 1 {
            group.join(&mut rng);
        }
        let (controller, newcomer) = group.join(&mut rng);
        let expected =
            |costs: &[(&'static str, usize)]| Costs(costs.iter().copied().filter(|(_, count)| *count > 0).collect());
        assert_eq!(
            controller,
            expected(&[("update of shares", n - 1), ("long-term key", 1), ("session key", 1)]),
            "join, controller, n = {n}"
        );
        assert_eq!(
            newcomer,
            expected(&[("long-term key", n - 1), ("encryption of the session key", n - 1), ("session key", 1)]),
            "join, new member, n = {n}"
        );
        assert_eq!((controller.total(), newcomer.total()), (n + 1, 2 * n - 1));
        assert_eq!(controller.total() + newcomer.total(), 3 * n);
        assert!(group.have_one_key(), "n = {n}");
        let table = [("removal of the long-term key", 1), ("session key", 1), ("encryption of the session key", n - 2)];
        // The controller stays, or goes: both cost n.
        for leaver in [0, n - 1] {
            let costs = group.leave(leaver, &mut rng);
            assert_eq!(costs, expected(&table), "leave, n = {n}");
            assert_eq!(costs.total(), n);
            assert!(group.have_one_key(), "n = {n}");
            group.join(&mut rng);
        }
    }
}

/// A group as the paper's appendix has it: the oldest member has a key with each other member.
struct Distribution {
    members: Vec<Member>,
    /// The controller's key with each other member.
    pairs: Vec<Exponent>,
}

impl Distribution {
    fn new(rng: &mut ChaCha12Rng) -> Self {
        Distribution { members: vec![member(rng)], pairs: Vec::new() }
    }

    /// Round 3: a fresh secret, raised to the key of each pair. Who is last opens what it got.
    fn distribute(&self, rng: &mut ChaCha12Rng, costs: &mut Costs) -> (Element, Vec<Element>) {
        let secret = costs.raise("session key", &Counting::generator(), &fresh(rng));
        let sealed =
            self.pairs.iter().map(|pair| costs.raise("encryption of the session key", &secret, pair)).collect();
        (secret, sealed)
    }

    fn join(&mut self, rng: &mut ChaCha12Rng) -> (Costs, Costs) {
        let (mut controller, mut newcomer) = (Costs::default(), Costs::default());
        let joins = member(rng);
        let first = &self.members[0];
        // Round 1 is drawn once. Round 2: the newcomer's share under the long-term key of the two.
        let announced = Counting::generate(&first.share);
        let common = long_term_key(&mut newcomer, &joins, first);
        let answer = newcomer.raise("encryption of the pair's secret", &Counting::generate(&joins.share), &common);
        let pair_there = *Counting::to_exponent(&newcomer.raise("pair key", &announced, &joins.share));
        let common = long_term_key(&mut controller, first, &joins);
        let exponent = first.share * *Counting::inverse(&common);
        let pair = *Counting::to_exponent(&controller.raise("pair key", &answer, &exponent));
        assert_eq!(pair, pair_there);
        self.pairs.push(pair);
        let (secret, sealed) = self.distribute(rng, &mut controller);
        let opened =
            newcomer.raise("decryption of the session key", &sealed[sealed.len() - 1], &Counting::inverse(&pair_there));
        assert_eq!(opened, secret);
        self.members.push(joins);
        (controller, newcomer)
    }

    fn leave(&mut self, rng: &mut ChaCha12Rng) -> Costs {
        let mut costs = Costs::default();
        self.members.pop();
        self.pairs.pop();
        let _ = self.distribute(rng, &mut costs);
        costs
    }

    /// The next oldest takes over, and needs a key with everybody.
    fn controller_leaves(&mut self, rng: &mut ChaCha12Rng) -> Costs {
        let mut costs = Costs::default();
        self.members.remove(0);
        let (first, others) = self.members.split_first().expect("somebody is left");
        self.pairs.clear();
        for other in others {
            let common = long_term_key(&mut costs, first, other);
            let answer = Counting::raise(&Counting::generate(&other.share), &common);
            let exponent = first.share * *Counting::inverse(&common);
            self.pairs.push(*Counting::to_exponent(&costs.raise("pair key", &answer, &exponent)));
        }
        let _ = self.distribute(rng, &mut costs);
        costs
    }
}

#[test]
fn ckd_costs_what_tables_2_to_4_say() {
    for n in SIZES {
        let mut rng = ChaCha12Rng::seed_from_u64(n as u64);
        let mut group = Distribution::new(&mut rng);
        while group.members.len() < n - 1 {
            group.join(&mut rng);
        }
        let (controller, newcomer) = group.join(&mut rng);
        let expected =
            |costs: &[(&'static str, usize)]| Costs(costs.iter().copied().filter(|(_, count)| *count > 0).collect());
        let sealed = ("encryption of the session key", n - 1);
        assert_eq!(controller, expected(&[("long-term key", 1), ("pair key", 1), ("session key", 1), sealed]));
        let four = ["long-term key", "pair key", "encryption of the pair's secret", "decryption of the session key"];
        assert_eq!(newcomer, expected(&four.map(|what| (what, 1))));
        assert_eq!((controller.total(), newcomer.total()), (n + 2, 4));
        assert_eq!(controller.total() + newcomer.total(), n + 6);
        let costs = group.leave(&mut rng);
        assert_eq!(costs, expected(&[("session key", 1), ("encryption of the session key", n - 2)]));
        assert_eq!(costs.total(), n - 1);
        group.join(&mut rng);
        let costs = group.controller_leaves(&mut rng);
        let table = [
            ("long-term key", n - 2),
            ("pair key", n - 2),
            ("session key", 1),
            ("encryption of the session key", n - 2),
        ];
        assert_eq!(costs, expected(&table));
        assert_eq!(costs.total(), 3 * n - 5);
    }
}

/// A group of this crate's protocol, without the frame around it: offers and messages go straight to all.
struct Ours {
    members: BTreeMap<Name, Protocol<Counting>>,
    kind: KeyProtocol,
    rng: ChaCha12Rng,
    views: u8,
}

impl Ours {
    fn new(kind: KeyProtocol) -> Self {
        Ours { members: BTreeMap::new(), kind, rng: ChaCha12Rng::seed_from_u64(1), views: 0 }
    }

    fn join(&mut self, n: usize) {
        let who = name(&format!("m{n:03}"));
        self.members.insert(who.clone(), Protocol::new(self.kind, who, Rules::all()));
    }

    /// One view: what each member computed, and how many messages there were.
    fn rekey(&mut self) -> (BTreeMap<String, usize>, usize) {
        self.views = self.views.wrapping_add(1);
        let names: Vec<Name> = self.members.keys().cloned().collect();
        let all = names.iter().cloned().collect();
        counting::take();
        let mut offers: Vec<Vec<u8>> = Vec::new();
        for (who, protocol) in &mut self.members {
            counting::act_as(&super::world::text(who));
            offers.push(protocol.offer(&mut self.rng, &all, false, false));
        }
        let members: Vec<(&Name, &[u8])> = names.iter().zip(offers.iter().map(Vec::as_slice)).collect();
        let mut secrets = BTreeMap::new();
        let mut queue = Vec::new();
        let mut messages = 0;
        let mut take = |who: &Name, output: Output, queue: &mut Vec<(Name, Vec<u8>)>| {
            queue.extend(output.messages.into_iter().map(|(_, bytes)| (who.clone(), bytes)));
            output.secret.map(|secret| secrets.insert(who.clone(), secret));
        };
        for (me, who) in names.iter().enumerate() {
            counting::act_as(&super::world::text(who));
            let view = KeyView { me, members: members.clone(), attempt: 0, context: [self.views; 32] };
            let output = self.members.get_mut(who).unwrap().start(&mut self.rng, &view);
            take(who, output, &mut queue);
        }
        while !queue.is_empty() {
            let (from, bytes) = queue.remove(0);
            messages += 1;
            for who in names.iter().filter(|who| **who != from) {
                counting::act_as(&super::world::text(who));
                let output = self.members.get_mut(who).unwrap().on_message(&mut self.rng, &from, &bytes);
                take(who, output, &mut queue);
            }
        }
        assert_eq!(secrets.len(), names.len(), "all have the secret");
        let first = secrets.values().next().unwrap();
        assert!(secrets.values().all(|secret| secret == first));
        self.members.values_mut().for_each(Protocol::commit);
        (counting::take(), messages)
    }
}

#[test]
fn gdh_costs_the_paper_s_count_less_long_term_keys() {
    for n in SIZES {
        let mut group = Ours::new(KeyProtocol::Gdh);
        (0..n - 1).for_each(|member| group.join(member));
        group.rekey();
        group.join(n - 1);
        let (costs, messages) = group.rekey();
        let (newcomer, controller) = (format!("m{:03}", n - 1), format!("m{:03}", n.saturating_sub(2)));
        assert_eq!((costs[&controller], costs[&newcomer]), (n + 1 - 1, 2 * n - 1 - (n - 1)), "join, n = {n}");
        assert_eq!(messages, 2);
        // The oldest leaves: the controller is who it was.
        group.members.pop_first();
        let (costs, messages) = group.rekey();
        assert_eq!(costs[&newcomer], n - 1, "leave, n = {n}");
        assert!(messages <= 1);
        assert!(costs.iter().all(|(who, count)| *who == newcomer || *count == 1));
    }
}

#[test]
fn a_merge_of_m_into_gdh_costs_every_newcomer_two_and_the_last_one_the_list() {
    for (n, m) in [(2, 2), (5, 3), (10, 7), (30, 20)] {
        let mut group = Ours::new(KeyProtocol::Gdh);
        (0..n).for_each(|member| group.join(member));
        group.rekey();
        (n..n + m).for_each(|member| group.join(member));
        let (costs, messages) = group.rekey();
        let last = format!("m{:03}", n + m - 1);
        // The token, one for each passing on; what everybody but the last sends back; the list.
        assert_eq!(messages, 1 + (m - 1) + 1 + (n + m - 1) + 1);
        assert_eq!(costs[&last], n + m, "one for each other member, and its own key");
        assert!((n..n + m - 1).all(|member| costs[&format!("m{member:03}")] == 3), "share, factor out, key");
    }
}

#[test]
fn sealed_ckd_costs_the_controller_one_exponentiation_for_each_member_and_the_others_two() {
    for n in SIZES {
        let mut group = Ours::new(KeyProtocol::Ckd);
        (0..n).for_each(|member| group.join(member));
        group.rekey();
        group.join(n);
        let (costs, messages) = group.rekey();
        assert_eq!((costs["m000"], messages), (n + 1, 1), "its key for the view, and one for each pair");
        assert!(costs.iter().all(|(who, count)| who == "m000" || *count == 2));
        // Whoever takes over pays no more.
        group.members.pop_first();
        let (costs, _) = group.rekey();
        assert_eq!(costs["m001"], n);
    }
}

#[test]
fn a_change_of_a_tree_costs_no_more_than_three_for_each_level() {
    for n in [2usize, 3, 8, 16, 33, 50, 128] {
        let mut group = Ours::new(KeyProtocol::Tgdh);
        (0..n).for_each(|member| group.join(member));
        group.rekey();
        let height = n.next_power_of_two().trailing_zeros() as usize + 1;
        for leaver in [n / 2, 0] {
            group.members.remove(&name(&format!("m{leaver:03}")));
            if group.members.is_empty() {
                break;
            }
            let (costs, messages) = group.rekey();
            let most = costs.values().max().copied().unwrap_or(0);
            assert!(most <= 3 * height + 1, "leave, n = {n}: {most}");
            assert!(messages <= 1, "leave, n = {n}: {messages} messages");
        }
        group.join(n);
        let (costs, messages) = group.rekey();
        let most = costs.values().max().copied().unwrap_or(0);
        assert!(most <= 3 * height + 1, "join, n = {n}: {most}");
        assert!(messages <= 1, "join, n = {n}: one broadcast after the view, not {messages}");
    }
}

#[test]
fn two_trees_of_one_height_merge_with_one_broadcast_of_each_side() {
    for n in [1usize, 2, 4, 8, 16] {
        let (mut left, mut right) = (Ours::new(KeyProtocol::Tgdh), Ours::new(KeyProtocol::Tgdh));
        right.rng = ChaCha12Rng::seed_from_u64(2);
        (0..n).for_each(|member| left.join(member));
        (n..2 * n).for_each(|member| right.join(member));
        left.rekey();
        right.rekey();
        left.members.append(&mut right.members);
        let (_, messages) = left.rekey();
        assert!(messages <= 2, "n = {n}: {messages} messages");
    }
}
