//! What pages and programs are told, once and again, and how much of it.

use ringfort_agent::{Bounds, Options, Turn};
use serde_json::{Value, json};

use super::common::client::{Socket, connect, enter, socket_url};
use super::common::{DEADLINE, World, together};

#[tokio::test(flavor = "multi_thread")]
async fn two_members_talk_through_their_pages() {
    let world = World::start(&["ana", "ben", "eva"]).await;
    let (ana, ben, eva) = (world.agent("ana").await, world.agent("ben").await, world.agent("eva").await);
    together(&[&ana, &ben, &eva], &["ana", "ben", "eva"]).await;
    let (mut a, welcome) = Socket::page(&ana, "", 0).await;
    let (mut b, _) = Socket::page(&ben, "", 0).await;
    let (mut e, _) = Socket::page(&eva, "", 0).await;
    assert_eq!(welcome["user"], "ana");
    assert_eq!(welcome["group"]["name"], "garden");
    assert_eq!(welcome["state"]["members"], json!(["ana", "ben", "eva"]));
    assert_eq!(welcome["state"]["leaders"].as_array().unwrap().len(), 4);

    let sent = a.send("chat", "good morning").await;
    assert_eq!(sent["type"], "done");
    let came = b.message("good morning").await;
    assert_eq!((&came["from"], &came["own"], &came["to"]), (&json!("ana"), &json!(false), &json!([])));
    let own = a.seen.iter().find(|line| line["n"] == sent["n"] && line["kind"] == "message");
    let own = if let Some(own) = own { own.clone() } else { a.message("good morning").await };
    assert_eq!(own["own"], true);

    let private = json!({"type": "send", "topic": "chat", "text": "between us", "to": ["ben"]});
    assert_eq!(a.ask(private).await["type"], "done");
    assert_eq!(b.message("between us").await["to"], json!(["ben"]));
    let bytes = json!({"type": "send", "topic": "chat", "base64": "/wA=", "service": "reliable"});
    assert_eq!(a.ask(bytes).await["type"], "done");
    e.next("bytes", |line| line["base64"] == "/wA=").await;
    a.send("chat", "that was all").await;
    e.message("that was all").await;
    assert!(!e.seen.iter().any(|line| line["text"] == "between us"), "eva reads what is not for her");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_by_a_reload_or_a_broken_connection() {
    let world = World::start(&["ana", "ben"]).await;
    let (ana, ben) = (world.agent("ana").await, world.agent("ben").await);
    together(&[&ana, &ben], &["ana", "ben"]).await;
    let (mut a, _) = Socket::page(&ana, "", 0).await;
    let (mut b, welcome) = Socket::page(&ben, "", 0).await;
    a.send("chat", "one").await;
    let seen = b.message("one").await["n"].as_u64().unwrap();
    drop(b);
    for text in ["two", "three"] {
        a.send("chat", text).await;
    }
    // The connection comes back: only what is new is told.
    let run = welcome["run"].as_str().unwrap();
    let (mut b, again) = Socket::page(&ben, run, seen).await;
    assert_eq!(again["after"], seen);
    b.message("three").await;
    assert_eq!(texts(&b), ["two", "three"]);
    // A reload: everything is told.
    let (mut fresh, _) = Socket::page(&ben, "", 0).await;
    fresh.message("three").await;
    assert_eq!(texts(&fresh), ["one", "two", "three"]);
    let numbers: Vec<u64> = fresh.seen.iter().filter_map(|line| line["n"].as_u64()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    // Another run's place means nothing here.
    let (mut other, welcome) = Socket::page(&ben, "another", 999).await;
    assert_eq!(welcome["after"], 0);
    other.message("one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volatile_messages_are_told_live_and_not_again() {
    let world = World::start(&["ana", "ben"]).await;
    let (ana, ben) = (world.agent("ana").await, world.agent("ben").await);
    together(&[&ana, &ben], &["ana", "ben"]).await;
    let (mut a, _) = Socket::page(&ana, "", 0).await;
    let (mut b, _) = Socket::page(&ben, "", 0).await;
    a.send("chat~typing", "ana types").await;
    b.message("ana types").await;
    a.send("chat", "done typing").await;
    let (mut fresh, _) = Socket::page(&ben, "", 0).await;
    fresh.message("done typing").await;
    assert_eq!(texts(&fresh), ["done typing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_kept_is_said() {
    let world = World::start(&["ana"]).await;
    let bounds = Bounds { records_max: 3, ..Bounds::default() };
    let agent = world.agent_with("ana", Options { bounds, ..Options::default() }).await;
    let (mut page, _) = Socket::page(&agent, "", 0).await;
    for number in 0..6 {
        page.send("chat", &number.to_string()).await;
    }
    let (mut fresh, _) = Socket::page(&agent, "", 0).await;
    fresh.message("5").await;
    assert_eq!(texts(&fresh), ["3", "4", "5"]);
    assert!(fresh.seen.iter().any(|line| line["type"] == "skipped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_tells_of_leaders_and_of_the_end() {
    let mut world = World::start(&["ana"]).await;
    let mut agent = world.agent("ana").await;
    let (mut page, _) = Socket::page(&agent, "", 0).await;
    let mood = |line: &Value, leader: usize| line["leaders"][leader]["mood"].as_str().map(str::to_owned);
    let all_fine =
        |line: &Value| line["type"] == "state" && (0..4).all(|leader| mood(line, leader).as_deref() == Some("fine"));
    let (mut other, welcome) = Socket::page(&agent, "", 0).await;
    if welcome["state"]["confirming"] != 4 {
        other.next("four fine leaders", all_fine).await;
    }
    world.stop(4).await;
    let state =
        other.next("a leader away", |line| line["type"] == "state" && mood(line, 3).as_deref() == Some("away")).await;
    assert_eq!((&state["confirmed"], &state["needed"]), (&json!(true), &json!(3)));
    world.stop(3).await;
    let believed = |line: &Value| line["type"] == "state" && line["confirmation"] == "believed";
    let state = other.next("two of four leaders", believed).await;
    let wanted =
        "Talking works. Nobody can join or be put out, and the key cannot change, until a third leader is back.";
    assert_eq!((&state["confirmed"], &state["warning"]), (&json!(false), &json!(wanted)));
    world.stop(2).await;
    let unconfirmed = |line: &Value| line["type"] == "state" && line["confirmation"] == "unconfirmed";
    let state = other.next("too few leaders", unconfirmed).await;
    assert!(state["warning"].as_str().unwrap().contains("Fewer than 2 leaders"), "{state}");
    for leader in 2..=4 {
        world.run(leader).await;
    }
    other.next("enough leaders", |line| line["type"] == "state" && line["confirmed"] == true).await;

    assert_eq!(page.ask(json!({"type": "leave"})).await["type"], "done");
    other.next("the end", |line| line["type"] == "state" && line["ended"] == "left").await;
    assert_eq!(agent.turn().await, Turn::Entered("ana".parse().unwrap()));
    let ended = tokio::time::timeout(DEADLINE, agent.turn()).await.unwrap();
    assert_eq!(ended, Turn::Ended(Some(ringfort::protocol::view::Cause::Left)));
    assert_eq!(page.send("chat", "too late").await["type"], "failed");
    drop(agent);
    while other.line().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_protocol_ends_the_socket_and_nothing_else() {
    let world = World::start(&["ana"]).await;
    let agent = world.agent("ana").await;
    let pass = enter(&agent).await;
    let url = socket_url(&agent, &pass);
    let headers = [("cookie", pass.cookie.as_str()), ("origin", pass.origin.as_str())];
    let hello = json!({"type": "hello", "version": 1}).to_string();
    let long = json!({"type": "send", "id": 1, "topic": "chat", "text": "x".repeat(3 * 1024 * 1024)}).to_string();
    let lines: [(&str, Vec<String>); 7] = [
        ("no hello", vec![json!({"type": "send", "id": 1, "topic": "chat", "text": "x"}).to_string()]),
        ("another version", vec![json!({"type": "hello", "version": 2}).to_string()]),
        ("no JSON", vec![hello.clone(), "{".to_owned()]),
        ("unknown field", vec![hello.clone(), json!({"type": "leave", "id": 1, "really": true}).to_string()]),
        ("two hellos", vec![hello.clone(), hello.clone()]),
        ("too long", vec![hello.clone(), long]),
        ("deep", vec![hello.clone(), "[".repeat(100_000)]),
    ];
    for (what, lines) in lines {
        let mut socket = connect(&url, &headers).await.unwrap();
        for line in lines {
            socket.text(line).await;
        }
        while socket.line().await.is_some() {}
        assert!(!socket.seen.iter().any(|line| line["type"] == "done"), "{what}");
    }
    let mut socket = connect(&url, &headers).await.unwrap();
    socket.binary(vec![0; 10]).await;
    while socket.line().await.is_some() {}

    let (mut page, _) = Socket::page(&agent, "", 0).await;
    for ask in [
        json!({"type": "send", "topic": "unknown", "text": "x"}),
        json!({"type": "send", "topic": "chat"}),
        json!({"type": "send", "topic": "chat", "text": "x", "base64": "eA=="}),
        json!({"type": "send", "topic": "chat", "base64": "%"}),
        json!({"type": "send", "topic": "chat", "text": "x", "to": ["No Name"]}),
        json!({"type": "send", "topic": "chat", "text": "x", "to": ["nobody"]}),
        json!({"type": "send", "topic": "chat", "text": "x".repeat(300 * 1024)}),
        json!({"type": "send", "topic": format!("chat/{}", "x".repeat(80)), "text": "x"}),
        json!({"type": "set", "plugin": "chat", "key": "k", "value": "x".repeat(300 * 1024)}),
        json!({"type": "get", "plugin": "nothing", "key": "k"}),
    ] {
        let shown = ask.to_string().chars().take(80).collect::<String>();
        assert_eq!(page.ask(ask).await["type"], "failed", "{shown}");
    }
    assert_eq!(page.ask(json!({"type": "set", "plugin": "chat", "key": "k", "value": "v"})).await["type"], "done");
    assert_eq!(page.ask(json!({"type": "get", "plugin": "chat", "key": "k"})).await["value"], "v");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_sockets_and_no_more() {
    let world = World::start(&["ana"]).await;
    let agent = world.agent("ana").await;
    let pass = enter(&agent).await;
    let headers = [("cookie", pass.cookie.as_str()), ("origin", pass.origin.as_str())];
    let url = socket_url(&agent, &pass);
    let mut open = Vec::new();
    let refused = loop {
        match connect(&url, &headers).await {
            Ok(socket) => open.push(socket),
            Err(status) => break status,
        }
        assert!(open.len() < 100, "no bound");
    };
    assert_eq!(refused, 503);
    drop(open);
    let again = async {
        while connect(&url, &headers).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, again).await.expect("places are given back");
}

fn texts(socket: &Socket) -> Vec<&str> {
    let messages = socket.seen.iter().filter(|line| line["kind"] == "message");
    messages.filter_map(|line| line["text"].as_str()).collect()
}
