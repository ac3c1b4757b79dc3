//! The control channel's frame: 1,200 bytes, whatever there is to say.
//!
//! ```text
//!  version 1 | from 1 | to 1 | 0 | epoch 4 | boot 16 | number 8 |      body 1152 sealed      | tag 16
//!  body: echoed epoch 4 and boot 16 | clock 37 | two records of 398 | zeros
//! ```

use super::bytes::{Reader, Writer};
use super::ids::{BLOCK_BYTES, Block, Boot, COMPONENTS_MAX, Decision, Epoch, Index, Mask, Tag};

/// Bytes of a frame.
pub const FRAME_BYTES: usize = 1200;
/// Bytes in front of what is sealed.
pub const HEADER_BYTES: usize = 32;
/// Bytes that are sealed.
pub const BODY_BYTES: usize = FRAME_BYTES - HEADER_BYTES - 16;
/// Agreements that one frame speaks of.
pub const RECORDS: usize = 2;
const VERSION: u8 = 1;

/// What a frame says in clear; the seal covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its sender.
    pub from: Index,
    /// Its receiver.
    pub to: Index,
    /// The sender's epoch.
    pub epoch: Epoch,
    /// The sender's number of this start.
    pub boot: Boot,
    /// The frame's number in this start, from 1.
    pub number: u64,
}

impl Header {
    /// As it stands in front of the frame.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut to = Writer::new(&mut bytes);
        to.put(&[VERSION, self.from.get(), self.to.get(), 0]);
        to.put(&self.epoch.0.to_le_bytes());
        to.put(&self.boot);
        to.put(&self.number.to_le_bytes());
        bytes
    }

    /// The header of these bytes; `None` if they are none.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let mut from = Reader::new(bytes);
        if from.u8()? != VERSION {
            return None;
        }
        let (sender, receiver) = (index(&mut from)?, index(&mut from)?);
        if from.u8()? != 0 {
            return None;
        }
        let epoch = Epoch(from.u32()?);
        Some(Header { from: sender, to: receiver, epoch, boot: from.take()?, number: from.u64()? })
    }
}

fn index(from: &mut Reader<'_>) -> Option<Index> {
    Index::new(usize::from(from.u8()?))
}

/// What the sender's clock says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockWord {
    /// Microseconds since the sender's start.
    pub sent_us: u64,
    /// The group's time, by the sender.
    pub group_us: u64,
    /// Whether the sender's clock has settled among a majority's.
    pub steady: bool,
    /// What `sent_us` was in the last frame that came from the receiver; 0 if none did.
    pub echo_us: u64,
    /// Microseconds from its arrival until now.
    pub held_us: u64,
}

/// Blocks that were proposed, by whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proposals {
    /// Who proposed.
    pub mask: Mask,
    blocks: [Block; COMPONENTS_MAX],
}

impl Proposals {
    /// Adds what a component's entity proposed, unless there is a proposal of it.
    pub fn insert(&mut self, index: Index, block: Block) {
        if let Some(place) = self.blocks.get_mut(index.place())
            && !self.mask.has(index)
        {
            *place = block;
            self.mask.insert(index);
        }
    }

    /// Adds what is not known yet.
    pub fn merge(&mut self, other: &Proposals) {
        other.iter().for_each(|(index, block)| self.insert(index, *block));
    }

    /// What was proposed at a component.
    pub fn get(&self, index: Index) -> Option<&Block> {
        self.blocks.get(index.place()).filter(|_| self.mask.has(index))
    }

    /// All, by component.
    pub fn iter(&self) -> impl Iterator<Item = (Index, &Block)> {
        self.mask.iter().zip(self.mask.iter().filter_map(|index| self.get(index)))
    }

    /// Another block in the place of one before, which no rule allows.
    #[cfg(test)]
    pub fn replace(&mut self, index: Index, block: Block) {
        self.mask.insert(index);
        self.blocks[index.place()] = block;
    }
}

/// How far one component is with an agreement. All that a component ever says of it is its present state, so it does
/// not matter which frames are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which agreement.
    pub tag: Tag,
    /// Whose entities it is among.
    pub listed: Mask,
    /// What is to be decided.
    pub decision: Decision,
    /// When it starts, in the group's time.
    pub start_us: u64,
    /// In which epoch each listed component takes part.
    pub epochs: [Epoch; COMPONENTS_MAX],
    /// The highest ballot that the sender has heard of.
    pub promised: u32,
    /// The highest ballot that it has accepted; 0 for none.
    pub accepted: u32,
    /// Whether the proposals are the result.
    pub decided: bool,
    /// The result, or what was accepted, or else what the sender knows to be proposed.
    pub proposals: Proposals,
}

const RECORD_BYTES: usize = 16 + 2 + 1 + 8 + 4 * COMPONENTS_MAX + 4 + 4 + 1 + 2 + BLOCK_BYTES * COMPONENTS_MAX;

impl Record {
    fn encode(&self, to: &mut Writer<'_>) {
        to.put(&self.tag);
        to.put(&self.listed.bits().to_le_bytes());
        to.put(&[self.decision.code()]);
        to.put(&self.start_us.to_le_bytes());
        self.epochs.iter().for_each(|epoch| to.put(&epoch.0.to_le_bytes()));
        to.put(&self.promised.to_le_bytes());
        to.put(&self.accepted.to_le_bytes());
        to.put(&[self.decided.into()]);
        to.put(&self.proposals.mask.bits().to_le_bytes());
        self.proposals.blocks.iter().for_each(|block| to.put(block));
    }

    /// `Some(None)` for the empty record.
    fn decode(from: &mut Reader<'_>) -> Option<Option<Self>> {
        let bytes: [u8; RECORD_BYTES] = from.take()?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Some(None);
        }
        let mut from = Reader::new(&bytes);
        let tag = from.take()?;
        let listed = Mask::from_bits(from.u16()?)?;
        let decision = Decision::from_code(from.u8()?)?;
        let start_us = from.u64()?;
        let mut epochs = [Epoch::default(); COMPONENTS_MAX];
        for epoch in &mut epochs {
            *epoch = Epoch(from.u32()?);
        }
        let (promised, accepted, decided) = (from.u32()?, from.u32()?, from.bool()?);
        let mask = Mask::from_bits(from.u16()?)?;
        let mut proposals = Proposals { mask, ..Proposals::default() };
        for place in &mut proposals.blocks {
            *place = from.take()?;
        }
        let absent = Index::all().filter(|index| !mask.has(*index));
        let blank =
            absent.filter_map(|index| proposals.blocks.get(index.place())).all(|block| *block == [0; BLOCK_BYTES]);
        let sound = blank && mask.within(listed) && accepted <= promised;
        sound.then_some(Some(Record {
            tag,
            listed,
            decision,
            start_us,
            epochs,
            promised,
            accepted,
            decided,
            proposals,
        }))
    }
}

/// What a frame says under its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// The receiver's epoch, as far as the sender has heard of it.
    pub echo_epoch: Epoch,
    /// The receiver's number of that start: whoever names it has heard it since.
    pub echo_boot: Boot,
    /// What the sender's clock says.
    pub clock: ClockWord,
    /// How far it is with agreements.
    pub records: [Option<Record>; RECORDS],
}

impl Body {
    /// As it is sealed.
    pub fn encode(&self) -> [u8; BODY_BYTES] {
        let mut bytes = [0; BODY_BYTES];
        let mut to = Writer::new(&mut bytes);
        to.put(&self.echo_epoch.0.to_le_bytes());
        to.put(&self.echo_boot);
        to.put(&self.clock.sent_us.to_le_bytes());
        to.put(&self.clock.group_us.to_le_bytes());
        to.put(&[self.clock.steady.into()]);
        to.put(&self.clock.echo_us.to_le_bytes());
        to.put(&self.clock.held_us.to_le_bytes());
        for record in &self.records {
            match record {
                Some(record) => record.encode(&mut to),
                None => to.put(&[0; RECORD_BYTES]),
            }
        }
        bytes
    }

    /// The body of these bytes; `None` if they are none.
    pub fn decode(bytes: &[u8; BODY_BYTES]) -> Option<Self> {
        let mut from = Reader::new(bytes);
        let (echo_epoch, echo_boot) = (Epoch(from.u32()?), from.take()?);
        let (sent_us, group_us, steady) = (from.u64()?, from.u64()?, from.bool()?);
        let clock = ClockWord { sent_us, group_us, steady, echo_us: from.u64()?, held_us: from.u64()? };
        let mut records = [None; RECORDS];
        for record in &mut records {
            *record = Record::decode(&mut from)?;
        }
        from.end()?;
        Some(Body { echo_epoch, echo_boot, clock, records })
    }
}
