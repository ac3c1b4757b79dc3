//! What came of it: a table for people, one JSON object for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Script;

/// A checked condition.
#[derive(Clone, Debug, Serialize)]
pub struct Promise {
    /// What was promised.
    pub name: String,
    /// Whether it held.
    pub held: bool,
    /// What was seen.
    pub detail: String,
}

/// One attack.
#[derive(Clone, Debug, Serialize)]
pub struct AttackSummary {
    /// Its name.
    pub kind: &'static str,
    /// Who was hacked.
    pub leader: u8,
    /// What the attacker tried, by its own count.
    pub tried: BTreeMap<String, u64>,
    /// Messages sent meanwhile.
    pub messages_sent: u64,
    /// Deliveries meanwhile.
    pub messages_delivered: u64,
    /// Keys installed meanwhile, by all members.
    pub keys_installed: u64,
    /// How often others named the attacker's offences.
    pub refused: BTreeMap<String, u64>,
    /// How long it lasted.
    pub seconds: f64,
}

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    sent: u64,
    delivered: u64,
    lost: u64,
    duplicated: u64,
    out_of_order: u64,
    keys_installed: u64,
    members: BTreeMap<String, MemberSummary>,
    refusals: BTreeMap<String, u64>,
    attacks: Vec<AttackSummary>,
    wall_s: f64,
    promises: Vec<Promise>,
}

/// One member.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MemberSummary {
    sent: u64,
    delivered: u64,
    lost: u64,
    keys_installed: u64,
}

impl Script {
    /// The books as they stand.
    pub fn summary(&mut self) -> Summary {
        let desk = self.stage.desk.clone();
        desk.look(|state| {
            let totals = state.ledger.totals();
            let mut members: BTreeMap<String, MemberSummary> = BTreeMap::new();
            for (name, (sent, delivered)) in state.ledger.by_member() {
                let member = members.entry(name.clone()).or_default();
                (member.sent, member.delivered) = (*sent, *delivered);
            }
            for (name, known) in &state.members {
                members.entry(name.clone()).or_default().keys_installed = known.keys;
            }
            let owed = state.ledger.owed();
            for (_, to) in &owed {
                members.entry(to.clone()).or_default().lost += 1;
            }
            Summary {
                sent: totals.sent,
                delivered: totals.delivered,
                lost: owed.len() as u64,
                duplicated: totals.duplicated,
                out_of_order: totals.out_of_order,
                keys_installed: state.keys(),
                members,
                refusals: state.refusals.clone(),
                attacks: self.attacks.clone(),
                wall_s: desk.story.elapsed().as_secs_f64(),
                promises: self.promises.clone(),
            }
        })
    }
}

impl Summary {
    /// Whether nothing was broken.
    pub fn all_held(&self) -> bool {
        !self.promises.is_empty() && self.promises.iter().all(|promise| promise.held)
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = format!("\n{:<12}{:>9}{:>11}{:>7}{:>7}\n", "member", "sent", "delivered", "lost", "keys");
        for (name, member) in &self.members {
            let MemberSummary { sent, delivered, lost, keys_installed } = member;
            text.push_str(&format!("{name:<12}{sent:>9}{delivered:>11}{lost:>7}{keys_installed:>7}\n"));
        }
        let Summary { sent, delivered, lost, keys_installed, duplicated, out_of_order, .. } = self;
        text.push_str(&format!("{:<12}{sent:>9}{delivered:>11}{lost:>7}{keys_installed:>7}\n", "all"));
        text.push_str(&format!("\nduplicated {duplicated}, out of order {out_of_order}\n"));
        text.push_str(&format!(
            "\n{:<12}{:>6}{:>9}{:>11}{:>7}{:>9}\n",
            "attack", "leader", "sent", "delivered", "keys", "caught"
        ));
        for attack in &self.attacks {
            let caught: u64 = attack.refused.values().sum();
            let AttackSummary { kind, leader, messages_sent, messages_delivered, keys_installed, .. } = attack;
            text.push_str(&format!(
                "{kind:<12}{leader:>6}{messages_sent:>9}{messages_delivered:>11}{keys_installed:>7}{caught:>9}\n"
            ));
        }
        text.push_str("\nrefused:\n");
        for (word, count) in &self.refusals {
            text.push_str(&format!("{count:>8}  {word}\n"));
        }
        let held = self.promises.iter().filter(|promise| promise.held).count();
        text.push_str(&format!("\n{held} of {} promises held, in {:.1} s\n", self.promises.len(), self.wall_s));
        for promise in self.promises.iter().filter(|promise| !promise.held) {
            text.push_str(&format!("BROKEN: {} ({})\n", promise.name, promise.detail));
        }
        text
    }
}
