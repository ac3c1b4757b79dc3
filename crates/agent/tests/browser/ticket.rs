//! A browser that is started with a file: the address in it opens the page, once.

use ringfort_agent::site;
use ringfort_browser::Browser;

use super::common::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_comes_from_a_file_to_the_page() {
    let Some(browser) = Browser::start().await else { return };
    let world = World::start(&["ana"]).await;
    let agent = world.agent("ana").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("page.html");
    std::fs::write(&file, site::leading_to(&agent.ticket_url().unwrap())).unwrap();
    let page = browser.open(&format!("file://{}", file.display())).await;
    browser.until(&page, None, "document.querySelectorAll('#members li').length === 1").await;
    assert_eq!(browser.evaluate(&page, "location.origin").await, agent.origin());
    // A second browser comes too late.
    let late = browser.open(&format!("file://{}", file.display())).await;
    browser.until(&late, None, "document.title === 'Ringfort: closed'").await;
}
