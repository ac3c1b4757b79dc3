//! Measurements, never run as tests: what people see, from the hand of one to the screens of the others.
//!
//! `cargo test --release -p ringfort-agent --test browser -- --ignored --nocapture --test-threads 1`

use std::time::{Duration, Instant};

use ringfort_agent::Agent;
use ringfort_browser::{Browser, Page};
use serde_json::{Value, json};

use super::common::{World, together};
use super::files::{press, shows};

/// What a page writes down on the clock that all pages share.
const CLOCK: &str = "globalThis.clock = () => performance.timeOrigin + performance.now(); globalThis.at = [];";

/// One sends every 100 ms.
const SAY: &str = "globalThis.saying = setInterval(() => { const n = at.push(clock()) - 1;
    document.getElementById('text').value = `figure ${n}.`; document.getElementById('send').click(); }, 100)";

/// The others look when each is there, with the frame after it.
const SEE: &str = "new MutationObserver((records) => {
        for (const node of records.flatMap((record) => [...record.addedNodes])) {
            const n = /figure (\\d+)\\./.exec(node.textContent ?? '')?.[1];
            if (n && at[n] === undefined) { at[n] = 0; requestAnimationFrame(() => { at[n] = clock(); }); }
        } }).observe(document.getElementById('messages'), { childList: true, subtree: true })";

/// A short stroke every 200 ms, from pen down to pen up within one task.
const DRAW: &str = "{ const c = document.getElementById('canvas'), b = c.getBoundingClientRect(); c.setPointerCapture = () => {};
    const to = (type, x, y) => c.dispatchEvent(new PointerEvent(type, { pointerId: 1, clientX: b.left + x, clientY: b.top + y, bubbles: true }));
    globalThis.drawing = setInterval(() => { const x = 40 + 8 * (at.length % 30); at.push(clock());
        to('pointerdown', x, 60); for (let i = 1; i < 8; i += 1) to('pointermove', x + 20 * i, 60 + 15 * i); to('pointerup', x + 160, 180); }, 200); }";

/// Looked at in every frame.
const LOOK: &str = "{ const look = () => { const n = JSON.parse(boardDigest()).length;
        while (at.length < n) at.push(clock()); requestAnimationFrame(look); }; look(); }";

async fn run(browser: &Browser, page: &Page, plugin: &str, script: &str) {
    browser.in_plugin(page, plugin, &format!("{{ {CLOCK} {script} }}")).await;
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|at| at.as_f64().unwrap_or(0.0)).collect()
}

/// From the hand to the last of the screens, in milliseconds, over everything between two moments.
fn report(what: &str, sent: &[f64], seen: &[Vec<f64>], range: std::ops::Range<usize>) {
    let mut ms: Vec<f64> = Vec::new();
    for n in range {
        let last = seen.iter().map(|seen| seen.get(n).copied().unwrap_or(0.0)).collect::<Vec<_>>();
        assert!(last.iter().all(|at| *at > 0.0), "{what}: number {n} is not at everybody");
        ms.push(last.iter().copied().fold(0.0, f64::max) - sent[n]);
    }
    ms.sort_by(f64::total_cmp);
    let part = |part: f64| ms[((ms.len() - 1) as f64 * part).round() as usize];
    println!(
        "{what}: {} of them, p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        ms.len(),
        part(0.5),
        part(0.99),
        part(1.0)
    );
}

/// Three members, and their pages.
async fn room(browser: &Browser) -> (World, [Agent; 3], [Page; 3]) {
    let names = ["ana", "ben", "eva"];
    let world = World::start(&names).await;
    let agents = [world.agent("ana").await, world.agent("ben").await, world.agent("eva").await];
    together(&agents.each_ref(), &names).await;
    let [a, b, e] = agents.each_ref();
    let pages = [browser.open(&a.url()).await, browser.open(&b.url()).await, browser.open(&e.url()).await];
    (world, agents, pages)
}

async fn sent(browser: &Browser, page: &Page) -> usize {
    numbers(&browser.in_plugin(page, "chat", "at").await).len()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn chat_beside_a_file_at_full_speed() {
    let Some(browser) = Browser::start().await else { return };
    let (_world, _agents, [a, b, e]) = room(&browser).await;
    for page in [&a, &b, &e] {
        browser.until(page, Some("files"), "document.querySelectorAll('.chip').length === 3").await;
        browser.until(page, Some("chat"), "document.querySelectorAll('.chip').length === 3").await;
    }
    for page in [&b, &e] {
        run(&browser, page, "chat", SEE).await;
    }
    run(&browser, &a, "chat", SAY).await;
    tokio::time::sleep(Duration::from_secs(10)).await;

    let mib = 512;
    browser.drop_file(&a, "files", "film.bin", mib).await;
    for page in [&b, &e] {
        browser.until(page, None, "document.getElementById('tab-files').innerText.includes('1')").await;
    }
    let idle = sent(&browser, &a).await;
    let begun = Instant::now();
    for page in [&b, &e] {
        press(&browser, page, "Accept: film.bin").await;
    }
    for page in [&b, &e] {
        while browser.in_plugin(page, "files", &shows("hash verified")).await != true {
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(begun.elapsed() < Duration::from_secs(300), "the file does not come");
        }
    }
    let (took, busy) = (begun.elapsed(), sent(&browser, &a).await);
    browser.in_plugin(&a, "chat", "{ clearInterval(saying); }").await;
    let last = json!(format!("figure {}.", busy - 1));
    for page in [&b, &e] {
        let there = format!("document.getElementById('messages').innerText.includes({last})");
        browser.until(page, Some("chat"), &there).await;
    }
    let from = numbers(&browser.in_plugin(&a, "chat", "at").await);
    let seen =
        [numbers(&browser.in_plugin(&b, "chat", "at").await), numbers(&browser.in_plugin(&e, "chat", "at").await)];
    println!(
        "{mib} MiB to two pages: {:.1} s, {:.1} MB/s",
        took.as_secs_f64(),
        mib as f64 * 1.048_576 / took.as_secs_f64()
    );
    report("chat, typed to shown at both, with nothing else", &from, &seen, 0..idle);
    report("chat, typed to shown at both, beside the file", &from, &seen, idle..busy);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn strokes() {
    let Some(browser) = Browser::start().await else { return };
    let (_world, _agents, [a, b, e]) = room(&browser).await;
    for page in [&a, &b, &e] {
        browser.until(page, None, "document.querySelectorAll('#members li').length === 3").await;
        browser.evaluate(page, "document.getElementById('tab-whiteboard').click()").await;
        browser.until(page, Some("whiteboard"), "typeof boardDigest === 'function'").await;
        browser.until(page, Some("whiteboard"), "document.getElementById('canvas').clientWidth > 100").await;
    }
    for page in [&b, &e] {
        run(&browser, page, "whiteboard", LOOK).await;
    }
    run(&browser, &a, "whiteboard", DRAW).await;
    browser.until(&a, Some("whiteboard"), "at.length >= 100").await;
    browser.in_plugin(&a, "whiteboard", "{ clearInterval(drawing); }").await;
    let from = numbers(&browser.in_plugin(&a, "whiteboard", "at").await);
    for page in [&b, &e] {
        browser.until(page, Some("whiteboard"), &format!("at.length === {}", from.len())).await;
    }
    let seen = [
        numbers(&browser.in_plugin(&b, "whiteboard", "at").await),
        numbers(&browser.in_plugin(&e, "whiteboard", "at").await),
    ];
    report("strokes, pen up to shown at both", &from, &seen, 0..from.len());
}
