//! Who gets what: messages by address, views by membership.

use std::sync::Arc;

use bytes::Bytes;

use super::Groups;
use super::table::{Change, Member, NetworkView, Standing};
use crate::groups::content::Head;
use crate::ids::{GroupViewId, Name, Service, SiteId};
use crate::site::step::{Cause, ClientId, Delivery, Event};

impl Groups {
    /// A client's message: once to each local client that is in one of its groups, or is named itself.
    pub(super) fn deliver(
        &self,
        origin: SiteId,
        service: Service,
        head: Head,
        payload: Bytes,
        events: &mut Vec<Event>,
    ) {
        let mut to: Vec<ClientId> = Vec::new();
        for name in &head.groups {
            to.extend(self.names.get(name));
            to.extend(self.local_members(name, false));
        }
        to.sort_unstable();
        to.dedup();
        let sender = self.names.get(&head.sender).filter(|_| origin == self.me && head.self_discard);
        to.retain(|client| Some(client) != sender && self.clients.get(client).is_some_and(|client| !client.closing));
        if to.is_empty() {
            return;
        }
        let Head { sender, groups, self_discard, mark, message_type } = head;
        let delivery = Delivery { sender, service, groups: groups.into(), self_discard, mark, message_type, payload };
        events.push(Event::Message(to, Arc::new(delivery)));
    }

    pub(super) fn on_join(&mut self, member: Member, group: Name, events: &mut Vec<Event>) {
        match self.table.join(member.clone(), &group, (self.config.memberships_max, self.config.groups_per_client_max))
        {
            Change::View => {
                self.tell_view(&group, Cause::Join(member.name), events);
                // It joined in time and is lost with its site.
                if let Some(movers) = self.tail.filter(|movers| !movers.has(member.site)) {
                    for (group, old) in self.table.lose(movers) {
                        self.tell_transitional(&group, old, events);
                    }
                }
            }
            Change::Refused => {
                let client = self.local(&member);
                events.extend(client.map(|client| Event::JoinRefused(client, group)));
            }
            Change::AtEnd => self.tell_joiner(&member, &group, events),
            Change::None | Change::Later => {}
        }
    }

    pub(super) fn on_leave(&mut self, member: &Member, group: &Name, events: &mut Vec<Event>) {
        let change = self.table.leave(member, group);
        if change == Change::None {
            return;
        }
        let wants = |client: &ClientId| self.clients.get(client).is_some_and(|c| c.wants_views && !c.closing);
        events.extend(self.local(member).filter(wants).map(|client| Event::SelfLeave(client, group.clone())));
        if change == Change::View {
            self.tell_view(group, Cause::Leave(member.name.clone()), events);
        }
    }

    pub(super) fn on_disconnect(&mut self, member: &Member, events: &mut Vec<Event>) {
        for group in self.table.groups_of(member) {
            if self.table.leave(member, &group) == Change::View {
                self.tell_view(&group, Cause::Disconnect(member.name.clone()), events);
            }
        }
        if let Some(client) = self.local(member) {
            self.names.remove(&member.name);
            self.clients.remove(&client);
            events.push(Event::Disconnected(client));
        }
    }

    pub(super) fn tell_transitional(&self, group: &Name, old: GroupViewId, events: &mut Vec<Event>) {
        let to = self.local_members(group, true);
        if !to.is_empty() {
            events.push(Event::Transitional { to, group: group.clone(), old });
        }
    }

    pub(super) fn tell_network_view(&self, view: NetworkView, events: &mut Vec<Event>) {
        let to = self.local_members(&view.group, true);
        if !to.is_empty() {
            let members = view.members.into_iter().map(|member| member.name).collect();
            let cause = Cause::Network(view.sets.into());
            events.push(Event::Membership { to, group: view.group, id: view.id, members, cause });
        }
    }

    /// Whoever joins behind the transitional signal has the view that others had before it, and the signal at once.
    fn tell_joiner(&self, member: &Member, name: &Name, events: &mut Vec<Event>) {
        let wants = |client: &ClientId| self.clients.get(client).is_some_and(|c| c.wants_views && !c.closing);
        let (Some(client), Some(group)) = (self.local(member).filter(wants), self.table.get(name)) else { return };
        let (to, id) = (vec![client], group.id);
        let members = group.members.keys().map(|member| member.name.clone()).collect();
        let cause = Cause::Join(member.name.clone());
        events.push(Event::Membership { to: to.clone(), group: name.clone(), id, members, cause });
        events.push(Event::Transitional { to, group: name.clone(), old: id });
    }

    fn tell_view(&self, name: &Name, cause: Cause, events: &mut Vec<Event>) {
        let to = self.local_members(name, true);
        let Some(group) = self.table.get(name).filter(|_| !to.is_empty()) else { return };
        let members = group.members.keys().map(|member| member.name.clone()).collect();
        events.push(Event::Membership { to, group: name.clone(), id: group.id, members, cause });
    }

    /// Clients of this site that have had a view of `group`; `for_views`: that want to know of views.
    fn local_members(&self, group: &Name, for_views: bool) -> Vec<ClientId> {
        let Some(group) = self.table.get(group) else { return Vec::new() };
        let first = Member { site: self.me, name: Name::default() };
        let mine = group.members.range(first..).take_while(|(member, _)| member.site == self.me);
        let seen = mine
            .filter(|(_, standing)| **standing != Standing::Waits)
            .filter_map(|(member, _)| self.names.get(&member.name).copied());
        let wanted = |client: &ClientId| {
            self.clients.get(client).is_some_and(|client| !client.closing && (client.wants_views || !for_views))
        };
        seen.filter(wanted).collect()
    }

    fn local(&self, member: &Member) -> Option<ClientId> {
        self.names.get(&member.name).copied().filter(|_| member.site == self.me)
    }
}
