//! Talking, in a real browser: a fake microphone at one side, and what goes to the loudspeaker at the other. Skipped, with a
//! word, where there is no browser; see [`ringfort_browser::Browser`].

#![allow(missing_docs, clippy::unwrap_used, clippy::cast_precision_loss, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use common::screen::accessible;
use common::{World, together};
use ringfort_agent::{Agent, Options};
use ringfort_browser::tone::{LOOKS_MAX, loudness, pieces, pitch, wav};
use ringfort_browser::{Axe, Browser, DEADLINE, Page};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

/// Of the tone in the microphone.
const PITCH: f64 = 330.0;

/// Sound waits for nobody, so these tests wait for each other.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn sound(browser: &Browser, page: &Page) -> Page {
    browser.frame(page, "/sound/").await.expect("the frame of sound")
}

/// Opens the page of a member, and listens.
async fn listen(browser: &Browser, agent: &Agent) -> Page {
    let page = browser.open(&agent.url()).await;
    browser.until(&page, None, "document.getElementById('tab-sound') !== null").await;
    browser.click(&page, "#tab-sound").await;
    browser.until(&page, Some("sound"), "typeof sound === 'object'").await;
    browser.click(&sound(browser, &page).await, "#enter").await;
    browser.until(&page, Some("sound"), "sound.hearing?.context.state === 'running'").await;
    page
}

/// Chooses an open microphone, and allows it.
async fn open_microphone(browser: &Browser, page: &Page) {
    browser.click(&sound(browser, page).await, "input[value=open]").await;
    browser.until(page, None, "document.getElementById('microphone-dialog').open").await;
    assert_eq!(browser.in_plugin(page, "sound", "sound.speaking").await, Value::Null, "nothing before the user's word");
    browser.click(page, "#microphone-dialog [value=allow]").await;
    browser.until(page, Some("sound"), "sound.speaking?.on === true").await;
    assert_eq!(browser.evaluate(page, "document.getElementById('microphone').hidden").await, false, "the lamp");
}

/// The last 170 ms of what goes to the loudspeaker.
async fn heard(browser: &Browser, page: &Page) -> Vec<f64> {
    let script = "{ const x = new Float32Array(8192); sound.hearing.tap.getFloatTimeDomainData(x); Array.from(x) }";
    let value = browser.in_plugin(page, "sound", script).await;
    value.as_array().unwrap().iter().map(|sample| sample.as_f64().unwrap()).collect()
}

/// The tone comes out, at its pitch, for half a second in all.
async fn hears_the_tone(browser: &Browser, page: &Page, when: &str) {
    let (mut good, mut told) = (0, Vec::new());
    while good < 50 {
        tokio::time::sleep(Duration::from_millis(180)).await;
        let samples = heard(browser, page).await;
        let (loudness, pitch) = (loudness(&samples), pitch(&samples));
        good += pieces(&samples, PITCH).len();
        told.push(format!("{pitch:.1} Hz at {loudness:.3}"));
        assert!(told.len() < LOOKS_MAX, "{when}, in place of {PITCH} Hz: {told:#?}");
    }
    println!("{when}: {}", told.join(", "));
}

async fn hears_nothing(browser: &Browser, page: &Page, when: &str) {
    let (started, mut silent, mut told) = (tokio::time::Instant::now(), 0, Vec::new());
    while silent < 4 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let loudness = loudness(&heard(browser, page).await);
        silent = if loudness < 1e-4 { silent + 1 } else { 0 };
        told.push(format!("{loudness:.5}"));
        assert!(started.elapsed() < DEADLINE, "{when}: {told:?}");
    }
}

/// Packets of Ana's that came, that were lost, and frames that were made up for lost ones. Without an even pace of the processor
/// there are gaps in what is heard, whatever comes: so this is what tells what the group does to sound.
async fn packets(browser: &Browser, page: &Page) -> [u64; 3] {
    let script = "(({ packets, filled }) => [packets.came, packets.lost, filled])(sound.hearing.voices.get('ana'))";
    let told = browser.in_plugin(page, "sound", script).await;
    [0, 1, 2].map(|place| told[place].as_u64().unwrap())
}

/// The share of Ana's packets that was lost while something was done, and until a few have come.
async fn lost_while(browser: &Browser, page: &Page, done: impl Future<Output = ()>) -> f64 {
    let before = packets(browser, page).await;
    done.await;
    let started = tokio::time::Instant::now();
    loop {
        let after = packets(browser, page).await;
        let [came, lost] = [0, 1].map(|place| (after[place] - before[place]) as f64);
        if came >= 100.0 {
            return lost / (came + lost);
        }
        assert!(started.elapsed() < DEADLINE, "{came} packets came, {lost} were lost");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn hold(browser: &Browser, page: &Page, down: bool) {
    let kind = if down { "keydown" } else { "keyup" };
    let press = format!("document.body.dispatchEvent(new KeyboardEvent('{kind}', {{ key: ' ', bubbles: true }}))");
    browser.in_plugin(page, "sound", &press).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_comes_out_at_its_pitch_whatever_the_group_does() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tone.wav");
    wav(&file, 10, |t| 0.4 * (TAU * PITCH * t).sin());
    let Some(browser) = Browser::hearing(&file).await else { return };
    let axe = Axe::load().await;
    // A new key every other second.
    let world = World::start_with(&["ana", "ben", "eva"], |policy| policy.rekey_period_ms = 2_000).await;
    let (ana, ben) = (world.agent("ana").await, world.agent("ben").await);
    together(&[&ana, &ben], &["ana", "ben"]).await;
    let (a, b) = (listen(&browser, &ana).await, listen(&browser, &ben).await);
    hears_nothing(&browser, &b, "before anybody speaks").await;

    // A tone is no speech: it is sent as it is.
    browser.click(&sound(&browser, &a).await, "#clean").await;
    open_microphone(&browser, &a).await;
    hears_the_tone(&browser, &b, "an open microphone").await;
    browser.until(&b, None, "document.querySelector('[data-member=ana] .doing')?.textContent === 'speaking'").await;
    browser.until(&a, None, "document.querySelector('[data-member=ana] .doing')?.textContent === 'speaking'").await;
    hears_nothing(&browser, &a, "one does not hear oneself").await;
    browser
        .until(&b, Some("sound"), "document.querySelector('[data-name=ana] .way').innerText.includes('ms to your ear')")
        .await;
    for (page, name) in [(&a, "sound-speaker"), (&b, "sound")] {
        browser.image(page, &format!("{name}.png")).await;
        if let Some(axe) = &axe {
            accessible(axe, &browser, page, name).await;
            browser.image(page, &format!("{name}-wide.png")).await;
        }
    }

    // New keys, a join and a leave in the middle: no more is lost than beside as many pages while the group rests.
    let mut eva = world.agent("eva").await;
    together(&[&ana, &ben, &eva], &["ana", "ben", "eva"]).await;
    let e = listen(&browser, &eva).await;
    hears_the_tone(&browser, &e, "who joins later").await;
    hears_the_tone(&browser, &b, "after a join").await;
    let calm = lost_while(&browser, &b, tokio::time::sleep(Duration::from_secs(5))).await;
    let churn = async {
        let epoch = ben.group().unwrap().snapshot().view.unwrap().epoch.0;
        drop(eva);
        together(&[&ana, &ben], &["ana", "ben"]).await;
        eva = world.agent("eva").await;
        together(&[&ana, &ben, &eva], &["ana", "ben", "eva"]).await;
        while ben.group().unwrap().snapshot().view.unwrap().epoch.0 < epoch + 5 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let churned = lost_while(&browser, &b, churn).await;
    hears_the_tone(&browser, &b, "after a leave, a join and new keys").await;
    println!("lost across a leave, a join and new keys: {churned:.3}, at rest: {calm:.3}");
    assert!(churned < calm + 0.05, "{churned:.3} of the packets were lost, and {calm:.3} at rest");

    // One packet in ten is lost.
    let lose = "{ const h = sound.hearing, take = h.take.bind(h); let n = 0; h.take = (from, bytes) => { if ((n += 1) % 10) take(from, bytes); } }";
    browser.in_plugin(&b, "sound", lose).await;
    let before = packets(&browser, &b).await;
    browser
        .until(&b, Some("sound"), &format!("sound.hearing.voices.get('ana').packets.lost >= {}", before[1] + 20))
        .await;
    hears_the_tone(&browser, &b, "with losses").await;
    let after = packets(&browser, &b).await;
    let [_, lost, filled] = [0, 1, 2].map(|place| after[place] - before[place]);
    assert!(2 * filled >= lost, "{lost} packets were lost, and only {filled} frames were made up");
    let mut looks = Vec::new();
    while looks.len() < 100 {
        looks.extend(pieces(&heard(&browser, &b).await, PITCH));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    looks.sort_by(f64::total_cmp);
    assert!((looks[50] - 0.283).abs() < 0.06, "losses change the loudness: {looks:?}");
    browser
        .until(&b, Some("sound"), "/lost [1-9]/.test(document.querySelector('[data-name=ana] .way').innerText)")
        .await;

    browser.in_plugin(&b, "sound", "delete sound.hearing.take").await;

    // The page mutes whatever the plugin wants.
    browser.click(&a, "#microphone-mute").await;
    hears_nothing(&browser, &b, "muted by the page").await;
    browser.click(&a, "#microphone-mute").await;
    hears_the_tone(&browser, &b, "no longer muted").await;

    // Push to talk.
    browser.click(&sound(&browser, &a).await, "input[value=push]").await;
    hears_nothing(&browser, &b, "the button is not pressed").await;
    browser.evaluate(&sound(&browser, &a).await, "document.activeElement.blur()").await;
    hold(&browser, &a, true).await;
    hears_the_tone(&browser, &b, "the key is down").await;
    hold(&browser, &a, false).await;
    hears_nothing(&browser, &b, "the key is up").await;

    // Who is muted here is not heard, and who leaves falls silent.
    hold(&browser, &a, true).await;
    hears_the_tone(&browser, &b, "the key is down again").await;
    browser.click(&sound(&browser, &b).await, "[data-name=ana] .quiet").await;
    hears_nothing(&browser, &b, "muted by the listener").await;
    browser.click(&sound(&browser, &b).await, "[data-name=ana] .quiet").await;
    hears_the_tone(&browser, &b, "heard by the listener again").await;
    assert_eq!(
        browser.errors().iter().filter(|error| !error.contains("WebSocket")).count(),
        0,
        "{:?}",
        browser.errors()
    );
    drop(ana);
    together(&[&ben], &["ben"]).await;
    hears_nothing(&browser, &b, "gone").await;
    browser
        .until(
            &b,
            Some("sound"),
            "sound.hearing.voices.size === 0 && document.querySelectorAll('.person').length === 0",
        )
        .await;
}

const ASKS: &str = "interface = 1\nid = \"spy\"\nname = \"Spy\"\norder = 90\nmicrophone = true\n";
const ASKS_NOT: &str = "interface = 1\nid = \"calm\"\nname = \"Calm\"\norder = 91\n";
const PAGE: &str = "<!doctype html><script src=\"spy.js\" type=\"module\"></script><p>spy</p>";
const SCRIPT: &str = "import { connect } from './ringfort.js';
const rf = await connect(); globalThis.rf = rf; globalThis.blocks = 0; globalThis.told = [];
rf.on('heard', (h) => { blocks += 1; }); rf.on('microphone', (m) => told.push(m.open)); rf.start(); globalThis.ready = true;";

fn plant(folder: &Path, id: &str, manifest: &str) {
    std::fs::create_dir(folder.join(id)).unwrap();
    for (name, text) in [("plugin.toml", manifest), ("index.html", PAGE), ("spy.js", SCRIPT)] {
        std::fs::write(folder.join(id).join(name), text).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_microphone_is_for_plugins_that_the_user_allowed_and_for_nobody_else() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let (file, plugins) = (dir.path().join("tone.wav"), dir.path().join("plugins"));
    wav(&file, 1, |t| 0.4 * (TAU * PITCH * t).sin());
    let Some(browser) = Browser::hearing(&file).await else { return };
    std::fs::create_dir(&plugins).unwrap();
    plant(&plugins, "spy", ASKS);
    plant(&plugins, "calm", ASKS_NOT);
    let world = World::start(&["ana"]).await;
    let agent = world.agent_with("ana", Options { plugins: Some(plugins), ..Options::default() }).await;
    let page = browser.open(&agent.url()).await;
    for plugin in ["spy", "calm"] {
        browser.until(&page, Some(plugin), "globalThis.ready").await;
        // The frame itself gets nothing, though this browser says yes to everybody.
        let own = "navigator.mediaDevices.getUserMedia({ audio: true }).then(() => 'open', () => 'refused')";
        assert_eq!(browser.in_plugin(&page, plugin, own).await, "refused", "{plugin}");
    }
    let ask = "rf.microphone(true).then(() => 'open', (error) => error.message)";
    // Whose manifest does not ask gets no question; whom the user does not look at neither.
    browser.click(&page, "#tab-calm").await;
    let why = browser.in_plugin(&page, "calm", ask).await;
    assert!(why.as_str().unwrap().contains("manifest"), "{why}");
    assert_eq!(browser.in_plugin(&page, "spy", ask).await, "you did not allow it");
    assert_eq!(browser.evaluate(&page, "document.getElementById('microphone-dialog').open").await, false);
    // The user says no.
    browser.click(&page, "#tab-spy").await;
    let later = "{ globalThis.answer = null; rf.microphone(true).then(() => { answer = 'open'; }, (error) => { answer = error.message; }); }";
    let asked = "document.getElementById('microphone-dialog').open";
    browser.in_plugin(&page, "spy", later).await;
    browser.until(&page, None, asked).await;
    browser.click(&page, "#microphone-dialog [value=no]").await;
    browser.until(&page, Some("spy"), "answer === 'you did not allow it'").await;
    assert_eq!(browser.in_plugin(&page, "spy", "blocks").await, 0);
    // The user says yes: the lamp shows it, and closes it.
    browser.in_plugin(&page, "spy", later).await;
    browser.until(&page, None, asked).await;
    browser.click(&page, "#microphone-dialog [value=allow]").await;
    browser.until(&page, Some("spy"), "answer === 'open' && blocks > 20").await;
    browser
        .until(&page, None, "document.getElementById('microphone-words').textContent === 'Spy hears your microphone'")
        .await;
    assert_eq!(browser.in_plugin(&page, "calm", "blocks").await, 0);
    browser.click(&page, "#microphone-mute").await;
    // What was on its way still comes; then nothing does.
    let stopped = "(async () => { const before = blocks; await new Promise((y) => setTimeout(y, 500)); return blocks === before })()";
    let started = tokio::time::Instant::now();
    while browser.in_plugin(&page, "spy", stopped).await != true {
        assert!(started.elapsed() < DEADLINE, "the plugin hears a muted microphone");
    }
    browser.click(&page, "#microphone-close").await;
    browser.until(&page, Some("spy"), "told.at(-1) === false").await;
    browser.until(&page, None, "document.getElementById('microphone').hidden").await;
    // A frame that loads anew has no microphone, whatever its forerunner had.
    assert_eq!(browser.in_plugin(&page, "spy", ask).await, "open");
    browser.in_plugin(&page, "spy", "{ setTimeout(() => location.reload()) }").await;
    browser.until(&page, None, "document.getElementById('microphone').hidden").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_microphone_one_listens_and_is_told() {
    let _alone = ALONE.lock().await;
    let Some(browser) = Browser::start().await else { return };
    let world = World::start(&["ana"]).await;
    let agent = world.agent("ana").await;
    let page = listen(&browser, &agent).await;
    browser.click(&sound(&browser, &page).await, "input[value=open]").await;
    browser.until(&page, None, "document.getElementById('microphone-dialog').open").await;
    browser.click(&page, "#microphone-dialog [value=allow]").await;
    let told = "document.getElementById('problem').innerText.startsWith('Your microphone is not open:')";
    browser.until(&page, Some("sound"), told).await;
    browser.until(&page, Some("sound"), "sound.hearing.context.state === 'running'").await;
    assert_eq!(browser.evaluate(&page, "document.getElementById('microphone').hidden").await, true);
    if let Some(axe) = Axe::load().await {
        accessible(&axe, &browser, &page, "no microphone").await;
        browser.click(&sound(&browser, &page).await, "#exit").await;
        browser.until(&page, Some("sound"), "!document.getElementById('outside').hidden").await;
        accessible(&axe, &browser, &page, "not listening").await;
        browser.image(&page, "sound-outside.png").await;
        browser.click(&sound(&browser, &page).await, "#enter").await;
        browser.until(&page, Some("sound"), "sound.hearing?.context.state === 'running'").await;
    }
    // Who listened listens again after a reload.
    browser.reload(&page).await;
    browser.until(&page, None, "document.getElementById('tab-sound') !== null").await;
    browser.until(&page, Some("sound"), "sound.hearing !== null").await;
}

/// The plugin's folder, served without a group.
async fn workshop() -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../plugins/sound");
    let file = move |axum::extract::Path(name): axum::extract::Path<String>| async move {
        let content = std::fs::read(folder.join(name)).map_err(|_| axum::http::StatusCode::NOT_FOUND)?;
        Ok::<_, axum::http::StatusCode>(([(CONTENT_TYPE, "text/javascript")], content).into_response())
    };
    let page = get(|| async { Html("<!doctype html><title>Workshop</title>") });
    let router = Router::new().route("/", page).route("/{*name}", get(file));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_do_what_they_should() {
    let _alone = ALONE.lock().await;
    let Some(browser) = Browser::start().await else { return };
    let page = browser.open(&workshop().await).await;
    for (file, count) in [("jitter.js", 11), ("parts.js", 11)] {
        let run = format!(
            "import('/tests/{file}').then(async ({{ tests }}) => {{ const told = {{ passed: 0, failed: [] }};
                for (const [name, test] of Object.entries(tests)) {{
                    try {{ await test(); told.passed += 1; }} catch (error) {{ told.failed.push(`${{name}}: ${{error.message}}`); }} }}
                return told; }})"
        );
        let told = browser.evaluate(&page, &run).await;
        assert_eq!(told, json!({"passed": count, "failed": []}), "{file}");
    }
}

/// When a tone begins in the microphone, and when it begins in the loudspeaker: both pages are in one browser, on one clock.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn mouth_to_ear() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("beeps.wav");
    wav(&file, 10, |t| if t.fract() < 0.2 { 0.4 * (TAU * PITCH * t).sin() } else { 0.0 });
    let Some(browser) = Browser::hearing(&file).await else { return };
    let world = World::start(&["ana", "ben"]).await;
    let (ana, ben) = (world.agent("ana").await, world.agent("ben").await);
    together(&[&ana, &ben], &["ana", "ben"]).await;
    let (a, b) = (listen(&browser, &ana).await, listen(&browser, &ben).await);
    browser.click(&sound(&browser, &a).await, "#clean").await;
    open_microphone(&browser, &a).await;
    // The first loud sample of each beep: here in what the page captured, as it came from the audio thread,
    let mouth = "{ globalThis.begun = []; let quiet = 0; const take = sound.speaking.heard.bind(sound.speaking);
        sound.speaking.heard = (h) => { const now = performance.timeOrigin + performance.now();
            const i = h.samples.findIndex((s) => Math.abs(s) > 0.05);
            if (i >= 0 && quiet > 20) begun.push(now - (h.samples.length - i) / 48);
            quiet = i >= 0 ? 0 : quiet + 1; take(h); } }";
    // there in what goes to the loudspeaker, looked at every few milliseconds.
    let ear = "{ globalThis.came = []; const { tap, context } = sound.hearing; const x = new Float32Array(tap.fftSize);
        setInterval(() => { tap.getFloatTimeDomainData(x);
            const i = x.findIndex((s) => Math.abs(s) > 0.05); if (i < 480) return;
            const at = sound.hearing.heardAt(context.currentTime - (x.length - i) / 48000);
            if (at - (came.at(-1) ?? 0) > 300) came.push(at); }, 4); }";
    browser.in_plugin(&a, "sound", mouth).await;
    browser.in_plugin(&b, "sound", ear).await;
    browser.until(&b, Some("sound"), "globalThis.came.length >= 12").await;
    let read = |page, script| browser.in_plugin(page, "sound", script);
    let (begun, came) = (read(&a, "begun").await, read(&b, "came").await);
    let numbers = |value: &Value| value.as_array().unwrap().iter().map(|at| at.as_f64().unwrap()).collect::<Vec<_>>();
    let (begun, came) = (numbers(&begun), numbers(&came));
    let to = |at: &f64| came.iter().map(|ear| ear - at).filter(|ms| (0.0..900.0).contains(ms)).reduce(f64::min);
    let mut ms: Vec<f64> = begun.iter().filter_map(to).collect();
    ms.sort_by(f64::total_cmp);
    assert!(ms.len() >= 8, "{begun:?} {came:?}");
    let shown = "(() => { const v = sound.hearing.voices.get('ana'); return Math.round(v.apart + sound.clocks.ahead('ana').ms) })()";
    let shown = read(&b, shown).await;
    let (p50, max) = (ms[ms.len() / 2], ms[ms.len() - 1]);
    println!("mouth to ear, {} beeps: p50 {p50:.0} ms, longest {max:.0} ms; the page says {shown} ms", ms.len());
    assert!(p50 > 20.0 && p50 < 600.0, "{ms:?}");
    assert!((shown.as_f64().unwrap() - p50).abs() < 80.0, "what is shown is not what is heard");
}
