//! What the demo's page asks for: its files, and a socket with the facts, the story and orders.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ringfort_agent::door::Refusal;
use ringfort_agent::site::{self, plain, refused};
use serde::{Deserialize, Serialize};

use super::House;
use super::facts::{Facts, Line};
use super::peers;
use super::words::{self, Choice};
use crate::attack::Kind;
use crate::desk::Mode;
use crate::order::Order;
use crate::stage::{F, N};

/// How often the page is told what is new.
pub const TICK: Duration = Duration::from_millis(200);
/// How long a page may take for a line.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// The longest line of a page.
const ASK_BYTES_MAX: usize = 4 * 1024;

pub type Answer = Result<Response, Response>;

const FILES: [(&str, &str, &str); 11] = [
    ("index.html", "text/html; charset=utf-8", include_str!("../../page/index.html")),
    ("demo.css", "text/css; charset=utf-8", include_str!("../../page/demo.css")),
    ("demo.js", "text/javascript; charset=utf-8", include_str!("../../page/demo.js")),
    ("cards.js", "text/javascript; charset=utf-8", include_str!("../../page/cards.js")),
    ("peers.html", "text/html; charset=utf-8", include_str!("../../page/peers.html")),
    ("peers.css", "text/css; charset=utf-8", include_str!("../../page/peers.css")),
    ("people.js", "text/javascript; charset=utf-8", include_str!("../../page/people.js")),
    ("peers.js", "text/javascript; charset=utf-8", include_str!("../../page/peers.js")),
    ("dom.js", "text/javascript; charset=utf-8", site::DOM),
    ("ringfort.css", "text/css; charset=utf-8", site::STYLE),
    ("icon.svg", "image/svg+xml", site::ICON),
];

/// Everything that is served.
pub fn router(house: Arc<House>) -> Router {
    Router::new()
        .route("/", get(enter))
        .route("/{path}/", get(index))
        .route("/{path}/socket", get(socket))
        .route("/{path}/peers-socket", get(peers::socket))
        .route("/{path}/{file}", get(file))
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "There is nothing here.") })
        .layer(middleware::from_fn_with_state(house.door.clone(), site::at_the_door))
        .with_state(house)
}

async fn enter(State(house): State<Arc<House>>, uri: Uri) -> Response {
    site::entered(&house.door, &uri)
}

async fn index(State(house): State<Arc<House>>, Path(path): Path<String>, headers: HeaderMap) -> Answer {
    served(&house, &path, "index.html", &headers)
}

async fn file(
    State(house): State<Arc<House>>,
    Path((path, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    served(&house, &path, &file, &headers)
}

fn served(house: &House, path: &str, file: &str, headers: &HeaderMap) -> Answer {
    if !house.door.path.fits(path) {
        return Err(refused(Refusal::Token));
    }
    house.door.check_page(headers).map_err(refused)?;
    let found = FILES.iter().find(|(name, ..)| *name == file);
    let (_, mime, content) = found.ok_or_else(|| plain(StatusCode::NOT_FOUND, "There is no such file."))?;
    let policy = page_policy(house.door.origin());
    Ok(([(CONTENT_TYPE, *mime), (CONTENT_SECURITY_POLICY, &policy)], *content).into_response())
}

/// The page loads what is here, and frames pages of this machine: the members' have ports of their own.
fn page_policy(origin: &str) -> String {
    let socket = origin.replacen("http:", "ws:", 1);
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {socket}; \
         frame-src http://127.0.0.1:*; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

async fn socket(
    State(house): State<Arc<House>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Answer {
    upgraded(house, &path, &headers, upgrade, async move |house, socket| serve(&house, socket).await)
}

/// Lets a page have a socket, if it is one of this demo's and there are not too many.
pub fn upgraded<F>(
    house: Arc<House>,
    path: &str,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
    serve: impl FnOnce(Arc<House>, WebSocket) -> F + Send + 'static,
) -> Answer
where
    F: Future<Output = Option<()>> + Send,
{
    if !house.door.path.fits(path) {
        return Err(refused(Refusal::Token));
    }
    house.door.check_socket(headers).map_err(refused)?;
    let full = || plain(StatusCode::SERVICE_UNAVAILABLE, "Too many pages are open.");
    let place = house.sockets.clone().try_acquire_owned().map_err(|_| full())?;
    let upgrade = upgrade.max_message_size(ASK_BYTES_MAX).max_frame_size(ASK_BYTES_MAX);
    Ok(upgrade.on_upgrade(async move |socket| {
        // A page that has gone away needs no last word.
        let _ = serve(house, socket).await;
        drop(place);
    }))
}

/// What the page is told.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tell<'a> {
    /// First of all.
    Hello { leaders: u8, faults: u8, choices: Vec<Choice> },
    /// How everything is.
    Facts(&'a Facts),
    /// The story went on.
    Told { lines: Vec<Line> },
    /// An order was not followed.
    Refused { why: String },
}

/// What the page orders.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Ask {
    Attack {
        leader: u8,
        kind: String,
        /// Whoever asks knows that it is more than is promised.
        #[serde(default)]
        beyond: bool,
    },
    Stop {
        leader: u8,
        #[serde(default)]
        beyond: bool,
    },
    Recover {
        leader: u8,
    },
    Join {
        name: String,
    },
    Talk {
        on: bool,
    },
}

async fn serve(house: &House, mut socket: WebSocket) -> Option<()> {
    send(&mut socket, &Tell::Hello { leaders: N, faults: F, choices: words::choices() }).await?;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut shown, mut told) = (None, 0);
    loop {
        tokio::select! {
            asked = socket.recv() => {
                let why = match asked?.ok()? {
                    Message::Text(text) => order(house, &text).await.err(),
                    Message::Close(_) => return None,
                    Message::Binary(_) => Some("only text is spoken here".to_owned()),
                    Message::Ping(_) | Message::Pong(_) => None,
                };
                if let Some(why) = why {
                    send(&mut socket, &Tell::Refused { why }).await?;
                }
            }
            _ = tick.tick() => {
                let facts = Facts::of(house);
                if shown.as_ref() != Some(&facts) {
                    send(&mut socket, &Tell::Facts(&facts)).await?;
                    shown = Some(facts);
                }
                let news = house.desk.story.after(told);
                told = news.last().map_or(told, |line| line.n);
                let lines: Vec<Line> = news.iter().filter_map(Line::of).collect();
                if !lines.is_empty() {
                    send(&mut socket, &Tell::Told { lines }).await?;
                }
            }
        }
    }
}

async fn order(house: &House, text: &str) -> Result<(), String> {
    let ask: Ask = serde_json::from_str(text).map_err(|_| "that is no order".to_owned())?;
    let number = |leader: u8| (1..=N).contains(&leader).then_some(leader).ok_or("there is no such leader");
    let (order, beyond) = match ask {
        Ask::Attack { leader, kind, beyond } => {
            (Order::Attack(number(leader)?, Kind::named(&kind).ok_or("there is no such attack")?), beyond)
        }
        Ask::Stop { leader, beyond } => (Order::Stop(number(leader)?), beyond),
        Ask::Recover { leader } => (Order::Recover(number(leader)?), true),
        Ask::Join { name } => (Order::Join(name), true),
        Ask::Talk { on } => (Order::Talk(on), true),
    };
    let others_bad = house.desk.look(|state| {
        let bad = |(number, leader): (u8, &crate::desk::LeaderState)| {
            leader.mode != Mode::Honest && Some(number) != order.victim()
        };
        (1..).zip(&state.leaders).filter(|pair| bad(*pair)).count()
    });
    if order.victim().is_some() && !beyond && others_bad >= usize::from(F) {
        return Err(format!("this group is made for {F} hacked leader of {N}: recover the other one first"));
    }
    house.orders.try_send(order).map_err(|_| "too much at once: try again".to_owned())
}

/// Tells a page a line; `None` once it is gone, or takes none.
pub async fn send(socket: &mut WebSocket, what: &impl Serialize) -> Option<()> {
    let line = serde_json::to_string(what).ok()?;
    tokio::time::timeout(STALLED_AFTER, socket.send(Message::Text(line.into()))).await.ok()?.ok()
}
