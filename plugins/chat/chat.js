// @ts-check
// Chat. The text itself is the payload on the topic `chat`, so that terminals understand it; that it has come is said in
// private to its sender on `chat/got`.

import { connect } from "./ringfort.js";
import { Kept } from "./kept.js";
import { Receipts } from "./receipts.js";
import { fingerprint, list, withHits, withLinks } from "./text.js";

/** @typedef {{n: number, at: number, from: string, to: string[], text: string, own: boolean, expected: Set<string>, got: Set<string>, node?: HTMLElement}} Said */
/** @typedef {{n: number, at: number, note: string, warning: boolean, node?: HTMLElement}} Note */

/** Messages shown at once, and remembered. */
const SHOWN_MAX = 300;
const ENTRIES_MAX = 5000;
const CHARS_MAX = 16 * 1024 * 1024;
const TEXT_CHARS_MAX = 16000;
/** In larger groups nobody says that a message has come: it would be as much traffic as the messages squared. */
const SAY_GOT_MEMBERS_MAX = 32;
const GOT_EVERY_MS = 250;

const clock = (/** @type {number} */ at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const scroll = byId("scroll");
const messages = byId("messages");
const text = /** @type {HTMLTextAreaElement} */ (byId("text"));
const search = /** @type {HTMLInputElement} */ (byId("search"));

const rf = await connect();
/** @type {(Said | Note)[]} */
let entries = [];
/** @type {Kept<Said | Note>} The same, by who said it: nobody talks the others' words away. */
const kept = new Kept(ENTRIES_MAX, CHARS_MAX);
/** @type {Receipts<Said>} */
const receipts = new Receipts();
/** @type {Set<string>} Who is in the view that is being told. */
const present = new Set();
/** @type {Set<string>} Empty for everybody. */
const to = new Set();
let count = SHOWN_MAX;
let current = false;
let visible = false;
/** Up to here the user has read, and up to here senders know that it has come. */
let read = (await rf.get("read")) ?? 0;
let told = (await rf.get("told")) ?? 0;
let divider = 0;
/** @type {Map<string, string[]>} */
let owed = new Map();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let paying;

rf.on("view", (view) => {
  for (const { user } of view.left) present.delete(user);
  for (const user of view.joined) present.add(user);
  const others = view.joined.filter((/** @type {string} */ name) => name !== rf.you);
  const first = view.joined.includes(rf.you);
  const words = [];
  if (first) words.push(others.length ? `You joined. Here: ${list(others)}.` : "You joined. Nobody else is here yet.");
  else if (others.length) words.push(`${list(others)} joined.`);
  for (const { user, how } of view.left) words.push(`${user} ${how}.`);
  if (words.length) add({ n: view.n, at: view.at, note: words.join(" "), warning: false });
});

rf.on("away", (away) => add({ n: away.n, at: away.at, note: `You were away from ${clock(away.since)} to ${clock(away.until)}. What was said then is not here.`, warning: true }));
rf.on("gap", (gap) => add({ n: gap.n, at: gap.at, note: `${gap.count} messages of ${gap.from} were lost for good.`, warning: true }));

rf.on("message", (message) => {
  if (message.part === "got") return onGot(message);
  if (message.part !== "" || message.text === null) return;
  const expected = new Set(message.own ? [...(message.to.length ? message.to : present)].filter((name) => name !== rf.you && answers(name)) : []);
  const shown = message.text.length > TEXT_CHARS_MAX ? `${message.text.slice(0, TEXT_CHARS_MAX)} …` : message.text;
  add({ n: message.n, at: message.at, from: message.from, to: message.to, text: shown, own: message.own, expected, got: new Set() });
  if (!message.own && message.n > told) owe(message.from, fingerprint(shown), message.n);
});

rf.on("current", () => {
  current = true;
  divider = entries.some((entry) => "text" in entry && entry.n > read) ? read : 0;
  draw();
  scroll.scrollTop = scroll.scrollHeight;
  showPeople();
});
rf.on("state", showPeople);
rf.on("shown", (shown) => {
  visible = shown;
  if (shown) seen();
  else divider = 0;
});
document.addEventListener("visibilitychange", () => seen());
window.addEventListener("focus", () => seen());

/** Whether somebody can say to this member that a message has come. @param {string} name */
function answers(name) {
  return rf.role === "member" && rf.roles[name] === undefined;
}

/** @param {string} sender @param {string} what @param {number} n */
function owe(sender, what, n) {
  told = n;
  if (rf.role !== "member" || rf.roles[sender] === "sender") return;
  if (rf.members.length > SAY_GOT_MEMBERS_MAX) return;
  owed.set(sender, [...(owed.get(sender) ?? []), what]);
  paying ??= setTimeout(pay, GOT_EVERY_MS);
}

async function pay() {
  const due = owed;
  owed = new Map();
  paying = undefined;
  await rf.set("told", told).catch(() => {});
  for (const [sender, got] of due) {
    // Somebody who has gone does not want to know.
    if (rf.members.includes(sender)) await rf.send(JSON.stringify(got.slice(-1000)), { part: "got", to: [sender] }).catch(() => {});
  }
}

/** @param {import("./ringfort.js").Message} message */
function onGot(message) {
  if (message.own || message.text === null) return;
  let got;
  try {
    got = JSON.parse(message.text);
  } catch {
    return;
  }
  for (const entry of receipts.report(message.from, got, message.at)) {
    entry.node?.querySelector(".state")?.replaceWith(delivery(entry));
  }
}

/** @param {Said | Note} entry */
function add(entry) {
  entries.push(entry);
  if ("text" in entry && entry.own) receipts.add(entry);
  const gone = "text" in entry ? kept.add(entry, entry.from, 100 + entry.text.length) : kept.add(entry, "");
  for (const old of gone) if ("text" in old && old.own) receipts.forget(old);
  if (gone.length) entries = entries.filter((one) => !gone.includes(one));
  if (!current) return;
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 60;
  const hidden = search.value.trim() !== "";
  if (!hidden) {
    const before = entries.findLast((one) => one.node);
    show(entry, before);
    while (messages.children.length > SHOWN_MAX * 2) messages.firstElementChild?.remove();
  }
  byId("empty").hidden = entries.some((one) => "text" in one);
  const own = "text" in entry && entry.own;
  if (atEnd || own) scroll.scrollTop = scroll.scrollHeight;
  byId("newest").hidden = atEnd || own || hidden;
  seen();
}

/** Counts what is unread, or marks it as read. */
function seen() {
  if (!current) return;
  const last = entries.length ? entries[entries.length - 1].n : 0;
  if (visible && document.visibilityState === "visible" && last > read) {
    read = last;
    rf.set("read", read).catch(() => {});
  }
  rf.unread(entries.filter((entry) => "text" in entry && !entry.own && entry.n > read).length);
}

/** Everything anew: at the start, and for a search. */
function draw() {
  const wanted = search.value.trim().toLowerCase();
  const fits = (/** @type {Said | Note} */ entry) => !wanted || ("text" in entry && (entry.text.toLowerCase().includes(wanted) || entry.from.includes(wanted)));
  const all = entries.filter(fits);
  messages.replaceChildren();
  for (const entry of entries) entry.node = undefined;
  /** @type {Said | Note | undefined} */
  let before;
  let marked = wanted !== "" || divider === 0;
  for (const entry of all.slice(-count)) {
    if (!marked && entry.n > divider && "text" in entry) {
      messages.append(element("li", "fresh", "New"));
      marked = true;
      before = undefined;
    }
    show(entry, before, search.value.trim());
    before = entry;
  }
  byId("earlier").hidden = all.length <= count;
  byId("found").textContent = wanted ? (all.length === 1 ? "1 message" : `${all.length} messages`) : "";
  byId("empty").hidden = entries.some((entry) => "text" in entry);
}

/** @param {Said | Note} entry @param {Said | Note | undefined} before @param {string} [wanted] */
function show(entry, before, wanted = "") {
  if ("note" in entry) {
    entry.node = element("li", entry.warning ? "note warning" : "note", entry.note);
    messages.append(entry.node);
    return;
  }
  const secret = entry.to.length > 0;
  const follows = before && "text" in before && before.from === entry.from && entry.at - before.at < 300000 && String(before.to) === String(entry.to);
  const node = element("li", `message${secret ? " private" : ""}${follows ? "" : " first"}`);
  const body = element("div", "body");
  if (!follows) {
    const avatar = element("div", "avatar", entry.from.slice(0, 1).toUpperCase());
    avatar.setAttribute("aria-hidden", "true");
    avatar.style.setProperty("--hue", String(hue(entry.from)));
    const time = element("time", "", clock(entry.at));
    time.setAttribute("datetime", new Date(entry.at).toISOString());
    const who = element("div", "who", element("strong", "", entry.own ? `${entry.from} (you)` : entry.from), time);
    if (secret) who.append(element("span", "tag", `Private: only ${list([...new Set([...entry.to, entry.from])].map((name) => (name === rf.you ? "you" : name)))}`));
    body.append(who);
    node.append(avatar);
  }
  const said = element("div", "text");
  said.dir = "auto";
  for (const part of withLinks(entry.text)) {
    const parts = withHits(part.text, wanted).map(({ text, hit }) => (hit ? element("mark", "", text) : text));
    if (part.link) {
      const link = element("button", "link", ...parts);
      link.setAttribute("type", "button");
      link.addEventListener("click", () => rf.open(part.text));
      said.append(link);
    } else said.append(...parts);
  }
  body.append(said);
  if (entry.own) body.append(delivery(entry));
  else if (answers(entry.from)) {
    const reply = element("button", "reply", "Reply privately");
    reply.setAttribute("type", "button");
    reply.setAttribute("aria-label", `Reply privately to ${entry.from}`);
    reply.addEventListener("click", () => {
      to.clear();
      // To everybody who could read it, if it was private to several.
      for (const name of [entry.from, ...entry.to]) if (rf.readers.includes(name)) to.add(name);
      showPeople();
      text.focus();
    });
    node.append(reply);
  }
  node.append(body);
  entry.node = node;
  messages.append(node);
}

/** Who says that the message has come. @param {Said} entry */
function delivery(entry) {
  const { expected, got } = entry;
  const all = got.size > 0 && got.size === expected.size;
  const words = expected.size === 0 ? (rf.readers.length ? "Sent" : "Sent; nobody else was here")
    : got.size === 0 ? "Sent" : all ? `Received by ${expected.size === 1 ? list([...got]) : `all ${expected.size}`}` : `Received by ${list([...got])}`;
  const node = element("div", all ? "state all" : "state", words);
  const silent = [...expected].filter((name) => !got.has(name));
  if (silent.length) node.title = `No word yet from ${list(silent)}. Terminals do not say that a message has come.`;
  return node;
}

function showPeople() {
  const others = rf.role === "member" ? rf.readers : [];
  for (const name of to) if (!others.includes(name)) to.delete(name);
  const chip = (/** @type {string} */ label, /** @type {boolean} */ pressed, /** @type {() => void} */ act) => {
    const made = element("button", "chip", label);
    made.setAttribute("type", "button");
    made.setAttribute("aria-pressed", String(pressed));
    made.addEventListener("click", () => {
      act();
      showPeople();
      text.focus();
    });
    return made;
  };
  byId("to").replaceChildren(
    chip("Everybody", to.size === 0, () => to.clear()),
    ...others.map((name) => chip(name, to.has(name), () => void (to.has(name) ? to.delete(name) : to.add(name)))));
  byId("composer").classList.toggle("secret", to.size > 0);
  text.placeholder = !rf.sends ? "Your role in this group is to receive, not to send"
    : to.size > 0 ? `Only ${list([...to])} can read this` : "Message to everybody";
  byId("to").hidden = !rf.sends;
  text.disabled = rf.ended || !rf.sends;
  /** @type {HTMLButtonElement} */ (byId("send")).disabled = rf.ended || !rf.sends;
}

async function say() {
  const words = text.value.trim();
  if (!words) return;
  const recipients = [...to];
  text.value = "";
  rf.doing("");
  grow();
  const error = byId("error");
  error.hidden = true;
  try {
    await rf.send(words, recipients.length ? { to: recipients } : {});
  } catch (failed) {
    error.textContent = `Not sent: ${failed instanceof Error ? failed.message : failed}`;
    error.hidden = false;
    if (!text.value) text.value = words;
    grow();
  }
}

function grow() {
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + 2}px`;
}

/** @param {string} name */
function hue(name) {
  let hash = 7;
  for (const c of name) hash = (hash * 31 + c.charCodeAt(0)) % 360;
  return hash;
}

/** @param {string} name @param {string} kind @param {(Node | string)[]} content */
function element(name, kind, ...content) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.append(...content);
  return made;
}

// A sandboxed frame may not submit forms.
byId("send").addEventListener("click", say);
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    say();
  }
});
text.addEventListener("input", () => {
  grow();
  // That one writes in private is nobody's business.
  rf.doing(text.value.trim() && to.size === 0 ? "writing" : "");
});
search.addEventListener("input", () => {
  count = SHOWN_MAX;
  draw();
  scroll.scrollTop = scroll.scrollHeight;
});
byId("earlier").addEventListener("click", () => {
  count += SHOWN_MAX;
  draw();
});
byId("newest").addEventListener("click", () => (scroll.scrollTop = scroll.scrollHeight));
scroll.addEventListener("scroll", () => {
  if (scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 60) byId("newest").hidden = true;
});
rf.start();
