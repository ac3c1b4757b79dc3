//! Who gets in, and with what headers.

use ringfort_agent::{AgentError, Options};

use super::common::World;
use super::common::client::{Socket, connect, enter, get, host, raw, socket_url};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_opens_with_the_token_and_to_nobody_else() {
    let world = World::start(&["ana"]).await;
    let agent = world.agent("ana").await;
    assert!(agent.url().starts_with("http://127.0.0.1:"), "only loopback");

    for path in ["/", "/?token=", "/?token=00000000000000000000000000000000", "/?other=1"] {
        let answer = get(&agent, path, &[]).await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.header("set-cookie").is_none());
        assert!(answer.text().contains("This door is closed"));
    }
    let pass = enter(&agent).await;
    let cookie = ("Cookie", pass.cookie.as_str());
    let page = get(&agent, &pass.path, &[cookie]).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("<title>Ringfort</title>"));
    assert_eq!(get(&agent, &format!("{}page.js", pass.path), &[cookie]).await.status, 200);
    // Neither the path alone nor the cookie alone is enough.
    assert_eq!(get(&agent, &pass.path, &[]).await.status, 403);
    assert_eq!(get(&agent, &pass.path, &[("Cookie", "ringfort=0")]).await.status, 403);
    assert_eq!(get(&agent, "/elsewhere/", &[cookie]).await.status, 403);
    assert_eq!(get(&agent, &format!("{}../Cargo.toml", pass.path), &[cookie]).await.status, 404);
    assert_eq!(get(&agent, &format!("{}nothing.js", pass.path), &[cookie]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_is_kept_from_scripts_sites_and_other_ports() {
    let world = World::start(&["ana"]).await;
    let agent = world.agent("ana").await;
    let url = agent.url();
    let answer = get(&agent, &url[url.find("/?").unwrap()..], &[]).await;
    let cookie = answer.header("set-cookie").unwrap();
    let place = answer.header("location").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(cookie.contains(&format!("Path={place}")) && place.len() > 30, "{cookie}");
    let token = url.split("token=").nth(1).unwrap();
    assert!(!cookie.contains(token) && !place.contains(token));
}

#[tokio::test(flavor = "multi_thread")]
async fn rebound_names_and_foreign_pages_are_refused() {
    let world = World::start(&["ana"]).await;
    let agent = world.agent("ana").await;
    let pass = enter(&agent).await;
    let cookie = ("Cookie", pass.cookie.as_str());
    for name in ["evil.example", "localhost", "127.0.0.1", "127.0.0.1:1"] {
        let url = agent.url();
        let with_token = get(&agent, &url[url.find("/?").unwrap()..], &[("Host", name)]).await;
        assert_eq!(with_token.status, 421, "{name}");
        assert_eq!(get(&agent, &pass.path, &[cookie, ("Host", name)]).await.status, 421, "{name}");
    }
    let old = format!("GET {} HTTP/1.0\r\nCookie: {}\r\n\r\n", pass.path, pass.cookie);
    assert_eq!(raw(&host(&agent), &old).await.status, 421, "no host at all");
    for foreign in [("Origin", "http://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")] {
        assert_eq!(get(&agent, &pass.path, &[cookie, foreign]).await.status, 403, "{foreign:?}");
    }
    let url = socket_url(&agent, &pass);
    let own = pass.origin.as_str();
    let tries: [&[(&'static str, &str)]; 5] = [
        &[("cookie", &pass.cookie), ("origin", "http://evil.example")],
        &[("cookie", &pass.cookie), ("origin", "null")],
        &[("cookie", &pass.cookie)],
        &[("origin", own)],
        &[("origin", own), ("cookie", "ringfort=00000000000000000000000000000000")],
    ];
    for headers in tries {
        assert_eq!(connect(&url, headers).await.err(), Some(403), "{headers:?}");
    }
    assert!(connect(&url, &[("cookie", &pass.cookie), ("origin", own)]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_a_strict_policy() {
    let world = World::start(&["ana"]).await;
    let agent = world.agent("ana").await;
    let pass = enter(&agent).await;
    let page = get(&agent, &pass.path, &[("Cookie", &pass.cookie)]).await;
    let policy = page.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("https:"), "{policy}");
    let (_, welcome) = Socket::page(&agent, "", 0).await;
    let chat = welcome["plugins"][0]["url"].as_str().unwrap().strip_prefix(&pass.origin).unwrap().to_owned();
    let frame = get(&agent, &chat, &[]).await;
    let policy = frame.header("content-security-policy").unwrap();
    for part in ["sandbox allow-scripts", "connect-src 'none'", "form-action 'none'", "default-src 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("allow-same-origin") && !policy.contains("'self'"), "{policy}");
    for answer in [&page, &frame, &get(&agent, "/nowhere", &[]).await, &get(&agent, "/", &[("Host", "evil")]).await] {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("content-security-policy").is_some());
    }
    // A plugin's files are behind an address of their own, and lead nowhere else.
    let folder = chat.trim_end_matches("index.html");
    assert_eq!(get(&agent, &format!("{folder}ringfort.js"), &[]).await.status, 200);
    assert_eq!(get(&agent, &format!("{folder}page.js"), &[]).await.status, 404);
    assert_eq!(get(&agent, &format!("{folder}plugin.toml"), &[]).await.status, 404);
    assert_eq!(get(&agent, "/p/00000000000000000000000000000000/chat/index.html", &[]).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_has_its_topic_and_nothing_else() {
    let world = World::start(&["ana"]).await;
    let options = Options { programs: vec!["weather".into()], ..Options::default() };
    let agent = world.agent_with("ana", options).await;
    let access = agent.programs().remove(0);
    let bearer = format!("Bearer {}", access.token);
    let (mut page, _) = Socket::page(&agent, "", 0).await;
    page.send("chat", "not for programs").await;

    assert_eq!(connect(&access.url, &[]).await.err(), Some(403));
    assert_eq!(connect(&access.url, &[("authorization", "Bearer 0")]).await.err(), Some(403));
    let browser = [("authorization", bearer.as_str()), ("origin", "null")];
    assert_eq!(connect(&access.url, &browser).await.err(), Some(403), "a browser is no program");

    let (mut program, welcome) = Socket::program(&agent, "weather").await;
    assert_eq!((&welcome["topic"], welcome["plugins"].as_array().unwrap().len()), (&"weather".into(), 0));
    assert_eq!(program.send("weather", "sunny").await["type"], "done");
    for topic in ["chat", "chat/got", "weatherly", "", "/weather", "~"] {
        assert_eq!(program.send(topic, "x").await["type"], "failed", "{topic:?}");
    }
    for ask in [
        serde_json::json!({"type": "leave"}),
        serde_json::json!({"type": "get", "plugin": "chat", "key": "read"}),
        serde_json::json!({"type": "set", "plugin": "chat", "key": "read", "value": "9"}),
    ] {
        assert_eq!(program.ask(ask).await["type"], "failed");
    }
    program.send("weather/detail", "still sunny").await;
    assert!(!program.seen.iter().any(|line| line["text"] == "not for programs"));
    assert!(program.seen.iter().any(|line| line["text"] == "sunny"));
    // The token of a program does not open the page.
    assert_eq!(get(&agent, &format!("/?token={}", access.token), &[]).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_topic_and_a_taken_port_are_said() {
    let world = World::start(&["ana", "ben"]).await;
    let (group, events) = world.join("ana").await;
    let options = Options { programs: vec!["a/b".into()], ..Options::default() };
    let refused = ringfort_agent::Agent::start(group, events, options).await;
    assert!(matches!(refused, Err(AgentError::Topic(topic)) if topic == "a/b"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (group, events) = world.join("ben").await;
    let options = Options { port: taken.local_addr().unwrap().port(), ..Options::default() };
    let refused = ringfort_agent::Agent::start(group, events, options).await;
    assert!(matches!(refused, Err(AgentError::Listen { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_one_page_that_is_named_may_frame_it() {
    let world = World::start(&["ana", "ben"]).await;
    let parent = "http://127.0.0.1:4711";
    let options = Options { parent: Some(parent.to_owned()), ..Options::default() };
    for (agent, framed) in [(world.agent_with("ana", options).await, true), (world.agent("ben").await, false)] {
        let pass = enter(&agent).await;
        let neighbour = [("Cookie", pass.cookie.as_str()), ("Sec-Fetch-Site", "same-site")];
        let frame = [&neighbour[..], &[("Sec-Fetch-Dest", "iframe")]].concat();
        assert_eq!(get(&agent, &pass.path, &frame).await.status, if framed { 200 } else { 403 });
        assert_eq!(get(&agent, &pass.path, &frame[1..]).await.status, 403, "without the cookie");
        assert_eq!(get(&agent, &pass.path, &neighbour).await.status, 403, "not as a frame");
        let file = format!("{}page.js", pass.path);
        assert_eq!(get(&agent, &file, &frame).await.status, 403, "nothing but the first document");
        let page = get(&agent, &pass.path, &neighbour[..1]).await;
        let wanted = if framed { parent } else { "'none'" };
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains(&format!("frame-ancestors {wanted};")), "{policy}");
    }
}
