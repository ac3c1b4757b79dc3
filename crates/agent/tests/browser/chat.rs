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

/// One member asks, all see who and why, and the page has the command for operators.
async fn asks_to_expel(browser: &Browser, ana: &Page, ben: &Page, eva: &Page) {
    browser.click(ana, "[data-member=ben] .more").await;
    browser.click(ana, "#member-ask").await;
    browser.until(ana, None, "document.getElementById('member-error').textContent.includes('Say why')").await;
    browser.fill(ana, "#member-why", "This laptop was stolen").await;
    browser.click(ana, "#member-ask").await;
    browser.until(ana, None, "document.getElementById('member-asked').innerText.includes('You asked')").await;
    let command = "document.getElementById('member-command').textContent";
    assert_eq!(browser.evaluate(ana, command).await, "ringfort expel leader-N ben");
    browser.image(ana, "member.png").await;
    browser.keys(ana, Browser::ESCAPE).await;
    for (page, whom) in [(ben, "you"), (eva, "ben")] {
        browser.until(page, None, "document.querySelector('[data-member=ben] .asked') !== null").await;
        let told = format!("ana asks the operators to expel {whom}: “This laptop was stolen”");
        browser.until(page, None, &format!("document.querySelector('.journal').textContent.includes('{told}')")).await;
    }
    // It is so after a reload, too.
    browser.reload(eva).await;
    browser.until(eva, None, "document.querySelector('[data-member=ben] .asked') !== null").await;
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

    // What somebody does stands beside the name, and goes; that one writes to some only is not told.
    let chat = browser.frame(&b, "/chat/").await.unwrap();
    let does = |name: &str, word: &str| {
        format!("document.querySelector('[data-member={name}] .doing')?.textContent === {}", json!(word))
    };
    browser.fill(&chat, "#text", "The ebb").await;
    for page in [&a, &b, &e] {
        browser.until(page, None, &does("ben", "writing")).await;
    }
    browser.keys(&chat, Browser::ENTER).await;
    browser.until(&a, Some("chat"), &shows("The ebb")).await;
    browser.until(&a, None, "!document.querySelector('[data-member=ben] .doing')").await;

    asks_to_expel(&browser, &a, &b, &e).await;
    // Whoever is invited gets the group's public file, and what to do with it.
    browser.click(&a, "#invite").await;
    let file = "fetch('group.toml').then((file) => file.text())";
    let file = browser.evaluate(&a, file).await;
    assert!(file.as_str().unwrap().contains("garden"), "{file}");
    let told = browser.evaluate(&a, "document.getElementById('invite-dialog').innerText").await;
    for part in ["ringfort enrol group.toml --user NAME", "At least 2 operators must; ask all 4."] {
        assert!(told.as_str().unwrap().contains(part), "{told}");
    }
    browser.image(&a, "invite.png").await;
    browser.keys(&a, Browser::ESCAPE).await;

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
