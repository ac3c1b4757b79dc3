//! Requests to the group's services: signed with the key of the stay, and given to leaders over their links.

use ringfort_crypto::sign::Signature;

use super::{Event, Member, Phase, Step};
use crate::fault::{Fault, Rejected};
use crate::ids::LeaderId;
use crate::view::MemberEntry;
use crate::wire::{MemberRequest, SERVICE_BYTES_MAX, SERVICE_LABEL};

impl Member {
    /// Who asks: this stay, once it is in the group and as long as it is.
    ///
    /// # Errors
    /// [`Rejected::NotJoined`] and [`Rejected::Ended`].
    pub fn stay(&self) -> Result<MemberEntry, Rejected> {
        match (self.phase, &self.me) {
            (Phase::In, Some(me)) => Ok(me.entry()),
            (Phase::Leaving | Phase::Ended, _) => Err(Rejected::Ended),
            _ => Err(Rejected::NotJoined),
        }
    }

    /// Signs the digest of a request to the group's services.
    pub fn sign_request(&self, digest: &[u8; 32]) -> Option<Signature> {
        self.me.as_ref().map(|me| me.signing.sign(SERVICE_LABEL, &[digest]))
    }

    /// The leaders that can be asked, those in good standing first.
    pub fn reachable(&self) -> Vec<LeaderId> {
        self.by_preference()
    }

    /// Gives a request to a leader, if it has a link. What is longer than a request may be is not sent.
    pub fn ask_service(&mut self, leader: LeaderId, request: &[u8]) -> Step {
        let mut step = Step::default();
        if request.len() <= SERVICE_BYTES_MAX {
            self.request(leader, &MemberRequest::Service(request.to_vec()), &mut step);
        }
        step
    }

    /// One leader's word: what f+1 say is for the caller to find out.
    pub(super) fn on_service_answer(&mut self, from: LeaderId, answer: Vec<u8>, step: &mut Step) {
        match answer.len() {
            ..=SERVICE_BYTES_MAX => step.events.push(Event::Answered(from, answer)),
            _ => self.blame_leader(from, Fault::Malformed, step),
        }
    }
}
