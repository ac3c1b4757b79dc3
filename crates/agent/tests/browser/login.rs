//! Logging in on the page, with what goes wrong before, and again after leaving.

use std::time::Duration;

use ringfort_agent::Options;
use ringfort_browser::{Axe, Browser, Page};
use serde_json::json;

use super::common::World;
use super::common::screen::accessible;

const SAYS: &str = "document.getElementById('login-why').textContent";

async fn log_in(browser: &Browser, page: &Page, user: &str, password: &str) {
    browser.fill(page, "#login-user", user).await;
    browser.fill(page, "#login-password", password).await;
    browser.keys(page, Browser::ENTER).await;
}

async fn refused(browser: &Browser, page: &Page, words: &str) {
    browser.until(page, None, &format!("{SAYS}.includes({})", json!(words))).await;
    // The password is gone, and one can try again.
    browser.until(page, None, "document.getElementById('login-password').value === ''").await;
    browser.until(page, None, "!document.getElementById('login-go').disabled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_on_the_page_and_again_after_leaving() {
    let Some(browser) = Browser::start().await else { return };
    let mut world = World::start(&["ana"]).await;
    let options = Options { login_within: Some(Duration::from_secs(10)), ..Options::default() };
    let agent = world.closed_agent(options).await;
    let page = browser.open(&agent.url()).await;
    browser.until(&page, None, "document.getElementById('login-group').textContent === 'garden'").await;
    assert_eq!(browser.evaluate(&page, "document.activeElement.id").await, "login-user");
    assert_eq!(browser.evaluate(&page, "document.querySelectorAll('.app[inert]').length").await, 1);
    browser.image(&page, "login.png").await;
    browser.keys(&page, Browser::ENTER).await;
    refused(&browser, &page, "user name is missing").await;
    log_in(&browser, &page, "ana", "wrong").await;
    refused(&browser, &page, "do not know this name with this password").await;
    log_in(&browser, &page, "mallory", "ana's password").await;
    refused(&browser, &page, "do not know this name").await;
    for leader in 1..=4 {
        world.stop(leader).await;
    }
    log_in(&browser, &page, "ana", "ana's password").await;
    refused(&browser, &page, "Check the network").await;
    browser.image(&page, "login-failed.png").await;
    if let Some(axe) = Axe::load().await {
        accessible(&axe, &browser, &page, "login that failed").await;
        browser.click(&page, "#login-way-key").await;
        accessible(&axe, &browser, &page, "login with a key").await;
        browser.click(&page, "#login-way-password").await;
    }
    for leader in 1..=4 {
        world.run(leader).await;
    }
    // It is the same after a reload.
    browser.reload(&page).await;
    browser.until(&page, None, "!document.getElementById('login').hidden").await;
    log_in(&browser, &page, "ana", "ana's password").await;
    browser.until(&page, None, "document.getElementById('login').hidden").await;
    browser.until(&page, Some("chat"), "document.querySelectorAll('.chip').length === 1").await;
    assert_eq!(browser.evaluate(&page, "document.getElementById('user').textContent").await, "ana");

    browser.click(&page, "#leave").await;
    browser.click(&page, "#leave-dialog [value=leave]").await;
    browser.until(&page, None, "document.getElementById('banner').textContent.includes('you left')").await;
    browser.click(&page, "#rejoin").await;
    // What was seen can still be read.
    browser.click(&page, "#login-back").await;
    assert_eq!(browser.evaluate(&page, "document.querySelectorAll('.app[inert]').length").await, 0);
    browser.click(&page, "#rejoin").await;
    log_in(&browser, &page, "ana", "ana's password").await;
    browser
        .until(&page, None, "document.getElementById('login').hidden && document.getElementById('banner').hidden")
        .await;
    browser.until(&page, None, "document.querySelector('.journal').textContent.includes('Your stay has ended')").await;

    // Too many tries are told as what they are.
    browser.click(&page, "#leave").await;
    browser.click(&page, "#leave-dialog [value=leave]").await;
    browser.until(&page, None, "!document.getElementById('rejoin').hidden").await;
    browser.click(&page, "#rejoin").await;
    for _ in 0..20 {
        log_in(&browser, &page, "ana", "wrong").await;
        refused(&browser, &page, ".").await;
        if browser.evaluate(&page, &format!("{SAYS}.includes('too many attempts')")).await == true {
            break;
        }
    }
    refused(&browser, &page, "too many attempts with this name").await;
    assert_eq!(browser.errors(), Vec::<String>::new());
}
