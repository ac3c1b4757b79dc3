//! Three members on their pages while one of four leaders attacks, in every way we know: real agents, real leaders, a real
//! browser. Skipped, with a word, where there is no browser; see [`ringfort_browser::Browser`].

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod person;
mod processes;
mod streams;

use ringfort_attack::adversary::Kind;
use ringfort_browser::Browser;
use tokio::sync::Mutex;

use person::{Person, alike};
use processes::Group;

/// What members themselves see, and one of the reasons that the page gives. The other attacks are refused by leaders, have no
/// effect, or cannot be told from bad luck.
fn told(kind: Kind) -> Option<(&'static str, &'static [&'static str])> {
    Some(match kind {
        Kind::Silent => ("silent", &["does not answer", "does not confirm"]),
        Kind::BadShares | Kind::BadProofs => ("caught", &["with a false proof", "two different views"]),
        Kind::Equivocate => ("caught", &["two different views"]),
        Kind::OldView => ("caught", &["an old answer", "an older view", "two different views"]),
        Kind::Flood => ("caught", &["are no message", "does not open", "more than the limits"]),
        _ => return None,
    })
}

/// Each of these tests has the machine for itself.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn three_people_go_on_under_every_attack() {
    let _alone = ALONE.lock().await;
    let Some(browser) = Browser::start().await else { return };
    let mut group = Group::start(&["ana", "ben", "eva"]);
    let mut people = Vec::new();
    for name in ["ana", "ben", "eva"] {
        people.push(Person::at_the_door(&browser, &group, name).await);
    }
    people[0].is_refused("not the password").await;
    for person in &people {
        person.logs_in().await;
    }
    let everybody = ["ana", "ben", "eva"];
    for person in &people {
        person.sees(&everybody).await;
    }

    for (round, kind) in Kind::ALL.into_iter().enumerate() {
        group.hack(2, kind);
        // One leaves and comes back while it attacks, and has seen nothing of earlier attacks. Where members can tell this one,
        // another goes and comes, so that the first sees it.
        let comer = &people[2];
        comer.leaves().await;
        people[0].sees(&["ana", "ben"]).await;
        comer.logs_in_again().await;
        // This one sends them away, signed; the others do not.
        if kind != Kind::Deny {
            comer.reaches(2).await;
        }
        if told(kind).is_some() {
            people[1].leaves().await;
            comer.sees(&["ana", "eva"]).await;
            people[1].logs_in_again().await;
        }
        for person in &people {
            person.sees(&everybody).await;
        }
        for (i, person) in people.iter().enumerate() {
            let text = format!("round {round}, {} under {}", person.name, kind.name());
            person.says("Everybody", &text).await;
            for other in &people {
                other.reads(&text).await;
            }
            let (to, without) = (&people[(i + 1) % 3], &people[(i + 2) % 3]);
            let secret = format!("secret {round}, {} to {}", person.name, to.name);
            person.says(to.name, &secret).await;
            to.reads(&secret).await;
            assert!(!without.has_read(&secret).await, "{}: {} reads {secret}", kind.name(), without.name);
        }
        let y = 40 + 30 * i32::try_from(round).unwrap();
        people[0].draws(&[(60, y), (220, y + 15)]).await;
        people[1].draws(&[(60, y + 15), (220, y)]).await;
        alike(&people[..2], 2 * (round + 1)).await;
        for person in &people {
            person.is_at_ease_but_for(2).await;
        }
        if let Some((mood, reasons)) = told(kind) {
            comer.is_told(2, mood, reasons).await;
        }
    }
    group.heal(2);

    // What has been said is there after a reload.
    people[0].reloads().await;
    people[0].reads("round 0, ben under silent").await;
    alike(&people[..2], 2 * Kind::ALL.len()).await;
    // The agent is killed, and started again.
    let second = people.remove(1).killed(&group).await;
    second.logs_in().await;
    second.sees(&everybody).await;
    second.says("Everybody", "back again").await;
    for person in &people {
        person.reads("back again").await;
    }
    assert_eq!(browser.errors(), Vec::<String>::new());
}
