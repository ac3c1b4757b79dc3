// @ts-check
// The demonstration's page: it shows what the members and leaders report, and passes on what is clicked.

import { Card, Person, capital } from "./cards.js";
import { byId, element } from "./dom.js";

const STORY_MAX = 200;
const COUNTS = ["delivered", "on_the_way", "refused", "lost", "forged", "strangers"];

/** @type {WebSocket | null} */
let socket = null;
/** @type {any} */
let hello = null;
/** @type {any} */
let facts = null;
let told = 0;
let lost = false;
let refusal = "";
/** Who wrote or drew, and what was tried: the guided steps. */
const steps = { wrote: false, attacked: false };
/** @type {Card[]} */
const cards = [];
/** @type {Map<string, Person>} */
const people = new Map();

function connect() {
  const address = new URL("socket", location.href);
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
  switch (line.type) {
    case "hello":
      hello = line;
      lost = false;
      if (cards.length === 0) build();
      showBanner();
      break;
    case "facts":
      facts = line;
      show();
      break;
    case "told":
      for (const one of line.lines) tell(one);
      break;
    case "refused":
      refusal = line.why;
      showBanner();
      break;
  }
}

function build() {
  for (let number = 1; number <= hello.leaders; number += 1) {
    const card = new Card(number, order);
    cards.push(card);
    byId("leaders").append(card.element);
  }
  byId("choices").append(...hello.choices.map((/** @type {any} */ { kind, title, does }) =>
    element("button", { class: "choice", value: kind, id: `choice-${kind}` }, element("b", {}, title), element("span", {}, `It ${does}.`))));
}

/** @param {"attack" | "stop" | "recover"} what @param {number} leader */
async function order(what, leader) {
  if (what === "recover") return send({ do: "recover", leader });
  if (what === "stop") {
    const beyond = await beyondIsWanted(leader);
    return beyond === null ? undefined : send({ do: "stop", leader, beyond });
  }
  byId("attacks-leader").textContent = String(leader);
  const kind = await answer("attacks");
  if (kind) await attack(leader, kind);
}

/** @param {number} leader @param {string} kind */
async function attack(leader, kind) {
  const beyond = await beyondIsWanted(leader);
  if (beyond === null) return;
  send({ do: "attack", leader, kind, beyond });
  steps.attacked = true;
  showSteps();
}

/** Whether this would be more than is promised; `null` if the user then does not want it. @param {number} leader */
async function beyondIsWanted(leader) {
  const others = facts.leaders.filter((/** @type {any} */ other) => other.number !== leader && other.runs !== "honest");
  if (others.length < hello.faults) return false;
  return (await answer("beyond")) === "yes" ? true : null;
}

/** @param {string} id @returns {Promise<string>} */
function answer(id) {
  const dialog = /** @type {HTMLDialogElement} */ (byId(id));
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}

function show() {
  facts.leaders.forEach((/** @type {any} */ leader, /** @type {number} */ place) => cards[place]?.show(leader));
  for (const member of facts.members) {
    let person = people.get(member.name);
    if (!person) {
      person = new Person(member.name, () => send({ do: "join", name: member.name }));
      people.set(member.name, person);
      byId("people").append(person.element);
    }
    person.show(member);
  }
  for (const name of COUNTS) {
    const place = byId(name);
    const count = facts.counts[name];
    if (place.textContent !== String(count)) place.textContent = String(count);
    place.parentElement?.classList.toggle("some", count > 0);
  }
  const talk = /** @type {HTMLInputElement} */ (byId("talk"));
  if (talk.checked !== facts.talks) talk.checked = facts.talks;
  if (facts.wrote) steps.wrote = true;
  if (facts.bad > 0) steps.attacked = true;
  showSteps();
  showBanner();
}

function showSteps() {
  const caught = steps.attacked && facts !== null && facts.counts.refused > 0;
  const done = [steps.wrote, steps.attacked, caught];
  done.forEach((is, place) => {
    const step = byId(`step-${place + 1}`);
    step.classList.toggle("done", is);
    step.classList.toggle("now", !is && done.indexOf(false) === place);
  });
  byId("try").hidden = steps.attacked;
}

function showBanner() {
  const banner = byId("banner");
  const faults = hello?.faults ?? 1;
  const words = lost ? "The demo has ended. Start it again and open its new address."
    : refusal ? `Not done: ${refusal}.`
    : facts && facts.bad > faults ? `Beyond the promise: ${facts.bad} of ${facts.leaders.length} leaders are hacked or off, and this group is made for ${faults}. What you see now is what really happens. Recover ${facts.bad - faults === 1 ? "one" : facts.bad - faults} to be safe again.`
    : facts && !facts.ready ? "The leaders start, and Ana, Ben and Eva join…" : "";
  banner.classList.toggle("calm", !lost && facts !== null && !facts.ready);
  banner.hidden = words === "";
  if (banner.textContent !== words) banner.textContent = words;
}

/** @param {{n: number, at_ms: number, who: string, tone: string, text: string}} line */
function tell({ n, at_ms, who, tone, text }) {
  if (n <= told) return;
  told = n;
  const style = tone === "evil" ? "bad" : tone;
  const seconds = Math.floor(at_ms / 1000);
  const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  const story = byId("story");
  story.prepend(element("li", { class: style }, element("time", {}, clock), ...(who ? [element("b", {}, `${capital(who)}: `)] : []), text));
  while (story.children.length > STORY_MAX) story.lastElementChild?.remove();
}

byId("try").addEventListener("click", () => attack(2, "ghost"));
byId("talk").addEventListener("change", (event) => send({ do: "talk", on: /** @type {HTMLInputElement} */ (event.target).checked }));
connect();
