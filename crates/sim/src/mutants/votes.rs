//! Attacks on coordination. Leader 4 is hostile.

use ringfort_protocol::coordination::{Operation, SignedProposal};
use ringfort_protocol::leader::Event;
use ringfort_protocol::rules::Rule;
use ringfort_protocol::view::MemberEntry;
use ringfort_protocol::wire::PeerMessage;
use ringfort_protocol::{Incarnation, LeaderId, SessionId};

use super::bench::{Bench, Route, l, user};

fn ghost(bench: &mut Bench, name: &str, stay: u64) -> MemberEntry {
    ringfort_protocol::data::Identity::generate(user(name), Incarnation(stay), &mut bench.dice.0).entry()
}

fn vote(bench: &Bench, by: LeaderId, session: SessionId, operation: Operation) -> PeerMessage {
    let proposal = SignedProposal::sign(&bench.secrets_of(by).signing, by, session, operation, false);
    PeerMessage::Proposals(vec![proposal])
}

/// Consistency: one honest leader accepts on its own vote and a hostile one, the others never do.
pub fn accept(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |_| {});
    let ana = bench.register("ana");
    // Ana reaches leader 1 only; leader 4 votes to leader 1 only; what leader 1 says of having accepted is one word.
    bench.hold = Box::new(|route| matches!(route, Route::Peer(from, _) if *from == l(4)));
    bench.sit("ana", &ana, &[1, 4]);
    bench.pass(700);
    let votes: Vec<_> =
        bench.held.iter().filter(|(r, _)| matches!(r, Route::Peer(_, to) if *to == l(1))).cloned().collect();
    for (route, frame) in votes {
        bench.deliver(route, frame);
    }
    bench.pass(3_000);
    let (one, others) = (bench.admitted(&[1], "ana"), bench.admitted(&[2], "ana") && bench.admitted(&[3], "ana"));
    if one && !others {
        vec!["consistency: leader 1 accepted ana, leaders 2 and 3 never do".into()]
    } else {
        Vec::new()
    }
}

/// Figure 3: a leader's own proposal is among the n-f it accepts on. Nothing can show that this is not checked:
/// f+1 proposals make a leader propose before n-f can make it accept, and f+1 <= n-f.
pub fn accept_own(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |_| {});
    let entry = ghost(&mut bench, "ana", 1);
    let join = Operation::Join(entry);
    let session = bench.group.session();
    for by in [2, 3, 4] {
        let message = vote(&bench, l(by), session, join.clone());
        bench.push_peer(l(by), l(1), &message);
    }
    let proposed = bench.passed.iter().any(|(route, _)| matches!(route, Route::Peer(from, _) if *from == l(1)));
    match (bench.admitted(&[1], "ana"), proposed) {
        (true, false) => vec!["leader 1 accepted without a proposal of its own".into()],
        (true, true) => Vec::new(),
        (false, _) => vec!["the scenario did not come about".into()],
    }
}

/// Valid Authentication: votes in honest leaders' names, on leaders' links in the attacker's hands.
pub fn signature(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |_| {});
    let join = Operation::Join(ghost(&mut bench, "eve", 1));
    let session = bench.group.session();
    for by in [2, 3, 4] {
        // Signed by the hostile leader's key, whatever name it gives.
        let key = &bench.secrets_of(l(4)).signing;
        let forged = SignedProposal::sign(key, l(by), session, join.clone(), false);
        bench.push_peer(l(by), l(1), &PeerMessage::Proposals(vec![forged]));
    }
    admitted(&bench, "eve")
}

/// Valid Authentication: genuine votes of another session of the same group.
pub fn session(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |_| {});
    let join = Operation::Join(ghost(&mut bench, "eve", 1));
    for by in [2, 3, 4] {
        let old = vote(&bench, l(by), SessionId([9; 32]), join.clone());
        bench.push_peer(l(by), l(1), &old);
    }
    admitted(&bench, "eve")
}

fn admitted(bench: &Bench, name: &str) -> Vec<String> {
    let admitted =
        bench.events.iter().any(|(id, e)| *id != l(4) && matches!(e, Event::Admitted(m) if m.user == user(name)));
    if admitted { vec![format!("valid authentication: {name} was admitted")] } else { Vec::new() }
}

/// Forward: after a stay has ended, its login's votes come again.
pub fn incarnation(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |_| {});
    let ana = bench.register("ana");
    let seat = bench.join("ana", &ana);
    let joined = bench.passed.clone();
    bench.on_seat(seat, |member, _| member.leave());
    bench.pass(1_000);
    let before = bench.events.len();
    for (route, frame) in joined {
        if let Route::Peer(from, to) = route {
            bench.on_leader(to, |core, cx| core.on_peer_frame(cx, from, &frame));
        }
    }
    bench.pump();
    if bench.restless {
        return vec!["liveness: leaders go back and forth for ever".into()];
    }
    let again = bench.events.iter().skip(before).any(|(_, e)| matches!(e, Event::Admitted(_)));
    if again { vec!["forward: a stay that had ended was admitted again".into()] } else { Vec::new() }
}
