//! The demo without a terminal: its page until it is told to end.

// Each file of tests needs a part of it.
#![allow(dead_code)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Demo {
    child: Child,
    pub url: String,
    pub started: Instant,
    temporary: tempfile::TempDir,
}

impl Demo {
    pub fn start() -> Demo {
        let temporary = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfort-demo"));
        command.arg("demo").env("TMPDIR", temporary.path()).env("NO_COLOR", "1").env_remove("RUST_LOG");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let url = lines.find(|line| line.contains("http://127.0.0.1:")).unwrap().trim().to_owned();
        std::thread::spawn(move || lines.for_each(|line| println!("{line}")));
        Demo { child, url, started, temporary }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.url.split('/').nth(2).unwrap().to_owned()
    }

    /// The path that lets a browser in once.
    pub fn entrance(&self) -> &str {
        &self.url[self.url.find("/?").unwrap()..]
    }

    /// How many processes of sites it has.
    pub fn sites(&self) -> usize {
        let folder = self.temporary.path().to_str().unwrap();
        let lines = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).into_owned())
        });
        lines.filter(|line| line.contains("demo-site") && line.contains(folder)).count()
    }

    /// Ctrl-C ends it and leaves nothing behind.
    pub fn end(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert_eq!(std::fs::read_dir(self.temporary.path()).unwrap().count(), 0, "files are left");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It has ended already if all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status and head of an answer.
pub async fn get(host: &str, target: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut stream = TcpStream::connect(host).await.unwrap();
    let named = headers.iter().any(|(name, _)| *name == "Host");
    let mut request = format!("GET {target} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| *name == "Connection") {
        request += "Connection: close\r\n";
    }
    if !named {
        request += &format!("Host: {host}\r\n");
    }
    headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
    stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A refused upgrade may end with a reset.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}
