//! What the page of the cut network asks for: a socket with the facts, and orders.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::House;
use super::http::{Answer, TICK, send, upgraded};
use crate::peers::{Facts, Order};

/// The longest text that a person says from the page, bytes.
const TEXT_BYTES_MAX: usize = 500;
const PEOPLE: usize = 6;
const SITES: usize = 3;

/// What the page is told.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tell<'a> {
    /// How everything is.
    Facts(&'a Facts),
    /// An order was not followed.
    Refused { why: String },
}

/// What the page orders.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Ask {
    Cut { site: usize },
    Mend,
    Say { person: usize, text: String },
    Talk { on: bool },
    Leave { person: usize },
    Freeze { person: usize },
    Return { person: usize },
}

pub async fn socket(
    State(house): State<Arc<House>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Answer {
    upgraded(house, &path, &headers, upgrade, async move |house, socket| serve(&house, socket).await)
}

async fn serve(house: &House, mut socket: WebSocket) -> Option<()> {
    house.peers.open();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut shown = None;
    loop {
        tokio::select! {
            asked = socket.recv() => {
                let why = match asked?.ok()? {
                    Message::Text(text) => order(house, &text).err(),
                    Message::Close(_) => return None,
                    Message::Binary(_) => Some("only text is spoken here".to_owned()),
                    Message::Ping(_) | Message::Pong(_) => None,
                };
                if let Some(why) = why {
                    send(&mut socket, &Tell::Refused { why }).await?;
                }
            }
            _ = tick.tick() => {
                let facts = house.peers.facts();
                if shown.as_ref() != Some(&facts) {
                    send(&mut socket, &Tell::Facts(&facts)).await?;
                    shown = Some(facts);
                }
            }
        }
    }
}

fn order(house: &House, text: &str) -> Result<(), String> {
    house.peers.order(read(text)?)
}

fn read(text: &str) -> Result<Order, String> {
    let ask: Ask = serde_json::from_str(text).map_err(|_| "that is no order".to_owned())?;
    match ask {
        Ask::Cut { site } if site < SITES => Ok(Order::Cut(site)),
        Ask::Cut { .. } => Err("there is no such site".to_owned()),
        Ask::Mend => Ok(Order::Mend),
        Ask::Say { person, .. } | Ask::Leave { person } | Ask::Freeze { person } | Ask::Return { person }
            if person >= PEOPLE =>
        {
            Err("there is no such person".to_owned())
        }
        Ask::Say { text, .. } if text.trim().is_empty() => Err("there is nothing to say".to_owned()),
        Ask::Say { text, .. } if text.len() > TEXT_BYTES_MAX => Err("that is too long to say at once".to_owned()),
        Ask::Say { person, text } => Ok(Order::Say(person, text)),
        Ask::Talk { on } => Ok(Order::Talk(on)),
        Ask::Leave { person } => Ok(Order::Leave(person)),
        Ask::Freeze { person } => Ok(Order::Freeze(person)),
        Ask::Return { person } => Ok(Order::Return(person)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_nonsense_is_refused() {
        assert_eq!(read(r#"{"do":"cut","site":2}"#), Ok(Order::Cut(2)));
        assert_eq!(read(r#"{"do":"say","person":0,"text":"hi"}"#), Ok(Order::Say(0, "hi".to_owned())));
        let long = format!(r#"{{"do":"say","person":0,"text":"{}"}}"#, "x".repeat(501));
        for wrong in [
            r#"{"do":"cut","site":3}"#,
            r#"{"do":"say","person":6,"text":"x"}"#,
            r#"{"do":"say","person":0,"text":" "}"#,
            r#"{"do":"leave","person":6}"#,
            r#"{"do":"freeze"}"#,
            "{}",
            &long,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
