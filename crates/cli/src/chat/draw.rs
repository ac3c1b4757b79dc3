//! The full screen, drawn from what there is to show and nothing else.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};
use ringfort::protocol::Role;
use ringfort::protocol::member::Confirmation;
use unicode_width::UnicodeWidthStr;

use super::board::{Board, Mood};
use super::input::Input;
use super::room::{Entry, Room, What};
use super::wrap::wrap;
use crate::describe;
use crate::text::{age, clean};

/// Columns of the time before each entry.
const TIME_COLUMNS: usize = 6;
const MEMBERS_COLUMNS: u16 = 20;
/// Screens narrower than this have no member list.
const MEMBERS_FROM_COLUMNS: u16 = 60;
const PROMPT: &str = "> ";
const NAME_COLOURS: [Color; 6] =
    [Color::Cyan, Color::Green, Color::Blue, Color::LightCyan, Color::LightGreen, Color::LightBlue];

/// Draws everything; moves the scroll position so that it stays on what is being read.
pub(super) fn draw(frame: &mut Frame<'_>, room: &mut Room, board: &Board, input: &Input) {
    let unsure = describe::unsure(&room.info, board.confirmation, board.key_age).filter(|_| !board.ended);
    let warning = u16::from(unsure.is_some());
    let rows = [
        Constraint::Length(1),
        Constraint::Length(warning),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ];
    let [header, stale, middle, leaders, typed] = Layout::vertical(rows).areas(frame.area());
    let members_columns = if middle.width >= MEMBERS_FROM_COLUMNS { MEMBERS_COLUMNS } else { 0 };
    let columns = [Constraint::Min(1), Constraint::Length(members_columns)];
    let [messages, members] = Layout::horizontal(columns).areas(middle);

    draw_header(frame, header, room, board);
    if let Some(unsure) = unsure {
        let told = format!(" ! {unsure}");
        frame.render_widget(Paragraph::new(told).style(Style::new().fg(Color::Black).bg(Color::Yellow)), stale);
    }
    draw_messages(frame, messages, room);
    if members_columns > 0 {
        draw_members(frame, members, room, board);
    }
    frame.render_widget(Paragraph::new(leaders_line(board, usize::from(leaders.width))), leaders);
    draw_input(frame, typed, input);
}

fn draw_header(frame: &mut Frame<'_>, area: Rect, room: &Room, board: &Board) {
    let left = format!(" {} — {}", clean(&room.info.name), room.me);
    let view = board.epoch.map(|epoch| format!("view {epoch}")).unwrap_or_default();
    let key = board.key_age.map(|time| format!(" · key {} old", age(time))).unwrap_or_default();
    let state = match (board.ended, board.confirmation) {
        (true, _) => "ended",
        (false, Confirmation::Current) => "confirmed",
        (false, Confirmation::Believed) => "too few leaders to change it",
        (false, Confirmation::Unconfirmed) => "not confirmed",
    };
    let right = format!("{view}{key} · {state} ");
    let bar = Style::new().fg(Color::White).bg(if board.ended { Color::Red } else { Color::DarkGray });
    let gap = usize::from(area.width).saturating_sub(left.width() + right.width());
    let text = if gap == 0 { right } else { format!("{left}{}{right}", " ".repeat(gap)) };
    frame.render_widget(Paragraph::new(text).style(bar), area);
}

fn draw_messages(frame: &mut Frame<'_>, area: Rect, room: &mut Room) {
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    if room.scroll > 0 {
        // What is being read stays where it is.
        room.scroll +=
            room.entries().rev().take(room.fresh).map(|entry| lines(entry, width, room).len()).sum::<usize>();
    }
    room.fresh = 0;
    // From the newest line upwards, until the screen is full.
    let wanted = height + room.scroll;
    let mut shown: Vec<Line<'static>> = Vec::new();
    for entry in room.entries().rev() {
        shown.extend(lines(entry, width, room).into_iter().rev());
        if shown.len() >= wanted {
            break;
        }
    }
    room.scroll = room.scroll.min(shown.len().saturating_sub(height));
    let mut page: Vec<Line<'static>> = shown.into_iter().skip(room.scroll).take(height).collect();
    page.reverse();
    if let Some(last) = page.last_mut().filter(|_| room.scroll > 0) {
        *last = Line::from(format!("— {} more lines below: PageDown —", room.scroll + 1)).dim().centered();
    }
    frame.render_widget(Paragraph::new(page), area);
}

fn lines(entry: &Entry, width: usize, room: &Room) -> Vec<Line<'static>> {
    let time = Span::from(format!("{} ", entry.at)).dim();
    let (name, lead, text, style) = match &entry.what {
        What::Message { sender, to, text } => {
            let you = *sender == room.me.as_str();
            let name = if you { "you".to_owned() } else { sender.clone() };
            let bold = Style::new().fg(colour(sender)).add_modifier(Modifier::BOLD);
            let (lead, style) = match to {
                Some(to) => (format!(" → {to} (private): "), Style::new().fg(Color::Magenta)),
                None => (": ".to_owned(), Style::new()),
            };
            (Span::styled(name, bold), Span::styled(lead, style), text, style)
        }
        What::Notice(text) => (Span::default(), Span::default(), text, Style::new().add_modifier(Modifier::DIM)),
        What::Warning(text) => {
            let style = Style::new().fg(Color::Yellow);
            (Span::styled("! ", style), Span::default(), text, style)
        }
    };
    let before = TIME_COLUMNS + name.width() + lead.width();
    let mut texts = wrap(text, width.saturating_sub(before), width.saturating_sub(TIME_COLUMNS)).into_iter();
    let first = Span::styled(texts.next().unwrap_or_default(), style);
    let rest = texts.map(|text| Line::from(vec![Span::from(" ".repeat(TIME_COLUMNS)), Span::styled(text, style)]));
    std::iter::once(Line::from(vec![time, name, lead, first])).chain(rest).collect()
}

/// The same person has the same colour on every screen.
fn colour(name: &str) -> Color {
    let hash =
        name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let index = usize::try_from(hash >> 32).unwrap_or_default() % NAME_COLOURS.len();
    NAME_COLOURS.get(index).copied().unwrap_or(Color::Cyan)
}

fn draw_members(frame: &mut Frame<'_>, area: Rect, room: &Room, board: &Board) {
    let title = format!(" {} here ", board.members.len());
    let block = Block::new().borders(Borders::LEFT).title(title).border_style(Style::new().fg(Color::DarkGray));
    let height = usize::from(area.height.saturating_sub(1));
    let all = board.members.len();
    let fit = if all > height { height.saturating_sub(1) } else { all };
    let mut names: Vec<Line<'_>> = board
        .members
        .iter()
        .take(fit)
        .map(|name| {
            let you = if *name == room.me { " (you)" } else { "" };
            let role = match room.info.policy.role(name) {
                Role::Member => String::new(),
                role => format!(" {role}"),
            };
            let colour = colour(name.as_str());
            Line::from(vec![Span::from(" "), Span::styled(name.as_str(), colour), Span::from(role + you).dim()])
        })
        .collect();
    if fit < all {
        names.push(Line::from(format!(" and {} more", all - fit)).dim());
    }
    frame.render_widget(Paragraph::new(names).block(block), area);
}

/// Every leader with its state; where there is no room, those that need attention.
fn leaders_line(board: &Board, width: usize) -> Line<'static> {
    let style = |mood| match mood {
        Mood::Fine => Style::new().fg(Color::Green),
        Mood::Silent => Style::new().fg(Color::Yellow),
        Mood::Caught => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    };
    let light = |light: &super::board::LeaderLight| {
        Span::styled(format!("  {} {}", light.number, light.word), style(light.mood))
    };
    let all = Line::from_iter(std::iter::once(Span::from(" leaders").dim()).chain(board.leaders.iter().map(light)));
    if all.width() <= width {
        return all;
    }
    let fine = board.leaders.iter().filter(|l| l.mood == Mood::Fine).count();
    let summary = Span::styled(format!(" {fine} of {} leaders fine", board.leaders.len()), style(Mood::Fine));
    let mut others: Vec<_> = board.leaders.iter().filter(|l| l.mood != Mood::Fine).collect();
    others.sort_by_key(|l| l.mood != Mood::Caught);
    Line::from_iter(std::iter::once(summary).chain(others.into_iter().map(light)))
}

fn draw_input(frame: &mut Frame<'_>, area: Rect, input: &Input) {
    let room = usize::from(area.width).saturating_sub(PROMPT.len());
    let (shown, cursor) = input.shown(room);
    let text = if input.is_empty() {
        Line::from(vec![Span::from(PROMPT), Span::from("a message, or /help").dim()])
    } else {
        Line::from(vec![Span::from(PROMPT), Span::from(shown)])
    };
    frame.render_widget(Paragraph::new(text), area);
    let column = u16::try_from(PROMPT.len() + cursor).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
    frame.set_cursor_position(Position::new(area.x.saturating_add(column), area.y));
}

#[cfg(test)]
mod tests;
