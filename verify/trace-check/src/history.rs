//! A trace in the shape that the checkers ask questions of.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{Cause, Event, Record, Service, ViewId};

/// How a process's time in a view ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Another view followed; with the process's own set if the network caused it.
    Next(ViewId, Option<Vec<String>>),
    /// The process left the group.
    Left,
    /// The process crashed, or ended its connection.
    Stopped,
    /// The trace ends.
    Open,
}

/// What a process's requests for one group come to: joining twice, or leaving what one is not in, does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Requests {
    /// Whether it will be in.
    pub is_in: bool,
    /// Joins that count.
    pub joins: u64,
    /// Leaves that count.
    pub leaves: u64,
}

impl Requests {
    /// It asks to join.
    pub fn join(&mut self) {
        self.joins += u64::from(!self.is_in);
        self.is_in = true;
    }

    /// It asks to leave.
    pub fn leave(&mut self) {
        self.leaves += u64::from(self.is_in);
        self.is_in = false;
    }
}

/// A message that a process got while in a view.
#[derive(Clone, Debug)]
pub struct Got<'a> {
    /// The message.
    pub m: &'a str,
    /// Where in the process's events.
    pub at: usize,
    /// Whether the transitional signal had come.
    pub transitional: bool,
}

/// A process's time in one view of one group.
#[derive(Clone, Debug)]
pub struct Span<'a> {
    /// Who.
    pub p: &'a str,
    /// The group.
    pub g: &'a str,
    /// The view.
    pub id: ViewId,
    /// Why it came about.
    pub cause: Cause,
    /// Its members.
    pub members: &'a [String],
    /// Its sets.
    pub sets: &'a [Vec<String>],
    /// The view before, in the same stay.
    pub before: Option<ViewId>,
    /// What the process got.
    pub got: Vec<Got<'a>>,
    /// Whether the transitional signal came.
    pub transitional: bool,
    /// How it ended.
    pub end: End,
}

/// A message as it was sent.
#[derive(Clone, Debug)]
pub struct Sent<'a> {
    /// By whom.
    pub p: &'a str,
    /// Where in the sender's events.
    pub at: usize,
    /// A number for the message.
    pub number: usize,
    /// Its service.
    pub svc: Service,
    /// Where to.
    pub groups: &'a [String],
    /// Whether the sender is left out.
    pub discard: bool,
    /// A hash of the bytes.
    pub hash: u64,
}

/// A whole trace.
#[derive(Debug, Default)]
pub struct History<'a> {
    /// Each process's events, in order.
    pub events: BTreeMap<&'a str, Vec<&'a Event>>,
    /// Every message.
    pub sent: BTreeMap<&'a str, Sent<'a>>,
    /// Every stay in every view, by process and in order.
    pub spans: Vec<Span<'a>>,
    /// The spans of a view.
    pub views: BTreeMap<(&'a str, ViewId), Vec<usize>>,
    /// Processes that stopped.
    pub stopped: BTreeSet<&'a str>,
    /// Processes that are alive at the end.
    pub ended: BTreeSet<&'a str>,
    /// Who asked to leave what, or disconnected (then the group is empty).
    pub left: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> History<'a> {
    /// Reads a trace.
    pub fn new(records: &'a [Record]) -> Self {
        let mut history = History::default();
        for record in records {
            history.events.entry(&record.p).or_default().push(&record.event);
        }
        let processes: Vec<(&'a str, Vec<&'a Event>)> =
            history.events.iter().map(|(p, events)| (*p, events.clone())).collect();
        for (p, events) in processes {
            history.read(p, &events);
        }
        for (number, sent) in history.sent.values_mut().enumerate() {
            sent.number = number;
        }
        for (number, span) in history.spans.iter().enumerate() {
            history.views.entry((span.g, span.id)).or_default().push(number);
        }
        history
    }

    fn read(&mut self, p: &'a str, events: &[&'a Event]) {
        let mut open: BTreeMap<&'a str, Span<'a>> = BTreeMap::new();
        for (at, event) in events.iter().enumerate() {
            match event {
                Event::Send { m, svc, groups, discard, hash } => {
                    let sent = Sent { p, at, number: 0, svc: *svc, groups, discard: *discard, hash: *hash };
                    self.sent.insert(m, sent);
                }
                Event::Deliver { m, groups, .. } => {
                    let distinct: BTreeSet<&str> = groups.iter().map(String::as_str).collect();
                    for (_, span) in open.iter_mut().filter(|(g, _)| distinct.contains(*g)) {
                        span.got.push(Got { m, at, transitional: span.transitional });
                    }
                }
                Event::Trans { g, .. } => {
                    open.entry(g).and_modify(|span| span.transitional = true);
                }
                Event::Reg { .. } => self.enter(p, event, &mut open),
                Event::SelfLeave { g } => self.close(open.remove(g.as_str()), End::Left),
                Event::Leave { g } => {
                    self.left.insert((p, g));
                }
                Event::Disconnect | Event::Crash => {
                    self.stopped.insert(p);
                    if **event == Event::Disconnect {
                        self.left.insert((p, ""));
                    }
                    let stays = std::mem::take(&mut open);
                    stays.into_values().for_each(|span| self.close(Some(span), End::Stopped));
                }
                Event::End => {
                    self.ended.insert(p);
                }
                Event::Connect | Event::Join { .. } | Event::Ring { .. } => {}
            }
        }
        open.into_values().for_each(|span| self.close(Some(span), End::Open));
    }

    fn enter(&mut self, p: &'a str, event: &'a Event, open: &mut BTreeMap<&'a str, Span<'a>>) {
        let Event::Reg { g, id, members, cause, sets } = event else { return };
        let before = open.remove(g.as_str());
        let mut span = Span {
            p,
            g,
            id: *id,
            cause: *cause,
            members,
            sets,
            before: before.as_ref().map(|span| span.id),
            got: Vec::new(),
            transitional: false,
            end: End::Open,
        };
        let mine = (*cause == Cause::Network).then(|| span.set_of(p).map(<[String]>::to_vec)).flatten();
        self.close(before, End::Next(*id, mine));
        span.transitional = false;
        open.insert(g, span);
    }

    fn close(&mut self, span: Option<Span<'a>>, end: End) {
        self.spans.extend(span.map(|span| Span { end, ..span }));
    }

    /// Everybody's time in a view.
    pub fn in_view(&self, g: &'a str, id: ViewId) -> impl Iterator<Item = &Span<'a>> + Clone {
        self.views.get(&(g, id)).into_iter().flatten().filter_map(|number| self.spans.get(*number))
    }

    /// The service of a message.
    pub fn service(&self, m: &str) -> Option<Service> {
        self.sent.get(m).map(|sent| sent.svc)
    }

    /// Whether `p` is left out of `m`, which it sent.
    pub fn is_discarded(&self, m: &str, p: &str) -> bool {
        self.sent.get(m).is_some_and(|sent| sent.discard && sent.p == p)
    }

    /// Whether `p` left `g` by its own wish, or ended its connection.
    pub fn left(&self, p: &str, g: &str) -> bool {
        self.left.contains(&(p, g)) || self.left.contains(&(p, ""))
    }
}

impl Span<'_> {
    /// The set that `p` is in.
    pub fn set_of(&self, p: &str) -> Option<&[String]> {
        self.sets.iter().find(|set| set.iter().any(|q| q == p)).map(Vec::as_slice)
    }

    /// With whom the process went on to the next view: nobody that is known if it is not known.
    pub fn movers(&self) -> Option<&[String]> {
        match &self.end {
            End::Next(_, set) => set.as_deref(),
            _ => None,
        }
    }

    /// Whether the process got `m` in this view.
    pub fn has(&self, m: &str) -> bool {
        self.got.iter().any(|got| got.m == m)
    }
}
