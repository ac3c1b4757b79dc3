//! Drawing together: the same board at everybody, one's own undo, and a board that is handed over.

use serde_json::{Value, json};

use super::common::client::Socket;
use super::common::{World, together};
use ringfort_browser::{Browser, Page};

/// Draws with a real pointer's events, from inside the frame.
async fn stroke(browser: &Browser, page: &Page, points: &[(i32, i32)]) {
    let points = json!(points);
    let script = format!(
        "{{ const c = document.getElementById('canvas'), b = c.getBoundingClientRect(); c.setPointerCapture = () => {{}};
            const at = (type, [x, y]) => c.dispatchEvent(new PointerEvent(type, {{ pointerId: 1, clientX: b.left + x, clientY: b.top + y, bubbles: true }}));
            const p = {points}; at('pointerdown', p[0]); for (const q of p) at('pointermove', q); at('pointerup', p[p.length - 1]); }}"
    );
    browser.in_plugin(page, "whiteboard", &script).await;
}

async fn press(browser: &Browser, page: &Page, label: &str) {
    let script = format!(
        "[...document.querySelectorAll('button')].find((b) => (b.getAttribute('aria-label') ?? b.textContent) === {}).click()",
        json!(label)
    );
    browser.in_plugin(page, "whiteboard", &script).await;
}

async fn digest(browser: &Browser, page: &Page) -> Value {
    browser.in_plugin(page, "whiteboard", "boardDigest()").await
}

/// Waits until all have the same board, with so many strokes.
async fn same(browser: &Browser, pages: &[&Page], strokes: usize) {
    for page in pages {
        let enough = format!("JSON.parse(boardDigest()).length === {strokes}");
        browser.until(page, Some("whiteboard"), &enough).await;
    }
    let first = digest(browser, pages[0]).await;
    for page in pages {
        assert_eq!(digest(browser, page).await, first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_board_is_the_same_at_everybody() {
    let Some(browser) = Browser::start().await else { return };
    let world = World::start(&["ana", "ben", "eva"]).await;
    let (ana, ben) = (world.agent("ana").await, world.agent("ben").await);
    together(&[&ana, &ben], &["ana", "ben"]).await;
    let (a, b) = (browser.open(&ana.url()).await, browser.open(&ben.url()).await);
    for page in [&a, &b] {
        browser.until(page, None, "document.querySelectorAll('#members li').length === 2").await;
        browser.evaluate(page, "document.getElementById('tab-whiteboard').click()").await;
        browser.until(page, Some("whiteboard"), "typeof boardDigest === 'function'").await;
        browser.until(page, Some("whiteboard"), "document.getElementById('canvas').clientWidth > 100").await;
    }
    // Both draw at the same time, on the same places.
    for i in 0..6 {
        let color = ["Red", "Blue", "Green"][i % 3];
        press(&browser, &a, color).await;
        let y = 60 + 40 * i32::try_from(i).unwrap();
        stroke(&browser, &a, &[(80, y), (200, y + 30), (320, y), (440, y + 30)]).await;
        press(&browser, &b, if i % 2 == 0 { "Box" } else { "Circle" }).await;
        stroke(&browser, &b, &[(120, y), (380, y + 25)]).await;
    }
    // Each sees that the other draws.
    let draws = "document.querySelector('[data-member=ana] .doing')?.textContent === 'drawing'";
    stroke(&browser, &a, &[(80, 300), (200, 330)]).await;
    browser.until(&b, None, draws).await;
    same(&browser, &[&a, &b], 13).await;
    press(&browser, &a, "Undo").await;
    same(&browser, &[&a, &b], 12).await;

    // Undo takes one's own newest, not somebody else's.
    press(&browser, &a, "Undo").await;
    same(&browser, &[&a, &b], 11).await;
    let authors = "JSON.parse(boardDigest()).map((s) => s.id.split(':')[0]).filter((n) => n === 'ana').length";
    assert_eq!(browser.in_plugin(&b, "whiteboard", authors).await, 5);

    // A reload shows the same board.
    let before = digest(&browser, &b).await;
    browser.reload(&b).await;
    same(&browser, &[&b, &a], 11).await;
    assert_eq!(digest(&browser, &b).await, before);

    // Who comes later sees nothing, until somebody hands the board over.
    let eva = world.agent("eva").await;
    together(&[&ana, &ben, &eva], &["ana", "ben", "eva"]).await;
    let e = browser.open(&eva.url()).await;
    browser.until(&e, Some("whiteboard"), "typeof boardDigest === 'function' && boardDigest() === '[]'").await;
    browser.until(&a, Some("whiteboard"), "!document.getElementById('hand').hidden").await;
    press(&browser, &a, "Send the drawing").await;
    same(&browser, &[&a, &b, &e], 11).await;

    // What is given to the user is an image of it.
    let svg = "import('./draw.js').then(({ svg }) => svg(JSON.parse(boardDigest()), '#000', '#fff'))";
    let svg = browser.in_plugin(&e, "whiteboard", svg).await;
    let svg = svg.as_str().unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("<polyline") && svg.contains("<rect") && svg.contains("<ellipse"));

    // What is no stroke of its sender does nothing.
    let forged = "import('./scene.js').then(({ parse }) => [
        parse({ id: 'ben:1', t: 1, kind: 'pen', color: 0, width: 1, points: [0, 0], text: '' }, (id) => id.startsWith('ana:')),
        parse({ id: 'ana:1', t: 1, kind: 'pen', color: 0, width: 1, points: [0, 1e9], text: '' }, () => true),
        parse({ id: 'ana:1', t: 1, kind: 'pen', color: 99, width: 1, points: [0, 0], text: '' }, () => true),
        parse({ id: 'ana:1', t: 1, kind: 'pen', color: 0, width: 1, points: [0], text: '' }, () => true), parse(null, () => true)])";
    assert_eq!(browser.in_plugin(&a, "whiteboard", forged).await, json!([null, null, null, null, null]));
    // The order of arrival makes no difference, and what somebody else hands over replaces nothing of the author's.
    let orders = "import('./scene.js').then(({ Scene }) => {
        const strokes = JSON.parse(boardDigest()), results = new Set();
        for (let i = 0; i < 50; i++) {
          const scene = new Scene(), parts = [...strokes, ...strokes, { undo: strokes[3].id }, { handed: { ...strokes[5], width: 9 } }];
          parts.sort(() => Math.random() - 0.5);
          for (const part of parts) part.undo ? scene.undo(part.undo) : part.handed ? scene.addHanded(part.handed) : scene.add(part);
          results.add(scene.digest);
        }
        return [results.size, JSON.parse([...results][0]).length] })";
    assert_eq!(browser.in_plugin(&a, "whiteboard", orders).await, json!([1, 10]));
    // A stroke from the end of all time silences nobody: what is drawn after it is seen by all.
    let (mut hostile, _) = Socket::page(&eva, "", 0).await;
    let far = json!({"stroke": {"id": "eva:z-1", "t": 1_i64 << 49, "kind": "pen", "color": 0, "width": 1, "points": [0, 0], "text": ""}});
    hostile.send("whiteboard", &far.to_string()).await;
    for page in [&a, &b, &e] {
        browser.until(page, Some("whiteboard"), "JSON.parse(boardDigest()).length === 12").await;
    }
    stroke(&browser, &a, &[(90, 310), (210, 340)]).await;
    for page in [&a, &b, &e] {
        browser.until(page, Some("whiteboard"), "JSON.parse(boardDigest()).length === 13").await;
    }
    browser.look(&a, 1280, 800, false).await;
    browser.image(&a, "whiteboard.png").await;
    assert_eq!(browser.errors(), Vec::<String>::new());
}
