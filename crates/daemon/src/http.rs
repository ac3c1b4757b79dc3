//! The status endpoint: a socket in the leader's folder, and HTTP on loopback where the configuration says so.
//!
//! It answers four questions and takes no orders. Connections are bounded in number and in time, a request has no body, and
//! an answer holds numbers and stable words.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use crate::config::StatusAt;
use crate::listener::{self, Bounded};
use crate::metrics;
use crate::state::State;

/// The socket's name in the leader's folder.
pub const SOCKET_FILE: &str = "state/status.sock";

/// Where the endpoint is asked: opened before the leader gives up the right to open anything.
#[derive(Debug, Default)]
pub struct Doors {
    unix: Option<std::os::unix::net::UnixListener>,
    socket: Option<PathBuf>,
    tcp: Option<std::net::TcpListener>,
}

/// What the endpoint shows.
pub trait Answers: Send + Sync + 'static {
    /// Whether it works at all; if not, why.
    ///
    /// # Errors
    /// The reason, as a sentence.
    fn health(&self) -> Result<(), String>;

    /// Whether it can do its part; if not, why.
    ///
    /// # Errors
    /// The reason, as a sentence.
    fn readiness(&self) -> Result<(), String>;

    /// The figures, and the type of their text.
    fn metrics(&self) -> (&'static str, String);

    /// How it is, as JSON.
    ///
    /// # Errors
    /// It cannot be put into words.
    fn document(&self) -> serde_json::Result<String>;
}

impl Answers for State {
    fn health(&self) -> Result<(), String> {
        State::health(self)
    }

    fn readiness(&self) -> Result<(), String> {
        State::readiness(self)
    }

    fn metrics(&self) -> (&'static str, String) {
        (metrics::CONTENT_TYPE, self.metrics.text())
    }

    fn document(&self) -> serde_json::Result<String> {
        serde_json::to_string(&State::document(self))
    }
}

/// Who is asked, and under which names.
#[derive(Clone)]
struct Door {
    state: Arc<dyn Answers>,
    names: Arc<Vec<String>>,
}

impl Doors {
    /// Opens what the configuration says. The folder must be locked: a socket that is there is one that was left behind.
    ///
    /// # Errors
    /// A port that is taken, as a sentence. A socket that cannot be made is only a missing convenience, said in the log.
    pub fn open(config: &StatusAt, folder: &Path) -> Result<Self, String> {
        let mut doors = Doors::default();
        if config.socket {
            match open_socket(folder) {
                Ok((listener, path)) => (doors.unix, doors.socket) = (Some(listener), Some(path)),
                Err(error) => tracing::warn!(%error, "there is no status socket: its path is at most 100 bytes long"),
            }
        }
        if let Some(http) = &config.http {
            let listener = std::net::TcpListener::bind(http);
            let listener = listener.and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
            doors.tcp = Some(listener.map_err(|error| taken(http, &error))?);
        }
        Ok(doors)
    }

    /// The address of the HTTP door.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Answers until the tasks are dropped.
    ///
    /// # Errors
    /// The sockets cannot be handed over to the runtime.
    pub fn serve(self, config: &StatusAt, state: Arc<dyn Answers>) -> io::Result<Serving> {
        let mut tasks = JoinSet::new();
        let door = Door { state, names: Arc::new(config.http_names.clone()) };
        let connections_max = usize::try_from(config.connections_max).unwrap_or(1);
        if let Some(unix) = self.unix {
            let listener = Bounded::new(UnixListener::from_std(unix)?, connections_max, |_| None);
            let router = router(door.clone());
            // Accepting goes on whatever happens to one connection.
            tasks.spawn(async move { drop(axum::serve(listener, router).await) });
        }
        if let Some(tcp) = self.tcp {
            let listener = Bounded::new(TcpListener::from_std(tcp)?, connections_max, listener::origin);
            let router = router(door);
            tasks.spawn(async move { drop(axum::serve(listener, router).await) });
        }
        Ok(Serving { _tasks: tasks, socket: self.socket })
    }
}

/// The endpoint at work. Dropping it closes it, and takes its socket away.
#[derive(Debug)]
pub struct Serving {
    _tasks: JoinSet<()>,
    socket: Option<PathBuf>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            // A socket that stays is taken for what it is at the next start.
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// What is told where the address for HTTP cannot be had.
pub(crate) fn taken(http: &str, error: &io::Error) -> String {
    format!("http = {http:?}: cannot listen there ({error}): choose another port")
}

fn open_socket(folder: &Path) -> io::Result<(std::os::unix::net::UnixListener, PathBuf)> {
    let path = folder.join(SOCKET_FILE);
    if path.symlink_metadata().is_ok_and(|about| about.file_type().is_socket()) {
        std::fs::remove_file(&path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(&path)?;
    // The folder keeps others out already.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok((listener, path))
}

fn router(door: Door) -> Router {
    Router::new()
        .route("/health", get(async |Shared(door): Shared<Door>| probe(door.state.health())))
        .route("/ready", get(async |Shared(door): Shared<Door>| probe(door.state.readiness())))
        .route("/metrics", get(metrics_text))
        .route("/status", get(status))
        .fallback(async || plain(StatusCode::NOT_FOUND, "There is /health, /ready, /metrics and /status.".to_owned()))
        .layer(middleware::from_fn_with_state(door.clone(), at_the_door))
        .with_state(door)
}

/// A page in a browser on this machine could ask under a name of its own that leads here.
async fn at_the_door(Shared(door): Shared<Door>, request: Request, next: Next) -> Response {
    let mut answer = if is_ours(&door, request.headers()) {
        next.run(request).await
    } else {
        plain(StatusCode::MISDIRECTED_REQUEST, "This name is not among http_names in the configuration.".to_owned())
    };
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

fn is_ours(door: &Door, headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    if host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let ported = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let name = ported.map_or(host, |(name, _)| name);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<IpAddr>().is_ok() || door.names.iter().any(|ours| ours == name)
}

fn probe(outcome: Result<(), String>) -> Response {
    match outcome {
        Ok(()) => plain(StatusCode::OK, "ok".to_owned()),
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn metrics_text(Shared(door): Shared<Door>) -> Response {
    let (kind, text) = door.state.metrics();
    ([(CONTENT_TYPE, kind)], text).into_response()
}

async fn status(Shared(door): Shared<Door>) -> Response {
    match door.state.document() {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn plain(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{text}\n")).into_response()
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
