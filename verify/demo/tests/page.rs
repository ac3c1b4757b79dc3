//! The demo's page as a newcomer sees it: the real program, and a real browser that clicks.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "page/peers.rs"]
mod peers;
#[path = "page/program.rs"]
mod program;

use std::time::{Duration, Instant};

use ringfort_browser::{Axe, Browser, DEADLINE, Page};
use serde_json::json;

use program::{Demo, get};

/// From the start of the program until three people have drawn together; far more than a busy machine needs.
const TOGETHER_WITHIN: Duration = Duration::from_secs(90);

const NAMES: [&str; 3] = ["ana", "ben", "eva"];

/// Each attack, the leader that makes it, and what the card then shows. Those on messages come while members still
/// pass them through that leader: they avoid whoever they caught.
const ATTACKS: [(&str, u8, &str); 13] = [
    ("spy", 1, "hidden"),
    ("drop", 2, "hidden"),
    ("silent", 3, "silent"),
    ("expel", 4, "hidden"),
    ("tamper", 2, "caught"),
    ("ghost", 3, "caught"),
    ("bad-shares", 1, "caught"),
    ("bad-proofs", 4, "caught"),
    ("equivocate", 3, "caught"),
    ("old-view", 1, "caught"),
    ("deny", 2, "caught"),
    ("flood", 4, "caught"),
    ("chaos", 3, "caught"),
];

/// The page of the demo, and the members' pages in it.
struct Room {
    browser: Browser,
    page: Page,
    people: Vec<Page>,
}

impl Room {
    async fn open(browser: Browser, url: &str) -> Room {
        let page = browser.open(url).await;
        browser.look(&page, 1440, 900, false).await;
        browser.until(&page, None, "document.querySelectorAll('.person iframe').length === 3").await;
        let mut people = Vec::new();
        for name in NAMES {
            let src = browser.evaluate(&page, &format!("document.querySelector('#member-{name} iframe').src")).await;
            let origin = src.as_str().unwrap().split("/?").next().unwrap().to_owned();
            let frame = wait_for(async || browser.frame(&page, &format!("{origin}/")).await).await;
            browser.until(&frame, None, "document.querySelectorAll('#members li').length === 3").await;
            people.push(frame);
        }
        Room { browser, page, people }
    }

    async fn until(&self, script: &str) {
        self.browser.until(&self.page, None, script).await;
    }

    async fn number(&self, id: &str) -> u64 {
        let text = self.browser.evaluate(&self.page, &format!("document.getElementById('{id}').textContent")).await;
        text.as_str().unwrap().parse().unwrap()
    }

    /// Where an element begins in its page.
    async fn corner(&self, page: &Page, selector: &str) -> (i32, i32) {
        let script = format!("(({{ x, y }}) => [x, y])(document.querySelector('{selector}').getBoundingClientRect())");
        let corner = self.browser.evaluate(page, &script).await;
        let number = |place: usize| corner[place].as_f64().unwrap() as i32;
        (number(0), number(1))
    }

    /// One draws, and everybody sees it.
    async fn draw_together(&self) {
        for person in &self.people {
            self.browser.evaluate(person, "document.getElementById('tab-whiteboard').click()").await;
            let ready = "typeof boardDigest === 'function' && document.getElementById('canvas').clientWidth > 100";
            self.browser.until(person, Some("whiteboard"), ready).await;
        }
        for (place, (name, person)) in NAMES.into_iter().zip(&self.people).enumerate() {
            let mut tries = 0;
            while self.strokes(person).await <= place {
                assert!(tries < 5, "{name}'s pointer does not come to the canvas");
                tries += 1;
                self.draw(name, person, place).await;
            }
        }
        for person in &self.people {
            self.browser.until(person, Some("whiteboard"), "JSON.parse(boardDigest()).length === 3").await;
        }
    }

    async fn strokes(&self, person: &Page) -> usize {
        let count = self.browser.in_plugin(person, "whiteboard", "JSON.parse(boardDigest()).length").await;
        usize::try_from(count.as_u64().unwrap()).unwrap()
    }

    /// Draws with a real pointer, which knows nothing of frames: the canvas is two frames deep. While the machine is busy the browser
    /// may not know yet where the frames are, and the pointer misses the canvas.
    async fn draw(&self, name: &str, person: &Page, place: usize) {
        let outer = self.corner(&self.page, &format!("#member-{name} iframe")).await;
        let inner = self.corner(person, "#panel-whiteboard iframe").await;
        let (x, y) = (outer.0 + inner.0, outer.1 + inner.1 + 170 + 40 * i32::try_from(place).unwrap());
        let line: Vec<(i32, i32)> = (0..12).map(|i| (x + 60 + 20 * i, y + [0, 14, 20, 8][i as usize % 4])).collect();
        let board = self.browser.frame(person, "/whiteboard/").await.unwrap();
        self.browser.drag(&self.page, &line, (&board, "#canvas")).await;
        let started = Instant::now();
        while self.strokes(person).await <= place && started.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// One writes, and everybody reads it.
    async fn say(&self, place: usize, text: &str) {
        let text = json!(text);
        for person in &self.people {
            self.browser.evaluate(person, "document.getElementById('tab-chat').click()").await;
        }
        let write = format!("document.getElementById('text').value = {text}; document.getElementById('send').click();");
        self.browser.in_plugin(&self.people[place], "chat", &write).await;
        for person in &self.people {
            let shows = format!("document.getElementById('messages').innerText.includes({text})");
            self.browser.until(person, Some("chat"), &shows).await;
        }
    }

    async fn take_over(&self, leader: u8, kind: &str) {
        self.browser.click(&self.page, &format!("#leader-{leader} .attack")).await;
        self.until("document.getElementById('attacks').open").await;
        self.browser.click(&self.page, &format!("#choice-{kind}")).await;
    }

    async fn recover(&self, leader: u8) {
        self.browser.click(&self.page, &format!("#leader-{leader} .recover")).await;
        self.until(&format!("document.getElementById('leader-{leader}').className === 'card fine'")).await;
    }
}

async fn wait_for<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_sees_one_leader_after_the_other_taken_over() {
    let Some(browser) = Browser::start().await else { return };
    let demo = Demo::start();
    let room = Room::open(browser, &demo.url).await;
    room.draw_together().await;
    let together = demo.started.elapsed();
    println!("three people had drawn together {:.1} s after the start of the program", together.as_secs_f64());
    assert!(together < TOGETHER_WITHIN);
    for leader in 1..=4 {
        room.until(&format!("document.getElementById('leader-{leader}').className === 'card fine'")).await;
    }
    assert_eq!(room.browser.evaluate(&room.page, "document.cookie + location.search").await, "");

    // They talk by themselves until somebody speaks.
    room.browser.evaluate(&room.people[0], "document.getElementById('tab-chat').click()").await;
    room.browser.until(&room.people[0], Some("chat"), "document.querySelectorAll('.message').length > 0").await;
    room.say(0, "Ana here. Can you read me?").await;
    room.until("!document.getElementById('talk').checked").await;
    room.until("document.getElementById('step-1').classList.contains('done')").await;

    for (turn, (kind, leader, mood)) in ATTACKS.into_iter().enumerate() {
        room.take_over(leader, kind).await;
        room.until(&format!("document.getElementById('leader-{leader}').classList.contains('{mood}')")).await;
        let body = format!("document.querySelector('#leader-{leader} .body').textContent");
        match kind {
            "spy" => room.until(&format!("/tried [1-9]\\d* keys on them, and opened 0\\./.test({body})")).await,
            "drop" => room.until(&format!("/swallowed [1-9]\\d* messages\\. Everybody has/.test({body})")).await,
            "expel" => room.until(&format!("/ordered [1-9]\\d* expulsions.*nobody is out/.test({body})")).await,
            "silent" => {}
            _ => room.until(&format!("/(Ana|Ben|Eva|Dan|[Ll]eaders? \\d).*: it /.test({body})")).await,
        }
        room.say(turn % 3, &format!("Message {turn}, while leader {leader} is hacked.")).await;
        if kind == "ghost" {
            room.until("document.getElementById('step-3').classList.contains('done')").await;
            room.browser.image(&room.page, "demo.png").await;
            room.browser.look(&room.page, 1440, 900, true).await;
            room.browser.image(&room.page, "demo-dark.png").await;
            room.browser.look(&room.page, 1440, 900, false).await;
        }
        room.recover(leader).await;
        let (lost, forged) = (room.number("lost").await, room.number("forged").await);
        assert_eq!((lost, forged, room.number("strangers").await), (0, 0, 0), "after {kind}");
    }
    assert!(room.number("delivered").await > 50 && room.number("refused").await > 10);
    let story = room.browser.evaluate(&room.page, "document.getElementById('story').innerText").await;
    for words in ["is taken over", "a vote with a signature that is not its own", "runs the honest program again"] {
        assert!(story.as_str().unwrap().contains(words), "{words} in {story}");
    }
    assert_eq!(room.browser.errors(), Vec::<String>::new());
    demo.end();
    room.until("document.getElementById('banner').textContent.includes('has ended')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_is_promised_is_said_and_then_shown() {
    let Some(browser) = Browser::start().await else { return };
    let demo = Demo::start();
    let room = Room::open(browser, &demo.url).await;
    room.browser.click(&room.page, "#leader-4 .stop").await;
    room.until("document.getElementById('leader-4').classList.contains('off')").await;
    room.say(1, "Leader 4 is off.").await;

    // The second one only on request.
    room.take_over(2, "silent").await;
    room.until("document.getElementById('beyond').open").await;
    room.browser.keys(&room.page, Browser::ESCAPE).await;
    room.until("!document.getElementById('beyond').open").await;
    let runs = "document.getElementById('leader-2').className";
    assert_eq!(room.browser.evaluate(&room.page, runs).await, "card fine");
    room.take_over(2, "silent").await;
    room.until("document.getElementById('beyond').open").await;
    room.browser.click(&room.page, "#beyond [value=yes]").await;
    room.until("document.getElementById('banner').textContent.startsWith('Beyond the promise: 2 of 4')").await;
    room.until("document.getElementById('leader-2').classList.contains('silent')").await;
    room.browser.image(&room.page, "demo-beyond.png").await;
    room.say(2, "Two leaders are left.").await;
    room.recover(2).await;
    room.until("document.getElementById('banner').hidden").await;
    room.recover(4).await;

    // A member that left by its own page comes back.
    room.browser.evaluate(&room.people[2], "document.getElementById('leave').click()").await;
    room.browser.evaluate(&room.people[2], "document.querySelector('#leave-dialog [value=leave]').click()").await;
    room.until("!document.querySelector('#member-eva .waiting').hidden").await;
    room.browser.click(&room.page, "#member-eva .waiting button").await;
    room.until("document.querySelector('#member-eva .waiting').hidden").await;

    // Nothing of it is closed to those who cannot see or point, on any screen.
    if let Some(axe) = Axe::load().await {
        for (width, height, dark) in [(1440, 900, false), (1440, 900, true), (1000, 900, false), (390, 800, false)] {
            room.browser.look(&room.page, width, height, dark).await;
            room.browser.image(&room.page, &format!("demo-{width}-{dark}.png")).await;
            assert_eq!(axe.findings(&room.browser, &room.page).await, Vec::<String>::new(), "{width} {dark}");
        }
        room.browser.look(&room.page, 1440, 900, false).await;
        room.browser.click(&room.page, "#leader-1 .attack").await;
        room.until("document.getElementById('attacks').open").await;
        room.browser.image(&room.page, "demo-attacks.png").await;
        assert_eq!(axe.findings(&room.browser, &room.page).await, Vec::<String>::new(), "the choice of attacks");
        room.browser.keys(&room.page, Browser::ESCAPE).await;
    }
    assert_eq!(room.browser.errors(), Vec::<String>::new());
    demo.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_opens_with_its_token_and_to_nobody_else() {
    let demo = Demo::start();
    let (host, entrance) = (demo.host(), demo.entrance());
    for target in ["/", "/?token=00000000000000000000000000000000"] {
        assert_eq!(get(&host, target, &[]).await.0, 403, "{target}");
    }
    assert_eq!(get(&host, entrance, &[("Host", "evil.example")]).await.0, 421);
    let (status, head) = get(&host, entrance, &[]).await;
    assert_eq!(status, 303);
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {head}")).to_owned()
    };
    let place = header("location: ");
    let set = header("set-cookie: ");
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && set.contains(&place), "{set}");
    let cookie = ("Cookie", set.split(';').next().unwrap());
    let (status, page) = get(&host, &place, &[cookie]).await;
    assert_eq!(status, 200);
    assert!(page.contains("frame-ancestors 'none'") && page.contains("default-src 'none'"), "{page}");
    assert!(page.contains("microphone=()"), "the members' pages get no microphone from here: {page}");
    assert_eq!(get(&host, &place, &[]).await.0, 403);
    for foreign in
        [("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-site")]
    {
        assert_eq!(get(&host, &place, &[cookie, foreign]).await.0, 403, "{foreign:?}");
    }
    let upgrade = [
        cookie,
        ("Connection", "Upgrade, close"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ];
    let socket = format!("{place}socket");
    assert_eq!(get(&host, &socket, &upgrade).await.0, 403, "no origin");
    let foreign = [&upgrade[..], &[("Origin", "http://evil.example")]].concat();
    assert_eq!(get(&host, &socket, &foreign).await.0, 403);
    let other_port = [&upgrade[..], &[("Origin", "http://127.0.0.1:1")]].concat();
    assert_eq!(get(&host, &socket, &other_port).await.0, 403);
    demo.end();
}
