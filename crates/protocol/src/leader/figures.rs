//! What a leader counts for its operator: numbers, never names or contents.

use std::time::Duration;

use super::Leader;
use super::link::{Link, Stage};
use crate::coordination::Session;
use crate::ids::ViewId;
use crate::time::Time;

/// How a leader is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The view published last.
    pub view: ViewId,
    /// Whether the published view holds all that is accepted here.
    pub published: bool,
    /// Whether this leader says nothing yet, since its memory is older than its words.
    pub catching_up: bool,
    /// The session accepted here.
    pub session: Session,
    /// What leaders ask for beyond it, with how many of them do.
    pub session_asked: Option<(Session, usize)>,
    /// Members accepted here.
    pub members: usize,
    /// Users registered here.
    pub registered: usize,
    /// Links whose other end has logged in.
    pub links_member: usize,
    /// Links whose other end has not.
    pub links_waiting: usize,
    /// How long the member that has been quiet longest has been so; zero without members.
    pub member_quiet_longest: Duration,
    /// Members that have been quiet for more than half of the time after which a leader removes them.
    pub members_quiet: usize,
    /// Frames kept for repair.
    pub history_frames: usize,
    /// What they take, bytes.
    pub history_bytes: usize,
}

impl Leader {
    /// How this leader is. It looks at every link and member: for once a second, not for every input.
    pub fn figures(&self, now: Time) -> Figures {
        let logged_in = |link: &&Link| matches!(link.stage, Stage::Member(_));
        let links_member = self.links.values().filter(logged_in).count();
        let quiet = || self.presence.values().map(|presence| now.since(presence.heard));
        let long = self.group.policy.remove_silent_after() / 2;
        let (history_frames, history_bytes) = self.relay.size();
        Figures {
            view: self.view(),
            published: self.is_published(),
            catching_up: self.is_catching_up(),
            session: self.state.session(),
            session_asked: self.state.session_asked(),
            members: self.state.members().len(),
            registered: self.login.registered(),
            links_member,
            links_waiting: self.links.len() - links_member,
            member_quiet_longest: quiet().max().unwrap_or_default(),
            members_quiet: quiet().filter(|quiet| *quiet > long).count(),
            history_frames,
            history_bytes,
        }
    }
}
