//! The chat: on a pseudo-terminal as a person sees it, and line by line through pipes.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use super::process::{eventually, finish, finish_with_input, wait};
use super::world::{ANA, BEN, World};

/// A chat on a terminal of 100 by 20.
struct Terminal {
    child: Child,
    keys: File,
    screen: Arc<Mutex<vt100::Parser>>,
    line: OwnedFd,
}

impl Terminal {
    fn start(world: &World, who: (&str, &str)) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap();
        let open = || rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let line = open();
        tcsetwinsize(&line, Winsize { ws_row: 20, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let mut command = world.member("chat", who, &[]);
        command
            .env("TERM", "xterm-256color")
            .stdin(Stdio::from(open()))
            .stdout(Stdio::from(open()))
            .stderr(Stdio::from(open()));
        let child = command.spawn().unwrap();
        drop(command);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(20, 100, 0)));
        let keys = File::from(keys);
        let (mut output, shown) = (keys.try_clone().unwrap(), screen.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..count]);
            }
        });
        Terminal { child, keys, screen, line }
    }

    fn contents(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    #[track_caller]
    fn shows(&self, text: &str) {
        let found = std::panic::catch_unwind(|| eventually(text, || self.contents().contains(text).then_some(())));
        assert!(found.is_ok(), "{text:?} is missing in\n{}", self.contents());
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn is_restored(&self) -> bool {
        let modes = tcgetattr(&self.line).unwrap().local_modes;
        let screen = self.screen.lock().unwrap();
        modes.contains(rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO)
            && !screen.screen().alternate_screen()
            && !screen.screen().bracketed_paste()
            && !screen.screen().hide_cursor()
    }

    /// Waits for the end and for a terminal as it was before.
    #[track_caller]
    fn ends(mut self) -> i32 {
        let status = wait(&mut self.child);
        eventually("the terminal to be restored", || self.is_restored().then_some(()));
        status
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = tcgetattr(&self.line).and_then(|modes| tcsetattr(&self.line, OptionalActions::Now, &modes));
    }
}

#[test]
fn people_talk_on_terminals() {
    let mut world = World::running(4);
    let mut ana = Terminal::start(&world, ANA);
    ana.shows("nobody else is here yet");
    ana.shows("garden — ana");
    ana.shows("leaders  1 fine  2 fine  3 fine  4 fine");
    ana.shows("confirmed");
    let mut ben = Terminal::start(&world, BEN);
    ana.shows("ben joined (view 2)");
    ben.shows("you joined; here: ana");

    ana.press("helo\x1b[Dl\x1b[F, ben!\r");
    ana.shows("you: hello, ben!");
    ben.shows("ana: hello, ben!");
    ben.press("/to ana only for you\r");
    ana.shows("ben → you (private): only for you");
    ben.shows("you → ana (private): only for you");
    ben.press("/to eva psst\r");
    ben.shows("not sent: eva is not in the current view");
    ben.press("/members\r");
    ben.shows("2 here: ana and ben");
    // A paste is one line, not many messages.
    ben.press("\x1b[200~one\ntwo\x1b[201~");
    ben.shows("> one two");
    ben.press("\r");
    ana.shows("ben: one two");

    world.stop(3);
    ana.shows("3 no link");
    ana.press("/nonsense\r");
    ana.shows("there is no command /nonsense");
    world.stop(4);
    world.stop(2);
    ana.shows("fewer than 2 leaders confirm this view: going on under the last key");
    ana.shows("not confirmed");
    world.start(2);
    world.start(3);
    world.start(4);
    ana.shows("1 fine  2 fine  3 fine  4 fine");

    ben.press("/leave\r");
    assert_eq!(ben.ends(), 0);
    ana.shows("ben left");
    ana.press("\x03");
    assert_eq!(ana.ends(), 0);
}

/// Terminals, tmux and expect may send a paste as plain keys. Its end must not stay in the kernel until another key comes.
#[test]
fn a_paste_that_arrives_as_keys_is_taken_in_to_its_end() {
    let world = World::running(4);
    let mut ana = Terminal::start(&world, ANA);
    ana.shows("nobody else is here yet");
    ana.press(&"y".repeat(20_000));
    ana.press("\x03");
    assert_eq!(ana.ends(), 0);
}

#[test]
fn members_decide_who_comes_in() {
    let vote = "percent = 51\nwait_s = 30\nsilence = \"no\"\n";
    let mut world = World::new(&format!("[admission_vote]\n{vote}[expulsion_vote]\n{vote}"));
    (1..=4).for_each(|number| world.start(number));
    let mut ana = Terminal::start(&world, ANA);
    ana.shows("nobody else is here yet");
    // Refused, and told why.
    let refused = std::thread::scope(|scope| {
        let send = world.member("send", BEN, &["let me in"]);
        let send = scope.spawn(|| finish(send));
        ana.shows("ben asks to join, and the members decide");
        ana.press("/refuse ben\r");
        ana.shows("you voted not to let in ben");
        send.join().unwrap()
    });
    refused.failed(21, &["the leaders refuse: the members voted against it"]);
    let decided = world.leader(1).event("members_decided");
    assert_eq!((&decided["user"], &decided["passed"], &decided["no"]), (&"ben".into(), &false.into(), &1.into()));
    // The decision stands for a while: nobody is asked again.
    world.send(BEN, &["please"]).failed(21, &["the members voted against it"]);
    assert!(!ana.contents().contains("ben joined"));
}

#[test]
fn a_member_lets_another_in_and_cannot_put_it_out_alone() {
    let vote = "percent = 51\nwait_s = 30\nsilence = \"no\"\n";
    let mut world = World::new(&format!("[admission_vote]\n{vote}[expulsion_vote]\n{vote}"));
    (1..=4).for_each(|number| world.start(number));
    let mut ana = Terminal::start(&world, ANA);
    ana.shows("nobody else is here yet");
    let mut ben = Terminal::start(&world, BEN);
    ana.shows("ben asks to join");
    ana.press("/admit ben\r");
    ana.shows("ben joined (view 2)");
    ben.shows("you joined; here: ana");
    ben.press("/expel ana\r");
    ben.shows("no vote can put ana out");
    ben.press("still here?\r");
    ana.shows("ben: still here?");
}

#[test]
fn a_signal_restores_the_terminal() {
    let world = World::running(3);
    let ana = Terminal::start(&world, ANA);
    ana.shows("garden — ana");
    let pid = rustix::process::Pid::from_child(&ana.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(ana.ends(), 0);
}

#[test]
fn pipes_chat_line_by_line() {
    let world = World::running(3);
    let mut ben = world.listen(BEN, &["--count", "2"]);
    let said = finish_with_input(world.member("chat", ANA, &[]), "hello\n/to ben psst\n/nope\n/members\n");
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.out.contains("-- joined; in the group: ana and ben"), "{said:?}");
    assert!(said.out.contains("-- here: ana and ben"), "{said:?}");
    assert!(said.err.contains("there is no command /nope"), "{said:?}");
    let hello = ben.event("message");
    assert_eq!((&hello["text"], &hello["to"]), (&"hello".into(), &serde_json::json!([])));
    let psst = ben.event("message");
    assert_eq!((&psst["text"], &psst["to"][0]), (&"psst".into(), &"ben".into()));
}
