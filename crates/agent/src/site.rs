//! What all pages of Ringfort on loopback have in common: the door, and headers that hold for every answer.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::bundled;
use crate::door::{Door, Refusal};

/// The colours and letters of all pages.
pub const STYLE: &str = include_str!("../page/ringfort.css");
/// What their scripts make elements with, a module.
pub const DOM: &str = include_str!("../page/dom.js");
/// Their icon, an SVG image.
pub const ICON: &str = include_str!("../page/icon.svg");

/// Whose pages may have an answer.
pub const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// What a page may ask its user for.
pub const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const DNS_PREFETCH: HeaderName = HeaderName::from_static("x-dns-prefetch-control");

/// Nothing is allowed to anybody, least of all to plugins.
const NO_PERMISSION: &str =
    "camera=(), microphone=(), geolocation=(), display-capture=(), usb=(), serial=(), hid=(), midi=()";

/// Every request names this host, and every answer has the headers that hold for all.
pub async fn at_the_door(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let mut answer = match door.check_host(request.headers()) {
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

/// The end of an address that a file leads to.
const FORWARD: &str = "&forward";

/// A page that leads to an address: for a file that only one user can read, since everybody can read command lines.
pub fn leading_to(url: &str) -> String {
    forward(&format!("{url}{}", FORWARD.replace('&', "&amp;")))
}

fn forward(place: &str) -> String {
    format!(
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\">\
         <meta http-equiv=\"refresh\" content=\"0; url={place}\"><title>Ringfort</title>"
    )
}

/// The printed address: the token becomes a cookie. A browser that comes from a file hands the cookie over only to a page that
/// it comes to from this host, so that it is forwarded by a page of this host.
pub fn entered(door: &Door, uri: &Uri) -> Response {
    let offered = uri.query().and_then(|query| query.strip_prefix("token=")).unwrap_or_default();
    let (offered, from_file) = offered.strip_suffix(FORWARD).map_or((offered, false), |offered| (offered, true));
    if !door.lets_in(offered, Instant::now()) {
        return refused(Refusal::Token);
    }
    let place = format!("/{}/", door.path.as_str());
    if from_file {
        let html = (CONTENT_TYPE, "text/html; charset=utf-8".to_owned());
        return ([html, (SET_COOKIE, door.set_cookie())], forward(&place)).into_response();
    }
    (StatusCode::SEE_OTHER, [(SET_COOKIE, door.set_cookie()), (LOCATION, place)]).into_response()
}

/// What is told to somebody who stays outside.
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

/// A line of text.
pub fn plain(status: StatusCode, text: impl Into<Body>) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text.into()).into_response()
}
