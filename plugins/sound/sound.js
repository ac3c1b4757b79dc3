// @ts-check
// Live sound. Speech goes on `sound~talk`, best effort and not kept; who listens, and what their clocks say, on `sound~note`.

import { connect } from "./ringfort.js";
import { Clocks } from "./clock.js";
import { Hearing, canHear } from "./hearing.js";
import { Meter } from "./level.js";
import { Person, byId, level, wayWords, write } from "./show.js";
import { Speaking, canSpeak } from "./speaking.js";

/** How often a note is written, for each member that is here; and at least. */
const NOTE_EVERY_MS = 2000;
const NOTE_MEMBER_MS = 100;
/** What somebody wrote holds for so long. */
const NOTE_HOLDS = 3;

const rf = await connect();
const clocks = new Clocks(rf.you);
/** @type {Hearing | null} */
let hearing = null;
/** @type {Speaking | null} */
let speaking = null;
/** @type {Map<string, Person>} */
const people = new Map();
/** What others wrote. @type {Map<string, {at: number, microphone: string}>} */
const notes = new Map();
/** What is kept of volumes. @type {Record<string, {volume: number, muted: boolean}>} */
let kept = {};
const own = new Meter();
let held = false;
let opening = false;
let muted = false;
/** What the shell's user did to the microphone, in words. */
let told = "";

const modes = /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll("input[name=mode]")]);
const clean = /** @type {HTMLInputElement} */ (byId("clean"));
const mode = () => (modes.find((choice) => choice.checked)?.value === "open" ? "open" : "push");
const here = () => performance.timeOrigin + performance.now();
const words = (/** @type {unknown} */ error) => (error instanceof Error ? error.message : String(error));

/** @param {string} text */
function problem(text) {
  byId("problem").hidden = text === "";
  write(byId("problem"), text);
}

async function enter() {
  try {
    if (!(await canHear())) throw new Error("this browser cannot play Opus in this page; a newer one can");
    hearing ??= await Hearing.open();
    for (const person of people.values()) setVolume(person);
    await hearing.context.resume();
    problem("");
  } catch (error) {
    problem(`Sound cannot be played: ${words(error)}.`);
  }
  keep();
  show();
  note();
}

async function exit() {
  await silence();
  const old = hearing;
  hearing = null;
  show();
  keep();
  note();
  await old?.close();
}

/** Opens the microphone, if it is not open. */
async function listenToMe() {
  if (speaking || opening || !hearing || !rf.sends) return;
  opening = true;
  show();
  try {
    if (!(await canSpeak())) throw new Error("this browser cannot encode Opus; a newer one can");
    await rf.microphone(true, { raw: !clean.checked });
    speaking = new Speaking(rf, (error) => problem(error ? `You are not heard: ${error.message}.` : ""));
    [told, muted] = ["", false];
    problem("");
  } catch (error) {
    held = false;
    if (mode() === "open") choose("push");
    problem(`Your microphone is not open: ${words(error)}.`);
  }
  opening = false;
  apply();
  note();
}

/** Closes the microphone. */
async function silence() {
  held = false;
  const was = speaking;
  speaking = null;
  was?.end();
  apply();
  if (was) await rf.microphone(false).catch(() => {});
}

/** @param {"push" | "open"} to */
function choose(to) {
  for (const choice of modes) choice.checked = choice.value === to;
}

/** What is chosen takes effect. */
function apply() {
  if (speaking) {
    speaking.held = held && mode() === "push";
    speaking.on = !muted && (mode() === "open" || held);
    if (!speaking.on) speaking.stop();
  }
  show();
}

/** @param {boolean} now whether the button or the key is down */
function hold(now) {
  if (now === held || !hearing || (now && !rf.sends)) return;
  held = now;
  apply();
  if (held) listenToMe();
}

function keep() {
  for (const [name, { volume, muted }] of people) kept[name] = { volume, muted };
  rf.set("sound", { listening: hearing !== null, mode: mode(), clean: clean.checked, kept }).catch(() => {});
}

/** @param {Person} person */
function setVolume(person) {
  const voice = hearing?.voice(String(person.row.dataset.name));
  if (voice) voice.volume.gain.value = person.muted ? 0 : person.volume;
}

function showPeople() {
  for (const [name, person] of people) {
    if (rf.members.includes(name)) continue;
    person.row.remove();
    people.delete(name);
    hearing?.end(name);
    clocks.forget(name);
    notes.delete(name);
  }
  for (const name of rf.members) {
    if (name === rf.you || people.has(name)) continue;
    const made = new Person(name, () => {
      setVolume(made);
      keep();
    });
    if (Object.hasOwn(kept, name)) made.set(kept[name].volume, kept[name].muted);
    people.set(name, made);
    byId("people").append(made.row);
    setVolume(made);
  }
  byId("alone").hidden = people.size > 0;
}

function show() {
  const listens = hearing?.context.state === "running";
  byId("outside").hidden = listens || rf.ended;
  byId("inside").hidden = !listens || rf.ended;
  write(byId("enter"), hearing ? "Listen again" : "Listen");
  const push = mode() === "push";
  const heard = speaking !== null && speaking.on;
  byId("talk").setAttribute("aria-pressed", String(heard));
  write(byId("talk-words"), push ? (held ? "Talking" : "Hold to talk") : muted ? "Muted" : heard ? "Mute me" : "Talk");
  /** @type {HTMLButtonElement} */ (byId("talk")).disabled = !rf.sends;
  write(byId("hint"), !rf.sends ? "Your role in this group is to listen, not to speak." : told ? told : opening ? "Waiting for your microphone…"
    : push ? "Hold the button or the space bar while you talk."
    : heard ? "You are heard whenever you speak." : "You are not heard.");
}

/** The parts that move. */
function paint() {
  const now = performance.now();
  level(byId("own-meter"), own.shown(now));
  for (const [name, person] of people) {
    const voice = hearing?.voices.get(name);
    const note = notes.get(name);
    const listens = note !== undefined && here() - note.at < NOTE_HOLDS * noteEvery();
    const does = voice?.speaking ? "speaking" : !listens ? "not listening" : note.microphone === "open" ? "listening, microphone open" : "listening";
    person.show(voice?.speaking ?? false, does, voice?.meter.shown(now) ?? 0, voice ? wayWords(voice, clocks.ahead(name)) : "");
  }
  byId("latency-note").hidden = ![...(hearing?.voices.values() ?? [])].some((voice) => voice.packets.came > 0);
  if (speaking) speaking.others = [...(hearing?.voices.values() ?? [])].filter((voice) => voice.speaking).length;
  requestAnimationFrame(paint);
}

function noteEvery() {
  return Math.max(NOTE_EVERY_MS, rf.members.length * NOTE_MEMBER_MS);
}

/** Tells the others that one listens, and what the clock says. */
function note() {
  if (rf.ended || rf.members.length < 2 || rf.role !== "member") return;
  const microphone = speaking?.on && mode() === "open" ? "open" : "";
  const content = { listens: hearing !== null, microphone, ...clocks.note(here()) };
  rf.send(JSON.stringify(content), { part: "note", volatile: true, service: "best_effort" }).catch(() => {});
}

/** @param {string} from @param {string | null} text */
function noted(from, text) {
  const now = here();
  let what;
  try {
    what = JSON.parse(text ?? "");
  } catch {
    return;
  }
  if (!people.has(from)) return;
  clocks.heard(from, what, now);
  if (what?.listens === true) notes.set(from, { at: now, microphone: String(what.microphone) });
  else notes.delete(from);
}

rf.on("message", (message) => {
  if (message.own || message.past || !rf.members.includes(message.from)) return;
  if (message.part === "talk") hearing?.take(message.from, message.bytes());
  else if (message.part === "note") noted(message.from, message.text);
});
rf.on("heard", (heard) => {
  if (!speaking) return;
  speaking.heard(heard);
  own.add(speaking.level, performance.now());
});
rf.on("microphone", (state) => {
  if (!state.open && speaking) {
    speaking.end();
    speaking = null;
    if (mode() === "open") choose("push");
  }
  muted = state.muted;
  told = state.muted ? "You muted the microphone above." : state.why ? `Your microphone is closed: ${state.why}.` : "";
  apply();
});
rf.on("state", () => {
  if (rf.ended && hearing) exit();
  showPeople();
  show();
});

byId("enter").addEventListener("click", enter);
byId("exit").addEventListener("click", exit);
byId("talk").addEventListener("pointerdown", (event) => {
  if (mode() === "push" && event.button === 0) {
    byId("talk").setPointerCapture(event.pointerId);
    hold(true);
  }
});
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) byId("talk").addEventListener(name, () => hold(false));
byId("talk").addEventListener("click", () => {
  if (mode() === "push") return;
  if (!speaking) listenToMe();
  else {
    muted = !muted;
    apply();
    note();
  }
});
byId("talk").addEventListener("contextmenu", (event) => event.preventDefault());
document.addEventListener("keydown", (event) => {
  const other = event.target instanceof HTMLElement && event.target.closest("button:not(#talk), input");
  if (event.key !== " " || other || mode() !== "push") return;
  event.preventDefault();
  if (!event.repeat) hold(true);
});
document.addEventListener("keyup", (event) => {
  if (event.key === " ") hold(false);
});
window.addEventListener("blur", () => hold(false));
for (const choice of modes) choice.addEventListener("change", () => {
  [held, told] = [false, ""];
  keep();
  if (mode() === "open") listenToMe();
  apply();
  note();
});
clean.addEventListener("change", async () => {
  keep();
  if (!speaking) return;
  await silence();
  if (mode() === "open") await listenToMe();
});

const memory = await rf.get("sound").catch(() => null);
if (memory !== null && typeof memory === "object") {
  if (memory.kept !== null && typeof memory.kept === "object") kept = memory.kept;
  clean.checked = memory.clean !== false;
  // Who listened goes on after a reload, if the browser lets it; the microphone stays closed.
  if (memory.listening) enter();
}
showPeople();
show();
requestAnimationFrame(paint);
setInterval(() => rf.doing(speaking?.talking ? "speaking" : ""), 300);
const noteLater = () => setTimeout(() => {
  if (hearing) note();
  noteLater();
}, noteEvery());
noteLater();
// For tests and the curious: what goes to the loudspeaker, and the voices.
Object.assign(globalThis, { sound: { get hearing() { return hearing; }, get speaking() { return speaking; }, clocks } });
rf.start();
