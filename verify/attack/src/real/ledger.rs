//! Every message that was sent, and who got it: the demo's own books, kept beside the group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ringfort_protocol::ViewDigest;

use super::postmarks::{Postmarks, mark};

/// Times kept until somebody asks for them.
const LATENCIES_MAX: usize = 200_000;
/// Messages in the books; the oldest go first.
const SENT_MAX: usize = 100_000;

/// One stay of one member.
pub type StayId = (String, u64);

/// What a message is known by: whose stay, whether it is private, and its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageId {
    /// Who sent it, in which stay.
    pub from: StayId,
    /// Private messages are numbered apart.
    pub private: bool,
    /// What a page sends is numbered apart, too.
    pub page: bool,
    /// From 1.
    pub number: u64,
}

impl MessageId {
    /// As it stands at the start of the payload.
    pub fn text(&self) -> String {
        let kind = if self.private { "private" } else { "all" };
        format!("{} {} {kind} {}", self.from.0, self.from.1, self.number)
    }

    /// Reads what [`MessageId::text`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let from = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        let private = match words.next()? {
            "private" => true,
            "all" => false,
            _ => return None,
        };
        Some(MessageId { from, private, page: false, number: words.next()?.parse().ok()? })
    }
}

/// A message of a page.
#[derive(Clone, Debug)]
pub struct Post<'a> {
    /// What it is about.
    pub topic: &'a str,
    /// What is in it.
    pub payload: &'a [u8],
    /// The recipients, if it is private.
    pub to: BTreeSet<String>,
}

impl Post<'_> {
    fn mark(&self, sender: &str) -> [u8; 32] {
        mark(sender, !self.to.is_empty(), self.topic, self.payload)
    }
}

#[derive(Debug)]
struct Sent {
    at: Instant,
    /// The sender's view when it was sent, as far as its program knew.
    audience: BTreeSet<String>,
    /// The view it was really sent under, known from its first delivery.
    view: Option<ViewDigest>,
    /// Recipients of a private message.
    only: Option<BTreeSet<String>>,
    delivered: BTreeSet<StayId>,
    /// Nothing is owed any more.
    settled: bool,
}

impl Sent {
    fn is_for(&self, views: &BTreeMap<ViewDigest, BTreeSet<String>>, user: &str) -> bool {
        let audience = self.view.and_then(|view| views.get(&view)).unwrap_or(&self.audience);
        audience.contains(user) && self.only.as_ref().is_none_or(|only| only.contains(user))
    }
}

/// When a stay must be given every message.
#[derive(Debug)]
struct Stay {
    from: Instant,
    until: Option<Instant>,
}

/// Messages in all, for the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sent.
    pub sent: u64,
    /// Deliveries.
    pub delivered: u64,
    /// Deliveries of the same message to the same stay again.
    pub duplicated: u64,
    /// Deliveries behind a later message of the same stream.
    pub out_of_order: u64,
    /// Messages that nobody sent.
    pub forged: u64,
    /// Messages to somebody they were not for.
    pub leaked: u64,
}

/// The books.
#[derive(Debug, Default)]
pub struct Ledger {
    sent: BTreeMap<MessageId, Sent>,
    /// As they were sent, to forget the oldest.
    order: VecDeque<MessageId>,
    marks: Postmarks,
    stays: BTreeMap<StayId, Stay>,
    /// The last number of each stream at each receiver.
    last: BTreeMap<(StayId, StayId, (bool, bool)), u64>,
    by_member: BTreeMap<String, (u64, u64)>,
    views: BTreeMap<ViewDigest, BTreeSet<String>>,
    totals: Totals,
    /// How long deliveries took, since somebody asked last.
    latencies: Vec<Duration>,
}

impl Ledger {
    /// Somebody installed a view.
    pub fn view(&mut self, view: ViewDigest, members: BTreeSet<String>) {
        self.views.insert(view, members);
    }

    /// All views that anybody installed.
    pub fn views(&self) -> impl Iterator<Item = &BTreeSet<String>> {
        self.views.values()
    }

    /// From now on this stay must get every message of a view that it is in.
    pub fn open(&mut self, stay: StayId) {
        self.by_member.entry(stay.0.clone()).or_default();
        self.stays.insert(stay, Stay { from: Instant::now(), until: None });
    }

    /// From now on nothing new is owed to this stay.
    pub fn close(&mut self, stay: &StayId) {
        if let Some(stay) = self.stays.get_mut(stay) {
            stay.until = Some(Instant::now());
        }
    }

    /// A message is about to be sent to `audience`, the sender's view.
    pub fn sending(&mut self, id: MessageId, audience: BTreeSet<String>, only: Option<BTreeSet<String>>) {
        self.totals.sent += 1;
        self.by_member.entry(id.from.0.clone()).or_default().0 += 1;
        let sent = Sent { at: Instant::now(), audience, view: None, only, delivered: BTreeSet::new(), settled: false };
        self.order.push_back(id.clone());
        self.sent.insert(id, sent);
        while self.order.len() > SENT_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.sent.remove(&oldest);
        }
    }

    /// A page is about to send a message, which is known again by its content. With `owed`, everybody must get it.
    pub fn posting(&mut self, from: &StayId, post: &Post<'_>, audience: BTreeSet<String>, owed: bool) {
        let number = self.marks.note(from, post.mark(&from.0));
        if owed {
            let only = (!post.to.is_empty()).then(|| post.to.clone());
            self.sending(MessageId { from: from.clone(), private: only.is_some(), page: true, number }, audience, only);
        }
    }

    /// It was not sent after all.
    pub fn unposted(&mut self, from: &StayId, post: &Post<'_>) {
        if let Some((from, number)) = self.marks.strike(post.mark(&from.0)) {
            self.retract(&MessageId { from, private: !post.to.is_empty(), page: true, number });
        }
    }

    /// A message of a page has come to a member. Says which it is, if it is in the books.
    pub fn posted(
        &mut self,
        to: &StayId,
        sender: &str,
        post: &Post<'_>,
        view: Option<ViewDigest>,
    ) -> Option<MessageId> {
        let Some((from, number)) = self.marks.meet(to, post.mark(sender)) else {
            self.totals.forged += 1;
            return None;
        };
        let id = MessageId { from, private: !post.to.is_empty(), page: true, number };
        // What nobody is owed is not counted.
        self.sent.contains_key(&id).then(|| self.delivered(to, Some(id.clone()), view))?;
        Some(id)
    }

    /// It was not sent after all: the group refused it.
    pub fn retract(&mut self, id: &MessageId) {
        if self.sent.remove(id).is_some() {
            self.totals.sent -= 1;
            self.by_member.entry(id.from.0.clone()).or_default().0 -= 1;
        }
    }

    /// A member was given a message that was sent under `view`.
    pub fn delivered(&mut self, to: &StayId, id: Option<MessageId>, view: Option<ViewDigest>) {
        let Some((id, sent)) = id.and_then(|id| Some((id.clone(), self.sent.get_mut(&id)?))) else {
            self.totals.forged += 1;
            return;
        };
        sent.view = sent.view.or(view);
        if !sent.delivered.insert(to.clone()) {
            self.totals.duplicated += 1;
            return;
        }
        self.totals.delivered += 1;
        if self.latencies.len() < LATENCIES_MAX {
            self.latencies.push(sent.at.elapsed());
        }
        self.by_member.entry(to.0.clone()).or_default().1 += 1;
        let last = self.last.entry((id.from, to.clone(), (id.private, id.page))).or_default();
        // Pages may ask for a service without order.
        self.totals.out_of_order += u64::from(id.number < *last && !id.page);
        *last = id.number.max(*last);
    }

    /// Messages that somebody has yet to get, with who.
    pub fn owed(&mut self) -> Vec<(MessageId, String)> {
        let mut owed = Vec::new();
        for (id, sent) in self.sent.iter_mut().filter(|(_, sent)| !sent.settled) {
            let before = owed.len();
            for (stay, times) in &self.stays {
                let present = times.from <= sent.at && times.until.is_none_or(|until| sent.at <= until);
                let meant = sent.is_for(&self.views, &stay.0);
                let own = stay.0 == id.from.0;
                if present && meant && !own && !sent.delivered.contains(stay) {
                    owed.push((id.clone(), stay.0.clone()));
                }
            }
            sent.settled = owed.len() == before && !sent.delivered.is_empty();
        }
        owed
    }

    /// What is owed, in words: whose message, to whom, and how long ago it was sent under which view.
    pub fn owed_in_words(&mut self) -> Vec<String> {
        let owed = self.owed();
        let word = |(id, to): (MessageId, String)| {
            let sent = self.sent.get(&id)?;
            let view = sent.view.map_or_else(|| "one that nobody told".to_owned(), |view| format!("{view:?}"));
            Some(format!("{} to {to}, sent {:.1} s ago, view {view}", id.text(), sent.at.elapsed().as_secs_f64()))
        };
        owed.into_iter().filter_map(word).collect()
    }

    /// How many deliveries are owed of what was sent before `moment`, but for those to some users.
    pub fn owed_from_before(&mut self, moment: Instant, excused: &BTreeSet<String>) -> usize {
        let owed = self.owed();
        let counts = |(id, to): &&(MessageId, String)| {
            !excused.contains(to) && self.sent.get(id).is_some_and(|sent| sent.at < moment)
        };
        owed.iter().filter(counts).count()
    }

    /// Nothing is owed any more of what was sent before `moment`: what is missing has been told.
    pub fn write_off(&mut self, moment: Instant) {
        self.sent.values_mut().filter(|sent| sent.at < moment).for_each(|sent| sent.settled = true);
    }

    /// How long deliveries took since this was asked last.
    pub fn take_latencies(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.latencies)
    }

    /// Who got a message, once everybody has it who must.
    pub fn complete(&self, id: &MessageId) -> Option<Vec<String>> {
        let sent = self.sent.get(id)?;
        let due = |(stay, times): &(&StayId, &Stay)| {
            let present = times.from <= sent.at && times.until.is_none_or(|until| sent.at <= until);
            present && sent.is_for(&self.views, &stay.0) && stay.0 != id.from.0
        };
        let all = self.stays.iter().filter(due).all(|(stay, _)| sent.delivered.contains(stay));
        all.then(|| sent.delivered.iter().map(|to| to.0.clone()).collect())
    }

    /// Whether everything owed to a user that was sent until now has arrived.
    pub fn is_settled_for(&mut self, user: &str) -> bool {
        self.owed().iter().all(|(_, to)| to != user)
    }

    /// What happened in all.
    pub fn totals(&self) -> Totals {
        let leaks = |sent: &Sent| sent.delivered.iter().filter(|to| !sent.is_for(&self.views, &to.0)).count();
        Totals { leaked: self.sent.values().map(leaks).sum::<usize>() as u64, ..self.totals }
    }

    /// Per member, messages sent and delivered to it.
    pub fn by_member(&self) -> &BTreeMap<String, (u64, u64)> {
        &self.by_member
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn stay(name: &str) -> StayId {
        (name.to_owned(), 1)
    }

    fn message(number: u64) -> MessageId {
        MessageId { from: stay("ana"), private: false, page: false, number }
    }

    #[test]
    fn what_is_missing_is_owed_and_what_comes_twice_is_noticed() {
        let mut ledger = Ledger::default();
        for name in ["ana", "ben", "eva"] {
            ledger.open(stay(name));
        }
        ledger.sending(message(1), set(&["ana", "ben", "eva"]), None);
        assert_eq!(ledger.owed().len(), 2);
        ledger.delivered(&stay("ben"), Some(message(1)), None);
        assert_eq!(ledger.owed(), [(message(1), "eva".to_owned())]);
        ledger.delivered(&stay("ben"), Some(message(1)), None);
        ledger.delivered(&stay("eva"), Some(message(1)), None);
        assert!(ledger.owed().is_empty());
        assert_eq!(ledger.totals().duplicated, 1);
    }

    #[test]
    fn who_is_excused_is_not_waited_for_and_what_was_told_is_not_told_again() {
        let mut ledger = Ledger::default();
        for name in ["ana", "ben", "dan"] {
            ledger.open(stay(name));
        }
        ledger.sending(message(1), set(&["ana", "ben", "dan"]), None);
        let moment = Instant::now() + Duration::from_millis(1);
        assert_eq!(ledger.owed_from_before(moment, &set(&[])), 2);
        assert_eq!(ledger.owed_from_before(moment, &set(&["dan"])), 1);
        ledger.write_off(moment);
        assert_eq!(ledger.owed_from_before(moment, &set(&[])), 0);
    }

    #[test]
    fn order_forgeries_and_leaks_are_noticed() {
        let mut ledger = Ledger::default();
        ["ana", "ben", "eva"].iter().for_each(|name| ledger.open(stay(name)));
        ledger.sending(message(1), set(&["ana", "ben"]), None);
        ledger.sending(message(2), set(&["ana", "ben"]), None);
        ledger.delivered(&stay("ben"), Some(message(2)), None);
        ledger.delivered(&stay("ben"), Some(message(1)), None);
        ledger.delivered(&stay("eva"), Some(message(1)), None);
        ledger.delivered(&stay("ben"), Some(message(9)), None);
        let totals = ledger.totals();
        assert_eq!((totals.out_of_order, totals.leaked, totals.forged), (1, 1, 1));
    }

    #[test]
    fn messages_of_pages_are_known_by_their_content() {
        let mut ledger = Ledger::default();
        let all = set(&["ana", "ben", "eva"]);
        all.iter().for_each(|name| ledger.open(stay(name)));
        let post = |payload| Post { topic: "chat", payload, to: BTreeSet::new() };
        ledger.posting(&stay("ana"), &post(b"hello"), all.clone(), true);
        ledger.posting(&stay("ana"), &post(b"cursor"), all.clone(), false);
        ledger.posting(&stay("ana"), &post(b"too long"), all, true);
        ledger.unposted(&stay("ana"), &post(b"too long"));
        for to in ["ben", "eva"] {
            assert_eq!(ledger.posted(&stay(to), "ana", &post(b"cursor"), None), None, "nobody is owed it");
        }
        assert_eq!(ledger.owed().len(), 2);
        for to in ["ben", "eva", "eva"] {
            assert!(ledger.posted(&stay(to), "ana", &post(b"hello"), None).is_some());
        }
        assert!(ledger.owed().is_empty());
        ledger.posted(&stay("ben"), "ana", &post(b"never said"), None);
        ledger.posted(&stay("ben"), "eva", &post(b"hello"), None);
        let totals = ledger.totals();
        assert_eq!((totals.sent, totals.delivered, totals.duplicated, totals.forged), (1, 2, 1, 2));
    }

    #[test]
    fn a_message_id_survives_its_text() {
        let id = MessageId { from: stay("ana"), private: true, page: false, number: 7 };
        assert_eq!(MessageId::parse(&format!("{} hello there", id.text())), Some(id));
        assert_eq!(MessageId::parse("nonsense"), None);
    }
}
