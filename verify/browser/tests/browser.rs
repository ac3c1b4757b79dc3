//! What tests rely on: profiles apart, scripts in sandboxed frames, real input, colours, and errors that are seen.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use ringfort_browser::{Axe, Browser, Page};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const OUTER: &str = "<!doctype html><title>outer</title><input id=name><button id=b>press</button>
<iframe src='/frame/inner' sandbox='allow-scripts' width=300 height=300></iframe>
<script>b.onclick = (e) => { b.textContent = 'pressed by ' + (e.isTrusted ? 'a hand' : 'a script'); throw new Error('on purpose') }</script>";
const INNER: &str = "<!doctype html><style>body { margin: 0; height: 300px }</style><script>
let moves = 0; onpointermove = (e) => { if (e.buttons === 1) moves += 1 };
onpointerdown = (e) => document.body.textContent = `down at ${e.clientX},${e.clientY}`</script>";

async fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let size = stream.read(&mut request).await.unwrap_or(0);
                let body = if request[..size].starts_with(b"GET /frame") { INNER } else { OUTER };
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
                let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    origin
}

async fn dark(browser: &Browser, page: &Page) -> serde_json::Value {
    browser.evaluate(page, "matchMedia('(prefers-color-scheme: dark)').matches").await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_frames_input_colours_and_errors() {
    let Some(browser) = Browser::start().await else { return };
    let origin = serve().await;
    let (one, other) = (browser.open(&origin).await, browser.open(&origin).await);
    browser.until(&one, Some("frame"), "document.readyState === 'complete'").await;

    let value = browser.evaluate(&one, "Promise.resolve([1, 'a', { b: null, c: [true] }])").await;
    assert_eq!(value, json!([1, "a", {"b": null, "c": [true]}]));
    browser.evaluate(&one, "document.cookie = 'mine=1'").await;
    assert_eq!(browser.evaluate(&other, "document.cookie").await, "", "each page has a profile of its own");
    assert_eq!(browser.in_plugin(&one, "frame", "self.origin").await, "null", "the frame is sandboxed");
    assert_eq!(browser.in_plugin(&one, "elsewhere", "1").await, json!(null));

    browser.fill(&one, "#name", "ana").await;
    assert_eq!(browser.evaluate(&one, "document.getElementById('name').value").await, "ana");
    assert_eq!(browser.errors(), Vec::<String>::new());
    browser.click(&one, "#b").await;
    browser.until(&one, None, "b.textContent === 'pressed by a hand'").await;
    assert!(browser.errors().iter().any(|error| error.contains("on purpose")), "{:?}", browser.errors());
    let frame = browser.frame(&one, "/frame/").await.unwrap();
    browser.drag(&frame, &[(20, 30), (60, 80), (90, 120)], (&frame, "html")).await;
    browser.until(&one, Some("frame"), "document.body.textContent === 'down at 20,30' && moves > 0").await;

    assert_eq!((dark(&browser, &one).await, dark(&browser, &frame).await), (json!(false), json!(false)));
    browser.look(&one, 400, 700, true).await;
    assert_eq!((dark(&browser, &one).await, dark(&browser, &frame).await), (json!(true), json!(true)));
    assert_eq!(browser.evaluate(&one, "[innerWidth, innerHeight]").await, json!([400, 700]));
    assert_eq!(dark(&browser, &other).await, false);
    assert!(browser.screenshot(&one).await.starts_with(b"\x89PNG"));
    if let Some(axe) = Axe::load().await {
        let found = axe.findings(&browser, &one).await.join("\n");
        assert!(
            found.contains("critical: label") && found.contains("/frame/inner: serious: document-title"),
            "{found}"
        );
    }
    browser.evaluate(&one, "globalThis.old = true").await;
    browser.reload(&one).await;
    assert_eq!(browser.evaluate(&one, "globalThis.old === undefined").await, true);
}
