//! What entities ask and are answered: 256 bytes each way, whatever is asked.
//!
//! ```text
//!  version 1 | kind 1 | 0 0 | number 8 |      body 228      | tag 16
//! ```
//!
//! The first request authenticates, in clear: the answer is signed. All others are sealed under the key that it
//! established, numbered, and answered under the same number. The entity's half of the format is in [`super::asking`].

use super::bytes::{Reader, Writer};
use super::ids::{Block, COMPONENTS_MAX, Decision, Entity, Epoch, Index, Mask, Tag};
use super::instance::Terms;

/// Bytes of a request, and of an answer.
pub const CALL_BYTES: usize = 256;
/// Of them, what is in front of the body.
pub const CALL_HEADER_BYTES: usize = 12;
/// Of them, what a call says.
pub const CALL_BODY_BYTES: usize = CALL_BYTES - CALL_HEADER_BYTES - 16;
const VERSION: u8 = 1;

/// What a request or an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Local authentication and its answer, in clear.
    Hello = 0,
    /// Sealed.
    Sealed = 1,
    /// An answer in clear that says that the request was not read: no session, or not authentic.
    Unread = 2,
    /// An answer in clear that says that this user asks too much.
    Busy = 3,
}

/// The front of a request or an answer.
pub fn call_header(kind: Kind, number: u64) -> [u8; CALL_HEADER_BYTES] {
    let mut bytes = [0; CALL_HEADER_BYTES];
    let mut to = Writer::new(&mut bytes);
    to.put(&[VERSION, kind as u8, 0, 0]);
    to.put(&number.to_le_bytes());
    bytes
}

/// Kind and number of a request or an answer.
pub fn read_call_header(bytes: &[u8; CALL_HEADER_BYTES]) -> Option<(Kind, u64)> {
    let mut from = Reader::new(bytes);
    let kind = match from.take::<4>()? {
        [VERSION, 0, 0, 0] => Kind::Hello,
        [VERSION, 1, 0, 0] => Kind::Sealed,
        [VERSION, 2, 0, 0] => Kind::Unread,
        [VERSION, 3, 0, 0] => Kind::Busy,
        _ => return None,
    };
    Some((kind, from.u64()?))
}

/// A function that the component executes by itself, from the list that it was compiled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Signs that the moment had come, over the caller's hash.
    Token,
    /// Writes an alarm to the component's output and counts it.
    Alarm,
}

/// What an entity asks. Times are in the group's time, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// How the component is (F3, F5).
    Status,
    /// 64 random bytes (F4).
    Random,
    /// The time, for a hash (F5, F10).
    Timestamp(Block),
    /// Takes part in an agreement with this block (F6, F7, F9).
    Propose(Terms, Block),
    /// What came of it.
    Decide(Tag),
    /// What the entity at one component proposed in it, if that counted.
    BlockOf(Tag, Index),
    /// Starts to measure a duration (F1).
    StartMeasure,
    /// Ends it.
    StopMeasure(u8),
    /// Executes a function in this interval, or not at all (F2).
    Execute(Function, u64, u64, Block),
    /// What came of it.
    Executed(u8),
    /// Watches that something is done by this moment (F3).
    Watch(u64),
    /// It is done.
    Done(u8),
    /// Whether it was.
    Watched(u8),
}

/// How a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Which one it is.
    pub me: Index,
    /// How many there are.
    pub count: u8,
    /// Whether it hears a majority and has kept its rounds.
    pub timely: bool,
    /// The group's time.
    pub now_us: u64,
    /// The bound on its error; `None` if the clock is not synchronised.
    pub error_us: Option<u64>,
    /// Which components it hears, itself included.
    pub heard: Mask,
    /// Their epochs; 0 of those that were never heard.
    pub epochs: [Epoch; COMPONENTS_MAX],
    /// How often it missed rounds.
    pub gaps: u32,
    /// The longest time between two rounds, in microseconds.
    pub gap_us_max: u64,
    /// Frames that did not count.
    pub refused: u64,
    /// Of them, those of another start with an epoch that is taken: a key file is on two hosts.
    pub clones: u64,
    /// Alarms that were raised.
    pub alarms: u64,
}

/// What came of an agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which one.
    pub tag: Tag,
    /// The result, if there is one.
    pub block: Option<Block>,
    /// Whose entities proposed.
    pub proposed_any: Mask,
    /// Whose proposed the result.
    pub proposed_ok: Mask,
    /// Whose proposed another block about the same.
    pub deviant: Mask,
    /// Whose proposed a block about something else.
    pub elsewhere: Mask,
    /// Whose proposed nothing that counts.
    pub silent: Mask,
    /// It was known after the deadline. It is right all the same.
    pub late: bool,
    /// From its start until it was known here, in microseconds; 0 if all had proposed before the start.
    pub latency_us: u32,
}

const VERDICT_BYTES: usize = 16 + 1 + 32 + 5 * 2 + 1 + 4;

impl Verdict {
    /// As it is signed and answered.
    pub fn encode(&self) -> [u8; VERDICT_BYTES] {
        let mut bytes = [0; VERDICT_BYTES];
        let mut to = Writer::new(&mut bytes);
        to.put(&self.tag);
        to.put(&[self.block.is_some().into()]);
        to.put(&self.block.unwrap_or_default());
        for mask in [self.proposed_any, self.proposed_ok, self.deviant, self.elsewhere, self.silent] {
            to.put(&mask.bits().to_le_bytes());
        }
        to.put(&[self.late.into()]);
        to.put(&self.latency_us.to_le_bytes());
        bytes
    }
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no call.
    #[error("the request is none that this component knows")]
    Malformed = 1,
    /// The clock is not set, or too few are heard to know how good it is.
    #[error("the component's clock is not synchronised: it hears too few others")]
    NotSynchronised = 2,
    /// The agreement has started.
    #[error("the agreement has started, and proposals no longer count")]
    TooLate = 3,
    /// Too far ahead.
    #[error("the time is too far ahead")]
    TooFar = 4,
    /// No room, or this user's share is used up.
    #[error("no room: this user has too much open, or all users together have")]
    Full = 5,
    /// Another block was proposed before.
    #[error("another block was proposed for this entity before")]
    AlreadyProposed = 6,
    /// The caller is not among the entities listed, or not in this epoch.
    #[error("the list does not name this entity, in this epoch of its component")]
    NotListed = 7,
    /// There is no such thing, or it is forgotten.
    #[error("nothing is known of it, or no more")]
    Unknown = 8,
}

/// What becomes of something that has to be done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// The moment has not come.
    Pending = 0,
    /// It was done in time.
    Met = 1,
    /// It was not, or the component cannot say that it was.
    Failed = 2,
}

/// A component's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Call::Status`].
    Status(Status),
    /// To [`Call::Random`].
    Random([u8; 64]),
    /// To [`Call::Timestamp`]: the time, the bound on its error, the signature.
    Timestamp(u64, u64, [u8; 64]),
    /// To [`Call::Propose`]: the agreement's name.
    Proposed(Tag),
    /// It is not decided, and not late.
    Pending,
    /// It is not decided in time here, or this component cannot tell the time. What comes later is told as late.
    TimingFailure,
    /// To [`Call::Decide`]: with the signature.
    Decided(Verdict, [u8; 64]),
    /// To [`Call::BlockOf`]: `None` if it proposed none that counted.
    BlockOf(Option<Block>),
    /// To what opens something: by this handle it is asked for.
    Handle(u8),
    /// To [`Call::StopMeasure`]: the duration and the bound on its error, in nanoseconds.
    Measured(u64, u64),
    /// To [`Call::Executed`]: when it was, and the token's signature, zero for others.
    Executed(Timing, u64, [u8; 64]),
    /// To [`Call::Done`] and [`Call::Watched`].
    Watched(Timing),
    /// Not done, and why.
    Refused(Refusal),
}

pub(super) type CallBody = [u8; CALL_BODY_BYTES];

impl Call {
    /// The call of these bytes; `None` if they are none.
    pub fn decode(bytes: &CallBody) -> Option<Self> {
        let mut from = Reader::new(bytes);
        let call = match from.u8()? {
            1 => Call::Status,
            2 => Call::Random,
            3 => Call::Timestamp(from.take()?),
            4 => {
                let decision = Decision::from_code(from.u8()?)?;
                let (start_us, name, listed) = (from.u64()?, from.u64()?, Mask::from_bits(from.u16()?)?);
                let mut entities = [Entity::default(); COMPONENTS_MAX];
                for (index, entity) in Index::all().zip(&mut entities) {
                    *entity = Entity { epoch: Epoch(from.u32()?), key: from.take()? };
                    if !listed.has(index) && *entity != Entity::default() {
                        return None;
                    }
                }
                Call::Propose(Terms { decision, start_us, name, listed, entities }, from.take()?)
            }
            5 => Call::Decide(from.take()?),
            6 => Call::BlockOf(from.take()?, Index::new(usize::from(from.u8()?))?),
            7 => Call::StartMeasure,
            8 => Call::StopMeasure(from.u8()?),
            9 => {
                let function = match from.u8()? {
                    0 => Function::Token,
                    1 => Function::Alarm,
                    _ => return None,
                };
                Call::Execute(function, from.u64()?, from.u64()?, from.take()?)
            }
            10 => Call::Executed(from.u8()?),
            11 => Call::Watch(from.u64()?),
            12 => Call::Done(from.u8()?),
            13 => Call::Watched(from.u8()?),
            _ => return None,
        };
        from.end()?;
        Some(call)
    }
}

impl Status {
    fn encode(&self, to: &mut Writer<'_>) {
        to.put(&[self.me.get(), self.count, self.timely.into()]);
        to.put(&self.now_us.to_le_bytes());
        to.put(&self.error_us.map_or(0, |error| error.saturating_add(1)).to_le_bytes());
        to.put(&self.heard.bits().to_le_bytes());
        self.epochs.iter().for_each(|epoch| to.put(&epoch.0.to_le_bytes()));
        to.put(&self.gaps.to_le_bytes());
        [self.gap_us_max, self.refused, self.clones, self.alarms]
            .iter()
            .for_each(|number| to.put(&number.to_le_bytes()));
    }
}

impl Reply {
    /// As it is sealed.
    pub fn encode(&self) -> CallBody {
        let mut bytes = [0; CALL_BODY_BYTES];
        let mut to = Writer::new(&mut bytes);
        match self {
            Reply::Status(status) => {
                to.put(&[1]);
                status.encode(&mut to);
            }
            Reply::Random(random) => {
                to.put(&[2]);
                to.put(random);
            }
            Reply::Timestamp(time, error, signature) => {
                to.put(&[3]);
                to.put(&time.to_le_bytes());
                to.put(&error.to_le_bytes());
                to.put(signature);
            }
            Reply::Proposed(tag) => {
                to.put(&[4]);
                to.put(tag);
            }
            Reply::Pending => to.put(&[5]),
            Reply::TimingFailure => to.put(&[6]),
            Reply::Decided(verdict, signature) => {
                to.put(&[7]);
                to.put(&verdict.encode());
                to.put(signature);
            }
            Reply::BlockOf(block) => {
                to.put(&[8, block.is_some().into()]);
                to.put(&block.unwrap_or_default());
            }
            Reply::Handle(handle) => to.put(&[9, *handle]),
            Reply::Measured(duration, error) => {
                to.put(&[10]);
                to.put(&duration.to_le_bytes());
                to.put(&error.to_le_bytes());
            }
            Reply::Executed(timing, at, signature) => {
                to.put(&[11, *timing as u8]);
                to.put(&at.to_le_bytes());
                to.put(signature);
            }
            Reply::Watched(timing) => to.put(&[12, *timing as u8]),
            Reply::Refused(refusal) => to.put(&[13, *refusal as u8]),
        }
        bytes
    }
}

/// Whether an answer says that its user asks too much.
pub fn is_busy(answer: &[u8; CALL_BYTES]) -> bool {
    answer.first_chunk().and_then(read_call_header).is_some_and(|(kind, _)| kind == Kind::Busy)
}

/// A message of local authentication in clear: its fields, then zeros.
pub fn clear(kind: Kind, number: u64, fields: &[&[u8]]) -> [u8; CALL_BYTES] {
    let mut bytes = [0; CALL_BYTES];
    let mut to = Writer::new(&mut bytes);
    to.put(&call_header(kind, number));
    fields.iter().for_each(|field| to.put(field));
    bytes
}
