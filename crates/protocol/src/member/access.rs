//! What a member proves itself with, at each leader.

use std::collections::BTreeMap;

use super::Secret;
use crate::group::GroupInfo;
use crate::ids::{LeaderId, UserName};
use crate::login::{AnnouncedKey, Credential, Hardened, Hardening, LoginRequest};
use crate::time::Cx;

/// A key or a certificate is the same at every leader. A password is, once hardened, for the leaders that announced the
/// same login key.
pub(super) struct Access {
    /// Until the stay is announced: the password is not kept longer.
    hardening: Option<Hardening>,
    own: BTreeMap<LeaderId, Credential>,
    /// For leaders that have announced no key: most likely they know what the first f+1 know.
    any: Option<Credential>,
}

/// What to say first to a leader.
pub(super) enum Approach {
    /// Ask it to harden the password.
    Harden(LoginRequest),
    /// Log in.
    LogIn(Credential),
}

impl Access {
    pub fn new(cx: &mut Cx<'_>, user: &UserName, secret: Secret) -> Self {
        let (any, hardening) = match secret {
            Secret::Password(password) => (None, Hardening::start(user.clone(), &password, cx.rng)),
            Secret::Key(key) => (Some(Credential::Key(key)), None),
            Secret::Certificate(key, certificate) => (Some(Credential::Certificate(key, certificate)), None),
        };
        Access { hardening, own: BTreeMap::new(), any }
    }

    pub fn approach(&self, leader: LeaderId) -> Option<Approach> {
        if let Some(credential) = self.own.get(&leader) {
            return Some(Approach::LogIn(credential.clone()));
        }
        match &self.hardening {
            Some(hardening) => Some(Approach::Harden(hardening.request())),
            None => self.any.clone().map(Approach::LogIn),
        }
    }

    /// The blinded password, while it is being hardened.
    pub fn blinded(&self) -> Option<[u8; 32]> {
        self.hardening.as_ref().map(|hardening| hardening.blinded().0)
    }

    /// Uses what others have hardened at a leader that evaluates nothing for now. Whether there is such.
    pub fn assume(&mut self, leader: LeaderId) -> bool {
        let Some(any) = self.any.clone() else { return false };
        self.own.insert(leader, any).is_none()
    }

    /// Takes an evaluation. Where that hardens the password for some leaders, they can be logged in to.
    pub fn on_evaluation(
        &mut self,
        group: &GroupInfo,
        from: LeaderId,
        evaluation: &[u8; 128],
        key: &AnnouncedKey,
    ) -> Hardened {
        let Some(hardening) = &mut self.hardening else { return Hardened::default() };
        let hardened = hardening.on_evaluation(group, from, evaluation, key);
        if let Some((root, leaders)) = &hardened.root {
            let credential = Credential::Password(root.clone());
            self.own.extend(leaders.iter().map(|leader| (*leader, credential.clone())));
            self.any.get_or_insert(credential);
        }
        hardened
    }

    /// A leader knows no password of this user. Returns who is alone with the key that it announced.
    pub fn on_unknown(&mut self, group: &GroupInfo, from: LeaderId) -> Vec<LeaderId> {
        self.hardening.as_mut().map(|hardening| hardening.on_unknown(group, from)).unwrap_or_default()
    }

    /// Forgets the password.
    pub fn settle(&mut self) {
        self.hardening = None;
    }
}
