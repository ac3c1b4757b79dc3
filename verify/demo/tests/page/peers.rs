//! The page of the cut network: a newcomer cuts, reads both halves, and mends.

use ringfort_browser::{Axe, Browser, Page};
use serde_json::json;

use super::program::Demo;

const PEOPLE: [&str; 6] = ["ana", "ben", "cleo", "dan", "eva", "finn"];

struct Peers {
    browser: Browser,
    page: Page,
}

impl Peers {
    async fn open(browser: Browser, url: &str) -> Peers {
        let page = browser.open(url).await;
        browser.look(&page, 1440, 1000, false).await;
        browser.until(&page, None, "document.querySelector('.parts a:not([aria-current])') !== null").await;
        browser.click(&page, ".parts a:not([aria-current])").await;
        let peers = Peers { browser, page };
        peers.until("document.querySelectorAll('.peer').length === 6").await;
        // Everybody has a key, and it is the same.
        peers.until(&format!("({KEYS}).every((key) => /^[0-9a-f]{{4}}( [0-9a-f]{{4}}){{3}}$/.test(key))")).await;
        peers.until(&format!("new Set({KEYS}).size === 1 && {ONE_KEY}")).await;
        peers
    }

    async fn until(&self, script: &str) {
        self.browser.until(&self.page, None, script).await;
    }

    async fn text(&self, script: &str) -> String {
        self.browser.evaluate(&self.page, script).await.as_str().unwrap().to_owned()
    }

    async fn key(&self, person: &str) -> String {
        self.text(&format!("document.querySelector('#peer-{person} .key').textContent")).await
    }

    async fn says(&self, person: &str, text: &str) {
        let write = format!(
            "document.querySelector('#peer-{person} input').value = {}; document.querySelector('#peer-{person} form button').click();",
            json!(text)
        );
        self.browser.evaluate(&self.page, &write).await;
    }

    async fn read_by(&self, people: &[&str], text: &str) {
        for person in people {
            self.until(&format!(
                "document.querySelector('#peer-{person} .talked').innerText.includes({})",
                json!(text)
            ))
            .await;
        }
    }

    async fn heard(&self, person: &str) -> String {
        self.text(&format!("document.querySelector('#peer-{person} .talked').innerText")).await
    }

    /// The page says of a message under a key who has read it.
    async fn could_read(&self, key: &str, text: &str, read: &str) {
        let words = json!(format!("{text} {read}"));
        self.until(&format!("{}.replace(/\\s+/g, ' ').includes({words})", talk(key))).await;
    }

    /// Goes to a button with the keyboard alone.
    async fn presses(&self, button: &str) {
        self.until(&format!("!document.querySelector('{button}').disabled")).await;
        for _ in 0..80 {
            self.browser.keys(&self.page, Browser::TAB).await;
            let there = format!("document.activeElement.matches('{button}')");
            if self.browser.evaluate(&self.page, &there).await == true {
                return self.browser.keys(&self.page, Browser::ENTER).await;
            }
        }
        panic!("Tab does not come to {button}");
    }

    /// Finn leaves the half that has this key.
    async fn loses_finn(&self, key: &str) {
        self.browser.click(&self.page, "#leave").await;
        self.is_done(4).await;
        self.until("document.querySelector('#peer-finn .key').textContent === 'has left'").await;
        self.until("document.querySelector('#peer-eva .with').textContent.includes('1 with this key')").await;
        self.until("document.getElementById('banner').textContent.includes('neither can read the other')").await;
        let alone = self.key("eva").await;
        assert_ne!(alone, key);
        self.until(&format!("{}.includes('Finn, who had left, cannot read this.')", talk(&alone))).await;
    }

    /// The halves meet, Finn comes back, and all have one key.
    async fn finds_all_but_finn(&self) {
        self.until("document.getElementById('banner').textContent.includes('one key, except Finn')").await;
        for words in ["The halves meet: ", "Without Finn, who had left."] {
            self.until(&format!("document.getElementById('story').innerText.includes('{words}')")).await;
        }
        self.presses("#leave-finn").await;
    }

    async fn is_done(&self, step: u8) {
        self.until(&format!("document.getElementById('step-{step}').classList.contains('done')")).await;
    }
}

const KEYS: &str = "[...document.querySelectorAll('.peer .key')].map((key) => key.textContent)";
const ONE_KEY: &str = "document.getElementById('banner').textContent.includes('all have one key.')";

/// What the page says about a key: who has it, and who read what under it.
fn talk(key: &str) -> String {
    format!(
        "[...document.querySelectorAll('#spoken .spoken')].find((talk) => talk.textContent.includes('Key {key}')).innerText"
    )
}

fn crowd(people: &[&str]) -> String {
    let names: Vec<String> = people.iter().map(|name| name[..1].to_uppercase() + &name[1..]).collect();
    format!("{} and {}", names[..names.len() - 1].join(", "), names[names.len() - 1])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_cuts_the_network_and_sees_both_halves_go_on_and_meet() {
    let Some(browser) = Browser::start().await else { return };
    let demo = Demo::start();
    let peers = Peers::open(browser, &demo.url).await;
    // They talk by themselves until somebody speaks.
    peers.until("document.querySelectorAll('#peer-eva .said').length > 1").await;
    peers.says("ana", "Ana here.").await;
    peers.read_by(&PEOPLE, "Ana here.").await;
    peers.until("!document.getElementById('talk').checked").await;
    peers.is_done(1).await;

    // One site apart, by the pointer, and then another one, by the keyboard.
    for (round, (site, apart, others)) in
        [("west", &PEOPLE[4..], &PEOPLE[..4]), ("north", &PEOPLE[..2], &PEOPLE[2..])].into_iter().enumerate()
    {
        let whole = peers.key("ana").await;
        match round {
            0 => peers.browser.click(&peers.page, "#cut").await,
            _ => peers.presses(&format!("#cut-{site}")).await,
        }
        peers.until("document.getElementById('wires').getAttribute('aria-label').startsWith('Cut between')").await;
        peers.until(&format!("document.getElementById('site-{site}').classList.contains('alone')")).await;
        peers.until("document.getElementById('banner').textContent.includes('neither can read the other')").await;
        peers.is_done(3).await;
        let (here, there) = (peers.key(apart[0]).await, peers.key(others[0]).await);
        assert!(here != there && here != whole && there != whole, "{whole}; {here}; {there}");
        for person in PEOPLE {
            let expected = if apart.contains(&person) { &here } else { &there };
            assert_eq!(peers.key(person).await, *expected, "{person}");
        }
        let (ours, theirs) = (format!("Only {site}, round {round}."), format!("Without {site}, round {round}."));
        peers.says(apart[1], &ours).await;
        peers.says(others[1], &theirs).await;
        peers.read_by(apart, &ours).await;
        peers.read_by(others, &theirs).await;
        for (key, text, read, absent) in
            [(&here, &ours, "read by both", others), (&there, &theirs, "read by all four", apart)]
        {
            peers.could_read(key, text, read).await;
            let unread = format!("{}, who were cut off, cannot read this.", crowd(absent));
            peers.until(&format!("{}.includes({})", talk(key), json!(unread))).await;
        }
        if round == 0 {
            peers.browser.image(&peers.page, "demo-peers.png").await;
            peers.browser.look(&peers.page, 1440, 1000, true).await;
            peers.browser.image(&peers.page, "demo-peers-dark.png").await;
            peers.browser.look(&peers.page, 1440, 1000, false).await;
            peers.loses_finn(&here).await;
            peers.browser.click(&peers.page, "#mend").await;
            peers.finds_all_but_finn().await;
        } else {
            peers.presses("#mend").await;
        }
        peers.until(&format!("new Set({KEYS}).size === 1 && {ONE_KEY}")).await;
        let again = peers.key("ana").await;
        assert!(![&whole, &here, &there].contains(&&again), "a merge has a key of its own");
        peers.until("document.getElementById('met').textContent !== '–'").await;
        peers.is_done(5).await;
        peers.says("dan", &format!("All again, round {round}.")).await;
        peers.read_by(&PEOPLE, &format!("All again, round {round}.")).await;
        peers.could_read(&again, &format!("All again, round {round}."), "read by all six").await;
        for person in PEOPLE {
            let heard = peers.heard(person).await;
            let other = if apart.contains(&person) { &theirs } else { &ours };
            assert!(!heard.contains(other.as_str()), "{person} heard what was said on the other side: {heard}");
            assert!(heard.contains("Out of reach: "), "{heard}");
            assert!(heard.contains("Here now: ") || person == "finn", "{heard}");
        }
    }
    peers.until("document.getElementById('compared').textContent > 5").await;
    assert_eq!(peers.text("document.getElementById('differ').textContent").await, "0");
    peers.browser.image(&peers.page, "demo-peers-met.png").await;
    assert_eq!(peers.browser.errors(), Vec::<String>::new());
    demo.end();
    peers.until("document.getElementById('banner').textContent.includes('has ended')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_cut_network_is_closed_to_nobody() {
    let Some(browser) = Browser::start().await else { return };
    let demo = Demo::start();
    let peers = Peers::open(browser, &demo.url).await;
    peers.browser.click(&peers.page, "#cut").await;
    peers.until("document.getElementById('banner').textContent.includes('neither can read the other')").await;
    let Some(axe) = Axe::load().await else { return };
    for (width, height, dark) in [(1440, 1000, false), (1440, 1000, true), (1000, 900, false), (390, 800, false)] {
        peers.browser.look(&peers.page, width, height, dark).await;
        peers.browser.image(&peers.page, &format!("demo-peers-{width}-{dark}.png")).await;
        assert_eq!(axe.findings(&peers.browser, &peers.page).await, Vec::<String>::new(), "{width} {dark}");
    }
    assert_eq!(peers.browser.errors(), Vec::<String>::new());
    demo.end();
}
