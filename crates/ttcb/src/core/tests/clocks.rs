//! Clocks under a network that delays and cuts each direction by itself, and hosts whose own clocks stand still or sleep.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::sign::SigningKey;

use super::super::clock::Clock;
use super::super::frame::ClockWord;
use super::super::group::{Group, Secrets};
use super::super::ids::Index;
use super::super::rules::majority;

const SECOND_US: u64 = 1_000_000;
/// When all hosts are started.
const START_US: u64 = SECOND_US;

/// One host: its oscillator, its clock, and the last word of each other, with the moment at which it came.
struct Host {
    clock: Clock,
    ppm: i64,
    /// By how much its own clock was put ahead or behind by what stopped it.
    shift_us: i64,
    heard: Vec<Option<(u64, u64)>>,
    told_us: u64,
    sleeps_until_us: u64,
}

/// A frame under way: when it comes, to whom, from whom, and what it says.
type Flight = (u64, usize, usize, ClockWord);

struct Clocks {
    now_us: u64,
    hosts: Vec<Host>,
    flights: Vec<Flight>,
    /// How long a frame from one to another takes; `None` if it never comes.
    delay: Box<dyn FnMut(u64, usize, usize) -> Option<u64>>,
    /// How often an error was stated.
    stated: usize,
}

impl Clocks {
    fn new(ppm: &[i64], wall_ms: &[u64], delay: impl FnMut(u64, usize, usize) -> Option<u64> + 'static) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let members = (0..ppm.len()).map(|at| {
            let secrets = Secrets { signing: SigningKey::generate(&mut rng), exchange: KemSecret::generate(&mut rng) };
            secrets.member(&format!("host-{at}"))
        });
        let group = Group::new(members.collect()).unwrap();
        let host = |(ppm, wall_ms): (&i64, &u64)| Host {
            clock: Clock::new(&group, *wall_ms, START_US),
            ppm: *ppm,
            shift_us: 0,
            heard: vec![None; group.len()],
            told_us: 0,
            sleeps_until_us: 0,
        };
        let hosts = ppm.iter().zip(wall_ms).map(host).collect();
        Clocks { now_us: START_US, hosts, flights: Vec::new(), delay: Box::new(delay), stated: 0 }
    }

    /// What a host's own clock says.
    fn raw(&self, at: usize) -> u64 {
        let host = &self.hosts[at];
        let real = (self.now_us - START_US) as i64;
        (START_US as i64 + real + real * host.ppm / 1_000_000 + host.shift_us) as u64
    }

    /// The host does nothing for so long, and then its own clock has missed a part of it.
    fn stop(&mut self, at: usize, length_us: u64, missed_us: u64) {
        self.hosts[at].sleeps_until_us = self.now_us + length_us;
        self.hosts[at].shift_us -= missed_us as i64;
    }

    fn run(&mut self, millis: u64) {
        let end = self.now_us + millis * 1000;
        while self.now_us < end {
            self.now_us += 1_000;
            self.deliver();
            for at in 0..self.hosts.len() {
                // Rounds of different hosts come at different times.
                let its_turn = (self.now_us / 1000 + 3 * at as u64).is_multiple_of(10);
                if its_turn && self.hosts[at].sleeps_until_us <= self.now_us {
                    self.round(at);
                }
            }
        }
    }

    fn deliver(&mut self) {
        let (due, later) = std::mem::take(&mut self.flights).into_iter().partition(|(when, to, ..): &Flight| {
            *when <= self.now_us && self.hosts[*to].sleeps_until_us <= self.now_us
        });
        self.flights = later;
        let (due, mut heard): (Vec<Flight>, Vec<usize>) = (due, Vec::new());
        for (_, to, from, word) in due {
            let raw_us = self.raw(to);
            self.hosts[to].heard[from] = Some((word.sent_us, raw_us));
            self.hosts[to].clock.on_word(Index::new(from).unwrap(), &word, raw_us);
            heard.push(to);
        }
        // As the driver does: all that has come is read before anything is answered.
        heard.into_iter().for_each(|to| self.check(to));
    }

    fn round(&mut self, at: usize) {
        let raw_us = self.raw(at);
        self.check(at);
        self.hosts[at].clock.on_round(raw_us);
        self.check(at);
        for to in (0..self.hosts.len()).filter(|to| *to != at) {
            let host = &self.hosts[at];
            let (echo_us, heard_us) = host.heard[to].unwrap_or_default();
            let word = ClockWord {
                sent_us: raw_us,
                group_us: host.clock.read(raw_us),
                steady: host.clock.is_steady(),
                echo_us,
                held_us: raw_us - heard_us,
            };
            if let Some(delay_us) = (self.delay)(self.now_us, at, to) {
                self.flights.push((self.now_us + delay_us, to, at, word));
            }
        }
    }

    /// What is told never goes back, and a majority's clocks are as near as it is said.
    fn check(&mut self, at: usize) {
        let raw_us = self.raw(at);
        let readings: Vec<u64> = (0..self.hosts.len()).map(|at| self.hosts[at].clock.read(self.raw(at))).collect();
        let now_us = self.now_us;
        let host = &mut self.hosts[at];
        let told_us = host.clock.now(raw_us);
        let Some(error_us) = host.clock.error_us(raw_us) else { return };
        assert!(told_us >= host.told_us, "at {now_us} us host {at} tells {told_us} after {}", host.told_us);
        host.told_us = told_us;
        self.stated += 1;
        let near = readings.iter().filter(|reading| reading.abs_diff(told_us) <= error_us).count();
        let far: Vec<u64> = readings.iter().map(|reading| reading.abs_diff(told_us)).collect();
        assert!(
            near >= majority(readings.len()),
            "at {now_us} us host {at} says {error_us} us, and its clock is {far:?} from the others'"
        );
    }

    fn error(&self, at: usize) -> Option<u64> {
        self.hosts[at].clock.error_us(self.raw(at))
    }

    fn all_state_one(&self) -> bool {
        (0..self.hosts.len()).all(|at| self.error(at).is_some())
    }
}

#[test]
fn a_path_that_is_cut_one_way_and_slow_the_other_makes_no_error_smaller_than_it_is() {
    // For a minute nothing of host 0 reaches host 1, whose echo so gets old; and what host 1 says takes the longer the
    // more their clocks have drifted apart, so that none of it seems to have been under way at all.
    let begin_us = 3 * SECOND_US;
    let mut clocks = Clocks::new(&[100, -100], &[1_000_000, 1_000_003], move |now_us, from, _| {
        let since_us = now_us.saturating_sub(begin_us);
        match from {
            0 if since_us > 0 => None,
            0 => Some(200),
            _ => Some(200 + since_us * 200 / 1_000_000),
        }
    });
    clocks.run(1_900);
    assert!(clocks.all_state_one());
    clocks.run(60_000);
    assert_eq!(clocks.error(0), None, "it has not been heard for a minute");
}

#[test]
fn whatever_the_network_does_to_each_direction_stated_errors_are_true() {
    let mut stated = 0;
    for seed in 0..60 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut below = move |bound: u64| rng.next_u64() % bound;
        let count = 2 + below(4) as usize;
        let ppm: Vec<i64> = (0..count).map(|_| below(200) as i64 - 100).collect();
        let wall_ms: Vec<u64> = (0..count).map(|_| 1_000_000 + below(200_000)).collect();
        // Each direction has a delay of its own, which is drawn anew now and then.
        let mut ways = vec![(0, Some(0)); count * count];
        let mut clocks = Clocks::new(&ppm, &wall_ms, move |now_us, from, to| {
            let way = &mut ways[from * count + to];
            if way.0 <= now_us {
                let delay = [300, 3_000, 15_000, 400_000][below(4) as usize];
                *way = (now_us + 100_000 + below(3 * SECOND_US), (below(6) > 0).then_some(delay));
            }
            way.1.map(|most| 100 + below(most))
        });
        clocks.run(30_000);
        stated += usize::from(clocks.stated > 100);
    }
    assert!(stated > 15, "vacuous: only {stated} of 60 groups stated an error at all");
}

#[test]
fn slow_frames_at_the_start_set_no_clock() {
    // What the last host says takes two seconds at first, and what it is told comes at once.
    let mut clocks = Clocks::new(&[20, -30, 10], &[1_000_000, 1_000_000, 1_000_000], |now_us, from, to| {
        Some(if now_us < 8 * SECOND_US && (from == 2 || to == 2) {
            [200, 1_900_000][usize::from(from == 2)]
        } else {
            200
        })
    });
    clocks.run(6_000);
    assert!(!clocks.hosts[2].clock.is_steady(), "it cannot know the time yet");
    assert!(clocks.error(0).is_some() && clocks.error(1).is_some());
    clocks.run(6_000);
    assert!(clocks.all_state_one(), "the slow frames are over for some seconds");
}

/// A clock of two that has settled, after a word of the other by which it is so far ahead, and a correction. With
/// `asked` it has told the time right before that. With what it holds of the word since: how long, as the other says.
fn corrected(ahead_us: u64, asked: bool, held_us: u64) -> (Clock, u64) {
    let mut clocks = Clocks::new(&[0, 0], &[1_000_000; 2], |_, _, _| Some(100));
    clocks.run(3_003);
    let (mut raw_us, other) = (clocks.raw(0), Index::new(1).unwrap());
    let mut clock = clocks.hosts.swap_remove(0).clock;
    assert!(clock.is_steady());
    raw_us += 3 * SECOND_US;
    let group_us = clock.read(raw_us) - ahead_us;
    let word = ClockWord { sent_us: 1, group_us, steady: true, echo_us: raw_us - held_us - 200, held_us };
    clock.on_word(other, &word, raw_us);
    if asked {
        clock.now(raw_us);
    }
    clock.on_round(raw_us);
    (clock, raw_us)
}

#[test]
fn a_clock_that_is_corrected_backwards_tells_a_time_that_stands_and_an_error_that_says_so() {
    let [(mut asked, raw_us), (fresh, _)] = [true, false].map(|asked| corrected(2_000, asked, 10_000));
    let ahead_us = asked.now(raw_us) - asked.read(raw_us);
    assert_eq!(ahead_us, 200);
    assert_eq!(asked.error_us(raw_us), fresh.error_us(raw_us).map(|error| error + ahead_us));
}

#[test]
fn what_is_held_for_long_says_less_since_clocks_drift_meanwhile() {
    let [at_once, late] = [10_000, 1_900_000].map(|held_us| {
        let (clock, raw_us) = corrected(0, false, held_us);
        clock.error_us(raw_us).unwrap()
    });
    assert!(late - at_once >= 1_890_000 * 200 / 1_000_000, "{at_once} us, and {late} us");
    let (too_late, raw_us) = corrected(0, false, 2_000_000);
    assert_eq!(too_late.error_us(raw_us), None, "it is not used at all");
}

#[test]
fn a_host_whose_clock_stood_still_says_nothing_of_the_time_until_it_is_set_anew() {
    // As a virtual machine that is stopped by what runs it.
    for length_us in [30_000, 300_000, 1_200_000, 10 * SECOND_US] {
        let mut clocks = Clocks::new(&[20, -30, 10, 0], &[1_000_000; 4], |_, _, _| Some(400));
        clocks.run(3_000);
        assert!(clocks.all_state_one());
        clocks.stop(3, length_us, length_us);
        clocks.run(length_us / 1000 + 20);
        assert_eq!(clocks.error(3), None, "after {length_us} us");
        clocks.run(4_000);
        assert!(clocks.all_state_one(), "after {length_us} us");
    }
}

#[test]
fn a_host_that_slept_for_longer_than_it_knows_says_nothing_of_the_time_until_others_are_heard() {
    let mut clocks = Clocks::new(&[20, -30, 10], &[1_000_000; 3], |_, _, _| Some(400));
    clocks.run(3_000);
    // It sleeps for a second and believes that it was half of one; frames of before wait for it.
    clocks.stop(2, SECOND_US, SECOND_US / 2);
    clocks.run(999);
    let raw_us = clocks.raw(2) + 1_000;
    clocks.hosts[2].clock.on_wake(raw_us);
    assert_eq!(clocks.hosts[2].clock.error_us(raw_us), None);
    clocks.run(200);
    assert_eq!(clocks.error(2), None, "a majority's clocks are half a second ahead");
    clocks.run(4_000);
    assert!(clocks.all_state_one());
}

#[test]
fn what_was_sent_before_a_sleep_measures_nothing_after_it() {
    // What is sent in the first moments of the sleep waits in the socket, and all that comes later is lost. The host
    // believes that it slept for 15 ms, so that what waits seems to have been under way for no longer than that.
    let asleep = 4_012_000..4_600_000;
    let mut clocks = Clocks::new(&[20, -30, 10], &[1_000_000; 3], move |now_us, _, to| {
        (to != 2 || !asleep.contains(&now_us)).then_some(400)
    });
    clocks.run(3_000);
    assert!(clocks.all_state_one());
    clocks.stop(2, 600_000, 585_000);
    clocks.run(599);
    let raw_us = clocks.raw(2) + 1_000;
    clocks.hosts[2].clock.on_wake(raw_us);
    clocks.run(100);
    assert_eq!(clocks.error(2), None);
    clocks.run(4_000);
    assert!(clocks.all_state_one());
}

#[test]
fn one_clock_that_lies_moves_no_majority_s() {
    let mut clocks = Clocks::new(&[20, -30, 10, 0], &[1_000_000; 4], |_, _, _| Some(400));
    clocks.run(3_000);
    for step in 0..600u64 {
        clocks.run(10);
        for to in 0..3 {
            let raw_us = clocks.raw(to);
            let lie = [0, u64::MAX, i64::MAX as u64, raw_us + 3_600 * SECOND_US][(step % 4) as usize];
            let (steady, echo_us) = (step % 3 > 0, [raw_us - 300, 0, raw_us, u64::MAX][(step / 4 % 4) as usize]);
            let held_us = [0, 300, u64::MAX, raw_us][(step / 16 % 4) as usize];
            let word = ClockWord { sent_us: step, group_us: lie, steady, echo_us, held_us };
            clocks.hosts[to].clock.on_word(Index::new(3).unwrap(), &word, raw_us);
        }
        assert!((0..3).all(|at| clocks.hosts[at].clock.is_steady()));
    }
    let readings: Vec<u64> = (0..3).map(|at| clocks.hosts[at].clock.read(clocks.raw(at))).collect();
    let apart = readings.iter().max().unwrap() - readings.iter().min().unwrap();
    assert!(apart < 2_000, "{apart} us apart");
    assert!((0..3).all(|at| clocks.error(at).is_some()));
}
