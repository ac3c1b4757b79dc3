//! Somebody before a page.

use std::time::{Duration, Instant};

use ringfort_browser::{Browser, DEADLINE, Page, tone};
use serde_json::{Value, json};

use super::processes::{Agent, Group, password};

pub struct Person<'b> {
    pub name: &'static str,
    browser: &'b Browser,
    page: Page,
    agent: Agent,
}

impl<'b> Person<'b> {
    /// A new agent and its page, with nobody logged in.
    pub async fn at_the_door(browser: &'b Browser, group: &Group, name: &'static str) -> Person<'b> {
        let agent = group.agent(name);
        let page = browser.open(&agent.url).await;
        browser.until(&page, None, "document.getElementById('login-group').textContent === 'harbour'").await;
        Person { name, browser, page, agent }
    }

    async fn offers(&self, password: &str) {
        self.browser.fill(&self.page, "#login-user", self.name).await;
        self.browser.fill(&self.page, "#login-password", password).await;
        self.browser.keys(&self.page, Browser::ENTER).await;
    }

    pub async fn is_refused(&self, password: &str) {
        self.offers(password).await;
        let told = "document.getElementById('login-why').textContent.includes('do not know this name')";
        self.browser.until(&self.page, None, told).await;
    }

    pub async fn logs_in(&self) {
        self.offers(&password(self.name)).await;
        self.browser.until(&self.page, None, "document.getElementById('login').hidden").await;
        self.browser.until(&self.page, Some("chat"), "document.querySelectorAll('.chip').length > 0").await;
    }

    pub async fn leaves(&self) {
        // A press that the page did not get is given again, as by a person.
        let asks = "document.getElementById('leave-dialog').open";
        let started = std::time::Instant::now();
        while self.browser.evaluate(&self.page, asks).await != true && started.elapsed() < DEADLINE {
            self.browser.click(&self.page, "#leave").await;
        }
        self.browser.click(&self.page, "#leave-dialog [value=leave]").await;
        self.browser.until(&self.page, None, "!document.getElementById('rejoin').hidden").await;
    }

    pub async fn logs_in_again(&self) {
        self.browser.click(&self.page, "#rejoin").await;
        self.logs_in().await;
        self.browser.until(&self.page, None, "document.getElementById('rejoin').hidden").await;
    }

    pub async fn reloads(&self) {
        self.browser.reload(&self.page).await;
        self.browser.until(&self.page, Some("chat"), "document.querySelectorAll('.chip').length > 0").await;
    }

    /// Her agent is killed as by `kill -9`, which the page says; then she starts a new one.
    pub async fn killed(self, group: &Group) -> Person<'b> {
        drop(self.agent);
        let told = "document.getElementById('banner').textContent.includes('agent is lost')";
        self.browser.until(&self.page, None, told).await;
        Person::at_the_door(self.browser, group, self.name).await
    }

    pub async fn sees(&self, members: &[&str]) {
        let here = "JSON.stringify([...document.querySelectorAll('#members li')].map((li) => li.dataset.member))";
        self.browser.until(&self.page, None, &format!("{here} === {}", json!(json!(members).to_string()))).await;
        let chips = format!("document.querySelectorAll('.chip').length === {}", members.len());
        self.browser.until(&self.page, Some("chat"), &chips).await;
    }

    pub async fn says(&self, to: &str, text: &str) {
        let script = format!(
            "{{ for (const chip of document.querySelectorAll('.chip')) if (chip.textContent === {}) chip.click();
                document.getElementById('text').value = {}; document.getElementById('send').click(); }}",
            json!(to),
            json!(text)
        );
        self.browser.in_plugin(&self.page, "chat", &script).await;
        self.browser.in_plugin(&self.page, "chat", "document.querySelector('.chip').click()").await;
    }

    /// Once and not twice.
    pub async fn reads(&self, text: &str) {
        let times = format!("{} === 1", times(text));
        self.browser.until(&self.page, Some("chat"), &times).await;
    }

    pub async fn has_read(&self, text: &str) -> bool {
        self.browser.in_plugin(&self.page, "chat", &times(text)).await != 0
    }

    /// Draws with the pointer, as a hand does.
    pub async fn draws(&self, points: &[(i32, i32)]) {
        self.browser.click(&self.page, "#tab-whiteboard").await;
        self.browser.until(&self.page, Some("whiteboard"), "typeof boardDigest === 'function'").await;
        let frame = self.frame("whiteboard").await;
        let place = "(() => { const box = document.getElementById('canvas').getBoundingClientRect();
            return [Math.round(box.left), Math.round(box.top)] })()";
        let place = self.browser.evaluate(&frame, place).await;
        let at = |i: usize| i32::try_from(place[i].as_i64().unwrap()).unwrap();
        let points: Vec<(i32, i32)> = points.iter().map(|(x, y)| (x + at(0), y + at(1))).collect();
        self.browser.drag(&frame, &points, (&frame, "#canvas")).await;
        self.browser.click(&self.page, "#tab-chat").await;
    }

    /// Enough leaders confirm, and none but this one is caught or away.
    pub async fn is_at_ease_but_for(&self, leader: u8) {
        let calm = format!(
            "document.getElementById('banner').hidden && [...document.querySelectorAll('#leaders > li')].every((li) =>
                li.className === 'fine' || li.querySelector('details').dataset.number === '{leader}')"
        );
        self.browser.until(&self.page, None, &calm).await;
    }

    /// Waits until a leader can be reached.
    pub async fn reaches(&self, leader: u8) {
        let away = format!("document.querySelector('#leaders [data-number=\"{leader}\"]').dataset.mood !== 'away'");
        self.browser.until(&self.page, None, &away).await;
    }

    /// Waits until the page shows this mood of a leader, with one of these reasons.
    pub async fn is_told(&self, leader: u8, mood: &str, reasons: &[&str]) {
        let told = format!(
            "(() => {{ const one = document.querySelector('#leaders [data-number=\"{leader}\"]');
                return one.dataset.mood === '{mood}' && {}.some((words) => one.textContent.includes(words)) }})()",
            json!(reasons)
        );
        self.browser.until(&self.page, None, &told).await;
    }

    /// Listens in.
    pub async fn listens(&self) {
        self.browser.click(&self.page, "#tab-sound").await;
        self.browser.until(&self.page, Some("sound"), "typeof sound === 'object'").await;
        self.browser.click(&self.frame("sound").await, "#enter").await;
        self.browser.until(&self.page, Some("sound"), "sound.hearing?.context.state === 'running'").await;
    }

    /// Opens the microphone and leaves it open; what comes in is sent as it is.
    pub async fn speaks(&self) {
        let frame = self.frame("sound").await;
        self.browser.click(&frame, "#clean").await;
        self.browser.click(&frame, "input[value=open]").await;
        self.browser.until(&self.page, None, "document.getElementById('microphone-dialog').open").await;
        self.browser.click(&self.page, "#microphone-dialog [value=allow]").await;
        self.browser.until(&self.page, Some("sound"), "sound.speaking?.on === true").await;
    }

    /// What goes to the loudspeaker is for half a second in all a tone of this pitch.
    pub async fn hears(&self, pitch: f64) {
        let script = "{ const x = new Float32Array(8192); sound.hearing.tap.getFloatTimeDomainData(x); Array.from(x) }";
        let (mut good, mut found) = (0, Vec::new());
        while good < 50 {
            let samples = self.browser.in_plugin(&self.page, "sound", script).await;
            let samples: Vec<f64> = samples.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
            let (loudness, heard) = (tone::loudness(&samples), tone::pitch(&samples));
            good += tone::pieces(&samples, pitch).len();
            found.push(format!("{heard:.1} Hz at {loudness:.3}"));
            assert!(found.len() < tone::LOOKS_MAX, "{} hears no {pitch} Hz: {found:#?}", self.name);
            tokio::time::sleep(Duration::from_millis(180)).await;
        }
    }

    pub async fn drops_file(&self, name: &str, mib: usize) {
        self.browser.until(&self.page, Some("files"), "document.querySelectorAll('.chip').length > 1").await;
        self.browser.drop_file(&self.page, "files", name, mib).await;
    }

    /// Accepts a file, and has all of it.
    pub async fn gets_file(&self, name: &str, mib: usize) {
        let accept = format!("document.querySelector('[aria-label={}]')", json!(format!("Accept: {name}")));
        self.browser.until(&self.page, Some("files"), &format!("{accept} !== null")).await;
        self.browser.in_plugin(&self.page, "files", &format!("{accept}.click()")).await;
        let path = self.agent.downloads.join(name);
        let begun = Instant::now();
        while !path.exists() {
            assert!(begun.elapsed() < DEADLINE, "{} does not get {name}", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(std::fs::read(path).unwrap() == Browser::dropped(mib), "{name} has arrived as another file");
    }

    async fn frame(&self, plugin: &str) -> Page {
        self.browser.frame(&self.page, &format!("/{plugin}/")).await.unwrap()
    }

    async fn board(&self) -> Value {
        self.browser.in_plugin(&self.page, "whiteboard", "boardDigest()").await
    }
}

fn times(text: &str) -> String {
    let said = "[...document.querySelectorAll('.message .text')].filter((said) => said.textContent.trim() === ";
    format!("{said}{}).length", json!(text))
}

/// All have the same board, with so many strokes.
pub async fn alike(people: &[Person<'_>], strokes: usize) {
    for person in people {
        let enough = format!("JSON.parse(boardDigest()).length === {strokes}");
        person.browser.until(&person.page, Some("whiteboard"), &enough).await;
    }
    let first = people[0].board().await;
    for person in people {
        assert_eq!(person.board().await, first);
    }
}
