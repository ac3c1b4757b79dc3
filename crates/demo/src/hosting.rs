//! What runs in the leaders' processes: an honest leader, and what all of them share.

use std::io::Write;
use std::path::Path;

use ringfort::files::LeaderFolder;
use ringfort::leader::{LeaderOptions, run_leader};
use ringfort_protocol::fault::Culprit;
use ringfort_protocol::leader::Event;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

/// Runs an honest leader until its standard input ends; tells on standard output what happens.
pub async fn lead(folder: &Path) -> anyhow::Result<()> {
    let open = LeaderFolder::open(folder)?;
    run_leader(open, LeaderOptions::default(), |event| tell(&describe(event)), input_ended()).await?;
    Ok(())
}

/// Completes when whoever started this process is gone or wants it to end.
pub async fn input_ended() {
    let mut input = tokio::io::stdin();
    let mut bytes = [0; 64];
    while let Ok(1..) = input.read(&mut bytes).await {}
}

/// Completes when somebody wants the demo to end: Ctrl-C, or a kind kill.
pub async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => drop(signals.recv().await),
            // Where signals cannot be had, they end the process by themselves.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}

/// One line of standard output. Whoever reads it may be gone: then there is nobody to tell.
pub fn tell(line: &Value) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn describe(event: &Event) -> Value {
    match event {
        Event::Authenticated(member) => json!({ "event": "authenticated", "user": member.user.as_str() }),
        Event::Denied(user, reason) => {
            json!({ "event": "denied", "user": user.as_str(), "reason": reason.to_string() })
        }
        Event::Admitted(member) => json!({ "event": "admitted", "user": member.user.as_str() }),
        Event::Ended(user, cause) => {
            json!({ "event": "ended", "user": user.as_str(), "cause": format!("{cause:?}").to_lowercase() })
        }
        Event::Published(view, members) => {
            json!({ "event": "published", "epoch": view.epoch.0, "view": view.to_string(), "members": members })
        }
        Event::Blamed(culprit, fault) => {
            let (whom, name) = match culprit {
                Culprit::Leader(leader) => ("leader", leader.number().to_string()),
                Culprit::Member(member) => ("member", member.user.to_string()),
                Culprit::Outsider(user) => ("outsider", user.as_ref().map(ToString::to_string).unwrap_or_default()),
            };
            let proof = fault.is_deviation();
            json!({ "event": "blamed", "whom": whom, "name": name, "fault": fault.word(), "deviation": proof })
        }
    }
}
