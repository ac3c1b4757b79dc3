//! Three people on their pages.

use serde_json::json;

use super::common::{World, together};
use ringfort_browser::{Browser, Page};

async fn say(browser: &Browser, page: &Page, to: &str, text: &str) {
    let (to, text) = (json!(to), json!(text));
    let script = format!(
        "{{ for (const chip of document.querySelectorAll('.chip')) if (chip.textContent === {to}) chip.click();
            document.getElementById('text').value = {text}; document.getElementById('send').click(); }}"
    );
    browser.in_plugin(page, "chat", &script).await;
}

fn shows(text: &str) -> String {
    format!("document.getElementById('messages').innerText.includes({})", json!(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_chat_on_their_pages() {
    let Some(browser) = Browser::start().await else { return };
    let mut world = World::start(&["ana", "ben", "eva"]).await;
    let (ana, ben, eva) = (world.agent("ana").await, world.agent("ben").await, world.agent("eva").await);
    together(&[&ana, &ben, &eva], &["ana", "ben", "eva"]).await;
    let a = browser.open(&ana.url()).await;
    let b = browser.open(&ben.url()).await;
    let e = browser.open(&eva.url()).await;
    for page in [&a, &b, &e] {
        browser.until(page, None, "document.querySelectorAll('#members li').length === 3").await;
        browser.until(page, None, "document.querySelectorAll('#leaders .fine').length === 4").await;
        browser.until(page, Some("chat"), "document.querySelectorAll('.chip').length === 3").await;
    }
    // The token is in no place that a script of the page can read.
    assert_eq!(browser.evaluate(&a, "document.cookie").await, "");
    assert_eq!(browser.evaluate(&a, "location.search + location.hash").await, "");

    say(&browser, &a, "Everybody", "Morning. The north gate camera is back, see https://example.org/cams/7.").await;
    for page in [&a, &b, &e] {
        browser.until(page, Some("chat"), &shows("The north gate camera")).await;
    }
    // A link is what it should be, and is not followed without asking.
    let link = "document.querySelector('.text button').textContent";
    assert_eq!(browser.in_plugin(&b, "chat", link).await, "https://example.org/cams/7");
    browser.in_plugin(&b, "chat", "document.querySelector('.text button').click()").await;
    browser.until(&b, None, "document.getElementById('open-dialog').open").await;
    browser.evaluate(&b, "document.querySelector('#open-dialog [value=stay]').click()").await;
    // Both say that it has come.
    browser.until(&a, Some("chat"), &shows("Received by all 2")).await;

    say(&browser, &b, "Everybody", "Good. I am at the crane until noon.").await;
    browser.until(&a, Some("chat"), &shows("crane until noon")).await;
    say(&browser, &e, "Everybody", "Then we move the Aurora before that.").await;
    browser.until(&a, Some("chat"), &shows("Aurora")).await;
    say(&browser, &a, "ben", "Ben, can you take the tug?").await;
    browser.until(&b, Some("chat"), &shows("take the tug")).await;
    browser.until(&b, Some("chat"), "document.querySelectorAll('.message.private').length === 1").await;
    browser.until(&a, Some("chat"), &shows("Received by ben")).await;
    say(&browser, &a, "Everybody", "<img src=x onerror=alert(1)> is no markup here").await;
    browser.until(&e, Some("chat"), &shows("<img src=x onerror=alert(1)> is no markup here")).await;
    assert_eq!(browser.in_plugin(&e, "chat", &shows("take the tug")).await, false, "eva reads what is for ben");

    // Search finds in what was seen.
    let search =
        "{ const s = document.getElementById('search'); s.value = 'crane'; s.dispatchEvent(new Event('input')); }";
    browser.in_plugin(&a, "chat", search).await;
    browser.until(&a, Some("chat"), "document.getElementById('found').textContent === '1 message'").await;
    browser.until(&a, Some("chat"), "document.querySelector('mark').textContent === 'crane'").await;
    browser.in_plugin(&a, "chat", &search.replace("'crane'", "''")).await;

    // A reload loses nothing and doubles nothing.
    let count = "document.querySelectorAll('.message').length";
    let before = browser.in_plugin(&a, "chat", count).await;
    assert_eq!(before, 5);
    browser.reload(&a).await;
    browser.until(&a, Some("chat"), &shows("is no markup here")).await;
    assert_eq!(browser.in_plugin(&a, "chat", count).await, before);
    browser.until(&a, Some("chat"), &shows("Received by all 2")).await;

    browser.look(&a, 1280, 800, false).await;
    browser.image(&a, "chat.png").await;
    browser.look(&b, 1280, 800, true).await;
    browser.image(&b, "chat-dark.png").await;
    browser.look(&e, 400, 780, false).await;
    browser.image(&e, "chat-narrow.png").await;

    // What comes while one looks elsewhere is counted.
    browser.evaluate(&e, "document.getElementById('tab-journal').click()").await;
    say(&browser, &b, "Everybody", "Lunch?").await;
    browser.until(&e, None, "document.querySelector('#tab-chat .badge').textContent.startsWith('1')").await;
    browser.evaluate(&e, "document.getElementById('tab-chat').click()").await;
    browser.until(&e, None, "!document.querySelector('#tab-chat .badge')").await;

    // Leaders go: first nothing but a lamp changes, then a banner says it.
    world.stop(4).await;
    browser.until(&a, None, "document.querySelectorAll('#leaders .away').length === 1").await;
    assert_eq!(browser.evaluate(&a, "document.getElementById('banner').hidden").await, true);
    world.stop(3).await;
    world.stop(2).await;
    browser.until(&a, None, "document.getElementById('banner').textContent.includes('Fewer than 2 leaders')").await;
    browser.look(&a, 1280, 800, false).await;
    browser.image(&a, "banner.png").await;
    for leader in 2..=4 {
        world.run(leader).await;
    }
    browser.until(&a, None, "document.getElementById('banner').hidden").await;

    // Somebody leaves by the page, and is told so.
    browser.evaluate(&e, "document.getElementById('leave').click()").await;
    browser.evaluate(&e, "document.querySelector('#leave-dialog [value=leave]').click()").await;
    browser.until(&e, None, "document.getElementById('banner').textContent.includes('you left')").await;
    browser.until(&a, Some("chat"), &shows("eva left.")).await;
    browser.until(&a, None, "document.querySelectorAll('#members li').length === 2").await;

    // An agent that is gone is said to be gone.
    drop(ben);
    browser.until(&b, None, "document.getElementById('banner').textContent.includes('agent is lost')").await;
    assert_eq!(browser.errors(), Vec::<String>::new());
}
