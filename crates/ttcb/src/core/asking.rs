//! The entity's half of the format of calls. No component runs this, so it is not part of what has to be trusted.

use ringfort_crypto::kem::{KemPublic, KemSecret};
use ringfort_crypto::sign::{Signature, VerifyingKey};

use super::bytes::{Reader, Writer};
use super::call::{
    CALL_BODY_BYTES, CALL_BYTES, CALL_HEADER_BYTES, Call, CallBody, Kind, Refusal, Reply, Status, Timing, Verdict,
    read_call_header,
};
use super::entities::{Channel, Greeting, HELLO_LABEL};
use super::group::Group;
use super::ids::{Block, COMPONENTS_MAX, Epoch, Index, Mask};

const REFUSALS: [Refusal; 8] = [
    Refusal::Malformed,
    Refusal::NotSynchronised,
    Refusal::TooLate,
    Refusal::TooFar,
    Refusal::Full,
    Refusal::AlreadyProposed,
    Refusal::NotListed,
    Refusal::Unknown,
];

impl Call {
    /// As it is sealed.
    pub fn encode(&self) -> CallBody {
        let mut bytes = [0; CALL_BODY_BYTES];
        let mut to = Writer::new(&mut bytes);
        match self {
            Call::Status => to.put(&[1]),
            Call::Random => to.put(&[2]),
            Call::Timestamp(hash) => {
                to.put(&[3]);
                to.put(hash);
            }
            Call::Propose(terms, block) => {
                to.put(&[4, terms.decision.code()]);
                to.put(&terms.start_us.to_le_bytes());
                to.put(&terms.name.to_le_bytes());
                to.put(&terms.listed.bits().to_le_bytes());
                for entity in &terms.entities {
                    to.put(&entity.epoch.0.to_le_bytes());
                    to.put(&entity.key);
                }
                to.put(block);
            }
            Call::Decide(tag) => {
                to.put(&[5]);
                to.put(tag);
            }
            Call::BlockOf(tag, index) => {
                to.put(&[6]);
                to.put(tag);
                to.put(&[index.get()]);
            }
            Call::StartMeasure => to.put(&[7]),
            Call::StopMeasure(handle) => to.put(&[8, *handle]),
            Call::Execute(function, not_before, deadline, hash) => {
                to.put(&[9, *function as u8]);
                to.put(&not_before.to_le_bytes());
                to.put(&deadline.to_le_bytes());
                to.put(hash);
            }
            Call::Executed(handle) => to.put(&[10, *handle]),
            Call::Watch(deadline) => {
                to.put(&[11]);
                to.put(&deadline.to_le_bytes());
            }
            Call::Done(handle) => to.put(&[12, *handle]),
            Call::Watched(handle) => to.put(&[13, *handle]),
        }
        bytes
    }
}

impl Reply {
    /// The answer of these bytes; `None` if they are none.
    pub fn decode(bytes: &CallBody) -> Option<Self> {
        let mut from = Reader::new(bytes);
        let timing = |code: u8| [Timing::Pending, Timing::Met, Timing::Failed].get(usize::from(code)).copied();
        let reply = match from.u8()? {
            1 => Reply::Status(Status::decode(&mut from)?),
            2 => Reply::Random(from.take()?),
            3 => Reply::Timestamp(from.u64()?, from.u64()?, from.take()?),
            4 => Reply::Proposed(from.take()?),
            5 => Reply::Pending,
            6 => Reply::TimingFailure,
            7 => Reply::Decided(Verdict::decode(&mut from)?, from.take()?),
            8 => match (from.bool()?, from.take()?) {
                (true, block) => Reply::BlockOf(Some(block)),
                (false, block) if block == Block::default() => Reply::BlockOf(None),
                _ => return None,
            },
            9 => Reply::Handle(from.u8()?),
            10 => Reply::Measured(from.u64()?, from.u64()?),
            11 => Reply::Executed(timing(from.u8()?)?, from.u64()?, from.take()?),
            12 => Reply::Watched(timing(from.u8()?)?),
            13 => Reply::Refused(REFUSALS.get(usize::from(from.u8()?).checked_sub(1)?).copied()?),
            _ => return None,
        };
        from.end()?;
        Some(reply)
    }
}

impl Status {
    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let (me, count, timely) = (Index::new(usize::from(from.u8()?))?, from.u8()?, from.bool()?);
        let (now_us, error_us, heard) = (from.u64()?, from.u64()?.checked_sub(1), Mask::from_bits(from.u16()?)?);
        let mut epochs = [Epoch::default(); COMPONENTS_MAX];
        for epoch in &mut epochs {
            *epoch = Epoch(from.u32()?);
        }
        let gaps = from.u32()?;
        let (gap_us_max, refused, clones, alarms) = (from.u64()?, from.u64()?, from.u64()?, from.u64()?);
        Some(Status { me, count, timely, now_us, error_us, heard, epochs, gaps, gap_us_max, refused, clones, alarms })
    }
}

impl Verdict {
    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let (tag, some, block) = (from.take()?, from.bool()?, from.take()?);
        if !some && block != Block::default() {
            return None;
        }
        let mut mask = || Mask::from_bits(from.u16()?);
        let (proposed_any, proposed_ok, deviant, elsewhere, silent) = (mask()?, mask()?, mask()?, mask()?, mask()?);
        let block = some.then_some(block);
        let (late, latency_us) = (from.bool()?, from.u32()?);
        Some(Verdict { tag, block, proposed_any, proposed_ok, deviant, elsewhere, silent, late, latency_us })
    }
}

/// What an entity does with the answer: which component it is, in which epoch, and the key of their session.
///
/// `None` if the answer is not one of the group's components to this challenge.
pub fn greeted(
    group: &Group,
    secret: &KemSecret,
    challenge: &[u8; 32],
    answer: &[u8; CALL_BYTES],
) -> Option<(Index, Epoch, Channel)> {
    let (head, rest) = answer.split_first_chunk::<CALL_HEADER_BYTES>()?;
    if read_call_header(head)?.0 != Kind::Hello {
        return None;
    }
    let mut from = Reader::new(rest);
    let (index, epoch) = (Index::new(usize::from(from.u8()?))?, Epoch(from.u32()?));
    let own = KemPublic::from_bytes(&from.take()?).ok()?;
    let signature = Signature::from_bytes(from.take()?);
    from.end()?;
    let greeting = Greeting { index, epoch, own, public: secret.public(), challenge: *challenge };
    let key: &VerifyingKey = &group.member(index)?.signing;
    key.verify(HELLO_LABEL, &[group.id(), &greeting.bytes()], &signature).ok()?;
    Some((index, epoch, Channel::new(secret, &own, group, challenge)?))
}
