//! A program that takes the port of an agent that has ended, while its page is still open.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use ringfort_agent::{Agent, Options};
use ringfort_browser::Browser;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use super::common::World;
use super::common::client::{Socket, host};

const WARNS: &str = "another program answers";

/// Ends the agent and answers in its place: to every hello with these lines. Gives what it hears.
async fn take_the_port_of(agent: Agent, lines: Vec<Value>) -> Arc<Mutex<Vec<String>>> {
    let address: SocketAddr = host(&agent).parse().unwrap();
    drop(agent);
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (told, lines) = (heard.clone(), Arc::new(lines));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, lines.clone(), told.clone()));
        }
    });
    heard
}

async fn answer(stream: TcpStream, lines: Arc<Vec<Value>>, heard: Arc<Mutex<Vec<String>>>) {
    let Ok(mut socket) = accept_async(stream).await else { return };
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        heard.lock().unwrap().push(text.to_string());
        if text.contains("hello") {
            for line in lines.iter() {
                let _ = socket.send(Message::Text(line.to_string().into())).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_the_port_of_an_ended_agent_is_not_believed() {
    let Some(browser) = Browser::start().await else { return };
    let world = World::start(&["ana"]).await;
    let agent = world.agent("ana").await;
    let (_socket, mut welcome) = Socket::page(&agent, "", 0).await;
    let page = browser.open(&agent.url()).await;
    browser.until(&page, Some("chat"), "document.querySelectorAll('.chip').length === 1").await;
    welcome["run"] = json!("another");
    let said = json!({"type": "record", "n": 1, "at_ms": 1, "kind": "message", "from": "ben", "to": [], "topic": "chat",
        "text": "the meeting is at gate B", "own": false, "epoch": 1});
    let mut ended = welcome["state"].clone();
    (ended["type"], ended["ended"]) = (json!("state"), json!("lost the connection"));
    let proof = json!({"type": "proof", "proof": "00".repeat(32)});
    let heard = take_the_port_of(agent, vec![proof, welcome, said, ended]).await;
    let warns = format!("document.getElementById('banner-words').textContent.includes('{WARNS}')");
    browser.until(&page, None, &warns).await;
    assert_eq!(browser.evaluate(&page, "document.getElementById('rejoin').hidden").await, true);
    assert_eq!(browser.in_plugin(&page, "chat", "document.body.innerText.includes('gate B')").await, false);
    assert!(heard.lock().unwrap().iter().all(|line| line.contains("\"hello\"")), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_goes_to_nobody_but_the_agent_that_served_the_page() {
    let Some(browser) = Browser::start().await else { return };
    let world = World::start(&["ana"]).await;
    let agent = world.closed_agent(Options::default()).await;
    let page = browser.open(&agent.url()).await;
    browser.until(&page, None, "document.getElementById('login-group').textContent === 'garden'").await;
    let group = json!({"name": "garden", "fingerprint": "", "leaders": 4, "faults": 1, "members_expel": false});
    let login =
        json!({"type": "login", "version": 1, "group": group, "user": "ana", "busy": false, "returning": false});
    let heard = take_the_port_of(agent, vec![login]).await;
    let warns = format!("document.getElementById('login-why').textContent.includes('{WARNS}')");
    browser.until(&page, None, &warns).await;
    browser.fill(&page, "#login-user", "ana").await;
    browser.fill(&page, "#login-password", "correct horse").await;
    browser.keys(&page, Browser::ENTER).await;
    browser.until(&page, None, "document.getElementById('login-why').textContent.includes('no connection')").await;
    assert!(heard.lock().unwrap().iter().all(|line| line.contains("\"hello\"")), "{heard:?}");
}
