//! What the agent answers to requests: the page, the plugins' files, the sockets; and the headers of each.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::Inner;
use crate::bundled::{self, Asset};
use crate::door::{Door, Refusal};
use crate::files::{give, take};
use crate::site::{self, PERMISSIONS_POLICY, RESOURCE_POLICY, plain, refused};
use crate::socket::{self, Scope, line_bytes_max};

/// The page itself may ask its user for the microphone.
const PAGE_PERMISSION: &str =
    "camera=(), microphone=(self), geolocation=(), display-capture=(), usb=(), serial=(), hid=(), midi=()";

/// The answer to a request, or why there is none.
pub type Answer = Result<Response, Response>;

/// Everything that the agent serves.
pub fn router(inner: Arc<Inner>) -> Router {
    Router::new()
        .route("/", get(enter))
        .route("/program", get(program))
        .route("/p/{frame}/{plugin}/{*file}", get(plugin_file))
        .route("/{path}/", get(index))
        .route("/{path}/socket", get(page_socket))
        .route("/{path}/files/{topic}", post(take))
        .route("/{path}/files/{topic}/{number}", get(give))
        .route("/{path}/group.toml", get(group_file))
        .route("/{path}/{file}", get(page_file))
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "There is nothing here.") })
        .layer(middleware::from_fn_with_state(inner.door.clone(), site::at_the_door))
        .with_state(inner)
}

/// The printed address: the token becomes a cookie.
async fn enter(State(inner): State<Arc<Inner>>, uri: Uri) -> Response {
    site::entered(&inner.door, &uri)
}

async fn index(State(inner): State<Arc<Inner>>, Path(path): Path<String>, headers: HeaderMap) -> Answer {
    // Only the first document is asked for by another page, if that page may show this one.
    let asked = if inner.parent.is_some() { Door::check_framed } else { Door::check_page };
    page_asset(&inner, &path, "index.html", asked(&inner.door, &headers))
}

async fn page_file(
    State(inner): State<Arc<Inner>>,
    Path((path, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    page_asset(&inner, &path, &file, inner.door.check_page(&headers))
}

fn page_asset(inner: &Inner, path: &str, file: &str, checked: Result<(), Refusal>) -> Answer {
    if !inner.door.path.fits(path) {
        return Err(refused(Refusal::Token));
    }
    checked.map_err(refused)?;
    let asset = find(bundled::PAGE, file).or_else(|| find(bundled::SHARED, file)).ok_or_else(missing)?;
    let mut answer = served(asset, &page_policy(inner.door.origin(), inner.parent.as_deref()));
    if file == "index.html" {
        let document = inner.door.document(&String::from_utf8_lossy(&asset.content));
        *answer.body_mut() = Body::from(document);
    }
    answer.headers_mut().insert(PERMISSIONS_POLICY, HeaderValue::from_static(PAGE_PERMISSION));
    Ok(answer)
}

/// The group's public file, for those who are invited.
async fn group_file(State(inner): State<Arc<Inner>>, Path(path): Path<String>, headers: HeaderMap) -> Answer {
    if !inner.door.path.fits(&path) {
        return Err(refused(Refusal::Token));
    }
    inner.door.check_page(&headers).map_err(refused)?;
    let text = ringfort_documents::texts::group_text(&inner.info).map_err(|_| missing())?;
    Ok(([(CONTENT_TYPE, "application/toml"), (CONTENT_DISPOSITION, "attachment")], text).into_response())
}

async fn page_socket(
    State(inner): State<Arc<Inner>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Answer {
    if !inner.door.path.fits(&path) {
        return Err(refused(Refusal::Token));
    }
    inner.door.check_socket(&headers).map_err(refused)?;
    open(inner, Scope::Page, upgrade)
}

async fn program(State(inner): State<Arc<Inner>>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Answer {
    inner.door.check_program(&headers).map_err(refused)?;
    let offered = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let fits = |offered: &str| inner.programs.iter().find(|program| program.token.fits(offered));
    let topic = offered.and_then(fits).map(|program| program.topic.clone());
    open(inner.clone(), Scope::Topic(topic.ok_or_else(|| refused(Refusal::Token))?), upgrade)
}

fn open(inner: Arc<Inner>, scope: Scope, upgrade: WebSocketUpgrade) -> Answer {
    let full = || plain(StatusCode::SERVICE_UNAVAILABLE, "Too many pages and programs are open.");
    let place = inner.sockets.clone().try_acquire_owned().map_err(|_| full())?;
    let size = line_bytes_max(inner.info.policy.message_bytes_max);
    let upgrade = upgrade.max_message_size(size).max_frame_size(size).max_write_buffer_size(4 * 1024 * 1024);
    Ok(upgrade.on_upgrade(async move |socket: WebSocket| {
        socket::serve(inner, scope, socket).await;
        drop(place);
    }))
}

/// A plugin's own files. The address is a secret that only our page knows; it opens nothing else.
async fn plugin_file(
    State(inner): State<Arc<Inner>>,
    Path((frame, id, file)): Path<(String, String, String)>,
) -> Answer {
    if !inner.frames.fits(&frame) {
        return Err(refused(Refusal::Token));
    }
    let plugin = inner.plugins.get(&id).ok_or_else(missing)?;
    let asset = find(bundled::SHARED, &file).or_else(|| plugin.files.get(&file)).ok_or_else(missing)?;
    let folder = inner.folder(&id);
    let mut answer = served(asset, &plugin_policy(inner.door.origin(), inner.parent.as_deref(), &folder));
    // A sandboxed frame has an origin of its own, which the browser calls null.
    answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("null"));
    answer.headers_mut().insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    Ok(answer)
}

/// The page loads what is here and nothing else, and frames only plugins.
fn page_policy(origin: &str, parent: Option<&str>) -> String {
    let ancestors = parent.unwrap_or("'none'");
    let socket = origin.replacen("http:", "ws:", 1);
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' {socket}; \
         frame-src {origin}/p/; form-action 'none'; base-uri 'none'; \
         frame-ancestors {ancestors}; require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

/// A plugin loads its own files and nothing else, and connects to nobody.
fn plugin_policy(origin: &str, parent: Option<&str>, folder: &str) -> String {
    let parent = parent.unwrap_or_default();
    format!(
        "default-src 'none'; script-src {folder} 'wasm-unsafe-eval'; style-src {folder}; font-src {folder}; \
         img-src {folder} data: blob:; media-src {folder} blob:; connect-src 'none'; form-action 'none'; base-uri 'none'; \
         frame-ancestors {origin} {parent}; sandbox allow-scripts"
    )
}

fn find<'a>(assets: &'a [bundled::Named], file: &str) -> Option<&'a Asset> {
    assets.iter().find(|(name, _)| *name == file).map(|(_, asset)| asset)
}

fn served(asset: &Asset, policy: &str) -> Response {
    let headers = [(CONTENT_TYPE, asset.mime), (CONTENT_SECURITY_POLICY, policy)];
    (headers, Body::from(asset.content.clone().into_owned())).into_response()
}

/// There is no such thing.
pub fn missing() -> Response {
    plain(StatusCode::NOT_FOUND, "There is no such file.")
}
