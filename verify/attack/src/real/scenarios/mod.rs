//! The scenarios of the real stage, by what the attacker holds.

mod door;
mod former;
mod hacked;
mod inside;
mod outage;
mod peers;
mod wire;

use std::time::Duration;

use super::trial::Trial;
use crate::scenario::RealScenario;

/// How long a leader may take to hang up: its own limit for logins, and some more on a busy machine.
const HANG_UP: Duration = Duration::from_secs(25);

macro_rules! scenarios {
    ($($name:literal => $module:ident::$play:ident,)* sites: $($own:literal => $room:ident::$act:ident,)*) => {
        /// All of them, by name. Those of sites have three of their own, and leave the group with leaders alone.
        pub const ALL: &[(&str, RealScenario)] = &[$(($name, |stage| {
            Box::pin(async move {
                let mut trial = Trial::begin(stage).await?;
                $module::$play(&mut trial).await?;
                trial.end().await
            })
        }),)* $(($own, |stage| Box::pin($room::$act(stage))),)*];
    };
}

scenarios! {
    "connection-replay" => wire::connection_replay,
    "rekey-replay" => wire::rekey_replay,
    "rekeys-withheld" => wire::rekeys_withheld,
    "records-altered" => wire::records_altered,
    "records-lost" => wire::records_lost,
    "records-delayed" => wire::records_delayed,
    "leaders-wires" => wire::leaders_wires,
    "cut-anywhere" => wire::cut_anywhere,
    "partition" => wire::partition,
    "blackout" => wire::blackout,
    "forged-denial" => door::forged_denial,
    "forged-close" => door::forged_close,
    "stranger" => door::stranger,
    "garbage" => door::garbage,
    "password-guesses" => door::password_guesses,
    "login-replay" => door::login_replay,
    "middleman" => door::middleman,
    "stolen-link-key" => door::stolen_link_key,
    "false-leader" => door::false_leader,
    "forged-origin" => inside::forged_origin,
    "forged-leave" => inside::forged_leave,
    "stale-heartbeat" => inside::stale_heartbeat,
    "request-replay" => inside::request_replay,
    "ex-member" => former::ex_member,
    "ex-member-relayed" => former::ex_member_relayed,
    "hacked-spy" => hacked::spy,
    "hacked-drop" => hacked::drop,
    "hacked-tamper" => hacked::tamper,
    "hacked-silent" => hacked::silent,
    "hacked-expel" => hacked::expel,
    "hacked-ghost" => hacked::ghost,
    "hacked-bad-shares" => hacked::bad_shares,
    "hacked-bad-proofs" => hacked::bad_proofs,
    "hacked-equivocate" => hacked::equivocate,
    "hacked-old-view" => hacked::old_view,
    "hacked-deny" => hacked::deny,
    "hacked-flood" => hacked::flood,
    "hacked-chaos" => hacked::chaos,
    "leaders-stopped" => outage::leaders_stopped,
    "leader-crashes" => outage::leader_crashes,
    "too-few-leaders" => outage::too_few_leaders,
    sites:
    "ring-datagrams" => peers::ring_datagrams,
    "ring-wrong-key" => peers::ring_wrong_key,
    "client-garbage" => peers::client_garbage,
}

/// Waits until something is so that nobody reports.
async fn until(limit: Duration, mut so: impl FnMut() -> bool) -> bool {
    let deadline = tokio::time::Instant::now() + limit;
    while !so() {
        if tokio::time::Instant::now() >= deadline {
            return so();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}
