//! A registered user who does as she likes: real logins, real seals, and whatever she wants inside.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringfort_protocol::data::Identity;
use ringfort_protocol::leader::Command;
use ringfort_protocol::login::{Credential, LoginAnswer, LoginClient, Registration};
use ringfort_protocol::sealed::SealedChannel;
use ringfort_protocol::wire::{self, Sorted};
use ringfort_protocol::{Incarnation, LeaderId, LinkId};

use super::Stage;
use crate::fixture::{key_of, user};

/// Her links, one to each leader at most.
#[derive(Default)]
pub(super) struct Eve {
    links: BTreeMap<LeaderId, EveLink>,
    /// Her keys of each stay: the same at all leaders, so that she can get in.
    identities: BTreeMap<u64, Identity>,
}

struct EveLink {
    link: LinkId,
    exporter: [u8; 32],
    channel: Option<SealedChannel>,
    mail: Vec<Bytes>,
}

impl Eve {
    pub fn on_cut(&mut self, id: LeaderId, link: LinkId) {
        self.links.retain(|to, mine| *to != id || mine.link != link);
    }

    pub fn on_mail(&mut self, id: LeaderId, link: LinkId, frame: &Bytes) {
        if let Some(mine) = self.links.get_mut(&id).filter(|mine| mine.link == link) {
            mine.mail.truncate(8);
            mine.mail.push(frame.clone());
        }
    }
}

impl Stage {
    /// Eve has a new link to a leader.
    pub fn eve_links(&mut self, id: LeaderId) {
        if let Some(old) = self.eve.links.remove(&id) {
            self.cut(id, old.link);
        }
        let (link, exporter) = self.open(id);
        self.eve.links.insert(id, EveLink { link, exporter, channel: None, mail: Vec::new() });
    }

    /// Eve sends bytes of her own over her link.
    pub fn eve_sends(&mut self, id: LeaderId, frame: &Bytes) {
        let Some(link) = self.eve.links.get(&id).map(|mine| mine.link) else { return };
        self.on_leader(id, |core, cx| core.on_member_frame(cx, link, frame));
        self.pump();
    }

    /// Eve logs in at a leader as the stay she likes.
    pub fn eve_logs_in(&mut self, id: LeaderId, incarnation: u64) {
        self.eve_links(id);
        let group = self.group.clone();
        let credential = Credential::Key(key_of("eve"));
        let Some(exporter) = self.eve.links.get(&id).map(|mine| mine.exporter) else { return };
        let (mut client, request) =
            LoginClient::start(&group, id, exporter, &user("eve"), &credential, &mut self.chance);
        self.eve_sends(id, &wire::plain(&request));
        let Some(mail) = self.eve.links.get_mut(&id).and_then(|mine| mine.mail.pop()) else { return };
        let Ok(Sorted::Plain(body)) = wire::sort(&mail) else { return };
        let Ok(answer) = wire::decode_plain::<LoginAnswer>(body) else { return };
        assert!(client.on_answer(&group, &answer).is_ok() || id == Self::hostile(), "an honest leader proves itself");
        let chance = &mut self.chance;
        let me = self.eve.identities.entry(incarnation);
        let me = me.or_insert_with(|| Identity::generate(user("eve"), Incarnation(incarnation), chance));
        let Some((request, channel)) = client.acknowledge(&group, &credential, me, chance) else { return };
        self.eve_sends(id, &wire::plain(&request));
        if let Some(mine) = self.eve.links.get_mut(&id) {
            mine.channel = Some(channel);
        }
    }

    /// Eve seals whatever she likes for a leader at which she is logged in.
    pub fn eve_seals(&mut self, id: LeaderId, payload: &[u8]) {
        let Some(channel) = self.eve.links.get_mut(&id).and_then(|mine| mine.channel.as_mut()) else { return };
        let frame = channel.seal(payload);
        self.eve_sends(id, &frame);
    }

    /// A member or an outsider whose program is not ours drops a link.
    pub fn eve_leaves(&mut self, id: LeaderId) {
        if let Some(mine) = self.eve.links.get(&id).map(|mine| mine.link) {
            self.cut(id, mine);
        }
    }

    /// An operator registers Eve again, and so takes her back.
    pub fn takes_eve_back(&mut self, id: LeaderId) {
        let key = key_of("eve").verifying_key();
        self.command(id, Command::Register(user("eve"), Registration::Key(key)));
    }
}
