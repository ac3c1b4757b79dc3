//! Lightweight groups: named sets of clients, whose joins and leaves are messages on the sites' ring.
//!
//! Every site keeps the whole [`table`] and changes it by the ordered messages, so all sites of a ring have the same.
//! Groups are open: anybody may send to them. When sites come together that did not come from one ring, one of each
//! kind tells its table ([`exchange`]), and no client's message goes before all have told.

pub mod content;
pub mod delivery;
pub mod exchange;
pub mod table;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::evs::configuration::{Configuration, Regular, Transitional};
use crate::groups::content::Content;
use crate::groups::exchange::Exchange;
use crate::groups::table::{Member, Table};
use crate::ids::{Name, SiteId, SiteSet};
use crate::limits::Config;
use crate::ring::order::Message;
use crate::rules::Rule;
use crate::site::step::{ClientId, Event};

/// A client of this site.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: Name,
    /// Whether it wants to know of views.
    pub(crate) wants_views: bool,
    /// Its connection is over; its name is taken until all sites know.
    pub(crate) closing: bool,
}

/// The groups, as one site sees them.
#[derive(Debug)]
pub struct Groups {
    me: SiteId,
    config: Config,
    pub(crate) clients: BTreeMap<ClientId, Client>,
    pub(crate) names: BTreeMap<Name, ClientId>,
    table: Table,
    /// The sites whose tables have been the same as this one's without a break.
    companions: SiteSet,
    /// While the end of a ring is delivered: who comes along.
    tail: Option<SiteSet>,
    exchange: Option<Exchange>,
}

impl Groups {
    /// Nobody is here yet.
    pub fn new(config: &Config) -> Self {
        Groups {
            me: config.me,
            config: config.clone(),
            clients: BTreeMap::new(),
            names: BTreeMap::new(),
            table: Table::default(),
            companions: SiteSet::EMPTY.with(config.me),
            tail: None,
            exchange: None,
        }
    }

    /// Whether tables are being exchanged: no client's message may go.
    pub fn is_exchanging(&self) -> bool {
        self.exchange.is_some()
    }

    /// Groups and memberships in the table.
    pub fn sizes(&self) -> (usize, usize) {
        (self.table.groups(), self.table.memberships())
    }

    /// A message of the ring, in its place.
    pub fn on_message(&mut self, message: Message, events: &mut Vec<Event>) {
        let origin = message.origin;
        match Content::decode(&message.content) {
            Some(Content::Data(head, payload)) => self.deliver(origin, message.service, head, payload, events),
            Some(Content::Join { client, group }) => self.on_join(Member { site: origin, name: client }, group, events),
            Some(Content::Leave { client, group }) => {
                self.on_leave(&Member { site: origin, name: client }, &group, events);
            }
            Some(Content::Disconnect { client }) => {
                self.on_disconnect(&Member { site: origin, name: client }, events);
            }
            Some(Content::State(part)) => {
                // What the end of a ring cuts off all movers leave undone alike.
                if self.tail.is_none()
                    && let Some(exchange) = &mut self.exchange
                {
                    exchange.on_part(origin, part);
                    self.finish_exchange(events);
                }
            }
            None => {}
        }
    }

    /// A change of the sites' configuration, in its place. What this site has to tell the others is returned.
    pub fn on_configuration(&mut self, configuration: &Configuration, events: &mut Vec<Event>) -> Vec<Bytes> {
        match configuration {
            Configuration::Transitional(transitional) => {
                self.on_transitional(transitional, events);
                Vec::new()
            }
            Configuration::Regular(regular) => self.on_regular(regular, events),
        }
    }

    /// What follows of the ring's end lies behind a hole.
    pub fn on_hole(&mut self, events: &mut Vec<Event>) {
        for (group, old) in self.table.cut() {
            self.tell_transitional(&group, old, events);
        }
    }

    fn on_transitional(&mut self, transitional: &Transitional, events: &mut Vec<Event>) {
        self.tail = Some(transitional.movers);
        for (group, old) in self.table.lose(transitional.movers) {
            self.tell_transitional(&group, old, events);
        }
    }

    fn on_regular(&mut self, regular: &Regular, events: &mut Vec<Event>) -> Vec<Bytes> {
        self.tail = None;
        self.table.enter(regular.ring, regular.movers);
        self.companions = self.companions.and(regular.movers);
        let mut exchange = Exchange::new(regular.members, &self.config);
        let parts = self.table.to_parts(self.companions);
        if self.companions == regular.members || !self.config.rules.enforces(Rule::ExchangeFirst) {
            // All come from one ring and have the same table.
            parts.into_iter().for_each(|part| exchange.on_part_of(regular.members, part));
            self.exchange = Some(exchange);
            self.finish_exchange(events);
            return Vec::new();
        }
        self.exchange = Some(exchange);
        if self.companions.first() == Some(self.me) {
            parts.into_iter().map(|part| Content::State(part).encode()).collect()
        } else {
            Vec::new()
        }
    }

    fn finish_exchange(&mut self, events: &mut Vec<Event>) {
        let Some(exchange) = self.exchange.take_if(|exchange| exchange.is_complete()) else { return };
        self.companions = exchange.members();
        for view in self.table.merge(exchange.into_components()) {
            self.tell_network_view(view, events);
        }
    }
}
