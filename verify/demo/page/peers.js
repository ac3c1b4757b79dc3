// @ts-check
// The page of the cut network: it shows what people and sites report, and passes on what is clicked.

import { capital } from "./cards.js";
import { byId, element } from "./dom.js";
import { Peer, Site, Talk } from "./people.js";

const STORY_MAX = 200;
const FINN = 5;
const SVG = "http://www.w3.org/2000/svg";

/** @type {WebSocket | null} */
let socket = null;
/** @type {any} */
let facts = null;
let lost = false;
let refusal = "";
let told = 0;
/** @type {Site[]} */
const sites = [];
/** @type {Peer[]} */
const peers = [];
/** What was said, by the number of its key. @type {Map<number, Talk>} */
const talks = new Map();

function connect() {
  const address = new URL("peers-socket", location.href);
  address.protocol = "ws:";
  const made = new WebSocket(address);
  socket = made;
  made.onmessage = (event) => take(JSON.parse(event.data));
  made.onclose = () => {
    socket = null;
    lost = true;
    showBanner();
    setTimeout(connect, 1000);
  };
}

/** @param {object} order */
function send(order) {
  refusal = "";
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(order));
}

/** @param {any} line */
function take(line) {
  lost = false;
  if (line.type === "facts") {
    facts = line;
    show();
  } else if (line.type === "refused") {
    refusal = line.why;
  }
  showBanner();
}

/** @param {string} id @param {string} text */
function say(id, text) {
  const place = byId(id);
  if (place.textContent !== text) place.textContent = text;
}

function show() {
  if (sites.length === 0) build();
  facts.sites.forEach((/** @type {any} */ site, /** @type {number} */ place) => sites[place]?.show(site, facts.ready));
  facts.people.forEach((/** @type {any} */ person, /** @type {number} */ place) => peers[place]?.show(person, facts.keys > 0));
  say("delivered", String(facts.delivered));
  say("keys", String(facts.keys));
  say("compared", String(facts.compared));
  say("differ", String(facts.differ));
  say("met", facts.met_after_ms === null ? "–" : (facts.met_after_ms / 1000).toFixed(1));
  byId("differ").parentElement?.classList.toggle("some", facts.differ > 0);
  const talk = /** @type {HTMLInputElement} */ (byId("talk"));
  if (talk.checked !== facts.talks) talk.checked = facts.talks;
  const cut = facts.cuts.length > 0;
  /** @type {HTMLButtonElement} */ (byId("cut")).disabled = !facts.ready || cut;
  /** @type {HTMLButtonElement} */ (byId("mend")).disabled = !cut;
  /** @type {HTMLButtonElement} */ (byId("leave")).disabled = facts.keys === 0 || facts.people[FINN].presence !== "in";
  showWires();
  showSteps();
  showTalks();
  for (const line of facts.story) tell(line);
}

function build() {
  facts.sites.forEach((/** @type {any} */ { name }, /** @type {number} */ place) => {
    const site = new Site(name, () => send({ do: "cut", site: place }));
    sites.push(site);
    byId("sites").append(site.element);
  });
  facts.people.forEach((/** @type {any} */ { name, site }, /** @type {number} */ place) => {
    const peer = new Peer(name, (order) => send({ ...order, person: place }));
    peers.push(peer);
    sites[site]?.element.append(peer.element);
  });
  byId("wires").append(drawWires(facts.sites.map((/** @type {any} */ { name }) => name)));
}

/** @param {string} name @param {Record<string, string | number>} attributes @param {string} [text] */
function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text) made.textContent = text;
  return made;
}

/** Three sites in a row; the outer two are joined by a bow. @param {string[]} names */
function drawWires(names) {
  const image = drawn("svg", { viewBox: "0 0 600 80", preserveAspectRatio: "xMidYMid meet", "aria-hidden": "true" });
  const at = [100, 300, 500];
  image.append(
    drawn("line", { id: "wire-0-1", x1: 100, y1: 56, x2: 300, y2: 56 }),
    drawn("line", { id: "wire-1-2", x1: 300, y1: 56, x2: 500, y2: 56 }),
    drawn("path", { id: "wire-0-2", d: "M100 56 C 190 -4, 410 -4, 500 56" }));
  for (const [id, x, y] of [["0-1", 200, 56], ["1-2", 400, 56], ["0-2", 300, 11]]) {
    image.append(drawn("text", { id: `mark-${id}`, class: "mark", x: String(x), y: String(y) }, "✕"));
  }
  names.forEach((name, place) => image.append(
    drawn("circle", { cx: at[place] ?? 0, cy: 56, r: 22 }), drawn("text", { x: at[place] ?? 0, y: 56 }, capital(name).slice(0, 1))));
  return image;
}

function showWires() {
  const words = [];
  for (const [a, b] of [[0, 1], [1, 2], [0, 2]]) {
    const cut = facts.cuts.some((/** @type {number[]} */ [from, to]) => (from === a && to === b) || (from === b && to === a));
    document.getElementById(`wire-${a}-${b}`)?.classList.toggle("cut", cut);
    document.getElementById(`mark-${a}-${b}`)?.toggleAttribute("hidden", !cut);
    if (cut) words.push(`${capital(facts.sites[a ?? 0].name)} and ${capital(facts.sites[b ?? 0].name)}`);
  }
  byId("wires").setAttribute("aria-label", words.length ? `Cut between ${words.join(", and between ")}` : "The network is whole");
}

function showSteps() {
  const cut = facts.cuts.length > 0;
  const done = [facts.wrote, facts.cut_once, facts.seen_apart, facts.left_once, facts.mended_once && !cut && facts.met_after_ms !== null];
  done.forEach((is, place) => {
    const step = byId(`step-${place + 1}`);
    step.classList.toggle("done", is);
    step.classList.toggle("now", !is && done.indexOf(false) === place);
  });
}

/** The newest key stands first. */
function showTalks() {
  const kept = new Set();
  for (const talk of [...facts.spoken].reverse()) {
    kept.add(talk.n);
    let shown = talks.get(talk.n);
    if (!shown) {
      shown = new Talk();
      talks.set(talk.n, shown);
      byId("spoken").prepend(shown.element);
    }
    shown.show(talk);
  }
  for (const [n, shown] of talks) {
    if (kept.has(n)) continue;
    shown.element.remove();
    talks.delete(n);
  }
}

function showBanner() {
  const banner = byId("banner");
  const words = lost ? "The demo has ended. Start it again and open its new address."
    : refusal ? `Not done: ${refusal}.`
    : facts?.banner ?? "Three sites start, and six people make a key…";
  banner.classList.toggle("calm", !lost && !facts?.failed);
  banner.classList.toggle("well", !lost && !refusal && Boolean(facts?.one_key));
  if (banner.textContent !== words) banner.textContent = words;
}

/** @param {{n: number, at_ms: number, tone: string, text: string}} line */
function tell({ n, at_ms, tone, text }) {
  if (n <= told) return;
  told = n;
  const seconds = Math.floor(at_ms / 1000);
  const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  const story = byId("story");
  story.prepend(element("li", { class: tone }, element("time", {}, clock), text));
  while (story.children.length > STORY_MAX) story.lastElementChild?.remove();
}

byId("cut").addEventListener("click", () => send({ do: "cut", site: 2 }));
byId("mend").addEventListener("click", () => send({ do: "mend" }));
byId("leave").addEventListener("click", () => send({ do: "leave", person: FINN }));
byId("talk").addEventListener("change", (event) => send({ do: "talk", on: /** @type {HTMLInputElement} */ (event.target).checked }));
connect();
