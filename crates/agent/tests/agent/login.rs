//! Logging in from the page: what keeps one out and is told, trying again, and a second stay in the same records.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use ringfort::protocol::view::Cause;
use ringfort_agent::{Options, Turn};
use serde_json::{Value, json};

use super::common::World;
use super::common::client::{Socket, connect, enter, socket_url};

async fn try_to_log_in(socket: &mut Socket, mut ask: Value) -> String {
    ask["id"] = json!(800);
    socket.say(ask).await;
    let told = socket.next("the outcome", |line| line["type"] == "login" && line["busy"] == false).await;
    told["why"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_logs_in_on_the_page_as_often_as_it_takes() {
    let mut world = World::start(&["ana", "ben"]).await;
    let user = Some("ana".to_owned());
    let within = Some(Duration::from_secs(10));
    let options = Options { user, login_within: within, programs: vec!["weather".into()], ..Options::default() };
    let mut agent = world.closed_agent(options).await;
    assert!(agent.group().is_none());
    let pass = enter(&agent).await;
    let headers = [("cookie", pass.cookie.as_str()), ("origin", pass.origin.as_str())];
    let mut page = connect(&socket_url(&agent, &pass), &headers).await.unwrap();
    page.say(json!({"type": "hello", "version": 1})).await;
    let told = page.next("the login", |line| line["type"] == "login").await;
    assert_eq!((&told["user"], &told["busy"], &told["why"]), (&json!("ana"), &json!(false), &Value::Null));
    assert_eq!(told["group"]["name"], "garden");
    assert!(told["group"]["fingerprint"].as_str().unwrap().len() > 20);
    assert_eq!(page.send("chat", "too early").await["why"], "nobody is logged in");

    let password = |user: &str, password: &str| json!({"type": "login", "user": user, "password": password});
    for (user, secret) in [("ana", "wrong"), ("nobody", "ana's password")] {
        let why = try_to_log_in(&mut page, password(user, secret)).await;
        assert!(why.contains("do not know this name"), "{why}");
    }
    assert!(try_to_log_in(&mut page, password("Not A Name!", "x")).await.contains("name"));
    assert!(try_to_log_in(&mut page, password("ana", "")).await.contains("needed"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("no.key");
    let why = try_to_log_in(&mut page, json!({"type": "login", "user": "ana", "key": file})).await;
    assert!(why.contains("no.key"), "{why}");
    std::fs::write(&file, "what others can read").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let why = try_to_log_in(&mut page, json!({"type": "login", "user": "ana", "key": file})).await;
    assert!(why.contains("chmod"), "{why}");

    for leader in 1..=4 {
        world.stop(leader).await;
    }
    let why = try_to_log_in(&mut page, password("ana", "ana's password")).await;
    assert!(why.contains("within 10 s") && why.contains("Check the network"), "{why}");
    for leader in 1..=4 {
        world.run(leader).await;
    }
    // A program waits at the door until somebody is in.
    let access = agent.programs().remove(0);
    let bearer = format!("Bearer {}", access.token);
    let mut program = connect(&access.url, &[("authorization", &bearer)]).await.unwrap();
    program.say(json!({"type": "hello", "version": 1})).await;
    assert_eq!(program.ask(password("ana", "ana's password")).await["why"], "only the page may do that");

    page.say(json!({"type": "login", "id": 900, "user": "ana", "password": "ana's password"})).await;
    let welcome = page.next("the welcome", |line| line["type"] == "welcome").await;
    assert_eq!(welcome["user"], "ana");
    program.next("the welcome", |line| line["type"] == "welcome" && line["topic"] == "weather").await;
    assert_eq!(agent.turn().await, Turn::Entered("ana".parse().unwrap()));
    let again = page.ask(password("ben", "ben's password")).await;
    assert!(again["why"].as_str().unwrap().contains("already"), "{again}");
    page.send("chat", "first stay").await;
    page.say(json!({"type": "leave", "id": 899})).await;
    page.next("the end", |line| line["type"] == "state" && line["ended"] == "left").await;
    assert_eq!(agent.turn().await, Turn::Ended(Some(Cause::Left)));

    // The same user goes on in the same records.
    page.say(json!({"type": "login", "id": 901, "user": "ana", "password": "ana's password"})).await;
    let second = page.next("the welcome", |line| line["type"] == "welcome").await;
    assert_eq!((&second["run"], &second["state"]["ended"]), (&welcome["run"], &Value::Null));
    let (mut other, _) = Socket::page(&agent, "", 0).await;
    other.message("first stay").await;
    assert_eq!(agent.turn().await, Turn::Entered("ana".parse().unwrap()));
    page.ask(json!({"type": "leave"})).await;
    assert_eq!(agent.turn().await, Turn::Ended(Some(Cause::Left)));

    // Another user sees nothing of it.
    page.say(json!({"type": "login", "id": 902, "user": "ben", "password": "ben's password"})).await;
    let third = page.next("the welcome", |line| line["type"] == "welcome" && line["user"] == "ben").await;
    assert_ne!(third["run"], welcome["run"]);
    let (mut other, _) = Socket::page(&agent, "", 0).await;
    page.send("chat", "of ben").await;
    other.message("of ben").await;
    assert!(!other.seen.iter().any(|line| line["text"] == "first stay"));
    // What was said of the logins holds no password.
    assert!(!page.seen.iter().any(|line| line.to_string().contains("'s password")));
}
