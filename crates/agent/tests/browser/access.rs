//! Accessibility: nothing serious is found on any screen, light and dark, wide and narrow.

use ringfort_browser::{Axe, Browser};

use super::common::client::Socket;
use super::common::screen::accessible;
use super::common::{World, together};

#[tokio::test(flavor = "multi_thread")]
async fn no_screen_shuts_anybody_out() {
    let Some(browser) = Browser::start().await else { return };
    let Some(axe) = Axe::load().await else { return };
    let mut world = World::start(&["ana", "ben"]).await;
    let (ana, ben) = (world.agent("ana").await, world.agent("ben").await);
    together(&[&ana, &ben], &["ana", "ben"]).await;
    let page = browser.open(&ana.url()).await;
    browser.until(&page, Some("chat"), "document.querySelectorAll('.chip').length === 2").await;
    accessible(&axe, &browser, &page, "nothing said yet").await;
    let (mut socket, _) = Socket::page(&ben, "", 0).await;
    socket.send("chat", "Hello, see https://example.org/").await;
    browser.until(&page, Some("chat"), "document.querySelectorAll('.message').length === 1").await;
    for tab in ["chat", "whiteboard", "files", "journal"] {
        browser.evaluate(&page, &format!("document.getElementById('tab-{tab}').click()")).await;
        accessible(&axe, &browser, &page, tab).await;
    }
    browser.evaluate(&page, "document.querySelector('[data-member=ben] .more').click()").await;
    accessible(&axe, &browser, &page, "a member").await;
    browser.evaluate(&page, "document.getElementById('member-dialog').close()").await;
    for dialog in ["invite", "leave"] {
        browser.evaluate(&page, &format!("document.getElementById('{dialog}-dialog').showModal()")).await;
        accessible(&axe, &browser, &page, dialog).await;
        browser.evaluate(&page, &format!("document.getElementById('{dialog}-dialog').close()")).await;
    }
    browser.evaluate(&page, "document.getElementById('menu').click()").await;
    accessible(&axe, &browser, &page, "menu").await;
    for leader in 2..=4 {
        world.stop(leader).await;
    }
    browser.until(&page, None, "!document.getElementById('banner').hidden").await;
    accessible(&axe, &browser, &page, "no leaders").await;
    drop(ana);
    browser.until(&page, None, "document.getElementById('banner').textContent.includes('agent is lost')").await;
    accessible(&axe, &browser, &page, "no agent").await;
    let closed = browser.open(&format!("{}0", ben.url())).await;
    accessible(&axe, &browser, &closed, "closed").await;
}
