//! What members of a secure group saw, and whether it may be so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use ringfort_peer_keys::Event;
use ringfort_peer_keys::ids::Context;

/// A secure view.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct View {
    pub context: Context,
    pub tag: [u8; 8],
    pub members: BTreeSet<String>,
}

/// A view and what was delivered in it, in order.
#[derive(Clone, Debug)]
struct Chapter {
    view: View,
    moved: BTreeSet<String>,
    messages: Vec<String>,
}

/// What one member saw, from joining to its end.
#[derive(Clone)]
pub struct Life {
    name: String,
    number: u64,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    chapters: Vec<Chapter>,
    faults: Vec<String>,
    last: String,
}

fn text(name: &ringfort_peer::Name) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}

impl Life {
    pub fn new(name: &str, number: u64) -> Self {
        Life { name: name.to_owned(), number, seen: Arc::default() }
    }

    pub fn name(&self) -> String {
        self.name.clone()
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// The view that it is in.
    pub fn view(&self) -> Option<View> {
        self.seen.lock().unwrap().chapters.last().map(|chapter| chapter.view.clone())
    }

    pub fn has_heard(&self, wanted: &[String]) -> bool {
        let seen = self.seen.lock().unwrap();
        let Some(chapter) = seen.chapters.last() else { return false };
        wanted.iter().all(|wanted| chapter.messages.contains(wanted))
    }

    pub fn tell(&self) -> String {
        let seen = self.seen.lock().unwrap();
        format!("{} {}: last {}; {:?}", self.name, self.number, seen.last, seen.chapters.last().map(|c| &c.view))
    }

    pub fn see(&self, event: Event) {
        let mut seen = self.seen.lock().unwrap();
        seen.last = format!("{event:?}").chars().take(200).collect();
        match event {
            Event::Secure(view) => {
                let members = view.members.iter().map(|(name, _)| text(name)).collect();
                let moved = view.moved.iter().map(text).collect();
                let view = View { context: view.context, tag: view.tag, members };
                seen.chapters.push(Chapter { view, moved, messages: Vec::new() });
            }
            Event::Message { message, .. } => {
                let message = String::from_utf8(message).unwrap();
                match seen.chapters.last_mut() {
                    Some(chapter) => chapter.messages.push(message),
                    None => seen.faults.push(format!("{message:?} came before any view")),
                }
            }
            // A stay of the same user that the site still takes for alive.
            Event::Transitional | Event::FlushRequest | Event::Out(_, ringfort_peer_keys::flush::OutWhy::SameKey) => {}
            other => {
                let told = format!("{} {}: {other:?}", self.name, self.number);
                seen.faults.push(told);
            }
        }
    }
}

/// Looks at what all members saw.
#[derive(Default)]
pub struct Judge {
    ended: Vec<Life>,
    views: BTreeMap<Context, View>,
    tags: BTreeMap<[u8; 8], Context>,
    messages: usize,
    compared: usize,
}

impl Judge {
    /// A member that is gone.
    pub fn add(&mut self, life: Life) {
        self.ended.push(life);
    }

    /// What happened up to a moment at which nobody speaks.
    pub fn judge(&mut self, present: Vec<Life>) {
        let lives: Vec<Life> = self.ended.drain(..).chain(present.iter().cloned()).collect();
        for life in &lives {
            let faults = std::mem::take(&mut life.seen.lock().unwrap().faults);
            assert!(faults.is_empty(), "nobody is at fault here: {faults:?}");
        }
        let books: Vec<(&Life, Vec<Chapter>)> =
            lives.iter().map(|life| (life, life.seen.lock().unwrap().chapters.clone())).collect();
        self.tags_are_equal_exactly_where_views_are(&books);
        self.messages_belong_to_one_view(&books);
        for book in &books {
            self.who_moves_together_has_heard_the_same(book, &books);
        }
        for life in &present {
            let mut seen = life.seen.lock().unwrap();
            let done = seen.chapters.len().saturating_sub(1);
            seen.chapters.drain(..done);
        }
    }

    fn tags_are_equal_exactly_where_views_are(&mut self, books: &[(&Life, Vec<Chapter>)]) {
        for Chapter { view, .. } in books.iter().flat_map(|(_, chapters)| chapters) {
            let known = self.views.entry(view.context).or_insert_with(|| view.clone());
            assert_eq!(known, view, "one view has one key and one list of members");
            let context = *self.tags.entry(view.tag).or_insert(view.context);
            assert_eq!(context, view.context, "two views have one key");
        }
    }

    fn messages_belong_to_one_view(&mut self, books: &[(&Life, Vec<Chapter>)]) {
        let mut views: BTreeMap<&str, Context> = BTreeMap::new();
        for (life, chapters) in books {
            for chapter in chapters {
                let mut once = BTreeSet::new();
                let mut next: BTreeMap<&str, u64> = BTreeMap::new();
                for message in &chapter.messages {
                    assert!(once.insert(message), "{} heard {message:?} twice", life.name);
                    let view = *views.entry(message).or_insert(chapter.view.context);
                    assert_eq!(view, chapter.view.context, "{message:?} was opened in two views");
                    let mut words = message.split(' ');
                    let (from, number) = (words.next().unwrap(), words.next().unwrap());
                    if let Ok(number) = number.parse::<u64>() {
                        let due = next.insert(from, number + 1).unwrap_or(number);
                        assert_eq!(number, due, "{} lost messages of {from} within a view", life.name);
                    }
                }
            }
        }
        self.messages += views.len();
    }

    /// Of two members that go from one view to the next together, both have heard the same there, in one order.
    fn who_moves_together_has_heard_the_same(
        &mut self,
        (life, chapters): &(&Life, Vec<Chapter>),
        books: &[(&Life, Vec<Chapter>)],
    ) {
        for pair in chapters.windows(2) {
            let [from, to] = pair else { continue };
            let others = books.iter().filter(|(other, _)| to.moved.contains(&other.name) && other.name != life.name);
            for (other, theirs) in others {
                let Some(at) = theirs.iter().position(|chapter| chapter.view == to.view) else { continue };
                let before = at.checked_sub(1).and_then(|at| theirs.get(at));
                let before = before.unwrap_or_else(|| panic!("{} did not move with {}", other.name, life.name));
                assert_eq!(before.view, from.view, "{} and {} moved together", life.name, other.name);
                assert_eq!(before.messages, from.messages, "{} and {} moved together", life.name, other.name);
                self.compared += 1;
            }
        }
    }

    pub fn tell(&self) -> String {
        format!(
            "{} views with a key each, {} messages, {} pairs moved together",
            self.views.len(),
            self.messages,
            self.compared
        )
    }

    /// What was judged was not nothing.
    pub fn has_looked(&self) {
        assert!(self.views.len() > 10 && self.messages > 50 && self.compared > 10, "{}", self.tell());
    }
}
