//! Roles: what a member may do in the group, by its name (C8, C12; seed 003 §1.2).
//!
//! They are part of the policy, so every view's digest covers them and nobody has to be asked. Who may not send is
//! held to it by every receiver; who may not receive is never given the key by any honest leader.

use std::fmt;
use std::io;
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::data::{DataHeader, FrameKind};
use crate::ids::{USER_NAME_BYTES_MAX, UserName, invalid, read_short, serialize_short};
use crate::policy::Policy;

/// The most rules of one policy.
pub const ROLES_MAX: usize = 64;

/// Stands at the end of a prefix.
const ANY: char = '*';

/// What a member may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Role {
    /// Sends and receives.
    #[default]
    Member = 0,
    /// Receives and does not send.
    Receiver = 1,
    /// Sends to all who receive, and can read nothing.
    Sender = 2,
    /// A receiver that keeps what is said, and that everybody is shown as such.
    Archive = 3,
}

impl Role {
    /// Whether it may send messages.
    pub fn sends(self) -> bool {
        matches!(self, Role::Member | Role::Sender)
    }

    /// Whether it may have the group key.
    pub fn receives(self) -> bool {
        self != Role::Sender
    }

    /// The role as a stable word.
    pub fn word(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::Receiver => "receiver",
            Role::Sender => "sender",
            Role::Archive => "archive",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Whom a rule is about: one name, or all names with a beginning (`press-*`, `*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users {
    text: String,
}

/// Neither a name nor a beginning of names with a star.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a user's name nor the beginning of names with a star at its end, such as press-*")]
pub struct BadUsers(String);

impl Users {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the rule is about this user.
    pub fn cover(&self, user: &UserName) -> bool {
        match self.text.strip_suffix(ANY) {
            Some(prefix) => user.as_str().starts_with(prefix),
            None => self.text == user.as_str(),
        }
    }
}

impl FromStr for Users {
    type Err = BadUsers;

    fn from_str(text: &str) -> Result<Self, BadUsers> {
        let name = text.strip_suffix(ANY).unwrap_or(text);
        let all = name.is_empty() && text.ends_with(ANY);
        if all || name.parse::<UserName>().is_ok() {
            Ok(Users { text: text.to_owned() })
        } else {
            Err(BadUsers(text.chars().take(2 * USER_NAME_BYTES_MAX).collect()))
        }
    }
}

impl BorshSerialize for Users {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        serialize_short(self.text.as_bytes(), writer)
    }
}

impl BorshDeserialize for Users {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        read_short(reader, USER_NAME_BYTES_MAX + 1)?.parse().map_err(|_| invalid("users of a role"))
    }
}

/// A rule: these users have this role.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RoleRule {
    /// Who.
    pub users: Users,
    /// Which role.
    pub role: Role,
}

impl Policy {
    /// A user's role: that of the first rule about it; who is in none is an ordinary member.
    pub fn role(&self, user: &UserName) -> Role {
        self.roles.iter().find(|rule| rule.users.cover(user)).map(|rule| rule.role).unwrap_or_default()
    }

    /// Whether a frame is one that its named sender may send: what honest leaders relay and receivers accept.
    ///
    /// Who cannot read has no key of the group, and sends to each receiver under the key of the pair.
    pub fn may_send(&self, header: &DataHeader) -> bool {
        let private = matches!(header.kind, FrameKind::Private { .. } | FrameKind::PrivateMark { .. });
        match self.role(&header.sender.user) {
            Role::Member => true,
            Role::Sender => private,
            Role::Receiver | Role::Archive => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};
    use crate::data::{Recipient, Recipients};
    use crate::ids::{Incarnation, MemberId, Seq, ViewDigest};
    use crate::policy::{Origin, Protection, Service};

    fn policy(rules: &[(&str, Role)]) -> Policy {
        let rule = |(users, role): &(&str, Role)| RoleRule { users: users.parse().unwrap(), role: *role };
        Policy { roles: rules.iter().map(rule).collect(), ..Policy::default() }
    }

    fn role(policy: &Policy, name: &str) -> Role {
        policy.role(&name.parse().unwrap())
    }

    #[test]
    fn the_first_rule_about_a_user_counts() {
        let policy = policy(&[
            ("press-desk", Role::Member),
            ("press-*", Role::Receiver),
            ("press-late", Role::Sender),
            ("vault", Role::Archive),
        ]);
        assert_eq!(policy.check(), Ok(()));
        for (name, expected) in [
            ("press-desk", Role::Member),
            ("press-desk2", Role::Receiver),
            ("press-", Role::Receiver),
            ("press-late", Role::Receiver),
            ("press", Role::Member),
            ("vault", Role::Archive),
            ("vault2", Role::Member),
            ("ana", Role::Member),
        ] {
            assert_eq!(role(&policy, name), expected, "{name}");
        }
        let hall = self::policy(&[("prof", Role::Member), ("*", Role::Receiver)]);
        assert_eq!((role(&hall, "prof"), role(&hall, "ana")), (Role::Member, Role::Receiver));
    }

    #[test]
    fn a_rule_names_users_or_is_refused() {
        let long = format!("{}*", "a".repeat(33));
        for bad in ["", "**", "a*b", "*a", "Press-*", "-*", "a b", "ä*", long.as_str()] {
            assert!(bad.parse::<Users>().is_err(), "{bad}");
        }
        for good in ["*", "a", "press-*", "0*", &long[1..]] {
            let users: Users = good.parse().unwrap();
            assert_eq!(decode::<Users>(&encode(&users)), Ok(users), "{good}");
        }
        assert!(decode::<Users>(&[1, b'-']).is_err() && decode::<Users>(&[34; 35]).is_err());
    }

    #[test]
    fn policies_without_roles_keep_their_digest_and_roles_change_it() {
        let bare = Policy::default();
        let with = policy(&[("a*", Role::Receiver)]);
        assert!(with.to_bytes().len() > bare.to_bytes().len());
        assert_eq!(encode(&bare).len(), bare.to_bytes().len() + 16, "what came later and is not used is not hashed");
        let digests = [&bare, &with, &policy(&[("a*", Role::Archive)]), &policy(&[("b*", Role::Receiver)])];
        let digests: std::collections::BTreeSet<_> = digests.iter().map(|policy| policy.digest()).collect();
        assert_eq!(digests.len(), 4);
        assert_eq!(decode::<Policy>(&encode(&with)), Ok(with));
    }

    #[test]
    fn a_role_asks_for_what_makes_it_hold() {
        // Who holds the group key could speak in another's name where nobody signs.
        let unsigned = Policy { origin: Origin::Group, ..policy(&[("a", Role::Receiver)]) };
        assert_eq!(unsigned.check().unwrap_err().name, "roles: origin");
        let member = Policy { origin: Origin::Group, ..policy(&[("a", Role::Member)]) };
        assert_eq!(member.check(), Ok(()));
        // What is not sealed can be read by whoever gets the bytes.
        for protection in [Protection::None, Protection::Integrity] {
            let open = Policy { protection, ..policy(&[("a", Role::Sender)]) };
            assert_eq!(open.check().unwrap_err().name, "roles: protection");
            assert_eq!(Policy { protection, ..policy(&[("a", Role::Archive)]) }.check(), Ok(()));
        }
        let many = Policy { roles: vec![policy(&[("a", Role::Member)]).roles[0].clone(); 65], ..Policy::default() };
        assert_eq!(many.check().unwrap_err().name, "roles");
    }

    #[test]
    fn frames_that_a_role_may_send() {
        let policy = policy(&[("rea*", Role::Receiver), ("sen*", Role::Sender), ("vault", Role::Archive)]);
        let to = Recipients::new(vec![Recipient { user: "ana".parse().unwrap(), seq: Seq(1), start: Seq(1) }]).unwrap();
        let (service, seq, start) = (Service::Fifo, Seq(1), Seq(1));
        let kinds = [
            FrameKind::Multicast { service, seq, view_start: start },
            FrameKind::Mark { service, view_start: start, next: seq },
            FrameKind::Private { to },
            FrameKind::PrivateMark { to: "ana".parse().unwrap(), start, next: seq },
        ];
        for (name, expected) in [("ana", [true; 4]), ("reader", [false; 4]), ("vault", [false; 4])] {
            assert_eq!(kinds.clone().map(|kind| may_send(&policy, name, kind)), expected, "{name}");
        }
        assert_eq!(kinds.map(|kind| may_send(&policy, "sensor", kind)), [false, false, true, true]);
    }

    fn may_send(policy: &Policy, name: &str, kind: FrameKind) -> bool {
        let sender = MemberId { user: name.parse().unwrap(), incarnation: Incarnation(1) };
        policy.may_send(&DataHeader { sender, view: ViewDigest([0; 32]), kind })
    }
}
