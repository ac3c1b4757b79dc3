// @ts-check
// Files. The agent sends, receives and verifies them; this shows what it tells, and hands over what is chosen.

import { connect } from "./ringfort.js";
import { aloud, peerWords, words } from "./words.js";

/** @typedef {import("./ringfort.js").Transfer} Transfer */
/** @typedef {"accept" | "decline" | "pause" | "resume" | "cancel" | "forget" | "save"} Action */
/** @typedef {{node: HTMLElement, name: HTMLElement, about: HTMLElement, sign: HTMLElement, acts: HTMLElement, bar: HTMLProgressElement, peers: HTMLElement, state: string, offered: string}} Card */

/** Files handed to the agent at once. */
const HANDED_MAX = 2;

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const picker = /** @type {HTMLInputElement} */ (byId("picker"));
const rf = await connect();
/** @type {Map<number, Card>} */
const cards = new Map();
/** @type {Set<string>} Empty for everybody. */
const to = new Set();
/** @type {{file: File, to: string[]}[]} */
const waiting = [];
let handed = 0;
let first = true;

/** @param {string} name @param {Record<string, string>} [attributes] @param {(Node | string)[]} content @returns {HTMLElement} */
function element(name, attributes = {}, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}

/** Changes a text only if it is another one, so that nothing flickers. @param {Element} where @param {string} text */
function say(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

// ---- to whom

function showPeople() {
  // Who receives a file says how far it has come, so only members who send and receive exchange files.
  const others = rf.role === "member" ? rf.members.filter((name) => name !== rf.you && rf.roles[name] === undefined) : [];
  for (const name of to) if (!others.includes(name)) to.delete(name);
  const chip = (/** @type {string} */ label, /** @type {boolean} */ on, /** @type {() => void} */ toggle) => {
    const made = element("button", { type: "button", class: "chip", "aria-pressed": String(on) }, label);
    made.addEventListener("click", () => {
      toggle();
      showPeople();
      /** @type {HTMLElement | undefined} */ ([...byId("to").children].find((other) => other.textContent === label))?.focus();
    });
    return made;
  };
  byId("to").replaceChildren(
    chip("Everybody", to.size === 0, () => to.clear()),
    ...others.map((name) => chip(name, to.has(name), () => { if (!to.delete(name)) to.add(name); })),
  );
  byId("give").classList.toggle("secret", to.size > 0);
  const can = others.length > 0 && !rf.ended;
  /** @type {HTMLButtonElement} */ (byId("choose")).disabled = !can;
  say(byId("drop-words"), rf.ended ? "Your stay has ended." : can ? "Drop files here, or"
    : rf.role === "member" ? "Nobody else is here yet." : `Your role in this group (${rf.role}) exchanges no files.`);
}

// ---- handing over

/** @param {Iterable<File>} files */
function give(files) {
  byId("error").hidden = true;
  for (const file of files) waiting.push({ file, to: [...to] });
  void handOver();
}

async function handOver() {
  if (handed >= HANDED_MAX) return;
  const next = waiting.shift();
  if (!next) return;
  handed += 1;
  void handOver();
  try {
    await rf.offer(next.file, { to: next.to });
  } catch (error) {
    const why = error instanceof Error ? error.message : "it failed";
    byId("error").textContent = `${next.file.name} was not sent: ${why}.`;
    byId("error").hidden = false;
  }
  handed -= 1;
  void handOver();
}

byId("choose").addEventListener("click", () => picker.click());
picker.addEventListener("change", () => {
  give([...(picker.files ?? [])]);
  picker.value = "";
});
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    if (!(event instanceof DragEvent) || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    byId("main").classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) byId("main").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("main").classList.remove("over");
  if (event.dataTransfer && !rf.ended && rf.role === "member") give([...event.dataTransfer.files]);
});

// ---- the list

/** @param {Transfer} file @returns {[string, Action, boolean][]} the label, what it does, and whether it is the first choice */
function choices(file) {
  switch (file.state) {
    case "asked": return [["Accept", "accept", true], ["Decline", "decline", false]];
    case "receiving": case "sending": return [["Pause", "pause", false], ["Cancel", "cancel", false]];
    case "paused": return [["Resume", "resume", true], ["Cancel", "cancel", false]];
    case "preparing": case "offered": case "opening": case "verifying": return [["Cancel", "cancel", false]];
    case "complete": return [["Save a copy", "save", true], ["Remove", "forget", false]];
    case "failed": return file.own ? [["Remove", "forget", false]] : [["Try again", "accept", true], ["Remove", "forget", false]];
    default: return [["Remove", "forget", false]];
  }
}

/** @param {number} id @returns {Card} */
function card(id) {
  const bar = /** @type {HTMLProgressElement} */ (element("progress", { class: "bar", max: "1", value: "0" }));
  const made = {
    node: element("li", { class: "file", "data-file": String(id) }), bar, state: "", offered: "",
    sign: element("span", { class: "sign", "aria-hidden": "true" }), name: element("span", { class: "name" }),
    about: element("span", { class: "about" }), acts: element("span", { class: "acts" }), peers: element("ul", { class: "peers", "aria-label": "Receivers" }),
  };
  made.node.append(made.sign, made.name, made.about, made.acts, made.bar, made.peers);
  cards.set(id, made);
  return made;
}

/** @param {Card} made @param {Transfer} file */
function show(made, file) {
  const fresh = made.state !== file.state;
  made.state = file.state;
  made.node.className = `file ${file.state}`;
  say(made.sign, file.state === "complete" || file.state === "sent" ? "✓" : file.own ? "↑" : "↓");
  say(made.name, file.name);
  say(made.about, words(file));
  made.about.classList.toggle("verified", file.state === "complete");
  const moving = ["preparing", "receiving", "paused", "verifying", "opening"].includes(file.state) && !(file.own && file.state === "paused");
  made.bar.hidden = !moving;
  made.bar.value = file.bytes === 0 ? 1 : file.done / file.bytes;
  made.bar.setAttribute("aria-label", `${file.name}, how much is here`);
  const offered = choices(file);
  if (made.offered !== JSON.stringify(offered)) {
    made.offered = JSON.stringify(offered);
    const focused = made.acts.contains(document.activeElement);
    made.acts.replaceChildren(...offered.map(([label, action, main]) => {
      const button = element("button", { type: "button", class: main ? "primary" : "quiet", "aria-label": `${label}: ${file.name}` }, label);
      button.addEventListener("click", () => act(file.id, action));
      return button;
    }));
    if (focused) /** @type {HTMLElement | null} */ (made.acts.firstElementChild)?.focus();
  }
  showPeers(made.peers, file);
  if (fresh && !first) {
    const told = aloud(file);
    if (told) byId("live").textContent = told;
  }
}

/** @param {HTMLElement} where @param {Transfer} file */
function showPeers(where, file) {
  where.hidden = !file.own || file.peers.length === 0;
  const rows = new Map([...where.children].map((row) => [/** @type {HTMLElement} */ (row).dataset.user, row]));
  for (const peer of file.peers) {
    let row = rows.get(peer.user);
    if (!row) {
      row = element("li", { class: "peer", "data-user": peer.user }, element("span", {}, peer.user), element("progress", { max: "1" }), element("span", { class: "word" }));
      where.append(row);
    }
    rows.delete(peer.user);
    row.className = `peer ${peer.state}`;
    const bar = /** @type {HTMLProgressElement} */ (row.children[1]);
    bar.value = file.bytes === 0 ? Number(peer.state === "complete") : peer.done / file.bytes;
    bar.setAttribute("aria-label", `${peer.user} has of ${file.name}`);
    say(row.children[2], peerWords(file, peer));
  }
  const more = file.more_peers > 0 ? `and ${file.more_peers} more` : "";
  for (const [user, row] of rows) if (user !== undefined || !more) row.remove();
  if (more) {
    const row = where.querySelector("li:not([data-user])") ?? where.appendChild(element("li", { class: "peer" }));
    say(row, more);
  }
}

/** @param {number} id @param {Action} action */
async function act(id, action) {
  byId("error").hidden = true;
  try {
    await rf.file(id, action);
  } catch (error) {
    byId("error").textContent = `That did not work: ${error instanceof Error ? error.message : "it failed"}.`;
    byId("error").hidden = false;
  }
}

rf.on("files", (/** @type {Transfer[]} */ files) => {
  const list = byId("list");
  for (const [id, { node }] of cards) {
    if (files.some((file) => file.id === id)) continue;
    node.remove();
    cards.delete(id);
  }
  for (const file of files) {
    const known = cards.get(file.id);
    const made = known ?? card(file.id);
    show(made, file);
    // The newest stands first.
    if (!known) list.prepend(made.node);
  }
  byId("empty").hidden = files.length > 0;
  rf.unread(files.filter((file) => file.state === "asked").length);
});
rf.on("state", showPeople);
rf.on("current", () => {
  first = false;
  showPeople();
});
rf.start();
