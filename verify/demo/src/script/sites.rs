//! The other kind of group: three sites, six people with a key of their own, and a network that is cut and mended.

use std::time::{Duration, Instant};

use super::Script;
use crate::peers::{Facts, Order};
use crate::story::Tone;

/// How long three sites and six people may take until all have one key: more than a busy machine needs.
const TOGETHER_WITHIN: Duration = Duration::from_secs(60);
/// How long anything after that may take.
const SOON: Duration = Duration::from_secs(40);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Who is alone on the other side of the cut.
const WEST: usize = 2;
const ANA: usize = 0;
const EVA: usize = 4;
const FINN: usize = 5;

const WITHOUT_WEST: &str = "said without the west";
const IN_THE_WEST: &str = "said in the west";

impl Script {
    /// Both halves of a cut network go on, one of them loses a member, and they meet.
    pub(super) async fn cut_network(&mut self) -> anyhow::Result<()> {
        let desk = self.stage.desk.clone();
        desk.chapter("The other kind of group: three sites, six people, and a network that is cut");
        self.peers.open();
        let together =
            self.peers_until(TOGETHER_WITHIN, |facts| facts.one_key && facts.people.iter().all(is_in)).await?;
        self.order(Order::Talk(false))?;
        let whole = self.peers.facts().key_of("ana");
        desk.story.line("sites", Tone::Good, "north, south and west hear each other");
        self.promise("six people at three sites have one key", together, whole.clone());

        self.order(Order::Cut(WEST))?;
        desk.story.line("network", Tone::Evil, "west is cut off from north and south");
        let apart = self.peers_until(SOON, |facts| facts.apart).await?;
        let facts = self.peers.facts();
        let (here, there) = (facts.key_of("ana"), facts.key_of("eva"));
        let other = here != there && here != whole && there != whole;
        self.promise(
            "both halves of a cut network go on, each with a key of its own",
            apart && other,
            format!("{here}; {there}"),
        );

        self.order(Order::Say(ANA, WITHOUT_WEST.to_owned()))?;
        self.order(Order::Say(EVA, IN_THE_WEST.to_owned()))?;
        let read = self
            .peers_until(SOON, |facts| facts.read_by(WITHOUT_WEST).len() == 4 && facts.read_by(IN_THE_WEST).len() == 2)
            .await?;
        let readers = |facts: &Facts| {
            let [ours, theirs] = [WITHOUT_WEST, IN_THE_WEST].map(|text| facts.read_by(text).join(", "));
            (ours == "ana, ben, cleo, dan" && theirs == "eva, finn", format!("{ours}; {theirs}"))
        };
        let (right, detail) = readers(&self.peers.facts());
        self.promise("each half reads what its own people say", read && right, detail);

        self.order(Order::Leave(FINN))?;
        desk.story.line("finn", Tone::Plain, "leaves while the network is cut");
        let gone = self.peers_until(SOON, |facts| facts.apart && facts.key_of("finn").is_empty()).await?;
        self.promise(
            "who leaves one half has no part in its next key",
            gone && self.peers.facts().key_of("eva") != there,
            "",
        );

        self.order(Order::Mend)?;
        desk.story.line("network", Tone::Good, "is whole again");
        let met = self.peers_until(SOON, |facts| facts.one_key && facts.met_after_ms.is_some()).await?;
        let facts = self.peers.facts();
        let again = facts.key_of("ana");
        let fresh = ![&whole, &here, &there].contains(&&again);
        let took = facts.met_after_ms.unwrap_or_default();
        self.promise("the halves meet under a new key", met && fresh, format!("{again}, after {took} ms"));
        self.promise(
            "who has left is not in when they meet",
            met && !facts.members_of("ana").contains(&"finn".to_owned()),
            "",
        );
        let (right, detail) = readers(&facts);
        self.promise("what one half said stays unread by the other", right, detail);

        self.order(Order::Return(FINN))?;
        let back = self.peers_until(SOON, |facts| facts.one_key && facts.people.iter().all(is_in)).await?;
        self.promise("who comes again gets a new key", back && self.peers.facts().key_of("ana") != again, "");
        let facts = self.peers.facts();
        let detail = format!("{} compared, {} differ", facts.compared, facts.differ);
        self.promise(
            "people who stayed together were given the same, in one order",
            facts.compared > 0 && facts.differ == 0,
            detail,
        );
        self.peers.close().await;
        Ok(())
    }

    fn order(&self, order: Order) -> anyhow::Result<()> {
        self.peers.order(order).map_err(anyhow::Error::msg)
    }

    /// Whether it comes to be so in time.
    async fn peers_until(&self, within: Duration, holds: impl Fn(&Facts) -> bool) -> anyhow::Result<bool> {
        let began = Instant::now();
        loop {
            let facts = self.peers.facts();
            if let Some(why) = &facts.failed {
                anyhow::bail!("the sites have failed: {why}");
            }
            if holds(&facts) || began.elapsed() > within {
                return Ok(holds(&facts));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn is_in(person: &crate::peers::PersonFacts) -> bool {
    person.key.is_some()
}
