//! A pointer and a keyboard, as the browser gets them from a person.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thirtyfour::bidi::BidiError;
use thirtyfour::bidi::modules::browsing_context::{LocateNodes, Locator};
use thirtyfour::bidi::modules::input::PerformActions;

use crate::browser::POLL;
use crate::{Browser, DEADLINE, Page};

/// Kept when what the page shows now has been painted, or after a second: a page that is not shown paints nothing.
const PAINTED: &str = "new Promise((painted) => { \
    requestAnimationFrame(() => requestAnimationFrame(() => painted(null))); setTimeout(() => painted(null), 1000); })";

/// Then it is pressed at all events: what the test waits for next tells what the page shows.
const POINTED_WITHIN: Duration = Duration::from_secs(3);

impl Browser {
    async fn try_act(&self, page: &Page, actions: Value) -> Result<(), BidiError> {
        self.bidi.send(PerformActions { context: page.0.clone(), actions: vec![actions] }).await.map(drop)
    }

    async fn act(&self, page: &Page, actions: Value) {
        self.try_act(page, actions).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Clicks in the middle of the element that a CSS selector finds, after scrolling to it. The pointer goes there first,
    /// until the element says that the pointer is on it: until a new dialog is painted, the browser gives what the pointer
    /// does to the frame below it. An element that was replaced or moved meanwhile is looked for again.
    pub async fn click(&self, page: &Page, selector: &str) {
        let started = Instant::now();
        while !self.try_click(page, selector, started.elapsed() > POINTED_WITHIN).await {
            assert!(started.elapsed() < DEADLINE, "{selector}: the pointer does not come to it");
        }
    }

    /// `false` if nothing was pressed yet.
    async fn try_click(&self, page: &Page, selector: &str, at_once: bool) -> bool {
        let scroll = format!("document.querySelector({}).scrollIntoView({{ block: 'nearest' }})", json!(selector));
        self.evaluate(page, &format!("{scroll}; {PAINTED}")).await;
        let locator = Locator::css(selector);
        let locate = LocateNodes {
            context: page.0.clone(),
            locator,
            max_node_count: Some(1),
            serialization_options: None,
            start_nodes: None,
        };
        let found = self.bidi.send(locate).await.unwrap();
        let node = found.nodes.first().and_then(|node| node.get("sharedId")).cloned();
        let node = node.unwrap_or_else(|| panic!("no element {selector}"));
        let origin = json!({"type": "element", "element": {"sharedId": node}});
        let go = json!({"type": "pointerMove", "x": 0, "y": 0, "origin": origin});
        let is_there = self.points(page, selector, std::slice::from_ref(&go)).await;
        if !is_there || !(at_once || self.is_pointed_at(page, selector).await) {
            return false;
        }
        let press = [json!({"type": "pointerDown", "button": 0}), json!({"type": "pointerUp", "button": 0})];
        self.points(page, selector, &[&[go][..], &press].concat()).await
    }

    /// `false` if the pointer found no place to go to, so that nothing of this was done.
    async fn points(&self, page: &Page, selector: &str, steps: &[Value]) -> bool {
        let Err(error) = self.try_act(page, json!({"type": "pointer", "id": "mouse", "actions": steps})).await else {
            return true;
        };
        let told = error.to_string();
        assert!(told.contains("no such element") || told.contains("move target out of bounds"), "{selector}: {told}");
        false
    }

    async fn is_pointed_at(&self, page: &Page, selector: &str) -> bool {
        self.evaluate(page, &format!("document.querySelector({})?.matches(':hover')", json!(selector))).await == true
    }

    /// Draws a line with the pressed button through these points of the page or frame. It begins once an element says that the
    /// pointer is on it; that may lie in a frame further in.
    pub async fn drag(&self, page: &Page, points: &[(i32, i32)], (place, selector): (&Page, &str)) {
        let Some(((x, y), further)) = points.split_first() else { return };
        let go = json!({"type": "pointerMove", "x": x, "y": y});
        let started = Instant::now();
        loop {
            self.act(page, json!({"type": "pointer", "id": "mouse", "actions": [go]})).await;
            if self.is_pointed_at(place, selector).await || started.elapsed() > POINTED_WITHIN {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        let mut steps = vec![go, json!({"type": "pointerDown", "button": 0})];
        steps.extend(further.iter().map(|(x, y)| json!({"type": "pointerMove", "x": x, "y": y, "duration": 20})));
        steps.push(json!({"type": "pointerUp", "button": 0}));
        self.act(page, json!({"type": "pointer", "id": "mouse", "actions": steps})).await;
    }

    /// Types where the focus is. Keys without a letter have the code points of WebDriver: [`Browser::ENTER`] and so on.
    pub async fn keys(&self, page: &Page, text: &str) {
        let strokes = |key: char| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})];
        let steps: Vec<Value> = text.chars().flat_map(strokes).collect();
        self.act(page, json!({"type": "key", "id": "keyboard", "actions": steps})).await;
    }

    /// Puts text in place of what a field holds, by clicking into it and typing.
    pub async fn fill(&self, page: &Page, selector: &str, text: &str) {
        self.click(page, selector).await;
        self.evaluate(page, &format!("document.querySelector({}).select()", json!(selector))).await;
        let text = if text.is_empty() { Browser::DELETE } else { text };
        self.keys(page, text).await;
    }

    /// Drops a file on a plugin's frame: `mib` times the same MiB, whose byte `i` is `7 i + i / 256`.
    pub async fn drop_file(&self, page: &Page, plugin: &str, name: &str, mib: usize) {
        let name = json!(name);
        let script = format!(
            "{{ const piece = new Uint8Array(1048576).map((_, i) => (i * 7 + (i >> 8)) & 255);
                const bag = new DataTransfer();
                bag.items.add(new File(Array({mib}).fill(piece), {name}));
                document.dispatchEvent(new DragEvent('drop', {{ dataTransfer: bag, bubbles: true, cancelable: true }})); }}"
        );
        self.in_plugin(page, plugin, &script).await;
    }

    /// What [`Browser::drop_file`] drops.
    pub fn dropped(mib: usize) -> Vec<u8> {
        let piece: Vec<u8> = (0..1_048_576_usize).map(|i| (i * 7 + (i >> 8)).to_le_bytes()[0]).collect();
        piece.repeat(mib)
    }

    /// The key Tab.
    pub const TAB: &str = "\u{e004}";
    /// The key Enter.
    pub const ENTER: &str = "\u{e007}";
    /// The key Escape.
    pub const ESCAPE: &str = "\u{e00c}";
    /// The key Delete.
    pub const DELETE: &str = "\u{e017}";
    /// The key with the arrow to the right.
    pub const RIGHT: &str = "\u{e014}";
}
