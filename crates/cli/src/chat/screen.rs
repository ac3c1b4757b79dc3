//! The full screen: one loop over keys, events, answers and signals, and a terminal that is always restored.

use std::io::{self, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::{
    self, DisableBracketedPaste, EnableBracketedPaste, KeyCode, KeyEvent, KeyEventKind, KeyModifiers,
};
use crossterm::execute;
use ratatui::DefaultTerminal;
use ringfort::protocol::view::Cause;
use ringfort::{Event, Events, Group};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::board::Board;
use super::command::{self, Line};
use super::draw::draw;
use super::input::Input;
use super::room::Room;
use super::sender::{self, Act, Own};
use super::{End, leave};
use crate::common::Ending;
use crate::exit::{Failure, Outcome, Status};

/// Between two drawings while nothing happens: ages go on.
const TICK: Duration = Duration::from_millis(250);
/// Events shown in one drawing.
const EVENTS_AT_ONCE: usize = 256;
/// Keys that are taken in before the screen is drawn again.
const KEYS_AT_ONCE: usize = 256;

/// Chats until the user ends it or a signal does.
pub(super) async fn run(group: Group, events: Events, mut ending: Ending) -> Outcome {
    let screen = Screen::open().map_err(|error| Failure::io("cannot use the terminal (try --plain)", &error))?;
    let mut chat = Chat::new(group.clone(), events, screen);
    let end = tokio::select! {
        end = chat.until_end() => end,
        () = ending.asked() => Ok(End::Quit),
    };
    let Chat { screen, ended, .. } = chat;
    if let Ok(end) = end {
        leave(group, end).await;
    }
    drop(screen);
    end?;
    match ended {
        Some(cause) => Failure::ended(cause).map_or(Ok(()), Err),
        None => Ok(()),
    }
}

struct Chat {
    group: Group,
    events: Option<Events>,
    screen: Screen,
    keys: mpsc::Receiver<event::Event>,
    outbox: mpsc::Sender<Act>,
    sent: mpsc::Receiver<sender::Sent>,
    room: Room,
    input: Input,
    ended: Option<Cause>,
}

impl Chat {
    fn new(group: Group, events: Events, screen: Screen) -> Self {
        let (outbox, sent) = sender::start(group.clone());
        let room = Room::new(group.info().clone(), group.user().clone());
        let keys = screen.keys();
        Chat { group, events: Some(events), screen, keys, outbox, sent, room, input: Input::default(), ended: None }
    }

    async fn until_end(&mut self) -> Outcome<End> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.draw()?;
            tokio::select! {
                key = self.keys.recv() => match key {
                    Some(key) => {
                        if let Some(end) = self.on_terminals(key) {
                            self.draw()?;
                            return Ok(end);
                        }
                    }
                    None => return Err(Failure::new(Status::Other, "the terminal has gone away")),
                },
                event = next(&mut self.events) => self.on_event(event),
                Some(sent) = self.sent.recv() => self.room.on_sent(sent),
                _ = tick.tick() => {}
            }
        }
    }

    fn draw(&mut self) -> Outcome {
        let board = Board::of(&self.group.snapshot());
        let drawn = self.screen.terminal.draw(|frame| draw(frame, &mut self.room, &board, &self.input));
        drawn.map(drop).map_err(|error| Failure::io("cannot write to the terminal", &error))
    }

    fn on_event(&mut self, event: Option<Event>) {
        let mut next = event;
        if next.is_none() {
            self.events = None;
            if self.ended.is_none() {
                self.ended = Some(Cause::Lost);
                self.room.warn("the stay has ended unexpectedly: /quit and join again".to_owned());
            }
        }
        for _ in 0..EVENTS_AT_ONCE {
            let Some(event) = next else { return };
            self.room.on_event(&event);
            if let Event::Ended(cause) = event {
                self.ended = Some(cause);
            }
            next = self.events.as_mut().and_then(Events::try_next);
        }
    }

    /// Takes a key and those that wait behind it: a paste that comes as keys is drawn once, and not once for each.
    fn on_terminals(&mut self, first: event::Event) -> Option<End> {
        let mut next = Some(first);
        for _ in 0..KEYS_AT_ONCE {
            let event = next?;
            if let Some(end) = self.on_terminal(event) {
                return Some(end);
            }
            next = self.keys.try_recv().ok();
        }
        next.and_then(|event| self.on_terminal(event))
    }

    fn on_terminal(&mut self, event: event::Event) -> Option<End> {
        match event {
            event::Event::Key(key) if key.kind != KeyEventKind::Release => self.on_key(key),
            event::Event::Paste(text) => {
                self.input.paste(&text);
                None
            }
            _ => None,
        }
    }

    fn on_key(&mut self, key: KeyEvent) -> Option<End> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let shift = key.modifiers.contains(KeyModifiers::SHIFT);
        let page = usize::from(self.screen.terminal.size().map_or(10, |size| size.height)).saturating_sub(6).max(1);
        match key.code {
            KeyCode::Char('c') if control => return Some(End::Quit),
            KeyCode::Char('d') if control && self.input.is_empty() => return Some(End::Quit),
            KeyCode::Char('l') if control => drop(self.screen.terminal.clear()),
            KeyCode::PageUp => self.room.scroll += page,
            KeyCode::PageDown => self.room.scroll = self.room.scroll.saturating_sub(page),
            KeyCode::Up if shift => self.room.scroll += 1,
            KeyCode::Down if shift => self.room.scroll = self.room.scroll.saturating_sub(1),
            _ => return self.input.on_key(key).and_then(|line| self.on_line(&line)),
        }
        None
    }

    fn on_line(&mut self, line: &str) -> Option<End> {
        match command::parse(line) {
            Ok(Line::Nothing) => {}
            Ok(Line::Say(text)) => self.send(Act::Say(Own { to: Vec::new(), text })),
            Ok(Line::To(to, text)) => self.send(Act::Say(Own { to, text })),
            Ok(Line::Vote(motion, yes)) => self.send(Act::Vote(motion, yes)),
            Ok(Line::Members) => self.room.show_members(&Board::of(&self.group.snapshot())),
            Ok(Line::Leaders) => self.room.show_leaders(&Board::of(&self.group.snapshot())),
            Ok(Line::Help) => self.room.show_help(),
            Ok(Line::Quit) => return Some(End::Quit),
            Ok(Line::Leave) => {
                self.room.notice("leaving…".to_owned());
                return Some(End::Leave);
            }
            Err(wrong) => self.room.warn(wrong),
        }
        self.room.scroll = 0;
        None
    }

    fn send(&mut self, act: Act) {
        if self.outbox.try_send(act).is_err() {
            self.room.warn("not sent: earlier messages are still waiting to be sent".to_owned());
        }
    }
}

/// The next event; waits for ever once there are none.
async fn next(events: &mut Option<Events>) -> Option<Event> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

/// The terminal in its full-screen mode. Dropping it, or a panic, restores it.
struct Screen {
    terminal: DefaultTerminal,
    closed: Arc<AtomicBool>,
}

impl Screen {
    fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        let screen = Screen { terminal, closed: Arc::default() };
        execute!(stdout(), EnableBracketedPaste)?;
        Ok(screen)
    }

    /// What the terminal reports, read by a thread of its own.
    fn keys(&self) -> mpsc::Receiver<event::Event> {
        let (keys, typed) = mpsc::channel(KEYS_AT_ONCE);
        let closed = self.closed.clone();
        std::thread::spawn(move || {
            while !closed.load(Ordering::Relaxed) {
                let Ok(waiting) = event::poll(Duration::from_millis(50)) else { return };
                if !waiting {
                    continue;
                }
                let Ok(event) = event::read() else { return };
                if keys.blocking_send(event).is_err() {
                    return;
                }
            }
        });
        typed
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // On a terminal that has gone away there is nothing to restore.
        let _ = execute!(stdout(), DisableBracketedPaste);
        let _ = ratatui::try_restore();
    }
}
