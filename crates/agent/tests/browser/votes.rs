//! Members vote on their pages: whom to let in, whom to send away.

use ringfort::protocol::policy::MembersVote;
use ringfort_browser::{Browser, Page};

use super::common::{World, together};

async fn answers(browser: &Browser, page: &Page, question: &str, button: &str) {
    let asked = format!("document.getElementById('motions').innerText.includes('{question}')");
    browser.until(page, None, &asked).await;
    let press =
        format!("[...document.querySelectorAll('#motions button')].find((b) => b.textContent === '{button}').click()");
    browser.evaluate(page, &press).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_let_somebody_in_and_send_somebody_away_on_their_pages() {
    let Some(browser) = Browser::start().await else { return };
    let vote = MembersVote { percent: 60, wait_s: 20, silence_is_yes: false };
    let world = World::start_with(&["ana", "ben", "eva"], |policy| {
        (policy.admission_vote, policy.expulsion_vote) = (Some(vote), Some(vote));
    })
    .await;
    let ana = world.agent("ana").await;
    let a = browser.open(&ana.url()).await;
    let (ben, ()) = tokio::join!(world.agent("ben"), answers(&browser, &a, "ben asks to join", "Let in"));
    together(&[&ana, &ben], &["ana", "ben"]).await;
    let b = browser.open(&ben.url()).await;
    browser.until(&a, None, "document.getElementById('motions').hidden").await;

    // One of two is not 60 in a hundred: eva waits until both have said yes.
    let both = async {
        answers(&browser, &a, "eva asks to join", "Let in").await;
        let pressed = "document.querySelector('#motions [aria-pressed=true]')?.textContent === 'Let in'";
        browser.until(&a, None, pressed).await;
        browser.image(&a, "vote.png").await;
        assert_eq!(ana.group().unwrap().members().len(), 2, "eva came in with one vote of two");
        answers(&browser, &b, "eva asks to join", "Let in").await;
    };
    let (eva, ()) = tokio::join!(world.agent("eva"), both);
    together(&[&ana, &ben, &eva], &["ana", "ben", "eva"]).await;
    let e = browser.open(&eva.url()).await;

    // Ben has the members asked about eva, who sees it and has no vote.
    browser.click(&b, "[data-member=eva] .more").await;
    browser.click(&b, "#member-vote").await;
    browser.until(&e, None, "document.getElementById('motions').innerText.includes('You are to be expelled')").await;
    assert_eq!(browser.evaluate(&e, "document.querySelectorAll('#motions button').length").await, 0);
    answers(&browser, &a, "eva is to be expelled", "Expel").await;
    together(&[&ana, &ben], &["ana", "ben"]).await;
    browser.until(&e, None, "document.getElementById('banner-words').textContent.includes('expelled')").await;
}
