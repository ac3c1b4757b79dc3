//! Whose role lets them exchange files.

use ringfort::Group;
use ringfort::protocol::{Role, UserName};

use crate::driver::{Files, FilesError};

/// Whoever receives a file reports how far it has come, so a file goes between members that send and receive.
pub(crate) fn takes_part(group: &Group, user: &UserName) -> bool {
    group.info().policy.role(user) == Role::Member
}

/// The members that files can go to and come from.
pub(crate) fn partners(group: &Group) -> Vec<UserName> {
    let all = if takes_part(group, group.user()) { group.members() } else { Vec::new() };
    all.into_iter().filter(|user| takes_part(group, user)).collect()
}

impl Files {
    /// That the role of nobody, this user's neither, is in the way of exchanging files with these.
    ///
    /// # Errors
    /// [`FilesError::Role`].
    pub fn check_roles(&self, with: &[UserName]) -> Result<(), FilesError> {
        let group = &self.shared.group;
        match [group.user()].into_iter().chain(with).find(|user| !takes_part(group, user)) {
            Some(user) => Err(FilesError::Role(user.clone(), group.info().policy.role(user))),
            None => Ok(()),
        }
    }
}
