//! Attacks on sites: on the ring between them, by machines that are none of them, and by programs at their doors.

use std::time::Duration;

use anyhow::Context;
use bytes::BytesMut;
use rand_core::Rng;
use ringfort_site::client::Door;
use ringfort_site::{Network, folder};
use ringfort_spread::client::{self, Received, Receiver};
use ringfort_spread::{ByteOrder, ConnectName, Kind, MESSAGE_BYTES_MAX, Name, REJECTED_BYTES_MAX};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::super::PATIENCE;
use super::super::sites::{NAMES, Sites, Talk};
use super::super::stage::Stage;
use super::super::trial::Books;
use crate::scenario::Outcome;

/// How long sites may take to find each other again once a network is mended; the machine may be busy.
const MEND_WITHIN: Duration = Duration::from_secs(20);

/// Three sites in one ring, with an honest program at each.
struct Town {
    sites: Sites,
    _dir: TempDir,
}

impl Town {
    async fn open(stage: &Stage) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("ringfort-demo-").tempdir()?;
        let mut sites = Sites::set(dir.path(), stage.program()).await?;
        for place in 0..NAMES.len() {
            sites.start(place).await?;
        }
        sites.together(&[0, 1, 2], PATIENCE).await?;
        Ok(Town { sites, _dir: dir })
    }

    fn rings(&self) -> u64 {
        (0..NAMES.len()).filter_map(|place| Some(self.sites.report(place)?.rings)).sum()
    }

    fn refused(&self) -> u64 {
        (0..NAMES.len()).filter_map(|place| Some(self.sites.report(place)?.datagrams_refused)).sum()
    }
}

/// What everybody must have been given.
async fn ends_well(books: &mut Books, talk: Talk) {
    let told = talk.end().await;
    books.expect(told.sent > 0, format!("{} honest messages sent meanwhile", told.sent));
    books.none(told.lost, "of them lost");
    books.none(told.other_order, "programs that were given them in another order");
    books.none(told.forged, "forged messages delivered");
}

/// Datagrams come again, altered, cut short, at another site, in the other direction, and made up.
pub async fn ring_datagrams(stage: &Stage) -> anyhow::Result<Outcome> {
    let mut books = Books::default();
    let town = Town::open(stage).await?;
    let talk = Talk::begin(&town.sites).await?;
    talk.goes_on(&[0, 1, 2], 50).await?;
    let (rings, refused) = (town.rings(), town.refused());
    let wires = town.sites.wires();
    let (mut replayed, mut altered, mut moved, mut made_up) = (0, 0, 0, 0);
    let mut rng = ringfort_documents::os_rng();
    for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 0)] {
        for (number, seen) in wires.seen(from, to).into_iter().enumerate().take(150) {
            wires.inject(to, &seen.bytes).await?;
            replayed += 1;
            let mut wrong = seen.bytes.clone();
            if let Some(byte) = wrong.get_mut(number % seen.bytes.len().max(1)) {
                *byte ^= 1 << (number % 8);
            }
            wires.inject(to, &wrong).await?;
            let short = number % seen.bytes.len().max(1);
            wires.inject(to, seen.bytes.get(..short).unwrap_or_default()).await?;
            altered += 2;
            // To the third site, and back to where it comes from.
            wires.inject(3 - from - to, &seen.bytes).await?;
            wires.inject(from, &seen.bytes).await?;
            moved += 2;
            let mut noise = vec![0; 1 + (number * 397) % 60_000];
            rng.fill_bytes(&mut noise);
            wires.inject(to, &noise).await?;
            made_up += 1;
            if number % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
    books.made("datagrams sent again", replayed);
    books.made("altered or cut short", altered);
    books.made("led astray", moved);
    books.made("made up", made_up);
    talk.goes_on(&[0, 1, 2], 50).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let seen = town.refused() - refused;
    books.expect(seen > replayed, format!("{seen} datagrams refused"));
    books.expect(town.rings() == rings, "no ring ended");
    ends_well(&mut books, talk).await;
    town.sites.close().await;
    Ok(books.outcome())
}

/// A machine that has everything of a site but its key takes its place.
pub async fn ring_wrong_key(stage: &Stage) -> anyhow::Result<Outcome> {
    let mut books = Books::default();
    let mut town = Town::open(stage).await?;
    // The first site calls the others; the last one is called.
    for (place, told) in [(0, "does not accept this site's key"), (2, "does not hold its key")] {
        let others: Vec<usize> = (0..NAMES.len()).filter(|other| *other != place).collect();
        town.sites.kill(place).await;
        town.sites.together(&others, PATIENCE).await?;
        let false_folder = impostor(&town.sites, place)?;
        town.sites.start_from(place, &false_folder).await?;
        books.made(&format!("machine in the place of {}", NAMES.get(place).unwrap_or(&"")), 1);
        let sites = &town.sites;
        // Whoever calls learns it: the impostor itself, or the true sites.
        let asked = if place == 0 { false_folder.clone() } else { sites.folder(0) };
        let said = super::until(PATIENCE, || {
            let report = ringfort_site::status::ask(&asked).ok();
            report.is_some_and(|report| report.unreachable.iter().any(|site| site.why.contains(told)))
        });
        books.expect(said.await, format!("it is said that the other end {told}"));
        books.expect(keep_their_ring(sites, &others).await, "the true sites keep their ring while the false one calls");
        let alone = ringfort_site::status::ask(&false_folder).ok();
        let alone = alone.is_some_and(|report| report.ring.len() < 2);
        books.expect(alone, "the false one is in no ring with anybody");
        town.sites.kill(place).await;
        town.sites.start(place).await?;
        let back = town.sites.together(&[0, 1, 2], MEND_WITHIN).await.is_ok();
        books.expect(back, "the true one comes back");
    }
    let talk = Talk::begin(&town.sites).await?;
    talk.goes_on(&[0, 1, 2], 20).await?;
    ends_well(&mut books, talk).await;
    town.sites.close().await;
    Ok(books.outcome())
}

/// Whether these sites are in one ring, and the same, for a second. On a machine that lets them wait too long a ring ends without any
/// attack, so a second that is spoilt is followed by another.
async fn keep_their_ring(sites: &Sites, places: &[usize]) -> bool {
    let ring = || {
        let report = places.first().and_then(|place| sites.report(*place));
        report.filter(|_| sites.are_together(places)).map(|report| report.ring_number)
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline {
        let before = ring();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if before.is_some() && before == ring() {
            return true;
        }
    }
    false
}

/// A folder with the name and address of a site, a key of its own, and the others as they are.
fn impostor(sites: &Sites, place: usize) -> anyhow::Result<std::path::PathBuf> {
    let name = NAMES.get(place).context("there are three sites")?;
    let path = sites.folder(place).with_file_name(format!("false-{name}"));
    let address = sites.wires().addresses().get(place).context("its address")?.to_string();
    let mut seed = [0; 32];
    ringfort_documents::os_rng().fill_bytes(&mut seed);
    let own = folder::create(&path, name, &address, seed)?;
    let mut cards = vec![own];
    for other in (0..NAMES.len()).filter(|other| *other != place) {
        cards.push(folder::read_card(&sites.folder(other))?);
    }
    folder::install_network(&path, &Network::new("plant".to_owned(), cards)?)?;
    Ok(path)
}

/// A connection to a site's door that says whatever it likes.
struct Rude {
    stream: UnixStream,
    receiver: Receiver,
}

impl Rude {
    async fn connect(sites: &Sites) -> anyhow::Result<Self> {
        let Door::Unix(path) = sites.door(0) else { anyhow::bail!("a unix socket") };
        Ok(Rude { stream: UnixStream::connect(path).await?, receiver: Receiver::default() })
    }

    /// In, under a name that the site makes up. Its bytes come one by one if asked for.
    async fn enter(sites: &Sites, slowly: bool) -> anyhow::Result<(Self, Name)> {
        let mut rude = Rude::connect(sites).await?;
        for part in [client::hello(None::<ConnectName>, true), client::null_method()] {
            let chunk = if slowly { 1 } else { part.len() };
            for bytes in part.chunks(chunk) {
                rude.stream.write_all(bytes).await?;
                if slowly {
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
            }
        }
        loop {
            if let Some(Received::Opened(name)) = rude.next().await? {
                return Ok((rude, name));
            }
        }
    }

    /// What comes next; `None` when the site has hung up.
    async fn next(&mut self) -> anyhow::Result<Option<Received>> {
        let mut chunk = BytesMut::with_capacity(64 * 1024);
        loop {
            if let Some(received) = self.receiver.poll()? {
                return Ok(Some(received));
            }
            chunk.clear();
            match tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut chunk)).await? {
                Ok(0) | Err(_) => return Ok(None),
                Ok(_) => self.receiver.feed(&chunk),
            }
        }
    }

    /// Sends bytes; whether the site hangs up then.
    async fn hung_up_on(mut self, bytes: &[u8]) -> anyhow::Result<bool> {
        // The site may hang up before all of it is written.
        let _ = self.stream.write_all(bytes).await;
        loop {
            if self.next().await?.is_none() {
                return Ok(true);
            }
        }
    }
}

/// Messages that no client may send, each with what is wrong.
fn forbidden(me: &Name) -> anyhow::Result<Vec<(&'static str, Vec<u8>)>> {
    let group = [Name::new(b"talk")?];
    let message = |kind: Kind, name: &Name| client::message(ByteOrder::Little, kind, name, &group, 0, b"x").to_vec();
    let agreed = message(Kind::AGREED, me);
    let with = |place: usize, number: i32| {
        let mut bytes = agreed.clone();
        for (to, from) in bytes.iter_mut().skip(place).zip(number.to_le_bytes()) {
            *to = from;
        }
        bytes
    };
    Ok(vec![
        ("two services", message(Kind::AGREED.and(Kind::SAFE), me)),
        ("no service", message(Kind(0), me)),
        ("a join and a leave", message(Kind::JOIN.and(Kind::LEAVE), me)),
        ("a service and a request", message(Kind::AGREED.and(Kind::JOIN), me)),
        ("a view of its own making", message(Kind::REGULAR.and(Kind::AGREED), me)),
        ("daemons' groups", message(Kind(0x8_0000 | Kind::AGREED.0), me)),
        ("another's name", message(Kind::AGREED, &Name::new(b"#north#north")?)),
        ("more groups than there may be", with(36, 101)),
        ("less than no groups", with(36, -1)),
        ("less than no bytes", with(44, -1)),
        ("two thousand million bytes", with(44, i32::MAX)),
        (
            "a name without an end",
            agreed.iter().enumerate().map(|(at, b)| if (4..36).contains(&at) { b'x' } else { *b }).collect(),
        ),
        ("a hint with foreign bits", with(40, -1)),
    ])
}

/// Programs at a site's door send what no program should.
pub async fn client_garbage(stage: &Stage) -> anyhow::Result<Outcome> {
    let mut books = Books::default();
    let town = Town::open(stage).await?;
    let talk = Talk::begin(&town.sites).await?;
    let process = town.sites.process(0);
    let rings = town.rings();
    let (_, name) = Rude::enter(&town.sites, false).await?;
    let kinds = forbidden(&name)?;
    let mut ended = 0;
    for number in 0..kinds.len() {
        let (rude, name) = Rude::enter(&town.sites, number % 2 == 0).await?;
        let (what, bytes) = forbidden(&name)?.swap_remove(number);
        let hung_up = rude.hung_up_on(&bytes).await?;
        ended += u64::from(hung_up);
        books.expect(hung_up, format!("the session ends after {what}"));
    }
    books.made("sessions that said what no client may", ended);
    let too_large = too_large(&mut books, &town.sites).await?;
    books.made("messages too large by a byte", too_large);
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(Rude::connect(&town.sites).await?);
    }
    let mut rng = ringfort_documents::os_rng();
    let mut noises = 0;
    for length in 0..300 {
        let mut rude = Rude::connect(&town.sites).await?;
        let mut noise = vec![0; 1 + length * 61 % 4000];
        rng.fill_bytes(&mut noise);
        // What the site has hung up on takes no more.
        let _ = rude.stream.write_all(&noise).await;
        noises += 1;
    }
    books.made("connections that say noise", noises);
    books.made("connections that say nothing", silent.len() as u64);
    let entered = Rude::enter(&town.sites, true).await.is_ok();
    books.expect(entered, "a slow hello is let in beside them");
    talk.goes_on(&[0, 1, 2], 100).await?;
    drop(silent);
    books.expect(town.sites.process(0) == process && town.sites.report(0).is_some(), "the site's process is the same");
    books.expect(town.rings() == rings, "no ring ended");
    ends_well(&mut books, talk).await;
    town.sites.close().await;
    Ok(books.outcome())
}

/// The largest message passes, the next larger one comes back, and a much larger one ends the session.
async fn too_large(books: &mut Books, sites: &Sites) -> anyhow::Result<u64> {
    let (mut rude, me) = Rude::enter(sites, false).await?;
    let nobody = [Name::new(b"nobody")?];
    let sized = |bytes: usize| client::message(ByteOrder::Little, Kind::AGREED, &me, &nobody, 0, &vec![7; bytes]);
    let largest = MESSAGE_BYTES_MAX - ringfort_spread::NAME_BYTES;
    rude.stream.write_all(&sized(largest)).await?;
    rude.stream.write_all(&sized(largest + 1)).await?;
    let came_back = matches!(rude.next().await?, Some(Received::Rejected { data, .. }) if data.len() == largest + 1);
    books.expect(came_back, "a message that is too large by a byte comes back, and the largest does not");
    let hung_up = rude.hung_up_on(&sized(REJECTED_BYTES_MAX)).await?;
    books.expect(hung_up, "and a larger one ends the session");
    Ok(1)
}
