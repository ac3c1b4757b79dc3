//! The page and the plugins that come with the program, embedded in it.

use std::borrow::Cow;

/// A file to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its media type.
    pub mime: &'static str,
    /// What is in it.
    pub content: Cow<'static, [u8]>,
}

/// A name and its file.
pub type Named = (&'static str, Asset);

impl Asset {
    const fn text(mime: &'static str, content: &'static str) -> Self {
        Asset { mime, content: Cow::Borrowed(content.as_bytes()) }
    }

    /// A plugin's file; its name tells the media type.
    ///
    /// # Errors
    /// A name that tells none that a plugin may have.
    pub fn read(name: &str, content: Vec<u8>) -> Result<Self, String> {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        let mime = match ending {
            Some("html") => HTML,
            Some("js" | "mjs") => JS,
            Some("css") => CSS,
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            Some("jpg" | "jpeg") => "image/jpeg",
            Some("webp") => "image/webp",
            Some("woff2") => "font/woff2",
            Some("json") => "application/json",
            Some("wasm") => "application/wasm",
            Some("txt" | "md") => "text/plain; charset=utf-8",
            _ => return Err(format!("{name}: no kind of file that a plugin may have")),
        };
        Ok(Asset { mime, content: Cow::Owned(content) })
    }
}

const HTML: &str = "text/html; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

macro_rules! page {
    ($mime:expr, $name:literal) => {
        ($name, Asset::text($mime, include_str!(concat!("../page/", $name))))
    };
}

macro_rules! plugin {
    ($id:literal, $(($mime:expr, $name:literal)),+) => {
        (
            $id,
            include_str!(concat!("../../../plugins/", $id, "/plugin.toml")),
            &[$(($name, Asset::text($mime, include_str!(concat!("../../../plugins/", $id, "/", $name))))),+],
        )
    };
}

/// The page.
pub const PAGE: &[Named] = &[
    page!(HTML, "index.html"),
    page!(CSS, "page.css"),
    page!(JS, "page.js"),
    page!(JS, "connection.js"),
    page!(JS, "dom.js"),
    page!(JS, "frames.js"),
    page!(JS, "login.js"),
    page!(JS, "motions.js"),
    page!(JS, "requests.js"),
    page!(JS, "shell.js"),
    page!(JS, "microphone.js"),
    page!(JS, "capture.js"),
    page!("image/svg+xml", "icon.svg"),
];

/// What every plugin finds in its folder.
pub const SHARED: &[Named] = &[page!(JS, "ringfort.js"), page!(JS, "kept.js"), page!(CSS, "ringfort.css")];

/// What a visitor without the token sees.
pub const CLOSED: &str = include_str!("../page/closed.html");

/// Folder, manifest and files of each plugin.
pub const PLUGINS: &[(&str, &str, &[Named])] = &[
    plugin!("chat", (HTML, "index.html"), (CSS, "chat.css"), (JS, "chat.js"), (JS, "receipts.js"), (JS, "text.js")),
    plugin!(
        "whiteboard",
        (HTML, "index.html"),
        (CSS, "board.css"),
        (JS, "board.js"),
        (JS, "scene.js"),
        (JS, "draw.js")
    ),
    plugin!("files", (HTML, "index.html"), (CSS, "files.css"), (JS, "files.js"), (JS, "words.js")),
    plugin!(
        "sound",
        (HTML, "index.html"),
        (CSS, "sound.css"),
        (JS, "sound.js"),
        (JS, "show.js"),
        (JS, "speaking.js"),
        (JS, "hearing.js"),
        (JS, "playout.js"),
        (JS, "clock.js"),
        (JS, "conceal.js"),
        (JS, "jitter.js"),
        (JS, "level.js"),
        (JS, "packet.js"),
        (JS, "resample.js")
    ),
];
