//! Slow receivers: bounded, named, and never in the way of others.

use tokio::time::Instant;

use super::outbox::{Batch, Outbox};
use super::pace::Asides;
use super::*;

/// Far more than a busy machine keeps a test from running.
const PATIENCE: Duration = Duration::from_secs(1);

fn small() -> LinkLimits {
    LinkLimits {
        control_queue_bytes_max: 128 * 1024,
        data_queue_bytes_max: 256 * 1024,
        patience: PATIENCE,
        close_grace: Duration::from_millis(100),
        ..LinkLimits::default()
    }
}

/// Sends data until the queue is above its mark and the socket takes no more.
async fn fill(sender: &LinkSender) {
    let mut refused = 0;
    while refused < 5 {
        if sender.send(Class::Data, frame(8000)) == Err(SendError::Full) {
            refused += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::task::yield_now().await;
    }
}

/// A link without a socket: nobody reads what it queues but the test. Where all links are of this kind, time is the runtime's own
/// and stands still while anybody works: what such a test finds says nothing of how busy the machine is.
fn unread(limits: LinkLimits) -> LinkSender {
    LinkSender { outbox: Outbox::new(limits, None) }
}

/// Takes the next frames off a queue, as if the peer had read them; how many bytes.
fn read_some(link: &LinkSender, batch: &mut Batch) -> usize {
    link.outbox.take(batch);
    let bytes = batch.frames.iter().map(Bytes::len).sum();
    link.outbox.progressed(bytes);
    link.outbox.written(batch);
    bytes
}

/// A link without a socket whose peer reads at most so many bytes a second, and what it did not read in time it does not make up for.
fn read_by_peer(bytes_per_s: usize, limits: LinkLimits) -> LinkSender {
    let link = unread(limits);
    let read_from = link.clone();
    tokio::spawn(async move {
        let (mut reads_until, mut batch) = (Instant::now(), Batch::default());
        loop {
            while !read_from.outbox.take(&mut batch) {
                read_from.outbox.work().await;
                reads_until = reads_until.max(Instant::now());
            }
            let bytes = batch.frames.iter().map(Bytes::len).sum::<usize>();
            reads_until += Duration::from_secs_f64(bytes as f64 / bytes_per_s as f64);
            tokio::time::sleep_until(reads_until).await;
            read_from.outbox.progressed(bytes);
            read_from.outbox.written(&mut batch);
        }
    });
    link
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_never_reads_stalls_and_costs_a_bounded_queue() {
    let sender = unread(small());
    while sender.send(Class::Data, frame(8000)).is_ok() {}
    assert!(!sender.is_stalled(), "not yet");
    let start = Instant::now();
    soon(sender.ready()).await;
    assert!(sender.is_stalled());
    assert!(start.elapsed() <= PATIENCE * 3 / 2, "{:?}", start.elapsed());
    for _ in 0..1000 {
        assert_eq!(sender.send(Class::Data, frame(8000)), Err(SendError::Full));
    }
    assert!(sender.queued_bytes() <= 256 * 1024);
    // Control has its own room.
    assert_eq!(sender.send(Class::Control, frame(100)), Ok(()));
    // Reading again heals it.
    let mut batch = Batch::default();
    while sender.is_stalled() {
        assert_ne!(read_some(&sender, &mut batch), 0, "all is read, and it is stalled");
    }
    assert!(sender.queued_bytes() <= 128 * 1024 + 64 * 1024);
    assert_eq!(sender.send(Class::Data, frame(8000)), Ok(()));
}

#[tokio::test]
async fn unread_control_closes_the_link() {
    let mut listener = listen(AcceptLimits::default(), small()).await;
    let (client, server) = pair(&mut listener).await;
    let (sender, mut receiver) = server.split();
    let mut outcome = Ok(());
    let start = Instant::now();
    while outcome.is_ok() && start.elapsed() < DEADLINE {
        outcome = sender.send(Class::Control, frame(8000));
        tokio::task::yield_now().await;
    }
    assert_eq!(outcome, Err(SendError::Overflow));
    assert_eq!(sender.send(Class::Control, frame(1)), Err(SendError::Closed));
    assert!(matches!(soon(receiver.recv()).await, Err(LinkError::NotReading)));
    assert_eq!(sender.queued_bytes(), 0);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_not_progress_but_a_slow_stream_is() {
    for (bytes, stalls) in [(100, true), (32 * 1024, false)] {
        let outbox = Outbox::new(small(), None);
        while outbox.push(Class::Data, frame(8000)).is_ok() {}
        let start = Instant::now();
        while start.elapsed() < 2 * PATIENCE && !outbox.is_stalled() {
            tokio::time::sleep(PATIENCE / 20).await;
            outbox.progressed(bytes);
        }
        assert_eq!(outbox.is_stalled(), stalls, "{bytes} bytes at a time");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_waits_for_the_slow_but_not_for_the_stuck() {
    let (fast, stuck) = (read_by_peer(8_000_000, small()), unread(small()));
    let audience = [fast.clone(), stuck.clone()];
    let mut longest_wait = Duration::ZERO;
    let mut lost_by_stuck = 0;
    for number in 0..4000 {
        let start = Instant::now();
        soon(pace::ready(&audience)).await;
        longest_wait = longest_wait.max(start.elapsed());
        // The fast one is half of the audience: it is waited for by itself, as its pace is the sender's.
        soon(fast.ready()).await;
        fast.send(Class::Data, frame(8000)).unwrap_or_else(|error| panic!("frame {number}: {error}"));
        lost_by_stuck += usize::from(stuck.send(Class::Data, frame(8000)).is_err());
    }
    assert!(stuck.is_stalled() && !fast.is_stalled());
    assert!(lost_by_stuck > 0);
    assert!(longest_wait >= PATIENCE / 2, "the stuck link was given a chance: {longest_wait:?}");
    assert!(longest_wait <= PATIENCE * 3 / 2, "{longest_wait:?}");
    stuck.close();
    fast.close();
    soon(pace::ready(&audience)).await;
}

#[tokio::test]
async fn closing_frees_whoever_waits() {
    let limits = LinkLimits { patience: Duration::from_secs(60), ..small() };
    let mut listener = listen(AcceptLimits::default(), limits).await;
    let (_client, server) = pair(&mut listener).await;
    let sender = server.sender();
    fill(&sender).await;
    let waiting = tokio::spawn(sender.ready());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    sender.close();
    soon(waiting).await.unwrap();
    // The grace of `close` is short even if the peer never reads.
    soon(sender.ended()).await;
    assert_eq!(sender.queued_bytes(), 0);
}

/// What a sender of 64 MB a second met: how many frames each of its receivers was given, and lost.
struct Met {
    given: Vec<u32>,
    lost: Vec<u32>,
}

/// To receivers that read so many bytes a second.
async fn send_to_readers_of(rates: &[usize], lasting: Duration) -> Met {
    let audience: Vec<LinkSender> = rates.iter().map(|rate| read_by_peer(*rate, LinkLimits::default())).collect();
    let (start, said) = (Instant::now(), frame(16_000));
    let mut met = Met { given: vec![0; rates.len()], lost: vec![0; rates.len()] };
    while start.elapsed() < lasting {
        for _ in 0..4 {
            pace::ready(&audience).await;
            for (number, link) in audience.iter().enumerate() {
                let sent = link.send(Class::Data, said.clone()).is_ok();
                let count = if sent { &mut met.given } else { &mut met.lost };
                count[number] += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    met
}

/// Of one of the leaders that a message goes through, a slow reader has its part of a second at once and of a sixth of the time; for
/// the rest of it, but for a hundredth, others are given so many bytes a second.
fn at_least(bytes_per_s: f64, lasting: Duration) -> u32 {
    let limits = LinkLimits::default();
    let held = (limits.hold_max + lasting / 6) / u32::try_from(limits.relays).unwrap();
    ((lasting - held - lasting / 100).as_secs_f64() * bytes_per_s / 16_000.0) as u32
}

/// One member on a slow line loses data after a second of patience, and nobody else notices.
#[tokio::test(start_paused = true)]
async fn one_steady_slow_reader_does_not_set_the_pace_of_the_others() {
    for lasting in [10, 60].map(Duration::from_secs) {
        let met = send_to_readers_of(&[usize::MAX, usize::MAX, 1_000_000], lasting).await;
        assert!(met.lost[2] > 0, "the slow one was given all, so it was not slow");
        assert_eq!(met.lost[..2], [0, 0]);
        assert!(met.given[0] >= at_least(64e6, lasting), "{} frames in {lasting:?}", met.given[0]);
    }
}

/// Where most receivers are slow, the sender is too fast: it waits, and nothing is lost.
#[tokio::test(start_paused = true)]
async fn the_pace_of_most_receivers_is_the_senders() {
    let met = send_to_readers_of(&[4_000_000, 4_000_000], Duration::from_secs(20)).await;
    assert_eq!(met.lost, [0, 0]);
    assert!(met.given[0] >= 20 * 4_000_000 / 16_000, "{} frames", met.given[0]);
}

/// Those that read eleven twelfths as fast as most, beside one that is slow, with a sender that is faster than all of them. Senders
/// that wait while others live on what is queued for them hold up nobody: were it counted, these would lose data within ten seconds.
#[tokio::test(start_paused = true)]
async fn beside_a_slow_reader_those_who_are_but_a_little_slower_than_others_lose_nothing() {
    for (rates, slowest) in [
        (&[20_000_000, 19_500_000, 19_000_000, 500_000][..], 19e6),
        (&[20_000_000, 20_000_000, 18_500_000, 500_000], 18.5e6),
        (&[20_000_000, 19_500_000, 19_000_000], 19e6),
    ] {
        let (lasting, near) = (Duration::from_secs(30), &[0; 3]);
        let met = send_to_readers_of(rates, lasting).await;
        assert_eq!(&met.lost[..3], near, "who is hardly slower than the others loses nothing: {rates:?}");
        assert!(met.lost[3..].iter().all(|lost| *lost > 0), "the slow one was given all, so it was not slow");
        assert!(met.given[0] >= at_least(slowest, lasting), "{} frames to {rates:?}", met.given[0]);
    }
    // One that is slower than that holds up the others for its part of the time, and loses the rest.
    let met = send_to_readers_of(&[20_000_000, 20_000_000, 17_000_000], Duration::from_secs(60)).await;
    assert!(met.lost[2] > 0 && met.lost[..2] == [0, 0], "{:?}", met.lost);
    assert!(met.given[0] >= at_least(20e6, Duration::from_secs(60)), "{} frames", met.given[0]);
}

/// Over sockets: whoever reads slowly loses something, and those beside it nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_slowly_from_a_socket_loses_data_and_nobody_else_does() {
    let mut listener = listen(AcceptLimits::default(), LinkLimits::default()).await;
    let mut audience = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    for bytes_per_s in [usize::MAX, usize::MAX, 1_000_000] {
        let (client, server) = pair(&mut listener).await;
        let (sender, receiver) = server.split();
        audience.push(sender);
        tasks.spawn(read_at_most(client, bytes_per_s, receiver));
    }
    let (start, mut lost) = (Instant::now(), [0; 3]);
    while lost[2] == 0 {
        assert!(start.elapsed() < DEADLINE, "the slow one is given all");
        pace::ready(&audience).await;
        for (link, lost) in audience.iter().zip(&mut lost) {
            *lost += u32::from(link.send(Class::Data, frame(16_000)).is_err());
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(lost[..2], [0, 0]);
}

async fn read_at_most(client: Link, bytes_per_s: usize, _open: LinkReceiver) {
    let (_sender, mut receiver) = client.split();
    let (start, mut read) = (Instant::now(), 0_usize);
    while let Ok(Some(frame)) = receiver.recv().await {
        read += frame.len();
        if bytes_per_s != usize::MAX {
            let due = Duration::from_secs_f64(read as f64 / bytes_per_s as f64);
            tokio::time::sleep(due.saturating_sub(start.elapsed())).await;
        }
    }
}

/// Speech must not wait behind a file, and old speech not before new.
#[tokio::test]
async fn live_frames_overtake_data_and_the_oldest_make_room() {
    let limits = LinkLimits { live_queue_bytes_max: 32 * 1024, ..small() };
    let mut listener = listen(AcceptLimits::default(), limits.clone()).await;
    let (client, server) = pair(&mut listener).await;
    let sender = server.sender();
    fill(&sender).await;
    let spoken = |n: u16| Bytes::from([&n.to_be_bytes()[..], &[0; 98]].concat());
    for n in 0..1000 {
        assert_eq!(sender.send(Class::Live, spoken(n)), Ok(()), "there is always room for the newest");
    }
    assert!(sender.queued_bytes() <= limits.data_queue_bytes_max + limits.live_queue_bytes_max);
    let (_, mut receiver) = client.split();
    let (mut heard, mut overtaken) = (Vec::new(), 0);
    while heard.last() != Some(&999) {
        let frame = soon(receiver.recv()).await.unwrap().unwrap();
        match frame.as_ref() {
            [high, low, rest @ ..] if rest.len() == 98 => heard.push(u16::from_be_bytes([*high, *low])),
            data => overtaken += data.len(),
        }
    }
    let kept = u16::try_from(limits.live_queue_bytes_max / (100 + 64)).unwrap();
    assert_eq!(heard, (1000 - kept..1000).collect::<Vec<_>>(), "the newest, in order");
    // What was behind them is data that had been there first.
    assert_eq!(soon(receiver.recv()).await.unwrap().unwrap().len(), 8000);
    assert!(overtaken > 0);
    // One that is larger than the queue still goes, alone.
    assert_eq!(sender.send(Class::Live, frame(100_000)), Ok(()));
    while soon(receiver.recv()).await.unwrap().unwrap().len() != 100_000 {}
}

/// What a slow member has not read yet must not stand between it and a new key.
#[tokio::test]
async fn control_overtakes_almost_all_data_on_a_slow_link() {
    let mut listener = listen_default().await;
    let (client, server) = pair(&mut listener).await;
    let sender = server.sender();
    while sender.send(Class::Data, frame(8000)).is_ok() {
        tokio::task::yield_now().await;
    }
    sender.send(Class::Control, frame(1)).unwrap();
    let (_, mut receiver) = client.split();
    let mut overtaken_by = 0;
    while soon(receiver.recv()).await.unwrap().unwrap().len() != 1 {
        overtaken_by += 8000;
    }
    // One batch, what TLS and the kernel had taken; megabytes without a limit on what the kernel holds.
    if cfg!(target_os = "linux") {
        assert!(overtaken_by < 1_000_000, "{overtaken_by} bytes came first");
    }
}

/// One that is slow, then fast, then slow again cannot hold up the others for more than a fifth of the time.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_slow_again_and_again_holds_others_up_for_a_fifth_of_the_time_at_most() {
    let patience = Duration::from_millis(200);
    let limits = LinkLimits { hold_max: Duration::from_secs(1), patience, ..small() };
    let (fast, slow) = (unread(limits.clone()), unread(limits));
    let audience = [fast, slow.clone()];
    // As long as it is waited for it reads nothing but what counts as progress; then it reads everything.
    let outbox = slow.outbox.clone();
    let pretends = tokio::spawn(async move {
        loop {
            tokio::time::sleep(patience / 20).await;
            outbox.progressed(64 * 1024);
        }
    });
    let (start, lasting) = (Instant::now(), Duration::from_secs(6));
    let mut held = Duration::ZERO;
    while start.elapsed() < lasting {
        while slow.send(Class::Data, frame(8000)).is_ok() && !pace::must_wait(&audience) {}
        let before = Instant::now();
        pace::ready(&audience).await;
        held += before.elapsed();
        let mut batch = Batch::default();
        while slow.outbox.take(&mut batch) {
            slow.outbox.written(&mut batch);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pretends.abort();
    // At once as long as it may, and a twelfth of the time.
    assert!(held <= Duration::from_millis(500) + lasting / 5, "held up for {held:?} of {lasting:?}");
    assert!(held >= lasting / 10, "it was not waited for: {held:?}");
}

/// What a leader does with a sender's data: whether a frame to these waits.
fn waits(asides: &mut Asides, now: Instant, audience: &[LinkSender], bytes: usize) -> bool {
    asides.note(now, audience.len());
    pace::must_wait(audience) && !asides.take(now, &frame(bytes), audience.len())
}

/// A link that reads, but has lost data and is full again.
fn slow_and_full() -> LinkSender {
    let link = unread(LinkLimits { hold_max: Duration::ZERO, patience: Duration::from_secs(600), ..small() });
    while link.send(Class::Data, frame(8000)).is_ok() {}
    link
}

/// Otherwise all that everybody is to hear would wait until the slow one has read megabytes.
#[tokio::test]
async fn a_private_word_to_a_slow_reader_now_and_then_holds_up_nothing() {
    let (slow, fast) = (slow_and_full(), [unread(small()), unread(small())]);
    let all = [fast[0].clone(), fast[1].clone(), slow.clone()];
    let start = Instant::now();
    let mut asides = Asides::new(start);
    for tenth in 0..36_000 {
        let now = start + Duration::from_millis(100) * tenth;
        assert!(!waits(&mut asides, now, &all, 12_000), "most keep up");
        assert!(!waits(&mut asides, now, std::slice::from_ref(&slow), 4_000), "after {tenth} tenths of a second");
    }
}

#[tokio::test]
async fn a_stream_to_a_slow_reader_alone_waits_for_it_whatever_else_is_said() {
    let (slow, fast) = (slow_and_full(), [unread(small()), unread(small())]);
    let all = [fast[0].clone(), fast[1].clone(), slow.clone()];
    let start = Instant::now();
    let mut asides = Asides::new(start);
    let mut said = 0;
    for tenth in 0..100 {
        let now = start + Duration::from_millis(100) * tenth;
        assert!(!waits(&mut asides, now, &all, 100));
        while !waits(&mut asides, now, std::slice::from_ref(&slow), 8_000) {
            said += 8_000;
            assert!(said < 2_000_000, "it waits for nobody");
        }
    }
    assert!((256_000..=256 * 1024 + 10 * 64 * 1024).contains(&said), "{said} bytes in ten seconds");
}

#[tokio::test]
async fn who_speaks_to_slow_readers_alone_waits_for_them_at_once() {
    let slow = slow_and_full();
    let start = Instant::now();
    let mut asides = Asides::new(start);
    assert!(waits(&mut asides, start, std::slice::from_ref(&slow), 100));
    // And so does who spoke to others long ago.
    asides.note(start, 3);
    assert!(!waits(&mut asides, start, std::slice::from_ref(&slow), 100));
    assert!(waits(&mut asides, start + Duration::from_secs(10), std::slice::from_ref(&slow), 100));
}
