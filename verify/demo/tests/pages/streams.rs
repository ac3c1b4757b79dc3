//! Sound and files while one of four leaders attacks: what flows all the time, beside chat, joins and leaves.

use std::f64::consts::TAU;

use ringfort_attack::adversary::Kind;
use ringfort_browser::{Browser, tone};

use super::ALONE;
use super::person::Person;
use super::processes::Group;

/// Of the tone in the microphone, in Hz.
const PITCH: f64 = 330.0;
/// In each round; more than 50 MiB in all.
const MIB: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn sound_and_files_go_on_under_every_attack() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tone.wav");
    tone::wav(&file, 10, |t| 0.4 * (TAU * PITCH * t).sin());
    let Some(browser) = Browser::hearing(&file).await else { return };
    let mut group = Group::start(&["ana", "ben", "eva"]);
    let (ana, ben) =
        (Person::at_the_door(&browser, &group, "ana").await, Person::at_the_door(&browser, &group, "ben").await);
    let eva = Person::at_the_door(&browser, &group, "eva").await;
    for person in [&ana, &ben, &eva] {
        person.logs_in().await;
    }
    ana.sees(&["ana", "ben", "eva"]).await;
    for person in [&ana, &ben] {
        person.listens().await;
    }
    ana.speaks().await;
    ben.hears(PITCH).await;

    for (round, kind) in Kind::ALL.into_iter().enumerate() {
        group.hack(2, kind);
        let name = format!("{}.bin", kind.name());
        ana.drops_file(&name, MIB).await;
        // Somebody leaves and comes back while the file is on its way.
        eva.leaves().await;
        let text = format!("round {round} under {}", kind.name());
        ana.says("Everybody", &text).await;
        ben.reads(&text).await;
        eva.logs_in_again().await;
        ben.gets_file(&name, MIB).await;
        ben.hears(PITCH).await;
        println!("{}: heard, and {MIB} MiB received", kind.name());
    }
    assert!(MIB * Kind::ALL.len() >= 50);
    group.heal(2);
    ben.hears(PITCH).await;
    assert_eq!(browser.errors(), Vec::<String>::new());
}
