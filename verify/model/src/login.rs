//! The login, symbolically: what an attacker can make of messages whose keys it does not have.
//!
//! The attacker reads every message, also inside links, and gives any party any message that it can make: each tag
//! and signature in it must have been seen before, exactly, or be made with a key that it has. It has leader 4 with
//! all its keys, and a registered user, Eve. Honest are Ana and the other leaders. A link's exporter value is secret
//! from the attacker unless it is an end of the link; [`World::links_are_sound`] takes even that away.
//!
//! Terms are those of `ringfort_protocol::login`: the transcript holds leader, exporter value, user and N1; the tag
//! of AuthKeyDist is under `P_a,i` (for key logins under the exporter value) and signed by the leader; the session
//! key comes from `P_a,i`, exporter value, transcript and N2; AuthAckKey has a tag under it, a signature by the
//! announced session key and, for key logins, one by the long-term key. Only messages that the receiver would take
//! are tried: others close a link, which the attacker can do anyhow.

mod terms;

use stateright::{Model, Property};

pub use terms::{Entry, Nonce, Transcript, Who};
use terms::{Signed, long_term};

/// The hacked leader.
pub const HACKED: u8 = 4;
/// AuthInitReq messages that one of the attacker's links brings at most.
const INITS_MAX: usize = 2;

/// Bounds and assumptions.
#[derive(Clone, Debug)]
pub struct World {
    /// Ana's logins: at which leader, for which stay. Each may happen at any time.
    pub logins: Vec<(u8, u8)>,
    /// The attacker's own links to honest leaders.
    pub hostile_links: Vec<u8>,
    /// AuthInitReq messages that reach a leader on one of Ana's links, hers or the attacker's.
    pub inits_max: usize,
    /// Whether users log in with keys; else with passwords.
    pub by_key: bool,
    /// Whether exporter values are secret and fresh. If not, links protect nothing.
    pub links_are_sound: bool,
    /// A defence that is taken away.
    pub without: Option<Defence>,
}

/// What the login rests on, to be taken away one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defence {
    /// The exporter value in transcript and session key.
    Exporter,
    /// N2 in session key and acknowledgement.
    Nonce,
    /// A signature by the announced session key.
    Possession,
    /// The leader's name in the transcript.
    LeaderName,
    /// `P_a,i` differs from leader to leader.
    KeyPerLeader,
    /// The leader's signature on AuthKeyDist, and its tag.
    LeaderProof,
}

/// One of Ana's logins. Message 1 is sent at once, and message 3 as soon as message 2 is taken: later would give the
/// attacker less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Login {
    /// N2 and the stay of AuthKeyDist, once it was taken and acknowledged.
    proved: Option<(Nonce, u8)>,
}

/// A link's end at an honest leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct End {
    /// Every AuthKeyDist sent on it: what was asked, N2, and the stay told.
    answered: Vec<(Transcript, Nonce, u8)>,
    /// Who was authenticated on it, with what was signed.
    done: Option<Signed>,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Whole {
    logins: Vec<Login>,
    ends: Vec<End>,
    /// The highest stay of Ana and of Eve at each honest leader.
    last: Vec<[u8; 2]>,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A leader's end of a link gets message 1, from whomever, and answers.
    Init(usize, Who, Nonce),
    /// Ana takes message 2 and sends message 3.
    KeyDist(usize, Nonce, u8),
    /// A leader's end of a link takes message 3.
    Authenticate(usize, Nonce, Entry),
}

impl World {
    /// Whether a defence stands.
    pub fn has(&self, defence: Defence) -> bool {
        self.without != Some(defence)
    }

    fn honest_logins(&self) -> impl Iterator<Item = usize> + '_ {
        self.logins.iter().enumerate().filter(|(_, (leader, _))| *leader != HACKED).map(|(login, _)| login)
    }

    /// The leader at one end of a link: first those of Ana's links, then those of the attacker's.
    fn leader_of(&self, end: usize) -> u8 {
        let own = self.logins.get(end).map(|(leader, _)| *leader);
        own.or_else(|| self.hostile_links.get(end - self.logins.len()).copied()).expect("an end of the world")
    }

    fn is_honest_end(&self, end: usize) -> bool {
        self.leader_of(end) != HACKED
    }

    /// What the attacker knows of a link's exporter value.
    pub fn knows_exporter(&self, link: Option<usize>) -> bool {
        link.is_none_or(|link| link >= self.logins.len() || !self.is_honest_end(link))
    }

    fn exporter(&self, link: usize) -> Option<usize> {
        (self.links_are_sound && self.has(Defence::Exporter)).then_some(link)
    }

    fn transcript(&self, link: usize, user: Who, n1: Nonce) -> Transcript {
        let leader = self.has(Defence::LeaderName).then(|| self.leader_of(link));
        Transcript { leader, exporter: self.exporter(link), user, n1 }
    }

    fn login_transcript(&self, login: usize) -> Transcript {
        self.transcript(login, Who::Ana, Nonce::N1(login))
    }

    fn login_entry(&self, login: usize) -> Entry {
        let stay = self.logins.get(login).map_or(1, |(_, stay)| *stay);
        Entry { user: Who::Ana, stay, keys_of: Who::Ana }
    }

    /// N2 as it is bound.
    fn bound(&self, n2: Nonce) -> Option<Nonce> {
        self.has(Defence::Nonce).then_some(n2)
    }

    /// What Ana signed in a login, and everybody saw.
    fn acknowledged(&self, whole: &Whole, login: usize) -> Option<Signed> {
        let (n2, _) = whole.logins.get(login)?.proved?;
        let leader = self.leader_of(login);
        let transcript = self.login_transcript(login);
        let key = long_term(self, Who::Ana, leader, transcript.exporter);
        Some(Signed { key, transcript, n2: self.bound(n2), n3: Nonce::N3(login), entry: self.login_entry(login) })
    }

    fn seen(&self, whole: &Whole) -> impl Iterator<Item = Signed> {
        (0..self.logins.len()).filter_map(|login| self.acknowledged(whole, login)).collect::<Vec<_>>().into_iter()
    }

    /// Whether message 2 with these parts can be put before Ana: made by the attacker, or sent by that leader.
    fn can_show(&self, whole: &Whole, login: usize, n2: Nonce, last: u8) -> bool {
        let transcript = self.login_transcript(login);
        let leader = self.leader_of(login);
        let key = long_term(self, Who::Ana, leader, transcript.exporter);
        let said = |end: &End| end.answered.contains(&(transcript.clone(), n2, last));
        let by_leader = whole.ends.iter().zip(0..).any(|(end, k)| self.leader_of(k) == leader && said(end));
        let makes_signature = leader == HACKED || !self.has(Defence::LeaderProof);
        let makes_tag = key.is_known(self) || !self.has(Defence::LeaderProof);
        by_leader || makes_signature && makes_tag
    }

    /// Whether message 3 can be put before a leader: each of its parts was seen, or is made with a key of the attacker.
    fn can_acknowledge(&self, whole: &Whole, signed: &Signed) -> bool {
        let seen: Vec<Signed> = self.seen(whole).collect();
        let tag = signed.key.is_known(self) && self.knows_exporter(signed.transcript.exporter) || seen.contains(signed);
        // Signatures are over all but the key.
        let same = |other: &Signed| other.parts() == signed.parts();
        let shown = seen.iter().any(same);
        let possession = signed.entry.keys_of == Who::Eve || shown || !self.has(Defence::Possession);
        let identity = !self.by_key || signed.transcript.user == Who::Eve || shown;
        tag && possession && identity
    }

    fn nonces(&self, whole: &Whole) -> Vec<Nonce> {
        let issued = whole.ends.iter().flat_map(|end| end.answered.iter().map(|(_, n2, _)| *n2));
        issued.chain([Nonce::Attackers]).collect()
    }

    fn entries(&self) -> Vec<Entry> {
        let entry = |user, stay, keys_of| Entry { user, stay, keys_of };
        let mut entries = vec![entry(Who::Eve, 1, Who::Eve), entry(Who::Eve, 1, Who::Ana)];
        for stay in 1..=self.logins.iter().map(|(_, stay)| *stay).max().unwrap_or(1) {
            entries.extend([entry(Who::Ana, stay, Who::Ana), entry(Who::Ana, stay, Who::Eve)]);
        }
        entries
    }
}

impl Model for World {
    type State = Whole;
    type Action = Act;

    fn init_states(&self) -> Vec<Whole> {
        let ends = self.logins.len() + self.hostile_links.len();
        vec![Whole {
            logins: vec![Login::default(); self.logins.len()],
            ends: vec![End::default(); ends],
            last: vec![[0; 2]; usize::from(HACKED)],
        }]
    }

    fn actions(&self, whole: &Whole, acts: &mut Vec<Act>) {
        for (login, _) in whole.logins.iter().enumerate().filter(|(_, state)| state.proved.is_none()) {
            for n2 in self.nonces(whole) {
                acts.extend((0..=2).map(|last| Act::KeyDist(login, n2, last)));
            }
        }
        let n1s: Vec<Nonce> = (0..self.logins.len()).map(Nonce::N1).chain([Nonce::Attackers]).collect();
        let n3s: Vec<Nonce> = (0..self.logins.len()).map(Nonce::N3).chain([Nonce::Attackers]).collect();
        for (end, state) in whole.ends.iter().enumerate().filter(|(end, _)| self.is_honest_end(*end)) {
            if state.done.is_some() {
                continue;
            }
            let inits_max = if end < self.logins.len() { self.inits_max } else { INITS_MAX };
            if state.answered.len() < inits_max {
                acts.extend(n1s.iter().map(|n1| Act::Init(end, Who::Ana, *n1)));
                acts.push(Act::Init(end, Who::Eve, Nonce::Attackers));
            }
            if !state.answered.is_empty() {
                for entry in self.entries() {
                    acts.extend(n3s.iter().map(|n3| Act::Authenticate(end, *n3, entry)));
                }
            }
        }
    }

    fn next_state(&self, whole: &Whole, act: Act) -> Option<Whole> {
        let mut next = whole.clone();
        match act {
            Act::Init(end, user, n1) => {
                let last = *whole.last.get(usize::from(self.leader_of(end)) - 1)?.get(user as usize)?;
                let state = next.ends.get_mut(end)?;
                let n2 = Nonce::N2(end, state.answered.len());
                state.answered.push((self.transcript(end, user, n1), n2, last));
            }
            Act::KeyDist(login, n2, last) => {
                if !self.can_show(whole, login, n2, last) {
                    return None;
                }
                next.logins.get_mut(login)?.proved = Some((n2, last));
            }
            Act::Authenticate(end, n3, entry) => self.authenticate(&mut next, end, n3, entry)?,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties()
    }
}

impl World {
    /// Message 3 at a leader: it answers the last AuthKeyDist of its link, in the name of that message 1.
    fn authenticate(&self, whole: &mut Whole, end: usize, n3: Nonce, entry: Entry) -> Option<()> {
        let leader = self.leader_of(end);
        let (transcript, n2, _) = whole.ends.get(end)?.answered.last()?.clone();
        if transcript.user != entry.user {
            return None;
        }
        let key = long_term(self, entry.user, leader, transcript.exporter);
        let signed = Signed { key, transcript, n2: self.bound(n2), n3, entry };
        let last = whole.last.get(usize::from(leader) - 1)?.get(entry.user as usize)?;
        // The same stay again is taken up where it was, with the same keys; an older one is refused.
        let resumed = whole
            .ends
            .iter()
            .enumerate()
            .any(|(k, e)| self.leader_of(k) == leader && e.done.as_ref().is_some_and(|done| done.entry == entry));
        let fresh = entry.stay > *last || entry.stay == *last && resumed;
        if !fresh || !self.can_acknowledge(whole, &signed) {
            return None;
        }
        *whole.last.get_mut(usize::from(leader) - 1)?.get_mut(entry.user as usize)? = entry.stay;
        whole.ends.get_mut(end)?.done = Some(signed);
        Some(())
    }
}

/// Agreement, the leader's view.
pub const AUTHENTIC: &str = "whom an honest leader authenticates as Ana is Ana, who acknowledged to that leader";
/// No replay.
pub const ONCE: &str = "one acknowledgement authenticates once";
/// Announced keys.
pub const KEYS: &str = "whoever announces session keys holds them";
/// Agreement, the member's view.
pub const LEADER: &str = "what Ana takes as an honest leader's answer, that leader sent, for this login";
/// `K_a,i` is secret.
pub const SECRET: &str = "the session key of Ana and an honest leader is theirs alone";
/// K6.
pub const FORWARD: &str = "the session key stays secret when long-term keys leak later";

fn properties() -> Vec<Property<World>> {
    vec![
        Property::always(AUTHENTIC, |world: &World, whole: &Whole| {
            world.authenticated(whole).all(|(end, signed)| {
                let at = world.leader_of(end);
                let is_hers = |login: usize| {
                    world.leader_of(login) == at
                        && world.acknowledged(whole, login).is_some_and(|seen| seen.parts() == signed.parts())
                };
                signed.entry.user != Who::Ana || (0..world.logins.len()).any(is_hers)
            })
        }),
        Property::always(ONCE, |world: &World, whole: &Whole| {
            let done: Vec<_> = world.authenticated(whole).filter(|(_, s)| s.entry.user == Who::Ana).collect();
            done.iter().all(|(a, s)| done.iter().all(|(b, t)| a == b || s.n3 != t.n3))
        }),
        Property::always(KEYS, |world: &World, whole: &Whole| {
            world.authenticated(whole).all(|(_, signed)| signed.entry.user == signed.entry.keys_of)
        }),
        Property::always(LEADER, |world: &World, whole: &Whole| {
            world.honest_logins().all(|login| {
                let proved = whole.logins.get(login).and_then(|l| l.proved);
                let sent = |(n2, last)| {
                    let answer = (world.login_transcript(login), n2, last);
                    let by = |(k, end): (usize, &End)| {
                        world.leader_of(k) == world.leader_of(login) && end.answered.contains(&answer)
                    };
                    whole.ends.iter().enumerate().any(by)
                };
                proved.is_none_or(sent)
            })
        }),
        Property::always(SECRET, |world: &World, whole: &Whole| !world.knows_session_key(whole, false)),
        Property::always(FORWARD, |world: &World, whole: &Whole| !world.knows_session_key(whole, true)),
        Property::sometimes("Ana is authenticated at an honest leader", |world: &World, whole: &Whole| {
            world.authenticated(whole).any(|(_, signed)| signed.entry.user == Who::Ana)
        }),
        Property::sometimes("Eve is authenticated at an honest leader", |world: &World, whole: &Whole| {
            world.authenticated(whole).any(|(_, signed)| signed.entry.user == Who::Eve)
        }),
        Property::sometimes("Ana acknowledges to the hacked leader", |world: &World, whole: &Whole| {
            let acked = |login: usize| whole.logins.get(login).is_some_and(|l| l.proved.is_some());
            (0..world.logins.len()).any(|login| world.leader_of(login) == HACKED && acked(login))
        }),
        Property::sometimes("Ana's message 1 is replayed on the attacker's link", |world: &World, whole: &Whole| {
            let ends = whole.ends.iter().skip(world.logins.len());
            ends.flat_map(|end| &end.answered).any(|(transcript, ..)| matches!(transcript.n1, Nonce::N1(_)))
        }),
        Property::sometimes("all of Ana's logins at honest leaders are done", |world: &World, whole: &Whole| {
            let stays = world.honest_logins().filter(|login| whole.ends.get(*login).is_some_and(|e| e.done.is_some()));
            stays.count() == world.honest_logins().count()
        }),
    ]
}

impl World {
    fn authenticated<'a>(&self, whole: &'a Whole) -> impl Iterator<Item = (usize, &'a Signed)> + use<'a> {
        whole.ends.iter().enumerate().filter_map(|(end, state)| state.done.as_ref().map(|done| (end, done)))
    }

    /// `K_a,i` of some login of Ana that an honest leader took part in: from `P_a,i` and the exporter value.
    fn knows_session_key(&self, whole: &Whole, leaked: bool) -> bool {
        self.honest_logins().any(|login| {
            let exists = whole.logins.get(login).is_some_and(|l| l.proved.is_some());
            let exporter = self.exporter(login);
            let key = long_term(self, Who::Ana, self.leader_of(login), exporter);
            exists && (leaked || key.is_known(self)) && self.knows_exporter(exporter)
        })
    }
}
