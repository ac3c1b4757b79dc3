//! What somebody at the prompt or at the page may order, and what is done about it.

use anyhow::{Context, bail};

use crate::attack::Kind;
use crate::stage::N;

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// A leader's machine is taken over.
    Attack(u8, Kind),
    /// A leader's machine is switched off.
    Stop(u8),
    /// The honest leader is put back.
    Recover(u8),
    /// A registered user joins.
    Join(String),
    /// A member leaves.
    Leave(String),
    /// Operators put a member out.
    Expel(String),
    /// A member says something.
    Say(String, String),
    /// Members talk by themselves, or no longer do.
    Talk(bool),
    /// Tell about everything.
    Status,
    /// Tell what can be typed.
    Help,
    /// Tell which attacks there are.
    Attacks,
    /// End everything.
    Quit,
    /// Nothing was typed.
    Nothing,
}

impl Order {
    /// Reads what was typed.
    ///
    /// # Errors
    /// It is no order.
    pub fn read(line: &str) -> anyhow::Result<Order> {
        let words: Vec<&str> = line.split_whitespace().collect();
        Ok(match words.as_slice() {
            [] => Order::Nothing,
            ["quit" | "exit" | "q"] => Order::Quit,
            ["help" | "?"] => Order::Help,
            ["attack"] => Order::Attacks,
            ["status" | "s"] => Order::Status,
            ["attack", leader, kind] => {
                Order::Attack(number(leader)?, Kind::named(kind).context("no such attack: `attack` lists them")?)
            }
            ["stop", leader] => Order::Stop(number(leader)?),
            ["recover", leader] => Order::Recover(number(leader)?),
            ["join", name] => Order::Join((*name).to_owned()),
            ["leave", name] => Order::Leave((*name).to_owned()),
            ["expel", name] => Order::Expel((*name).to_owned()),
            ["say", name, text @ ..] if !text.is_empty() => Order::Say((*name).to_owned(), text.join(" ")),
            _ => bail!("not understood: `help` shows what there is"),
        })
    }

    /// The leader that it would make worse.
    pub fn victim(&self) -> Option<u8> {
        match self {
            Order::Attack(leader, _) | Order::Stop(leader) => Some(*leader),
            _ => None,
        }
    }
}

fn number(text: &str) -> anyhow::Result<u8> {
    text.parse().ok().filter(|n| (1..=N).contains(n)).with_context(|| format!("there are leaders 1 to {N}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_nonsense_is_told() {
        assert_eq!(Order::read("attack 2 ghost").unwrap(), Order::Attack(2, Kind::Ghost));
        assert_eq!(Order::read(" say ana  a b ").unwrap(), Order::Say("ana".to_owned(), "a b".to_owned()));
        assert_eq!(Order::read("").unwrap(), Order::Nothing);
        for (line, why) in [("stop 5", "leaders 1 to 4"), ("attack 1 no", "no such attack"), ("say ana", "help")] {
            assert!(Order::read(line).unwrap_err().to_string().contains(why), "{line}");
        }
    }
}
