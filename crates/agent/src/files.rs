//! Files between the browser and this process, and the lists of transfers for the page.

use std::collections::BTreeMap;
use std::io::SeekFrom;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use ringfort::protocol::UserName;
use ringfort_files::{Action, Files, FilesError, Refused, Transfer};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::watch;

use crate::Inner;
use crate::door::Refusal;
use crate::http::{Answer, missing};
use crate::hub::Hub;
use crate::site::{plain, refused};
use crate::socket::Scope;
use crate::wire::Tell;

/// Read at once for the browser.
const READ_BYTES: usize = 256 * 1024;

/// What the page says of a file that it hands over.
#[derive(Debug, Deserialize)]
pub struct About {
    name: String,
    /// Names with commas between them; nobody stands for all.
    #[serde(default)]
    to: String,
}

/// The answer to it.
#[derive(Debug, Serialize)]
struct Taken {
    file: u64,
}

/// The page hands a file over, to be offered on a plugin's topic.
pub async fn take(
    State(inner): State<Arc<Inner>>,
    Path((path, topic)): Path<(String, String)>,
    Query(about): Query<About>,
    headers: HeaderMap,
    request: Request,
) -> Answer {
    if !inner.door.path.fits(&path) {
        return Err(refused(Refusal::Token));
    }
    // As with the socket: what changes something must come from our own page.
    inner.door.check_socket(&headers).map_err(refused)?;
    let hub = stay(&inner).filter(|_| inner.plugins.has_files(&topic)).ok_or_else(missing)?;
    let files = hub.files.as_ref().ok_or_else(missing)?;
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length = length.ok_or_else(|| plain(StatusCode::LENGTH_REQUIRED, "A file has a length."))?;
    let names: Result<Vec<UserName>, _> =
        about.to.split(',').filter(|name| !name.is_empty()).map(str::parse::<UserName>).collect();
    let to = names.map_err(|error| plain(StatusCode::BAD_REQUEST, error.to_string()))?;
    let mut upload = files.upload(&topic, &to, &about.name, length).map_err(|error| failed(&error))?;
    let mut body = request.into_body().into_data_stream();
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|_| plain(StatusCode::BAD_REQUEST, "The file broke off."))?;
        upload.write(&bytes).await.map_err(|error| failed(&error))?;
    }
    let file = upload.finish().await.map_err(|error| failed(&error))?;
    let taken = serde_json::to_string(&Taken { file }).unwrap_or_default();
    Ok(([(CONTENT_TYPE, "application/json")], taken).into_response())
}

/// The page fetches a complete file, to be saved by the browser.
pub async fn give(
    State(inner): State<Arc<Inner>>,
    Path((path, topic, number)): Path<(String, String, u64)>,
    headers: HeaderMap,
) -> Answer {
    if !inner.door.path.fits(&path) {
        return Err(refused(Refusal::Token));
    }
    inner.door.check_page(&headers).map_err(refused)?;
    let hub = stay(&inner).filter(|_| inner.plugins.has_files(&topic)).ok_or_else(missing)?;
    let path = hub.files.as_ref().and_then(|files| files.path(&topic, number)).ok_or_else(missing)?;
    let gone = |_| plain(StatusCode::GONE, "The file is no longer where it was put.");
    let mut file = File::open(&path).await.map_err(gone)?;
    let length = file.seek(SeekFrom::End(0)).await.map_err(gone)?;
    file.seek(SeekFrom::Start(0)).await.map_err(gone)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename*=UTF-8''{}", percent(&name))),
        (CONTENT_LENGTH, length.to_string()),
    ];
    Ok((headers, Body::from_stream(pieces(file, length))).into_response())
}

/// The stay, if there is or was one.
fn stay(inner: &Inner) -> Option<Arc<Hub>> {
    inner.entrance.stay.borrow().hub.clone()
}

/// A file piece by piece, as it is taken; no more than its length.
fn pieces(file: File, length: u64) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold(file.take(length), async |mut file| {
        let mut bytes = Vec::with_capacity(READ_BYTES);
        let n = (&mut file).take(READ_BYTES as u64).read_to_end(&mut bytes).await?;
        Ok((n > 0).then(|| (Bytes::from(bytes), file)))
    })
}

/// All but the plainest characters as `%XX`.
fn percent(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    name.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn failed(error: &FilesError) -> Response {
    let status = match error {
        FilesError::Refused(Refused::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
        FilesError::Refused(_) => StatusCode::CONFLICT,
        FilesError::Role(..) => StatusCode::FORBIDDEN,
        FilesError::Upload(_) => StatusCode::BAD_REQUEST,
        FilesError::Folder(..) | FilesError::File(..) | FilesError::NoFolder => StatusCode::INSUFFICIENT_STORAGE,
    };
    plain(status, error.to_string())
}

/// The page does something with a file.
///
/// # Errors
/// Why not, in words.
pub fn act(inner: &Inner, hub: &Hub, topic: &str, file: u64, action: Action) -> Result<(), String> {
    let files = hub.files.as_ref().filter(|_| inner.plugins.has_files(topic));
    let files = files.ok_or_else(|| format!("there are no files on the topic {topic:?}"))?;
    files.act(topic, file, action).map_err(|error| error.to_string())
}

/// What one page was told of files.
#[derive(Debug)]
pub struct Lists {
    changed: Option<watch::Receiver<u64>>,
    told: BTreeMap<String, Vec<Transfer>>,
}

impl Lists {
    /// A page that was told nothing. Programs are told nothing ever.
    pub fn new(hub: &Hub, scope: &Scope) -> Self {
        let files = hub.files.as_ref().filter(|_| *scope == Scope::Page);
        Lists { changed: files.map(Files::changed), told: BTreeMap::new() }
    }

    /// Waits until a list may have changed. Cancel safe.
    pub async fn changed(&mut self) {
        if let Some(changed) = &mut self.changed
            && changed.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// The lists that have changed.
    pub fn next(&mut self, inner: &Inner, hub: &Hub) -> Vec<Tell> {
        let Some(files) = hub.files.as_ref().filter(|_| self.changed.is_some()) else { return Vec::new() };
        let with_files = inner.plugins.running.iter().filter(|plugin| plugin.manifest.files);
        let mut lists = Vec::new();
        for topic in with_files.map(|plugin| &plugin.manifest.topic) {
            let list = files.list(topic);
            if self.told.get(topic) != Some(&list) {
                self.told.insert(topic.clone(), list.clone());
                lists.push(Tell::Files { topic: topic.clone(), files: list });
            }
        }
        lists
    }
}
