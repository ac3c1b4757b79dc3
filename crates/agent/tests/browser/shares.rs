//! What one member sends in plenty, and what the page keeps of the others and of the agent's own words all the same.

use ringfort_browser::Browser;
use serde_json::json;

use super::common::client::Socket;
use super::common::{World, together};

const WARNINGS: &str =
    "[...document.querySelectorAll('.journal li')].filter((li) => li.innerText.includes('to expel')).length";

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_expel_are_about_members_and_few_of_each() {
    let Some(browser) = Browser::start().await else { return };
    let world = World::start(&["ana", "ben", "mal"]).await;
    let (ana, ben, mal) = (world.agent("ana").await, world.agent("ben").await, world.agent("mal").await);
    together(&[&ana, &ben, &mal], &["ana", "ben", "mal"]).await;
    let page = browser.open(&ana.url()).await;
    browser.until(&page, None, "document.querySelectorAll('#members li').length === 3").await;
    let ask = |user: &str, why: &str| json!({"user": user, "why": why}).to_string();
    let (mut hostile, _) = Socket::page(&mal, "", 0).await;
    let (mut honest, _) = Socket::page(&ben, "", 0).await;
    // What a member says it does is one word for that.
    for word in ["to be expelled?", "archive"] {
        hostile.send("chat~.doing", word).await;
    }
    honest.send("chat~.doing", "writing").await;
    browser.until(&page, None, "document.querySelector('[data-member=ben] .doing')?.textContent === 'writing'").await;
    assert_eq!(browser.evaluate(&page, "document.querySelectorAll('[data-member=mal] .doing').length").await, 0);
    for n in 0..30 {
        hostile.send("ringfort/expel", &ask(&format!("aaaa{n}"), "noise")).await;
    }
    for n in 0..30 {
        hostile.send("ringfort/expel", &ask("ben", &format!("\u{202e}noise {n}"))).await;
    }
    honest.send("ringfort/expel", &ask("mal", "he makes noise")).await;
    browser.until(&page, None, "document.querySelector('.journal').textContent.includes('he makes noise')").await;
    browser.until(&page, None, "document.querySelector('.journal').textContent.includes('noise 3')").await;
    browser.evaluate(&page, "document.getElementById('tab-journal').click()").await;
    assert_eq!(browser.evaluate(&page, WARNINGS).await, 5, "four of mal, one of ben");
    let marks = "document.querySelector('.journal').textContent.includes('\u{202e}')";
    assert_eq!(browser.evaluate(&page, marks).await, false);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_talks_most_pushes_out_nobody_else() {
    let Some(browser) = Browser::start().await else { return };
    let world = World::start(&["ana"]).await;
    let agent = world.agent("ana").await;
    let page = browser.open(&agent.url()).await;
    browser.until(&page, None, "document.querySelectorAll('#members li').length === 1").await;
    let kept = "import('./kept.js').then(({ Kept }) => [[6, Infinity], [1000, 60]].map(([items, size]) => {
        const kept = new Kept(items, size); let gone = 0;
        kept.add('a', 'ana', 10); kept.add('b', 'ben', 10);
        for (let n = 0; n < 200; n++) gone += kept.add(n, 'mal', 10).length;
        return [[...kept], gone]; }))";
    let left = json!([["a", "b", 196, 197, 198, 199], 196]);
    assert_eq!(browser.evaluate(&page, kept).await, json!([left, left]));
    // The journal keeps what the agent says, whatever members say.
    let journal = "import('./shell.js').then(({ Journal }) => { const journal = new Journal();
        journal.add(1, 'leader 2 was caught', true); journal.add(1, 'ben joined', false, 'views');
        for (let n = 0; n < 3000; n++) journal.add(1, 'mal asks', true, 'members');
        return [journal.list.children.length, journal.list.textContent.includes('caught'), journal.list.textContent.includes('joined')]; })";
    assert_eq!(browser.evaluate(&page, journal).await, json!([202, true, true]));
}
