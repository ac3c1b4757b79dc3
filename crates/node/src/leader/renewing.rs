//! The part of a leader that renews shares: beside the protocol core, over the same links to leaders.

use std::sync::Arc;

use bytes::Bytes;
use ringfort_protocol::codec::WIRE_VERSION;
use ringfort_protocol::group::LeaderSecrets;
use ringfort_protocol::leader::Step;
use ringfort_protocol::{Cx, GroupInfo, LeaderId, Rejected, Time};
use ringfort_setup::renewal::{self, Effect, Limits, Renewal};
use tracing::debug;

use super::driver::Driver;
use super::{LeaderError, Told};
use crate::folder::{RenewalOrder, keep_renewal, read_renewal};
use ringfort_documents::FileError;
use ringfort_link as link;

/// The tag of frames about a renewal, on links between leaders.
const RENEWAL_TAG: u8 = 5;

/// Takes up what was kept of renewals.
pub(super) fn start(
    folder: &std::path::Path,
    group: &Arc<GroupInfo>,
    secrets: &LeaderSecrets,
    now: Time,
) -> Result<Renewal, FileError> {
    let saved = read_renewal(folder)?;
    Ok(Renewal::new(group.clone(), Arc::new(secrets.clone()), &saved, Limits::default(), now))
}

/// What a frame of a leader says of a renewal, if that is what it is about.
pub(super) fn sort(frame: &[u8]) -> Option<&[u8]> {
    match frame {
        [WIRE_VERSION, RENEWAL_TAG, post @ ..] => Some(post),
        _ => None,
    }
}

impl Driver {
    /// What the operator orders is carried out at once; the protocol core has no part in it.
    pub(super) fn on_renewal_order(&mut self, cx: &mut Cx<'_>, order: RenewalOrder) -> Result<Step, Rejected> {
        let RenewalOrder { newcomer, coordinator, attempt } = order;
        let step = self.renewal.on_order(cx, newcomer.map(|newcomer| *newcomer), coordinator, attempt)?;
        self.renewed.push(step);
        Ok(Step::default())
    }

    pub(super) fn on_renewal_frame(&mut self, cx: &mut Cx<'_>, peer: LeaderId, post: &[u8]) {
        let step = self.renewal.on_frame(cx, peer, post);
        self.renewed.push(step);
    }

    pub(super) fn renew_if_due(&mut self, cx: &mut Cx<'_>) {
        if self.renewal_due.is_some_and(|due| due <= cx.now) {
            let step = self.renewal.on_wakeup(cx);
            self.renewed.push(step);
        }
        self.renewal_due = self.renewal.next_wakeup(cx.now);
    }

    /// What was said of renewals is sent once it is durable.
    pub(super) fn carry_out_renewal(&mut self, observe: &mut impl FnMut(&Told<'_>)) -> Result<(), LeaderError> {
        let steps: Vec<renewal::Step> = std::mem::take(&mut self.renewed);
        let effects = || steps.iter().flat_map(|step| &step.effects);
        if effects().any(|effect| *effect == Effect::Persist) {
            keep_renewal(&self.folder, &self.renewal.saved())?;
        }
        for effect in effects() {
            let Effect::Send(peer, post) = effect else { continue };
            let Some((_, sender)) = self.peers.get(peer) else { continue };
            let frame = [&[WIRE_VERSION, RENEWAL_TAG], post.as_slice()].concat();
            if let Err(error) = sender.send(link::Class::Control, Bytes::from(frame)) {
                debug!(peer = peer.number(), %error, "not sent");
            }
        }
        for event in steps.iter().flat_map(|step| &step.events) {
            observe(&Told::Renewal(event));
        }
        Ok(())
    }
}
