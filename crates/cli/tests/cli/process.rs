//! Processes with deadlines: nothing here waits without end, and nothing outlives its test.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// After so long what is waited for will not come. It is no measure of pace: machines are busy.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until `ready` gives something.
pub fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn ringfort(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfort"));
    command.args(args).env_remove("RINGFORT_PASSWORD").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// What a finished program said.
#[derive(Debug)]
pub struct Said {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// The program ended with `status` and one sentence with all of `parts`.
    #[track_caller]
    pub fn failed(&self, status: i32, parts: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        let sentences: Vec<&str> = self.err.lines().filter(|line| line.starts_with("ringfort: ")).collect();
        assert_eq!(sentences.len(), 1, "{self:?}");
        for part in parts {
            assert!(sentences[0].contains(part), "{part:?} is missing in {self:?}");
        }
        assert!(!self.err.contains("panicked"), "{self:?}");
    }

    /// The command line itself is wrong: clap says so.
    #[track_caller]
    pub fn failed_usage(&self) {
        assert_eq!(self.status, 2, "{self:?}");
        assert!(self.err.starts_with("error: "), "{self:?}");
    }

    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.out
    }

    /// The only line, as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.succeeded()).unwrap()
    }
}

pub fn run(args: &[&str]) -> Said {
    finish(ringfort(args))
}

pub fn finish(command: Command) -> Said {
    finish_with_input(command, "")
}

pub fn finish_with_input(mut command: Command, input: &str) -> Said {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, err) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
    // A program that does not read its input may be gone already.
    drop(child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes())));
    let status = wait(&mut child);
    Said { status, out: out.recv().unwrap(), err: err.recv().unwrap() }
}

fn collect(mut from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = from.read_to_end(&mut text);
        let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
    });
    receiver
}

pub fn wait(child: &mut Child) -> i32 {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        if started.elapsed() > DEADLINE {
            let _ = child.kill();
            panic!("a program did not end in time");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A program that runs and prints JSON lines. Killed when dropped.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    pub seen: Vec<Value>,
}

impl Running {
    pub fn start(command: Command) -> Self {
        Running::start_logging(command, Stdio::null())
    }

    /// Starts a program that is given its input bit by bit.
    pub fn start_with_input(mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        Running::start(command)
    }

    /// Starts a program whose standard error goes to `log`.
    pub fn start_logging(mut command: Command, log: impl Into<Stdio>) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let input = child.stdin.take();
        Running { child, input, lines, seen: Vec::new() }
    }

    /// The first line from here on for which `wanted` holds.
    #[track_caller]
    pub fn next(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(started.elapsed());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("waited in vain for {what}; seen: {:#?}", self.seen)
            };
            let value: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
            self.seen.push(value.clone());
            if wanted(&value) {
                return value;
            }
        }
    }

    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        self.next(name, |value| value["event"] == name)
    }

    /// The first line of this name from here on, if it has been told by now.
    pub fn poll(&mut self, name: &str) -> Option<Value> {
        while let Some(value) = self.lines.try_recv().ok().and_then(|line| serde_json::from_str::<Value>(&line).ok()) {
            self.seen.push(value.clone());
            if value["event"] == name {
                return Some(value);
            }
        }
        None
    }

    /// Waits until each of the leaders has confirmed this member's view.
    #[track_caller]
    pub fn confirmed_by(&mut self, leaders: u64) {
        for leader in 1..=leaders {
            let confirms =
                |line: &Value| line["event"] == "leader" && line["leader"] == leader && line["answers"] == true;
            if !self.seen.iter().any(confirms) {
                self.next("a leader's confirmation", confirms);
            }
        }
    }

    pub fn write_line(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).and_then(|()| input.flush()).unwrap();
    }

    pub fn end_input(&mut self) {
        self.input = None;
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Asks the program to end, as an operator or a service manager does.
    pub fn terminate(mut self) -> i32 {
        self.signal(rustix::process::Signal::TERM);
        wait(&mut self.child)
    }

    /// The same; what it told that was not looked at yet comes with the status.
    pub fn terminated(mut self) -> (i32, Vec<Value>) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = wait(&mut self.child);
        (status, self.rest())
    }

    /// Kills the program at once; all that it told. A last line that was cut is left out.
    pub fn killed(mut self) -> Vec<Value> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.rest()
    }

    fn rest(&mut self) -> Vec<Value> {
        let rest = self.lines.iter().filter_map(|line| serde_json::from_str(&line).ok());
        std::mem::take(&mut self.seen).into_iter().chain(rest).collect()
    }

    /// Waits for the end that the program comes to by itself.
    pub fn finish(mut self) -> i32 {
        wait(&mut self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
