//! Stable words for what happens, as logs, the audit and metrics use them.

use ringfort::files::OperatorRequest;
use ringfort::protocol::UserName;
use ringfort::protocol::fault::Culprit;
use ringfort::protocol::login::Denial;
use ringfort::protocol::motion::{Motion, MotionKind};
use ringfort::protocol::view::Cause;

/// Why a stay ended.
pub fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Left => "left",
        Cause::Lost => "lost",
        Cause::Expelled => "expelled",
        Cause::Expired => "expired",
    }
}

/// Why a login was refused.
pub fn denial_word(denial: Denial) -> &'static str {
    match denial {
        Denial::NotAuthentic => "not-authentic",
        Denial::Expelled => "expelled",
        Denial::Incarnation(_) => "incarnation",
        Denial::Throttled => "throttled",
        Denial::Full => "full",
        Denial::Closed => "closed",
        Denial::Outvoted => "outvoted",
    }
}

/// What members are asked.
pub fn motion_word(motion: &Motion) -> &'static str {
    match motion.kind {
        MotionKind::Admit => "admit",
        MotionKind::Expel => "expel",
    }
}

/// What kind of peer is blamed.
pub fn culprit_kind(culprit: &Culprit) -> &'static str {
    match culprit {
        Culprit::Leader(_) => "leader",
        Culprit::Member(_) => "member",
        Culprit::Outsider(_) => "outsider",
    }
}

/// What an operator asked for, and about whom.
pub fn order_words(order: &OperatorRequest) -> (&'static str, Option<&UserName>) {
    match order {
        OperatorRequest::Accept(record) => ("accept", Some(&record.user)),
        OperatorRequest::Expel(user) => ("expel", Some(user)),
        OperatorRequest::Refresh => ("refresh", None),
    }
}
