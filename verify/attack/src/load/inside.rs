//! Attackers that are members.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfort_protocol::wire::MemberRequest;
use tokio::task::JoinHandle;

use super::flood::{Flood, Tally};
use crate::real::insider::Insider;

/// Time between two heartbeats of an attacker that stays in.
const BEAT_PERIOD: Duration = Duration::from_millis(300);
/// Messages between two looks at what leaders say.
const HOLES: usize = 32;
/// Requests and messages of an insider between two pauses.
const ASKS: usize = 50;
const ASK_PAUSE: Duration = Duration::from_millis(20);

/// What attackers do that are members.
pub(super) fn busy(flood: Flood, insiders: Vec<Insider>, tally: &Arc<Tally>) -> Vec<JoinHandle<()>> {
    let works = insiders.into_iter().map(|insider| {
        let tally = tally.clone();
        tokio::spawn(async move {
            match flood {
                Flood::Insiders => ask_without_end(insider, &tally).await,
                Flood::Holes => leave_out(insider, &tally).await,
                Flood::SlowReaders => {
                    tally.tried();
                    read_on(insider).await;
                }
                _ => {
                    tally.tried();
                    hold(insider).await;
                }
            }
        })
    });
    works.collect()
}

/// Stays logged in and takes nothing from its links.
async fn hold(insider: Insider) {
    insider.go_deaf();
    std::future::pending::<()>().await;
    drop(insider);
}

/// Stays in and takes what comes, as fast as its taps let it.
async fn read_on(mut insider: Insider) {
    loop {
        insider.live(BEAT_PERIOD, |_| false).await;
        insider.beat();
    }
}

/// Says little, as fast as it can, and never every second message: whoever hears it misses something all the time.
async fn leave_out(mut insider: Insider, tally: &Tally) {
    let mut beat_at = Instant::now();
    loop {
        let mut room = true;
        for _ in 0..HOLES {
            insider.leave_out();
            let Ok(frame) = insider.message(None, b"x") else { break };
            tally.tried();
            room &= insider.relay(&frame);
        }
        if beat_at.elapsed() >= BEAT_PERIOD {
            beat_at = Instant::now();
            insider.beat();
        }
        // What leaders say is heard in between; with the line full, for longer.
        insider.live(if room { Duration::from_micros(100) } else { Duration::from_millis(5) }, |_| false).await;
    }
}

async fn ask_without_end(mut insider: Insider, tally: &Tally) {
    let mut answers = insider.answers();
    loop {
        let mut asked = 0;
        for leader in insider.leaders() {
            for _ in 0..ASKS {
                tally.tried();
                asked += u64::from(insider.request(leader, &MemberRequest::Claim { have: None }));
            }
            // Leaders relay it, and nobody can open it.
            if let Ok(frame) = insider.noise() {
                tally.tried();
                insider.send(leader, frame);
            }
        }
        insider.live(ASK_PAUSE, |_| false).await;
        let answered = insider.answers() - std::mem::replace(&mut answers, insider.answers());
        tally.count(answered, asked.saturating_sub(answered));
    }
}
