//! What a mutator did in a run, and which of it is to be done again.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use ringfort_protocol::LeaderId;

/// A node in the attacker's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hacked {
    /// A leader.
    Leader(LeaderId),
    /// A run of a member's program, by its number.
    Member(usize),
}

impl fmt::Display for Hacked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hacked::Leader(leader) => write!(f, "l{}", leader.number()),
            Hacked::Member(client) => write!(f, "m{client}"),
        }
    }
}

/// One message, or one moment, at which a hacked node could do something of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// Whose.
    pub who: Hacked,
    /// Counted from the node's start.
    pub number: u64,
}

/// Which turns a mutator takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Script {
    /// Those that chance wants.
    #[default]
    Chance,
    /// Of those, these.
    Only(BTreeSet<Turn>),
}

impl Script {
    /// Whether a turn may be taken.
    pub fn allows(&self, turn: Turn) -> bool {
        match self {
            Script::Chance => true,
            Script::Only(turns) => turns.contains(&turn),
        }
    }
}

/// A turn that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Which.
    pub turn: Turn,
    /// How.
    pub how: String,
}

impl fmt::Display for Script {
    /// `*`, or one node after the other with its turns: `l2:17,40 m0:5`; `-` for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Script::Only(turns) = self else { return f.write_str("*") };
        if turns.is_empty() {
            return f.write_str("-");
        }
        let mut last = None;
        for turn in turns {
            match last {
                Some(who) if who == turn.who => write!(f, ",{}", turn.number)?,
                Some(_) => write!(f, " {}:{}", turn.who, turn.number)?,
                None => write!(f, "{}:{}", turn.who, turn.number)?,
            }
            last = Some(turn.who);
        }
        Ok(())
    }
}

impl FromStr for Script {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Script> {
        match text.trim() {
            "*" => return Ok(Script::Chance),
            "-" => return Ok(Script::Only(BTreeSet::new())),
            _ => {}
        }
        let mut turns = BTreeSet::new();
        for part in text.split_whitespace() {
            let (node, numbers) = part.split_once(':').context("a part of a script is NODE:TURN,TURN")?;
            let who = match node.split_at_checked(1) {
                Some(("l", number)) => {
                    Hacked::Leader(LeaderId::new(number.parse()?).with_context(|| format!("no leader {number}"))?)
                }
                Some(("m", number)) => Hacked::Member(number.parse()?),
                _ => bail!("{node} is no node: l2 is leader 2, m0 the first run of a member's program"),
            };
            for number in numbers.split(',') {
                turns.insert(Turn { who, number: number.parse()? });
            }
        }
        Ok(Script::Only(turns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_as_it_is_written() {
        for text in ["*", "-", "l2:17,40 m0:5", "m12:0"] {
            assert_eq!(text.parse::<Script>().expect("a script").to_string(), text);
        }
        for text in ["l2", "x2:1", "l0:1", "l2:", "l2:1;2"] {
            assert!(text.parse::<Script>().is_err(), "{text}");
        }
    }
}
