//! Clients of an agent: plain HTTP/1.1 by hand, and sockets.

use futures_util::{SinkExt, StreamExt};
use ringfort_agent::Agent;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::DEADLINE;

/// An answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).first().copied()
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        let pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// `127.0.0.1:PORT` of an agent.
pub fn host(agent: &Agent) -> String {
    agent.url().split('/').nth(2).unwrap().to_owned()
}

/// A request as it is written, with a Host unless there is one.
pub async fn get(agent: &Agent, path: &str, headers: &[(&str, &str)]) -> Answer {
    let host = host(agent);
    let mut request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request += &format!("Host: {host}\r\n");
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    raw(&host, &(request + "\r\n")).await
}

pub async fn raw(host: &str, request: &str) -> Answer {
    raw_bytes(host, request.as_bytes()).await
}

pub async fn raw_bytes(host: &str, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(host).await.unwrap();
    // A refused request need not be read to its end.
    let _ = stream.write_all(request).await;
    let mut bytes = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

/// What the browser knows after it has opened the printed address.
#[derive(Clone, Debug)]
pub struct Pass {
    /// `/…/`
    pub path: String,
    /// `ringfort=…`
    pub cookie: String,
    pub origin: String,
}

pub async fn enter(agent: &Agent) -> Pass {
    let url = agent.url();
    let (origin, rest) = url.split_once("/?").unwrap();
    let answer = get(agent, &format!("/?{rest}"), &[]).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    Pass { path: answer.header("location").unwrap().to_owned(), cookie, origin: origin.to_owned() }
}

/// A socket of an agent.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub seen: Vec<Value>,
    next: u64,
}

/// Connects without a hello; the error tells the refusal's status.
pub async fn connect(url: &str, headers: &[(&'static str, &str)]) -> Result<Socket, u16> {
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match tokio::time::timeout(DEADLINE, connect_async(request)).await.unwrap() {
        Ok((stream, _)) => Ok(Socket { stream, seen: Vec::new(), next: 1 }),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

pub fn socket_url(agent: &Agent, pass: &Pass) -> String {
    format!("ws://{}{}socket", host(agent), pass.path)
}

impl Socket {
    /// The page's socket, after the welcome.
    pub async fn page(agent: &Agent, run: &str, after: u64) -> (Socket, Value) {
        let pass = enter(agent).await;
        let headers = [("cookie", pass.cookie.as_str()), ("origin", pass.origin.as_str())];
        let socket = connect(&socket_url(agent, &pass), &headers).await.unwrap();
        socket.greeted(run, after).await
    }

    /// A program's socket, after the welcome.
    pub async fn program(agent: &Agent, topic: &str) -> (Socket, Value) {
        let access = agent.programs().into_iter().find(|program| program.topic == topic).unwrap();
        let bearer = format!("Bearer {}", access.token);
        connect(&access.url, &[("authorization", &bearer)]).await.unwrap().greeted("", 0).await
    }

    async fn greeted(mut self, run: &str, after: u64) -> (Socket, Value) {
        self.say(json!({"type": "hello", "version": 1, "run": run, "after": after})).await;
        let welcome = self.next("welcome", |line| line["type"] == "welcome").await;
        (self, welcome)
    }

    pub async fn say(&mut self, line: Value) {
        self.text(line.to_string()).await;
    }

    pub async fn text(&mut self, line: String) {
        // What has been closed cannot be written to, which some tests want.
        let _ = self.stream.send(Message::Text(line.into())).await;
    }

    pub async fn binary(&mut self, bytes: Vec<u8>) {
        let _ = self.stream.send(Message::Binary(bytes.into())).await;
    }

    /// The next line that says more than that the agent runs; `None` once the socket is closed.
    pub async fn line(&mut self) -> Option<Value> {
        let until = tokio::time::Instant::now() + DEADLINE;
        loop {
            let next = tokio::time::timeout_at(until, self.stream.next()).await;
            let next = next.unwrap_or_else(|_| panic!("the agent is silent after {:#?}", self.seen.last()));
            match next {
                Some(Ok(Message::Text(text))) => {
                    let line: Value = serde_json::from_str(&text).unwrap();
                    if line["type"] == "alive" {
                        continue;
                    }
                    self.seen.push(line.clone());
                    return Some(line);
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    pub async fn next(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let Some(line) = self.line().await else { panic!("closed while waiting for {what}: {:#?}", self.seen) };
            if wanted(&line) {
                return line;
            }
        }
    }

    pub async fn message(&mut self, text: &str) -> Value {
        self.next(text, |line| line["kind"] == "message" && line["text"] == text).await
    }

    /// Asks, and waits for the answer.
    pub async fn ask(&mut self, mut ask: Value) -> Value {
        let id = self.next;
        self.next += 1;
        ask["id"] = json!(id);
        self.say(ask).await;
        self.next("answer", |line| line["id"] == id).await
    }

    pub async fn send(&mut self, topic: &str, text: &str) -> Value {
        self.ask(json!({"type": "send", "topic": topic, "text": text})).await
    }
}
