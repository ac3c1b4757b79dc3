//! A file from one page to another, while both chat; and what stays of it after a reload.

use serde_json::json;

use super::common::{World, together};
use ringfort_browser::{Axe, Browser, Page};

pub fn shows(text: &str) -> String {
    format!("document.getElementById('list').innerText.includes({})", json!(text))
}

pub async fn press(browser: &Browser, page: &Page, label: &str) {
    browser
        .until(page, Some("files"), &format!("document.querySelector('[aria-label={}]') !== null", json!(label)))
        .await;
    browser.in_plugin(page, "files", &format!("document.querySelector('[aria-label={}]').click()", json!(label))).await;
}

async fn say(browser: &Browser, page: &Page, text: &str) {
    let text = json!(text);
    let script =
        format!("{{ document.getElementById('text').value = {text}; document.getElementById('send').click(); }}");
    browser.in_plugin(page, "chat", &script).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_mebibytes_go_from_page_to_page_while_both_chat() {
    let Some(browser) = Browser::start().await else { return };
    let world = World::start(&["ana", "ben", "eva"]).await;
    let (ana, ben, eva) = (world.agent("ana").await, world.agent("ben").await, world.agent("eva").await);
    together(&[&ana, &ben, &eva], &["ana", "ben", "eva"]).await;
    let a = browser.open(&ana.url()).await;
    let b = browser.open(&ben.url()).await;
    for page in [&a, &b] {
        browser.until(page, Some("files"), "document.querySelectorAll('.chip').length === 3").await;
    }
    browser.drop_file(&a, "files", "../harbour plan.bin", 50).await;
    browser.until(&b, None, "document.getElementById('tab-files').innerText.includes('1')").await;
    press(&browser, &b, "Accept: _harbour plan.bin").await;
    browser.until(&b, Some("files"), "document.querySelector('.file.receiving progress')?.value > 0.02").await;
    press(&browser, &b, "Pause: _harbour plan.bin").await;
    browser.until(&a, Some("files"), &shows("paused at")).await;

    // A look at it in the middle.
    for page in [&a, &b] {
        browser.evaluate(page, "document.getElementById('tab-files').click()").await;
    }
    browser.look(&a, 1280, 800, false).await;
    if let Some(axe) = Axe::load().await {
        for page in [&a, &b] {
            let found = axe.findings(&browser, page).await;
            assert!(found.is_empty(), "{found:#?}");
        }
    }
    browser.image(&a, "files.png").await;
    press(&browser, &b, "Resume: _harbour plan.bin").await;
    for round in 0..5 {
        say(&browser, &a, &format!("round {round} of ana")).await;
        say(&browser, &b, &format!("round {round} of ben")).await;
    }
    browser.until(&a, Some("chat"), "document.getElementById('messages').innerText.includes('round 4 of ben')").await;
    browser.until(&b, Some("chat"), "document.getElementById('messages').innerText.includes('round 4 of ana')").await;
    browser.until(&b, Some("files"), &shows("hash verified")).await;
    browser.until(&a, Some("files"), &shows("has it")).await;
    assert!(std::fs::read(world.downloads("ben").join("_harbour plan.bin")).unwrap() == Browser::dropped(50));

    // After a reload it is still there; and removing it from the list leaves the file.
    browser.reload(&b).await;
    browser.until(&b, Some("files"), &shows("hash verified")).await;
    press(&browser, &b, "Remove: _harbour plan.bin").await;
    browser.until(&b, Some("files"), "!document.getElementById('empty').hidden").await;
    assert!(world.downloads("ben").join("_harbour plan.bin").exists());
    assert!(!world.downloads("eva").join("_harbour plan.bin").exists(), "eva was not asked for hers");

    // To one of them: small enough not to ask; nobody else hears of it.
    browser
        .in_plugin(&a, "files", "[...document.querySelectorAll('.chip')].find((c) => c.textContent === 'ben').click()")
        .await;
    browser.drop_file(&a, "files", "key.txt", 1).await;
    browser.until(&b, Some("files"), &shows("key.txt")).await;
    browser.until(&b, Some("files"), &shows("hash verified")).await;
    let e = browser.open(&eva.url()).await;
    browser.until(&e, Some("files"), &shows("harbour plan")).await;
    assert_eq!(browser.in_plugin(&e, "files", &shows("key.txt")).await, false);

    assert_eq!(browser.errors(), Vec::<String>::new());
}
