//! What the agent answers to requests: the page, the plugins' files, the sockets; and the headers of each.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ringfort::files;

use crate::Inner;
use crate::bundled::{self, Asset};
use crate::door::Refusal;
use crate::files::{give, take};
use crate::socket::{self, Scope, line_bytes_max};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const DNS_PREFETCH: HeaderName = HeaderName::from_static("x-dns-prefetch-control");

/// Nothing is allowed to anybody, least of all to plugins.
const NO_PERMISSION: &str =
    "camera=(), microphone=(), geolocation=(), display-capture=(), usb=(), serial=(), hid=(), midi=()";
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
        .layer(middleware::from_fn_with_state(inner.clone(), at_the_door))
        .with_state(inner)
}

/// Every request names this host, and every answer has the headers that hold for all.
async fn at_the_door(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    let mut answer = match inner.door.check_host(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refused(refusal),
    };
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(DNS_PREFETCH, HeaderValue::from_static("off"));
    headers.entry(PERMISSIONS_POLICY).or_insert(HeaderValue::from_static(NO_PERMISSION));
    headers.entry(RESOURCE_POLICY).or_insert(HeaderValue::from_static("same-origin"));
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    answer
}

/// The printed address: the token becomes a cookie.
async fn enter(State(inner): State<Arc<Inner>>, uri: Uri) -> Response {
    let offered = uri.query().and_then(|query| query.strip_prefix("token=")).unwrap_or_default();
    if !inner.door.token.fits(offered) {
        return refused(Refusal::Token);
    }
    let place = format!("/{}/", inner.door.path.as_str());
    (StatusCode::SEE_OTHER, [(SET_COOKIE, inner.door.set_cookie()), (LOCATION, place)]).into_response()
}

async fn index(State(inner): State<Arc<Inner>>, Path(path): Path<String>, headers: HeaderMap) -> Answer {
    page_asset(&inner, &path, "index.html", &headers)
}

async fn page_file(
    State(inner): State<Arc<Inner>>,
    Path((path, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    page_asset(&inner, &path, &file, &headers)
}

fn page_asset(inner: &Inner, path: &str, file: &str, headers: &HeaderMap) -> Answer {
    if !inner.door.path.fits(path) {
        return Err(refused(Refusal::Token));
    }
    inner.door.check_page(headers).map_err(refused)?;
    let asset = find(bundled::PAGE, file).or_else(|| find(bundled::SHARED, file)).ok_or_else(missing)?;
    let mut answer = served(asset, &page_policy(inner.door.origin()));
    answer.headers_mut().insert(PERMISSIONS_POLICY, HeaderValue::from_static(PAGE_PERMISSION));
    Ok(answer)
}

/// The group's public file, for those who are invited.
async fn group_file(State(inner): State<Arc<Inner>>, Path(path): Path<String>, headers: HeaderMap) -> Answer {
    if !inner.door.path.fits(&path) {
        return Err(refused(Refusal::Token));
    }
    inner.door.check_page(&headers).map_err(refused)?;
    let text = files::texts::group_text(&inner.info).map_err(|_| missing())?;
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
    let mut answer = served(asset, &plugin_policy(inner.door.origin(), &folder));
    // A sandboxed frame has an origin of its own, which the browser calls null.
    answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("null"));
    answer.headers_mut().insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    Ok(answer)
}

/// The page loads what is here and nothing else, and frames only plugins.
fn page_policy(origin: &str) -> String {
    let socket = origin.replacen("http:", "ws:", 1);
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' {socket}; \
         frame-src {origin}/p/; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

/// A plugin loads its own files and nothing else, and connects to nobody.
fn plugin_policy(origin: &str, folder: &str) -> String {
    format!(
        "default-src 'none'; script-src {folder} 'wasm-unsafe-eval'; style-src {folder}; font-src {folder}; \
         img-src {folder} data: blob:; media-src {folder} blob:; connect-src 'none'; form-action 'none'; base-uri 'none'; \
         frame-ancestors {origin}; sandbox allow-scripts"
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

/// Somebody stays outside.
pub fn refused(refusal: Refusal) -> Response {
    match refusal {
        Refusal::Host => plain(StatusCode::MISDIRECTED_REQUEST, "This host is not served here."),
        Refusal::Origin => plain(StatusCode::FORBIDDEN, "Requests of other pages are not served."),
        Refusal::Token => {
            let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";
            let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, policy)];
            (StatusCode::FORBIDDEN, headers, bundled::CLOSED).into_response()
        }
    }
}

/// An answer in words.
pub fn plain(status: StatusCode, text: impl Into<Body>) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text.into()).into_response()
}
