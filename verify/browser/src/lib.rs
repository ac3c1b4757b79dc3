//! A real browser for tests: headless Chromium, driven over WebDriver BiDi by `chromedriver` and the crate `thirtyfour`.
//!
//! Each page lives in a profile of its own, as another person's browser would, so no cookie of one is seen by another.
//! A frame inside a page, sandboxed or not, is a place of its own in which scripts can be evaluated.
//!
//! ```no_run
//! # async fn run() {
//! use ringfort_browser::Browser;
//!
//! let Some(browser) = Browser::start().await else { return };
//! let page = browser.open("http://127.0.0.1:8080/").await;
//! browser.until(&page, None, "document.readyState === 'complete'").await;
//! browser.click(&page, "#send").await;
//! assert_eq!(browser.evaluate(&page, "1 + 1").await, 2);
//! # }
//! ```
//!
//! Architecture invariant: nobody links this crate but tests. It panics where a test has to fail, with what the page showed.

#![allow(clippy::panic, clippy::unwrap_used)]

mod axe;
mod browser;
mod input;
mod look;
mod process;
pub mod tone;
mod value;

pub use axe::Axe;
pub use browser::{Browser, DEADLINE, Page};
