//! The last scenes: an outage beyond what the group is made for, and the reckoning.

use std::collections::BTreeSet;

use ringfort_protocol::member::Confirmation;
use ringfort_protocol::view::Cause;

use super::judging::Marks;
use super::{JOIN_WITHIN, PATIENCE, Script};
use crate::stage::{N, USERS};
use crate::story::Tone;

/// Messages that are owed and named.
const OWED_SHOWN: usize = 5;

impl Script {
    /// f+1 leaders down: nobody can join and no key can be made, but members talk. Then one more.
    pub(super) async fn too_few_leaders(&mut self) -> anyhow::Result<()> {
        let desk = self.stage.desk.clone();
        desk.chapter("More leaders down than the group is made for: two of four, then three");
        self.stage.leave("dan").await?;
        anyhow::ensure!(self.stage.agreed(&[]).await, "the view without dan");
        self.stage.stop(1).await?;
        self.stage.stop(2).await?;
        desk.story.line("leaders", Tone::Evil, "1 and 2 are switched off");
        let before = desk.look(|state| Marks::of(state));
        let joining = self.stage.begin_join("dan", JOIN_WITHIN * 2)?;
        desk.story.line("dan", Tone::Plain, "wants to join");
        let talked = desk.until(PATIENCE, |state| Marks::of(state).delivered > before.delivered + 150).await;
        let settled = self.stage.settled().await;
        let after = desk.look(|state| Marks::of(state));
        let numbers = format!("{} delivered", after.delivered - before.delivered);
        self.promise("members talk under the last key", talked && settled, numbers);
        let waits = !joining.is_over() && desk.look(|state| !state.present().any(|(_, m)| m.members.contains("dan")));
        self.promise("two leaders of four let nobody in", waits, "dan waits");
        // A key that a stopped leader had voted for before it stopped may still come, once to each member.
        let members = desk.look(|state| state.present().count() as u64);
        let keys = after.keys - before.keys;
        let none = keys <= members;
        self.promise("two leaders of four make no key of their own", none, format!("{keys} installed"));
        let believed = Confirmation::Believed;
        let told = desk.until(PATIENCE, |state| state.present().all(|(_, m)| m.confirmation == believed)).await;
        self.promise("members say that two leaders of four are too few to know that the view is current", told, "");

        self.stage.stop(3).await?;
        desk.story.line("leaders", Tone::Evil, "3 is switched off as well");
        let unconfirmed = desk
            .until(PATIENCE, |state| state.present().all(|(_, m)| m.confirmation == Confirmation::Unconfirmed))
            .await;
        self.promise("members say that too few leaders confirm the view", unconfirmed, "");
        let before = desk.look(|state| Marks::of(state));
        let alone = desk.until(PATIENCE, |state| Marks::of(state).delivered > before.delivered + 10).await;
        let settled = self.stage.settled().await;
        self.promise("one leader still relays", alone && settled, "");
        self.promise("one leader of four lets nobody in", !joining.is_over(), "dan still waits");
        for leader in 1..=3 {
            self.stage.start(leader).await?;
        }
        desk.story.line("leaders", Tone::Good, "1, 2 and 3 are switched on again");
        let joined = self.stage.finish_join(joining).await;
        let detail = joined.as_ref().err().map(ToString::to_string).unwrap_or_default();
        self.promise("who waited gets in once the leaders are back", joined.is_ok(), detail);
        let mut heard = true;
        for leader in 1..=N {
            heard &= self.stage.heard(leader).await;
        }
        let agreed = self.stage.agreed(&[]).await;
        self.promise("the leaders caught up after the outage, all members in one view", heard && agreed, "");
        let before = desk.look(|state| Marks::of(state));
        let present = self.stage.present();
        let rekeyed = desk.until(PATIENCE, |state| before.rekeyed(state, &present)).await;
        self.promise("the group rekeys again", rekeyed, "");
        Ok(())
    }

    /// Silence, and the last reckoning.
    pub(super) async fn finale(&mut self) {
        let desk = self.stage.desk.clone();
        desk.chapter("The books are closed");
        desk.with(|state| state.talking = false);
        let settled = self.stage.settled().await;
        let (owed, totals) = desk.look(|state| (state.ledger.owed_in_words(), state.ledger.totals()));
        let mut numbers = format!("{} sent, {} delivered, {} owed", totals.sent, totals.delivered, owed.len());
        owed.iter().take(OWED_SHOWN).for_each(|message| numbers.extend(["; ", message]));
        self.promise(
            "every message reached every member it was owed to",
            settled && owed.is_empty() && totals.sent > 0,
            numbers,
        );
        self.promise("no message came twice", totals.duplicated == 0, totals.duplicated.to_string());
        self.promise("no message came out of order", totals.out_of_order == 0, totals.out_of_order.to_string());
        self.promise("nobody was given a message that nobody sent", totals.forged == 0, totals.forged.to_string());
        self.promise("nobody was given a message for others", totals.leaked == 0, totals.leaked.to_string());
        let strangers: BTreeSet<String> = desk.look(|state| {
            let names = state.ledger.views().flatten();
            names.filter(|name| !USERS.contains(&name.as_str())).cloned().collect()
        });
        let detail = strangers.into_iter().collect::<Vec<_>>().join(", ");
        self.promise("no stranger was ever in a view", detail.is_empty(), detail.clone());
        let rightly = |(name, cause): &(String, Cause)| match cause {
            Cause::Left => ["ben", "dan"].contains(&name.as_str()),
            Cause::Expelled => name == "zoe",
            Cause::Lost | Cause::Expired | Cause::SessionOver | Cause::Elsewhere => false,
        };
        let wrongly: Vec<_> = desk.look(|state| {
            state
                .departed
                .keys()
                .filter(|gone| !rightly(gone))
                .map(|(name, cause)| format!("{name} {cause:?}"))
                .collect()
        });
        self.promise("nobody was put out who was not meant to go", wrongly.is_empty(), wrongly.join(", "));
        let wronged = desk.look(|state| state.wronged.iter().cloned().collect::<Vec<_>>());
        self.promise("nobody honest was accused", wronged.is_empty(), wronged.join("; "));
    }
}
