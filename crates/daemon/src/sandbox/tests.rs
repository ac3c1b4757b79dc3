//! A process enters the sandbox and tries what an attacker in it would.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Command;

use super::*;
use crate::config::Config;
use crate::places;

const INSIDE: &str = "RINGFORT_TEST_SANDBOX";

/// Runs `inside_the_sandbox` in a process of its own.
fn run_inside(folder: &Path, allowed: u16, forbidden: u16) {
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sandbox::tests::inside_the_sandbox", "--nocapture", "--test-threads", "1"])
        .env(INSIDE, format!("{}|{allowed}|{forbidden}", folder.display()))
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
    fs::create_dir_all(folder.path().join("state")).unwrap();
    fs::write(folder.path().join("state/kept"), "mine").unwrap();
    run_inside(folder.path(), port(&allowed), port(&forbidden));
}

/// Whoever takes the process over writes a configuration with a program to run, and waits for the restart.
#[test]
fn whoever_is_inside_changes_nothing_that_the_next_start_believes() {
    if !kernel_is_new_enough() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("leader-1");
    fs::create_dir_all(folder.join("state")).unwrap();
    for name in ["leader.toml", "group.toml", "state/kept"] {
        fs::write(folder.join(name), "mine").unwrap();
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    run_inside(&folder, port, port ^ 1);
    for name in ["leader.toml", "group.toml"] {
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), "mine", "{name}");
    }
    let (config, path) = Config::read(&folder, None).unwrap();
    assert_eq!(config, Config::default(), "no configuration is there");
    places::check(&config, &path, &folder).unwrap();
    // What the process could write is never run, even if an operator names it.
    let tool = folder.join("state/tool");
    crate::hooks::check_program(&tool).unwrap();
    let named = Config::parse(&format!("[hooks]\non_suspicion = [{tool:?}]")).unwrap();
    assert!(places::check(&named, &path, &folder).unwrap_err().contains("[hooks] on_suspicion"));
}

/// The failure that keeps somebody from something.
#[track_caller]
fn refused<T>(outcome: io::Result<T>) {
    match outcome {
        Ok(_) => panic!("the sandbox let this through"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}"),
    }
}

/// As `refused`, for what need not be there, or is: then it fails in another way before Landlock is asked.
#[track_caller]
fn refused_or_absent<T>(outcome: io::Result<T>) {
    use io::ErrorKind::{AlreadyExists, CrossesDevices, NotFound, PermissionDenied};
    match outcome {
        Ok(_) => panic!("the sandbox let this through"),
        Err(error) => {
            assert!(matches!(error.kind(), AlreadyExists | CrossesDevices | NotFound | PermissionDenied), "{error}");
        }
    }
}

#[test]
fn inside_the_sandbox() {
    let Ok(told) = std::env::var(INSIDE) else { return };
    let parts: Vec<&str> = told.split('|').collect();
    let [folder, allowed, forbidden] = parts.try_into().unwrap();
    let folder = Path::new(folder).to_owned();
    let port = |text: &str| SocketAddr::from((Ipv4Addr::LOCALHOST, text.parse().unwrap()));
    let forbidden = port(forbidden);
    let outside = folder.parent().unwrap().join(format!("ringfort-outside-{}", std::process::id()));
    let needs = Needs {
        folders: places::written(&Config::default(), &folder),
        listens: BTreeSet::new(),
        connects: BTreeSet::from([allowed.parse().unwrap()]),
    };
    let enforcement = enter(&needs);
    assert!(matches!(enforcement.landlock, Part::Enforced | Part::Partly), "{enforcement}");
    assert_eq!(enforcement.seccomp, Part::Enforced);

    // What a leader does.
    let leaders = folder.clone();
    let folder = folder.join("state");
    assert_eq!(fs::read_to_string(folder.join("kept")).unwrap(), "mine");
    fs::write(folder.join("new"), "x").unwrap();
    fs::rename(folder.join("new"), folder.join("newer")).unwrap();
    fs::hard_link(folder.join("newer"), folder.join("linked")).unwrap();
    fs::create_dir(folder.join("room")).unwrap();
    for file in ["newer", "linked", "kept"] {
        fs::remove_file(folder.join(file)).unwrap();
    }
    fs::remove_dir(folder.join("room")).unwrap();
    fs::write(folder.join("tool"), "#!/bin/sh\nid\n").unwrap();
    fs::set_permissions(folder.join("tool"), fs::Permissions::from_mode(0o700)).unwrap();
    TcpStream::connect(port(allowed)).unwrap();
    std::thread::spawn(|| vec![7_u8; 10_000_000].len()).join().unwrap();

    // What an attacker in it would do, from any thread.
    let attack = move || {
        refused(fs::read("/etc/passwd"));
        refused(fs::read("/proc/self/environ"));
        for name in ["config.toml", "leader.toml", "group.toml", "tool"] {
            let path = leaders.join(name);
            refused(fs::write(&path, "[sandbox]\nenabled = false\n"));
            refused_or_absent(fs::remove_file(&path));
            refused_or_absent(fs::rename(leaders.join("state/tool"), &path));
            refused_or_absent(fs::hard_link(leaders.join("state/tool"), &path));
            refused_or_absent(fs::rename(&path, leaders.join("state/taken")));
        }
        refused(std::os::unix::fs::symlink(leaders.join("state"), leaders.join("config.toml")));
        refused(fs::rename(leaders.join("state"), leaders.join("other")));
        refused(fs::read_dir("/"));
        refused(fs::write(&outside, "x"));
        refused(Command::new("/bin/true").spawn());
        refused(Command::new("/bin/sh").arg("-c").arg("id").output());
        refused(TcpStream::connect(forbidden));
        refused(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        refused(UnixStream::connect("/run/docker.sock"));
        refused(UnixDatagram::unbound());
        refused(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
        refused(fs::read("/etc/hosts"));
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
