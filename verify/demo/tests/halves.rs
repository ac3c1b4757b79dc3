//! A cut network as the page is told of it: the real program, real sites and people, and a socket in the browser's place.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "page/program.rs"]
mod program;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use program::{Demo, get};

/// After so long what is waited for will not come. It is no measure of pace: machines are busy.
const DEADLINE: Duration = Duration::from_secs(120);
const PEOPLE: [&str; 6] = ["ana", "ben", "cleo", "dan", "eva", "finn"];
const WEST: usize = 2;

/// What the page is told.
struct Page {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    facts: Value,
    refused: Vec<String>,
}

impl Page {
    async fn open(demo: &Demo) -> Page {
        let host = demo.host();
        let (status, head) = get(&host, demo.entrance(), &[]).await;
        assert_eq!(status, 303);
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let (path, cookie) = (header("location: "), header("set-cookie: "));
        let mut request = format!("ws://{host}{path}peers-socket").into_client_request().unwrap();
        for (name, value) in [("cookie", cookie.split(';').next().unwrap()), ("origin", &format!("http://{host}"))] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (stream, _) = connect_async(request).await.unwrap();
        Page { stream, facts: Value::Null, refused: Vec::new() }
    }

    async fn order(&mut self, order: Value) {
        self.stream.send(Message::text(order.to_string())).await.unwrap();
    }

    async fn says(&mut self, person: &str, text: &str) {
        self.order(json!({"do": "say", "person": place(person), "text": text})).await;
    }

    async fn next(&mut self) {
        let Message::Text(text) = self.stream.next().await.unwrap().unwrap() else { return };
        let told: Value = serde_json::from_str(&text).unwrap();
        match told["type"].as_str().unwrap() {
            "facts" => self.facts = told,
            "refused" => self.refused.push(told["why"].as_str().unwrap().to_owned()),
            other => panic!("what is {other}?"),
        }
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&Page) -> bool) {
        let waited = tokio::time::timeout(DEADLINE, async {
            while self.facts.is_null() || !holds(self) {
                self.next().await;
            }
        });
        assert!(waited.await.is_ok(), "{what}: waited in vain; {:#}", self.facts);
    }

    fn person(&self, name: &str) -> &Value {
        &self.facts["people"][place(name)]
    }

    fn key(&self, name: &str) -> String {
        self.person(name)["key"].as_str().unwrap_or_default().to_owned()
    }

    /// The key that all of these have and nobody else knows of, if it is so.
    fn key_of(&self, names: &[&str]) -> Option<String> {
        let key = self.key(names[0]);
        let has = |name: &&str| self.key(name) == key && strings(&self.person(name)["members"]) == names;
        (!key.is_empty() && names.iter().all(has)).then_some(key)
    }

    /// What this person was given, in its order.
    fn heard(&self, name: &str) -> Vec<String> {
        let log = self.person(name)["log"].as_array().unwrap();
        let said = log.iter().filter(|line| line["tone"] == "said");
        said.map(|line| line["text"].as_str().unwrap().to_owned()).collect()
    }

    fn log(&self, name: &str) -> String {
        let log = self.person(name)["log"].as_array().unwrap();
        log.iter().map(|line| line["text"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
    }

    fn story(&self) -> String {
        let story = self.facts["story"].as_array().unwrap();
        story.iter().map(|line| line["text"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
    }

    /// What was said under a key.
    fn spoken(&self, key: &str) -> &Value {
        let talks = self.facts["spoken"].as_array().unwrap();
        talks.iter().find(|talk| talk["key"] == key).unwrap_or_else(|| panic!("nothing under {key}: {talks:#?}"))
    }

    /// A message, and who was given it.
    fn word(&self, text: &str) -> Option<&Value> {
        let talks = self.facts["spoken"].as_array().unwrap();
        talks.iter().flat_map(|talk| talk["said"].as_array().unwrap()).find(|word| word["text"] == text)
    }

    fn is_read(&self, text: &str, words: &str) -> bool {
        self.word(text).is_some_and(|word| word["read"] == words)
    }
}

fn place(name: &str) -> usize {
    PEOPLE.iter().position(|person| *person == name).unwrap()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_halves_go_on_and_it_is_told_who_read_what() {
    let demo = Demo::start();
    assert_eq!(demo.sites(), 0, "nothing runs before somebody wants to see it");
    let mut page = Page::open(&demo).await;
    page.until("one key", |page| page.facts["one_key"] == true && page.key_of(&PEOPLE).is_some()).await;
    println!("six people had one key {:.1} s after the start of the program", demo.started.elapsed().as_secs_f64());
    assert_eq!(demo.sites(), 3);
    let whole = page.key("ana");
    page.order(json!({"do": "talk", "on": false})).await;

    // Cut: each half has its own key, members and order.
    let (here, there) = (&PEOPLE[..4], &PEOPLE[4..]);
    page.order(json!({"do": "cut", "site": WEST})).await;
    page.until("halves", |page| page.facts["apart"] == true).await;
    let (ours, theirs) = (page.key_of(here).unwrap(), page.key_of(there).unwrap());
    assert!(ours != theirs && ours != whole && theirs != whole, "{whole}; {ours}; {theirs}");
    assert!(page.facts["banner"].as_str().unwrap().contains("neither can read the other"), "{}", page.facts["banner"]);
    for (person, text) in
        [("ana", "to the bridge"), ("eva", "to the mill"), ("cleo", "to the school"), ("finn", "to the sea")]
    {
        page.says(person, text).await;
    }
    page.until("all is read", |page| {
        ["to the bridge", "to the school"].iter().all(|text| page.is_read(text, "read by all four"))
            && ["to the mill", "to the sea"].iter().all(|text| page.is_read(text, "read by both"))
    })
    .await;
    for (key, half, only, never) in [
        (
            &ours,
            here,
            "Only Ana, Ben, Cleo and Dan have this key.",
            "Eva and Finn, who were cut off, cannot read this.",
        ),
        (
            &theirs,
            there,
            "Only Eva and Finn have this key.",
            "Ana, Ben, Cleo and Dan, who were cut off, cannot read this.",
        ),
    ] {
        let talk = page.spoken(key);
        assert_eq!((&talk["readable"], strings(&talk["unreadable"])), (&json!(only), vec![never]));
        let order: Vec<&str> =
            talk["said"].as_array().unwrap().iter().map(|word| word["text"].as_str().unwrap()).collect();
        let places: Vec<u64> =
            talk["said"].as_array().unwrap().iter().map(|word| word["place"].as_u64().unwrap()).collect();
        assert_eq!(places, [1, 2], "each half counts by itself");
        for person in half {
            assert!(
                page.heard(person).ends_with(&[order[0].to_owned(), order[1].to_owned()]),
                "{person}: {:?}",
                page.heard(person)
            );
        }
    }

    // One leaves one of the halves; the other half learns it when they meet.
    page.order(json!({"do": "leave", "person": place("finn")})).await;
    page.until("Eva alone", |page| page.facts["apart"] == true && page.key_of(&["eva"]).is_some()).await;
    let alone = page.key("eva");
    page.says("eva", "is anybody there?").await;
    page.until("Eva hears herself", |page| page.is_read("is anybody there?", "read by Eva alone")).await;
    assert_eq!(strings(&page.spoken(&alone)["unreadable"]).last(), Some(&"Finn, who had left, cannot read this."));
    page.says("finn", "from outside").await;
    page.until("Finn cannot speak", |page| page.log("finn").contains("is not in the group")).await;

    // Mended: one key, which nobody had before, and what was said apart stays apart.
    page.order(json!({"do": "mend"})).await;
    page.until("the merge", |page| page.facts["one_key"] == true && !page.facts["met_after_ms"].is_null()).await;
    let met = page.key_of(&PEOPLE[..5]).unwrap();
    assert!(![&whole, &ours, &theirs, &alone].contains(&&met));
    let story = page.story();
    for words in ["The halves meet: ", "Without Finn, who had left.", "All have one key again"] {
        assert!(story.contains(words), "{words} in {story}");
    }
    page.says("eva", "here I am").await;
    page.until("Eva is heard", |page| page.is_read("here I am", "read by all five")).await;
    for (text, readers) in [("to the bridge", here), ("to the mill", there), ("is anybody there?", &["eva"][..])] {
        assert_eq!(strings(&page.word(text).unwrap()["readers"]), readers, "{text}");
        let others: BTreeSet<&str> = PEOPLE.into_iter().filter(|person| !readers.contains(person)).collect();
        assert!(others.iter().all(|person| !page.heard(person).contains(&text.to_owned())), "{text}");
    }
    page.order(json!({"do": "return", "person": place("finn")})).await;
    page.until("Finn is back", |page| page.facts["one_key"] == true && page.key_of(&PEOPLE).is_some()).await;

    assert!(page.facts["compared"].as_u64().unwrap() > 5);
    assert_eq!(page.facts["differ"], 0);
    for wrong in [json!({"do": "cut", "site": 3}), json!({"do": "freeze", "person": 6}), json!({"do": "burn"})] {
        page.order(wrong).await;
    }
    page.until("refusals", |page| page.refused.len() == 3).await;
    demo.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_program_freezes_is_left_out_and_comes_back() {
    let demo = Demo::start();
    let mut page = Page::open(&demo).await;
    page.until("one key", |page| page.facts["one_key"] == true && page.key_of(&PEOPLE).is_some()).await;
    page.order(json!({"do": "cut", "site": WEST})).await;
    page.until("halves", |page| page.facts["apart"] == true).await;
    let before = page.key("ana");
    page.order(json!({"do": "freeze", "person": place("dan")})).await;
    page.until("Dan is out", |page| page.facts["apart"] == true && page.key_of(&["ana", "ben", "cleo"]).is_some())
        .await;
    let without = page.key("ana");
    assert_ne!(without, before);
    page.says("ana", "Dan does not answer.").await;
    page.until("it is read", |page| page.is_read("Dan does not answer.", "read by all three")).await;
    let never = strings(&page.spoken(&without)["unreadable"]).join(" ");
    assert!(never.contains("Dan, who did not answer, cannot read this."), "{never}");
    page.order(json!({"do": "mend"})).await;
    page.until("the merge", |page| page.facts["one_key"] == true).await;
    assert!(page.story().contains("Without Dan, who did not answer."), "{}", page.story());
    page.order(json!({"do": "return", "person": place("dan")})).await;
    page.until("Dan is back", |page| page.facts["one_key"] == true && page.key_of(&PEOPLE).is_some()).await;
    assert!(page.log("dan").contains("This program did not answer in time."), "{}", page.log("dan"));
    assert!(!page.heard("dan").contains(&"Dan does not answer.".to_owned()));
    assert_eq!(page.facts["differ"], 0);
    demo.end();
}
