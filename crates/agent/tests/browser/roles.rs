//! Roles on the page.

use ringfort::protocol::roles::{Role, RoleRule};

use super::common::{World, together};
use ringfort_browser::Browser;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_roles_and_takes_the_composer_from_who_does_not_send() {
    let Some(browser) = Browser::start().await else { return };
    let rule = |(users, role): (&str, Role)| RoleRule { users: users.parse().unwrap(), role };
    let roles = [("rita", Role::Receiver), ("sue", Role::Sender), ("vault", Role::Archive)].map(rule).to_vec();
    let users = ["ana", "rita", "sue", "vault"];
    let world = World::start_with(&users, |policy| {
        policy.roles = roles;
        // Times that a busy machine keeps, so that no page says that its leaders are late.
        (policy.confirm_within_ms, policy.remove_silent_after_ms) = (60_000, 120_000);
    });
    let world = world.await;
    let (ana, rita) = (world.agent("ana").await, world.agent("rita").await);
    let (sue, vault) = (world.agent("sue").await, world.agent("vault").await);
    together(&[&ana, &rita, &sue, &vault], &users).await;
    let (a, r, s) = (browser.open(&ana.url()).await, browser.open(&rita.url()).await, browser.open(&sue.url()).await);

    for page in [&a, &r, &s] {
        let shown = "document.querySelector('[data-member=vault] .role')?.textContent === 'archive'";
        browser.until(page, None, shown).await;
    }
    assert_eq!(browser.evaluate(&a, "document.getElementById('role').hidden").await, true);
    browser.until(&r, None, "document.getElementById('role').textContent.includes('does not send')").await;
    browser
        .until(&r, Some("chat"), "document.getElementById('text').disabled && document.getElementById('send').disabled")
        .await;
    browser.until(&r, Some("chat"), "document.getElementById('to').hidden").await;
    // Ana can speak to rita and the archive alone, and to sue not.
    browser.until(&a, Some("chat"), "document.querySelectorAll('.chip').length === 3").await;
    browser.until(&s, Some("chat"), "document.querySelectorAll('.chip').length === 1").await;

    let say = |text: &str| {
        format!("{{ document.getElementById('text').value = '{text}'; document.getElementById('send').click(); }}")
    };
    let shows = |text: &str| format!("document.getElementById('messages').innerText.includes('{text}')");
    browser.in_plugin(&s, "chat", &say("a tip")).await;
    browser.until(&r, Some("chat"), &shows("a tip")).await;
    browser.until(&a, Some("chat"), &shows("a tip")).await;
    browser.in_plugin(&a, "chat", &say("thanks, all")).await;
    browser.until(&r, Some("chat"), &shows("thanks, all")).await;
    browser.image(&r, "role.png").await;
    assert_eq!(browser.in_plugin(&s, "chat", &shows("thanks, all")).await, false);
    // No page has anything to complain of.
    for page in [&a, &r, &s] {
        let complaints = "Array.from(document.querySelectorAll('.journal .warning'), (line) => line.innerText)";
        assert_eq!(browser.evaluate(page, complaints).await, serde_json::json!([]));
    }
}
