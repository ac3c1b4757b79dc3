//! Files through agents in a real group: from one page's request to other members' folders.

use ringfort_agent::Agent;
use serde_json::{Value, json};

use crate::common::client::{Answer, Socket, enter, get, raw_bytes};
use crate::common::{World, together};

const MIB: usize = 1024 * 1024;

fn content(bytes: usize) -> Vec<u8> {
    let mut x = 0x2545_f491_u32;
    (0..bytes)
        .map(|_| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 24) as u8
        })
        .collect()
}

/// What the page does with a file that was dropped on it.
async fn post(agent: &Agent, place: &str, headers: &[(&str, &str)], body: &[u8], length: usize) -> Answer {
    let host = crate::common::client::host(agent);
    let mut request =
        format!("POST {place} HTTP/1.1\r\nConnection: close\r\nHost: {host}\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    raw_bytes(&host, &[format!("{request}\r\n").as_bytes(), body].concat()).await
}

async fn offer(agent: &Agent, query: &str, body: &[u8]) -> u64 {
    let pass = enter(agent).await;
    let headers = [("Cookie", pass.cookie.as_str()), ("Origin", pass.origin.as_str())];
    let answer = post(agent, &format!("{}files/files?{query}", pass.path), &headers, body, body.len()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice::<Value>(&answer.body).unwrap()["file"].as_u64().unwrap()
}

/// Waits until the newest file is so, and gives it.
async fn until(socket: &mut Socket, what: &str, so: impl Fn(&Value) -> bool) -> Value {
    let newest = |line: &Value| line["files"].as_array().and_then(|files| files.last().cloned());
    let line = socket.next(what, |line| line["type"] == "files" && newest(line).is_some_and(|file| so(&file))).await;
    newest(&line).unwrap()
}

async fn act(socket: &mut Socket, file: &Value, action: &str) -> Value {
    socket.ask(json!({"type": "file", "topic": "files", "file": file["id"], "action": action})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_mebibytes_to_two_through_joins_leaves_rekeys_pauses_and_a_lost_leader() {
    let mut world = World::start(&["ana", "ben", "dan", "eva"]).await;
    let (ana, ben) = (world.agent("ana").await, world.agent("ben").await);
    let eva = world.agent("eva").await;
    together(&[&ana, &ben, &eva], &["ana", "ben", "eva"]).await;
    let (mut at_ana, _) = Socket::page(&ana, "", 0).await;
    let (mut at_ben, welcome) = Socket::page(&ben, "", 0).await;
    let (mut at_eva, _) = Socket::page(&eva, "", 0).await;
    assert_eq!(welcome["files_folder"], world.downloads("ben").canonicalize().unwrap().to_str().unwrap());
    let plugins = welcome["plugins"].as_array().unwrap();
    let with_files: Vec<_> = plugins.iter().filter(|p| p["files"] == true).map(|p| p["id"].clone()).collect();
    assert_eq!(with_files, ["files"]);

    let file = content(50 * MIB);
    offer(&ana, "name=..%2Fplan.bin", &file).await;
    let asked = until(&mut at_ben, "an offer", |file| file["state"] == "asked").await;
    assert_eq!(
        (&asked["name"], &asked["bytes"], &asked["from"]),
        (&json!("_plan.bin"), &json!(50 * MIB), &json!("ana"))
    );
    assert_eq!(act(&mut at_ben, &asked, "accept").await["type"], "done");
    let asked = until(&mut at_eva, "an offer", |file| file["state"] == "asked").await;
    assert_eq!(act(&mut at_eva, &asked, "accept").await["type"], "done");

    // In the middle of it: ben pauses, dan joins and leaves, a leader is lost and comes back.
    let some = |file: &Value| file["done"].as_u64().unwrap() > 2 * MIB as u64;
    let mine = until(&mut at_ben, "the middle", some).await;
    assert_eq!(act(&mut at_ben, &mine, "pause").await["type"], "done");
    let dan = world.agent("dan").await;
    together(&[&ana, &ben, &eva, &dan], &["ana", "ben", "dan", "eva"]).await;
    until(&mut at_eva, "eva goes on without ben", |file| file["state"] == "complete").await;
    let epoch = ana.group().unwrap().snapshot().view.unwrap().epoch;
    let stand = |file: &Value| (file["peers"][0]["state"] == "paused", file["peers"][1]["state"] == "complete");
    let sent = until(&mut at_ana, "ben's pause, and eva's end", |file| stand(file) == (true, true)).await;
    assert_eq!((&sent["peers"][0]["user"], &sent["peers"][1]["user"]), (&json!("ben"), &json!("eva")));
    assert_eq!(act(&mut at_ben, &mine, "resume").await["type"], "done");
    world.stop(2).await;
    drop(dan.group().unwrap().leave().await);
    together(&[&ana, &ben, &eva], &["ana", "ben", "eva"]).await;
    assert!(ana.group().unwrap().snapshot().view.unwrap().epoch > epoch, "a rekey");
    world.run(2).await;
    let mine = until(&mut at_ben, "complete", |file| file["state"] == "complete").await;
    until(&mut at_ana, "sent", |file| file["state"] == "sent").await;

    for (user, folder) in [("ben", &ben), ("eva", &eva)] {
        let path = world.downloads(user).join("_plan.bin");
        assert!(std::fs::read(&path).unwrap() == file, "{user} has another file");
        let kept: Vec<_> = std::fs::read_dir(world.downloads(user).join(".ringfort")).unwrap().collect();
        assert!(kept.is_empty(), "{kept:?}");
        assert!(folder.group().unwrap().snapshot().ended.is_none());
    }
    // None of it went through the log: a page that comes now sees the list, and no message.
    let (mut again, _) = Socket::page(&ben, "", 0).await;
    until(&mut again, "the list after a reload", |file| file["state"] == "complete").await;
    assert!(again.seen.iter().all(|line| line["kind"] != "message" && line["kind"] != "gap"), "{:?}", again.seen);

    // The browser may save a copy.
    let pass = enter(&ben).await;
    let place = format!("{}files/files/{}", pass.path, mine["id"]);
    let answer = get(&ben, &place, &[("Cookie", &pass.cookie)]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == file);
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename*=UTF-8''_plan.bin"));
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_only_through_the_door_and_only_for_plugins_that_may() {
    let world = World::start(&["ana", "ben"]).await;
    let (ana, ben) = (world.agent("ana").await, world.agent("ben").await);
    together(&[&ana, &ben], &["ana", "ben"]).await;
    let pass = enter(&ana).await;
    let (cookie, origin) = (("Cookie", pass.cookie.as_str()), ("Origin", pass.origin.as_str()));
    let place = format!("{}files/files?name=a", pass.path);
    for headers in
        [&[][..], &[cookie], &[origin], &[cookie, ("Origin", "http://evil.example")], &[cookie, ("Origin", "null")]]
    {
        assert_eq!(post(&ana, &place, headers, b"x", 1).await.status, 403, "{headers:?}");
    }
    let good = [cookie, origin];
    let elsewhere = format!("/{}/files/files?name=a", "0".repeat(32));
    assert_eq!(post(&ana, &elsewhere, &good, b"x", 1).await.status, 403);
    let chat = format!("{}files/chat?name=a", pass.path);
    assert_eq!(post(&ana, &chat, &good, b"x", 1).await.status, 404, "chat has no files");
    let stranger = format!("{}files/files?name=a&to=mal", pass.path);
    let answer = post(&ana, &stranger, &good, b"x", 1).await;
    assert_eq!((answer.status, answer.text()), (409, "mal is not in the group".to_owned()));
    let huge = post(&ana, &place, &good, b"x", 1 << 50).await;
    assert_eq!(huge.status, 507, "{}", huge.text());
    assert_eq!(post(&ana, &place, &good, b"", 0).await.status, 200, "an empty file is one");

    let (mut at_ana, _) = Socket::page(&ana, "", 0).await;
    let (mut at_ben, _) = Socket::page(&ben, "", 0).await;
    // Small enough not to ask.
    let got = until(&mut at_ben, "the empty file", |file| file["state"] == "complete").await;
    let sent = until(&mut at_ana, "sent", |file| file["state"] == "sent").await;
    for (topic, action, why) in [
        ("chat", "forget", "there are no files on the topic \"chat\""),
        ("files", "accept", "that cannot be done with it now"),
    ] {
        let ask = json!({"type": "file", "topic": topic, "file": got["id"], "action": action});
        assert_eq!(at_ben.ask(ask).await["why"], why);
    }
    // What the service says cannot be said by anybody else.
    assert_eq!(at_ben.send("files=file", "x").await["type"], "failed");
    let own = format!("{}files/files/{}", pass.path, sent["id"]);
    assert_eq!(get(&ana, &own, &[cookie]).await.status, 404, "one's own is not kept");
    assert_eq!(get(&ana, &own, &[]).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_off_on_the_way_to_the_agent_is_offered_to_nobody() {
    let world = World::start(&["ana", "ben"]).await;
    let (ana, ben) = (world.agent("ana").await, world.agent("ben").await);
    together(&[&ana, &ben], &["ana", "ben"]).await;
    let (mut at_ana, _) = Socket::page(&ana, "", 0).await;
    let pass = enter(&ana).await;
    let headers = [("Cookie", pass.cookie.as_str()), ("Origin", pass.origin.as_str())];
    let place = format!("{}files/files?name=a", pass.path);
    let sending = post(&ana, &place, &headers, &[0; 100], 200);
    // The client gives up in the middle.
    tokio::select! {
        answer = sending => panic!("an answer to half a file: {}", answer.text()),
        _ = until(&mut at_ana, "the beginning", |file| file["state"] == "preparing") => {}
    }
    let failed = until(&mut at_ana, "the failure", |file| file["state"] == "failed").await;
    assert_eq!(failed["why"], "it was not handed over whole");
    let (mut at_ben, _) = Socket::page(&ben, "", 0).await;
    offer(&ana, "name=b&to=ben", b"whole").await;
    let got = until(&mut at_ben, "the next one", |file| file["state"] == "complete").await;
    assert_eq!((&got["name"], &got["id"]), (&json!("b"), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_for_no_plugin_with_files_leaves_nothing_on_the_disk() {
    let world = World::start(&["ben", "mal"]).await;
    let ben = world.agent("ben").await;
    let (mal, mut events) = world.join("mal").await;
    tokio::spawn(async move { while events.next().await.is_some() {} });
    together(&[&ben], &["ben", "mal"]).await;
    let (mut at_ben, _) = Socket::page(&ben, "", 0).await;
    // The offer of an empty file, which is accepted without asking.
    let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    let root: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&empty[2 * i..2 * i + 2], 16).unwrap()).collect();
    let offer = |id: u8, name: &str| {
        let name = [&(name.len() as u32).to_le_bytes(), name.as_bytes()].concat();
        [&[1], &[id; 16][..], &name, &0_u64.to_le_bytes(), &1024_u32.to_le_bytes(), &root].concat()
    };
    for (id, topic) in ["chat=file", "other=file", "=file", "files=file=file"].into_iter().enumerate() {
        mal.multicast(topic, &offer(id as u8, "hidden")).await.unwrap();
    }
    mal.multicast("files=file", &offer(9, "shown")).await.unwrap();
    until(&mut at_ben, "the shown one", |file| file["state"] == "complete" && file["name"] == "shown").await;
    let names: Vec<_> = std::fs::read_dir(world.downloads("ben")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.len() == 2 && names.contains(&"shown".into()) && names.contains(&".ringfort".into()), "{names:?}");
}
