//! A real headless Chromium, driven over its DevTools protocol.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::common::DEADLINE;

/// There is no answer to a question to a frame.
const GONE: &str = "gone";
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The browser. Killed when dropped.
pub struct Browser {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u64,
    /// Sessions of frames with a process of their own, by the session of their page.
    frames: BTreeMap<String, Vec<String>>,
    /// The contexts in the process of a page itself: its own, and of frames that share it.
    contexts: BTreeMap<String, Vec<i64>>,
    /// Errors that pages reported.
    pub errors: Vec<String>,
    _process: Child,
    _profile: tempfile::TempDir,
}

/// A tab.
#[derive(Clone, Debug)]
pub struct Page(String);

fn program() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}

impl Browser {
    /// `None`, with a word about it, where there is no browser; unless `RINGFORT_BROWSER=required`, then it panics.
    pub async fn start() -> Option<Browser> {
        let Some(program) = program() else {
            let required = std::env::var("RINGFORT_BROWSER").is_ok_and(|value| value == "required");
            assert!(!required, "RINGFORT_BROWSER=required, and none of {NAMES:?} is installed");
            eprintln!("skipped: none of {NAMES:?} is installed");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"])
            .args(["--remote-debugging-port=0", "--disable-background-networking", "--disable-dev-shm-usage"])
            .args(["--disable-background-timer-throttling", "--disable-renderer-backgrounding"])
            .arg("--disable-backgrounding-occluded-windows")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let url = tokio::time::timeout(Duration::from_secs(60), async {
            while let Some(line) = said.next_line().await.unwrap() {
                if let Some(url) = line.strip_prefix("DevTools listening on ") {
                    return url.to_owned();
                }
            }
            panic!("Chromium ended");
        });
        let url = url.await.expect("Chromium does not start");
        // Nobody reads what it says later, but the pipe stays open.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        let (socket, _) = connect_async(url).await.unwrap();
        let (frames, contexts, errors) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Some(Browser { socket, next: 1, frames, contexts, errors, _process: process, _profile: profile })
    }

    async fn call(&mut self, session: Option<&str>, method: &str, params: Value) -> Value {
        let answer = self.call_within(session, method, params, DEADLINE).await;
        answer.unwrap_or_else(|| panic!("no answer to {method}"))
    }

    /// `None` if there is no answer: a frame that goes away takes its answers with it.
    async fn call_within(
        &mut self,
        session: Option<&str>,
        method: &str,
        params: Value,
        time: Duration,
    ) -> Option<Value> {
        let id = self.next;
        self.next += 1;
        let mut request = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            request["sessionId"] = json!(session);
        }
        self.socket.send(Message::Text(request.to_string().into())).await.unwrap();
        let until = tokio::time::Instant::now() + time;
        loop {
            let text = tokio::time::timeout_at(until, self.socket.next()).await.ok()?.unwrap().unwrap();
            let Ok(line) = serde_json::from_str::<Value>(text.to_text().unwrap()) else { continue };
            if line["id"] == id {
                return Some(line);
            }
            self.on_event(&line);
        }
    }

    fn on_event(&mut self, line: &Value) {
        let (session, params) = (line["sessionId"].as_str().unwrap_or_default().to_owned(), &line["params"]);
        match line["method"].as_str().unwrap_or_default() {
            "Target.attachedToTarget" if params["targetInfo"]["type"] == "iframe" => {
                self.frames.entry(session).or_default().push(params["sessionId"].as_str().unwrap().to_owned());
            }
            "Target.detachedFromTarget" => {
                self.frames.values_mut().for_each(|frames| frames.retain(|frame| params["sessionId"] != **frame));
            }
            "Runtime.executionContextCreated" => {
                self.contexts.entry(session).or_default().extend(params["context"]["id"].as_i64());
            }
            "Runtime.executionContextDestroyed" => {
                let contexts = self.contexts.entry(session).or_default();
                contexts.retain(|context| params["executionContextId"] != *context);
            }
            "Runtime.executionContextsCleared" => drop(self.contexts.remove(&session)),
            "Runtime.exceptionThrown" => self.errors.push(params["exceptionDetails"].to_string()),
            _ => {}
        }
    }

    /// Opens a tab of its own, as another person's browser would.
    pub async fn open(&mut self, url: &str) -> Page {
        // Each in a profile of its own: no cookie of the others.
        let context = self.call(None, "Target.createBrowserContext", json!({})).await;
        let context = &context["result"]["browserContextId"];
        let made = json!({"url": "about:blank", "browserContextId": context, "width": 1280, "height": 800});
        let target = self.call(None, "Target.createTarget", made).await;
        let attach = json!({"targetId": target["result"]["targetId"], "flatten": true});
        let attached = self.call(None, "Target.attachToTarget", attach).await;
        let page = Page(attached["result"]["sessionId"].as_str().unwrap().to_owned());
        let s = Some(page.0.as_str());
        self.call(s, "Page.enable", json!({})).await;
        self.call(s, "Runtime.enable", json!({})).await;
        let follow = json!({"autoAttach": true, "waitForDebuggerOnStart": false, "flatten": true});
        self.call(s, "Target.setAutoAttach", follow).await;
        self.go(&page, url).await;
        page
    }

    pub async fn go(&mut self, page: &Page, url: &str) {
        self.call(Some(&page.0), "Page.navigate", json!({"url": url})).await;
    }

    /// Reloads, and waits until the old page and its frames are gone.
    pub async fn reload(&mut self, page: &Page) {
        self.evaluate(page, "globalThis.isOld = true").await;
        self.frames.remove(&page.0);
        self.call(Some(&page.0), "Page.reload", json!({})).await;
        self.until(page, None, "globalThis.isOld === undefined && document.readyState === 'complete'").await;
    }

    async fn evaluate_in(&mut self, session: &str, context: Option<i64>, script: &str) -> Result<Value, String> {
        let mut params =
            json!({"expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        if let Some(context) = context {
            params["contextId"] = json!(context);
        }
        let answer = self.call_within(Some(session), "Runtime.evaluate", params, Duration::from_secs(10)).await;
        let Some(answer) = answer else { return Err(GONE.to_owned()) };
        match answer.pointer("/result/exceptionDetails").or(answer.get("error")) {
            Some(wrong) => Err(wrong.to_string()),
            None => Ok(answer["result"]["result"]["value"].clone()),
        }
    }

    /// Evaluates in the page.
    pub async fn evaluate(&mut self, page: &Page, script: &str) -> Value {
        self.evaluate_in(&page.0, None, script).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// All frames of a page, the newest first.
    fn places(&self, page: &Page) -> Vec<(String, Option<i64>)> {
        let apart = self.frames.get(&page.0).into_iter().flatten().rev().map(|frame| (frame.clone(), None));
        let contexts = self.contexts.get(&page.0).into_iter().flatten().rev();
        apart.chain(contexts.map(|context| (page.0.clone(), Some(*context)))).collect()
    }

    /// Evaluates in the frame of a plugin; `Null` while it is not there.
    pub async fn in_plugin(&mut self, page: &Page, plugin: &str, script: &str) -> Value {
        for (session, context) in self.places(page) {
            let place = self.evaluate_in(&session, context, "location.pathname").await;
            if !place.is_ok_and(|place| place.as_str().is_some_and(|place| place.contains(&format!("/{plugin}/")))) {
                continue;
            }
            match self.evaluate_in(&session, context, script).await {
                Ok(value) => return value,
                // It went while it was asked.
                Err(error) if [GONE, "Session with given id", "context"].iter().any(|word| error.contains(word)) => {}
                Err(error) => panic!("{script}: {error}"),
            }
        }
        Value::Null
    }

    /// Waits until a script in a plugin's frame, or in the page if there is no plugin, gives `true`.
    pub async fn until(&mut self, page: &Page, plugin: Option<&str>, script: &str) {
        let safe = format!("(() => {{ try {{ return {script} }} catch {{ return false }} }})()");
        let started = tokio::time::Instant::now();
        loop {
            let value = match plugin {
                Some(plugin) => self.in_plugin(page, plugin, &safe).await,
                // A page on its way elsewhere gives no answer.
                None => self.evaluate_in(&page.0, None, &safe).await.unwrap_or_default(),
            };
            if value == true {
                return;
            }
            if started.elapsed() > DEADLINE {
                let text = match plugin {
                    Some(plugin) => self.in_plugin(page, plugin, "document.body.innerText").await,
                    None => self.evaluate(page, "document.body.innerText").await,
                };
                let mut frames = Vec::new();
                for (session, context) in self.places(page) {
                    frames.push(self.evaluate_in(&session, context, "location.href").await);
                }
                let errors = &self.errors;
                panic!("waited in vain for {script} in {plugin:?}; it shows {text}; {frames:?}; errors: {errors:#?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How wide and high the window is, and whether it is dark.
    pub async fn look(&mut self, page: &Page, width: u32, height: u32, dark: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call(Some(&page.0), "Emulation.setDeviceMetricsOverride", size).await;
        let scheme = json!([{"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }}]);
        self.call(Some(&page.0), "Emulation.setEmulatedMedia", json!({"features": scheme})).await;
        for frame in self.frames.get(&page.0).cloned().unwrap_or_default() {
            self.call(Some(&frame), "Emulation.setEmulatedMedia", json!({"features": scheme})).await;
        }
    }

    /// Keeps an image of the page in the folder that `RINGFORT_IMAGES` names, if it does.
    pub async fn image(&mut self, page: &Page, name: &str) {
        let Some(folder) = std::env::var_os("RINGFORT_IMAGES").map(PathBuf::from) else { return };
        self.call(Some(&page.0), "Page.bringToFront", json!({})).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        let image = self.call(Some(&page.0), "Page.captureScreenshot", json!({"format": "png"})).await;
        let data = image["result"]["data"].as_str().unwrap();
        std::fs::write(folder.join(name), data_encoding::BASE64.decode(data.as_bytes()).unwrap()).unwrap();
    }
}
