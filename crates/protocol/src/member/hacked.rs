//! For simulations whose hacked members say something else than their honest core would.

use super::Member;
#[cfg(feature = "mutants")]
use {super::Link, crate::codec::encode, crate::ids::LeaderId, crate::wire::MemberRequest, bytes::Bytes};

impl Member {
    #[cfg(not(feature = "mutants"))]
    pub(super) fn speaks_openly(&self) -> bool {
        false
    }

    #[cfg(feature = "mutants")]
    pub(super) fn speaks_openly(&self) -> bool {
        self.speaks_openly
    }

    /// From now on requests come out unsealed, behind a zero byte, for the simulation to alter and seal.
    #[cfg(feature = "mutants")]
    pub fn speak_openly_for_testing_only(&mut self) {
        self.speaks_openly = true;
    }

    /// Seals a request for a leader with a logged-in link.
    #[cfg(feature = "mutants")]
    pub fn seal_for_testing_only(&mut self, leader: LeaderId, request: &MemberRequest) -> Option<Bytes> {
        let channel = self.links.get_mut(&leader).and_then(Link::channel)?;
        Some(channel.seal(&encode(request)))
    }
}
