//! A process enters the sandbox and tries what an attacker in it would.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Command;

use super::*;

const INSIDE: &str = "RINGFORT_TEST_SANDBOX";

/// Runs `inside_the_sandbox` in a process of its own.
fn run_inside(folder: &Path, allowed: u16, forbidden: u16, names: bool) {
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sandbox::tests::inside_the_sandbox", "--nocapture", "--test-threads", "1"])
        .env(INSIDE, format!("{}|{allowed}|{forbidden}|{names}", folder.display()))
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && text.contains("all was tried"), "{text}");
}

/// Whether Landlock is there and knows ports: Linux 6.7, if nobody switched it off.
fn kernel_is_new_enough() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_else(|_| "landlock".to_owned());
    let enough = version >= (6, 7) && modules.contains("landlock");
    if !enough {
        eprintln!("skipped: this kernel ({release}) has no Landlock that knows ports");
    }
    enough
}

#[test]
fn whoever_is_inside_has_the_leaders_own_and_nothing_else() {
    if !kernel_is_new_enough() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let allowed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let forbidden = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    for names in [false, true] {
        fs::write(folder.path().join("kept"), "mine").unwrap();
        run_inside(folder.path(), port(&allowed), port(&forbidden), names);
    }
}

/// The failure that keeps somebody from something.
#[track_caller]
fn refused<T>(outcome: io::Result<T>) {
    match outcome {
        Ok(_) => panic!("the sandbox let this through"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}"),
    }
}

#[test]
fn inside_the_sandbox() {
    let Ok(told) = std::env::var(INSIDE) else { return };
    let parts: Vec<&str> = told.split('|').collect();
    let [folder, allowed, forbidden, names] = parts.try_into().unwrap();
    let (folder, names) = (Path::new(folder).to_owned(), names == "true");
    let port = |text: &str| SocketAddr::from((Ipv4Addr::LOCALHOST, text.parse().unwrap()));
    let forbidden = port(forbidden);
    let outside = folder.parent().unwrap().join(format!("ringfort-outside-{}", std::process::id()));
    let needs = Needs {
        folders: vec![folder.clone()],
        listens: BTreeSet::new(),
        connects: BTreeSet::from([allowed.parse().unwrap()]),
        names,
    };
    let enforcement = enter(&needs);
    assert!(matches!(enforcement.landlock, Part::Enforced | Part::Partly), "{enforcement}");
    assert_eq!(enforcement.seccomp, Part::Enforced);

    // What a leader does.
    assert_eq!(fs::read_to_string(folder.join("kept")).unwrap(), "mine");
    fs::write(folder.join("new"), "x").unwrap();
    fs::rename(folder.join("new"), folder.join("newer")).unwrap();
    fs::hard_link(folder.join("newer"), folder.join("linked")).unwrap();
    fs::create_dir(folder.join("room")).unwrap();
    for file in ["newer", "linked", "kept"] {
        fs::remove_file(folder.join(file)).unwrap();
    }
    fs::remove_dir(folder.join("room")).unwrap();
    TcpStream::connect(port(allowed)).unwrap();
    std::thread::spawn(|| vec![7_u8; 10_000_000].len()).join().unwrap();

    // What an attacker in it would do, from any thread.
    let attack = move || {
        refused(fs::read("/etc/passwd"));
        refused(fs::read("/proc/self/environ"));
        refused(fs::read_dir("/"));
        refused(fs::write(&outside, "x"));
        refused(Command::new("/bin/true").spawn());
        refused(Command::new("/bin/sh").arg("-c").arg("id").output());
        refused(TcpStream::connect(forbidden));
        refused(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        refused(UnixStream::connect("/run/docker.sock"));
        refused(UnixDatagram::unbound());
        match UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
            Ok(_) => assert!(names, "UDP without a need"),
            Err(error) => assert!(!names && error.kind() == io::ErrorKind::PermissionDenied, "{error}"),
        }
        assert_eq!(fs::read("/etc/hosts").is_ok(), names && Path::new("/etc/hosts").exists());
    };
    std::thread::spawn(attack).join().unwrap();
    println!("all was tried");
}

#[test]
fn how_much_is_enforced_is_said_plainly() {
    assert_eq!(Enforcement { landlock: Part::Partly, seccomp: Part::Enforced }.word(), "partly");
    let absent = Part::Absent("this kernel has no Landlock".to_owned());
    let told = Enforcement { landlock: absent.clone(), seccomp: absent };
    assert_eq!(told.word(), "absent");
    assert!(told.to_string().contains("not enforced: this kernel has no Landlock"), "{told}");
}
