//! Pages in profiles of their own, scripts in them and in their frames, and waiting for what they show.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use thirtyfour::bidi::events::LogEntryAdded;
use thirtyfour::bidi::modules::browsing_context::{
    BrowsingContextInfo, Create, CreateType, GetTree, Navigate, ReadinessState, Reload,
};
use thirtyfour::bidi::modules::script::{Evaluate, EvaluateResult, Target};
use thirtyfour::bidi::{BiDi, BidiError, BrowsingContextId};
use thirtyfour::{
    BrowserCapabilitiesHelper, CapabilitiesHelper, ChromiumLikeCapabilities, DesiredCapabilities, WebDriver,
};

use crate::process::{Driver, Programs};
use crate::value::plain;

/// After so long what is waited for will not come. It is no measure of pace: machines are busy.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// How long one script may take.
const SCRIPT_WITHIN: Duration = Duration::from_secs(60);
/// How long one question of many may take: an answer can be lost with the frame that was asked, and is asked for again.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
pub(crate) const POLL: Duration = Duration::from_millis(50);

const FLAGS: &[&str] = &[
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    // Windows that nobody looks at go on as if somebody did.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
];

/// A headless Chromium. It ends when dropped.
pub struct Browser {
    pub(crate) bidi: BiDi,
    errors: Arc<Mutex<Vec<String>>>,
    // Dropped in this order: the session ends the browser, then the driver is killed.
    _session: WebDriver,
    _driver: Driver,
    _profile: tempfile::TempDir,
}

/// A window, or a frame in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page(pub(crate) BrowsingContextId);

impl Browser {
    /// `None`, with a word about it, where there is no browser; unless `RINGFORT_BROWSER=required`, then it panics.
    pub async fn start() -> Option<Browser> {
        Browser::start_with(&[]).await
    }

    /// As [`Browser::start`], with further flags for Chromium.
    pub async fn start_with(flags: &[&str]) -> Option<Browser> {
        let programs = Programs::find()?;
        let driver = Driver::start(&programs).await;
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let mut wanted = DesiredCapabilities::chrome();
        let own = [format!("--user-data-dir={}", profile.path().display())];
        let sandbox = rustix::process::geteuid().is_root().then_some("--no-sandbox");
        let flags =
            FLAGS.iter().copied().chain(sandbox).chain(own.iter().map(String::as_str)).chain(flags.iter().copied());
        let flags: Vec<&str> = flags.collect();
        wanted.set_browser_option("args", flags).expect("flags");
        wanted.set_binary(&programs.browser.display().to_string()).expect("a path");
        wanted.enable_bidi().expect("a capability");
        let session = WebDriver::new(driver.url.as_str(), wanted).await;
        let session = session.unwrap_or_else(|error| panic!("Chromium does not start: {error}"));
        // The client wants to know one even where it speaks no TLS. An error says that there is one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let bidi = session.bidi().await.unwrap_or_else(|error| panic!("no WebDriver BiDi: {error}"));
        let errors = Arc::default();
        follow_errors(&bidi, &errors).await;
        Some(Browser { bidi, errors, _session: session, _driver: driver, _profile: profile })
    }

    /// Opens a page in a profile of its own.
    pub async fn open(&self, url: &str) -> Page {
        let profile = self.bidi.browser().create_user_context().await.unwrap().user_context;
        let (reference_context, background) = (None, None);
        let create = Create { r#type: CreateType::Window, reference_context, background, user_context: Some(profile) };
        let page = Page(self.bidi.send(create).await.unwrap().context);
        self.look(&page, 1280, 800, false).await;
        self.go(&page, url).await;
        page
    }

    /// Goes to an address in the same window, and waits until it is there.
    pub async fn go(&self, page: &Page, url: &str) {
        let navigate =
            Navigate { context: page.0.clone(), url: url.to_owned(), wait: Some(ReadinessState::Interactive) };
        self.bidi.send(navigate).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Reloads, and waits until the new page is there.
    pub async fn reload(&self, page: &Page) {
        let wait = Some(ReadinessState::Interactive);
        self.bidi.send(Reload { context: page.0.clone(), ignore_cache: None, wait }).await.unwrap();
    }

    /// Exceptions and errors on the consoles of all pages and frames, so far.
    pub fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn try_evaluate(&self, page: &Page, script: &str) -> Result<Value, Trouble> {
        let evaluate = Evaluate {
            expression: script.to_owned(),
            target: Target::Context { context: page.0.clone(), sandbox: None },
            await_promise: true,
            result_ownership: None,
            user_activation: Some(true),
        };
        match tokio::time::timeout(SCRIPT_WITHIN, self.bidi.send(evaluate)).await {
            Err(_) => Err(Trouble::Gone("no answer".to_owned())),
            Ok(Err(error)) => Err(Trouble::Gone(error.to_string())),
            Ok(Ok(EvaluateResult::Success { result, .. })) => Ok(plain(&result)),
            Ok(Ok(EvaluateResult::Exception { exception_details, .. })) => {
                Err(Trouble::Thrown(exception_details.get("text").map_or_else(String::new, Value::to_string)))
            }
        }
    }

    /// Evaluates a script, waits for what it promises, and gives its value as JSON.
    pub async fn evaluate(&self, page: &Page, script: &str) -> Value {
        self.try_evaluate(page, script).await.unwrap_or_else(|trouble| panic!("{script}: {trouble}"))
    }

    /// The frame in a page, at any depth, whose address contains these words.
    pub async fn frame(&self, page: &Page, words: &str) -> Option<Page> {
        let tree = self.bidi.send(GetTree { max_depth: None, root: Some(page.0.clone()) }).await.ok()?;
        tree.contexts.iter().flat_map(|root| &root.children).find_map(|child| find(child, words))
    }

    /// Evaluates in the frame of a plugin; `null` while it is not there.
    pub async fn in_plugin(&self, page: &Page, plugin: &str, script: &str) -> Value {
        let Some(frame) = self.frame(page, &format!("/{plugin}/")).await else { return Value::Null };
        match self.try_evaluate(&frame, script).await {
            Ok(value) => value,
            // It went while it was asked.
            Err(Trouble::Gone(_)) => Value::Null,
            Err(trouble) => panic!("{script} in {plugin}: {trouble}"),
        }
    }

    /// Waits until a script in a plugin's frame, or in the page if there is no plugin, gives `true`.
    pub async fn until(&self, page: &Page, plugin: Option<&str>, script: &str) {
        let safe = format!("(() => {{ try {{ return {script} }} catch {{ return false }} }})()");
        let started = tokio::time::Instant::now();
        loop {
            let asked = async {
                match plugin {
                    Some(plugin) => self.in_plugin(page, plugin, &safe).await,
                    // A page on its way elsewhere gives no answer.
                    None => self.try_evaluate(page, &safe).await.unwrap_or_default(),
                }
            };
            let value = tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or_default();
            if value == true {
                return;
            }
            if started.elapsed() > DEADLINE {
                let shown = self.shown(page).await;
                panic!("waited in vain for {script} in {plugin:?}; {shown}; errors: {:#?}", self.errors());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// What a page and its frames show, for people.
    async fn shown(&self, page: &Page) -> String {
        let tree = self.bidi.send(GetTree { max_depth: None, root: Some(page.0.clone()) }).await;
        let mut places = Vec::new();
        tree.iter().flat_map(|tree| &tree.contexts).for_each(|root| all(root, &mut places));
        let mut told = String::new();
        for (place, url) in places {
            let text = self.try_evaluate(&place, "document.body.innerText").await;
            let text = text.map_or_else(|trouble| trouble.to_string(), |text| text.to_string());
            told += &format!("\n{url} shows {text}");
        }
        told
    }

    /// A command of Chromium's own protocol, for what WebDriver does not know.
    pub(crate) async fn devtools(&self, page: &Page, method: &str, params: Value) -> Result<Value, BidiError> {
        let session = self.bidi.send_raw("goog:cdp.getSession", json!({"context": page.0.as_str()})).await?;
        let session = session.get("session").cloned().unwrap_or_default();
        let command = json!({"method": method, "params": params, "session": session});
        self.bidi.send_raw("goog:cdp.sendCommand", command).await
    }

    /// The frames that stand in a page or frame itself, with their addresses.
    pub(crate) async fn frames(&self, page: &Page) -> Vec<(Page, String)> {
        let tree = self.bidi.send(GetTree { max_depth: Some(1), root: Some(page.0.clone()) }).await.unwrap();
        let children = tree.contexts.into_iter().flat_map(|root| root.children);
        children.map(|child| (Page(child.context), child.url)).collect()
    }

    /// A page and all frames in it.
    pub(crate) async fn places(&self, page: &Page) -> Vec<Page> {
        let tree = self.bidi.send(GetTree { max_depth: None, root: Some(page.0.clone()) }).await.unwrap();
        let mut places = Vec::new();
        tree.contexts.iter().for_each(|root| all(root, &mut places));
        places.into_iter().map(|(place, _)| place).collect()
    }
}

/// Why there is no value.
enum Trouble {
    /// The place is not there, or went away.
    Gone(String),
    /// The script threw.
    Thrown(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Gone(why) => write!(f, "the page or frame gave no answer: {why}"),
            Trouble::Thrown(what) => write!(f, "it threw {what}"),
        }
    }
}

async fn follow_errors(bidi: &BiDi, errors: &Arc<Mutex<Vec<String>>>) {
    let mut entries = bidi.subscribe::<LogEntryAdded>().await.unwrap();
    let errors = errors.clone();
    tokio::spawn(async move {
        while let Some(entry) = entries.next().await {
            if entry.level.as_str() == "error" {
                let told = format!("{}: {}", entry.entry_type, entry.text.unwrap_or_default());
                errors.lock().unwrap_or_else(PoisonError::into_inner).push(told);
            }
        }
    });
}

fn find(place: &BrowsingContextInfo, words: &str) -> Option<Page> {
    let here = place.url.contains(words).then(|| Page(place.context.clone()));
    here.or_else(|| place.children.iter().find_map(|child| find(child, words)))
}

fn all(place: &BrowsingContextInfo, found: &mut Vec<(Page, String)>) {
    found.push((Page(place.context.clone()), place.url.clone()));
    place.children.iter().for_each(|child| all(child, found));
}
