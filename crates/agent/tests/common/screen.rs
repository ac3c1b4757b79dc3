//! Accessibility of a screen.

use ringfort_browser::{Axe, Browser, Page};

const LOOKS: [(u32, u32, bool); 4] = [(400, 780, true), (400, 780, false), (1280, 800, true), (1280, 800, false)];

/// Nothing serious is found on this screen, light and dark, wide and narrow.
pub async fn accessible(axe: &Axe, browser: &Browser, page: &Page, screen: &str) {
    for (width, height, dark) in LOOKS {
        browser.look(page, width, height, dark).await;
        let found = axe.findings(browser, page).await;
        assert!(found.is_empty(), "{screen}, {width}x{height}, dark: {dark}: {found:#?}");
    }
}
