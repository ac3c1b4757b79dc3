//! Stable words for what happens, as logs, the audit and metrics use them.

use ringfort::protocol::UserName;
use ringfort::protocol::coordination::{Session, SessionOrder};
use ringfort::protocol::fault::Culprit;
use ringfort::protocol::login::Denial;
use ringfort::protocol::motion::{Motion, MotionKind};
use ringfort::protocol::view::Cause;
use ringfort_node::folder::OperatorRequest;
use ringfort_node::leader::renewal;

/// Why a stay ended.
pub fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Left => "left",
        Cause::Lost => "lost",
        Cause::Expelled => "expelled",
        Cause::Expired => "expired",
        Cause::SessionOver => "session-over",
        Cause::Elsewhere => "elsewhere",
    }
}

/// Why a login was refused.
pub fn denial_word(denial: Denial) -> &'static str {
    match denial {
        Denial::NotAuthentic => "not-authentic",
        Denial::Expelled(_) => "expelled",
        Denial::Incarnation(_) => "incarnation",
        Denial::Throttled => "throttled",
        Denial::Full => "full",
        Denial::Unsettled(_) => "unsettled",
        Denial::NoSession(_) => "no-session",
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
        OperatorRequest::Replace(record) => ("replace", Some(&record.user)),
        OperatorRequest::Expel(user) => ("expel", Some(user)),
        OperatorRequest::Refresh => ("refresh", None),
        OperatorRequest::Session(order) => (session_word(*order), None),
        OperatorRequest::Renew(order) if order.newcomer.is_some() => ("replace-leader", None),
        OperatorRequest::Renew(_) => ("renew", None),
    }
}

/// What a renewal has come to: a word, the number of the generation, and whom it is about.
pub fn renewal_words(event: &renewal::Event) -> (&'static str, u32, Option<u8>, Option<&'static str>) {
    match event {
        renewal::Event::Ordered(number, by) => ("ordered", *number, Some(by.number()), None),
        renewal::Event::Begun(number) => ("begun", *number, None, None),
        renewal::Event::Blamed(number, who, fault) => ("blamed", *number, Some(who.number()), Some(fault.word())),
        renewal::Event::Certified(number) => ("certified", *number, None, None),
    }
}

/// The session that an operator's order names.
pub fn order_session(order: &OperatorRequest) -> Option<u64> {
    if let OperatorRequest::Session(order) = order { Some(order.number().get()) } else { None }
}

/// What is wanted of a session.
pub fn session_word(order: SessionOrder) -> &'static str {
    match order {
        SessionOrder::End(_) => "end-session",
        SessionOrder::Start(_) => "start-session",
        SessionOrder::Restart(_) => "restart-session",
    }
}

/// What some leaders ask for of the session, as a sentence without its end: "2 leaders ask to end session 3".
pub fn session_asked(now: Session, (asked, leaders): (Session, usize)) -> String {
    let ask = if leaders == 1 { "1 leader asks".to_owned() } else { format!("{leaders} leaders ask") };
    match (now.open, asked.open) {
        (_, false) => format!("{ask} to end session {}", asked.number),
        (false, true) => format!("{ask} to start session {}", asked.number),
        (true, true) => format!("{ask} to end session {} and start session {}", now.number, asked.number),
    }
}
