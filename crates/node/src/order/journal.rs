//! What an ordering leader must not forget, in files that are only ever appended to.
//!
//! `state/order/` holds segments: `00000001.seg` and on. A record is durable when [`Journal::sync`] returns. The check of each
//! covers the check before it, so a record that is cut, changed or taken from another place ends what is read. A certified
//! state begins a new segment; older ones go once none of their blocks is needed.
//!
//! Setup makes the first segment. A folder without one, or with one that broke off before its end, is a memory that is lost:
//! the leader then asks the others how far it may have come.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_agreement::agreement::Memory;
use ringfort_agreement::block::Block;
use ringfort_agreement::checkpoint::Certificate;
use ringfort_agreement::{Digest, Record};

const MAGIC: &[u8; 8] = b"RForder1";
const CHECK_PURPOSE: &str = "ringfort order journal v1";
const CHECK_BYTES: usize = 16;
const HEAD_BYTES: usize = 4 + CHECK_BYTES;
/// A state with its certificate is the largest record.
const RECORD_BYTES_MAX: usize = ringfort_agreement::limits::STATE_BYTES_MAX + 1024 * 1024;
/// What is gathered before it is written, without waiting for it to be durable.
const GATHERED_BYTES: usize = 1024 * 1024;

type Check = [u8; CHECK_BYTES];

/// The files of one leader.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    epoch: Digest,
    file: File,
    number: u64,
    check: Check,
    gathered: Vec<u8>,
    /// Whether something was written and may not be durable.
    dirty: bool,
    /// The highest round of a block in the newest segment.
    highest: u64,
    /// Older segments, each with the highest round of a block in it.
    older: VecDeque<(u64, u64)>,
}

/// What opening found.
#[derive(Debug)]
pub struct Opened {
    /// For what is to be kept from now on.
    pub journal: Journal,
    /// What was kept.
    pub memory: Memory,
}

impl Journal {
    /// Makes the files of a leader that has never run: in a new folder at `folder`.
    pub fn create(folder: &Path, epoch: Digest) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(folder)?;
        Segment::create(folder, 1, epoch)?.0.sync_all()?;
        sync_folder(folder)
    }

    /// Opens them, and reads what was kept.
    pub fn open(folder: &Path, epoch: Digest) -> io::Result<Opened> {
        if !folder.is_dir() {
            DirBuilder::new().mode(0o700).create(folder)?;
        }
        let numbers = segments(folder)?;
        let numbers = without_unborn(folder, numbers)?;
        match read_all(folder, &numbers, epoch)? {
            Some(read) => {
                let Kept { records, mut journal, is_new } = read;
                journal.folder = folder.to_owned();
                let memory = if is_new { Memory::New } else { Memory::Kept(records) };
                Ok(Opened { journal, memory })
            }
            None => Self::begin_anew(folder, &numbers, epoch),
        }
    }

    /// What was kept cannot be used. It goes once what is written in its place says so.
    fn begin_anew(folder: &Path, numbers: &[u64], epoch: Digest) -> io::Result<Opened> {
        let number = numbers.last().map_or(1, |last| last + 1);
        let (file, check) = Segment::create(folder, number, epoch)?;
        let older = numbers.iter().map(|number| (*number, 0)).collect();
        let mut journal = Journal::on(folder, epoch, (file, number, check), older);
        journal.append(&[Record::MadeUpTo(None)])?;
        journal.sync()?;
        sync_folder(folder)?;
        journal.drop_to(u64::MAX)?;
        Ok(Opened { journal, memory: Memory::Lost })
    }

    fn on(folder: &Path, epoch: Digest, newest: (File, u64, Check), older: VecDeque<(u64, u64)>) -> Self {
        let (file, number, check) = newest;
        Journal {
            folder: folder.to_owned(),
            epoch,
            file,
            number,
            check,
            gathered: Vec::new(),
            dirty: false,
            highest: 0,
            older,
        }
    }

    /// Takes records. They are durable after the next [`Journal::sync`].
    pub fn append(&mut self, records: &[Record]) -> io::Result<()> {
        for record in records {
            if let Record::Checkpoint { floor, .. } = record {
                self.begin_segment()?;
                self.put(record)?;
                self.sync()?;
                // Durable, name and all, before what it stands for goes.
                sync_folder(&self.folder)?;
                self.drop_to(*floor)?;
            } else {
                self.put(record)?;
            }
        }
        Ok(())
    }

    /// Makes durable what was appended. Says whether anything had to be.
    pub fn sync(&mut self) -> io::Result<bool> {
        self.write()?;
        let had = std::mem::take(&mut self.dirty);
        if had {
            self.file.sync_data()?;
        }
        Ok(had)
    }

    fn put(&mut self, record: &Record) -> io::Result<()> {
        if let Record::Block(block) = record {
            self.highest = self.highest.max(block.body.round);
        }
        self.check = encode(&mut self.gathered, record, &self.check)?;
        if self.gathered.len() >= GATHERED_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        if !self.gathered.is_empty() {
            self.file.write_all(&self.gathered)?;
            self.gathered.clear();
            self.gathered.shrink_to(4 * GATHERED_BYTES);
            self.dirty = true;
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.sync()?;
        let number = self.number + 1;
        let (file, check) = Segment::create(&self.folder, number, self.epoch)?;
        self.older.push_back((self.number, self.highest));
        (self.file, self.number, self.check, self.highest, self.dirty) = (file, number, check, 0, true);
        Ok(())
    }

    /// Older segments whose blocks are all of rounds up to `floor` go, oldest first.
    fn drop_to(&mut self, floor: u64) -> io::Result<()> {
        while let Some((number, _)) = self.older.front().filter(|(_, highest)| *highest <= floor) {
            fs::remove_file(path_of(&self.folder, *number))?;
            self.older.pop_front();
        }
        Ok(())
    }
}

struct Segment;

impl Segment {
    fn create(folder: &Path, number: u64, epoch: Digest) -> io::Result<(File, Check)> {
        let path = path_of(folder, number);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let head = [&MAGIC[..], &epoch.0, &number.to_le_bytes()].concat();
        file.write_all(&head)?;
        Ok((file, check_of(&head)))
    }
}

fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.seg"))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn segments(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|name| name.strip_suffix(".seg")).and_then(|name| name.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A crash as a segment was made leaves one whose head is cut: nothing in it was ever durable.
fn without_unborn(folder: &Path, mut numbers: Vec<u64>) -> io::Result<Vec<u64>> {
    if let [.., _, newest] = numbers.as_slice()
        && fs::metadata(path_of(folder, *newest))?.len() < (MAGIC.len() + 40) as u64
    {
        fs::remove_file(path_of(folder, *newest))?;
        numbers.pop();
    }
    Ok(numbers)
}

fn check_of(bytes: &[u8]) -> Check {
    Digest::of(CHECK_PURPOSE, bytes).0.first_chunk().copied().unwrap_or_default()
}

/// Appends a record's length, check and bytes. The check is over the length, the check before it and the bytes.
fn encode(into: &mut Vec<u8>, record: &Record, before: &Check) -> io::Result<Check> {
    let start = into.len();
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(before);
    match record {
        Record::Block(block) => {
            into.push(0);
            block.as_ref().serialize(into)?;
        }
        Record::MadeUpTo(round) => {
            into.push(1);
            round.serialize(into)?;
        }
        Record::Checkpoint { certificate, state, made_up_to, floor } => {
            into.push(2);
            (certificate, made_up_to, floor).serialize(into)?;
            into.extend_from_slice(state);
        }
    }
    let length = u32::try_from(into.len() - start - HEAD_BYTES).map_err(|_| io::ErrorKind::InvalidInput)?;
    let whole = into.get_mut(start..).unwrap_or_default();
    whole.iter_mut().zip(length.to_le_bytes()).for_each(|(to, from)| *to = from);
    let check = check_of(whole);
    whole.iter_mut().skip(4).zip(check).for_each(|(to, from)| *to = from);
    Ok(check)
}

/// The next record of a segment, with its length and check; `None` where the bytes are none.
fn decode(bytes: &mut [u8], before: &Check) -> Option<(Record, usize, Check)> {
    let length = u32::from_le_bytes(*bytes.first_chunk::<4>()?) as usize;
    let whole = bytes.get_mut(..HEAD_BYTES.checked_add(length)?).filter(|_| length <= RECORD_BYTES_MAX)?;
    let told: Check = whole.get(4..HEAD_BYTES)?.try_into().ok()?;
    whole.iter_mut().skip(4).zip(before).for_each(|(to, from)| *to = *from);
    let check = check_of(whole);
    if check != told {
        return None;
    }
    let (kind, mut rest) = whole.get(HEAD_BYTES..)?.split_first()?;
    let record = match kind {
        0 => Record::Block(Arc::new(borsh::from_slice::<Block>(rest).ok()?)),
        1 => Record::MadeUpTo(borsh::from_slice(rest).ok()?),
        2 => {
            let (certificate, made_up_to, floor) = <(Certificate, Option<u64>, u64)>::deserialize(&mut rest).ok()?;
            Record::Checkpoint { certificate, state: rest.to_vec().into(), made_up_to, floor }
        }
        _ => return None,
    };
    Some((record, HEAD_BYTES + length, check))
}

struct Kept {
    records: Vec<Record>,
    journal: Journal,
    is_new: bool,
}

/// Reads all segments; `None` if what was kept cannot be used.
fn read_all(folder: &Path, numbers: &[u64], epoch: Digest) -> io::Result<Option<Kept>> {
    let Some((newest, older)) = numbers.split_last() else { return Ok(None) };
    let follow = numbers.windows(2).all(|pair| matches!(pair, [a, b] if a + 1 == *b));
    let (mut records, mut ends) = (Vec::new(), VecDeque::new());
    for number in older {
        match read_segment(folder, *number, epoch)? {
            Some(read) if read.is_whole => {
                ends.push_back((*number, highest_round(&read.records)));
                records.extend(read.records);
            }
            _ => return Ok(None),
        }
    }
    let Some(read) = read_segment(folder, *newest, epoch)?.filter(|_| follow) else { return Ok(None) };
    // What a crash cut was never sent.
    let file = OpenOptions::new().append(true).open(path_of(folder, *newest))?;
    file.set_len(read.length)?;
    file.sync_all()?;
    // Deleting oldest first may have been cut short, but the first checkpoint is in some segment, unless all is kept.
    let begins = numbers.first() == Some(&1) || records.iter().chain(&read.records).any(is_beginning);
    if !begins {
        return Ok(None);
    }
    let mut journal = Journal::on(folder, epoch, (file, *newest, read.check), ends);
    journal.highest = highest_round(&read.records);
    records.extend(read.records);
    let is_new = records.is_empty() && numbers == [1];
    Ok(Some(Kept { records, journal, is_new }))
}

fn is_beginning(record: &Record) -> bool {
    matches!(record, Record::Checkpoint { .. } | Record::MadeUpTo(_))
}

fn highest_round(records: &[Record]) -> u64 {
    let round = |record: &Record| if let Record::Block(block) = record { block.body.round } else { 0 };
    records.iter().map(round).max().unwrap_or(0)
}

struct ReadSegment {
    records: Vec<Record>,
    check: Check,
    /// Bytes that are whole.
    length: u64,
    is_whole: bool,
}

fn read_segment(folder: &Path, number: u64, epoch: Digest) -> io::Result<Option<ReadSegment>> {
    let mut bytes = Vec::new();
    File::open(path_of(folder, number))?.read_to_end(&mut bytes)?;
    let head = [&MAGIC[..], &epoch.0, &number.to_le_bytes()].concat();
    if !bytes.starts_with(&head) {
        return Ok(None);
    }
    let (mut at, mut check, mut records) = (head.len(), check_of(&head), Vec::new());
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        let Some((record, length, next)) = decode(rest, &check) else { break };
        (at, check) = (at + length, next);
        records.push(record);
    }
    Ok(Some(ReadSegment { records, check, length: at as u64, is_whole: at == bytes.len() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfort_agreement::block::Body;

    const EPOCH: Digest = Digest([3; 32]);

    fn block(round: u64) -> Record {
        let body = Body {
            epoch: EPOCH,
            author: ringfort_agreement::Author::new(1).unwrap(),
            round,
            clock_us: 5,
            parents: Vec::new(),
            weak: Vec::new(),
            coin: None,
            evidence: Vec::new(),
            payload: vec![7; 100],
        };
        Record::Block(Arc::new(Block { body, signature: [9; 64] }))
    }

    fn checkpoint(round: u64, floor: u64) -> Record {
        let digest = Digest([1; 32]);
        let statement = ringfort_agreement::checkpoint::Statement {
            epoch: EPOCH,
            position: round,
            round,
            index: 1,
            head: digest,
            state: digest,
            state_bytes: 4,
        };
        let certificate = Certificate { statement, signatures: Vec::new() };
        Record::Checkpoint { certificate, state: vec![1, 2, 3, 4].into(), made_up_to: Some(round), floor }
    }

    fn made() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("order");
        Journal::create(&folder, EPOCH).unwrap();
        (dir, folder)
    }

    fn kept(folder: &Path) -> Vec<Record> {
        match Journal::open(folder, EPOCH).unwrap().memory {
            Memory::Kept(records) => records,
            other => panic!("{other:?}"),
        }
    }

    fn write(folder: &Path, records: &[Record]) {
        let mut journal = Journal::open(folder, EPOCH).unwrap().journal;
        journal.append(records).unwrap();
        journal.sync().unwrap();
    }

    #[test]
    fn what_was_synced_is_kept_in_order_over_any_number_of_starts() {
        let (_dir, folder) = made();
        assert!(matches!(Journal::open(&folder, EPOCH).unwrap().memory, Memory::New));
        for round in 1..6 {
            write(&folder, &[block(round)]);
        }
        assert_eq!(kept(&folder), (1..6).map(block).collect::<Vec<_>>());
    }

    #[test]
    fn a_write_that_is_cut_at_any_byte_leaves_what_was_before_it_and_what_follows_is_kept_too() {
        let (_dir, folder) = made();
        write(&folder, &[block(1), block(2)]);
        let path = path_of(&folder, 1);
        let before = fs::read(&path).unwrap();
        write(&folder, &[block(3)]);
        let whole = fs::read(&path).unwrap();
        for end in (before.len()..whole.len()).step_by(7) {
            fs::write(&path, &whole[..end]).unwrap();
            write(&folder, &[block(4)]);
            assert_eq!(kept(&folder), [block(1), block(2), block(4)], "cut at {end}");
        }
    }

    #[test]
    fn a_checkpoint_lets_segments_go_whose_blocks_are_not_needed_and_no_others() {
        let (_dir, folder) = made();
        write(&folder, &[block(1), block(2), checkpoint(2, 0), block(3), block(4)]);
        assert_eq!(segments(&folder).unwrap(), [1, 2]);
        assert_eq!(kept(&folder), [block(1), block(2), checkpoint(2, 0), block(3), block(4)]);
        write(&folder, &[checkpoint(4, 3), block(5)]);
        assert_eq!(segments(&folder).unwrap(), [2, 3], "block 4 is still needed");
        write(&folder, &[checkpoint(5, 4)]);
        assert_eq!(segments(&folder).unwrap(), [3, 4]);
        assert_eq!(kept(&folder), [checkpoint(4, 3), block(5), checkpoint(5, 4)]);
    }

    #[test]
    fn a_journal_that_is_missing_or_damaged_or_another_groups_is_lost_and_says_so_until_it_is_answered() {
        let lost = |damage: &dyn Fn(&Path)| {
            let (_dir, folder) = made();
            write(&folder, &[block(1), checkpoint(1, 0), block(2), checkpoint(2, 0), block(3)]);
            damage(&folder);
            assert!(matches!(Journal::open(&folder, EPOCH).unwrap().memory, Memory::Lost));
            assert_eq!(kept(&folder), [Record::MadeUpTo(None)], "also after a crash before anybody answered");
        };
        lost(&|folder| fs::remove_dir_all(folder).unwrap());
        lost(&|folder| fs::remove_file(path_of(folder, 2)).unwrap());
        lost(&|folder| {
            let path = path_of(folder, 2);
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).unwrap();
        });
        lost(&|folder| {
            let path = path_of(folder, 3);
            let mut bytes = fs::read(&path).unwrap();
            bytes[12] ^= 1;
            fs::write(&path, bytes).unwrap();
        });
    }

    #[test]
    fn a_crash_while_a_segment_is_made_loses_nothing() {
        let (_dir, folder) = made();
        write(&folder, &[block(1)]);
        for bytes in [&b""[..], b"RFord", MAGIC] {
            fs::write(path_of(&folder, 2), bytes).unwrap();
            assert_eq!(kept(&folder), [block(1)]);
        }
    }
}
