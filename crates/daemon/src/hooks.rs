//! Hooks: an operator's program that is run on suspicion (an intrusion detection system's way in, seed 000 §3.1).
//!
//! A leader in its sandbox cannot start programs. So, before it enters, it starts a *runner*: this program once more, which
//! knows one program to run and reads lines from a pipe. Whoever takes the leader over can make the runner start that
//! program with a line of their choice, no more often than the limits say, and nothing else.
//!
//! The leader never waits: what the pipe or the limits have no room for is dropped and counted.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringfort::protocol::fault::{Culprit, Fault};
use ringfort_kernel::{Budget, Time};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::config::HooksOn;
use crate::words::culprit_kind;

/// A line is no longer than this, bytes. So much goes into a pipe as a whole or not at all.
const LINE_BYTES_MAX: u64 = 4096;
/// A budget counts in these, so that so many runs a minute are so many units a second.
const UNITS_PER_RUN: u64 = 60;
/// Culprits whose runs are counted at once.
const CULPRITS_MAX: usize = 4096;
/// Between two looks at a running program.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// What the runner may do: its first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// The program and its arguments.
    command: Vec<String>,
    time_limit_s: u64,
    running_max: u64,
    per_minute_max: u64,
}

/// Whether a program can be one of ours to run.
///
/// # Errors
/// What is wrong, as a sentence.
pub fn check_program(path: &Path) -> Result<(), String> {
    let told = |what: &str| format!("[hooks] on_suspicion: {} {what}", path.display());
    let about = std::fs::metadata(path).map_err(|error| told(&format!("cannot be found ({error})")))?;
    if !about.is_file() || about.permissions().mode() & 0o111 == 0 {
        return Err(told("is not a program: run `chmod +x` on it"));
    }
    if about.permissions().mode() & 0o022 != 0 {
        return Err(told("can be changed by others: run `chmod go-w` on it"));
    }
    Ok(())
}

/// How many of the runs in a minute go to whom: half of them to leaders' offences, whatever members and strangers do; and to
/// one culprit a third of its half, so that there is something left for the next.
#[derive(Debug)]
struct Shares {
    started: Instant,
    per_minute_max: u64,
    leaders: Budget,
    others: Budget,
    culprits: BTreeMap<String, Budget>,
}

impl Shares {
    fn new(per_minute_max: u64) -> Self {
        // With an odd number both halves are rounded up; the runner counts once more.
        let half = per_minute_max.div_ceil(2);
        let half = Budget::new(Time::ZERO, half, half * UNITS_PER_RUN);
        Shares { started: Instant::now(), per_minute_max, leaders: half, others: half, culprits: BTreeMap::new() }
    }

    fn take(&mut self, now: Time, culprit: &Culprit) -> bool {
        let one = (self.per_minute_max / 6).max(1);
        let burst = one * UNITS_PER_RUN;
        if self.culprits.len() >= CULPRITS_MAX {
            self.culprits.retain(|_, budget| budget.left(now) < burst);
        }
        // Strangers have no names that mean anything.
        let (name, half) = match culprit {
            Culprit::Leader(_) => (culprit.to_string(), &mut self.leaders),
            // A user pays for all its stays.
            Culprit::Member(id) => (id.user.to_string(), &mut self.others),
            Culprit::Outsider(_) => (String::new(), &mut self.others),
        };
        if self.culprits.len() >= CULPRITS_MAX && !self.culprits.contains_key(&name) {
            return false;
        }
        let own = self.culprits.entry(name).or_insert_with(|| Budget::new(now, one, burst));
        own.left(now) >= UNITS_PER_RUN && half.take(now, UNITS_PER_RUN) && own.take(now, UNITS_PER_RUN)
    }
}

/// The leader's end of the pipe.
#[derive(Debug)]
pub struct Hooks {
    about: Vec<String>,
    every_fault: bool,
    shares: Shares,
    runner: Option<(Child, ChildStdin)>,
    run: u64,
    dropped: u64,
}

impl Hooks {
    /// Starts the runner that `command` is, if a program is configured. Call it before anything is taken away.
    ///
    /// # Errors
    /// The runner does not start.
    pub fn start(config: &HooksOn, command: Command) -> io::Result<Self> {
        let (about, every_fault) = (config.about.clone(), config.every_fault);
        let shares = Shares::new(config.per_minute_max);
        let mut hooks = Hooks { about, every_fault, shares, runner: None, run: 0, dropped: 0 };
        if config.on_suspicion.is_empty() {
            return Ok(hooks);
        }
        let orders = Orders {
            command: config.on_suspicion.clone(),
            time_limit_s: config.time_limit_s,
            running_max: config.running_max,
            per_minute_max: config.per_minute_max,
        };
        let mut command = command;
        // Ctrl-C is for the leader: the runner ends when its input does.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let mut runner = command.spawn()?;
        let Some(mut pipe) = runner.stdin.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        pipe.write_all(format!("{}\n", serde_json::to_string(&orders)?).as_bytes())?;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        hooks.runner = Some((runner, pipe));
        Ok(hooks)
    }

    /// Whether somebody's offence is one to run the program for.
    pub fn wants(&self, culprit: &Culprit, fault: Fault) -> bool {
        let kind = culprit_kind(culprit);
        self.runner.is_some()
            && self.about.iter().any(|about| about == kind)
            && (self.every_fault || fault.is_deviation())
    }

    /// Hands a line about somebody to the runner, or drops it where there is no room, or no run left for its culprit.
    pub fn run(&mut self, culprit: &Culprit, line: &str) {
        let now = Time::from_start(self.shares.started.elapsed());
        if self.shares.take(now, culprit) {
            self.hand_over(line);
        } else {
            self.dropped += 1;
        }
    }

    fn hand_over(&mut self, line: &str) {
        let Some((_, pipe)) = &mut self.runner else { return };
        let line = format!("{line}\n");
        let fits = line.len() as u64 <= LINE_BYTES_MAX && pipe.write_all(line.as_bytes()).is_ok();
        *(if fits { &mut self.run } else { &mut self.dropped }) += 1;
    }

    /// Lines that the runner got, and lines that it did not.
    pub fn counts(&self) -> (u64, u64) {
        (self.run, self.dropped)
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        // With its pipe closed the runner ends, once its programs have.
        if let Some((runner, _)) = &mut self.runner
            && let Ok(Some(status)) = runner.try_wait()
        {
            warn!(%status, "the runner of hooks had ended before the leader");
        }
    }
}

/// The runner: reads lines from `input` and runs the program of the first line with each further one, until the input ends.
///
/// # Errors
/// A first line that says nothing.
pub fn run(input: impl Read) -> io::Result<()> {
    let mut input = BufReader::new(input);
    let Some(Ok(first)) = next_line(&mut input) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let orders: Orders = serde_json::from_slice(&first)?;
    let running = Arc::new(AtomicU64::new(0));
    let mut minute = (Instant::now(), 0);
    let mut threads = Vec::new();
    while let Some(line) = next_line(&mut input) {
        threads.retain(|thread: &std::thread::JoinHandle<()>| !thread.is_finished());
        if minute.0.elapsed() >= Duration::from_secs(60) {
            minute = (Instant::now(), 0);
        }
        minute.1 += 1;
        let Ok(line) = line else { continue };
        if minute.1 > orders.per_minute_max || running.load(Ordering::Acquire) >= orders.running_max {
            info!("a hook is not run: so many are allowed at once, and in a minute");
            continue;
        }
        running.fetch_add(1, Ordering::AcqRel);
        let (orders, done) = (orders.clone(), running.clone());
        threads.push(std::thread::spawn(move || {
            run_one(&orders, &line);
            done.fetch_sub(1, Ordering::AcqRel);
        }));
    }
    for thread in threads {
        // A thread that panicked has told so.
        let _ = thread.join();
    }
    Ok(())
}

/// The next line; an error if it was too long, and is skipped.
fn next_line(input: &mut impl BufRead) -> Option<Result<Vec<u8>, ()>> {
    let mut line = Vec::new();
    let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).ok()?;
    match (read, line.last()) {
        (0, _) => None,
        (_, Some(b'\n')) => Some(Ok(line)),
        _ => {
            // The rest of it.
            while !matches!(line.last(), Some(b'\n')) {
                line.clear();
                if input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).ok()? == 0 {
                    return None;
                }
            }
            Some(Err(()))
        }
    }
}

fn run_one(orders: &Orders, line: &[u8]) {
    let Some((program, arguments)) = orders.command.split_first() else { return };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return warn!(program, %error, "the hook does not start"),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // It fits into the pipe; a program that does not read it does not want it.
        let _ = stdin.write_all(line);
    }
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return,
            Ok(Some(status)) => return warn!(program, %status, "the hook failed"),
            Ok(None) if started.elapsed() < Duration::from_secs(orders.time_limit_s) => std::thread::sleep(LOOK_PERIOD),
            Ok(None) | Err(_) => break,
        }
    }
    warn!(program, "the hook took too long and is killed");
    let group = rustix::process::Pid::from_child(&child);
    // Who has ended meanwhile need not be killed.
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::fs;

    use ringfort::protocol::LeaderId;

    use super::*;

    fn script(folder: &Path, text: &str) -> String {
        let path = folder.join("hook");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        check_program(&path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn orders(program: &str, limits: [u64; 3]) -> String {
        let [time_limit_s, running_max, per_minute_max] = limits;
        let command = vec![program.to_owned(), "two words".to_owned(), "$(id); `id`".to_owned()];
        serde_json::to_string(&Orders { command, time_limit_s, running_max, per_minute_max }).unwrap()
    }

    #[test]
    fn the_program_gets_the_line_and_fixed_arguments_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let text = format!("{{ echo \"$#|$1|$2\"; env | cut -d= -f1 | sort; cat; }} > {}", out.display());
        let input = format!("{}\n{{\"fault\":\"x\"}}\n", orders(&script(folder.path(), &text), [5, 1, 5]));
        run(input.as_bytes()).unwrap();
        let told = fs::read_to_string(out).unwrap();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!((lines[0], *lines.last().unwrap()), ("2|two words|$(id); `id`", "{\"fault\":\"x\"}"));
        // What a shell sets by itself is not from us.
        let own = |name: &&str| !matches!(*name, "PWD" | "OLDPWD" | "SHLVL" | "_");
        let names: Vec<&str> = lines[1..lines.len() - 1].iter().copied().filter(own).collect();
        assert_eq!(names, ["PATH"]);
    }

    #[test]
    fn it_is_run_so_often_and_killed_in_time_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let text = format!("echo run >> {0}; (sleep 3; echo late >> {0}) & sleep 60", out.display());
        let program = script(folder.path(), &text);
        let started = Instant::now();
        run(format!("{}\n1\n2\n3\n", orders(&program, [1, 2, 9])).as_bytes()).unwrap();
        assert!(started.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(2500));
        assert_eq!(fs::read_to_string(&out).unwrap(), "run\nrun\n", "two at once, and no child lives on");

        let quick = script(folder.path(), &format!("echo quick >> {}", out.display()));
        fs::write(&out, "").unwrap();
        let long = "x".repeat(3 * usize::try_from(LINE_BYTES_MAX).unwrap());
        run(format!("{}\n{long}\n1\n2\n3\n4\n", orders(&quick, [5, 9, 3])).as_bytes()).unwrap();
        assert_eq!(
            fs::read_to_string(&out).unwrap(),
            "quick\nquick\n",
            "three a minute, one of them too long to be one"
        );
    }

    #[test]
    fn a_runner_that_is_stuck_holds_nobody_up() {
        let config = HooksOn { on_suspicion: vec!["/bin/true".to_owned()], ..HooksOn::default() };
        let mut command = Command::new("/bin/sleep");
        command.arg("10");
        let mut hooks = Hooks::start(&config, command).unwrap();
        let started = Instant::now();
        let line = "x".repeat(4000);
        (0..2000).for_each(|_| hooks.hand_over(&line));
        assert!(started.elapsed() < Duration::from_secs(9));
        let (run, dropped) = hooks.counts();
        assert_eq!(run + dropped, 2000);
        assert!((1..100).contains(&run), "what a pipe holds: {run}");
    }

    #[test]
    fn suspicion_is_a_deviation_of_leaders_and_members() {
        let config = HooksOn { on_suspicion: vec!["/bin/true".to_owned()], ..HooksOn::default() };
        let hooks = Hooks::start(&config, Command::new("/bin/cat")).unwrap();
        let leader = Culprit::Leader(LeaderId::new(2).unwrap());
        assert!(hooks.wants(&leader, Fault::Equivocated));
        assert!(!hooks.wants(&leader, Fault::Silent));
        assert!(!hooks.wants(&Culprit::Outsider(None), Fault::Malformed));
        let none = Hooks::start(&HooksOn::default(), Command::new("/nowhere")).unwrap();
        assert!(!none.wants(&leader, Fault::Equivocated));
    }

    #[test]
    fn a_member_that_misbehaves_all_the_time_uses_up_no_run_that_a_leader_deserves() {
        let mut shares = Shares::new(6);
        let at = |seconds| Time::from_start(Duration::from_secs(seconds));
        let id = |name: &str| ringfort::protocol::MemberId {
            user: name.parse().unwrap(),
            incarnation: ringfort::protocol::Incarnation(1),
        };
        let taken =
            |shares: &mut Shares, now, culprit: &Culprit| (0..1000).filter(|_| shares.take(now, culprit)).count();
        assert_eq!(taken(&mut shares, at(0), &Culprit::Member(id("mal"))), 1);
        assert_eq!(taken(&mut shares, at(0), &Culprit::Member(id("eve"))), 1, "one culprit leaves room for the next");
        assert_eq!(taken(&mut shares, at(0), &Culprit::Outsider(None)), 1);
        assert_eq!(taken(&mut shares, at(0), &Culprit::Member(id("zoe"))), 0, "that was half of six");
        let leader = |number| Culprit::Leader(LeaderId::new(number).unwrap());
        assert_eq!(taken(&mut shares, at(0), &leader(2)), 1);
        assert_eq!(taken(&mut shares, at(0), &leader(3)), 1);
        assert_eq!(taken(&mut shares, at(60), &leader(2)), 1);
        assert!(taken(&mut Shares::new(1), at(0), &leader(2)) == 1, "one a minute is one");
    }

    #[test]
    fn a_program_that_others_can_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(folder.path(), "true");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o722)).unwrap();
        assert!(check_program(Path::new(&program)).unwrap_err().contains("go-w"));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(check_program(Path::new(&program)).unwrap_err().contains("+x"));
        assert!(check_program(Path::new("/nowhere/x")).is_err());
    }
}
