//! The programs: where they are, and `chromedriver` as a process.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const DRIVER: &str = "chromedriver";
/// What it says before the number of its port.
const STARTED: &str = "started successfully on port ";
const START_WITHIN: Duration = Duration::from_secs(60);

/// Where the browser and its driver are.
pub struct Programs {
    pub browser: PathBuf,
    pub driver: PathBuf,
}

impl Programs {
    /// `None`, with a word about it, where one is missing; unless `RINGFORT_BROWSER=required`, then it panics.
    pub fn find() -> Option<Programs> {
        let what = match (BROWSERS.iter().find_map(|name| in_path(name)), in_path(DRIVER)) {
            (Some(browser), Some(driver)) => return Some(Programs { browser, driver }),
            (None, _) => format!("none of {BROWSERS:?} is installed"),
            (_, None) => format!("{DRIVER} is not installed"),
        };
        missing(&format!("{what} (on Debian: apt-get install chromium chromium-driver)"));
        None
    }
}

/// Says that a test is skipped for want of something; with `RINGFORT_BROWSER=required` it fails instead.
pub fn missing(what: &str) {
    let required = std::env::var("RINGFORT_BROWSER").is_ok_and(|value| value == "required");
    assert!(!required, "RINGFORT_BROWSER=required, but {what}");
    eprintln!("skipped: {what}");
}

fn in_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// A running `chromedriver`. Killed when dropped.
pub struct Driver {
    pub url: String,
    _process: Child,
}

impl Driver {
    pub async fn start(programs: &Programs) -> Driver {
        let mut process = Command::new(&programs.driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", programs.driver.display()));
        let mut said = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let port = tokio::time::timeout(START_WITHIN, async {
            while let Ok(Some(line)) = said.next_line().await {
                if let Some((_, port)) = line.split_once(STARTED) {
                    return port.trim_end_matches('.').to_owned();
                }
            }
            panic!("{DRIVER} ended")
        });
        let port = port.await.unwrap_or_else(|_| panic!("{DRIVER} does not start"));
        // Nobody reads what it says later, but the pipe stays open.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        Driver { url: format!("http://127.0.0.1:{port}"), _process: process }
    }
}
